//! The shell: the one place where time, disk, sockets and the pure crates meet.
//!
//! ```text
//! start         directories and configuration -> a serving executor -> a quiet disk
//! connections   tasks that accept and read          frontend   one core's connections: frames, reads, watches, replies
//! replica       the order of writes, sessions       pipeline   log sync -> durable -> applied
//! codec         wire and disk bytes <-> our types   snapshots, housekeeping   what happens beside requests
//! admin         four-letter words                   metrics, logging, signals, clock, notify, settings, auth, storage
//! ```

pub mod admin;
pub mod auth;
pub mod clock;
pub mod codec;
pub mod connections;
pub mod frontend;
pub mod housekeeping;
pub mod logging;
pub mod metrics;
pub mod notify;
pub mod pipeline;
pub mod replica;
pub mod settings;
pub mod signals;
pub mod snapshots;
pub mod start;
pub mod storage;
