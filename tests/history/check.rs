//! Judges a history: did the ensemble keep its promises, and is the end explained by what was asked?
//!
//! Flow       `Case` sorts the evidence once; each rule lists what breaks it; `judge` puts the lists together.
//! Invariant  a rule says "broken" only of what no correct ensemble can do, whatever was killed and however slow it was.
//!            An answer that was lost may mean either, and it may have been carried out later.
//! Absent     a search for an order: zxids are the order, so each rule is a walk over sorted lists.

mod nodes;
mod order;
mod sessions;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Answer, Call, History, Request};
use crate::ensemble::dump::Dump;

/// Broken promises that a message shows.
const SHOWN_MAX: usize = 30;

/// What an ensemble has promised under the faults that it had.
#[derive(Clone, Copy, Debug, Default)]
pub struct Promises {
    /// A read behind a sync sees every write acknowledged before the sync. ZooKeeper does not promise it: a leader that
    /// was stopped answers without asking a quorum, and any leader takes its own clients' sync as a read, which can
    /// overtake a commit that a follower has applied already.
    pub sync_is_strict: bool,
}

/// Everything that is broken, in words. `end` is what every member holds, read while the load's sessions were open.
pub fn judge(history: &History, end: &Dump, promises: Promises) -> Vec<String> {
    let case = Case::new(history, end);
    let mut broken = Vec::new();
    broken.extend(order::real_time(&case));
    broken.extend(order::one_txn_one_zxid(&case));
    broken.extend(order::numbers_rise(&case));
    broken.extend(nodes::versions_count(&case));
    broken.extend(nodes::data_has_one_origin(&case));
    broken.extend(nodes::end_is_explained(&case));
    broken.extend(sessions::replies_rise(&case));
    broken.extend(sessions::reads_keep_up(&case));
    broken.extend(sessions::ephemerals_live_as_sessions(&case));
    if promises.sync_is_strict {
        broken.extend(sessions::syncs_catch_up(&case));
    }
    // An answer and the end may show the same.
    broken.dedup();
    broken
}

/// Panics with everything that is broken.
///
/// # Panics
/// If something is.
pub fn assert_kept(history: &History, end: &Dump, promises: Promises) {
    let broken = judge(history, end, promises);
    let shown: Vec<_> = broken.iter().take(SHOWN_MAX).map(String::as_str).collect();
    assert!(
        broken.is_empty(),
        "{} promises broken of {} calls:\n{}",
        broken.len(),
        history.calls.len(),
        shown.join("\n")
    );
}

/// The evidence, sorted.
struct Case<'a> {
    history: &'a History,
    end: &'a Dump,
    /// By path, the txns of acknowledged writes that leave the node there, rising.
    puts: BTreeMap<&'a str, Vec<(i64, &'a Call)>>,
    /// By path, removals that were not refused.
    removals: BTreeMap<&'a str, Vec<Removal>>,
    /// By path, how many creates and sets were lost.
    lost: BTreeMap<&'a str, usize>,
}

/// A removal that took place, or may have.
#[derive(Clone, Copy, Debug)]
struct Removal {
    /// Its txn lies above this if it was acknowledged: somebody had seen this zxid before it was asked for.
    above: Option<i64>,
    /// And not above this; of a lost one, nobody knows.
    upto: i64,
}

impl<'a> Case<'a> {
    fn new(history: &'a History, end: &'a Dump) -> Self {
        let mut case = Self { history, end, puts: BTreeMap::new(), removals: BTreeMap::new(), lost: BTreeMap::new() };
        let seen = Seen::new(history);
        for call in &history.calls {
            match (&call.request, &call.answer) {
                (Request::Get { .. } | Request::Close, _) | (_, Answer::Refused { .. }) => {}
                (Request::Delete { path }, Answer::Done { zxid, .. }) => {
                    let above = Some(seen.before(call.invoked));
                    case.removals.entry(path).or_default().push(Removal { above, upto: *zxid });
                }
                (Request::Delete { path }, Answer::Lost) => {
                    case.removals.entry(path).or_default().push(Removal { above: None, upto: i64::MAX });
                }
                (_, Answer::Done { nodes, .. }) => {
                    for (path, stat) in nodes {
                        case.puts.entry(path).or_default().push((stat.mzxid, call));
                    }
                }
                (request, Answer::Lost) => {
                    for path in written(request) {
                        *case.lost.entry(path).or_default() += 1;
                    }
                }
            }
        }
        case.puts.values_mut().for_each(|puts| puts.sort_by_key(|(txn, _)| *txn));
        case
    }

    /// The last acknowledged write of a path whose txn is not above `upto`.
    fn last_put(&self, path: &str, upto: i64) -> Option<i64> {
        let puts = self.puts.get(path)?;
        puts[..puts.partition_point(|(txn, _)| *txn <= upto)].last().map(|(txn, _)| *txn)
    }

    /// Whether a removal of this path may have come behind this txn.
    fn may_be_removed_after(&self, path: &str, txn: i64) -> bool {
        self.removals.get(path).is_some_and(|removals| removals.iter().any(|removal| removal.upto > txn))
    }

    /// What was certainly created before this removal is gone: the highest such zxid among removals done by `upto`.
    fn removed_upto(&self, path: &str, upto: i64) -> Option<i64> {
        let removals = self.removals.get(path)?;
        removals.iter().filter(|removal| removal.upto <= upto).filter_map(|removal| removal.above).max()
    }
}

/// What had been seen by when: the highest zxid in any answer, at each moment.
struct Seen(Vec<(Duration, i64)>);

impl Seen {
    fn new(history: &History) -> Self {
        let mut replies: Vec<(Duration, i64)> =
            history.calls.iter().filter_map(|call| call.zxid().map(|zxid| (call.returned, zxid))).collect();
        replies.sort_unstable();
        let mut highest = 0;
        for (_, zxid) in &mut replies {
            highest = highest.max(*zxid);
            *zxid = highest;
        }
        Self(replies)
    }

    /// The highest zxid in answers that had come before this moment.
    fn before(&self, moment: Duration) -> i64 {
        match self.0.partition_point(|(returned, _)| *returned < moment) {
            0 => 0,
            count => self.0[count - 1].1,
        }
    }
}

/// The paths that a request writes data to. Of a sequential node the prefix, which is no node's path.
fn written(request: &Request) -> Vec<&str> {
    match request {
        Request::Create { path, .. } | Request::Set { path, .. } => vec![path],
        Request::Both { paths, .. } => paths.iter().map(String::as_str).collect(),
        Request::Delete { .. } | Request::Get { .. } | Request::Close => Vec::new(),
    }
}

/// The data that a request writes.
fn data_of(request: &Request) -> Option<&str> {
    match request {
        Request::Create { data, .. } | Request::Set { data, .. } | Request::Both { data, .. } => Some(data),
        Request::Delete { .. } | Request::Get { .. } | Request::Close => None,
    }
}
