//! Snapshots: the tree at one zxid, written in slices while it changes.
//!
//! Flow       `begin_snapshot` -> `snapshot_step` until it says done: sessions, ACL lists, then nodes.
//! Invariant  each node that existed at the start is emitted once, as it was then, and after its parent: the walk goes by
//!            slab index and emits unreached ancestors first; whoever changes a node that has not been emitted
//!            (`before_change`) queues its old image, ancestors first, and the next step writes the queue.
//! Bound      the queue holds at most every node once; large data in it is shared, not copied.
//! Absent     bytes and files: storage has those. Nodes created meanwhile: their slots are marked as emitted.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use ids::{SessionId, Zxid};

use crate::acl::AclList;
use crate::idset::IdSet;
use crate::stat::StatPersisted;
use crate::tree::{Tree, write_path};
use crate::znode::{Data, NodeId, ROOT, Slab};

/// One record of a snapshot.
#[derive(Clone, Copy, Debug)]
pub enum SnapshotItem<'a> {
    /// A session and its timeout.
    Session {
        /// Whose.
        id: SessionId,
        /// Negotiated.
        timeout_ms: i32,
    },
    /// A list that nodes refer to by `key`.
    Acl {
        /// Local to this snapshot.
        key: i64,
        /// The list.
        list: &'a AclList,
    },
    /// A node; its parent came before it. The root is "/".
    Node {
        /// From the root.
        path: &'a str,
        /// Null and empty are different.
        data: Option<Data<'a>>,
        /// A key that came before.
        acl_key: i64,
        /// As kept.
        stat: StatPersisted,
    },
}

/// How far a snapshot has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotProgress {
    /// Everything has been emitted.
    pub done: bool,
    /// Of the slab, which is about the share of the nodes.
    pub visited: u32,
    /// Where `visited` ends.
    pub total: u32,
}

/// What a snapshot will hold, known at its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotHead {
    /// The last transaction in it.
    pub zxid: Zxid,
    /// The tree digest at that zxid.
    pub digest: u64,
    /// How many sessions will come.
    pub sessions: usize,
    /// How many nodes will come.
    pub nodes: usize,
}

/// A snapshot under way.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotRun {
    sessions: Vec<(i64, i32)>,
    acl_next: u32,
    acl_bound: u32,
    cursor: NodeId,
    bound: NodeId,
    /// Emitted, queued, or not to be emitted at all.
    settled: IdSet,
    queue: VecDeque<Image>,
}

/// A node as it was when the snapshot began.
#[derive(Clone, Debug)]
struct Image {
    path: Box<str>,
    data: Option<OwnData>,
    acl: u32,
    stat: StatPersisted,
}

#[derive(Clone, Debug)]
enum OwnData {
    Small(Box<[u8]>),
    Large(Bytes),
}

impl SnapshotRun {
    /// The slot was taken by a node that did not exist at the start.
    pub(crate) fn exclude(&mut self, id: NodeId) {
        if id < self.bound {
            self.settled.insert(id);
        }
    }

    /// A node is about to change or go.
    pub(crate) fn preserve(&mut self, slab: &Slab, id: NodeId) {
        if id >= self.bound || self.settled.contains(id) {
            return;
        }
        for id in self.unsettled_line(slab, id) {
            self.settled.insert(id);
            let node = &slab[id];
            let mut path = String::new();
            write_path(slab, id, &mut path);
            let data = node.data().map(|data| match data {
                Data::Slice(bytes) => OwnData::Small(bytes.into()),
                Data::Shared(bytes) => OwnData::Large(bytes.clone()),
            });
            self.queue.push_back(Image { path: path.into(), data, acl: node.acl, stat: node.stat() });
        }
    }

    /// `id` and its ancestors that have not been emitted, the topmost first.
    fn unsettled_line(&self, slab: &Slab, id: NodeId) -> Vec<NodeId> {
        let mut line = Vec::new();
        let mut at = id;
        while !self.settled.contains(at) {
            line.push(at);
            if at == ROOT {
                break;
            }
            at = slab[at].parent;
        }
        line.reverse();
        line
    }

    fn is_done(&self) -> bool {
        self.sessions.is_empty()
            && self.acl_next == self.acl_bound
            && self.cursor == self.bound
            && self.queue.is_empty()
    }
}

impl Tree {
    /// Starts a snapshot of the tree as it is now.
    ///
    /// # Panics
    /// If one is under way.
    pub fn begin_snapshot(&mut self) -> SnapshotHead {
        assert!(self.snapshot.is_none(), "one snapshot at a time");
        let mut sessions: Vec<_> = self.sessions.iter().map(|(&id, &timeout_ms)| (id, timeout_ms)).collect();
        sessions.sort_unstable();
        let head = SnapshotHead {
            zxid: self.last_zxid,
            digest: self.digest(),
            sessions: sessions.len(),
            nodes: self.node_count(),
        };
        self.snapshot = Some(Box::new(SnapshotRun {
            sessions,
            acl_next: 0,
            acl_bound: self.acls.hold(),
            cursor: ROOT,
            bound: self.slab.id_bound(),
            settled: IdSet::default(),
            queue: VecDeque::new(),
        }));
        head
    }

    /// Emits about `budget` items (a few more where ancestors go first), or skips as many empty slots.
    ///
    /// # Panics
    /// If no snapshot is under way.
    pub fn snapshot_step(&mut self, budget: usize, mut out: impl FnMut(SnapshotItem<'_>)) -> SnapshotProgress {
        let mut run = self.snapshot.take().expect("a snapshot is under way");
        let mut path = String::new();
        for _ in 0..budget {
            if let Some((id, timeout_ms)) = run.sessions.pop() {
                out(SnapshotItem::Session { id: SessionId::new(id), timeout_ms });
            } else if run.acl_next < run.acl_bound {
                if let Some(list) = self.acls.get(run.acl_next) {
                    out(SnapshotItem::Acl { key: i64::from(run.acl_next), list });
                }
                run.acl_next += 1;
            } else if let Some(image) = run.queue.pop_front() {
                emit_image(&image, &mut out);
            } else if run.cursor < run.bound {
                self.visit(&mut run, &mut path, &mut out);
            } else {
                break;
            }
        }
        let progress = SnapshotProgress { done: run.is_done(), visited: run.cursor, total: run.bound };
        if progress.done {
            self.acls.unhold();
        } else {
            self.snapshot = Some(run);
        }
        progress
    }

    fn visit(&self, run: &mut SnapshotRun, path: &mut String, out: &mut impl FnMut(SnapshotItem<'_>)) {
        let id = run.cursor;
        run.cursor += 1;
        if self.slab.get(id).is_none() {
            return;
        }
        for id in run.unsettled_line(&self.slab, id) {
            run.settled.insert(id);
            let node = &self.slab[id];
            path.clear();
            write_path(&self.slab, id, path);
            out(SnapshotItem::Node { path, data: node.data(), acl_key: i64::from(node.acl), stat: node.stat() });
        }
    }

    /// Gives a snapshot up before its end (its file could not be written).
    pub fn cancel_snapshot(&mut self) {
        if self.snapshot.take().is_some() {
            self.acls.unhold();
        }
    }

    /// Whether a snapshot is under way.
    pub fn is_snapshotting(&self) -> bool {
        self.snapshot.is_some()
    }
}

fn emit_image(image: &Image, out: &mut impl FnMut(SnapshotItem<'_>)) {
    let data = image.data.as_ref().map(|data| match data {
        OwnData::Small(bytes) => Data::Slice(bytes),
        OwnData::Large(bytes) => Data::Shared(bytes),
    });
    out(SnapshotItem::Node { path: &image.path, data, acl_key: i64::from(image.acl), stat: image.stat });
}
