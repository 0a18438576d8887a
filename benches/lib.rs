//! What the benches share: servers as processes, clients that load them, and figures with their spread.
//!
//! Flow       `cluster.rs` chooses experiments; each of `throughput`, `latency`, `million`, `idle`, `stall` and `three` starts
//!            servers (`server`), loads them (`fleet`, `client`) and puts what it saw into a `Report`.
//! Invariant  a connection checks every reply's number and error code, so that no figure counts a failure.
//! Absent     retries, reconnecting, pings: sessions here live shorter than their timeouts.

pub mod client;
pub mod fleet;
pub mod host;
pub mod idle;
pub mod latency;
pub mod link;
pub mod machine;
pub mod million;
pub mod report;
pub mod request;
pub mod server;
pub mod stall;
pub mod three;
pub mod throughput;

use std::env;
use std::path::PathBuf;
use std::time::Duration;

/// How large everything is.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where the servers' directories are made.
    pub base: PathBuf,
    /// Rounds of each experiment.
    pub rounds: u32,
    /// Of one measurement.
    pub time: Duration,
    /// Of each fresh server.
    pub warm_up: Duration,
    /// At saturation.
    pub connections: usize,
    /// Requests on each of them.
    pub outstanding: usize,
    /// Sets per second of the moderate rate.
    pub rate: f64,
    /// Nodes of the large tree.
    pub million: u32,
    /// Idle sessions.
    pub sessions: usize,
    /// Watchers of one node.
    pub watchers: usize,
}

impl Setup {
    /// Enough to see that everything works.
    pub fn small() -> Self {
        Self {
            base: env::temp_dir(),
            rounds: 1,
            time: Duration::from_millis(100),
            warm_up: Duration::from_millis(100),
            connections: 4,
            outstanding: 4,
            rate: 500.0,
            million: 2_000,
            sessions: 50,
            watchers: 50,
        }
    }
}
