//! What the replica and the link role say to each other: bytes of connections between members, and their comings and
//! goings. Which member is at the other end, and what the bytes mean, is the replica's affair.
//!
//! Invariant  of one connection: `Accepted` or `Opened` first, then `Bytes`, then at most one `Closed`. A connection that
//!            could not be made says `Closed` alone. Nothing follows a `Closed`, in either direction.
//! Bound      [`UNREAD_MAX_BYTES`] of a connection are under way to the replica; more is not read from the socket before
//!            the replica has said `Taken`. What waits to be sent is bounded by the replica, which waits for `Drained`.
//! Crossing   what the replica says of a connection while its `Closed` is under way is for nobody, and not an error.
//! Memory     bytes are slices of blocks of 256 KiB that all connections share, and a slice keeps its block: what outlives
//!            the moment (a value in the tree, an entry that waits long) has to be a copy.

use bytes::Bytes;

use super::super::mesh::Weigh;

/// Bytes of one connection that may be under way to the replica.
pub const UNREAD_MAX_BYTES: usize = 1 << 20;

/// A connection to or from another member. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WireId(u64);

impl WireId {
    /// The replica's `number`th, which it dials.
    pub const fn dialled(number: u64) -> WireId {
        WireId(number << 1 | 1)
    }

    /// The link's `number`th, which somebody has opened to this member.
    pub const fn accepted(number: u64) -> WireId {
        WireId(number << 1)
    }

    /// From its number.
    pub const fn from_u64(number: u64) -> WireId {
        WireId(number)
    }

    /// As a number that no other connection has.
    pub const fn to_u64(self) -> u64 {
        self.0
    }
}

/// A port that other members connect to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    /// The third field of `server.N`.
    Election,
    /// The second.
    Quorum,
}

/// From the replica to the link role.
#[derive(Clone, Debug)]
pub enum ToLink {
    /// Resolve the host's name, connect, and say `Opened` or `Closed`.
    Dial {
        /// The connection's name from now on.
        wire: WireId,
        /// Name or address.
        host: Box<str>,
        /// Port.
        port: u16,
        /// How long it may take, ms.
        timeout_ms: u32,
    },
    /// Send this behind what was sent before. Said of a connection that is still dialled, it waits until that stands.
    Send {
        /// Where.
        wire: WireId,
        /// What.
        bytes: Bytes,
    },
    /// The replica has handled so many bytes: more may be read.
    Taken {
        /// Of which connection.
        wire: WireId,
        /// How many.
        len: usize,
    },
    /// Close. What was sent before goes out first if `finish`, as far as the peer takes it within a second. A dial is
    /// given up, whatever waits.
    Close {
        /// Which.
        wire: WireId,
        /// Whether what waits is sent first.
        finish: bool,
    },
    /// Nothing follows: close everything.
    End,
}

/// From the link role to the replica.
#[derive(Clone, Debug)]
pub enum FromLink {
    /// Somebody has connected.
    Accepted {
        /// The connection's name.
        wire: WireId,
        /// To which port.
        door: Door,
        /// Its address, for logs.
        from: std::net::SocketAddr,
    },
    /// A connection that was to be dialled stands.
    Opened(WireId),
    /// Bytes have come.
    Bytes(WireId, Bytes),
    /// Everything that was to be sent has left: said after each turn in which something was sent, or when the socket has
    /// taken the rest.
    Drained(WireId),
    /// The connection is gone, or was not made. Not said of one that the replica has closed.
    Closed {
        /// Which.
        wire: WireId,
        /// Why, for logs.
        reason: Box<str>,
    },
}

impl Weigh for ToLink {
    fn weight_bytes(&self) -> usize {
        match self {
            ToLink::Send { bytes, .. } => bytes.len(),
            _ => 0,
        }
    }
}

impl Weigh for FromLink {
    fn weight_bytes(&self) -> usize {
        match self {
            FromLink::Bytes(_, bytes) => bytes.len(),
            _ => 0,
        }
    }
}
