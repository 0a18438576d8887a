//! Effects: what applying a transaction means for others than its client: changed nodes, ended sessions, a bad digest.
//!
//! Flow       `apply` fills -> `Watches::fire` takes each change -> the caller clears for the next transaction.
//! Invariant  changes stand in firing order; a list is the ACL in force when the change happened, for the READ filter.
//! Absent     recipients: the tree knows no watches. Memory is kept between transactions, so filling allocates nothing.

use alloc::string::String;
use alloc::vec::Vec;

use ids::SessionId;

use crate::acl::AclList;
use crate::path;

/// What happened to a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChangeKind {
    /// It came; its parent's children changed.
    Created,
    /// It went; its parent's children changed.
    Deleted,
    /// Its data changed.
    DataChanged,
}

/// One changed node.
#[derive(Clone, Copy, Debug)]
pub struct Change<'e> {
    /// What happened.
    pub kind: ChangeKind,
    /// To which node.
    pub path: &'e str,
    /// The node's ACL; a deleted node's last one.
    pub acl: &'e AclList,
    /// The parent's ACL. Equal to `acl` where the parent is not concerned.
    pub parent_acl: &'e AclList,
}

impl<'e> Change<'e> {
    /// Path of the parent.
    pub fn parent_path(&self) -> &'e str {
        path::split(self.path).0
    }
}

/// A transaction's digest is not the tree's after it: this server differs from the one that prepared it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DigestMismatch {
    /// In the transaction.
    pub expected: u64,
    /// Of this tree.
    pub actual: u64,
}

#[derive(Debug)]
struct Record {
    kind: ChangeKind,
    path_end: usize,
    acl: AclList,
    parent_acl: Option<AclList>,
}

/// The effects of one transaction.
#[derive(Default, Debug)]
pub struct Effects {
    records: Vec<Record>,
    /// All paths, one behind the other.
    paths: String,
    closed_session: Option<SessionId>,
    digest_mismatch: Option<DigestMismatch>,
    is_deaf: bool,
}

impl Effects {
    /// For a server with watches.
    pub fn new() -> Effects {
        Effects::default()
    }

    /// For replay, where nobody watches: changes are not recorded.
    pub fn deaf() -> Effects {
        Effects { is_deaf: true, ..Effects::default() }
    }

    /// Records changes or not from now on; with no watch anywhere there is no need to.
    pub fn set_deaf(&mut self, is_deaf: bool) {
        self.is_deaf = is_deaf;
    }

    /// Forgets one transaction for the next. Buffers stay.
    pub fn clear(&mut self) {
        self.records.clear();
        self.paths.clear();
        self.closed_session = None;
        self.digest_mismatch = None;
    }

    /// The changes, in firing order.
    pub fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        let mut start = 0;
        self.records.iter().map(move |record| {
            let path = &self.paths[start..record.path_end];
            start = record.path_end;
            let parent_acl = record.parent_acl.as_ref().unwrap_or(&record.acl);
            Change { kind: record.kind, path, acl: &record.acl, parent_acl }
        })
    }

    /// The session that ended: its connection, if this server has it, is closed.
    pub fn closed_session(&self) -> Option<SessionId> {
        self.closed_session
    }

    /// To be reported, and no more than that.
    pub fn digest_mismatch(&self) -> Option<DigestMismatch> {
        self.digest_mismatch
    }

    pub(crate) fn is_deaf(&self) -> bool {
        self.is_deaf
    }

    pub(crate) fn push(&mut self, kind: ChangeKind, path: &str, acl: &AclList, parent_acl: Option<&AclList>) {
        if self.is_deaf {
            return;
        }
        self.paths.push_str(path);
        let path_end = self.paths.len();
        self.records.push(Record { kind, path_end, acl: acl.clone(), parent_acl: parent_acl.cloned() });
    }

    pub(crate) fn set_closed_session(&mut self, session: SessionId) {
        self.closed_session = Some(session);
    }

    pub(crate) fn set_digest_mismatch(&mut self, expected: u64, actual: u64) {
        self.digest_mismatch = Some(DigestMismatch { expected, actual });
    }
}
