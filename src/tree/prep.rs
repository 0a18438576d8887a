//! Prep: a request becomes a transaction. Here everything is decided; applying only carries out.
//!
//! Flow       `Request` -> checks in ZooKeeper's order, against the tree and what is prepared but not yet applied ->
//!            `Txn` with resulting versions and the digest after it; or an error txn, which takes its zxid all the same.
//! Invariant  transactions leave in zxid order; the digest in each is what the tree will have after it.
//! Absent     sessions: their standing is the caller's word. Reconfiguration, which a standalone server refuses.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use ids::{SessionId, Xid, Zxid};

use crate::acl::Identity;
use crate::code::Code;
use crate::digest;
use crate::overlay::{Overlay, State};
use crate::path;
use crate::prep_create::effective_kind_in_multi;
use crate::prep_node::Prepared;
use crate::request::{CreateKind, Request};
use crate::scheme::Schemes;
use crate::session::Standing;
use crate::tree::{SPECIAL_PATHS, Tree};
use crate::txn::{Txn, TxnOp};

/// Settings that decide about writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PrepSettings {
    /// Which ACL schemes exist.
    pub schemes: Schemes,
    /// `enforceQuota`: hard limits refuse.
    pub enforce_quota: bool,
    /// `closeSessionTxn.enabled`: the end of a session lists its ephemerals.
    pub close_session_txn: bool,
    /// `reconfigEnabled`: on a standalone server it only changes the refusal.
    pub reconfig_enabled: bool,
    /// A create2 inside a multi is recorded as a create: members of 3.8.0 and 3.8.1 know no create2 there, stop in the
    /// middle of the multi and have another tree from then on. The client then gets no Stat for it, as from those.
    pub create2_in_multi_as_create: bool,
}

impl Default for PrepSettings {
    fn default() -> PrepSettings {
        PrepSettings {
            schemes: Schemes::default(),
            enforce_quota: false,
            close_session_txn: true,
            reconfig_enabled: false,
            create2_in_multi_as_create: false,
        }
    }
}

/// What is known about a request besides its content.
#[derive(Clone, Copy, Debug)]
pub struct PrepContext<'a> {
    /// Whose it is; `SessionId::NONE` for the reaper's.
    pub session: SessionId,
    /// What the tracker says about that session.
    pub standing: Standing,
    /// The client's number of it.
    pub cxid: Xid,
    /// The zxid that it takes, one more than the last.
    pub zxid: Zxid,
    /// Wall clock, ms since 1970.
    pub time: i64,
    /// Identities of the connection when the request was received.
    pub identities: &'a [Identity],
    /// The frame that the request borrows from, if its buffer may be pinned until the transaction is applied.
    pub frame: Option<&'a Bytes>,
    /// Settings.
    pub settings: &'a PrepSettings,
}

/// Turns requests into transactions, ahead of the tree.
#[derive(Debug, Default)]
pub struct Prep {
    pub(crate) overlay: Overlay,
    /// Of the tree as it will be.
    digest: u64,
    last_zxid: Zxid,
    /// Bytes that the `auth` entries of the request being prepared may still become.
    pub(crate) expansion_left: usize,
}

/// Bytes that the `auth` entries of one request may become: beyond, INVALIDACL. A transaction must stay of the order of
/// its frame, or one client could have gigabytes made of a megabyte.
pub(crate) const EXPANSION_MAX_BYTES: usize = 256 * 1024;

impl Prep {
    /// With nothing outstanding: what has been prepared before is applied or lost.
    pub fn new() -> Prep {
        Prep::default()
    }

    /// Decides a request. The transaction has to be applied, after those before it.
    ///
    /// # Panics
    /// If the context's zxid is not greater than every one before.
    pub fn prepare(&mut self, tree: &Tree, cx: &PrepContext<'_>, request: &Request<'_>) -> Txn {
        assert!(cx.zxid > self.last_zxid && cx.zxid > tree.last_zxid(), "zxids rise");
        self.last_zxid = cx.zxid;
        self.expansion_left = EXPANSION_MAX_BYTES;
        if self.overlay.is_empty() {
            self.digest = tree.digest();
        }
        let op = self.request(tree, cx, request).unwrap_or_else(|code| TxnOp::Error(code.to_i32()));
        let has_digest = tree.options().digest && !matches!(op, TxnOp::Error(_));
        Txn {
            session: cx.session,
            cxid: cx.cxid,
            zxid: cx.zxid,
            time: cx.time,
            op,
            digest: has_digest.then_some(self.digest),
        }
    }

    /// Everything up to `zxid` has been applied to the tree. To be called after each `Tree::apply`, or each batch.
    pub fn applied(&mut self, zxid: Zxid) {
        self.overlay.expire(zxid);
    }

    fn request(&mut self, tree: &Tree, cx: &PrepContext<'_>, request: &Request<'_>) -> Result<TxnOp, Code> {
        match request {
            Request::Multi(ops) => self.multi(tree, cx, ops),
            Request::MultiUndecodable => Err(Code::MarshallingError),
            Request::CreateSession { timeout_ms } => Ok(TxnOp::CreateSession { timeout_ms: *timeout_ms }),
            Request::CloseSession => Ok(self.close_session(tree, cx)),
            Request::DeleteContainer { path } => self.delete_container(tree, cx, path),
            Request::Reconfig => Err(refuse_reconfig(cx)),
            Request::Refused(code) => Err(*code),
            // A bare check is an unknown opcode; the server closes the connection before it comes here.
            Request::Check { .. } => Err(Code::Unimplemented),
            Request::Create(_) | Request::Delete { .. } | Request::SetData { .. } | Request::SetAcl { .. } => {
                self.simple(tree, cx, request)
            }
        }
    }

    /// The operations that work alone, or in a multi, or both.
    fn simple(&mut self, tree: &Tree, cx: &PrepContext<'_>, request: &Request<'_>) -> Result<TxnOp, Code> {
        match *request {
            Request::Create(ref create) => self.create(tree, cx, create),
            Request::Delete { path, version } => self.delete(tree, cx, path, version),
            Request::SetData { path, data, version } => self.set_data(tree, cx, path, data, version),
            Request::SetAcl { path, ref acl, version } => self.set_acl(tree, cx, path, acl.as_deref(), version),
            Request::Check { path, version } => self.check_version(tree, cx, path, version),
            _ => Err(Code::MarshallingError),
        }
    }

    /// All or nothing. The result is a transaction in both cases; `Err` where ZooKeeper has no result per operation.
    fn multi(&mut self, tree: &Tree, cx: &PrepContext<'_>, requests: &[Request<'_>]) -> Result<TxnOp, Code> {
        let digest_before = self.digest;
        self.overlay.begin();
        let mut ops = Vec::with_capacity(requests.len());
        for request in requests {
            match self.multi_op(tree, cx, request) {
                Ok(op) => ops.push(op),
                Err(code) => {
                    self.overlay.roll_back();
                    self.digest = digest_before;
                    if code == Code::MarshallingError || !requests.iter().all(is_multi_op) {
                        return Err(Code::MarshallingError);
                    }
                    ops.push(TxnOp::Error(code.to_i32()));
                    ops.resize_with(requests.len(), || TxnOp::Error(Code::RuntimeInconsistency.to_i32()));
                    return Ok(TxnOp::Multi(ops));
                }
            }
        }
        self.overlay.commit();
        Ok(TxnOp::Multi(ops))
    }

    fn multi_op(&mut self, tree: &Tree, cx: &PrepContext<'_>, request: &Request<'_>) -> Result<TxnOp, Code> {
        match request {
            _ if !is_multi_op(request) => Err(Code::MarshallingError),
            Request::Create(create) => {
                let mut effective = create.clone();
                (effective.kind, effective.ttl) = effective_kind_in_multi(create).ok_or(Code::MarshallingError)?;
                if effective.kind == CreateKind::Create2 && cx.settings.create2_in_multi_as_create {
                    effective.kind = CreateKind::Create;
                }
                self.create(tree, cx, &effective)
            }
            request => self.simple(tree, cx, request),
        }
    }

    /// Ends a session with all its ephemerals, those still to come included.
    fn close_session(&mut self, tree: &Tree, cx: &PrepContext<'_>) -> TxnOp {
        let session = cx.session.to_i64();
        let in_tree = tree.ephemerals_of(cx.session, "");
        let pending = self.overlay.owned_by(session).map(String::from);
        let mut paths: Vec<Box<str>> = in_tree.chain(pending).map(String::into_boxed_str).collect();
        paths.sort_unstable();
        paths.dedup();
        // The overlay is the truth: some of the tree's will be gone, or somebody else's, by then.
        paths.retain(|path| {
            let state = self.overlay.state(tree, path, tree.hash_of(path));
            state.is_some_and(|state| state.stat.ephemeral_owner == session)
        });
        for path in &paths {
            let (parent_path, _) = path::split(path);
            if let (Some(parent), Some(node)) = (self.look(tree, parent_path), self.look(tree, path)) {
                self.record_delete(tree, cx, parent, node);
            }
        }
        TxnOp::CloseSession { paths: cx.settings.close_session_txn.then_some(paths) }
    }

    /// Adds to the digest what a node turns into. `None` before a creation or after a deletion.
    pub(crate) fn shift_digest(&mut self, tree: &Tree, path: &str, old: Option<&State>, new: Option<&State>) {
        if !tree.options().digest || digest::is_outside(path) {
            return;
        }
        let of = |state: Option<&State>| state.map_or(0, |state| digest::node(state.content_crc, &state.stat));
        self.digest = self.digest.wrapping_sub(of(old)).wrapping_add(of(new));
    }

    /// A node by path, as it will be.
    pub(crate) fn look<'p>(&self, tree: &Tree, path: &'p str) -> Option<Prepared<'p>> {
        let hash = tree.hash_of(path);
        let state = self.overlay.state(tree, path, hash)?;
        Some(Prepared { path, hash, state })
    }
}

/// What a multi may hold. That its creates have sensible flags is part of it.
fn is_multi_op(request: &Request<'_>) -> bool {
    match request {
        Request::Create(create) => create.path.is_some() && effective_kind_in_multi(create).is_some(),
        Request::Delete { path, .. } | Request::SetData { path, .. } | Request::Check { path, .. } => path.is_some(),
        _ => false,
    }
}

fn refuse_reconfig(cx: &PrepContext<'_>) -> Code {
    if !cx.settings.reconfig_enabled {
        return Code::ReconfigDisabled;
    }
    cx.standing.check().err().unwrap_or(Code::Unimplemented)
}

/// Whether `path` is one of the built-in nodes that nobody can delete.
pub(crate) fn is_special(path: &str) -> bool {
    SPECIAL_PATHS.contains(&path)
}

#[cfg(test)]
mod tests;
