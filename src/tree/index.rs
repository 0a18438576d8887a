//! The index: path to node by hash, in shards.
//!
//! Flow       hash of the whole path -> shard by the top bits -> candidate ids -> names compared while climbing.
//! Invariant  every node but the root is in exactly one shard under its path's hash.
//! Bound      a shard holds a 4096th of the nodes, so growing one (2 441 of 10 million) stalls for well under 1 ms.
//! Absent     the paths themselves, and order: nothing iterates over the index.

use alloc::boxed::Box;

use hashbrown::HashTable;

use crate::znode::{NodeId, ROOT, Slab};

const SHARD_BITS: u32 = 12;

/// All shards.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    shards: Box<[HashTable<NodeId>]>,
}

impl Index {
    pub(crate) fn new() -> Index {
        Index { shards: (0..1 << SHARD_BITS).map(|_| HashTable::new()).collect() }
    }

    /// Makes room for `nodes` more, so that loading does not grow each shard a dozen times.
    pub(crate) fn reserve(&mut self, nodes: usize, slab: &Slab) {
        for shard in &mut self.shards {
            shard.reserve(nodes >> SHARD_BITS, |&id| spread(slab[id].hash));
        }
    }

    /// The node called `path` (which is not the root's), whose hash is `hash`.
    pub(crate) fn find(&self, slab: &Slab, hash: u32, path: &str) -> Option<NodeId> {
        self.shards[shard_of(hash)].find(spread(hash), |&id| slab[id].hash == hash && is_at(slab, id, path)).copied()
    }

    pub(crate) fn insert(&mut self, slab: &Slab, id: NodeId) {
        let hash = slab[id].hash;
        self.shards[shard_of(hash)].insert_unique(spread(hash), id, |&other| spread(slab[other].hash));
    }

    pub(crate) fn remove(&mut self, hash: u32, id: NodeId) {
        let entry = self.shards[shard_of(hash)].find_entry(spread(hash), |&other| other == id);
        entry.expect("every node is in the index").remove();
    }
}

fn shard_of(hash: u32) -> usize {
    (hash >> (32 - SHARD_BITS)) as usize
}

/// The table takes its bucket from the low bits and 7 tag bits from the top; the shard has used up the hash's own top.
fn spread(hash: u32) -> u64 {
    u64::from(hash) | (u64::from(hash) << 44)
}

/// Whether `id`'s name and its ancestors' spell `path`.
fn is_at(slab: &Slab, mut id: NodeId, path: &str) -> bool {
    let mut rest = path.as_bytes();
    while id != ROOT {
        let node = &slab[id];
        let Some(parent) = rest.strip_suffix(node.name_bytes()).and_then(|rest| rest.strip_suffix(b"/")) else {
            return false;
        };
        rest = parent;
        id = node.parent;
    }
    rest.is_empty()
}
