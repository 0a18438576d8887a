//! Everything that runs against the real binary or the whole repository: real clients, a real ZooKeeper beside it,
//! kills, and the rules of the house.
//!
//! Flow       a test starts its own servers (`support::server`), asks, and compares; it waits for conditions, and no
//!            sleep decides anything.
//! Invariant  whatever is missing (a peer, a compiler) fails the test that needs it; nothing is skipped in silence.

mod c_client;
mod commands;
mod curator;
mod defects;
mod differential;
mod ensemble;
mod ensemble_clients;
mod four_letter;
mod kazoo;
mod kill9;
mod layouts;
mod protocol;
mod reaping;
mod room;
mod tidy;
mod zkcli;

use std::env;
use std::path::PathBuf;

use support::server::{Kind, Server, Settings};

/// The server under test: Ringkeeper, or with `RINGKEEPER_SERVER=zookeeper` the original, by which the tests themselves
/// are tested.
fn under_test() -> Kind {
    match env::var("RINGKEEPER_SERVER").as_deref() {
        Ok("zookeeper") => Kind::ZooKeeper395,
        Ok(path) => Kind::Ringkeeper(PathBuf::from(path)),
        Err(_) => Kind::Ringkeeper(PathBuf::from(env!("CARGO_BIN_EXE_ringkeeper"))),
    }
}

fn start(settings: Settings) -> Server {
    Server::start(&under_test(), settings)
}

/// A number from the environment, for runs that are longer than the gate's.
fn number(name: &str, default: u64) -> u64 {
    match env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
        Err(_) => default,
    }
}
