//! Captured packets in both directions, and packets that make no sense.

use net::quorum::{Decoder, Limits};

use super::super::testdata;
use super::Direction::{FromLeader, FromLearner};
use super::*;

fn raw(bytes: &[u8]) -> RawPacket {
    let decoded = Decoder::new(Limits::from_settings(0xf_ffff, None)).decode(bytes);
    let (packet, len) = decoded.unwrap().unwrap();
    assert_eq!(len, bytes.len());
    packet
}

fn encoded(packet: &PeerPacket) -> Vec<u8> {
    let mut out = Vec::new();
    encode(packet, &mut out);
    out
}

fn captured(name: &str) -> PeerPacket {
    let of = |packets: Vec<(&str, Vec<u8>)>, direction| {
        let found = packets.into_iter().find(|(packet, _)| packet.starts_with(name));
        found.map(|(_, bytes)| from_raw(raw(&bytes), direction).unwrap())
    };
    of(testdata::from_leader(), FromLeader).or_else(|| of(testdata::from_learner(), FromLearner)).unwrap()
}

fn bare(kind: i32) -> RawPacket {
    RawPacket { kind, zxid: 0x5_0000_0001, data: None, identities: None }
}

fn with_data(kind: i32, data: &[u8]) -> RawPacket {
    RawPacket { data: Some(Bytes::copy_from_slice(data)), ..bare(kind) }
}

#[test]
fn captured_packets_encode_to_their_own_bytes() {
    let both = [(testdata::from_leader(), FromLeader), (testdata::from_learner(), FromLearner)];
    for (packets, direction) in both {
        for (name, bytes) in packets {
            assert_eq!(encoded(&from_raw(raw(&bytes), direction).unwrap()), bytes, "{name}");
        }
    }
}

#[test]
fn captured_packets_mean_what_they_were() {
    let zxid = |raw| Zxid::from_wire(raw);
    let hello = |name| match captured(name) {
        PeerPacket::Zab(Packet::Hello(hello)) => hello,
        other => panic!("{other:?}"),
    };
    let observer = hello("q01");
    assert_eq!((observer.sid, observer.is_observer, observer.is_ringkeeper), (Sid::new(5), true, false));
    assert_eq!((hello("j01").sid, hello("j01").is_observer), (Sid::new(2), false));
    let leader = Packet::LeaderInfo { epoch: Epoch::new(1), is_ringkeeper: false };
    assert_eq!(captured("q02"), PeerPacket::Zab(leader));
    let ack = Packet::AckEpoch { last: Zxid::ZERO, current_epoch: Some(Epoch::new(0)) };
    assert_eq!(captured("j02"), PeerPacket::Zab(ack));
    let PeerPacket::Zab(Packet::NewLeader { epoch, config: Some(config) }) = captured("q06") else { panic!() };
    assert!(epoch == Epoch::new(1) && config.starts_with("server.1=") && config.ends_with("version=0"));
    let session = SessionId::new(0x0200_001a_5be1_0000);
    let pong = PeerPacket::Pong { last: zxid(0x6_0000_0002), touched: vec![(session, 10_000)] };
    assert_eq!(captured("j06"), pong);
    assert_eq!(captured("j08"), PeerPacket::Revalidate { session, timeout_ms: 10_000 });
    let designated = Sid::new(4);
    let commit = Packet::CommitAndActivate { zxid: zxid(0x1_0000_0002), designated };
    assert_eq!(captured("q16"), PeerPacket::Zab(commit));
    let PeerPacket::Request(create) = captured("j1_REQUEST_type_1_") else { panic!() };
    assert_eq!((create.session, create.cxid, create.opcode), (session, Xid::new(1), 1));
    assert_eq!(create.identities, Some(vec![Identity::new("ip", "127.0.0.1")]));
}

#[test]
fn a_ringkeeper_is_known_to_another() {
    let PeerPacket::Zab(Packet::Hello(hello)) = captured("j01") else { panic!() };
    let ours = PeerPacket::Zab(Packet::Hello(Hello { is_ringkeeper: true, ..hello }));
    assert_eq!(from_raw(raw(&encoded(&ours)), FromLearner), Ok(ours));
    let leader = PeerPacket::Zab(Packet::LeaderInfo { epoch: Epoch::new(7), is_ringkeeper: true });
    assert_eq!(from_raw(raw(&encoded(&leader)), FromLeader), Ok(leader));
}

#[test]
fn an_epoch_that_does_not_count_is_none() {
    let again = PeerPacket::Zab(Packet::AckEpoch { last: Zxid::from_wire(9), current_epoch: None });
    let bytes = encoded(&again);
    assert_eq!(bytes[16..20], [0xff; 4]);
    assert_eq!(from_raw(raw(&bytes), FromLearner), Ok(again));
}

/// ZooKeeper's leader stops talking to a learner whose answer to PING has null data.
#[test]
fn a_pong_always_has_data() {
    let last = Zxid::from_wire(9);
    let pong = encoded(&PeerPacket::Pong { last, touched: vec![] });
    assert_eq!(pong[12..16], [0; 4]);
    assert_eq!(encoded(&PeerPacket::Zab(Packet::Pong { last })), pong);
    assert_eq!(encoded(&PeerPacket::Zab(Packet::Ping { last }))[12..16], [0xff; 4]);
    assert_eq!(from_raw(bare(kind::PING), FromLearner), Err(PacketError::NoData("PING")));
}

#[test]
fn every_packet_comes_from_its_own_side() {
    for (name, bytes) in testdata::from_leader() {
        let outcome = from_raw(raw(&bytes), FromLearner);
        let both_send = ["PING", "REVALIDATE"].iter().any(|word| name.contains(word));
        assert!(both_send || matches!(outcome, Err(PacketError::Misdirected(_))), "{name}: {outcome:?}");
    }
    for (name, bytes) in testdata::from_learner() {
        let outcome = from_raw(raw(&bytes), FromLeader);
        let both_send = ["PING", "REVALIDATE"].iter().any(|word| name.contains(word));
        assert!(both_send || matches!(outcome, Err(PacketError::Misdirected(_))), "{name}: {outcome:?}");
    }
    for unknown in [0, 20, -1, i32::MIN] {
        assert_eq!(from_raw(bare(unknown), FromLeader), Err(PacketError::Unknown(unknown)));
    }
}

#[test]
fn nonsense_is_named() {
    let line = |raw, direction| from_raw(raw, direction).unwrap_err().to_string();
    assert_eq!(line(bare(kind::PROPOSAL), FromLeader), "PROPOSAL without data");
    assert_eq!(line(bare(kind::FOLLOWER_INFO), FromLearner), "FOLLOWERINFO without data");
    assert_eq!(line(with_data(kind::ACK_EPOCH, &[1]), FromLearner), "ACKEPOCH with data that is not its own");
    assert_eq!(line(with_data(kind::INFORM, &[0; 31]), FromLeader), "INFORM with data that is not its own");
    let other = "PROPOSAL of 0x500000001 with the transaction 0x0";
    assert_eq!(line(with_data(kind::PROPOSAL, &[0; 32]), FromLeader), other);
    let old = "FOLLOWERINFO with protocol version 0x1; 0x10000 is the least";
    assert_eq!(line(with_data(kind::FOLLOWER_INFO, &[0; 8]), FromLearner), old);
    assert_eq!(line(bare(kind::REQUEST), FromLeader), "REQUEST from the wrong side of the connection");
    let text = "NEWLEADER with a configuration that is not UTF-8";
    assert_eq!(line(with_data(kind::NEW_LEADER, b"\xff\xff"), FromLeader), text);
}

#[test]
fn a_large_payload_is_left_for_the_caller() {
    let PeerPacket::Request(request) = captured("j1_REQUEST_type_1_") else { panic!() };
    let body = Bytes::from(vec![7; 10_000]);
    let request = PeerPacket::Request(ForwardedRequest { body: body.clone(), ..request });
    let mut out = b"before".to_vec();
    let behind = encode_around(&request, 10_000, &mut out).unwrap();
    assert_eq!(behind.payload.as_ptr(), body.as_ptr(), "not a copy");
    assert_eq!([&out[6..], &behind.payload, &behind.tail].concat(), encoded(&request));
    assert_eq!(encode_around(&request, 10_001, &mut out), None);
    assert_eq!(encode_around(&captured("q17"), 1, &mut out).unwrap().tail, [0xff; 4]);
}

/// Cuts the captures everywhere and flips each of their bits: the fuzz target's smoke test.
#[test]
fn damaged_packets_do_no_harm() {
    for (_, bytes) in testdata::from_leader().into_iter().chain(testdata::from_learner()) {
        (0..=bytes.len()).for_each(|len| fuzz_peer_packet(&bytes[..len]));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fuzz_peer_packet(&damaged);
        }
    }
}
