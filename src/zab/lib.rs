//! Zab: the members of an ensemble agree on one order of opaque payloads, on ZooKeeper's own wire. Pure: no clock, no I/O,
//! no threads, no chance; time is an argument.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod config;
pub mod election;
pub mod electorate;
pub mod history;
pub mod leader;
pub mod learner;
pub mod message;
pub mod outbox;
pub mod peer;
pub mod quorum;
pub mod settings;
pub mod switchboard;
pub mod sync;
pub mod vote;
