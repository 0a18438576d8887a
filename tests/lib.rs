//! What the tests share: servers as processes, the peers they are compared with, and a client that can say anything.
//!
//! Flow       `server` starts Ringkeeper or a real ZooKeeper; `client` speaks to it; `differential` does so to both.
//!            `ensemble` starts several of any kind; a `scenario` breaks them under a load, and `history` judges.
//! Invariant  a test owns its server and its directory, so tests run side by side; nothing outlives its owner.
//! Absent     Ringkeeper's own codecs: `wire` is a second reading of the protocol, so that an error that the server's
//!            decoder and encoder share cannot hide here.

pub mod client;
pub mod command;
pub mod differential;
pub mod disk;
pub mod ensemble;
pub mod four_letter;
pub mod history;
pub mod kind;
pub mod peers;
pub mod random;
pub mod scenario;
pub mod server;
pub mod sim;
pub mod wire;
