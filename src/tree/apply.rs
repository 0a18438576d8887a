//! Apply: a transaction becomes part of the tree. The same function live, in replay and on a follower.
//!
//! Flow       `Txn` -> changes of nodes -> reply material (`OpResult`), and `Effects` for watches.
//! Invariant  it cannot fail: what does not fit (a create of what exists, in replay over a newer snapshot) is a result,
//!            with the effect that ZooKeeper gives it. After it, `last_zxid` covers the transaction.
//! Absent     checks. A txn with a wrong digest is applied, and reported.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use ids::{SessionId, Zxid};

use crate::acl::AclList;
use crate::code::Code;
use crate::effects::{ChangeKind, Effects};
use crate::foresight::Foreseen;
use crate::node_ref::NodeRef;
use crate::path;
use crate::prep::is_special;
use crate::request::CreateKind;
use crate::stat::Stat;
use crate::tree::{CONFIG, NewNode, Tree};
use crate::txn::{CreateTxn, SetDataTxn, Txn, TxnOp};
use crate::znode::{NONE, NodeId};

/// What the reply to a write is made of.
#[derive(Clone, PartialEq, Debug)]
pub enum OpResult<'t> {
    /// It failed: a code of [`Code`], or another number out of a log. In a failed multi also 0 and -2.
    Error(i32),
    /// A node came.
    Created {
        /// Opcode of the answer: `Create` answers the path only.
        kind: CreateKind,
        /// With its suffix.
        path: &'t str,
        /// After the creation.
        stat: Stat,
    },
    /// A node went.
    Deleted,
    /// Data was replaced.
    DataSet(Stat),
    /// The configuration was replaced.
    Reconfigured(Stat),
    /// An ACL was replaced.
    AclSet(Stat),
    /// A version was as expected.
    Checked,
    /// One per operation. If the first is an error, all are, and nothing changed; the reply header says 0 all the same.
    Multi(Vec<OpResult<'t>>),
    /// The session exists now.
    SessionCreated {
        /// Negotiated.
        timeout_ms: i32,
    },
    /// The session is gone, and its ephemerals.
    SessionClosed,
}

impl OpResult<'_> {
    /// For the reply header. A failed multi's is 0: its codes are in its body.
    pub fn header_code(&self) -> i32 {
        match self {
            OpResult::Error(code) => *code,
            _ => Code::Ok.to_i32(),
        }
    }
}

/// What all operations of one transaction share.
#[derive(Clone, Copy)]
struct Header {
    session: SessionId,
    zxid: i64,
    time: i64,
}

impl Tree {
    /// Applies a transaction. `effects` must be clear.
    pub fn apply<'t>(&mut self, txn: &'t Txn, effects: &mut Effects) -> OpResult<'t> {
        self.apply_foreseen(txn, None, effects)
    }

    /// As [`Tree::apply`], with what was foreseen of the transaction.
    pub fn apply_foreseen<'t>(
        &mut self,
        txn: &'t Txn,
        foreseen: Option<Foreseen>,
        effects: &mut Effects,
    ) -> OpResult<'t> {
        let header = Header { session: txn.session, zxid: txn.zxid.to_wire(), time: txn.time };
        let result = match &txn.op {
            TxnOp::Multi(ops) => self.apply_multi(header, ops, effects),
            TxnOp::Create(create) => self.create(header, create, foreseen, effects),
            op => self.apply_op(header, op, effects),
        };
        self.last_zxid = self.last_zxid.max(txn.zxid);
        if let Some(expected) = txn.digest
            && self.options.digest
            && expected != self.digest()
        {
            effects.set_digest_mismatch(expected, self.digest());
        }
        result
    }

    /// Every member of an ensemble writes the configuration that it knows to be committed into its own tree, without a
    /// transaction, as ZooKeeper does when it begins to serve: digests leave that node out. `version` is the
    /// configuration's, which stands in for the zxid.
    pub fn set_config(&mut self, text: &str, version: Zxid, time: i64) {
        let header = Header { session: SessionId::NONE, zxid: version.to_wire(), time };
        let data = Some(Bytes::copy_from_slice(text.as_bytes()));
        let set = SetDataTxn { path: CONFIG.into(), data, version: -1 };
        self.set_data(header, &set, &mut Effects::deaf()).expect("the node is built in and cannot be deleted");
    }

    fn apply_multi<'t>(&mut self, header: Header, ops: &'t [TxnOp], effects: &mut Effects) -> OpResult<'t> {
        let is_failed = ops.iter().any(|op| matches!(op, TxnOp::Error(_)));
        let apply = |op: &'t TxnOp| match op {
            TxnOp::Error(code) => OpResult::Error(*code),
            _ if is_failed => OpResult::Error(Code::Ok.to_i32()),
            op => self.apply_op(header, op, effects),
        };
        OpResult::Multi(ops.iter().map(apply).collect())
    }

    fn apply_op<'t>(&mut self, header: Header, op: &'t TxnOp, effects: &mut Effects) -> OpResult<'t> {
        match op {
            TxnOp::Error(code) => OpResult::Error(*code),
            TxnOp::CreateSession { timeout_ms } => {
                self.sessions.insert(header.session.to_i64(), *timeout_ms);
                OpResult::SessionCreated { timeout_ms: *timeout_ms }
            }
            TxnOp::CloseSession { paths } => {
                self.close_session(header, paths.as_deref().unwrap_or_default(), effects);
                OpResult::SessionClosed
            }
            TxnOp::Create(create) => self.create(header, create, None, effects),
            TxnOp::Delete { path } | TxnOp::DeleteContainer { path } => self.delete(header, path, effects),
            TxnOp::SetData(set) => self.set_data(header, set, effects).map_or_else(no_node, OpResult::DataSet),
            TxnOp::Reconfig(set) => self.set_data(header, set, effects).map_or_else(no_node, OpResult::Reconfigured),
            TxnOp::SetAcl { path, acl, version } => self.set_acl(path, acl, *version),
            TxnOp::Check { .. } => OpResult::Checked,
            TxnOp::Multi(_) => OpResult::Error(Code::MarshallingError.to_i32()), // ZooKeeper knows no multi in a multi.
        }
    }

    fn create<'t>(
        &mut self,
        header: Header,
        txn: &'t CreateTxn,
        foreseen: Option<Foreseen>,
        effects: &mut Effects,
    ) -> OpResult<'t> {
        let Some(parent) = self.find_parent(&txn.path) else {
            return no_node(());
        };
        let (data, shared) = (txn.data.as_deref(), txn.data.as_ref());
        let stat = txn.stat(self.options.owners, header.session, header.zxid, header.time);
        let foreseen = foreseen.unwrap_or_else(|| self.foresight().node(&txn.path, data, &stat));
        if let Some(existing) = self.find_hashed(&txn.path, foreseen.path_hash) {
            // Replay over a fuzzy snapshot. Its ACL list may have been missing there. The parent may have been copied before
            // this create, if the node was deleted and made again in between; ZooKeeper raises it for type 1 only.
            self.replace_acl(existing, &txn.acl);
            self.raise_parent(header, parent, txn.parent_cversion);
            return OpResult::Error(Code::NodeExists.to_i32());
        }
        self.raise_parent(header, parent, txn.parent_cversion);
        let acl = self.acls.intern(&txn.acl);
        let id = self.attach(parent, NewNode { path: &txn.path, foreseen, data, shared, acl, stat });
        // As in ZooKeeper the stat is older than the first count that a quota's stats node gets.
        let stat = NodeRef { tree: self, id }.stat();
        self.quota_created(&txn.path, data.map_or(0, <[u8]>::len));
        if !effects.is_deaf() {
            let (acl, parent_acl) = (self.acls.list(acl), self.acls.list(self.slab[parent].acl));
            effects.push(ChangeKind::Created, &txn.path, acl, Some(parent_acl));
        }
        OpResult::Created { kind: txn.kind, path: &txn.path, stat }
    }

    /// The parent of a path out of a record, which may come from anywhere. A node without a name has none, or it would be
    /// found under its parent's path.
    fn find_parent(&self, node_path: &str) -> Option<NodeId> {
        let is_nameless = node_path.ends_with('/') && node_path != path::ROOT;
        if !node_path.starts_with('/') || is_nameless {
            return None;
        }
        self.find(path::split(node_path).0)
    }

    /// A child was created: the parent's counter and pzxid move, and only upwards.
    fn raise_parent(&mut self, header: Header, parent: NodeId, recorded_cversion: i32) {
        let current = self.slab[parent].cversion();
        let cversion = if recorded_cversion == -1 { current.wrapping_add(1) } else { recorded_cversion };
        if cversion > current {
            self.change(parent, |tree| {
                let inner = tree.slab[parent].inner_mut();
                inner.cversion = cversion;
                inner.pzxid = header.zxid;
            });
        }
    }

    fn delete(&mut self, header: Header, node_path: &str, effects: &mut Effects) -> OpResult<'static> {
        // No leader deletes a built-in node: prep refuses, in ZooKeeper too.
        let Some(parent) = self.find_parent(node_path).filter(|_| !is_special(node_path)) else {
            return no_node(());
        };
        // The parent learns of it even if the node is gone already.
        if header.zxid > self.slab[parent].pzxid() {
            self.change(parent, |tree| tree.slab[parent].inner_mut().pzxid = header.zxid);
        }
        let Some(id) = self.find(node_path) else {
            return no_node(());
        };
        self.detach_below(id);
        let acl = (!effects.is_deaf()).then(|| self.acls.list(self.slab[id].acl).clone());
        let node = self.detach(id, node_path);
        self.quota_deleted(node_path, node.data_len());
        if let Some(acl) = acl {
            effects.push(ChangeKind::Deleted, node_path, &acl, Some(self.acls.list(self.slab[parent].acl)));
        }
        OpResult::Deleted
    }

    /// Prep never deletes a node with children. Replay over a fuzzy snapshot of ZooKeeper's may meet children that come
    /// later in the log: they go too, and come again with their own records.
    fn detach_below(&mut self, id: NodeId) {
        let mut at = id;
        while self.slab[id].first_child() != NONE {
            while self.slab[at].first_child() != NONE {
                at = self.slab[at].first_child();
            }
            let (parent, node_path) = (self.slab[at].parent, self.path_of(at));
            self.before_change(parent);
            let node = self.detach(at, &node_path);
            self.quota_deleted(&node_path, node.data_len());
            at = parent;
        }
    }

    fn set_data(&mut self, header: Header, txn: &SetDataTxn, effects: &mut Effects) -> Result<Stat, ()> {
        let id = self.find(&txn.path).ok_or(())?;
        let (data, shared) = (txn.data.as_deref(), txn.data.as_ref());
        let before = self.slab[id].data_len() as i64;
        self.change(id, |tree| {
            tree.replace_data(id, &txn.path, data, shared);
            let node = &mut tree.slab[id];
            node.version = txn.version;
            node.mzxid = header.zxid;
            node.mtime = header.time;
        });
        let stat = NodeRef { tree: self, id }.stat();
        self.quota_used(&txn.path, data.map_or(0, |data| data.len() as i64) - before, 0);
        if !effects.is_deaf() {
            effects.push(ChangeKind::DataChanged, &txn.path, self.acls.list(self.slab[id].acl), None);
        }
        Ok(stat)
    }

    fn set_acl(&mut self, node_path: &str, acl: &AclList, version: i32) -> OpResult<'static> {
        let Some(id) = self.find(node_path) else {
            return no_node(());
        };
        self.replace_acl(id, acl);
        self.change(id, |tree| tree.slab[id].inner_mut().aversion = version);
        OpResult::AclSet(NodeRef { tree: self, id }.stat())
    }

    fn close_session(&mut self, header: Header, listed: &[Box<str>], effects: &mut Effects) {
        self.sessions.remove(&header.session.to_i64());
        for node_path in listed {
            self.delete(header, node_path, effects);
        }
        // What the list does not know: old logs have none, and a replay may have more than it.
        let rest: Vec<String> = self.ephemerals_of(header.session, "").collect();
        for node_path in rest {
            self.delete(header, &node_path, effects);
        }
        effects.set_closed_session(header.session);
    }
}

fn no_node(_: ()) -> OpResult<'static> {
    OpResult::Error(Code::NoNode.to_i32())
}

#[cfg(test)]
mod tests;
