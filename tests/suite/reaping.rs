//! Containers and TTL nodes go when they are due, and only then.

use std::thread;
use std::time::{Duration, Instant};

use support::client::Session;
use support::server::Settings;
use support::wire::{Writer, code, opcode};

use crate::start;

/// How long a condition may take. Only a bug gets near it.
const LIMIT: Duration = Duration::from_secs(60);

/// Waits for a condition.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn create_ttl(session: &mut Session, path: &str, ttl_ms: i64) {
    let body = Writer::new().string(path).buffer(Some(b"")).open_acl().int(5).long(ttl_ms).done();
    session.call(opcode::CREATE_TTL, &body).expect("TTL nodes are allowed here");
}

fn create_container(session: &mut Session, path: &str) {
    let body = Writer::new().string(path).buffer(Some(b"")).open_acl().int(4).done();
    session.call(opcode::CREATE_CONTAINER, &body).expect("containers are always allowed");
}

fn is_gone(session: &mut Session, path: &str) -> bool {
    session.exists(path, false) == Err(code::NO_NODE)
}

#[test]
fn emptied_containers_and_stale_ttl_nodes_go() {
    let settings = Settings::new().line("extendedTypesEnabled", true).property("znode.container.checkIntervalMs", 100);
    let mut server = start(settings);
    let mut session = Session::open(server.address());
    for path in ["/used", "/never-used", "/full"] {
        create_container(&mut session, path);
    }
    create_ttl(&mut session, "/short", 300);
    create_ttl(&mut session, "/long", 1_000_000);
    create_ttl(&mut session, "/parent", 1);
    session.create("/parent/child", b"", 0).expect("TTL nodes may have children");
    session.create("/full/child", b"", 0).expect("containers may have children");
    session.create("/used/child", b"", 0).expect("containers may have children");
    session.exists("/used", true).expect("it is there");
    session.delete("/used/child", -1).expect("it is there");
    until("the emptied container goes", || is_gone(&mut session, "/used"));
    until("the stale node goes", || is_gone(&mut session, "/short"));
    session.sync();
    let events: Vec<_> = session.events.iter().map(|event| (event.kind, event.path.as_str())).collect();
    assert_eq!(events, [(2, "/used")], "the reaping fires like a delete");
    // What was created before and is still here now was not due, though the reaper came by.
    for path in ["/never-used", "/full", "/long", "/parent"] {
        assert!(session.exists(path, false).is_ok(), "{path} went too early");
    }
    // They are due after a restart too.
    server.kill();
    server.restart();
    let mut session = session.reattach(server.address()).expect("the session outlives the crash");
    session.delete("/parent/child", -1).expect("it is there");
    session.delete("/full/child", -1).expect("it is there");
    until("the childless TTL node goes", || is_gone(&mut session, "/parent"));
    until("the emptied container goes", || is_gone(&mut session, "/full"));
    assert!(session.exists("/never-used", false).is_ok());
}

#[test]
fn set_data_renews_a_ttl() {
    let settings = Settings::new().line("extendedTypesEnabled", true).property("znode.container.checkIntervalMs", 100);
    let server = start(settings);
    let mut session = Session::open(server.address());
    create_ttl(&mut session, "/kept", 5_000);
    create_ttl(&mut session, "/left", 1_500);
    let mut renewals = 0;
    until("the one that is left alone goes", || {
        session.set("/kept", b"", -1).expect("renewed far more often than every 5 s");
        renewals += 1;
        is_gone(&mut session, "/left")
    });
    assert!(renewals > 1);
}

#[test]
fn containers_that_were_never_used_go_when_asked_to() {
    let settings = Settings::new()
        .property("znode.container.checkIntervalMs", 100)
        .property("znode.container.maxNeverUsedIntervalMs", 200);
    let server = start(settings);
    let mut session = Session::open(server.address());
    create_container(&mut session, "/never-used");
    until("it goes", || is_gone(&mut session, "/never-used"));
}
