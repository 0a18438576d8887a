//! The same random sequence of requests against two servers, every answer compared.
//!
//! Flow       seed -> `generate` -> step -> `play` on each server -> outcomes -> `compare` -> the next step, which may
//!            build on what the original answered; a `Divergence` holds the plan so far, `shrink` drops what it can.
//! Invariant  a plan says everything: replayed, it gives the same requests whatever the servers answer. What depends
//!            on a server (session ids, the last zxid seen) is named in the plan and filled in per server.
//! Absent     sequences that stop the original for good, see `defect`.

pub mod answer;
pub mod compare;
pub mod defect;
pub mod generate;
pub mod guess;
pub mod play;
pub mod pool;
pub mod report;
pub mod request;
pub mod shrink;
pub mod step;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::server::Kind;
use report::Divergence;

/// Which plans are played.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// The first seed; the others follow it.
    pub first: u64,
    /// How many.
    pub seeds: u64,
    /// Requests in each plan.
    pub operations: usize,
    /// Plans played at once, each with two servers.
    pub jobs: usize,
}

/// Plays every seed of a range on a ZooKeeper 3.9.5 and on `kind`, shrinks what diverges and gives the seeds that did.
/// `told` hears of each seed as it is done.
pub fn hunt(range: &Range, kind: &Kind, told: &(dyn Fn(u64, Option<Box<Divergence>>) + Sync)) -> Vec<u64> {
    let next = AtomicU64::new(range.first);
    let failed = Mutex::new(Vec::new());
    let kinds = [&Kind::ZooKeeper395, kind];
    thread::scope(|scope| {
        for _ in 0..range.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= range.first + range.seeds {
                        return;
                    }
                    let found = report::explore(seed, range.operations, kinds).err();
                    let found = found.map(|found| shrink::shrink(found, kinds));
                    if found.is_some() {
                        failed.lock().expect("nobody panics with the lock").push(seed);
                    }
                    told(seed, found);
                }
            });
        }
    });
    failed.into_inner().expect("nobody panics with the lock")
}
