//! Batches and records: nothing but what was written is read.

use super::*;

fn batch() -> Batch {
    Batch {
        home: Home { salt: 0x1122_3344_5566_7788, index: 7 },
        durable: Position { index: 6, offset: 640 },
        len: 40,
        count: 1,
        flags: FLAG_CLOSES,
        chain: 5,
        end_chain: 6,
    }
}

#[test]
fn header_comes_back_at_its_own_offset_only() {
    let mut bytes = [0; BATCH_HEADER_LEN];
    batch().encode(4096, &mut bytes);
    assert_eq!(Batch::decode(4096, &bytes), Some(batch()));
    assert_eq!(Batch::decode(4104, &bytes), None);
    assert_eq!(Batch::decode(4096, &bytes[..63]), None);
}

#[test]
fn no_bit_of_a_header_can_flip_unseen() {
    let mut bytes = [0; BATCH_HEADER_LEN];
    batch().encode(4096, &mut bytes);
    for bit in 0..8 * BATCH_HEADER_LEN {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Batch::decode(4096, &bytes), None, "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn record_is_valid_behind_its_predecessor_only() {
    let mut bytes = vec![0xFF; record_len(5)];
    let chain = encode_record(77, 9, &[b"he", b"llo"], &mut bytes);
    assert_eq!(decode_record(77, &bytes), Some(Record { seq: 9, payload: b"hello", chain }));
    assert_eq!(decode_record(78, &bytes), None);
}

#[test]
fn no_bit_of_a_record_can_flip_unseen() {
    for payload in [b"".as_slice(), b"hello", b"12345678"] {
        let mut bytes = vec![0; record_len(payload.len())];
        encode_record(77, 9, &[payload], &mut bytes);
        for bit in 0..8 * bytes.len() {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_record(77, &bytes), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn batch_holds_exactly_its_records() {
    let mut bytes = vec![0; 2 * record_len(3)];
    let first = encode_record(5, 10, &[b"abc"], &mut bytes[..24]);
    let end_chain = encode_record(first, 12, &[b"def"], &mut bytes[24..]);
    let good = Batch { count: 2, len: 48, end_chain, ..batch() };
    assert_eq!(check_records(&good, &bytes, 9), Ok(BatchEnd { chain: end_chain, last_seq: 12 }));
    let seqs: Vec<u64> = records(&bytes).map(|(seq, _)| seq).collect();
    assert_eq!(seqs, [10, 12]);
    // Seqs must rise, from the one before the batch on.
    assert_eq!(check_records(&good, &bytes, 10), Err(BadRecord { offset: 0 }));
    assert_eq!(check_records(&Batch { count: 1, ..good }, &bytes, 9), Err(BadRecord { offset: 24 }));
    assert_eq!(check_records(&Batch { count: 3, ..good }, &bytes, 9), Err(BadRecord { offset: 48 }));
    assert_eq!(check_records(&Batch { end_chain: 1, ..good }, &bytes, 9), Err(BadRecord { offset: 48 }));
    assert_eq!(check_records(&good, &bytes[..40], 9), Err(BadRecord { offset: 24 }));
}

#[test]
fn length_beyond_the_bytes_is_not_believed() {
    let mut bytes = vec![0; record_len(8)];
    encode_record(5, 10, &[b"12345678"], &mut bytes);
    for len in [9u32, 1000, u32::MAX - 7, u32::MAX] {
        bytes[0..4].copy_from_slice(&len.to_le_bytes());
        assert_eq!(decode_record(5, &bytes), None);
        assert_eq!(records(&bytes).count(), 0);
    }
}
