//! One step of a plan: what one connection does at once.

use super::request::Request;

/// A plan: what the servers are configured with, and what is said to them.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where it came from.
    pub seed: u64,
    /// The configuration of both servers.
    pub profile: Profile,
    /// In this order.
    pub steps: Vec<Step>,
}

/// What differs in the servers' configuration from plan to plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// TTL nodes are allowed.
    pub extended_types: bool,
    /// Hard quotas refuse.
    pub enforce_quota: bool,
    /// No ACL is checked.
    pub skip_acl: bool,
}

/// One step. A slot is a client: it keeps its session from step to step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Requests on one connection, in one write.
    Requests {
        /// Whose.
        slot: usize,
        /// At least one.
        requests: Vec<Request>,
    },
    /// A connection for a slot, with requests behind the handshake in the same write.
    Connect {
        /// Whose.
        slot: usize,
        /// How.
        hello: Hello,
        /// Pipelined behind it.
        requests: Vec<Request>,
    },
    /// Bytes that are no request, then the connection is given up.
    Raw {
        /// Whose.
        slot: usize,
        /// As they are.
        bytes: Vec<u8>,
        /// The server must close by itself; else we close.
        server_closes: bool,
    },
}

/// A handshake, with what depends on the server by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Which session.
    pub session: Which,
    /// The password that is sent.
    pub password: Password,
    /// The timeout that is asked for.
    pub timeout_ms: i32,
    /// What the client says to have seen.
    pub last_zxid: LastZxid,
    /// Sent, or missing as in old clients.
    pub read_only: Option<bool>,
    /// Ignored by servers.
    pub protocol_version: i32,
    /// The older connection stays open, so that the server has to close it.
    pub leave_old_open: bool,
}

/// Which session a handshake names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// A new one.
    New,
    /// The slot's own.
    Own,
    /// One that the server has never heard of: the slot's with this added.
    Unknown(i64),
}

/// Which password a handshake carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Password {
    /// The session's, or zeros for a new one.
    Right,
    /// One bit is wrong.
    Wrong,
    /// Shorter than 16 bytes.
    Short,
    /// Null.
    Null,
}

/// What a handshake says to have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastZxid {
    /// Nothing.
    Zero,
    /// What this slot has seen.
    Seen,
    /// More than the server has.
    TooHigh,
}

impl Step {
    /// Whose step it is.
    pub fn slot(&self) -> usize {
        match self {
            Self::Requests { slot, .. } | Self::Connect { slot, .. } | Self::Raw { slot, .. } => *slot,
        }
    }

    /// The requests in it.
    pub fn requests(&self) -> &[Request] {
        match self {
            Self::Requests { requests, .. } | Self::Connect { requests, .. } => requests,
            Self::Raw { .. } => &[],
        }
    }

    /// The same, to drop some.
    pub fn requests_mut(&mut self) -> Option<&mut Vec<Request>> {
        match self {
            Self::Requests { requests, .. } | Self::Connect { requests, .. } => Some(requests),
            Self::Raw { .. } => None,
        }
    }
}
