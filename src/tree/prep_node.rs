//! Prep of what changes one existing node: delete, setData, setACL, check, and the reaper's removal.
//!
//! Invariant  the order of checks is ZooKeeper's (`PrepRequestProcessor.pRequest2Txn`); the first that fails decides.
//! Absent     creates, which have a file of their own.

use crate::acl::{AclEntry, perms};
use crate::code::Code;
use crate::digest;
use crate::overlay::{PendingAcl, State};
use crate::owner::Owner;
use crate::path;
use crate::prep::{Prep, PrepContext, is_special};
use crate::tree::Tree;
use crate::txn::{SetDataTxn, TxnOp, data_for_txn};

/// A node found for preparation: where it is, and what it will be before this request.
pub(crate) struct Prepared<'p> {
    pub(crate) path: &'p str,
    /// The tree's hash of the path.
    pub(crate) hash: u64,
    pub(crate) state: State,
}

impl Prep {
    pub(crate) fn delete(
        &mut self,
        tree: &Tree,
        cx: &PrepContext<'_>,
        path: Option<&str>,
        version: i32,
    ) -> Result<TxnOp, Code> {
        cx.standing.check()?;
        let path = path.ok_or(Code::MarshallingError)?;
        let parent_path = deletable_parent(path)?;
        let parent = self.look(tree, parent_path).ok_or(Code::NoNode)?;
        cx.allow(tree, &parent.state, perms::DELETE)?;
        let node = self.look(tree, path).ok_or(Code::NoNode)?;
        next_version(node.state.stat.version, version)?;
        if node.state.child_count > 0 {
            return Err(Code::NotEmpty);
        }
        self.record_delete(tree, cx, parent, node);
        Ok(TxnOp::Delete { path: path.into() })
    }

    /// The reaper's: no session, no ACL.
    pub(crate) fn delete_container(&mut self, tree: &Tree, cx: &PrepContext<'_>, path: &str) -> Result<TxnOp, Code> {
        let parent_path = deletable_parent(path)?;
        let node = self.look(tree, path).ok_or(Code::NoNode)?;
        if node.state.child_count > 0 {
            return Err(Code::NotEmpty);
        }
        if let Owner::Session(_) = tree.options().owners.classify(node.state.stat.ephemeral_owner) {
            return Err(Code::BadVersion);
        }
        let parent = self.look(tree, parent_path).ok_or(Code::NoNode)?;
        self.record_delete(tree, cx, parent, node);
        Ok(TxnOp::DeleteContainer { path: path.into() })
    }

    /// Puts a deletion into the overlay and the digest.
    pub(crate) fn record_delete(
        &mut self,
        tree: &Tree,
        cx: &PrepContext<'_>,
        parent: Prepared<'_>,
        node: Prepared<'_>,
    ) {
        let mut after = parent.state.clone();
        after.child_count = after.child_count.checked_sub(1).expect("the node is a child of its parent");
        after.stat.pzxid = after.stat.pzxid.max(cx.zxid.to_wire());
        self.shift_digest(tree, parent.path, Some(&parent.state), Some(&after));
        self.overlay.put(parent.path, parent.hash, cx.zxid, Some(after));
        self.shift_digest(tree, node.path, Some(&node.state), None);
        self.overlay.put(node.path, node.hash, cx.zxid, None);
    }

    pub(crate) fn set_data(
        &mut self,
        tree: &Tree,
        cx: &PrepContext<'_>,
        path: Option<&str>,
        data: Option<&[u8]>,
        version: i32,
    ) -> Result<TxnOp, Code> {
        cx.standing.check()?;
        let path = valid(path)?;
        let node = self.look(tree, path).ok_or(Code::NoNode)?;
        cx.allow(tree, &node.state, perms::WRITE)?;
        let data_len = data.map_or(0, <[u8]>::len);
        if cx.settings.enforce_quota {
            tree.quota_check(path, data_len as i64 - node.state.data_len as i64, 0)?;
        }
        let version = next_version(node.state.stat.version, version)?;
        let mut after = node.state.clone();
        after.stat.version = version;
        after.stat.mzxid = cx.zxid.to_wire();
        after.stat.mtime = cx.time;
        after.data_len = data_len;
        if tree.options().digest && !digest::is_outside(path) {
            after.content_crc = digest::content_crc(path, data);
        }
        self.shift_digest(tree, path, Some(&node.state), Some(&after));
        self.overlay.put(path, node.hash, cx.zxid, Some(after));
        let data = data.map(|data| data_for_txn(cx.frame, data));
        Ok(TxnOp::SetData(SetDataTxn { path: path.into(), data, version }))
    }

    pub(crate) fn set_acl(
        &mut self,
        tree: &Tree,
        cx: &PrepContext<'_>,
        path: Option<&str>,
        acl: Option<&[AclEntry<'_>]>,
        version: i32,
    ) -> Result<TxnOp, Code> {
        cx.standing.check()?;
        let path = valid(path)?;
        let acl = cx.settings.schemes.fix_up(tree, acl, cx.identities, &mut self.expansion_left)?;
        let node = self.look(tree, path).ok_or(Code::NoNode)?;
        cx.allow(tree, &node.state, perms::ADMIN)?;
        let version = next_version(node.state.stat.aversion, version)?;
        let mut after = node.state.clone();
        after.stat.aversion = version;
        after.acl = PendingAcl::List(acl.clone());
        self.shift_digest(tree, path, Some(&node.state), Some(&after));
        self.overlay.put(path, node.hash, cx.zxid, Some(after));
        Ok(TxnOp::SetAcl { path: path.into(), acl, version })
    }

    pub(crate) fn check_version(
        &mut self,
        tree: &Tree,
        cx: &PrepContext<'_>,
        path: Option<&str>,
        version: i32,
    ) -> Result<TxnOp, Code> {
        cx.standing.check()?;
        let path = valid(path)?;
        let node = self.look(tree, path).ok_or(Code::NoNode)?;
        cx.allow(tree, &node.state, perms::READ)?;
        let version = next_version(node.state.stat.version, version)?;
        Ok(TxnOp::Check { path: path.into(), version })
    }
}

impl PrepContext<'_> {
    /// Whether the connection may do one of `wanted` to a node as it will be.
    pub(crate) fn allow(&self, tree: &Tree, state: &State, wanted: i32) -> Result<(), Code> {
        let is_allowed = self.settings.schemes.allow(state.acl(tree), wanted, self.identities);
        if is_allowed { Ok(()) } else { Err(Code::NoAuth) }
    }
}

/// A path that passes the rules. Null falls with the others.
fn valid(path: Option<&str>) -> Result<&str, Code> {
    path.filter(|path| path::validate(path).is_ok()).ok_or(Code::BadArguments)
}

/// The parent of a path that somebody wants deleted. Nothing else about the path is checked.
fn deletable_parent(path: &str) -> Result<&str, Code> {
    match path::parent_of_unchecked(path) {
        Ok(parent) if !is_special(path) => Ok(parent),
        _ => Err(Code::BadArguments),
    }
}

/// The version after a change, if the current one is as expected. -1 matches any, other negative ones do not.
fn next_version(current: i32, expected: i32) -> Result<i32, Code> {
    if expected != -1 && expected != current {
        return Err(Code::BadVersion);
    }
    Ok(current.wrapping_add(1))
}
