//! Between ZooKeeper's bytes and our types: requests on their way in, transactions, snapshots and what members say to each
//! other in both directions, the parts of replies that carry tree types.
//!
//! Invariant  bytes come from clients, from a log or from another server: what is not understood is a `DecodeError`,
//!            never a panic. Encoding cannot fail.

pub mod election;
pub mod quorum;
pub mod reply;
pub mod request;
pub mod snapshot;
pub mod txn;

#[cfg(test)]
mod replay;
#[cfg(test)]
mod testdata;
