//! The same server with its roles on one executor, on two, and all apart: clients must not notice.
//!
//! Flow       for each layout: sessions, more than there are serving cores, so that every core has some; each kind of
//!            thing that crosses cores is done between sessions of different cores.
//! Absent     speed: the executors share two CPUs here. What a layout brings is measured on machines that have cores.

use std::net::TcpListener;
use std::time::Duration;

use support::client::{Handshake, Received, Reply, Session};
use support::four_letter::ask;
use support::server::{Server, Settings};
use support::wire::{code, opcode};

use crate::reaping::until;
use crate::start;

/// Enough for every serving core to have several.
const SESSIONS: usize = 6;

/// Rounds of a conversation in which any message that comes too late shows.
const ROUNDS: usize = 200;

const EPHEMERAL: i32 = 1;
const SEQUENTIAL: i32 = 2;

/// Layouts for two CPUs, or for one where there are no two: an explicit layout may use a CPU twice.
fn layouts() -> Vec<String> {
    let cpus: Vec<usize> = tuning::Machine::read().cpus().iter().map(|cpu| cpu.id).collect();
    let (first, last) = (cpus[0], cpus[cpus.len() - 1]);
    // `auto` is one of these two on such machines.
    let pair = if first == last { "single" } else { "paired" };
    vec![
        "single".to_owned(),
        pair.to_owned(),
        format!("replica+log={first}/serve={last}"),
        format!("replica={first}/log={last}/serve={first}/serve={last}"),
        format!("log+serve={first}/replica+serve={last}"),
        format!("replica+serve={first}/log={last}/serve={last}"),
    ]
}

pub fn on_each_layout(test: impl Fn(&str, Settings)) {
    for layout in layouts() {
        println!("layout {layout}");
        test(&layout, Settings::new().property("ringkeeper.layout", &layout));
    }
}

fn sessions(server: &Server) -> Vec<Session> {
    (0..SESSIONS).map(|_| Session::open(server.address())).collect()
}

fn value_of(session: &mut Session, path: &str) -> Vec<u8> {
    session.get(path, false).expect("the node is there").0.expect("it has a value")
}

#[test]
fn what_one_session_is_told_another_sees_behind_a_sync() {
    on_each_layout(|layout, settings| {
        let server = start(settings);
        let mut sessions = sessions(&server);
        sessions[0].create("/counter", b"0", 0).unwrap();
        for round in 0..ROUNDS {
            let writer = round % SESSIONS;
            let text = round.to_string();
            sessions[writer].set("/counter", text.as_bytes(), i32::try_from(round).unwrap()).expect(layout);
            let reader = &mut sessions[(round * 5 + 1) % SESSIONS];
            reader.sync();
            assert_eq!(value_of(reader, "/counter"), text.as_bytes(), "{layout}, round {round}");
        }
    });
}

#[test]
fn requests_of_one_connection_are_answered_in_their_order() {
    on_each_layout(|layout, settings| {
        let server = start(settings);
        let mut sessions = sessions(&server);
        sessions[0].create("/node", b"", 0).unwrap();
        for session in &mut sessions {
            session.sync();
            let get = support::wire::Writer::new().string("/node").byte(0).done();
            let bad = support::wire::Writer::new().string("/node").done();
            let mut asked = Vec::new();
            for round in 0..ROUNDS {
                let set = support::wire::Writer::new().string("/node").buffer(Some(b"x")).int(-1).done();
                asked.push((session.send(opcode::SET_DATA, &set), 0));
                asked.push((session.send(opcode::GET_DATA, &get), 0));
                if round % 7 == 0 {
                    asked.push((session.send(opcode::SET_DATA, &bad), code::MARSHALLING_ERROR));
                    asked.push((session.send(opcode::SYNC, &bad), 0));
                }
            }
            let mut zxid = 0;
            for (xid, err) in asked {
                let reply = session.receive_reply().expect(layout);
                assert_eq!((reply.xid, reply.err), (xid, err), "{layout}");
                assert!(reply.zxid >= zxid, "{layout}: zxids of replies fell");
                zxid = reply.zxid;
            }
        }
    });
}

#[test]
fn watchers_on_every_core_are_told_before_they_can_see_the_change() {
    on_each_layout(|layout, settings| {
        let server = start(settings);
        let mut sessions = sessions(&server);
        sessions[0].create("/watched", b"", 0).unwrap();
        for round in 0..20 {
            for session in &mut sessions {
                session.sync();
                session.get("/watched", true).unwrap();
            }
            let text = format!("round {round}");
            sessions[round % SESSIONS].set("/watched", text.as_bytes(), -1).unwrap();
            for session in &mut sessions {
                session.sync();
                assert_eq!(value_of(session, "/watched"), text.as_bytes(), "{layout}");
                let event = session.events.pop_front();
                assert_eq!(event.expect("told before").path, "/watched", "{layout}");
                assert!(session.events.is_empty(), "{layout}: told twice");
            }
        }
    });
}

#[test]
fn a_session_moves_between_cores_and_its_old_connection_ends() {
    on_each_layout(|layout, settings| {
        let server = start(settings);
        let _others = sessions(&server);
        let mut session = Session::open(server.address());
        session.create("/mine", b"", EPHEMERAL).unwrap();
        for round in 0..10 {
            let text = round.to_string();
            session.set("/mine", text.as_bytes(), -1).expect(layout);
            // The client has seen its own write, and any core must show it at once.
            let mut moved = session.reattach(server.address()).expect("the session lives");
            assert_eq!(moved.id(), session.id(), "{layout}");
            assert_eq!(value_of(&mut moved, "/mine"), text.as_bytes(), "{layout}");
            assert_eq!(session.connection().receive(), Received::Closed, "{layout}: the old connection");
            session = moved;
        }
        session.close();
        let mut other = Session::open(server.address());
        other.sync();
        assert_eq!(other.exists("/mine", false), Err(code::NO_NODE), "{layout}");
    });
}

#[test]
fn a_silent_session_expires_for_every_core() {
    on_each_layout(|layout, settings| {
        let server = start(settings);
        let mut sessions = sessions(&server);
        let short = Handshake { timeout_ms: 1000, ..Handshake::default() };
        let mut silent = Session::handshake(server.address(), &short).expect("a session");
        silent.create("/ephemeral", b"", EPHEMERAL).unwrap();
        for session in &mut sessions {
            session.sync();
            session.exists("/ephemeral", true).expect(layout);
        }
        assert_eq!(silent.connection().receive(), Received::Closed, "{layout}: an expired session's connection");
        for session in &mut sessions {
            until("the ephemeral goes", || session.exists("/ephemeral", false) == Err(code::NO_NODE));
            assert_eq!(session.events.len(), 1, "{layout}");
        }
        let refused = silent.reattach(server.address()).expect("an answer");
        assert_eq!(refused.granted.timeout_ms, 0, "{layout}: an expired session is not given back");
    });
}

#[test]
fn sequence_numbers_are_given_once_whatever_core_asks() {
    on_each_layout(|layout, settings| {
        let server = start(settings);
        let names = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..SESSIONS)
                .map(|_| {
                    scope.spawn(|| {
                        let mut session = Session::open(server.address());
                        (0..50).map(|_| session.create("/s-", b"", SEQUENTIAL).unwrap()).collect::<Vec<_>>()
                    })
                })
                .collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect::<std::collections::BTreeSet<_>>()
        });
        assert_eq!(names.len(), SESSIONS * 50, "{layout}");
        let last = format!("/s-{:010}", SESSIONS * 50 - 1);
        assert_eq!(names.last(), Some(&last), "{layout}");
    });
}

#[test]
fn limits_count_the_connections_of_all_cores() {
    on_each_layout(|layout, settings| {
        let server = start(settings.line("maxCnxns", SESSIONS));
        let connect = || Session::handshake(server.address(), &Handshake::default());
        let mut sessions = Vec::new();
        // The connection that asked whether the server runs may still count.
        until("all connections below the limit are taken", || {
            sessions.extend(connect());
            sessions.len() == SESSIONS
        });
        assert!(connect().is_err(), "{layout}: one too many");
        sessions.pop().expect("there are several").close();
        until("one more is taken when one has gone", || connect().is_ok());
    });
}

#[test]
fn reports_are_about_all_cores() {
    on_each_layout(|layout, settings| {
        let server = start(settings);
        let mut sessions = sessions(&server);
        sessions[0].create("/watched", b"", 0).unwrap();
        for session in &mut sessions {
            session.sync();
            session.get("/watched", true).unwrap();
        }
        let ask = |word: &str| ask(server.address(), word).unwrap();
        let own = format!("zk_num_alive_connections\t{}\n", SESSIONS + 1);
        until("connections of earlier questions are gone", || ask("mntr").contains(&own));
        let mntr = ask("mntr");
        for expected in [
            format!("zk_watch_count\t{SESSIONS}\n"),
            format!("zk_global_sessions\t{SESSIONS}\n"),
            format!("zk_commit_count\t{}\n", SESSIONS + 1),
            "zk_outstanding_txns\t0\n".to_owned(),
        ] {
            assert!(mntr.contains(&expected), "{layout}: {expected:?} is missing in\n{mntr}");
        }
        let watches = format!("{SESSIONS} connections watching 1 paths\nTotal watches:{SESSIONS}\n");
        assert_eq!(ask("wchs"), watches, "{layout}");
        let count = |word: &str, of: fn(&str) -> bool| ask(word).lines().filter(|line| of(line)).count();
        assert_eq!(count("wchp", |line| line.starts_with("\t0x")), SESSIONS, "{layout}");
        assert_eq!(count("wchc", |line| line.starts_with("0x")), SESSIONS, "{layout}");
        assert_eq!(count("cons", |line| line.contains("sid=0x")), SESSIONS, "{layout}");
        assert!(count("dump", |line| line.contains("sessionId: 0x")) >= SESSIONS, "{layout}");
        assert_eq!(ask("srst"), "Server stats reset.\n", "{layout}");
        assert!(ask("srvr").contains("Received: 1\n"), "{layout}: every core has reset its counts");
        assert_eq!(ask("crst"), "Connection stats reset.\n", "{layout}");
        assert_eq!(count("cons", |line| line.contains("recved=0,")), SESSIONS, "{layout}");
    });
}

#[test]
fn what_was_acknowledged_survives_a_kill_and_a_stop() {
    on_each_layout(|layout, settings| {
        let mut server = start(settings);
        let mut kept = Vec::new();
        let mut owner = Session::open(server.address());
        owner.create("/owned", b"", EPHEMERAL).unwrap();
        for round in 0..4 {
            std::thread::scope(|scope| {
                let workers: Vec<_> = (0..3)
                    .map(|worker| {
                        let server = &server;
                        scope.spawn(move || {
                            let mut session = Session::open(server.address());
                            let large = vec![7; 20_000];
                            (0..30)
                                .map(|at| {
                                    let path = format!("/r{round}w{worker}n{at}");
                                    session.create(&path, if at % 5 == 0 { &large } else { b"small" }, 0).unwrap()
                                })
                                .collect::<Vec<_>>()
                        })
                    })
                    .collect();
                workers.into_iter().for_each(|worker| kept.extend(worker.join().unwrap()));
            });
            if round % 2 == 0 {
                server.kill();
            } else {
                assert!(server.terminate().success(), "{layout}: SIGTERM ends with 0\n{}", server.log_tail(20));
            }
            server.restart();
            owner = owner.reattach(server.address()).expect("sessions survive");
            assert!(owner.exists("/owned", false).is_ok(), "{layout}: with their ephemerals");
            let mut reader = Session::open(server.address());
            for path in &kept {
                assert!(reader.exists(path, false).is_ok(), "{layout}: {path} was acknowledged and is gone");
            }
        }
    });
}

#[test]
fn a_second_server_on_the_same_port_does_not_start() {
    on_each_layout(|layout, settings| {
        let first = start(settings.clone());
        assert!(TcpListener::bind(first.address()).is_err(), "{layout}");
        let port = first.address().port();
        let config = first.directory().join("second.cfg");
        let data = first.directory().join("second");
        std::fs::write(
            &config,
            format!("dataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\n", data.display()),
        )
        .unwrap();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_ringkeeper"))
            .args(["server", &format!("-Dringkeeper.layout={layout}")])
            .arg(config)
            .output()
            .unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{layout}: {log}");
        assert!(log.contains("cannot listen on 127.0.0.1"), "{layout}: {log}");
    });
}

#[test]
fn many_small_requests_on_every_core_meet_no_dead_end() {
    on_each_layout(|layout, settings| {
        let server = start(settings);
        Session::open(server.address()).create("/busy", b"", 0).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..SESSIONS {
                scope.spawn(|| {
                    let mut session = Session::open(server.address());
                    session.sync();
                    session.connection().set_limit(Duration::from_secs(60));
                    let body = support::wire::Writer::new().string("/busy").buffer(Some(&[1; 2000])).int(-1).done();
                    for _ in 0..20 {
                        (0..200).for_each(|_| {
                            session.send(opcode::SET_DATA, &body);
                        });
                        (0..200).for_each(|_| {
                            assert_eq!(session.receive_reply().expect(layout).err, 0);
                        });
                    }
                });
            }
        });
    });
}

/// More than are sent to in one turn.
#[test]
fn every_one_of_many_watchers_is_told() {
    const WATCHERS: usize = 400;
    on_each_layout(|layout, settings| {
        let server = start(settings);
        let mut writer = Session::open(server.address());
        writer.create("/watched", b"", 0).unwrap();
        let mut watchers: Vec<Session> = (0..WATCHERS).map(|_| Session::open(server.address())).collect();
        for watcher in &mut watchers {
            watcher.sync();
            watcher.get("/watched", true).unwrap();
        }
        writer.set("/watched", b"new", -1).unwrap();
        // None of them says anything that would begin a turn of its own.
        for watcher in &mut watchers {
            let Received::Frame(frame) = watcher.connection().receive() else { panic!("{layout}: not told") };
            let event = Reply::decode(&frame).and_then(|reply| reply.as_event()).expect("nothing else is under way");
            assert_eq!((event.kind, event.path.as_str()), (3, "/watched"), "{layout}");
        }
    });
}
