//! Whole ensembles of the real server: the production driver, tree, storage and log tasks, under simulated clients.
//!
//! ```text
//! server.rs   a member's process: recovery, then the roles and their turn     wires.rs   its connections to other members
//! runtime.rs  what runs the log's tasks      front.rs   a serving core that is made for observation
//! client.rs   sessions, with retries         speech.rs  what clients and servers say to each other: ZooKeeper's own frames
//! naming.rs   a transaction, as the checks know it                            judge.rs   reports -> checks
//! trial.rs    ensembles and faults of a seed                                  lines.rs   the server's log lines
//! ```
//!
//! Flow       a `Process` is a server or a client, by its number; what either does is reported to `judge`.
//! Invariant  whatever decides anything in a server is production code. What is imitated here is what surrounds it: the
//!            turn of `server::core`, the sockets of `server::link`, connections and replies of `server::frontend`, the
//!            snapshots of `server::housekeeping`.
//! Absent     a far mailbox: all roles of a server share an executor.

pub mod client;
pub mod front;
pub mod judge;
pub mod lines;
pub mod naming;
pub mod runtime;
pub mod server;
pub mod speech;
#[cfg(test)]
mod tests;
pub mod trial;
pub mod wires;

use std::sync::Arc;

use zab::config::EnsembleConfig;
use zab::election::ElectionSettings;
use zab::settings::Limits;

use super::check::{Seen, Txn, Zxid};
use super::network::NodeId;
use super::schedule::Micros;
use super::world::{Context, Event, Node};
use client::Client;
use server::Server;

/// Port of elections.
pub const ELECTION_PORT: u16 = 3888;
/// Port of a leader.
pub const QUORUM_PORT: u16 = 2888;
/// Port for clients.
pub const CLIENT_PORT: u16 = 2181;

/// What all nodes know.
#[derive(Clone, Debug)]
pub struct Setup {
    /// So many nodes are servers: the first ones. The id of each is its number and one.
    pub servers: usize,
    /// The ensemble.
    pub config: Arc<EnsembleConfig>,
    /// Time limits of terms.
    pub limits: Limits,
    /// Time limits of elections.
    pub election: ElectionSettings,
    /// Length of the log's segments.
    pub segment_len: u64,
    /// Transactions between two snapshots, at most.
    pub snapshot_every: usize,
    /// Between two thoughts of a client, at most.
    pub think: Micros,
    /// Of a hundred thoughts of a client, how many are to go to another server.
    pub restless: usize,
    /// Znodes that clients quarrel about.
    pub paths: u32,
}

/// What happened, for the judge.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Report {
    /// A leader has ordered a transaction behind `prev`.
    Ordered {
        /// It. Its digest is what the leader foresees, or 0.
        txn: Txn,
        /// The one before it.
        prev: Zxid,
    },
    /// A member applied one.
    Applied {
        /// It.
        txn: Txn,
        /// Whether it serves clients, so that all that it applied is committed.
        is_standing: bool,
    },
    /// Another state is in a member's memory: at a start, or in the place of the one before.
    Holds {
        /// The last transaction in it.
        zxid: Zxid,
        /// Digest of the tree.
        tree: u64,
    },
    /// A member serves clients from now on.
    Stands {
        /// The last transaction that it applied.
        zxid: Zxid,
        /// Digest of the tree.
        tree: u64,
        /// The epoch that it leads.
        leads: Option<u32>,
    },
    /// It no longer does.
    Idle,
    /// What a client did, or saw.
    Client(Seen),
    /// A client has done enough.
    Finished,
}

/// A process: of a server or a client.
pub enum Process {
    /// On one of the first nodes.
    Server(Box<Server>),
    /// On one of the others.
    Client(Box<Client>),
}

impl Process {
    /// The server, if it is one.
    pub fn server(&self) -> Option<&Server> {
        match self {
            Process::Server(server) => Some(server),
            Process::Client(_) => None,
        }
    }
}

impl Node for Process {
    type Setup = Setup;
    /// Everybody connects.
    type Datagram = ();
    type Report = Report;

    fn boot(setup: &Setup, context: &mut Context<'_, Self>) -> Self {
        if context.id() < setup.servers {
            Process::Server(Box::new(Server::boot(setup, context)))
        } else {
            Process::Client(Box::new(Client::boot(setup, context)))
        }
    }

    fn on_event(&mut self, event: Event<()>, context: &mut Context<'_, Self>) {
        match self {
            Process::Server(server) => server.on_event(event, context),
            Process::Client(client) => client.on_event(event, context),
        }
    }
}

/// Where a server lives.
pub fn host(node: NodeId) -> String {
    format!("n{node}")
}

/// Who lives there.
pub fn node_of(host: &str) -> Option<NodeId> {
    host.strip_prefix('n')?.parse().ok()
}
