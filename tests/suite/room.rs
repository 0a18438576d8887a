//! Writes that the log has no room for: they wait while room is being made, and are refused only when there is none on
//! the disk. Nothing acknowledged is lost either way.

use std::fs;
use std::thread;

use support::client::{Handshake, Received, Session};
use support::four_letter::ask;
use support::server::{Server, Settings};
use support::wire::{Writer, code, opcode};

use crate::layouts::on_each_layout;
use crate::reaping::until;
use crate::start;

/// Bytes of a value: a few of them fill one of the short segments that servers have here.
const LARGE: usize = 900_000;

const EPHEMERAL: i32 = 1;

fn metric(server: &Server, name: &str) -> i64 {
    let report = ask(server.address(), "mntr").expect("mntr is allowed here");
    let line = report.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t'));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in\n{report}"))
}

#[test]
fn writes_wait_while_a_segment_is_made() {
    on_each_layout(|layout, settings| {
        let server = start(settings);
        Session::open(server.address()).create("/large", b"", 0).unwrap();
        let body = Writer::new().string("/large").buffer(Some(&vec![7; LARGE])).int(-1).done();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut session = Session::open(server.address());
                    // More than twice what a segment holds is under way at once.
                    for _ in 0..5 {
                        let asked: Vec<i32> = (0..12).map(|_| session.send(opcode::SET_DATA, &body)).collect();
                        for xid in asked {
                            let reply = session.receive_reply().expect(layout);
                            assert_eq!((reply.xid, reply.err), (xid, code::OK), "{layout}");
                        }
                    }
                });
            }
        });
        assert_eq!(metric(&server, "zk_log_has_room"), 1, "{layout}");
    });
}

/// Writes `/n<number>` from `first` on until one is refused; that one's number.
fn write_until_refused(session: &mut Session, first: usize) -> usize {
    for number in first..first + 1000 {
        match session.create(&format!("/n{number}"), &vec![number as u8; 100_000], 0) {
            Ok(_) => {}
            Err(code::SYSTEM_ERROR) => return number,
            Err(other) => panic!("/n{number} was refused with {other}"),
        }
    }
    panic!("the disk never got full");
}

fn assert_holds(session: &mut Session, count: usize) {
    for number in 0..count {
        let (data, _) = session.get(&format!("/n{number}"), false).expect("it was acknowledged");
        assert_eq!(data, Some(vec![number as u8; 100_000]));
    }
}

#[test]
fn full_disk_refuses_writes_serves_reads_and_recovers() {
    on_each_layout(|layout, settings| {
        // Two segments, the third one's place taken by something else that can go.
        let mut server = start(settings.disk_mib(64));
        let ballast = server.disk().expect("it was asked for").outside(&server.data_dir().join("ballast"));
        fs::write(&ballast, vec![0; 25 << 20]).expect("the disk has this much");
        let mut session = Session::open(server.address());
        let refused = write_until_refused(&mut session, 0);
        assert!(refused > 200, "{layout}: refused {refused} though two segments hold more");
        assert_eq!(metric(&server, "zk_log_has_room"), 0, "{layout}");
        assert!(metric(&server, "zk_writes_refused_no_space_count") > 0, "{layout}");
        assert_holds(&mut session, refused);
        session.sync();
        assert_eq!(session.delete("/n0", -1), Err(code::SYSTEM_ERROR), "{layout}");
        assert_eq!(Session::handshake(server.address(), &Handshake::default()).unwrap_err(), Received::Closed);

        fs::remove_file(&ballast).expect("it is ours");
        until("writes are taken again", || metric(&server, "zk_log_has_room") == 1);
        // The session outlived it, and so did its place in the sequence of zxids.
        assert_eq!(session.exists(&format!("/n{refused}"), false), Err(code::NO_NODE), "{layout}");
        session.create(&format!("/n{refused}"), &vec![refused as u8; 100_000], 0).expect(layout);
        Session::open(server.address()).close();
        server.kill();
        server.restart();
        let mut session = session.reattach(server.address()).expect("sessions survive a crash");
        assert_holds(&mut session, refused + 1);
    });
}

#[test]
fn a_fleet_that_expires_at_once_is_closed() {
    /// The ends of so many sessions list more paths than may wait for the log at once.
    const SESSIONS: usize = 800;
    const EPHEMERALS: usize = 20;
    let mut server = start(Settings::new());
    let handshake = Handshake { timeout_ms: 6_000, ..Handshake::default() };
    let name = "e".repeat(1000);
    for number in 0..SESSIONS {
        let mut session = Session::handshake(server.address(), &handshake).expect("it grants sessions");
        let mut multi = Writer::new();
        for ephemeral in 0..EPHEMERALS {
            let path = format!("/{name}{number}-{ephemeral}");
            multi = multi.int(opcode::CREATE).byte(0).int(-1);
            multi = multi.string(&path).buffer(None).open_acl().int(EPHEMERAL);
        }
        session.call(opcode::MULTI, &multi.int(-1).byte(1).int(-1).done()).expect("all paths are new");
    }
    // A restart gives all of them their full timeout from the same moment on.
    server.kill();
    server.restart();
    let mut witness = Session::open(server.address());
    until("all of them expire", || {
        witness.call(opcode::PING, &[]).expect("the server lives");
        metric(&server, "zk_global_sessions") == 1
    });
    assert_eq!(metric(&server, "zk_ephemerals_count"), 0);
    assert_eq!(witness.children("/", false).unwrap(), ["zookeeper"]);
}
