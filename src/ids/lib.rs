//! The numbers that everything else is keyed by. Each is a newtype with private insides, so that no two can be mixed up.
#![no_std]
#![forbid(unsafe_code)]

use core::fmt;

/// Place of a transaction in the total order: epoch in the high 32 bits, counter in the low. Order is commit order.
///
/// Counter 0 is never a transaction; it marks the start of an epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Zxid(u64);

impl Zxid {
    /// Before every transaction: the state of an empty server.
    pub const ZERO: Zxid = Zxid(0);

    /// The zxid of `counter` within `epoch`.
    pub const fn new(epoch: Epoch, counter: u32) -> Zxid {
        Zxid(((epoch.0 as u64) << 32) | counter as u64)
    }

    /// From the wire or the disk, where a zxid is a signed 64-bit number.
    pub const fn from_wire(raw: i64) -> Zxid {
        Zxid(raw as u64)
    }

    /// As it is written on the wire and on disk.
    pub const fn to_wire(self) -> i64 {
        self.0 as i64
    }

    /// From a log sequence number.
    pub const fn from_u64(raw: u64) -> Zxid {
        Zxid(raw)
    }

    /// As a log sequence number.
    pub const fn to_u64(self) -> u64 {
        self.0
    }

    /// The epoch, the high 32 bits.
    pub const fn epoch(self) -> Epoch {
        Epoch((self.0 >> 32) as u32)
    }

    /// The place within the epoch, the low 32 bits.
    pub const fn counter(self) -> u32 {
        self.0 as u32
    }

    /// The next zxid of the same epoch, or `None` when the epoch's counter is used up.
    pub const fn next(self) -> Option<Zxid> {
        match self.counter().checked_add(1) {
            Some(counter) => Some(Zxid::new(self.epoch(), counter)),
            None => None,
        }
    }
}

impl fmt::Debug for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

/// A reign: one leader at most acts in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Epoch(u32);

impl Epoch {
    /// Epoch number `raw`.
    pub const fn new(raw: u32) -> Epoch {
        Epoch(raw)
    }

    /// The bare number.
    pub const fn to_u32(self) -> u32 {
        self.0
    }
}

/// A server's id within its ensemble (`myid`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Sid(u64);

impl Sid {
    /// Server `raw`.
    pub const fn new(raw: u64) -> Sid {
        Sid(raw)
    }

    /// The bare number.
    pub const fn to_u64(self) -> u64 {
        self.0
    }
}

/// A client session. The top byte names the server that created it; 0 is no session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SessionId(i64);

impl SessionId {
    /// No session: what a client sends that has none, and who acts when the server itself does.
    pub const NONE: SessionId = SessionId(0);

    /// Session `raw`, as on the wire.
    pub const fn new(raw: i64) -> SessionId {
        SessionId(raw)
    }

    /// As on the wire.
    pub const fn to_i64(self) -> i64 {
        self.0
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

/// The number that a client gives a request, echoed in its reply.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Xid(i32);

impl Xid {
    /// Of a watch notification.
    pub const NOTIFICATION: Xid = Xid(-1);
    /// Of every answer to a ping.
    pub const PING: Xid = Xid(-2);
    /// Of an auth packet, as clients send it.
    pub const AUTH: Xid = Xid(-4);

    /// Xid `raw`, as on the wire.
    pub const fn new(raw: i32) -> Xid {
        Xid(raw)
    }

    /// As on the wire.
    pub const fn to_i32(self) -> i32 {
        self.0
    }
}

/// Milliseconds of a clock that the caller names: the wall's since 1970, or a monotonic one's since its origin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Millis(i64);

impl Millis {
    /// `raw` milliseconds.
    pub const fn new(raw: i64) -> Millis {
        Millis(raw)
    }

    /// The bare number.
    pub const fn to_i64(self) -> i64 {
        self.0
    }

    /// This time `ms` milliseconds later, or the last time there is.
    pub const fn plus(self, ms: i64) -> Millis {
        Millis(self.0.saturating_add(ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zxid_order_is_epoch_then_counter() {
        let late_in_one = Zxid::new(Epoch::new(1), u32::MAX);
        let early_in_two = Zxid::new(Epoch::new(2), 1);
        assert!(late_in_one < early_in_two);
        assert_eq!(late_in_one.next(), None, "a counter that is used up must not run into the next epoch");
        assert_eq!(Zxid::from_wire(early_in_two.to_wire()), early_in_two);
    }
}
