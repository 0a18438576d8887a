//! Firing: which watchers a change tells, and what clients that come back have missed.
//!
//! Flow       `Effects::changes` -> `fire` -> the caller's closure per notification, which checks READ and sends.
//! Invariant  one trigger (table, path, event) tells a watcher once, however many of its watches match; a standard watch
//!            on exactly the path is used up by it even if the notification is suppressed or filtered. The child table
//!            hears of a deletion after the data table, and skips whom that told.
//! Absent     order among watchers. Ancestors are climbed only while somebody has a recursive watch.

use crate::acl::AclList;
use crate::effects::{Change, ChangeKind};
use crate::path;
use crate::tree::Tree;
use crate::watch::{List, NONE, STANDARD, Watch, WatcherId, Watches};

/// The type of a notification.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventKind {
    /// NodeCreated.
    Created = 1,
    /// NodeDeleted.
    Deleted = 2,
    /// NodeDataChanged.
    DataChanged = 3,
    /// NodeChildrenChanged.
    ChildrenChanged = 4,
}

impl EventKind {
    /// As in a WatcherEvent.
    pub const fn to_wire(self) -> i32 {
        self as i32
    }
}

/// A notification on its way to one watcher.
#[derive(Clone, Copy, Debug)]
pub struct Notification<'a> {
    /// Whom.
    pub watcher: WatcherId,
    /// What.
    pub kind: EventKind,
    /// Of which node.
    pub path: &'a str,
    /// Who lacks READ here is told nothing.
    pub acl: &'a AclList,
}

/// A list of setWatches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rewatch {
    /// dataWatches.
    Data,
    /// existWatches.
    Exist,
    /// childWatches.
    Child,
    /// persistentWatches.
    Persistent,
    /// persistentRecursiveWatches.
    PersistentRecursive,
}

impl Watches {
    /// Tells everybody whom a change concerns.
    pub fn fire(&mut self, change: &Change<'_>, mut notify: impl FnMut(Notification<'_>)) {
        if self.is_empty() {
            return;
        }
        let kind = match change.kind {
            ChangeKind::Created => EventKind::Created,
            ChangeKind::Deleted => EventKind::Deleted,
            ChangeKind::DataChanged => EventKind::DataChanged,
        };
        let (path, acl) = (change.path, change.acl);
        self.trigger += 1;
        self.fire_list(List::Data, path, kind, acl, &mut notify);
        self.fire_recursive(path, kind, acl, &mut notify);
        if change.kind == ChangeKind::DataChanged {
            return;
        }
        if change.kind == ChangeKind::Deleted {
            self.fire_list(List::Child, path, kind, acl, &mut notify);
        }
        self.trigger += 1;
        let parent = change.parent_path();
        self.fire_list(List::Child, parent, EventKind::ChildrenChanged, change.parent_acl, &mut notify);
    }

    /// Tells those on exactly `path`, and uses up their standard watches.
    fn fire_list(
        &mut self,
        list: List,
        path: &str,
        kind: EventKind,
        acl: &AclList,
        notify: &mut impl FnMut(Notification<'_>),
    ) {
        if self.counts[list as usize] == 0 {
            return;
        }
        let Some(entry) = self.find_path(path) else {
            return;
        };
        let mut at = self.paths[entry].heads[list as usize];
        while at != NONE {
            let registration = self.registrations[at];
            self.tell(registration.watcher, path, kind, acl, notify);
            self.take_modes(at, STANDARD);
            at = registration.path_next;
        }
    }

    /// Tells those with a recursive watch on `path` or above.
    fn fire_recursive(
        &mut self,
        path: &str,
        kind: EventKind,
        acl: &AclList,
        notify: &mut impl FnMut(Notification<'_>),
    ) {
        if self.counts[List::Recursive as usize] == 0 {
            return;
        }
        let mut watched = path;
        loop {
            if let Some(entry) = self.find_path(watched) {
                let mut at = self.paths[entry].heads[List::Recursive as usize];
                while at != NONE {
                    let registration = self.registrations[at];
                    self.tell(registration.watcher, path, kind, acl, notify);
                    at = registration.path_next;
                }
            }
            if watched == path::ROOT {
                return;
            }
            watched = path::split(watched).0;
        }
    }

    fn tell(
        &mut self,
        watcher: u32,
        path: &str,
        kind: EventKind,
        acl: &AclList,
        notify: &mut impl FnMut(Notification<'_>),
    ) {
        let state = &mut self.watchers[watcher as usize];
        if state.told != self.trigger {
            state.told = self.trigger;
            notify(Notification { watcher: WatcherId(watcher), kind, path, acl });
        }
    }

    /// Takes one path of setWatches from a client that has come back and last saw `relative_zxid`: registers the watch
    /// again, or returns the event that it has missed. To be called list by list in the order of [`Rewatch`].
    pub fn rewatch(
        &mut self,
        tree: &Tree,
        watcher: WatcherId,
        relative_zxid: i64,
        list: Rewatch,
        path: &str,
    ) -> Option<EventKind> {
        let node = tree.get(path);
        let stat = node.map(|node| node.stat_persisted());
        let (missed, watch) = match list {
            Rewatch::Data => match stat {
                None => (Some(EventKind::Deleted), Watch::Data),
                Some(stat) if stat.mzxid > relative_zxid => (Some(EventKind::DataChanged), Watch::Data),
                Some(_) => (None, Watch::Data),
            },
            Rewatch::Exist => (stat.map(|_| EventKind::Created), Watch::Data),
            Rewatch::Child => match stat {
                None => (Some(EventKind::Deleted), Watch::Child),
                Some(stat) if stat.pzxid > relative_zxid => (Some(EventKind::ChildrenChanged), Watch::Child),
                Some(_) => (None, Watch::Child),
            },
            Rewatch::Persistent => (None, Watch::Persistent),
            Rewatch::PersistentRecursive => (None, Watch::PersistentRecursive),
        };
        if missed.is_none() {
            self.add(watcher, path, watch);
        }
        missed
    }
}
