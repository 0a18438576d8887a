//! The tree: nodes, index, owners, sessions and digest as one state, and the few operations that change it.
//!
//! Flow       `apply` (and the loader) call `attach`, `detach` and the setters here; everybody else only reads.
//! Invariant  every change goes through `before_change`, so that a snapshot under way keeps the old image; the digest is
//!            the sum over all nodes after each operation; counts equal what is there.
//! Absent     decisions: whether an operation is allowed was settled by `prep`.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use ids::{SessionId, Zxid};

use crate::acl::{AclList, perms};
use crate::acl_table::{self, AclTable};
use crate::foresight::Foreseen;
use crate::hash::{self, NumberMap, NumberSet};
use crate::idset::IdSet;
use crate::index::Index;
use crate::listing::Listings;
use crate::node_ref::NodeRef;
use crate::owner::{Owner, OwnerRules};
use crate::path;
use crate::quota::QuotaPaths;
use crate::snapshot::SnapshotRun;
use crate::stat::StatPersisted;
use crate::znode::{NONE, Node, NodeId, ROOT, Slab};
use crate::{digest, quota};

/// What all servers of an ensemble must agree on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TreeOptions {
    /// Which extended owners exist.
    pub owners: OwnerRules,
    /// `digest.enabled`: keep the tree digest and compare it with each transaction's.
    pub digest: bool,
}

impl Default for TreeOptions {
    fn default() -> TreeOptions {
        TreeOptions { owners: OwnerRules::default(), digest: true }
    }
}

/// The replicated state: what transactions, applied in order, make of an empty server. A clone is another core's
/// replica: it continues by itself, from the same state; large values stay shared.
#[derive(Clone, Debug)]
pub struct Tree {
    pub(crate) slab: Slab,
    pub(crate) index: Index,
    pub(crate) acls: AclTable,
    pub(crate) options: TreeOptions,
    pub(crate) sessions: NumberMap<i64, i32>,
    pub(crate) ephemerals: NumberMap<i64, NumberSet<NodeId>>,
    pub(crate) containers: IdSet,
    pub(crate) ttls: IdSet,
    pub(crate) quotas: QuotaPaths,
    pub(crate) last_zxid: Zxid,
    pub(crate) snapshot: Option<Box<SnapshotRun>>,
    pub(crate) listings: Listings,
    pub(crate) seed: u64,
    digest: u64,
    pub(crate) ephemeral_count: usize,
    pub(crate) size_bytes: u64,
}

/// A node about to be attached.
pub(crate) struct NewNode<'a> {
    pub(crate) path: &'a str,
    pub(crate) foreseen: Foreseen,
    pub(crate) data: Option<&'a [u8]>,
    /// The same bytes in an allocation that may stay, if they are large.
    pub(crate) shared: Option<&'a Bytes>,
    /// A number with a reference that the node takes over.
    pub(crate) acl: u32,
    pub(crate) stat: StatPersisted,
}

/// Paths that nobody can delete.
pub(crate) const SPECIAL_PATHS: [&str; 4] = [path::ROOT, "/zookeeper", quota::ROOT, CONFIG];
/// Holds the ensemble's members.
pub(crate) const CONFIG: &str = "/zookeeper/config";

impl Tree {
    /// A tree with nothing but the built-in nodes. `seed` must be unpredictable to clients: it keys the path hash.
    pub fn new(seed: u64, options: TreeOptions) -> Tree {
        let mut tree = Tree {
            slab: Slab::new(),
            index: Index::new(),
            acls: AclTable::new(seed),
            options,
            sessions: NumberMap::default(),
            ephemerals: NumberMap::default(),
            containers: IdSet::default(),
            ttls: IdSet::default(),
            quotas: QuotaPaths::default(),
            last_zxid: Zxid::ZERO,
            snapshot: None,
            listings: Listings::default(),
            seed,
            digest: 0,
            ephemeral_count: 0,
            size_bytes: 0,
        };
        tree.add_root();
        let zero = StatPersisted::default();
        for built_in in ["/zookeeper", quota::ROOT] {
            tree.add_built_in(built_in, acl_table::OPEN, zero);
        }
        let read_only = tree.acls.intern(&AclList::anyone(perms::READ));
        tree.add_built_in(CONFIG, read_only, StatPersisted { aversion: -1, ..zero });
        tree
    }

    fn add_root(&mut self) {
        let mut root = Node::new("", Some(b""), None, &StatPersisted::default());
        root.content_crc = digest::content_crc(path::ROOT, Some(b""));
        let id = self.slab.insert(root);
        assert_eq!(id, ROOT, "the root comes first");
        // Java keeps the root under "" and "/" and counts both names' lengths.
        self.size_bytes += 1;
        self.digest_add(ROOT);
    }

    fn add_built_in(&mut self, node_path: &str, acl: u32, stat: StatPersisted) {
        let (parent, _) = path::split(node_path);
        let parent = self.find(parent).expect("built-in parents come first");
        let foreseen = self.foresight().node(node_path, Some(b""), &stat);
        self.attach(parent, NewNode { path: node_path, foreseen, data: Some(b""), shared: None, acl, stat });
    }

    /// Hash of a path, for [`Tree::find_hashed`].
    pub(crate) fn hash_of(&self, node_path: &str) -> u64 {
        hash::bytes(self.seed, node_path.as_bytes())
    }

    /// The node called `node_path`; like ZooKeeper, the empty string is the root.
    pub(crate) fn find(&self, node_path: &str) -> Option<NodeId> {
        self.find_hashed(node_path, self.hash_of(node_path))
    }

    pub(crate) fn find_hashed(&self, node_path: &str, path_hash: u64) -> Option<NodeId> {
        if node_path.len() <= 1 && (node_path.is_empty() || node_path == path::ROOT) {
            return Some(ROOT);
        }
        self.index.find(&self.slab, short_hash(path_hash), node_path)
    }

    /// The node called `node_path`.
    pub fn get(&self, node_path: &str) -> Option<NodeRef<'_>> {
        self.find(node_path).map(|id| NodeRef { tree: self, id })
    }

    /// The last transaction applied, failed ones included.
    pub fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// The tree digest, 0 where digests are off.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Whether some node still has no ACL list: it came in a leader's stream, and the transaction that gives the list has
    /// not been applied again. Until then nobody may do anything with it.
    pub fn lacks_acls(&self) -> bool {
        self.acls.is_used(&AclList::missing())
    }

    /// Nodes that exist. ZooKeeper's `znode_count` is one more: it keeps the root under two names.
    pub fn node_count(&self) -> usize {
        self.slab.len() as usize
    }

    /// Lengths of all paths (in UTF-16 units) and data: ZooKeeper's `approximate_data_size`.
    pub fn approximate_data_size(&self) -> u64 {
        self.size_bytes
    }

    /// Ephemerals of all sessions.
    pub fn ephemeral_count(&self) -> usize {
        self.ephemeral_count
    }

    /// Sessions and their timeouts in ms, in no order that means anything.
    pub fn sessions(&self) -> impl ExactSizeIterator<Item = (SessionId, i32)> {
        self.sessions.iter().map(|(&id, &timeout_ms)| (SessionId::new(id), timeout_ms))
    }

    /// The sessions that own ephemerals, and their paths: what the `dump` command shows.
    pub fn ephemeral_owners(&self) -> impl Iterator<Item = (SessionId, impl Iterator<Item = String>)> {
        self.ephemerals.iter().map(|(&session, ids)| (SessionId::new(session), ids.iter().map(|&id| self.path_of(id))))
    }

    /// Paths of the ephemerals of `session` that start with `prefix` (a prefix of strings, not of components).
    pub fn ephemerals_of(&self, session: SessionId, prefix: &str) -> impl Iterator<Item = String> {
        let ids = self.ephemerals.get(&session.to_i64());
        ids.into_iter().flatten().map(|&id| self.path_of(id)).filter(move |node_path| node_path.starts_with(prefix))
    }

    /// What it agreed on with the other servers.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What it was made with.
    pub fn options(&self) -> TreeOptions {
        self.options
    }

    /// A node's path, built by climbing.
    pub(crate) fn path_of(&self, id: NodeId) -> String {
        let mut out = String::new();
        write_path(&self.slab, id, &mut out);
        out
    }

    /// Links a node under its parent and into every set and sum.
    pub(crate) fn attach(&mut self, parent: NodeId, new: NewNode<'_>) -> NodeId {
        let (_, name) = path::split(new.path);
        let mut node = Node::new(name, new.data, new.shared, &new.stat);
        node.acl = new.acl;
        node.hash = short_hash(new.foreseen.path_hash);
        node.content_crc = new.foreseen.content_crc;
        node.parent = parent;
        node.next = self.slab[parent].first_child();
        if digest::is_outside(new.path) {
            node.set_outside_digest();
        }
        let next = node.next;
        let id = self.slab.insert(node);
        if next != NONE {
            self.slab[next].prev = id;
        }
        let inner = self.slab[parent].inner_mut();
        inner.first_child = id;
        inner.child_count += 1;
        self.count_descendants(parent, |count| count + 1);
        self.index.insert(self.slab[id].hash, id);
        self.own(id);
        self.size_bytes += size_of_node(new.path, new.data.map_or(0, <[u8]>::len));
        self.digest = self.digest.wrapping_add(new.foreseen.digest);
        if let Some(run) = &mut self.snapshot {
            run.exclude(id);
        }
        self.listings.attached(parent, id);
        id
    }

    /// Undoes [`Tree::attach`]. The node has no children.
    pub(crate) fn detach(&mut self, id: NodeId, node_path: &str) -> Node {
        assert!(id != ROOT && self.slab[id].child_count() == 0, "only a leaf can go");
        self.before_change(id);
        self.digest_take(id);
        self.disown(id);
        let (parent, next, prev) = (self.slab[id].parent, self.slab[id].next, self.slab[id].prev);
        self.listings.detaching(&self.slab, id);
        if next != NONE {
            self.slab[next].prev = prev;
        }
        match prev {
            NONE => self.slab[parent].inner_mut().first_child = next,
            prev => self.slab[prev].next = next,
        }
        let inner = self.slab[parent].inner_mut();
        inner.child_count = inner.child_count.checked_sub(1).expect("a child was counted when it came");
        self.count_descendants(parent, |count| count - 1);
        self.index.remove(self.slab[id].hash, id);
        let node = self.slab.remove(id);
        self.acls.release(node.acl);
        self.size_bytes -= size_of_node(node_path, node.data_len());
        node
    }

    fn count_descendants(&mut self, from: NodeId, change: impl Fn(u32) -> u32) {
        let mut id = from;
        loop {
            let node = &mut self.slab[id];
            let next = node.parent;
            let inner = node.inner_mut();
            inner.descendants = change(inner.descendants);
            if id == ROOT {
                return;
            }
            id = next;
        }
    }

    /// Replaces a node's data; the stat is the caller's to set.
    pub(crate) fn replace_data(&mut self, id: NodeId, node_path: &str, data: Option<&[u8]>, shared: Option<&Bytes>) {
        let node = &mut self.slab[id];
        self.size_bytes -= node.data_len() as u64;
        node.set_data(data, shared);
        self.size_bytes += node.data_len() as u64;
        if self.options.digest && !node.is_outside_digest() {
            node.content_crc = digest::content_crc(node_path, data);
        }
    }

    /// Gives a node another ACL.
    pub(crate) fn replace_acl(&mut self, id: NodeId, acl: &AclList) {
        self.before_change(id);
        let number = self.acls.intern(acl);
        let old = core::mem::replace(&mut self.slab[id].acl, number);
        self.acls.release(old);
    }

    /// Changes a node's content or stat with the digest and a snapshot under way kept right.
    pub(crate) fn change(&mut self, id: NodeId, change: impl FnOnce(&mut Tree)) {
        self.before_change(id);
        self.digest_take(id);
        change(self);
        self.digest_add(id);
    }

    /// To be called before the first change of a node in each operation: a snapshot may need the old image.
    pub(crate) fn before_change(&mut self, id: NodeId) {
        if let Some(run) = &mut self.snapshot {
            run.preserve(&self.slab, id);
        }
    }

    fn digest_add(&mut self, id: NodeId) {
        self.digest = self.digest.wrapping_add(self.digest_of(id));
    }

    fn digest_take(&mut self, id: NodeId) {
        self.digest = self.digest.wrapping_sub(self.digest_of(id));
    }

    pub(crate) fn digest_of(&self, id: NodeId) -> u64 {
        let node = &self.slab[id];
        if !self.options.digest || node.is_outside_digest() {
            return 0;
        }
        digest::node(node.content_crc, &node.stat())
    }

    fn own(&mut self, id: NodeId) {
        match self.options.owners.classify(self.slab[id].owner) {
            Owner::None => {}
            Owner::Session(session) => {
                self.ephemerals.entry(session).or_default().insert(id);
                self.ephemeral_count += 1;
            }
            Owner::Container => _ = self.containers.insert(id),
            Owner::Ttl(_) => _ = self.ttls.insert(id),
        }
    }

    fn disown(&mut self, id: NodeId) {
        match self.options.owners.classify(self.slab[id].owner) {
            Owner::None => {}
            Owner::Session(session) => {
                let own = self.ephemerals.get_mut(&session).expect("an ephemeral is in its session's set");
                assert!(own.remove(&id), "an ephemeral is in its session's set");
                if own.is_empty() {
                    self.ephemerals.remove(&session);
                }
                self.ephemeral_count -= 1;
            }
            Owner::Container => _ = self.containers.remove(id),
            Owner::Ttl(_) => _ = self.ttls.remove(id),
        }
    }
}

/// Appends the path of `id`, which may be the root's.
pub(crate) fn write_path(slab: &Slab, id: NodeId, out: &mut String) {
    if id == ROOT {
        out.push('/');
        return;
    }
    write_components(slab, id, out);
}

fn write_components(slab: &Slab, id: NodeId, out: &mut String) {
    // Depth is bounded by the frame: a path of 1 MiB has half a million components, too many for recursion.
    let mut ids: Vec<NodeId> = Vec::new();
    let mut at = id;
    while at != ROOT {
        ids.push(at);
        at = slab[at].parent;
    }
    for &id in ids.iter().rev() {
        out.push('/');
        out.push_str(slab[id].name());
    }
}

pub(crate) fn short_hash(path_hash: u64) -> u32 {
    (path_hash >> 32) as u32
}

/// As Java counts it: the path's length in UTF-16 units (which are characters, in a path) and the data's in bytes.
pub(crate) fn size_of_node(node_path: &str, data_len: usize) -> u64 {
    let path_len = if node_path.is_ascii() { node_path.len() } else { node_path.chars().count() };
    (path_len + data_len) as u64
}
