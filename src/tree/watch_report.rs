//! What the `wchp` and `wchc` commands show: the data table by path and by watcher.
//!
//! Absent     a bound: a report takes time in proportion to the watches, like ZooKeeper's, which is why those commands
//!            are not among the allowed ones by default.

use alloc::vec::Vec;

use crate::watch::{List, NONE, WatcherId, Watches};

impl Watches {
    /// Each path of the data table with its watchers: what the `wchp` command shows.
    pub fn by_path(&self, mut report: impl FnMut(&str, &[WatcherId])) {
        let mut watchers = Vec::new();
        for (_, entry) in self.paths.slots().filter(|(_, entry)| entry.data_watchers > 0) {
            watchers.clear();
            for list in [List::Data, List::Recursive] {
                let mut at = entry.heads[list as usize];
                while at != NONE {
                    watchers.push(WatcherId(self.registrations[at].watcher));
                    at = self.registrations[at].path_next;
                }
            }
            watchers.sort_unstable();
            watchers.dedup();
            report(&entry.path, &watchers);
        }
    }

    /// Each watcher with its paths in the data table: what the `wchc` command shows.
    pub fn by_watcher(&self, mut report: impl FnMut(WatcherId, &[&str])) {
        for (id, watcher) in (0..).zip(&self.watchers).filter(|(_, watcher)| watcher.data_paths > 0) {
            let mut paths = Vec::new();
            let mut at = watcher.head;
            while at != NONE {
                let registration = &self.registrations[at];
                if registration.list != List::Child {
                    paths.push(&*self.paths[registration.path].path);
                }
                at = registration.own_next;
            }
            paths.sort_unstable();
            paths.dedup();
            report(WatcherId(id), &paths);
        }
    }
}
