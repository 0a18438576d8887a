//! Headers, names and the walk, by hand-made images.

use super::*;

fn head() -> Header {
    Header { home: Home { salt: 3, index: 0xAB }, segment_len: 65536, prev_seq: 99, prev_end: 640, link: 5, cut: 0 }
}

#[test]
fn header_comes_back() {
    let mut block = vec![0xFF; BLOCK];
    head().encode(&mut block);
    assert_eq!(header(&block), Found::Header(head()));
}

#[test]
fn no_bit_of_a_header_can_flip_unseen() {
    let mut block = vec![0; BLOCK];
    head().encode(&mut block);
    for bit in 0..8 * HEADER_LEN {
        block[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(header(&block), Found::Damaged, "bit {bit}");
        block[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn what_is_no_header_is_told_apart() {
    assert_eq!(header(&[]), Found::Empty);
    assert_eq!(header(&[1; BLOCK - 1]), Found::Empty);
    assert_eq!(header(&[0; BLOCK]), Found::Empty);
    assert_eq!(header(&[1; BLOCK]), Found::Damaged);
    let mut newer = vec![0; BLOCK];
    head().encode(&mut newer);
    newer[8..12].copy_from_slice(&9u32.to_le_bytes());
    let crc = header_crc(&newer);
    newer[12..16].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(header(&newer), Found::Version(9));
}

#[test]
fn names_are_read_exactly_as_they_are_written() {
    assert_eq!(name(0xAB), "segment.00000000000000ab");
    assert_eq!(index_of(&name(u64::MAX)), Some(u64::MAX));
    assert_eq!(spare_number_of(&spare_name(7)), Some(7));
    assert_eq!(new_number_of(&new_name(7)), Some(7));
    for other in
        ["segment.ab", "segment.00000000000000AB", "segment.+0000000000000ab", "segment.", "spare.0", "lock", ""]
    {
        assert_eq!(index_of(other), None, "{other}");
    }
}

/// A segment with three batches of one record, as (image, cursor behind the first).
fn image() -> (Vec<u8>, Vec<Cursor>) {
    let mut bytes = vec![0; 65536];
    head().encode(&mut bytes);
    let mut cursors = vec![Cursor::start(&head())];
    for seq in 100..103 {
        let Cursor { offset, chain, .. } = *cursors.last().unwrap();
        let begin = offset as usize + BATCH_HEADER_LEN;
        let end = begin + record::record_len(10);
        let end_chain = record::encode_record(chain, seq, &[b"0123456789"], &mut bytes[begin..end]);
        let durable = Position { index: head().home.index, offset };
        let len = (end - begin) as u32;
        Batch { home: head().home, durable, len, count: 1, flags: 0, chain, end_chain }
            .encode(offset, &mut bytes[offset as usize..]);
        cursors.push(Cursor { offset: end as u64, chain: end_chain, last_seq: seq });
    }
    (bytes, cursors)
}

#[test]
fn walk_stops_where_nothing_was_written() {
    let (bytes, cursors) = image();
    for pair in cursors.windows(2) {
        let Next::Batch { behind, .. } = next(head().home, &bytes, &pair[0], None) else { panic!("a batch") };
        assert_eq!(behind, pair[1]);
    }
    assert_eq!(next(head().home, &bytes, &cursors[3], None), Next::Nothing);
}

#[test]
fn walk_takes_nothing_from_another_log_or_segment_or_place() {
    let (bytes, cursors) = image();
    let other_log = Home { salt: 4, ..head().home };
    let other_segment = Home { index: 0xAC, ..head().home };
    assert_eq!(next(other_log, &bytes, &cursors[0], None), Next::Nothing);
    assert_eq!(next(other_segment, &bytes, &cursors[0], None), Next::Nothing);
    let other_chain = Cursor { chain: 9, ..cursors[0] };
    assert!(matches!(next(head().home, &bytes, &other_chain, None), Next::Broken { .. }));
}

#[test]
fn proof_is_found_behind_a_damage_but_not_at_the_last_batch() {
    let (bytes, cursors) = image();
    let proof = |at: usize, salt| {
        proof_of_loss(&bytes, salt, Position { index: head().home.index, offset: cursors[at].offset })
    };
    assert_eq!(proof(0, Some(3)).map(|place| place.offset), Some(cursors[1].offset));
    assert_eq!(proof(1, None).map(|place| place.offset), Some(cursors[2].offset));
    assert_eq!(proof(2, Some(3)), None);
    assert_eq!(proof(0, Some(4)), None, "another log's batches prove nothing");
}

#[test]
fn proof_is_found_wherever_it_stands_among_zeros() {
    let home = head().home;
    let damage = Position { index: home.index, offset: 8 };
    let batch = Batch {
        home,
        durable: Position { index: home.index, offset: 16 },
        len: 0,
        count: 0,
        flags: 0,
        chain: 0,
        end_chain: 0,
    };
    for at in (0..3 * BLOCK).step_by(record::ALIGN) {
        let mut bytes = vec![0; 3 * BLOCK + BATCH_HEADER_LEN];
        batch.encode(at as u64, &mut bytes[at..]);
        let found = proof_of_loss(&bytes, None, damage).map(|place| place.offset);
        assert_eq!(found, (at >= 8).then_some(at as u64), "at {at}");
    }
}

#[test]
fn any_bytes_are_walked_without_harm() {
    let (bytes, cursors) = image();
    for at in 0..cursors[3].offset as usize + 8 {
        let mut damaged = bytes.clone();
        damaged[at] = !damaged[at];
        fuzz_segment(&damaged[..8192]);
    }
    fuzz_segment(&[]);
    for len in 0..64 {
        fuzz_record(&bytes[4096..4096 + len]);
        fuzz_segment(&bytes[4096..5000 + len]);
    }
}
