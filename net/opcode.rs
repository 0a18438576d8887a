//! The numbers of the operations (ZooDefs.OpCode).

/// What a request asks for, or what a transaction did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i32)]
pub enum OpCode {
    /// Ends the session. From clients too.
    CloseSession = -11,
    /// Begins a session. Never valid as a client's request: the handshake does it.
    CreateSession = -10,
    /// A transaction that failed, or an error among multi's results.
    Error = -1,
    /// A watch notification's number; never a request.
    Notification = 0,
    /// Creates a node; the answer is its path.
    Create = 1,
    /// Deletes a node.
    Delete = 2,
    /// Stat of a node that may be missing.
    Exists = 3,
    /// Data and Stat.
    GetData = 4,
    /// Replaces the data.
    SetData = 5,
    /// ACL and Stat.
    GetAcl = 6,
    /// Replaces the ACL.
    SetAcl = 7,
    /// Names of the children.
    GetChildren = 8,
    /// Makes the reads behind it see what was committed before it.
    Sync = 9,
    /// Keeps the session alive.
    Ping = 11,
    /// Names of the children, and Stat.
    GetChildren2 = 12,
    /// Compares a version; only inside multi.
    Check = 13,
    /// Several writes as one transaction.
    Multi = 14,
    /// Create that answers with path and Stat.
    Create2 = 15,
    /// Changes the ensemble.
    Reconfig = 16,
    /// Asks whether a watch is there.
    CheckWatches = 17,
    /// Takes watches away.
    RemoveWatches = 18,
    /// Creates a node that goes when its last child has gone.
    CreateContainer = 19,
    /// Removes such a node; internal.
    DeleteContainer = 20,
    /// Creates a node that goes when it has been left alone for long enough.
    CreateTtl = 21,
    /// Several reads in one request.
    MultiRead = 22,
    /// Adds an identity to the connection (also called setAuth).
    Auth = 100,
    /// Registers watches again after a reconnect.
    SetWatches = 101,
    /// A step of a SASL exchange.
    Sasl = 102,
    /// Paths of this session's ephemeral nodes.
    GetEphemerals = 103,
    /// Number of all descendants.
    GetAllChildrenNumber = 104,
    /// As `SetWatches`, with the persistent ones.
    SetWatches2 = 105,
    /// Registers a persistent watch.
    AddWatch = 106,
    /// The connection's identities.
    WhoAmI = 107,
}

impl OpCode {
    /// Every code, for counters and tests.
    pub const ALL: [OpCode; 33] = [
        OpCode::CloseSession,
        OpCode::CreateSession,
        OpCode::Error,
        OpCode::Notification,
        OpCode::Create,
        OpCode::Delete,
        OpCode::Exists,
        OpCode::GetData,
        OpCode::SetData,
        OpCode::GetAcl,
        OpCode::SetAcl,
        OpCode::GetChildren,
        OpCode::Sync,
        OpCode::Ping,
        OpCode::GetChildren2,
        OpCode::Check,
        OpCode::Multi,
        OpCode::Create2,
        OpCode::Reconfig,
        OpCode::CheckWatches,
        OpCode::RemoveWatches,
        OpCode::CreateContainer,
        OpCode::DeleteContainer,
        OpCode::CreateTtl,
        OpCode::MultiRead,
        OpCode::Auth,
        OpCode::SetWatches,
        OpCode::Sasl,
        OpCode::GetEphemerals,
        OpCode::GetAllChildrenNumber,
        OpCode::SetWatches2,
        OpCode::AddWatch,
        OpCode::WhoAmI,
    ];

    /// The operation with this number, or `None` when ZooKeeper knows none.
    pub const fn from_wire(raw: i32) -> Option<OpCode> {
        Some(match raw {
            -11 => OpCode::CloseSession,
            -10 => OpCode::CreateSession,
            -1 => OpCode::Error,
            0 => OpCode::Notification,
            1 => OpCode::Create,
            2 => OpCode::Delete,
            3 => OpCode::Exists,
            4 => OpCode::GetData,
            5 => OpCode::SetData,
            6 => OpCode::GetAcl,
            7 => OpCode::SetAcl,
            8 => OpCode::GetChildren,
            9 => OpCode::Sync,
            11 => OpCode::Ping,
            12 => OpCode::GetChildren2,
            13 => OpCode::Check,
            14 => OpCode::Multi,
            15 => OpCode::Create2,
            16 => OpCode::Reconfig,
            17 => OpCode::CheckWatches,
            18 => OpCode::RemoveWatches,
            19 => OpCode::CreateContainer,
            20 => OpCode::DeleteContainer,
            21 => OpCode::CreateTtl,
            22 => OpCode::MultiRead,
            100 => OpCode::Auth,
            101 => OpCode::SetWatches,
            102 => OpCode::Sasl,
            103 => OpCode::GetEphemerals,
            104 => OpCode::GetAllChildrenNumber,
            105 => OpCode::SetWatches2,
            106 => OpCode::AddWatch,
            107 => OpCode::WhoAmI,
            _ => return None,
        })
    }

    /// The number in headers and transactions.
    pub const fn to_wire(self) -> i32 {
        self as i32
    }

    /// Whether it goes through the transaction pipeline and takes a zxid even when it fails.
    pub const fn is_write(self) -> bool {
        matches!(
            self,
            OpCode::CloseSession
                | OpCode::CreateSession
                | OpCode::Create
                | OpCode::Create2
                | OpCode::CreateContainer
                | OpCode::CreateTtl
                | OpCode::Delete
                | OpCode::DeleteContainer
                | OpCode::SetData
                | OpCode::SetAcl
                | OpCode::Check
                | OpCode::Multi
                | OpCode::Reconfig
        )
    }

    /// Whether a client may send it as a request of its own. The rest is answered UNIMPLEMENTED and the connection is
    /// closed. ZooKeeper lets clients send `CreateSession` and `DeleteContainer` as well; the one would answer with a
    /// handshake frame, the other deletes without looking at ACLs, so both count as unknown here.
    pub const fn is_client_request(self) -> bool {
        !matches!(
            self,
            OpCode::CreateSession | OpCode::Error | OpCode::Notification | OpCode::Check | OpCode::DeleteContainer
        )
    }

    /// ZooKeeper's name of the operation, as in its logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            OpCode::CloseSession => "closeSession",
            OpCode::CreateSession => "createSession",
            OpCode::Error => "error",
            OpCode::Notification => "notification",
            OpCode::Create => "create",
            OpCode::Delete => "delete",
            OpCode::Exists => "exists",
            OpCode::GetData => "getData",
            OpCode::SetData => "setData",
            OpCode::GetAcl => "getACL",
            OpCode::SetAcl => "setACL",
            OpCode::GetChildren => "getChildren",
            OpCode::Sync => "sync",
            OpCode::Ping => "ping",
            OpCode::GetChildren2 => "getChildren2",
            OpCode::Check => "check",
            OpCode::Multi => "multi",
            OpCode::Create2 => "create2",
            OpCode::Reconfig => "reconfig",
            OpCode::CheckWatches => "checkWatches",
            OpCode::RemoveWatches => "removeWatches",
            OpCode::CreateContainer => "createContainer",
            OpCode::DeleteContainer => "deleteContainer",
            OpCode::CreateTtl => "createTTL",
            OpCode::MultiRead => "multiRead",
            OpCode::Auth => "auth",
            OpCode::SetWatches => "setWatches",
            OpCode::Sasl => "sasl",
            OpCode::GetEphemerals => "getEphemerals",
            OpCode::GetAllChildrenNumber => "getAllChildrenNumber",
            OpCode::SetWatches2 => "setWatches2",
            OpCode::AddWatch => "addWatch",
            OpCode::WhoAmI => "whoAmI",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_wire() {
        for code in OpCode::ALL {
            assert_eq!(OpCode::from_wire(code.to_wire()), Some(code));
        }
    }

    #[test]
    fn gaps_in_the_numbers_are_unknown() {
        for raw in (-128..128).filter(|raw| OpCode::ALL.iter().all(|code| code.to_wire() != *raw)) {
            assert_eq!(OpCode::from_wire(raw), None, "{raw}");
        }
        assert_eq!(OpCode::from_wire(10), None);
        assert_eq!(OpCode::from_wire(i32::MIN), None);
    }
}
