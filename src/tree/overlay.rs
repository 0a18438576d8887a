//! The overlay: what nodes will be once everything that is prepared has been applied (ZooKeeper's outstandingChanges).
//!
//! Flow       prep reads through `state` and writes with `put`; `expire` forgets what has been applied; a multi that
//!            fails takes its writes back through the journal.
//! Invariant  an entry lives from the first transaction that touched its node until the last one is applied; while it
//!            lives it is the truth, and the tree is behind.
//! Absent     order: only the outcome per node is kept. Buffers are recycled, so that a busy server allocates nothing here.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use hashbrown::HashTable;
use ids::Zxid;

use crate::acl::AclList;
use crate::stat::StatPersisted;
use crate::tree::Tree;

/// A node as it will be.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) stat: StatPersisted,
    pub(crate) child_count: u32,
    pub(crate) data_len: usize,
    pub(crate) content_crc: u32,
    pub(crate) acl: PendingAcl,
}

/// An ACL that may be in the tree already.
#[derive(Clone, Debug)]
pub(crate) enum PendingAcl {
    /// The node's own in the tree, valid because a pending change of it would stand here as `List`.
    Table(u32),
    /// Of a node or an ACL to come.
    List(AclList),
}

impl State {
    pub(crate) fn acl<'a>(&'a self, tree: &'a Tree) -> &'a AclList {
        match &self.acl {
            PendingAcl::Table(number) => tree.acls.list(*number),
            PendingAcl::List(list) => list,
        }
    }
}

#[derive(Debug)]
struct Entry {
    path: String,
    hash: u64,
    /// Of the last transaction that touched it; `Zxid::ZERO` in a free slot.
    zxid: Zxid,
    /// `None`: it will be gone.
    state: Option<State>,
}

/// What an entry was before a multi touched it.
#[derive(Debug)]
struct Undo {
    slot: u32,
    /// `None`: there was no entry.
    before: Option<(Zxid, Option<State>)>,
}

/// See the head of the file.
#[derive(Debug, Default)]
pub(crate) struct Overlay {
    entries: Vec<Entry>,
    free: Vec<u32>,
    by_hash: HashTable<u32>,
    /// Each touch, oldest first. An entry may stand here several times; only its last touch ends it.
    touches: VecDeque<(Zxid, u32)>,
    journal: Option<Vec<Undo>>,
    /// Entries with an owner that is not 0: whether looking for pending ephemerals is worth a walk.
    owned: usize,
}

impl Overlay {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    /// The node called `path` as it will be; `None` if it will not exist. `hash` is the tree's of the path.
    pub(crate) fn state(&self, tree: &Tree, path: &str, hash: u64) -> Option<State> {
        if let Some(slot) = self.find(path, hash) {
            return self.entries[slot as usize].state.clone();
        }
        let node = &tree.slab[tree.find_hashed(path, hash)?];
        Some(State {
            stat: node.stat(),
            child_count: node.child_count(),
            data_len: node.data_len(),
            content_crc: node.content_crc,
            acl: PendingAcl::Table(node.acl),
        })
    }

    /// Whether the node called `path` will exist.
    pub(crate) fn exists(&self, tree: &Tree, path: &str, hash: u64) -> bool {
        match self.find(path, hash) {
            Some(slot) => self.entries[slot as usize].state.is_some(),
            None => tree.find_hashed(path, hash).is_some(),
        }
    }

    fn find(&self, path: &str, hash: u64) -> Option<u32> {
        if self.by_hash.is_empty() {
            return None;
        }
        let is_it = |&slot: &u32| {
            let entry = &self.entries[slot as usize];
            entry.hash == hash && entry.path == path
        };
        self.by_hash.find(hash, is_it).copied()
    }

    /// From `zxid` on the node will be `state`.
    pub(crate) fn put(&mut self, path: &str, hash: u64, zxid: Zxid, state: Option<State>) {
        let found = self.find(path, hash);
        let slot = found.unwrap_or_else(|| self.add(path, hash));
        self.owned += usize::from(is_owned(state.as_ref()));
        let entry = &mut self.entries[slot as usize];
        assert!(entry.zxid <= zxid, "transactions are prepared in order");
        let (old_zxid, old) = (entry.zxid, core::mem::replace(&mut entry.state, state));
        entry.zxid = zxid;
        self.owned -= usize::from(is_owned(old.as_ref()));
        if old_zxid != zxid {
            self.touches.push_back((zxid, slot));
        }
        if let Some(journal) = &mut self.journal {
            journal.push(Undo { slot, before: found.map(|_| (old_zxid, old)) });
        }
    }

    fn add(&mut self, path: &str, hash: u64) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry { path: String::new(), hash: 0, zxid: Zxid::ZERO, state: None });
            u32::try_from(self.entries.len() - 1).expect("writes in flight are bounded far below")
        });
        let entry = &mut self.entries[slot as usize];
        entry.path.push_str(path);
        entry.hash = hash;
        let entries = &self.entries;
        self.by_hash.insert_unique(hash, slot, |&other| entries[other as usize].hash);
        slot
    }

    fn drop_entry(&mut self, slot: u32) {
        let entry = &mut self.entries[slot as usize];
        self.owned -= usize::from(is_owned(entry.state.as_ref()));
        self.by_hash.find_entry(entry.hash, |&other| other == slot).expect("live entries are in the table").remove();
        entry.path.clear();
        if entry.path.capacity() > KEPT_PATH_BYTES {
            entry.path = String::new();
        }
        entry.zxid = Zxid::ZERO;
        entry.state = None;
        self.free.push(slot);
    }

    /// Everything up to `zxid` has been applied: the tree knows.
    pub(crate) fn expire(&mut self, zxid: Zxid) {
        while let Some(&(touched, slot)) = self.touches.front()
            && touched <= zxid
        {
            self.touches.pop_front();
            // A later touch keeps the entry; a slot given to another path has a later zxid, too.
            if self.entries[slot as usize].zxid == touched {
                self.drop_entry(slot);
            }
        }
    }

    /// Starts to remember what a multi changes.
    pub(crate) fn begin(&mut self) {
        assert!(self.journal.is_none(), "a multi holds no multi");
        self.journal = Some(Vec::new());
    }

    /// The multi succeeded.
    pub(crate) fn commit(&mut self) {
        assert!(self.journal.take().is_some(), "commit follows begin");
    }

    /// The multi failed: takes back what changed since [`Overlay::begin`].
    pub(crate) fn roll_back(&mut self) {
        for undo in self.journal.take().expect("roll_back follows begin").into_iter().rev() {
            match undo.before {
                None => self.drop_entry(undo.slot),
                Some((zxid, state)) => {
                    self.owned += usize::from(is_owned(state.as_ref()));
                    let entry = &mut self.entries[undo.slot as usize];
                    self.owned -= usize::from(is_owned(entry.state.as_ref()));
                    (entry.zxid, entry.state) = (zxid, state);
                }
            }
        }
    }

    /// Paths of the nodes to come that `session` will own.
    pub(crate) fn owned_by(&self, session: i64) -> impl Iterator<Item = &str> {
        let entries = if self.owned == 0 { &[][..] } else { &self.entries[..] };
        let is_own =
            move |entry: &&Entry| entry.state.as_ref().is_some_and(|state| state.stat.ephemeral_owner == session);
        entries.iter().filter(is_own).map(|entry| entry.path.as_str())
    }
}

/// Longer paths' buffers are not kept for reuse.
const KEPT_PATH_BYTES: usize = 256;

fn is_owned(state: Option<&State>) -> bool {
    state.is_some_and(|state| state.stat.ephemeral_owner != 0)
}
