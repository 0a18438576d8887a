//! Transactions: what a write becomes once everything about it is decided. Applying one cannot fail.
//!
//! Flow       `prep` makes a `Txn`; the codec writes it into the log and the wire; `apply` carries it out, live and in
//!            replay alike.
//! Invariant  each record assigns resulting state (new versions, the parent's new cversion) and increments nothing, so
//!            that applying it again over its own effect is harmless.
//! Absent     bytes: the codec owns the format.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;
use ids::{SessionId, Xid, Zxid};

use crate::acl::AclList;
use crate::owner::{self, OwnerRules};
use crate::request::CreateKind;
use crate::stat::StatPersisted;

/// One entry of the history: header, record, and the digest of the tree after it.
#[derive(Clone, PartialEq, Debug)]
pub struct Txn {
    /// Whose request it was; the session itself for its creation and end.
    pub session: SessionId,
    /// The client's number of the request.
    pub cxid: Xid,
    /// Its place in the history.
    pub zxid: Zxid,
    /// Wall clock of the server that prepared it, ms since 1970.
    pub time: i64,
    /// What it does.
    pub op: TxnOp,
    /// Digest of the tree after it (`None`: digests are off, an error, or an old log).
    pub digest: Option<u64>,
}

/// The record, by type.
#[derive(Clone, PartialEq, Debug)]
pub enum TxnOp {
    /// -1: the write failed with this code; nothing changes. Any number may stand in a log.
    Error(i32),
    /// -10.
    CreateSession {
        /// Negotiated timeout.
        timeout_ms: i32,
    },
    /// -11.
    CloseSession {
        /// The session's ephemerals as known when it was prepared; `None` in old logs: whatever there is on apply.
        paths: Option<Vec<Box<str>>>,
    },
    /// 1, 15, 19, 21.
    Create(CreateTxn),
    /// 2.
    Delete {
        /// Of the node.
        path: Box<str>,
    },
    /// 20: as delete, by the reaper.
    DeleteContainer {
        /// Of the node.
        path: Box<str>,
    },
    /// 5.
    SetData(SetDataTxn),
    /// 16: as setData, of the configuration node.
    Reconfig(SetDataTxn),
    /// 7.
    SetAcl {
        /// Of the node.
        path: Box<str>,
        /// After fix-up. A null vector in a record means [`AclList::open`].
        acl: AclList,
        /// The resulting aversion.
        version: i32,
    },
    /// 13: changes nothing; only inside a multi.
    Check {
        /// Of the node.
        path: Box<str>,
        /// The node's version + 1, as ZooKeeper writes it.
        version: i32,
    },
    /// 14. Failed iff any of them is an error; then nothing changes.
    Multi(Vec<TxnOp>),
}

impl TxnOp {
    /// Copies large data, which will stay in the tree, into memory of the calling thread's own. Memory of a thread that
    /// ends is not used again.
    pub fn adopt_large_data(&mut self) {
        let data = match self {
            TxnOp::Create(create) => &mut create.data,
            TxnOp::SetData(set) | TxnOp::Reconfig(set) => &mut set.data,
            TxnOp::Multi(ops) => return ops.iter_mut().for_each(TxnOp::adopt_large_data),
            _ => return,
        };
        if let Some(data) = data.as_mut().filter(|data| data.len() >= LARGE_DATA_BYTES) {
            *data = Bytes::copy_from_slice(data);
        }
    }
}

/// Record of the four creates.
#[derive(Clone, PartialEq, Debug)]
pub struct CreateTxn {
    /// By record type; decides, with `ephemeral`, the owner of the node.
    pub kind: CreateKind,
    /// With its sequential suffix.
    pub path: Box<str>,
    /// See [`data_for_txn`] about who owns the bytes.
    pub data: Option<Bytes>,
    /// After fix-up. A null vector in a record means [`AclList::open`].
    pub acl: AclList,
    /// Types 1 and 15 only: the session owns it.
    pub ephemeral: bool,
    /// The parent's resulting cversion; -1 in records of ancient logs means one more than now.
    pub parent_cversion: i32,
    /// Type 21 only: milliseconds.
    pub ttl: i64,
}

impl CreateTxn {
    /// The stat of the node that it makes, when `session` has it made.
    pub(crate) fn stat(&self, owners: OwnerRules, session: SessionId, zxid: i64, time: i64) -> StatPersisted {
        let ephemeral_owner = match self.kind {
            CreateKind::Container => owner::CONTAINER,
            CreateKind::Ttl => owners.ttl_owner(self.ttl),
            CreateKind::Create | CreateKind::Create2 if self.ephemeral => session.to_i64(),
            CreateKind::Create | CreateKind::Create2 => 0,
        };
        StatPersisted {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: time,
            mtime: time,
            ephemeral_owner,
            ..StatPersisted::default()
        }
    }
}

/// Record of setData and reconfig.
#[derive(Clone, PartialEq, Debug)]
pub struct SetDataTxn {
    /// Of the node.
    pub path: Box<str>,
    /// See [`data_for_txn`] about who owns the bytes.
    pub data: Option<Bytes>,
    /// The resulting version.
    pub version: i32,
}

impl TxnOp {
    /// The type number in the transaction's header.
    pub const fn to_wire(&self) -> i32 {
        match self {
            TxnOp::Error(_) => -1,
            TxnOp::CreateSession { .. } => -10,
            TxnOp::CloseSession { .. } => -11,
            TxnOp::Create(create) => create.kind.to_wire(),
            TxnOp::Delete { .. } => 2,
            TxnOp::DeleteContainer { .. } => 20,
            TxnOp::SetData(_) => 5,
            TxnOp::Reconfig(_) => 16,
            TxnOp::SetAcl { .. } => 7,
            TxnOp::Check { .. } => 13,
            TxnOp::Multi(_) => 14,
        }
    }
}

/// Data from this size on rests in the tree as its own allocation, shared with replies and never copied again;
/// smaller data is copied into the node's block. 4 KiB: below, one copy costs less than keeping a reference count hot.
pub const LARGE_DATA_BYTES: usize = 4096;

/// The bytes of a record's data. What is small may point into `frame`, which the txn then pins until it is applied;
/// what is large gets an allocation of its own, because it will stay in the tree and must not pin a receive buffer.
/// Whoever decodes records from a log uses this too.
pub fn data_for_txn(frame: Option<&Bytes>, data: &[u8]) -> Bytes {
    match frame {
        Some(frame) if data.len() < LARGE_DATA_BYTES && is_within(data, frame) => frame.slice_ref(data),
        _ => Bytes::copy_from_slice(data),
    }
}

fn is_within(part: &[u8], whole: &[u8]) -> bool {
    let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
    whole.start <= part.start && part.end <= whole.end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_data_is_adopted_wherever_it_is() {
        let create = |data: &Bytes| {
            let (kind, acl) = (CreateKind::Create, AclList::open());
            let (path, data) = ("/a".into(), Some(data.clone()));
            TxnOp::Create(CreateTxn { kind, path, data, acl, ephemeral: false, parent_cversion: 1, ttl: 0 })
        };
        let (large, small) = (Bytes::from(alloc::vec![7; LARGE_DATA_BYTES]), Bytes::from_static(b"small"));
        let mut multi = TxnOp::Multi(alloc::vec![create(&large), create(&small)]);
        let before = multi.clone();
        multi.adopt_large_data();
        assert_eq!(multi, before);
        let TxnOp::Multi(ops) = multi else { unreachable!() };
        let at = |op: &TxnOp| match op {
            TxnOp::Create(create) => create.data.as_ref().unwrap().as_ptr(),
            _ => unreachable!(),
        };
        assert_ne!(at(&ops[0]), large.as_ptr());
        assert_eq!(at(&ops[1]), small.as_ptr());
    }

    #[test]
    fn small_data_points_into_the_frame_and_large_data_owns_itself() {
        let frame = Bytes::from(alloc::vec![7; 10_000]);
        let small = data_for_txn(Some(&frame), &frame[10..20]);
        assert_eq!(small.as_ptr(), frame[10..].as_ptr());
        let large = data_for_txn(Some(&frame), &frame[..LARGE_DATA_BYTES]);
        assert_ne!(large.as_ptr(), frame.as_ptr());
        let stranger = data_for_txn(Some(&frame), b"elsewhere");
        assert_eq!(&stranger[..], b"elsewhere");
        assert!(data_for_txn(Some(&frame), &[]).is_empty());
    }
}
