//! The znode tree: paths, nodes, ACLs, requests, transactions, watches, sessions. Pure: no clock, no I/O.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod model;

pub mod acl;
mod acl_table;
pub mod apply;
mod arena;
pub mod code;
pub mod digest;
pub mod effects;
mod hash;
mod idset;
mod index;
pub mod listing;
pub mod loader;
pub mod node_ref;
mod overlay;
pub mod owner;
pub mod path;
pub mod prep;
mod prep_create;
mod prep_node;
pub mod quota;
pub mod reaper;
pub mod request;
pub mod scheme;
pub mod session;
pub mod snapshot;
pub mod stat;
pub mod tree;
pub mod txn;
pub mod watch;
pub mod watch_fire;
mod znode;

pub use znode::Data;
