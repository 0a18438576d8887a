//! Sync: how a learner is brought to the leader's history, as one function of what both have. ZooKeeper's
//! LearnerHandler.syncFollower decides the same.
//!
//! Flow       the learner's last zxid -> `decide` -> at once, or behind a look into the log on disk (`decide_from_log`).
//! Invariant  a learner that is told to keep or cut its log ends with a prefix of the leader's, or is sent a snapshot.

use ids::Zxid;

use crate::history::History;

/// How a learner is brought up to date.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plan {
    /// It keeps what it has, and gets everything behind this.
    Diff {
        /// The learner's last.
        after: Zxid,
    },
    /// It forgets everything behind this, and gets what follows here.
    Trunc {
        /// The last that both have.
        last: Zxid,
    },
    /// It is sent the whole state.
    Snap,
    /// The log on disk has to be asked first what stands around the learner's last.
    LookUp,
}

/// What the log on disk says about a zxid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Located {
    /// The last record up to it; `None` if the log doesn't reach back so far.
    pub floor: Option<Zxid>,
    /// The first record above it.
    pub next: Option<Zxid>,
    /// What follows is so much that a snapshot is the shorter way.
    pub is_long: bool,
}

/// Decides about a learner whose log ends with `learner`. `base` is the last that is, or is about to be, committed: what
/// the learner has beyond is cut, because nothing says that it stays.
///
/// `is_ringkeeper`: a learner of our own kind can be cut to the end of an epoch that both know, where Java is sent a
/// snapshot. That is what a deposed leader needs, which has proposals that nobody else has.
pub fn decide(learner: Zxid, base: Zxid, history: &History, is_ringkeeper: bool) -> Plan {
    if learner == base {
        return Plan::Diff { after: learner };
    }
    if learner > base {
        // A counter of 0 is no proposal but a former leader's mark, and says nothing about where its log ends.
        // And a log cannot be cut before its first record: Java would keep that one.
        let is_cut = learner.counter() != 0 && base != Zxid::ZERO;
        return if is_cut { Plan::Trunc { last: base } } else { Plan::Snap };
    }
    if learner < history.before() {
        return Plan::LookUp;
    }
    let (floor, next) = history.around(learner);
    place(learner, floor, next, is_ringkeeper)
}

/// Decides with what the log on disk says.
pub fn decide_from_log(learner: Zxid, located: Located, is_ringkeeper: bool) -> Plan {
    match located.floor {
        Some(floor) if !located.is_long => place(learner, floor, located.next, is_ringkeeper),
        _ => Plan::Snap,
    }
}

/// Between two neighbours of the leader's history.
fn place(learner: Zxid, floor: Zxid, next: Option<Zxid>, is_ringkeeper: bool) -> Plan {
    if floor == learner || learner.counter() == 0 {
        return Plan::Diff { after: learner };
    }
    match next {
        Some(next) if next.epoch() == learner.epoch() => Plan::Trunc { last: floor },
        // One leader made all proposals of an epoch: who has one of them has all before it, and so both have this one.
        Some(_) if is_ringkeeper && floor.epoch() == learner.epoch() && floor.counter() > 0 => {
            Plan::Trunc { last: floor }
        }
        // Not a word about the learner's epoch is known here: where the histories part is anybody's guess.
        _ => Plan::Snap,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use ids::Epoch;

    fn zxid(epoch: u32, counter: u32) -> Zxid {
        Zxid::new(Epoch::new(epoch), counter)
    }

    /// 1:2 is the last not kept; 1:3, 1:5, 2:1, 2:2 are.
    fn history() -> History {
        let mut history = History::new(zxid(1, 2));
        for place in [zxid(1, 3), zxid(1, 5), zxid(2, 1), zxid(2, 2)] {
            history.append(place, Bytes::new());
        }
        history
    }

    #[test]
    fn the_decision_table_of_the_original() {
        let table = [
            // The same last: nothing to do.
            (zxid(2, 2), Plan::Diff { after: zxid(2, 2) }),
            // Ahead, of this epoch or of another.
            (zxid(2, 7), Plan::Trunc { last: zxid(2, 2) }),
            (zxid(3, 1), Plan::Trunc { last: zxid(2, 2) }),
            (zxid(3, 0), Plan::Snap),
            // Found in what is kept, or just before it.
            (zxid(1, 5), Plan::Diff { after: zxid(1, 5) }),
            (zxid(1, 2), Plan::Diff { after: zxid(1, 2) }),
            // Not found: a mark; within an epoch; at the end of one.
            (zxid(2, 0), Plan::Diff { after: zxid(2, 0) }),
            (zxid(1, 4), Plan::Trunc { last: zxid(1, 3) }),
            (zxid(1, 6), Plan::Snap),
            // Older than what is kept.
            (zxid(1, 1), Plan::LookUp),
            (Zxid::ZERO, Plan::LookUp),
        ];
        for (learner, plan) in table {
            assert_eq!(decide(learner, zxid(2, 2), &history(), false), plan, "{learner}");
        }
    }

    #[test]
    fn proposals_that_are_not_committed_are_cut_and_sent_again() {
        assert_eq!(decide(zxid(2, 2), zxid(2, 1), &history(), false), Plan::Trunc { last: zxid(2, 1) });
    }

    #[test]
    fn our_own_kind_is_cut_at_the_end_of_an_epoch() {
        assert_eq!(decide(zxid(1, 6), zxid(2, 2), &history(), true), Plan::Trunc { last: zxid(1, 5) });
        let unknown = zxid(0, 9);
        let located = Located { floor: Some(zxid(0, 0)), next: Some(zxid(1, 1)), is_long: false };
        assert_eq!(decide_from_log(unknown, located, true), Plan::Snap);
    }

    #[test]
    fn the_log_on_disk_decides_alike() {
        let located = |floor, next| Located { floor, next, is_long: false };
        let found = located(Some(zxid(1, 1)), Some(zxid(1, 2)));
        assert_eq!(decide_from_log(zxid(1, 1), found, false), Plan::Diff { after: zxid(1, 1) });
        let between = located(Some(zxid(1, 1)), Some(zxid(1, 3)));
        assert_eq!(decide_from_log(zxid(1, 2), between, false), Plan::Trunc { last: zxid(1, 1) });
        let across = located(Some(zxid(1, 1)), Some(zxid(2, 1)));
        assert_eq!(decide_from_log(zxid(1, 2), across, false), Plan::Snap);
        assert_eq!(decide_from_log(zxid(1, 1), located(None, None), false), Plan::Snap);
        assert_eq!(decide_from_log(zxid(1, 1), Located { is_long: true, ..found }, false), Plan::Snap);
    }
}
