//! History: the newest proposals, kept in memory for members that are a little behind, and the marks that say how far
//! the log, the disk and the ensemble have come.
//!
//! Flow       `append` -> (disk) `on_durable` -> (quorum, or the leader's word) `commit`.
//! Invariant  what is kept has no gap and ends with the last proposal; durable <= appended, committed <= appended. Who
//!            is further behind than `before` is served from the log on disk, or with a snapshot.
//! Absent     whether a proposal is part of the history for ever: the leader's affair.

use alloc::collections::VecDeque;

use bytes::Bytes;
use ids::Zxid;

/// Bytes of entries kept, at most, but for the last one and what is not committed yet.
pub const KEPT_BYTES_MAX: usize = 16 << 20;

/// Entries kept, at most, with the same exceptions. ZooKeeper keeps 500; a member that restarts misses more.
pub const KEPT_ENTRIES_MAX: usize = 50_000;

/// See the head of the file.
#[derive(Debug)]
pub struct History {
    entries: VecDeque<(Zxid, Bytes)>,
    bytes: usize,
    /// The last proposal that is not kept any more: everything above it is here.
    before: Zxid,
    durable: Zxid,
    committed: Zxid,
}

impl History {
    /// Of a log that ends with `last`, all of it durable. Whatever it holds counts as applied: recovery has done so.
    pub fn new(last: Zxid) -> History {
        History { entries: VecDeque::new(), bytes: 0, before: last, durable: last, committed: last }
    }

    /// The last proposal appended.
    pub fn last(&self) -> Zxid {
        self.entries.back().map_or(self.before, |entry| entry.0)
    }

    /// What is kept begins behind this.
    pub fn before(&self) -> Zxid {
        self.before
    }

    /// The last that the own disk holds.
    pub fn durable(&self) -> Zxid {
        self.durable
    }

    /// The last that is delivered, or may be.
    pub fn committed(&self) -> Zxid {
        self.committed
    }

    /// Takes the next proposal.
    ///
    /// # Panics
    /// If it doesn't rise.
    pub fn append(&mut self, zxid: Zxid, entry: Bytes) {
        assert!(zxid > self.last(), "{zxid} behind {}", self.last());
        self.bytes += entry.len();
        self.entries.push_back((zxid, entry));
        self.forget();
    }

    /// The disk's word.
    ///
    /// # Panics
    /// If it confirms what was not appended.
    pub fn on_durable(&mut self, upto: Zxid) {
        assert!(upto <= self.last(), "the disk confirmed {upto}, appended is only {}", self.last());
        self.durable = self.durable.max(upto);
    }

    /// Everything up to here counts.
    ///
    /// # Panics
    /// If it was not appended.
    pub fn commit(&mut self, upto: Zxid) {
        assert!(upto <= self.last(), "{upto} is committed, appended is only {}", self.last());
        self.committed = self.committed.max(upto);
        self.forget();
    }

    /// Everything behind `last` never was: the leader doesn't have it. `applied` says how far the state still goes.
    pub fn truncate(&mut self, last: Zxid) {
        while self.entries.back().is_some_and(|entry| entry.0 > last) {
            let (_, entry) = self.entries.pop_back().expect("just seen");
            self.bytes -= entry.len();
        }
        if self.before > last {
            self.before = last;
        }
        self.durable = self.durable.min(last);
        self.committed = self.committed.min(last);
    }

    /// Another history, up to `last`, takes the place of this one.
    pub fn replace(&mut self, last: Zxid) {
        *self = History::new(last);
    }

    /// What is kept above `after`, oldest first. The caller has seen that nothing in between is missing.
    pub fn after(&self, after: Zxid) -> impl Iterator<Item = &(Zxid, Bytes)> {
        let start = self.entries.partition_point(|entry| entry.0 <= after);
        self.entries.range(start..)
    }

    /// The last proposal up to `zxid` and the first above it, of what is kept.
    pub fn around(&self, zxid: Zxid) -> (Zxid, Option<Zxid>) {
        let next = self.entries.partition_point(|entry| entry.0 <= zxid);
        let floor = next.checked_sub(1).map_or(self.before, |at| self.entries[at].0);
        (floor, self.entries.get(next).map(|entry| entry.0))
    }

    fn forget(&mut self) {
        while (self.bytes > KEPT_BYTES_MAX || self.entries.len() > KEPT_ENTRIES_MAX)
            && self.entries.len() > 1
            && self.entries[0].0 <= self.committed.min(self.durable)
        {
            let (zxid, entry) = self.entries.pop_front().expect("just seen");
            self.bytes -= entry.len();
            self.before = zxid;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ids::Epoch;

    fn zxid(counter: u32) -> Zxid {
        Zxid::new(Epoch::new(1), counter)
    }

    fn filled(upto: u32) -> History {
        let mut history = History::new(Zxid::ZERO);
        (1..=upto).for_each(|counter| history.append(zxid(counter), Bytes::from_static(b"x")));
        history
    }

    #[test]
    fn what_follows_is_found_from_any_place() {
        let history = filled(5);
        let after = |counter| history.after(zxid(counter)).map(|entry| entry.0).collect::<alloc::vec::Vec<_>>();
        assert_eq!(after(3), [zxid(4), zxid(5)]);
        assert_eq!(after(0).len(), 5);
        assert!(after(5).is_empty());
        assert_eq!(history.around(zxid(3)), (zxid(3), Some(zxid(4))));
        assert_eq!(history.around(zxid(9)), (zxid(5), None));
    }

    #[test]
    fn truncation_takes_the_marks_along() {
        let mut history = filled(5);
        history.on_durable(zxid(5));
        history.commit(zxid(2));
        history.truncate(zxid(3));
        assert_eq!((history.last(), history.durable(), history.committed()), (zxid(3), zxid(3), zxid(2)));
        history.append(Zxid::new(Epoch::new(2), 1), Bytes::new());
        assert_eq!(history.after(zxid(3)).count(), 1);
    }

    #[test]
    fn only_what_is_committed_and_durable_is_forgotten() {
        let mut history = History::new(Zxid::ZERO);
        let big = Bytes::from(alloc::vec![0; KEPT_BYTES_MAX / 4]);
        (1..=8).for_each(|counter| history.append(zxid(counter), big.clone()));
        assert_eq!(history.before(), Zxid::ZERO);
        history.on_durable(zxid(8));
        history.commit(zxid(2));
        assert_eq!(history.before(), zxid(2));
        history.commit(zxid(8));
        assert_eq!(history.before(), zxid(4));
    }
}
