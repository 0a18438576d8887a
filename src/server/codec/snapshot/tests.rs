//! Captured snapshots, and damage.

use super::super::testdata;
use super::*;

/// Magic, version and database id in front of a file's body.
const FILE_HEADER_LEN: usize = 16;

/// Decodes `bytes` in pieces and encodes the items again; also what follows the body.
fn encode_again(bytes: &[u8], step: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut decoder, mut rest) = (Decoder::new(), Vec::new());
    let mut encoder = Encoder::new(count(bytes));
    for piece in bytes.chunks(step) {
        if decoder.is_done() {
            rest.extend_from_slice(piece);
            continue;
        }
        decoder.push(piece);
        while let Some(item) = decoder.next_item().unwrap() {
            match item {
                Item::Session { id, timeout_ms } => encoder.session(id, timeout_ms),
                Item::Acl { key, list } => encoder.acl(key, &list),
                Item::Node { path, data, acl_key, stat } => encoder.node(&path, data, acl_key, &stat),
                Item::End => rest.extend_from_slice(decoder.rest()),
            }
            if decoder.is_done() {
                break;
            }
        }
    }
    assert!(decoder.is_done());
    encoder.end();
    (encoder.bytes().to_vec(), rest)
}

/// The number of sessions that a body claims.
fn count(body: &[u8]) -> usize {
    i32::from_be_bytes(body[..4].try_into().unwrap()).try_into().unwrap()
}

#[test]
fn captured_snapshots_encode_to_their_own_bytes() {
    let bodies = testdata::snapshots().map(|file| file[FILE_HEADER_LEN..].to_vec());
    for body in bodies.iter().chain([&testdata::empty_stream()]) {
        for step in [1, 5, 64, body.len()] {
            let (again, rest) = encode_again(body, step);
            assert_eq!([again, rest].concat(), *body, "in pieces of {step}");
        }
    }
}

#[test]
fn what_follows_the_body_is_left_alone() {
    let stream = [testdata::empty_stream(), b"a packet".to_vec()].concat();
    for step in [1, 16, stream.len()] {
        let (body, rest) = encode_again(&stream, step);
        assert_eq!(rest, b"\0\0\0\x0aBenWasHerea packet");
        let mut decoder = Decoder::new();
        for piece in stream.chunks(step) {
            decoder.push(piece);
            while !decoder.is_done() && decoder.next_item().unwrap().is_some() {}
            if decoder.is_done() {
                break;
            }
        }
        assert_eq!(decoder.decoded_bytes(), body.len() as u64);
        assert!(rest.starts_with(decoder.rest()));
    }
}

#[test]
fn a_stream_is_signed() {
    let mut encoder = Encoder::new(0);
    encoder.sign();
    let signed = [encoder.bytes(), b"more"].concat();
    let signature = &signed[4..];
    for len in 0..14 {
        assert_eq!(check_signature(&signature[..len]), Ok(None));
    }
    assert_eq!(check_signature(signature), Ok(Some(14)));
    assert_eq!(check_signature(b"\0\0\0\x0aBenWasThere"), Err(SnapshotError::Unsigned));
    assert_eq!(check_signature(&[1]), Err(SnapshotError::Unsigned));
}

#[test]
fn an_empty_body_has_no_items_but_the_end() {
    let mut encoder = Encoder::new(0);
    encoder.end();
    let mut decoder = Decoder::new();
    decoder.push(encoder.bytes());
    assert_eq!(decoder.next_item(), Ok(Some(Item::End)));
    assert_eq!(decoder.next_item(), Ok(None));
}

#[test]
fn a_null_path_is_damage_and_says_where() {
    let mut encoder = Encoder::new(0);
    encoder.node("", None, ACL_KEY_OPEN, &StatPersisted::default());
    let mut bytes = encoder.bytes().to_vec();
    let damaged_at = bytes.len() as u64;
    bytes.extend_from_slice(&[0xff; 4]);
    let mut decoder = Decoder::new();
    let mut outcome = Ok(None);
    for byte in bytes {
        decoder.push(&[byte]);
        outcome = decoder.next_item().map(|item| item.map(|_| ()));
    }
    assert_eq!(outcome, Err(SnapshotError::Damaged { offset_bytes: damaged_at, source: DecodeError::Null }));
}

#[test]
fn a_huge_claim_is_refused_before_its_bytes_are_awaited() {
    let mut decoder = Decoder::new();
    decoder.push(&[0; 8]);
    decoder.push(&i32::MAX.to_be_bytes());
    assert_eq!(decoder.next_item(), Err(SnapshotError::TooLarge { offset_bytes: 0 }));
}

/// Cuts a captured body everywhere and flips each of its bits: the fuzz target's smoke test.
#[test]
fn damaged_bodies_do_no_harm() {
    let [body, _] = testdata::snapshots().map(|file| file[FILE_HEADER_LEN..].to_vec());
    (0..body.len()).for_each(|len| fuzz_snapshot(&body[..len]));
    for bit in 0..body.len() * 8 {
        let mut damaged = body.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        fuzz_snapshot(&damaged);
    }
}
