//! Executors that start and end together, in every arrangement of the link role.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use tuning::{Machine, Wishes};

use super::super::link::{ACCEPTED_MAX, Endpoint, LinkSettings};
use super::*;
use crate::config;

/// Longer than a start takes on a busy host.
const PATIENCE: Duration = Duration::from_secs(30);

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn connect(port: u16) -> TcpStream {
    let begun = Instant::now();
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => return stream,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "nobody listens: {error}"),
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// A server with a link starts, takes connections of members in, and stops.
fn starts_and_stops(layout: &str) {
    let directory = tempfile::tempdir().unwrap();
    let ports = [free_port(), free_port()];
    let path = directory.path().join("zoo.cfg");
    let others = "server.2=127.0.0.1:1:2\nserver.3=127.0.0.1:3:4";
    let own = format!("server.1=127.0.0.1:{}:{}", ports[1], ports[0]);
    let text =
        format!("dataDir={}\nclientPort=1\ninitLimit=5\nsyncLimit=5\n{own}\n{others}\n", directory.path().display());
    std::fs::write(&path, text).unwrap();
    std::fs::write(directory.path().join("myid"), "1").unwrap();
    let mut config = config::load(Some(&path), &[]).unwrap().config;
    config.local.client_port = 0;
    let here = |port| vec![Endpoint { host: Some("127.0.0.1".into()), port }];
    let link = LinkSettings {
        election: here(ports[0]),
        quorum: here(ports[1]),
        bind_retries: Some(1),
        keepalive: false,
        accepted_max: ACCEPTED_MAX,
    };
    let wishes = Wishes { has_peers: true, layout: layout.parse().unwrap(), spin_us: None };
    let plan = tuning::plan(&Machine::read(), &wishes).unwrap();
    let serve_cores = plan.holders(Role::Serve).count();
    let stop = Stop::default();
    let common = Common {
        config,
        layout: plan.to_string(),
        greeting: None,
        stop: stop.clone(),
        shared: Arc::new(Shared::new(serve_cores, TRACE_MASK_DEFAULT)),
        serve_cores,
        link: Some(link),
        has_peers: true,
    };
    let server = thread::spawn(move || follow(&plan, common));
    let mut peers = ports.map(connect);
    for peer in &mut peers {
        peer.write_all(b"hello").unwrap();
        peer.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        assert_eq!(peer.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock, "{layout}: it stays open");
        peer.set_read_timeout(None).unwrap();
    }
    let begun = Instant::now();
    stop.set(Reason::Signal("a test's signal"));
    for mut peer in peers {
        assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0, "{layout}: closed at the end");
    }
    server.join().unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2), "{layout}: somebody waited in vain, {:?}", begun.elapsed());
}

#[test]
fn a_link_beside_the_replica_starts_and_stops() {
    starts_and_stops("single");
}

#[test]
fn a_link_elsewhere_starts_and_stops() {
    let cpus = Machine::read();
    let (one, other) = (cpus.cpus()[0].id, cpus.cpus()[cpus.cpus().len() - 1].id);
    starts_and_stops(&format!("replica+log+serve={one}/link={other}"));
    starts_and_stops(&format!("replica={one}/link+serve={other}/log={one}"));
    starts_and_stops(&format!("replica={one}/link+log={other}/serve={one},{other}"));
}
