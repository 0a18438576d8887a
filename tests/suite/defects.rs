//! The original's known defects: each test says to Ringkeeper what breaks ZooKeeper, and the server answers, serves on
//! and restarts on the same data.
//!
//! Absent     9 (a read-only server refuses sessions in a malformed way) comes with read-only mode; 12 (the sequential
//!            counter stays at 2147483647, kept) would take 2^31 creates here and is tested in the tree. These tests do
//!            not run against the original: most of them stop it for good.

use support::client::{Connection, Handshake, Received, Session};
use support::differential::pool;
use support::server::{Server, Settings};
use support::wire::{Writer, code, opcode};

use crate::start;

const PERSISTENT: i32 = 0;
const CONTAINER: i32 = 4;

/// The server serves another client now, and all its data after a crash and a restart.
fn still_serves_and_restarts(mut server: Server) {
    let mut other = Session::open(server.address());
    assert_eq!(other.create("/still", b"here", PERSISTENT), Ok("/still".to_owned()));
    assert_eq!(server.ended(), None, "{}", server.log_tail(40));
    server.kill();
    server.restart();
    let mut again = other.reattach(server.address()).expect("the session outlives the crash");
    assert_eq!(again.id(), other.id());
    assert_eq!(again.get("/still", false).map(|(data, _)| data), Ok(Some(b"here".to_vec())));
    assert_eq!(again.create("/more", b"", PERSISTENT), Ok("/more".to_owned()));
}

/// An opcode that is none gets a header of zxid -1 and the end of the connection.
fn is_unknown(session: &mut Session, op: i32, body: &[u8]) {
    let reply = session.try_call(op, body).expect("unknown opcodes are answered");
    assert_eq!((reply.zxid, reply.err, reply.body.len()), (-1, code::UNIMPLEMENTED, 0));
    assert!(session.connection().closes());
}

#[test]
fn defect_1_create_ttl_without_a_ttl_mode_is_refused() {
    let server = start(Settings::new().line("extendedTypesEnabled", true));
    let mut session = Session::open(server.address());
    for flags in 0..=4 {
        let body = Writer::new().string("/x").buffer(Some(b"")).open_acl().int(flags).long(-1).done();
        assert_eq!(session.call(opcode::CREATE_TTL, &body), Err(code::BAD_ARGUMENTS), "flags {flags}");
    }
    assert_eq!(session.exists("/x", false), Err(code::NO_NODE));
    still_serves_and_restarts(server);
}

#[test]
fn defect_2_a_quota_for_the_root_has_no_effect() {
    let server = start(Settings::new());
    let mut session = Session::open(server.address());
    let answer = session.create("/zookeeper/quota/zookeeper_limits", b"count=1,bytes=1", PERSISTENT);
    assert!(answer.is_ok() || answer == Err(code::BAD_ARGUMENTS), "{answer:?}");
    assert!(session.create("/a", b"12345", PERSISTENT).is_ok());
    assert!(session.create("/b", b"12345", PERSISTENT).is_ok());
    still_serves_and_restarts(server);
}

#[test]
fn defect_3_a_limits_node_outside_the_quota_tree_is_a_plain_node() {
    let server = start(Settings::new());
    let mut session = Session::open(server.address());
    for parent in ["/zookeeper/f", "/zookeeper/q"] {
        let path = format!("{parent}/zookeeper_limits");
        assert!(session.create(parent, b"", PERSISTENT).is_ok());
        assert!(session.create(&path, b"count=1,bytes=1", PERSISTENT).is_ok());
        assert_eq!(session.delete(&path, -1), Ok(()));
    }
    still_serves_and_restarts(server);
}

/// A quota on /q, as zkCli sets it.
fn set_quota(session: &mut Session, limits: &[u8]) {
    assert!(session.create("/q", b"", PERSISTENT).is_ok());
    assert!(session.create("/zookeeper/quota/q", b"", PERSISTENT).is_ok());
    assert!(session.create("/zookeeper/quota/q/zookeeper_limits", limits, PERSISTENT).is_ok());
    assert!(session.create("/zookeeper/quota/q/zookeeper_stats", b"", PERSISTENT).is_ok());
}

#[test]
fn defect_4_usage_that_does_not_parse_counts_as_none() {
    for usage in [None, Some(&b"nonsense"[..]), Some(b""), Some(b"count=,bytes=x"), Some(b"count=99999999999999999999")]
    {
        let server = start(Settings::new());
        let mut session = Session::open(server.address());
        set_quota(&mut session, b"count=10,bytes=1000");
        let body = Writer::new().string("/zookeeper/quota/q/zookeeper_stats").buffer(usage).int(-1).done();
        assert!(session.call(opcode::SET_DATA, &body).is_ok());
        assert!(session.create("/q/a", b"12345", PERSISTENT).is_ok(), "{usage:?}");
        assert!(session.set("/q/a", b"1", -1).is_ok());
        assert_eq!(session.delete("/q/a", -1), Ok(()));
        still_serves_and_restarts(server);
    }
}

#[test]
fn defect_5_delete_container_is_no_request_of_clients() {
    let server = start(Settings::new());
    let mut session = Session::open(server.address());
    assert!(session.create("/plain", b"", PERSISTENT).is_ok());
    is_unknown(&mut session, opcode::DELETE_CONTAINER, &Writer::new().string("/plain").done());
    let mut session = session.reattach(server.address()).expect("the session lives on");
    assert!(session.exists("/plain", false).is_ok());
    still_serves_and_restarts(server);
}

#[test]
fn defect_6_create_session_is_no_request_of_clients() {
    let server = start(Settings::new());
    let mut session = Session::open(server.address());
    is_unknown(&mut session, opcode::CREATE_SESSION, &Writer::new().int(30_000).done());
    assert_eq!(session.reattach(server.address()).expect("the session lives on").id(), session.id());
    still_serves_and_restarts(server);
}

#[test]
fn defect_7_a_write_that_does_not_decode_stops_nobody() {
    let server = start(Settings::new());
    let mut session = Session::open(server.address());
    let mut other = Session::open(server.address());
    for op in [
        opcode::CREATE,
        opcode::CREATE2,
        opcode::CREATE_CONTAINER,
        opcode::CREATE_TTL,
        opcode::DELETE,
        opcode::SET_DATA,
        opcode::SET_ACL,
        opcode::MULTI,
        opcode::RECONFIG,
    ] {
        for body in [&[][..], &[0, 0, 0, 9, b'/'], &[0x7f, 0xff, 0xff, 0xff], &[0xff; 3]] {
            let answer = session.call(op, body);
            let disabled = op == opcode::RECONFIG && answer == Err(code::RECONFIG_DISABLED);
            assert!(answer == Err(code::MARSHALLING_ERROR) || disabled, "opcode {op}, {body:02x?}: {answer:?}");
        }
        let path = format!("/after-{op}");
        assert_eq!(other.create(&path, b"", PERSISTENT), Ok(path));
    }
    still_serves_and_restarts(server);
}

#[test]
fn defect_8_a_wrong_password_disconnects_nobody() {
    let server = start(Settings::new());
    let mut owner = Session::open(server.address());
    for password in [Some(vec![7; 16]), Some(vec![]), None] {
        let thief = Handshake { session_id: owner.id(), password, ..Handshake::default() };
        let refused = Session::handshake(server.address(), &thief);
        match refused {
            Ok(mut refused) => {
                assert_eq!((refused.granted.timeout_ms, refused.granted.session_id), (0, 0));
                assert_eq!(refused.granted.password, vec![0; 16]);
                assert!(refused.connection().closes());
            }
            Err(end) => assert_eq!(end, Received::Closed),
        }
        assert!(owner.exists("/", false).is_ok(), "the owner's connection stays");
    }
    still_serves_and_restarts(server);
}

#[test]
fn defect_10_limits_that_do_not_parse_limit_nothing() {
    for limits in [&b"nonsense"[..], b"", b"count=", b"count=x,bytes=y", b"countHardLimit=1.5", b"\xff\xfe"] {
        let server = start(Settings::new().line("enforceQuota", true));
        let mut session = Session::open(server.address());
        set_quota(&mut session, limits);
        assert!(session.create("/q/a", b"12345", PERSISTENT).is_ok(), "{limits:?}");
        assert!(session.set("/q/a", b"123456789", -1).is_ok(), "{limits:?}");
        still_serves_and_restarts(server);
    }
}

#[test]
fn defect_11_a_container_flag_outside_multi_makes_a_persistent_node() {
    let server = start(Settings::new().property("znode.container.checkIntervalMs", 50));
    let mut session = Session::open(server.address());
    assert!(session.create("/plain", b"", CONTAINER).is_ok());
    assert!(session.create("/plain/child", b"", PERSISTENT).is_ok());
    let body = Writer::new().string("/container").buffer(Some(b"")).open_acl().int(CONTAINER).done();
    assert!(session.call(opcode::CREATE_CONTAINER, &body).is_ok());
    assert!(session.create("/container/child", b"", PERSISTENT).is_ok());
    assert_eq!(session.delete("/plain/child", -1), Ok(()));
    assert_eq!(session.delete("/container/child", -1), Ok(()));
    crate::reaping::until("the real container is reaped", || session.exists("/container", false).is_err());
    assert!(session.exists("/plain", false).is_ok(), "emptied before the container was, and still here");
    still_serves_and_restarts(server);
}

#[test]
fn defect_13_a_refused_multi_read_has_no_body() {
    let server = start(Settings::new());
    let mut session = Session::open(server.address());
    let create = Writer::new().string("/x").buffer(Some(b"")).open_acl().int(PERSISTENT).done();
    let read = Writer::new().string("/").byte(0).done();
    let body = Writer::new()
        .int(opcode::GET_DATA)
        .byte(0)
        .int(-1)
        .raw(&read)
        .int(opcode::CREATE)
        .byte(0)
        .int(-1)
        .raw(&create)
        .int(-1)
        .byte(1)
        .int(-1)
        .done();
    let reply = session.try_call(opcode::MULTI_READ, &body).expect("an answer");
    assert_eq!((reply.err, reply.body.len()), (code::MARSHALLING_ERROR, 0));
    assert_eq!(session.exists("/x", false), Err(code::NO_NODE));
    still_serves_and_restarts(server);
}

/// Not of the list, but of its kind: bytes by which a server that trusts them would stop.
#[test]
fn hostile_bytes_stop_nobody() {
    let server = start(Settings::new().property("zookeeper.DigestAuthenticationProvider.superDigest", pool::SUPER));
    let mut session = Session::open(server.address());
    assert!(session.create("/a", b"", PERSISTENT).is_ok());
    // Counts and lengths that nothing could hold.
    for claim in [i32::MAX, 0x1000_0000, -2, i32::MIN] {
        let vector = Writer::new().string("/x").buffer(Some(b"")).int(claim).done();
        assert_eq!(session.call(opcode::CREATE, &vector), Err(code::MARSHALLING_ERROR));
        let lists = Writer::new().long(0).int(claim).done();
        assert_eq!(session.call(opcode::SET_WATCHES, &lists), Err(code::MARSHALLING_ERROR));
        let nested = Writer::new().int(opcode::DELETE).byte(0).int(-1).int(claim).done();
        assert_eq!(session.call(opcode::MULTI, &nested), Err(code::MARSHALLING_ERROR));
    }
    // A path as long as a frame, and one as deep.
    for path in [format!("/{}", "x".repeat(1_000_000)), "/x".repeat(500_000)] {
        let answer = session.create(&path, b"", PERSISTENT);
        assert!(answer.is_ok() || answer == Err(code::NO_NODE), "{:?}", answer.err());
        assert!(session.get(&path, true).is_ok() == answer.is_ok());
        let _ = session.exists(&path, true);
    }
    // A handshake that is none.
    for bytes in [&[][..], &[0], &[0; 43], &[0xff; 45], &[0xff; 4096]] {
        let mut connection = Connection::open(server.address());
        connection.send_frame(bytes);
        let _ = connection.receive();
    }
    still_serves_and_restarts(server);
}
