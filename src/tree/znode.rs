//! Znodes in memory: a slab of fixed chunks, and what one node costs.
//!
//! Layout     96 bytes in the slab and one heap block that holds the name and small data. What few nodes have (children,
//!            a changed ACL, large data) lives in a side box. With the index's 9 to 11 bytes and malloc's 8 to 23 a leaf
//!            stays under 128 bytes beside its path and value; the full path is not kept, only its last component.
//! Invariant  growing the slab copies nothing; ids are reused, last freed first; a free slot is marked so.
//! Absent     paths: they are built by climbing `parent`.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::stat::StatPersisted;
use crate::txn::LARGE_DATA_BYTES;

/// Index of a node in the slab.
pub(crate) type NodeId = u32;

/// No node.
pub(crate) const NONE: NodeId = u32::MAX;
/// The root's id: the first node ever made.
pub(crate) const ROOT: NodeId = 0;

const CHUNK_NODES: usize = 1024;

const NULL_DATA: u32 = 1 << 31;
const LARGE: u32 = 1 << 30;
const NO_DIGEST: u32 = 1 << 29;
const FREE: u32 = 1 << 28;
const NAME_LEN: u32 = FREE - 1;

/// A znode's data: where it rests decides how a reply takes it along.
#[derive(Clone, Copy, Debug)]
pub enum Data<'t> {
    /// Small: copy it.
    Slice(&'t [u8]),
    /// Large: share it.
    Shared(&'t Bytes),
}

impl Data<'_> {
    /// The bytes, wherever they rest.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Data::Slice(bytes) => bytes,
            Data::Shared(bytes) => bytes,
        }
    }
}

/// One node. Sibling links form the parent's list of children, newest first.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Name, then the data unless it is null or large.
    block: Box<[u8]>,
    inner: Option<Box<Inner>>,
    pub(crate) czxid: i64,
    pub(crate) mzxid: i64,
    pub(crate) ctime: i64,
    pub(crate) mtime: i64,
    pub(crate) owner: i64,
    pub(crate) version: i32,
    /// The next free slot while this one is free.
    pub(crate) parent: NodeId,
    pub(crate) next: NodeId,
    pub(crate) prev: NodeId,
    /// Entry in the ACL table, of which this node holds one reference.
    pub(crate) acl: u32,
    /// CRC-32 of path and data, so that a change of the stat alone hashes 60 bytes. Unused where digests do not count.
    pub(crate) content_crc: u32,
    /// 32 bits of the path's hash, for the index when it grows.
    pub(crate) hash: u32,
    meta: u32,
}

/// What most nodes do not have.
#[derive(Clone, Debug)]
pub(crate) struct Inner {
    pub(crate) pzxid: i64,
    pub(crate) cversion: i32,
    pub(crate) aversion: i32,
    pub(crate) first_child: NodeId,
    pub(crate) child_count: u32,
    /// Nodes below this one, at any depth.
    pub(crate) descendants: u32,
    large: Option<Box<Bytes>>,
}

const _: () = assert!(size_of::<Node>() == 96, "memory per znode is a promise");
const _: () = assert!(size_of::<Inner>() == 40);

impl Node {
    fn free(next_free: NodeId) -> Node {
        Node {
            block: Box::default(),
            inner: None,
            czxid: 0,
            mzxid: 0,
            ctime: 0,
            mtime: 0,
            owner: 0,
            version: 0,
            parent: next_free,
            next: NONE,
            prev: NONE,
            acl: 0,
            content_crc: 0,
            hash: 0,
            meta: FREE,
        }
    }

    /// A node that is nobody's child yet.
    pub(crate) fn new(name: &str, data: Option<&[u8]>, shared: Option<&Bytes>, stat: &StatPersisted) -> Node {
        assert!(name.len() <= NAME_LEN as usize, "a name fits a frame, a frame is smaller than 256 MiB");
        let mut node = Node::free(NONE);
        node.meta = name.len() as u32 | NULL_DATA;
        // At once as long as it will be.
        let small = data.filter(|data| data.len() < LARGE_DATA_BYTES).unwrap_or_default();
        node.block = [name.as_bytes(), small].concat().into();
        node.set_stat(stat);
        node.set_data(data, shared);
        node
    }

    /// Replaces every field of the stat.
    pub(crate) fn set_stat(&mut self, stat: &StatPersisted) {
        self.czxid = stat.czxid;
        self.mzxid = stat.mzxid;
        self.ctime = stat.ctime;
        self.mtime = stat.mtime;
        self.version = stat.version;
        self.owner = stat.ephemeral_owner;
        if stat.pzxid != self.pzxid() || stat.cversion != self.cversion() || stat.aversion != self.aversion() {
            let inner = self.inner_mut();
            inner.pzxid = stat.pzxid;
            inner.cversion = stat.cversion;
            inner.aversion = stat.aversion;
        }
    }

    pub(crate) fn stat(&self) -> StatPersisted {
        StatPersisted {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            cversion: self.cversion(),
            aversion: self.aversion(),
            ephemeral_owner: self.owner,
            pzxid: self.pzxid(),
        }
    }

    pub(crate) fn is_free(&self) -> bool {
        self.meta & FREE != 0
    }

    fn name_len(&self) -> usize {
        (self.meta & NAME_LEN) as usize
    }

    pub(crate) fn name_bytes(&self) -> &[u8] {
        &self.block[..self.name_len()]
    }

    pub(crate) fn name(&self) -> &str {
        core::str::from_utf8(self.name_bytes()).expect("the name was copied from a str")
    }

    pub(crate) fn data(&self) -> Option<Data<'_>> {
        if self.meta & NULL_DATA != 0 {
            return None;
        }
        match &self.inner {
            Some(inner) if self.meta & LARGE != 0 => {
                Some(Data::Shared(inner.large.as_ref().expect("LARGE says that it is there")))
            }
            _ => Some(Data::Slice(&self.block[self.name_len()..])),
        }
    }

    /// Length of the data, 0 for null.
    pub(crate) fn data_len(&self) -> usize {
        self.data().map_or(0, |data| data.as_slice().len())
    }

    /// Replaces the data. `shared` is the same bytes in an allocation that may stay, if there is one.
    pub(crate) fn set_data(&mut self, data: Option<&[u8]>, shared: Option<&Bytes>) {
        let name_len = self.name_len();
        if self.meta & LARGE != 0 {
            self.inner_mut().large = None;
        }
        self.meta &= !(NULL_DATA | LARGE);
        let in_block = match data {
            None => {
                self.meta |= NULL_DATA;
                &[][..]
            }
            Some(data) if data.len() >= LARGE_DATA_BYTES => {
                self.meta |= LARGE;
                let own = shared.cloned().unwrap_or_else(|| Bytes::copy_from_slice(data));
                self.inner_mut().large = Some(Box::new(own));
                &[][..]
            }
            Some(data) => data,
        };
        if self.block.len() == name_len + in_block.len() {
            self.block[name_len..].copy_from_slice(in_block);
            return;
        }
        let mut block = Vec::with_capacity(name_len + in_block.len());
        block.extend_from_slice(&self.block[..name_len]);
        block.extend_from_slice(in_block);
        self.block = block.into_boxed_slice();
    }

    /// Whether the tree digest leaves this node out: everything below /zookeeper.
    pub(crate) fn is_outside_digest(&self) -> bool {
        self.meta & NO_DIGEST != 0
    }

    pub(crate) fn set_outside_digest(&mut self) {
        self.meta |= NO_DIGEST;
    }

    /// The side box, made on first use with what its absence stood for.
    pub(crate) fn inner_mut(&mut self) -> &mut Inner {
        let pzxid = self.czxid;
        self.inner.get_or_insert_with(|| {
            Box::new(Inner {
                pzxid,
                cversion: 0,
                aversion: 0,
                first_child: NONE,
                child_count: 0,
                descendants: 0,
                large: None,
            })
        })
    }

    pub(crate) fn pzxid(&self) -> i64 {
        self.inner.as_ref().map_or(self.czxid, |inner| inner.pzxid)
    }

    pub(crate) fn cversion(&self) -> i32 {
        self.inner.as_ref().map_or(0, |inner| inner.cversion)
    }

    pub(crate) fn aversion(&self) -> i32 {
        self.inner.as_ref().map_or(0, |inner| inner.aversion)
    }

    pub(crate) fn child_count(&self) -> u32 {
        self.inner.as_ref().map_or(0, |inner| inner.child_count)
    }

    pub(crate) fn descendants(&self) -> u32 {
        self.inner.as_ref().map_or(0, |inner| inner.descendants)
    }

    pub(crate) fn first_child(&self) -> NodeId {
        self.inner.as_ref().map_or(NONE, |inner| inner.first_child)
    }
}

/// All nodes.
#[derive(Clone, Debug)]
pub(crate) struct Slab {
    chunks: Vec<Box<[Node; CHUNK_NODES]>>,
    first_free: NodeId,
    /// Slots ever used: ids are below this.
    used: u32,
    count: u32,
}

impl Slab {
    pub(crate) fn new() -> Slab {
        Slab { chunks: Vec::new(), first_free: NONE, used: 0, count: 0 }
    }

    /// Nodes that exist.
    pub(crate) fn len(&self) -> u32 {
        self.count
    }

    /// One more than the greatest id ever given.
    pub(crate) fn id_bound(&self) -> NodeId {
        self.used
    }

    pub(crate) fn insert(&mut self, node: Node) -> NodeId {
        assert!(!node.is_free());
        let id = match self.first_free {
            NONE => self.next_unused(),
            id => id,
        };
        let slot = self.slot_mut(id);
        assert!(slot.is_free(), "slot {id} is in use");
        let next_free = slot.parent;
        *slot = node;
        if self.first_free == id {
            self.first_free = next_free;
        }
        self.count += 1;
        id
    }

    fn next_unused(&mut self) -> NodeId {
        let id = self.used;
        assert!(id < NONE, "four thousand million znodes");
        if id as usize == self.chunks.len() * CHUNK_NODES {
            let chunk: Box<[Node]> = (0..CHUNK_NODES).map(|_| Node::free(NONE)).collect();
            self.chunks.push(chunk.try_into().expect("the chunk has the chunk's length"));
        }
        self.used += 1;
        id
    }

    pub(crate) fn remove(&mut self, id: NodeId) -> Node {
        let first_free = self.first_free;
        let node = core::mem::replace(self.slot_mut(id), Node::free(first_free));
        assert!(!node.is_free(), "node {id} is gone already");
        self.first_free = id;
        self.count -= 1;
        node
    }

    /// The node, or `None` for a free slot.
    pub(crate) fn get(&self, id: NodeId) -> Option<&Node> {
        let node = &self.chunks.get(id as usize / CHUNK_NODES)?[id as usize % CHUNK_NODES];
        (!node.is_free()).then_some(node)
    }

    fn slot_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.chunks[id as usize / CHUNK_NODES][id as usize % CHUNK_NODES]
    }
}

impl core::ops::Index<NodeId> for Slab {
    type Output = Node;

    fn index(&self, id: NodeId) -> &Node {
        let node = &self.chunks[id as usize / CHUNK_NODES][id as usize % CHUNK_NODES];
        debug_assert!(!node.is_free(), "node {id} is free");
        node
    }
}

impl core::ops::IndexMut<NodeId> for Slab {
    fn index_mut(&mut self, id: NodeId) -> &mut Node {
        let node = self.slot_mut(id);
        debug_assert!(!node.is_free(), "node {id} is free");
        node
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_empty_small_and_large_data_are_told_apart() {
        let mut node = Node::new("n", None, None, &StatPersisted::default());
        assert!(node.data().is_none());
        node.set_data(Some(b""), None);
        assert_eq!(node.data().unwrap().as_slice(), b"");
        node.set_data(Some(b"xy"), None);
        assert_eq!((node.data().unwrap().as_slice(), node.name()), (&b"xy"[..], "n"));
        let large = Bytes::from(alloc::vec![1; LARGE_DATA_BYTES]);
        node.set_data(Some(&large), Some(&large));
        assert!(matches!(node.data(), Some(Data::Shared(kept)) if kept.as_ptr() == large.as_ptr()));
        assert_eq!(node.name(), "n");
        node.set_data(None, None);
        assert!(node.data().is_none() && node.data_len() == 0);
    }

    #[test]
    fn freed_slots_are_used_again() {
        let mut slab = Slab::new();
        let make = || Node::new("x", None, None, &StatPersisted::default());
        let ids: Vec<NodeId> = (0..CHUNK_NODES + 2).map(|_| slab.insert(make())).collect();
        slab.remove(ids[5]);
        slab.remove(ids[7]);
        assert!(slab.get(ids[5]).is_none() && slab.get(NONE).is_none());
        assert_eq!((slab.insert(make()), slab.insert(make())), (ids[7], ids[5]));
        assert_eq!(slab.insert(make()), slab.id_bound() - 1);
        assert_eq!(slab.len() as usize, CHUNK_NODES + 3);
    }
}
