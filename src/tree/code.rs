//! Error codes: the number in a reply header, in an error transaction and in the results of a multi.
//!
//! Flow       prep decides a `Code` -> error txn -> apply -> reply header; reads decide theirs on the spot.
//! Invariant  the numbers are ZooKeeper's (`KeeperException.Code`); names are its names.
//! Absent     codes that only clients make for themselves (connection loss, operation timeout).

/// Why a request failed, or [`Code::Ok`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
#[repr(i32)]
pub enum Code {
    /// It worked.
    Ok = 0,
    /// Never sent for a client's request; the marker of the system range.
    SystemError = -1,
    /// In the results of a failed multi: an operation behind the one that failed.
    RuntimeInconsistency = -2,
    /// The body cannot be decoded, or holds a null where none is possible.
    MarshallingError = -5,
    /// Unknown opcode, TTL without extended types, or reconfig on a standalone server.
    Unimplemented = -6,
    /// Bad path, create flags, TTL, or the deletion of a special path.
    BadArguments = -8,
    /// Internal to the session tracker.
    UnknownSession = -12,
    /// Reconfig: no quorum of the new members is connected and synced.
    NewConfigNoQuorum = -13,
    /// Reconfig: another one has not finished.
    ReconfigInProgress = -14,
    /// The znode does not exist.
    NoNode = -101,
    /// The connection's identities do not allow it.
    NoAuth = -102,
    /// The version is not the expected one.
    BadVersion = -103,
    /// The parent is an ephemeral.
    NoChildrenForEphemerals = -108,
    /// The znode exists already.
    NodeExists = -110,
    /// The znode has children.
    NotEmpty = -111,
    /// The session is gone or going.
    SessionExpired = -112,
    /// The ACL list is empty or names a scheme or id that is not valid.
    InvalidAcl = -114,
    /// An auth packet was refused.
    AuthFailed = -115,
    /// The session lives on another server; never on the wire, the connection is closed instead.
    SessionMoved = -118,
    /// A write sent to a read-only server.
    NotReadOnly = -119,
    /// An ephemeral on a local session that may not be upgraded.
    EphemeralOnLocalSession = -120,
    /// `checkWatches` or `removeWatches` found none.
    NoWatcher = -121,
    /// Reconfig while `reconfigEnabled` is false.
    ReconfigDisabled = -123,
    /// Authentication is enforced and missing.
    SessionClosedRequireSaslAuth = -124,
    /// A hard quota is used up.
    QuotaExceeded = -125,
    /// The request waited too long in the throttler.
    ThrottledOp = -127,
}

impl Code {
    /// As in the reply header.
    pub const fn to_i32(self) -> i32 {
        self as i32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_zookeepers_numbers() {
        assert_eq!(Code::Ok.to_i32(), 0);
        assert_eq!(Code::MarshallingError.to_i32(), -5);
        assert_eq!(Code::NoNode.to_i32(), -101);
        assert_eq!(Code::ThrottledOp.to_i32(), -127);
    }
}
