//! How a learner caught up last, as the Java side of it says in its log.
//!
//! Flow       the learner's own log if it is a Java member, else its leader's; nothing if neither is.

use super::Ensemble;

/// How a leader brings a learner up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// The txns that it lacks.
    Diff,
    /// It forgets what nobody else has.
    Trunc,
    /// The whole tree.
    Snap,
}

/// What `Learner` and `LearnerHandler` write.
const LINES: [(&str, Sync); 6] = [
    ("Getting a diff from the leader", Sync::Diff),
    ("Truncating log to get in sync with the leader", Sync::Trunc),
    ("Getting a snapshot from leader", Sync::Snap),
    ("Sending DIFF zxid", Sync::Diff),
    ("Sending TRUNC ", Sync::Trunc),
    ("Sending snapshot last zxid", Sync::Snap),
];

impl Ensemble {
    /// How a learner caught up last, if a Java member was part of it. While others catch up with a leader that alone is
    /// one, its log may mean them.
    pub fn last_sync(&self, learner: usize) -> Option<Sync> {
        let teller =
            [Some(learner), self.leader()].into_iter().flatten().find(|index| self.member(*index).kind().is_java())?;
        let log = self.member(teller).log();
        log.lines().rev().find_map(|line| LINES.iter().find(|(text, _)| line.contains(text)).map(|(_, sync)| *sync))
    }

    /// Panics if it is known how a learner caught up last, and it is none of these.
    ///
    /// # Panics
    /// As said.
    pub fn check_last_sync(&self, learner: usize, expected: &[Sync]) {
        let found = self.last_sync(learner);
        println!("  member {learner} caught up by {found:?}");
        if let Some(found) = found {
            assert!(expected.contains(&found), "{found:?} where {expected:?} was due\n{}", self.logs());
        }
    }
}
