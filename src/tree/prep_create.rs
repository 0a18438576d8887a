//! Prep of the four creates: which kind of node opcode, flags and TTL ask for, and whether it may come.
//!
//! Invariant  the order of checks is ZooKeeper's (`PrepRequestProcessor.pRequest2TxnCreate`). Outside a multi the opcode
//!            decides the kind of node, inside one the flags do.
//! Absent     ZooKeeper's node that stops it for good: createTTL without a TTL mode is refused here.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt::Write;

use crate::acl::{AclList, perms};
use crate::code::Code;
use crate::digest;
use crate::overlay::{PendingAcl, State};
use crate::owner::{self, Owner};
use crate::path;
use crate::prep::{Prep, PrepContext};
use crate::prep_node::Prepared;
use crate::request::{Create, CreateKind};
use crate::tree::Tree;
use crate::txn::{CreateTxn, TxnOp, data_for_txn};

/// What the flags say (`CreateMode`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Mode {
    ephemeral: bool,
    sequential: bool,
    container: bool,
    ttl: bool,
}

impl Mode {
    fn from_flags(flags: i32) -> Option<Mode> {
        if !(0..=6).contains(&flags) {
            return None;
        }
        Some(Mode {
            ephemeral: matches!(flags, 1 | 3),
            sequential: matches!(flags, 2 | 3 | 6),
            container: flags == 4,
            ttl: matches!(flags, 5 | 6),
        })
    }
}

/// Kind and TTL of a create inside a multi; `None` where ZooKeeper cannot decode the whole multi. Opcode 21 alone lets
/// unknown flags through the decoder, so that they fail like any other operation's.
pub(crate) fn effective_kind_in_multi(create: &Create<'_>) -> Option<(CreateKind, i64)> {
    let mode = match Mode::from_flags(create.flags) {
        None if create.kind == CreateKind::Ttl => return Some((CreateKind::Create, -1)),
        mode => mode?,
    };
    match create.kind {
        CreateKind::Ttl if mode.ttl => Some((CreateKind::Ttl, create.ttl)),
        _ if mode.ttl => None,
        _ if mode.container => Some((CreateKind::Container, -1)),
        CreateKind::Ttl => Some((CreateKind::Create, -1)),
        kind => Some((kind, -1)),
    }
}

impl Prep {
    pub(crate) fn create(&mut self, tree: &Tree, cx: &PrepContext<'_>, create: &Create<'_>) -> Result<TxnOp, Code> {
        let mode = check_mode(tree, create)?;
        if mode.ephemeral {
            cx.standing.check_global()?
        } else {
            cx.standing.check()?
        }
        let asked = create.path.ok_or(Code::MarshallingError)?;
        let parent_path = path::parent_of_unchecked(asked).map_err(|_| Code::BadArguments)?;
        let acl = cx.settings.schemes.fix_up(tree, create.acl.as_deref(), cx.identities, &mut self.expansion_left)?;
        let parent = self.look(tree, parent_path).ok_or(Code::NoNode)?;
        cx.allow(tree, &parent.state, perms::CREATE)?;
        let final_path = final_path(asked, mode, parent.state.stat.cversion);
        path::validate(&final_path).map_err(|_| Code::BadArguments)?;
        let hash = tree.hash_of(&final_path);
        if self.overlay.exists(tree, &final_path, hash) {
            return Err(Code::NodeExists);
        }
        if let Owner::Session(_) = tree.options().owners.classify(parent.state.stat.ephemeral_owner) {
            return Err(Code::NoChildrenForEphemerals);
        }
        let data_len = create.data.map_or(0, <[u8]>::len);
        if cx.settings.enforce_quota {
            tree.quota_check(&final_path, data_len as i64, 1)?;
        }
        let txn = CreateTxn {
            kind: create.kind,
            data: create.data.map(|data| data_for_txn(cx.frame, data)),
            acl,
            ephemeral: mode.ephemeral && matches!(create.kind, CreateKind::Create | CreateKind::Create2),
            parent_cversion: parent.state.stat.cversion.wrapping_add(1),
            ttl: create.ttl,
            path: final_path,
        };
        self.record_create(tree, cx, parent, &txn, hash);
        Ok(TxnOp::Create(txn))
    }

    /// Puts a creation into the overlay and the digest, exactly as applying it will.
    fn record_create(&mut self, tree: &Tree, cx: &PrepContext<'_>, parent: Prepared<'_>, txn: &CreateTxn, hash: u64) {
        let mut after = parent.state.clone();
        after.child_count += 1;
        // The counter sticks at its maximum, in ZooKeeper too.
        if txn.parent_cversion > after.stat.cversion {
            after.stat.cversion = txn.parent_cversion;
            after.stat.pzxid = cx.zxid.to_wire();
        }
        self.shift_digest(tree, parent.path, Some(&parent.state), Some(&after));
        self.overlay.put(parent.path, parent.hash, cx.zxid, Some(after));
        let state = new_state(tree, cx, txn);
        self.shift_digest(tree, &txn.path, None, Some(&state));
        self.overlay.put(&txn.path, hash, cx.zxid, Some(state));
    }
}

fn new_state(tree: &Tree, cx: &PrepContext<'_>, txn: &CreateTxn) -> State {
    let has_digest = tree.options().digest && !digest::is_outside(&txn.path);
    let data = txn.data.as_deref();
    State {
        stat: txn.stat(tree.options().owners, cx.session, cx.zxid.to_wire(), cx.time),
        child_count: 0,
        data_len: data.map_or(0, <[u8]>::len),
        content_crc: if has_digest { digest::content_crc(&txn.path, data) } else { 0 },
        acl: pending_acl(tree, &txn.acl),
    }
}

/// The open list is in every table; naming it by number saves touching its reference count.
fn pending_acl(tree: &Tree, list: &AclList) -> PendingAcl {
    if tree.acls.is_open(list) { PendingAcl::Table(crate::acl_table::OPEN) } else { PendingAcl::List(list.clone()) }
}

/// Flags, extended types and TTL.
fn check_mode(tree: &Tree, create: &Create<'_>) -> Result<Mode, Code> {
    let mode = Mode::from_flags(create.flags).ok_or(Code::BadArguments)?;
    if mode.ttl && !tree.options().owners.extended_types {
        return Err(Code::Unimplemented);
    }
    let is_ttl_right = if mode.ttl { (1..=owner::TTL_MAX_MS).contains(&create.ttl) } else { create.ttl < 0 };
    let is_kind_right = (create.kind == CreateKind::Ttl) == mode.ttl;
    if is_ttl_right && is_kind_right { Ok(mode) } else { Err(Code::BadArguments) }
}

/// The path asked for, with the parent's counter behind it if it is sequential.
fn final_path(asked: &str, mode: Mode, parent_cversion: i32) -> Box<str> {
    if !mode.sequential {
        return asked.into();
    }
    let mut path = String::with_capacity(asked.len() + SUFFIX_LEN_MAX);
    path.push_str(asked);
    write!(path, "{parent_cversion:010}").expect("a String takes everything");
    path.into_boxed_str()
}

/// Ten columns, or the sign and ten digits of the lowest number.
const SUFFIX_LEN_MAX: usize = 11;
