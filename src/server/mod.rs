//! The shell: the one place where time, disk, sockets and the pure crates meet.
//!
//! ```text
//! start         a plan -> executors -> a quiet disk        berth, executor   what one of them takes along, and its life
//! core          one executor's roles, and the turn         mesh, messages    between roles, near or far
//! connections   tasks that accept and read                 frontend          frames, reads, watches, replies
//! replica       the order of writes, sessions              pipeline          the log: sync -> durable
//! recovery      files -> tree                              snapshots, housekeeping   what happens beside requests
//! keeper        what a member does with its log and epochs
//! link          sockets to other members
//! codec         wire and disk bytes <-> our types          shared            what all executors see
//! admin         four-letter words                          metrics, logging, signals, clock, notify, gate, settings, auth, storage
//! ```

pub mod admin;
pub mod auth;
pub mod berth;
pub mod clock;
pub mod codec;
pub mod connections;
pub mod core;
pub mod executor;
pub mod frontend;
pub mod gate;
pub mod housekeeping;
pub mod keeper;
pub mod link;
pub mod logging;
pub mod mesh;
pub mod messages;
pub mod metrics;
pub mod notify;
pub mod pipeline;
pub mod recovery;
pub mod replica;
pub mod settings;
pub mod shared;
pub mod signals;
pub mod snapshots;
pub mod start;
pub mod storage;
