//! Requests that change the tree, borrowed from the frame they came in.
//!
//! Flow       frame -> wire record -> `Request` (codec) -> `prep` -> `Txn`.
//! Invariant  nothing here has been checked: strings may be null, flags and versions are whatever the client sent.
//! Absent     reads, which never become transactions, and requests whose bytes do not decode, but for a multi's.

use alloc::vec::Vec;

use crate::acl::AclEntry;
use crate::code::Code;
use ids::SessionId;

/// A request that consumes a zxid, whether it succeeds or not.
#[derive(Clone, PartialEq, Debug)]
pub enum Request<'a> {
    /// Any of the four creates.
    Create(Create<'a>),
    /// Delete a node without children.
    Delete {
        /// Of the node.
        path: Option<&'a str>,
        /// The node's version, or -1 for any.
        version: i32,
    },
    /// Replace a node's data.
    SetData {
        /// Of the node.
        path: Option<&'a str>,
        /// Null and empty are different.
        data: Option<&'a [u8]>,
        /// The node's version, or -1 for any.
        version: i32,
    },
    /// Replace a node's ACL.
    SetAcl {
        /// Of the node.
        path: Option<&'a str>,
        /// The new list before fix-up; `None` is a null vector.
        acl: Option<Vec<AclEntry<'a>>>,
        /// The node's *aversion*, or -1 for any.
        version: i32,
    },
    /// Compare a version; only inside a multi.
    Check {
        /// Of the node.
        path: Option<&'a str>,
        /// The node's version, or -1 for any.
        version: i32,
    },
    /// All or nothing. Holds creates, deletes, setData and checks only.
    Multi(Vec<Request<'a>>),
    /// A multi whose body does not decode: unlike other such requests it has consumed a zxid in ZooKeeper.
    MultiUndecodable,
    /// A new session. The id is the context's session.
    CreateSession {
        /// Negotiated timeout.
        timeout_ms: i32,
    },
    /// The end of a session, asked for by its client or by expiry. The id is the context's session.
    CloseSession,
    /// The reaper's: remove a container or TTL node that is due.
    DeleteContainer {
        /// Of the node.
        path: &'a str,
    },
    /// A change of the ensemble's members. A standalone server only knows how to refuse it.
    Reconfig,
    /// A request that was refused before it came here, and whose refusal has to take its place in the order: the member
    /// that has the client waits for a transaction.
    Refused(Code),
}

/// Any of the four creates: opcode, flags and TTL as sent. Together they decide the kind of node.
#[derive(Clone, PartialEq, Debug)]
pub struct Create<'a> {
    /// By opcode.
    pub kind: CreateKind,
    /// Before the sequential suffix.
    pub path: Option<&'a str>,
    /// Null and empty are different.
    pub data: Option<&'a [u8]>,
    /// The list before fix-up; `None` is a null vector.
    pub acl: Option<Vec<AclEntry<'a>>>,
    /// 0 to 6 are known.
    pub flags: i32,
    /// Milliseconds; -1 for the opcodes that have no such field.
    pub ttl: i64,
}

/// Which of the four create opcodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CreateKind {
    /// Opcode 1: answers the path only.
    Create,
    /// Opcode 15: answers path and stat, as do the next two.
    Create2,
    /// Opcode 19.
    Container,
    /// Opcode 21.
    Ttl,
}

impl CreateKind {
    /// Opcode and record type.
    pub const fn to_wire(self) -> i32 {
        match self {
            CreateKind::Create => 1,
            CreateKind::Create2 => 15,
            CreateKind::Container => 19,
            CreateKind::Ttl => 21,
        }
    }
}

/// Who acts when it is the server itself (the reaper): no session.
pub const SERVER: SessionId = SessionId::NONE;
