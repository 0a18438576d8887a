//! Foresight: what a new node alone decides, so that another thread can compute it before the tree needs it.
//!
//! Flow       `Tree::foresight` -> (any thread) `Foresight::node` or `txn` -> `Foreseen` -> back, with the node it is of.
//! Invariant  there is no second way to compute it: whatever is attached was foreseen, if only a moment before.

use crate::stat::StatPersisted;
use crate::tree::{Tree, TreeOptions, short_hash};
use crate::txn::{Txn, TxnOp};
use crate::{digest, hash};

/// How to foresee for one tree.
#[derive(Clone, Copy, Debug)]
pub struct Foresight {
    /// Of the path hash.
    pub(crate) seed: u64,
    pub(crate) options: TreeOptions,
}

/// What the tree will need of one node.
#[derive(Clone, Copy, Debug)]
pub struct Foreseen {
    pub(crate) path_hash: u64,
    /// 0, as the digest, where digests do not count.
    pub(crate) content_crc: u32,
    pub(crate) digest: u64,
}

impl Foresight {
    /// Of a node with this path, data and stat.
    pub fn node(self, node_path: &str, data: Option<&[u8]>, stat: &StatPersisted) -> Foreseen {
        let path_hash = hash::bytes(self.seed, node_path.as_bytes());
        if !self.options.digest || digest::is_outside(node_path) {
            return Foreseen { path_hash, content_crc: 0, digest: 0 };
        }
        let content_crc = digest::content_crc(node_path, data);
        Foreseen { path_hash, content_crc, digest: digest::node(content_crc, stat) }
    }

    /// Of the node that a transaction creates; a multi's are not foreseen.
    pub fn txn(self, txn: &Txn) -> Option<Foreseen> {
        match &txn.op {
            TxnOp::Create(create) => {
                let stat = create.stat(self.options.owners, txn.session, txn.zxid.to_wire(), txn.time);
                Some(self.node(&create.path, create.data.as_deref(), &stat))
            }
            _ => None,
        }
    }
}

impl Tree {
    /// How to foresee for this tree.
    pub fn foresight(&self) -> Foresight {
        Foresight { seed: self.seed, options: self.options }
    }

    /// Takes the places of the index where these nodes will go into the CPU's caches. One after the other, behind each
    /// node's other work, each would be waited for; a row of look-ups overlaps.
    pub fn warm_up(&self, upcoming: impl Iterator<Item = Foreseen>) {
        let read = upcoming.fold(0, |read, foreseen| read ^ self.index.peek(short_hash(foreseen.path_hash)));
        core::hint::black_box(read);
    }
}
