//! The protocol's edges: handshakes, frames, sessions and limits, said by hand.
//!
//! Every test here passes against the original too (`RINGKEEPER_SERVER=zookeeper`).

use std::time::{Duration, Instant};

use support::client::{Connection, Granted, Handshake, Received, Reply, Session};
use support::server::Settings;
use support::wire::{self, Reader, Writer, code, frame, opcode};

use crate::reaping::until;
use crate::start;

/// The default limit of a frame.
const FRAME_LEN_MAX: usize = 0xf_ffff;
/// A wait for something that must not come. Too short a wait can only hide a bug, never make a good server fail.
const SILENCE: Duration = Duration::from_millis(300);

fn connect(server: &support::server::Server, handshake: &Handshake) -> Result<Session, Received> {
    Session::handshake(server.address(), handshake)
}

#[test]
fn the_answer_to_a_handshake_depends_on_the_read_only_byte() {
    let server = start(Settings::new());
    let new = connect(&server, &Handshake::default()).expect("a session").granted;
    assert_eq!((new.protocol_version, new.timeout_ms, new.read_only), (0, 30_000, Some(0)));
    let old = Handshake { read_only: None, protocol_version: 7, ..Handshake::default() };
    assert_eq!(connect(&server, &old).expect("a session").granted.read_only, None);
    let null = Handshake { password: None, read_only: Some(true), ..Handshake::default() };
    assert_eq!(connect(&server, &null).expect("a session").granted.read_only, Some(0));
}

#[test]
fn session_ids_count_up_and_their_passwords_follow_from_them() {
    let server = start(Settings::new());
    let first = Session::open(server.address());
    let second = Session::open(server.address());
    assert_eq!(second.id(), first.id() + 1);
    assert_eq!(first.id() >> 56, 1, "a standalone server uses 1 for its id: {:#x}", first.id());
    for session in [&first, &second] {
        assert_eq!(session.granted.password, wire::session_password(session.id()));
    }
}

#[test]
fn timeouts_are_clamped_on_every_attach() {
    let settings = Settings::new().line("minSessionTimeout", -1).line("maxSessionTimeout", -1).line("tickTime", 1000);
    let server = start(settings);
    for (asked, granted) in [(0, 2000), (-9, 2000), (i32::MIN, 2000), (5555, 5555), (i32::MAX, 20_000)] {
        let session = connect(&server, &Handshake { timeout_ms: asked, ..Handshake::default() }).expect("a session");
        assert_eq!(session.granted.timeout_ms, granted, "asked for {asked}");
        let again = Handshake {
            session_id: session.id(),
            password: Some(session.granted.password.clone()),
            timeout_ms: 7777,
            ..Handshake::default()
        };
        assert_eq!(connect(&server, &again).expect("the same session").granted.timeout_ms, 7777);
    }
}

#[test]
fn a_client_that_has_seen_more_is_sent_away() {
    let server = start(Settings::new());
    let future = Handshake { last_zxid_seen: 0x1_0000, ..Handshake::default() };
    assert_eq!(connect(&server, &future).expect_err("no session"), Received::Closed);
    let session = Session::open(server.address());
    let future = Handshake {
        session_id: session.id(),
        password: Some(session.granted.password.clone()),
        last_zxid_seen: i64::MAX,
        ..Handshake::default()
    };
    assert_eq!(connect(&server, &future).expect_err("no answer"), Received::Closed);
    let mut session = session.reattach(server.address()).expect("the session lives on");
    assert!(session.exists("/", false).is_ok());
}

#[test]
fn unknown_sessions_and_wrong_passwords_are_refused() {
    let server = start(Settings::new());
    let session = Session::open(server.address());
    let (id, password) = (session.id(), session.granted.password.clone());
    let wrong: Vec<u8> = password.iter().map(|byte| byte ^ 0x80).collect();
    let unknown = wire::session_password(id + 1_000_000).to_vec();
    for (session_id, password) in
        [(id + 1_000_000, unknown), (id, wrong), (id, vec![0; 16]), (id, vec![]), (-1, password)]
    {
        let thief = Handshake { session_id, password: Some(password), ..Handshake::default() };
        let mut refused = connect(&server, &thief).expect("a refusal is an answer");
        let expected =
            Granted { protocol_version: 0, timeout_ms: 0, session_id: 0, password: vec![0; 16], read_only: Some(0) };
        assert_eq!(refused.granted, expected);
        assert!(refused.connection().closes());
    }
    assert_eq!(session.reattach(server.address()).expect("an answer").id(), id);
}

#[test]
fn attaching_again_closes_the_older_connection() {
    let server = start(Settings::new());
    let mut first = Session::open(server.address());
    first.create("/e", b"", 1).expect("a fresh server");
    first.exists("/e", true).expect("just created");
    let mut second = first.reattach(server.address()).expect("the session lives on");
    assert_eq!(second.id(), first.id());
    assert!(first.connection().closes());
    assert_eq!(second.exists("/e", false).map(|stat| stat.ephemeral_owner), Ok(first.id()));
    second.set("/e", b"1", -1).expect("it is there");
    assert!(second.events.is_empty(), "watches belong to the connection that set them");
}

#[test]
fn requests_behind_the_handshake_are_answered_in_order() {
    let server = start(Settings::new());
    let mut connection = Connection::open(server.address());
    let mut bytes = frame(&Handshake::default().encode());
    let auth = Writer::new().int(-4).int(opcode::AUTH).int(0).string("digest").string("bob:pw").done();
    bytes.extend(frame(&auth));
    for xid in 1..=50 {
        let create = Writer::new().int(xid).int(opcode::CREATE).string(&format!("/n{xid}")).buffer(None);
        bytes.extend(frame(&create.open_acl().int(0).done()));
        bytes.extend(frame(
            &Writer::new().int(1000 + xid).int(opcode::EXISTS).string(&format!("/n{xid}")).byte(0).done(),
        ));
    }
    connection.send(&bytes);
    let mut frames = std::iter::from_fn(|| match connection.receive() {
        Received::Frame(bytes) => Some(bytes),
        _ => None,
    });
    let granted = frames.next().and_then(|bytes| Granted::decode(&bytes)).expect("the handshake's answer is first");
    assert!(granted.timeout_ms > 0);
    let mut replies: Vec<Reply> = frames.by_ref().take(101).filter_map(|bytes| Reply::decode(&bytes)).collect();
    // auth may overtake, the others may not.
    let auth = replies.iter().position(|reply| reply.xid == -4).expect("auth is answered");
    let auth = replies.remove(auth);
    assert_eq!((auth.zxid, auth.err), (0, 0));
    let expected: Vec<(i32, i32)> = (1..=50).flat_map(|xid| [(xid, 0), (1000 + xid, 0)]).collect();
    assert_eq!(replies.iter().map(|reply| (reply.xid, reply.err)).collect::<Vec<_>>(), expected);
}

#[test]
fn the_longest_frame_is_taken_and_a_longer_one_ends_the_connection() {
    let server = start(Settings::new());
    let mut session = Session::open(server.address());
    // Header, path, value's length, ACL, flags: what is left for the value.
    let around = Writer::new().int(0).int(opcode::CREATE).string("/big").int(0).open_acl().int(0).done().len();
    let value = vec![b'v'; FRAME_LEN_MAX - around];
    assert_eq!(session.create("/big", &value, 0), Ok("/big".to_owned()));
    assert_eq!(session.get("/big", false).map(|(data, _)| data), Ok(Some(value.clone())));
    let longer = [value.as_slice(), b"v"].concat();
    session.send(opcode::CREATE, &Writer::new().string("/big").buffer(Some(&longer)).open_acl().int(0).done());
    assert_eq!(session.receive_reply().expect_err("no reply"), Received::Closed);
    assert!(session.reattach(server.address()).expect("the session lives on").exists("/big", false).is_ok());
}

#[test]
fn a_smaller_jute_maxbuffer_is_kept_to() {
    let server = start(Settings::new().property("jute.maxbuffer", 2000));
    let mut session = Session::open(server.address());
    assert!(session.create("/a", &[0; 1900], 0).is_ok());
    session.send(opcode::SET_DATA, &Writer::new().string("/a").buffer(Some(&[0; 2000])).int(-1).done());
    assert_eq!(session.receive_reply().expect_err("no reply"), Received::Closed);
}

#[test]
fn impossible_lengths_end_the_connection_and_not_the_session() {
    let server = start(Settings::new());
    let mut session = Session::open(server.address());
    for length in [-1, i32::MIN, i32::MAX, 0x10_0000] {
        session.connection().send(&length.to_be_bytes());
        assert!(session.connection().closes(), "length {length}");
        session = session.reattach(server.address()).expect("the session lives on");
    }
    // Before the handshake too.
    for length in [-1, i32::MAX] {
        let mut connection = Connection::open(server.address());
        connection.send(&length.to_be_bytes());
        assert!(connection.closes(), "length {length}");
    }
}

#[test]
fn frames_may_come_byte_by_byte_and_many_at_once() {
    let server = start(Settings::new());
    let mut session = Session::open(server.address());
    let request = frame(&Writer::new().int(77).int(opcode::EXISTS).string("/").byte(0).done());
    for byte in &request {
        session.connection().send(std::slice::from_ref(byte));
    }
    assert_eq!(session.receive_reply().expect("a reply").xid, 77);
    let many = request.repeat(2000);
    for part in many.chunks(997) {
        session.connection().send(part);
    }
    for _ in 0..2000 {
        assert_eq!(session.receive_reply().expect("a reply").err, 0);
    }
}

#[test]
fn half_a_frame_holds_nobody_up() {
    let server = start(Settings::new());
    let mut half = Session::open(server.address());
    half.connection().send(&frame(&[0; 100])[..50]);
    let mut handshake = Connection::open(server.address());
    handshake.send(&[0, 0]);
    let mut other = Session::open(server.address());
    for turn in 0..100 {
        assert!(other.set("/", &[turn], -1).is_ok());
    }
}

#[test]
fn unknown_opcodes_are_answered_and_end_the_connection() {
    let server = start(Settings::new());
    let mut session = Session::open(server.address());
    for op in [0, -1, 10, 13, 23, 99, 108, i32::MAX, i32::MIN] {
        let body = Writer::new().string("/").int(-1).done();
        let reply = session.try_call(op, &body).expect("a header");
        assert_eq!((reply.zxid, reply.err, reply.body.len()), (-1, code::UNIMPLEMENTED, 0), "opcode {op}");
        assert!(session.connection().closes());
        session = session.reattach(server.address()).expect("the session lives on");
    }
}

#[test]
fn xids_are_echoed_whatever_they_are() {
    let server = start(Settings::new());
    let mut session = Session::open(server.address());
    for xid in [0, 5, 5, 3, -8, i32::MIN, i32::MAX, -2] {
        let request = Writer::new().int(xid).int(opcode::SYNC).string("/").done();
        session.connection().send_frame(&request);
        assert_eq!(session.receive_reply().expect("a reply").xid, xid);
    }
    session.connection().send_frame(&Writer::new().int(44).int(opcode::PING).done());
    let ping = session.receive_reply().expect("a reply");
    assert_eq!((ping.xid, ping.err, ping.body.len()), (-2, 0, 0));
    session.connection().send_frame(&Writer::new().int(45).int(opcode::AUTH).int(0).string("ip").string("").done());
    let auth = session.receive_reply().expect("a reply");
    assert_eq!((auth.xid, auth.zxid, auth.err), (45, 0, 0));
}

#[test]
fn a_refused_auth_ends_the_connection_and_not_the_session() {
    let server = start(Settings::new());
    let mut session = Session::open(server.address());
    for (scheme, data) in [("nosuch", Some(&b"x"[..])), ("world", Some(b"anyone")), ("digest", None)] {
        let reply = session.try_call(opcode::AUTH, &Writer::new().int(0).string(scheme).buffer(data).done());
        let reply = reply.expect("a header");
        assert_eq!((reply.zxid, reply.err), (0, code::AUTH_FAILED), "{scheme}");
        assert!(session.connection().closes());
        session = session.reattach(server.address()).expect("the session lives on");
    }
}

#[test]
fn closing_answers_and_then_closes() {
    let server = start(Settings::new());
    let mut watcher = Session::open(server.address());
    let mut session = Session::open(server.address());
    session.create("/e1", b"", 1).expect("a fresh server");
    session.create("/e2", b"", 3).expect("a fresh server");
    watcher.exists("/e1", true).expect("just created");
    watcher.children("/", true).expect("always there");
    let mut bytes = frame(&Writer::new().int(1).int(opcode::CLOSE_SESSION).done());
    bytes.extend(frame(&Writer::new().int(2).int(opcode::EXISTS).string("/").byte(0).done()));
    session.connection().send(&bytes);
    let reply = session.receive_reply().expect("closing is answered");
    assert_eq!((reply.xid, reply.err, reply.body.len()), (1, 0, 0));
    // The original may still answer a read that came in the same packet, or drop it.
    while let Ok(behind) = session.receive_reply() {
        assert_eq!(behind.xid, 2);
    }
    watcher.sync();
    assert_eq!(watcher.exists("/e1", false), Err(code::NO_NODE));
    let mut events: Vec<_> = watcher.events.iter().map(|event| (event.kind, event.path.as_str(), event.zxid)).collect();
    events.sort_unstable();
    assert_eq!(events, [(2, "/e1", reply.zxid), (4, "/", reply.zxid)], "one transaction, whatever the order");
    let gone = session.reattach(server.address()).expect("a refusal is an answer");
    assert_eq!(gone.granted.timeout_ms, 0);
}

#[test]
fn sessions_expire_after_silence_and_not_before() {
    let server = start(Settings::new());
    let handshake = Handshake { timeout_ms: 1500, ..Handshake::default() };
    let mut silent = connect(&server, &handshake).expect("a session");
    let mut pinging = connect(&server, &handshake).expect("a session");
    let mut watcher = Session::open(server.address());
    silent.create("/silent", b"", 1).expect("a fresh server");
    pinging.create("/pinging", b"", 1).expect("a fresh server");
    let touched = Instant::now();
    until("the silent session expires", || {
        pinging.call(opcode::PING, &[]).expect("a living session");
        watcher.exists("/silent", false) == Err(code::NO_NODE)
    });
    assert!(touched.elapsed() >= Duration::from_millis(1500), "it expired after {:?}", touched.elapsed());
    assert!(watcher.exists("/pinging", false).is_ok(), "pings keep a session alive");
    assert!(silent.connection().closes(), "the connection of an expired session is closed without a word");
    assert_eq!(silent.reattach(server.address()).expect("an answer").granted.timeout_ms, 0);
}

#[test]
fn sessions_and_their_ephemerals_outlive_a_crash_and_expire_after_it() {
    let mut server = start(Settings::new());
    let handshake = Handshake { timeout_ms: 2000, ..Handshake::default() };
    let mut lost = connect(&server, &handshake).expect("a session");
    let mut kept = connect(&server, &handshake).expect("a session");
    lost.create("/lost", b"", 1).expect("a fresh server");
    kept.create("/kept", b"", 1).expect("a fresh server");
    server.kill();
    server.restart();
    let mut kept = kept.reattach(server.address()).expect("an answer");
    assert_eq!(kept.granted.timeout_ms, 2000, "it is known after the crash");
    until("the session nobody came back for expires", || kept.exists("/lost", false) == Err(code::NO_NODE));
    assert_eq!(kept.exists("/kept", false).map(|stat| stat.ephemeral_owner), Ok(kept.id()));
}

#[test]
fn connections_that_never_shake_hands_are_closed() {
    let server = start(Settings::new().line("nio.sessionlessCnxnTimeout", 500));
    let mut connection = Connection::open(server.address());
    let opened = Instant::now();
    assert!(connection.closes());
    assert!(opened.elapsed() >= Duration::from_millis(400), "after {:?}", opened.elapsed());
    // A session's connection is not among them.
    let mut session = Session::open(server.address());
    session.connection().set_limit(Duration::from_millis(1200));
    assert_eq!(session.connection().receive(), Received::Silent);
}

#[test]
fn too_many_connections_are_closed_at_once() {
    for settings in [Settings::new().line("maxClientCnxns", 3), Settings::new().line("maxCnxns", 3)] {
        let server = start(settings);
        // The probes of the start may still be closing, so the first ones are tried until they fit.
        let mut kept = Vec::new();
        until("three fit", || {
            if let Ok(session) = connect(&server, &Handshake::default()) {
                kept.push(session);
            }
            kept.len() == 3
        });
        assert_eq!(connect(&server, &Handshake::default()).expect_err("no session"), Received::Closed);
        for session in &mut kept {
            assert!(session.exists("/", false).is_ok());
        }
        kept.pop().expect("three were kept").close();
        until("a place is free again", || connect(&server, &Handshake::default()).is_ok());
    }
}

#[test]
fn more_outstanding_requests_than_allowed_only_wait() {
    let server = start(Settings::new().line("globalOutstandingLimit", 10));
    let mut sessions: Vec<Session> = (0..3).map(|_| Session::open(server.address())).collect();
    sessions[0].create("/n", b"", 0).expect("a fresh server");
    let set = Writer::new().string("/n").buffer(Some(b"x")).int(-1).done();
    for session in &mut sessions {
        for _ in 0..500 {
            session.send(opcode::SET_DATA, &set);
        }
    }
    for session in &mut sessions {
        for _ in 0..500 {
            assert_eq!(session.receive_reply().expect("a reply").err, 0);
        }
    }
    assert_eq!(sessions[0].exists("/n", false).map(|stat| stat.version), Ok(1500));
}

#[test]
fn a_client_that_reads_nothing_holds_nobody_up() {
    let server = start(Settings::new());
    let mut deaf = Session::open(server.address());
    deaf.create("/big", &vec![1; 900_000], 0).expect("a fresh server");
    let read = Writer::new().string("/big").byte(0).done();
    for _ in 0..200 {
        deaf.send(opcode::GET_DATA, &read);
    }
    let mut other = Session::open(server.address());
    for turn in 0..200 {
        assert!(other.set("/", &[turn], -1).is_ok());
    }
    // When it listens at last, everything is there.
    for _ in 0..200 {
        assert_eq!(deaf.receive_reply().expect("a reply").body.len(), 4 + 900_000 + 68);
    }
}

#[test]
fn enforced_authentication_closes_whoever_has_none() {
    let settings = Settings::new()
        .property("zookeeper.enforce.auth.enabled", true)
        .property("zookeeper.enforce.auth.schemes", "digest");
    let server = start(settings);
    let mut session = Session::open(server.address());
    let reply = session.try_call(opcode::EXISTS, &Writer::new().string("/").byte(0).done()).expect("a header");
    assert_eq!((reply.zxid, reply.err), (0, -124));
    assert!(session.connection().closes());
    let mut session = session.reattach(server.address()).expect("the session lives on");
    let auth = Writer::new().int(0).string("digest").string("bob:pw").done();
    assert!(session.call(opcode::AUTH, &auth).is_ok());
    assert!(session.exists("/", false).is_ok());
}

#[test]
fn the_super_user_passes_every_acl() {
    let digest = support::differential::pool::SUPER;
    let server = start(Settings::new().property("zookeeper.DigestAuthenticationProvider.superDigest", digest));
    let mut session = Session::open(server.address());
    let nobody = Writer::new().string("/locked").buffer(Some(b"x")).int(1).int(0).string("world").string("anyone");
    assert!(session.call(opcode::CREATE, &nobody.int(0).done()).is_ok());
    assert_eq!(session.get("/locked", false).map(|_| ()), Err(code::NO_AUTH));
    let auth = Writer::new().int(0).string("digest").string("super:duper").done();
    assert!(session.call(opcode::AUTH, &auth).is_ok());
    assert!(session.get("/locked", false).is_ok());
    let who = session.call(opcode::WHO_AM_I, &[]).expect("always possible");
    let mut who = Reader::new(&who).vector(|reader| Some((reader.string()?, reader.string()?))).flatten();
    who.as_mut().expect("a vector of pairs").sort();
    let pair = |scheme: &str, user: &str| (scheme.to_owned(), user.to_owned());
    assert_eq!(who, Some(vec![pair("digest", "super"), pair("ip", "127.0.0.1"), pair("super", "")]));
}

#[test]
fn termination_finishes_what_is_in_flight_and_loses_nothing() {
    let mut server = start(Settings::new());
    let mut session = Session::open(server.address());
    session.create("/n", b"", 0).expect("a fresh server");
    let set = Writer::new().string("/n").buffer(Some(b"x")).int(-1).done();
    for _ in 0..200 {
        session.send(opcode::SET_DATA, &set);
    }
    let status = server.terminate();
    let mut acknowledged = 0;
    while let Ok(reply) = session.receive_reply() {
        acknowledged += i32::from(reply.err == 0);
    }
    // The original ends by the signal's default or with its code; ours ends cleanly.
    let clean = status.code() == Some(0);
    assert!(clean || *server.kind() == support::server::Kind::ZooKeeper395, "{status}");
    server.restart();
    let mut session = session.reattach(server.address()).expect("the session lives on");
    let version = session.exists("/n", false).expect("it was acknowledged").version;
    assert!((acknowledged..=200).contains(&version), "{acknowledged} acknowledged, {version} there");
}

#[test]
fn a_held_session_is_not_woken_by_others_watches() {
    let server = start(Settings::new());
    let mut session = Session::open(server.address());
    let mut other = Session::open(server.address());
    session.exists("/mine", true).expect_err("not there");
    other.create("/other", b"", 0).expect("a fresh server");
    session.connection().set_limit(SILENCE);
    assert_eq!(session.connection().receive(), Received::Silent);
}
