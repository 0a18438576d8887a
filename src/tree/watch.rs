//! Watches: who wants to hear of which path, and what each may be told once or for good.
//!
//! Flow       reads and addWatch register -> `watch_fire` takes them when a change comes; checkWatches, removeWatches
//!            and a closed connection take them away.
//! Invariant  per (watcher, path) and list there is at most one registration, with the set of its modes; a registration
//!            is linked under its path and under its watcher, so that adding and removing take constant time with a
//!            hundred thousand watchers on one path or as many paths of one watcher.
//! Absent     ZooKeeper's two tables as such: *data* is our lists Data and Recursive together, *child* is Child.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::arena::{Arena, Shards};
use crate::hash;

/// A connection that watches: its slot on this server, chosen by the caller and free again after `remove_watcher`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WatcherId(pub u32);

/// What a registration asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watch {
    /// getData or exists: once.
    Data,
    /// getChildren: once.
    Child,
    /// addWatch mode 0: both of the above, for good.
    Persistent,
    /// addWatch mode 1: the node and everything below, for good, no NodeChildrenChanged.
    PersistentRecursive,
}

impl Watch {
    /// From addWatch's mode.
    pub const fn from_add_mode(mode: i32) -> Option<Watch> {
        match mode {
            0 => Some(Watch::Persistent),
            1 => Some(Watch::PersistentRecursive),
            _ => None,
        }
    }
}

/// What checkWatches and removeWatches look for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WatcherType {
    /// 1: of getChildren.
    Children,
    /// 2: of getData and exists.
    Data,
    /// 3: any.
    Any,
    /// 4: addWatch mode 0.
    Persistent,
    /// 5: addWatch mode 1.
    PersistentRecursive,
}

impl WatcherType {
    /// From the wire.
    pub const fn from_wire(raw: i32) -> Option<WatcherType> {
        match raw {
            1 => Some(WatcherType::Children),
            2 => Some(WatcherType::Data),
            3 => Some(WatcherType::Any),
            4 => Some(WatcherType::Persistent),
            5 => Some(WatcherType::PersistentRecursive),
            _ => None,
        }
    }

    /// Where such watches are, and under which mode bits.
    const fn places(self) -> &'static [(List, u8)] {
        match self {
            WatcherType::Children => &[(List::Child, STANDARD)],
            WatcherType::Data => &[(List::Data, STANDARD)],
            WatcherType::Any => &[(List::Data, ALL), (List::Child, ALL), (List::Recursive, ALL)],
            WatcherType::Persistent => &[(List::Data, PERSISTENT), (List::Child, PERSISTENT)],
            WatcherType::PersistentRecursive => &[(List::Recursive, PERSISTENT)],
        }
    }
}

/// Lists of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum List {
    Data,
    Child,
    Recursive,
}

pub(crate) const LISTS: usize = 3;

/// Goes when it fires.
pub(crate) const STANDARD: u8 = 1;
/// Stays.
pub(crate) const PERSISTENT: u8 = 2;
const ALL: u8 = STANDARD | PERSISTENT;

pub(crate) const NONE: u32 = u32::MAX;

/// One watcher on one path in one list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registration {
    pub(crate) path: u32,
    pub(crate) watcher: u32,
    pub(crate) path_prev: u32,
    pub(crate) path_next: u32,
    pub(crate) own_prev: u32,
    pub(crate) own_next: u32,
    pub(crate) list: List,
    pub(crate) modes: u8,
}

impl Default for Registration {
    fn default() -> Registration {
        Registration {
            path: NONE,
            watcher: NONE,
            path_prev: NONE,
            path_next: NONE,
            own_prev: NONE,
            own_next: NONE,
            list: List::Data,
            modes: 0,
        }
    }
}

/// A watched path.
#[derive(Debug)]
pub(crate) struct WatchedPath {
    pub(crate) path: Box<str>,
    pub(crate) heads: [u32; LISTS],
    /// Watchers in Data or Recursive, each once.
    pub(crate) data_watchers: u32,
}

impl Default for WatchedPath {
    fn default() -> WatchedPath {
        WatchedPath { path: Box::default(), heads: [NONE; LISTS], data_watchers: 0 }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Watcher {
    pub(crate) head: u32,
    /// Paths that it watches in Data or Recursive, each once.
    pub(crate) data_paths: u32,
    /// The last trigger that told it, so that one trigger tells it once.
    pub(crate) told: u64,
}

/// All watches of a server, or of one of its cores.
#[derive(Debug)]
pub struct Watches {
    pub(crate) paths: Arena<WatchedPath>,
    pub(crate) registrations: Arena<Registration>,
    pub(crate) watchers: Vec<Watcher>,
    by_path: Shards,
    by_key: Shards,
    seed: u64,
    /// Registrations per list.
    pub(crate) counts: [usize; LISTS],
    pub(crate) totals: WatchTotals,
    pub(crate) trigger: u64,
}

/// Sums over the data table, as the `wchs` command shows them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WatchTotals {
    /// Watchers with at least one.
    pub connections: usize,
    /// Paths with at least one.
    pub paths: usize,
    /// Pairs of watcher and path.
    pub watches: usize,
}

impl Watches {
    /// None yet. `seed` keys the hash of paths, which clients choose.
    pub fn new(seed: u64) -> Watches {
        Watches {
            paths: Arena::new(),
            registrations: Arena::new(),
            watchers: Vec::new(),
            by_path: Shards::new(),
            by_key: Shards::new(),
            seed,
            counts: [0; LISTS],
            totals: WatchTotals::default(),
            trigger: 0,
        }
    }

    /// Registers. The same again changes nothing; other modes are added.
    pub fn add(&mut self, watcher: WatcherId, path: &str, watch: Watch) {
        let at = self.path_or_new(path);
        match watch {
            Watch::Data => self.register(watcher, at, List::Data, STANDARD),
            Watch::Child => self.register(watcher, at, List::Child, STANDARD),
            Watch::Persistent => {
                self.register(watcher, at, List::Data, PERSISTENT);
                self.register(watcher, at, List::Child, PERSISTENT);
            }
            Watch::PersistentRecursive => self.register(watcher, at, List::Recursive, PERSISTENT),
        }
    }

    /// Whether the watcher has such a watch on exactly this path.
    pub fn contains(&self, watcher: WatcherId, path: &str, kind: WatcherType) -> bool {
        let Some(at) = self.find_path(path) else {
            return false;
        };
        let has = |&(list, modes): &(List, u8)| {
            let found = self.find(watcher, at, list);
            found.is_some_and(|registration| self.registrations[registration].modes & modes != 0)
        };
        kind.places().iter().any(has)
    }

    /// Takes such watches away; false if there was none.
    pub fn remove(&mut self, watcher: WatcherId, path: &str, kind: WatcherType) -> bool {
        if !self.contains(watcher, path, kind) {
            return false;
        }
        let at = self.find_path(path).expect("it contains one");
        for &(list, modes) in kind.places() {
            if let Some(registration) = self.find(watcher, at, list) {
                self.take_modes(registration, modes);
            }
        }
        true
    }

    /// The connection is closed: all its watches go.
    pub fn remove_watcher(&mut self, watcher: WatcherId) {
        let Some(state) = self.watchers.get(watcher.0 as usize) else {
            return;
        };
        let mut at = state.head;
        while at != NONE {
            let next = self.registrations[at].own_next;
            self.take_modes(at, ALL);
            at = next;
        }
        let state = &self.watchers[watcher.0 as usize];
        assert!(state.head == NONE && state.data_paths == 0, "all its registrations went");
    }

    /// Whether nobody watches anything.
    pub fn is_empty(&self) -> bool {
        self.counts == [0; LISTS]
    }

    /// ZooKeeper's `watch_count`: pairs of watcher and path in the data table, plus those in the child table.
    pub fn len(&self) -> usize {
        self.totals.watches + self.counts[List::Child as usize]
    }

    /// Sums over the data table.
    pub fn totals(&self) -> WatchTotals {
        self.totals
    }

    pub(crate) fn find_path(&self, path: &str) -> Option<u32> {
        let hash = hash::bytes(self.seed, path.as_bytes());
        self.by_path.find(hash, |at| *self.paths[at].path == *path)
    }

    fn path_or_new(&mut self, path: &str) -> u32 {
        if let Some(at) = self.find_path(path) {
            return at;
        }
        let hash = hash::bytes(self.seed, path.as_bytes());
        let at = self.paths.insert(WatchedPath { path: path.into(), ..WatchedPath::default() });
        let (paths, seed) = (&self.paths, self.seed);
        self.by_path.insert(hash, at, |other| hash::bytes(seed, paths[other].path.as_bytes()));
        at
    }

    fn find(&self, watcher: WatcherId, path: u32, list: List) -> Option<u32> {
        self.by_key.find(key_hash(watcher.0, path, list), |at| {
            let other = &self.registrations[at];
            other.watcher == watcher.0 && other.path == path && other.list == list
        })
    }

    fn register(&mut self, watcher: WatcherId, path: u32, list: List, mode: u8) {
        if let Some(at) = self.find(watcher, path, list) {
            self.registrations[at].modes |= mode;
            return;
        }
        if !self.counts_elsewhere(watcher, path, list) {
            self.count_data_pair(watcher, path);
        }
        let slot = watcher.0 as usize;
        if slot >= self.watchers.len() {
            self.watchers.resize(slot + 1, Watcher { head: NONE, data_paths: 0, told: 0 });
        }
        let path_next = core::mem::replace(&mut self.paths[path].heads[list as usize], NONE);
        let own_next = self.watchers[slot].head;
        let at = self.registrations.insert(Registration {
            path,
            watcher: watcher.0,
            path_prev: NONE,
            path_next,
            own_prev: NONE,
            own_next,
            list,
            modes: mode,
        });
        self.paths[path].heads[list as usize] = at;
        self.watchers[slot].head = at;
        if path_next != NONE {
            self.registrations[path_next].path_prev = at;
        }
        if own_next != NONE {
            self.registrations[own_next].own_prev = at;
        }
        let registrations = &self.registrations;
        self.by_key.insert(key_hash(watcher.0, path, list), at, |other| {
            let other = &registrations[other];
            key_hash(other.watcher, other.path, other.list)
        });
        self.counts[list as usize] += 1;
    }

    /// Takes modes off a registration, and the registration away when none is left.
    pub(crate) fn take_modes(&mut self, at: u32, modes: u8) {
        self.registrations[at].modes &= !modes;
        if self.registrations[at].modes == 0 {
            self.unregister(at);
        }
    }

    fn unregister(&mut self, at: u32) {
        let gone = self.registrations.remove(at);
        let Registration { path, watcher, list, .. } = gone;
        match gone.path_prev {
            NONE => self.paths[path].heads[list as usize] = gone.path_next,
            prev => self.registrations[prev].path_next = gone.path_next,
        }
        if gone.path_next != NONE {
            self.registrations[gone.path_next].path_prev = gone.path_prev;
        }
        match gone.own_prev {
            NONE => self.watchers[watcher as usize].head = gone.own_next,
            prev => self.registrations[prev].own_next = gone.own_next,
        }
        if gone.own_next != NONE {
            self.registrations[gone.own_next].own_prev = gone.own_prev;
        }
        self.by_key.remove(key_hash(watcher, path, list), at);
        self.counts[list as usize] -= 1;
        if !self.counts_elsewhere(WatcherId(watcher), path, list) {
            self.discount_data_pair(watcher, path);
        }
        if self.paths[path].heads == [NONE; LISTS] {
            let entry = self.paths.remove(path);
            self.by_path.remove(hash::bytes(self.seed, entry.path.as_bytes()), path);
        }
    }

    /// Whether a registration in `list` makes no difference to the data table's pairs of watcher and path: the child table
    /// has its own count, and the data table may have the pair by its other list.
    fn counts_elsewhere(&self, watcher: WatcherId, path: u32, list: List) -> bool {
        let other = match list {
            List::Child => return true,
            List::Data => List::Recursive,
            List::Recursive => List::Data,
        };
        self.counts[other as usize] > 0 && self.find(watcher, path, other).is_some()
    }

    fn count_data_pair(&mut self, watcher: WatcherId, path: u32) {
        let slot = watcher.0 as usize;
        if slot >= self.watchers.len() {
            self.watchers.resize(slot + 1, Watcher { head: NONE, data_paths: 0, told: 0 });
        }
        let (entry, state) = (&mut self.paths[path], &mut self.watchers[slot]);
        self.totals.watches += 1;
        self.totals.paths += usize::from(entry.data_watchers == 0);
        self.totals.connections += usize::from(state.data_paths == 0);
        entry.data_watchers += 1;
        state.data_paths += 1;
    }

    fn discount_data_pair(&mut self, watcher: u32, path: u32) {
        let (entry, state) = (&mut self.paths[path], &mut self.watchers[watcher as usize]);
        entry.data_watchers -= 1;
        state.data_paths -= 1;
        self.totals.watches -= 1;
        self.totals.paths -= usize::from(entry.data_watchers == 0);
        self.totals.connections -= usize::from(state.data_paths == 0);
    }
}

fn key_hash(watcher: u32, path: u32, list: List) -> u64 {
    hash::number(hash::number((u64::from(watcher) << 32) | u64::from(path)) ^ list as u64)
}

#[cfg(test)]
mod tests;
