//! The znode tree: paths, nodes, ACLs, requests, transactions, watches, sessions. Pure: no clock, no I/O.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod acl;
pub mod code;
pub mod path;
pub mod request;
pub mod stat;
pub mod txn;
