//! Captured packets, cut packets, and lengths that lie.

use bytes::Bytes;

use super::payload::{Capabilities, LeaderInfo, LearnerInfo, PROTOCOL_VERSION, RequestData};
use super::*;
use crate::quorum::testdata::{packet, packets};

fn limits() -> Limits {
    Limits::from_settings(0xf_ffff, None)
}

fn decoded(bytes: &[u8]) -> RawPacket {
    let (packet, len) = Decoder::new(limits()).decode(bytes).unwrap().unwrap();
    assert_eq!(len, bytes.len());
    packet
}

fn data(name: &str) -> Bytes {
    decoded(&packet(name)).data.unwrap()
}

#[test]
fn captured_packets_encode_to_their_own_bytes() {
    for (name, bytes) in packets() {
        let packet = decoded(&bytes);
        let word = name.split('_').nth(1).unwrap();
        assert_eq!(kind::name(packet.kind), Some(word), "{name}");
        let mut again = Vec::new();
        encode(&packet, &mut again);
        assert_eq!(again, bytes, "{name}");
    }
}

#[test]
fn packets_come_out_however_they_were_cut() {
    let stream: Vec<u8> = packets().into_iter().flat_map(|(_, bytes)| bytes).collect();
    let expected: Vec<RawPacket> = packets().iter().map(|(_, bytes)| decoded(bytes)).collect();
    for step in [1, 3, 16, 17, 100, stream.len()] {
        let (mut decoder, mut buffer, mut seen) = (Decoder::new(limits()), Vec::new(), Vec::new());
        for piece in stream.chunks(step) {
            buffer.extend_from_slice(piece);
            while let Some((packet, len)) = decoder.decode(&buffer).unwrap() {
                buffer.drain(..len);
                seen.push(packet);
            }
        }
        assert!(buffer.is_empty());
        assert_eq!(seen, expected, "in pieces of {step}");
    }
}

#[test]
fn what_is_needed_is_said_as_soon_as_it_is_known() {
    let mut bytes = Vec::new();
    let data = Some(Bytes::from(vec![7; 100_000]));
    encode(&RawPacket { kind: kind::PROPOSAL, zxid: 5, data, identities: None }, &mut bytes);
    let mut decoder = Decoder::new(limits());
    assert_eq!((decoder.decode(&bytes[..15]), decoder.needed_len()), (Ok(None), 16));
    assert_eq!((decoder.decode(&bytes[..16]), decoder.needed_len()), (Ok(None), bytes.len()));
    let (shared, len) = decoder.decode_shared(&Bytes::from(bytes.clone())).unwrap().unwrap();
    assert_eq!((shared, len), (decoded(&bytes), bytes.len()));
    assert_eq!(decoder.needed_len(), 16, "the next packet is under way");
}

#[test]
fn lengths_are_held_against_their_limits_at_once() {
    let limits = Limits::from_settings(100, Some(0));
    assert_eq!(limits.data_len_max, 1124);
    let head = |len: i32| [&packet("q13")[..12], &len.to_be_bytes()].concat();
    assert_eq!(Decoder::new(limits).decode(&head(1124)), Ok(None));
    for len in [1125, -2, i32::MIN, i32::MAX] {
        let error = Decoder::new(limits).decode(&head(len)).unwrap_err();
        assert_eq!(error, FramingError::Length { of: "data", kind: kind::COMMIT, raw: len, max: 1124 });
    }
    for count in [-2, i32::MAX, 16 * 1024 + 1] {
        let bytes = [head(-1), count.to_be_bytes().to_vec()].concat();
        assert!(Decoder::new(limits).decode(&bytes).is_err(), "{count} identities");
    }
}

#[test]
fn identities_together_are_held_against_the_limit() {
    let limits = Limits::from_settings(100, Some(0));
    let with_ids = |count: usize| {
        let identities = vec![("digest".into(), "x".repeat(100).into()); count];
        let mut bytes = Vec::new();
        encode(&RawPacket { kind: kind::REQUEST, zxid: -1, data: None, identities: Some(identities) }, &mut bytes);
        bytes
    };
    assert!(Decoder::new(limits).decode(&with_ids(9)).unwrap().is_some());
    assert!(Decoder::new(limits).decode(&with_ids(10)).is_err());
    let null = [&packet("q13")[..16], &1i32.to_be_bytes(), &[0xff; 8]].concat();
    assert_eq!(Decoder::new(limits).decode(&null), Err(FramingError::NullIdentity { kind: kind::COMMIT }));
}

#[test]
fn hellos_say_who_and_perhaps_what_make() {
    let java = LearnerInfo { sid: 2, protocol_version: PROTOCOL_VERSION, config_version: 0, capabilities: None };
    let hello = data("j01");
    assert_eq!(LearnerInfo::decode(&hello), Ok(java));
    let ours = LearnerInfo { capabilities: Some(Capabilities(5)), ..java };
    let mut bytes = Vec::new();
    ours.encode(&mut bytes);
    assert_eq!(bytes.len(), 28);
    assert_eq!(bytes[..20], hello, "all that ZooKeeper reads of it");
    assert_eq!(LearnerInfo::decode(&bytes), Ok(ours));
    bytes[20] = b'X';
    assert_eq!(LearnerInfo::decode(&bytes), Ok(java), "another's trailer says nothing");
}

#[test]
fn short_hellos_are_old_learners() {
    let full = data("q01");
    let old = |len: usize| LearnerInfo::decode(&full[..len]).map(|info| (info.sid, info.protocol_version));
    assert_eq!(old(8), Ok((5, 1)));
    assert_eq!(old(12), Ok((5, PROTOCOL_VERSION)));
    assert!(old(7).is_err() && old(10).is_err() && old(19).is_err());
}

#[test]
fn leaders_say_their_make_behind_the_version() {
    let java = LeaderInfo { protocol_version: PROTOCOL_VERSION, capabilities: None };
    assert_eq!(LeaderInfo::decode(&data("q02")), Ok(java));
    let ours = LeaderInfo { capabilities: Some(Capabilities(0)), ..java };
    let mut bytes = Vec::new();
    ours.encode(&mut bytes);
    assert_eq!((bytes.len(), LeaderInfo::decode(&bytes)), (12, Ok(ours)));
}

#[test]
fn captured_data_is_what_it_was() {
    assert_eq!(payload::decode_epoch(&data("q03")), Ok(0));
    assert_eq!(payload::decode_touched(&data("j05")), Ok(vec![]));
    assert_eq!(payload::decode_touched(&data("j06")), Ok(vec![(0x0200_001a_5be1_0000, 10_000)]));
    assert!(payload::decode_touched(&data("j06")[..11]).is_err());
    assert_eq!(payload::decode_revalidate(&data("q20")), Ok((0x0500_1122_3344_0000, 8000)));
    assert_eq!(payload::decode_revalidated(&data("q21")), Ok((0x0500_1122_3344_0000, true)));
    assert_eq!(payload::decode_designated(&data("q16")), Ok((4, Bytes::new())));
    let (leader, entry) = payload::decode_designated(&data("q17")).unwrap();
    assert_eq!((leader, entry), (4, data("q15")));
}

#[test]
fn captured_requests_hold_the_clients_own_bytes() {
    let ip: Vec<(Box<str>, Box<str>)> = vec![("ip".into(), "127.0.0.1".into())];
    for (name, opcode, cxid, body_len, identities) in [
        ("j1_REQUEST_type_-10", -10, 0, 4, None),
        ("j1_REQUEST_type_1_", 1, 1, 49, Some(ip.clone())),
        ("j1_REQUEST_type_9", 9, 2, 5, Some(ip.clone())),
        ("j1_REQUEST_type_-11", -11, 1, 0, Some(ip)),
    ] {
        let raw = decoded(&packet(name));
        assert_eq!(raw.identities, identities, "{name}");
        let request = RequestData::decode(&raw.data.unwrap()).unwrap();
        assert_eq!((request.session, request.opcode, request.cxid), (0x0200_001a_5be1_0000, opcode, cxid), "{name}");
        assert_eq!(request.body.len(), body_len, "{name}");
    }
}

/// Cuts the captures everywhere and flips each of their bits: the fuzz target's smoke test.
#[test]
fn damaged_packets_do_no_harm() {
    for (_, bytes) in packets() {
        (0..=bytes.len()).for_each(|len| fuzz_quorum(&bytes[..len]));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fuzz_quorum(&damaged);
        }
    }
}
