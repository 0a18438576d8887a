//! The znode tree and everything that depends on nothing else: requests become transactions, transactions become state,
//! state answers reads and tells watchers. Pure: no clock, no I/O, no threads, no chance; time and seeds are arguments.
//!
//! # The life of a write
//!
//! ```text
//! Request --Prep::prepare--> Txn --(log, quorum)--> Tree::apply --> OpResult (reply)
//!             |  reads the tree and an overlay           |
//!             |  of what is prepared, not applied        +--> Effects --Watches::fire--> Notification (READ filter)
//!             +<------------- Prep::applied -------------+
//! ```
//!
//! 1. The caller takes the next zxid and asks the [`session::SessionTracker`] for the session's [`session::Standing`].
//!    [`prep::Prep::prepare`] checks in ZooKeeper's order, and gives a [`txn::Txn`] with resulting versions and the tree
//!    digest after it. A refusal is a transaction too: it takes its zxid, is logged, and changes nothing.
//! 2. At createSession's preparation the caller tracks the session, at closeSession's it marks it as closing.
//! 3. Once durable, transactions are applied in zxid order by [`tree::Tree::apply`], which cannot fail. The same function
//!    serves replay ([`effects::Effects::deaf`]) and followers. Then [`prep::Prep::applied`] drops what the tree now knows.
//! 4. For each of [`effects::Effects::changes`], [`watch::Watches::fire`] names the watchers, each once per trigger. The
//!    caller drops whoever lacks READ on the notification's ACL. Notifications leave before the reply, and before any
//!    other reply that shows the change. Then [`effects::Effects::clear`].
//! 5. An applied closeSession ([`effects::Effects::closed_session`]) closes the session's connection and leaves the tracker.
//!
//! # Reads
//!
//! [`tree::Tree::readable`], `exists` and `read_acl` find a node and check READ; what a [`node_ref::NodeRef`] tells
//! belongs to one moment. A watch is registered in the same turn as its read, so no change can fall between. Parents with
//! very many children are listed in steps ([`listing`]).
//!
//! # State that outlives the process
//!
//! [`snapshot`] emits the tree at one zxid in slices while writes go on; [`loader`] makes a tree of such items again, and
//! of a ZooKeeper leader's, which hold parts of what followed: applying that again makes the leader's tree, since every
//! record assigns state and counts nothing. What a new node alone decides can be computed ahead, by another thread ([`foresight`]). [`reaper`] looks for containers and TTL nodes that are due, also in steps.
//!
//! # Invariants
//!
//! - Preparing decides everything; applying an accepted transaction cannot fail.
//! - Any number of prepared transactions gives the same result as one at a time.
//! - The digest in a transaction is the tree's digest after it (`check` recomputes all sums for the tests).
//! - Nothing that is written or replayed depends on a seed or on the order of a hash table.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

// What a write is, before and after it is decided.
pub mod acl;
pub mod code;
pub mod owner;
pub mod path;
pub mod request;
pub mod stat;
pub mod txn;

// Request -> transaction.
mod overlay;
pub mod prep;
mod prep_create;
pub mod prep_eager;
mod prep_node;
pub mod scheme;
pub mod session;

// Transaction -> state, and reading it.
pub mod apply;
mod check;
pub mod digest;
pub mod effects;
pub mod foresight;
pub mod node_ref;
pub mod quota;
pub mod reaper;
pub mod tree;

// State in pieces.
pub mod listing;
pub mod loader;
pub mod snapshot;

// Who is told.
pub mod watch;
pub mod watch_fire;
mod watch_report;

// What it all rests on.
mod acl_table;
mod arena;
mod hash;
mod idset;
mod index;
mod znode;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod fuzzy;
#[cfg(test)]
mod model;

pub use znode::Data;
