//! Listening on loopback.

use std::{net::TcpStream as Peer, process::Command, thread};

use glommio::{LocalExecutorBuilder, Placement};
use rustix::process::{Resource, Rlimit};

use super::*;

const ANY: ListenAddress = ListenAddress::Any { port: 0 };

fn run<F: Future>(test: F) -> F::Output {
    LocalExecutorBuilder::new(Placement::Unbound).make().unwrap().run(test)
}

#[test]
fn the_wildcard_takes_ipv4_and_ipv6() {
    run(async {
        let listener = Listener::bind(ANY, &ListenOptions::default(), &Pool::new()).unwrap();
        let address = listener.local_addr().unwrap();
        let mut addresses = vec!["127.0.0.1"];
        if address.is_ipv6() {
            addresses.push("::1");
        }
        for ip in addresses {
            let target = SocketAddr::new(ip.parse().unwrap(), address.port());
            let client = thread::spawn(move || Peer::connect(target).unwrap());
            let connection = listener.accept().await.unwrap();
            assert_eq!(connection.peer_addr(), client.join().unwrap().local_addr().unwrap());
            assert_eq!(connection.local_addr().unwrap(), target);
        }
    });
}

#[test]
fn a_taken_port_is_an_error() {
    run(async {
        let pool = Pool::new();
        let first = Listener::bind(ANY, &ListenOptions::default(), &pool).unwrap();
        let same = ListenAddress::Any { port: first.local_addr().unwrap().port() };
        let error = Listener::bind(same, &ListenOptions::default(), &pool).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    });
}

/// Set in the process that runs out of descriptors, since the limit would hit the other tests of ours too.
const CHILD_MARK: &str = "RINGKEEPER_TEST_EXHAUSTED";

#[test]
fn accepting_survives_exhausted_descriptors() {
    if std::env::var_os(CHILD_MARK).is_some() {
        run(accept_without_descriptors());
        return;
    }
    let name = thread::current().name().unwrap().to_owned();
    let child = Command::new(std::env::current_exe().unwrap()).args(["--exact", &name]).env(CHILD_MARK, "1").output();
    let child = child.unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"));
}

async fn accept_without_descriptors() {
    let listener = Listener::bind(ANY, &ListenOptions::default(), &Pool::new()).unwrap();
    let target = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), listener.local_addr().unwrap().port());
    let client = Peer::connect(target).unwrap();
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let mut spare = vec![client.try_clone().unwrap()];
    let used = u64::try_from(std::os::fd::AsRawFd::as_raw_fd(&spare[0])).unwrap();
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: Some(used + 8), ..limit }).unwrap();
    while let Ok(another) = client.try_clone() {
        spare.push(another);
    }
    let freeing = glommio::spawn_local(async move {
        glommio::timer::sleep(EXHAUSTED_PAUSE * 2).await;
        drop(spare);
    });
    assert_eq!(listener.accept().await.unwrap().peer_addr(), client.local_addr().unwrap());
    freeing.await;
}
