//! What clients asked an ensemble and what came back, with times: the material by which it is judged.
//!
//! Flow       `load` runs clients and gives a `History`; `check` judges it, alone and against what members hold in the
//!            end.
//! Invariant  every request is in the history, answered or not. Data is unique: whoever reads it knows who wrote it.
//! Absent     pipelining: a client has one request on its way, so a session's calls are in their order.

pub mod check;
pub mod load;

use std::time::Duration;

use crate::wire::Stat;

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A node at this path (sequential: the path is a prefix).
    Create {
        /// Where, or how the name starts.
        path: String,
        /// Unique.
        data: String,
        /// Gone with the session.
        is_ephemeral: bool,
        /// The server adds the number.
        is_sequential: bool,
    },
    /// New data, at any version or at this one.
    Set {
        /// Where.
        path: String,
        /// Unique.
        data: String,
        /// -1 for any.
        version: i32,
    },
    /// The node away.
    Delete {
        /// Where.
        path: String,
    },
    /// Both nodes get the same data in one txn.
    Both {
        /// Where.
        paths: [String; 2],
        /// Unique.
        data: String,
    },
    /// Data and Stat, behind a sync if `is_synced`.
    Get {
        /// Where.
        path: String,
        /// Whether a sync went before it.
        is_synced: bool,
    },
    /// The session ends.
    Close,
}

impl Request {
    /// Whether it changes something.
    pub fn is_write(&self) -> bool {
        !matches!(self, Self::Get { .. })
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was done. `zxid` is the reply header's.
    Done {
        /// Of the reply's header.
        zxid: i64,
        /// Paths with their Stats behind it: none of a removal, two of a multi.
        nodes: Vec<(String, Stat)>,
        /// What a read gave.
        data: Option<String>,
    },
    /// It was refused with this code, and has changed nothing.
    Refused {
        /// Of the reply's header.
        zxid: i64,
        /// The protocol's error code.
        code: i32,
    },
    /// Nothing came: it may or may not have been done.
    Lost,
}

/// One request and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// In whose session.
    pub session: i64,
    /// Which member was asked.
    pub member: usize,
    /// When it was sent.
    pub invoked: Duration,
    /// When the answer was there. Of a lost one, when it was given up: it may take effect later.
    pub returned: Duration,
    /// What was asked.
    pub request: Request,
    /// What came back.
    pub answer: Answer,
}

impl Call {
    /// The reply header's zxid, if there was a reply.
    pub fn zxid(&self) -> Option<i64> {
        match self.answer {
            Answer::Done { zxid, .. } | Answer::Refused { zxid, .. } => Some(zxid),
            Answer::Lost => None,
        }
    }

    /// The txn of an acknowledged write, where the answer tells it exactly.
    pub fn txn(&self) -> Option<i64> {
        match (&self.request, &self.answer) {
            (Request::Get { .. }, _) => None,
            (_, Answer::Done { nodes, .. }) => nodes.first().map(|(_, stat)| stat.mzxid),
            _ => None,
        }
    }
}

/// All that happened.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The node below which all calls are; nothing else is there.
    pub root: String,
    /// In each session's order; the sessions of a client one behind the other, the clients too.
    pub calls: Vec<Call>,
    /// Sessions that lived when the load ended.
    pub alive: Vec<i64>,
    /// Sessions that a member declared expired.
    pub expired: Vec<i64>,
}

impl History {
    /// How many writes were acknowledged.
    pub fn acknowledged(&self) -> usize {
        let done = |call: &&Call| call.request.is_write() && matches!(call.answer, Answer::Done { .. });
        self.calls.iter().filter(done).count()
    }
}
