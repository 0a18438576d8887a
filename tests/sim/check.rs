//! What must hold of a replicated tree, checked over what members did and clients saw. Pure: it is told, and objects.
//!
//! ```text
//! leadership.rs  one leader per epoch; one is found soon enough
//! history.rs     every member has the same history, with every acknowledged write, once
//! sessions.rs    each session's order: replies, zxids, watches, reads
//! state.rs       what the history adds up to: values, sessions and their ephemerals, at any zxid
//! ```
//!
//! Flow       `see` takes what happened in the order of true time and objects at once where it can; `finish` knows the
//!            whole history and checks what rests on it: acknowledged writes, reads, watches, ephemerals.
//! Absent     the protocol. Whoever simulates clients names each write by its session and xid, and finds the name again
//!            in the payload that members apply.

pub mod history;
pub mod leadership;
pub mod sessions;
pub mod state;
#[cfg(test)]
mod tests;

use super::network::NodeId;
use super::schedule::Micros;
use history::History;
use leadership::Leadership;
use sessions::Sessions;
use state::State;

/// Place of a transaction in the order.
pub type Zxid = u64;
/// Number of a session.
pub type Session = u64;
/// Number of a request within its session; it rises.
pub type Xid = u32;
/// A path, by a number of the harness.
pub type Path = u32;

/// A client's write, by which the history and its reply are matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Write {
    /// Whose.
    pub session: Session,
    /// Which of its requests.
    pub xid: Xid,
}

/// What a transaction does, as far as the checks look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// The node has a new value, and is made if it was not there.
    Set {
        /// Which.
        path: Path,
        /// The session that an ephemeral node lives and dies with; `None` for any other node, and when one is changed.
        owner: Option<Session>,
    },
    /// Two nodes that are there have new values.
    SetBoth {
        /// Which.
        paths: [Path; 2],
    },
    /// The node is gone.
    Delete {
        /// Which.
        path: Path,
    },
    /// A session begins.
    SessionBegins(Session),
    /// A session ends, and its ephemerals with it.
    SessionEnds(Session),
    /// Nothing that is checked: a refusal, a new configuration.
    Nothing,
}

/// A transaction as a member applied it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Txn {
    /// Its place.
    pub zxid: Zxid,
    /// Digest of its bytes.
    pub payload: u64,
    /// Digest of the tree behind it.
    pub tree: u64,
    /// The client's name for it, if it is one's.
    pub write: Option<Write>,
    /// What it does.
    pub change: Change,
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// A write.
    Write,
    /// Nothing but to be answered in turn.
    Sync,
    /// The value of a node.
    Read {
        /// Which.
        path: Path,
        /// Whether it wants to hear of the node's next change.
        watches: bool,
    },
}

/// What a client is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The write is done.
    Written,
    /// The write was refused, or a sync is through.
    Refused,
    /// The write that gave the node its value; `None` when there is no such node.
    Value(Option<Write>),
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Seen {
    /// A member leads an epoch: a quorum has taken over its history.
    Leads {
        /// Who.
        member: NodeId,
        /// What.
        epoch: u64,
    },
    /// A member applied a committed transaction.
    Applied {
        /// Who.
        member: NodeId,
        /// What.
        txn: Txn,
    },
    /// A member took over a whole state.
    Installed {
        /// Who.
        member: NodeId,
        /// The last transaction in it.
        zxid: Zxid,
        /// Digest of the tree.
        tree: u64,
    },
    /// A member's memory is gone; it applies again what its disk holds.
    Restarted {
        /// Who.
        member: NodeId,
    },
    /// All the sessions and ephemerals that a member has.
    Inventory {
        /// Who.
        member: NodeId,
        /// The last transaction in it.
        zxid: Zxid,
        /// Sessions, sorted.
        sessions: Vec<Session>,
        /// Ephemerals with their owners, sorted.
        ephemerals: Vec<(Path, Session)>,
    },
    /// A client sends a request.
    Invoked {
        /// Its session.
        session: Session,
        /// The request's number.
        xid: Xid,
        /// What.
        call: Call,
    },
    /// A client receives a reply.
    Replied {
        /// Its session.
        session: Session,
        /// To which request.
        xid: Xid,
        /// The last transaction that the reply reflects; of a write, its own.
        zxid: Zxid,
        /// What.
        answer: Answer,
    },
    /// A client is told that a node it watches has changed.
    Notified {
        /// Its session.
        session: Session,
        /// Which node.
        path: Path,
    },
    /// A client's connection is over. What it asked and was not answered may be done or not.
    Disconnected {
        /// Its session.
        session: Session,
    },
}

/// All checks.
#[derive(Debug, Default)]
pub struct Checks {
    /// Epochs and their leaders.
    pub leadership: Leadership,
    /// The order of transactions.
    pub history: History,
    /// What each session saw.
    pub sessions: Sessions,
    /// What members have, to be held against the history.
    inventories: Vec<Seen>,
}

impl Checks {
    /// Takes what happened at `at`.
    ///
    /// # Errors
    /// It must not have.
    pub fn see(&mut self, at: Micros, seen: Seen) -> Result<(), String> {
        match seen {
            Seen::Leads { member, epoch } => self.leadership.leads(at, member, epoch),
            Seen::Applied { member, txn } => self.history.applied(member, txn),
            Seen::Installed { member, zxid, tree } => self.history.installed(member, zxid, tree),
            Seen::Restarted { member } => {
                self.history.restarted(member);
                Ok(())
            }
            Seen::Inventory { .. } => {
                self.inventories.push(seen);
                Ok(())
            }
            Seen::Invoked { session, xid, call } => self.sessions.invoked(session, xid, call),
            Seen::Replied { session, xid, zxid, answer } => self.sessions.replied(session, xid, zxid, answer),
            Seen::Notified { session, path } => self.sessions.notified(session, path),
            Seen::Disconnected { session } => {
                self.sessions.disconnected(session);
                Ok(())
            }
        }
    }

    /// The run is over, and the history is all there will be.
    ///
    /// # Errors
    /// Something was seen that does not fit it.
    pub fn finish(&self) -> Result<(), String> {
        let state = State::of(&self.history)?;
        self.history.finish(self.sessions.acknowledged())?;
        self.sessions.finish(&state)?;
        for seen in &self.inventories {
            let Seen::Inventory { member, zxid, sessions, ephemerals } = seen else {
                unreachable!("nothing else is kept there")
            };
            state.check_inventory(*member, *zxid, sessions, ephemerals)?;
        }
        Ok(())
    }
}
