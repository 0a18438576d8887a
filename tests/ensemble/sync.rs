//! How a learner caught up after its start, as the Java side of it says in its log.
//!
//! Flow       the learner's own log if it is a Java member, else its leader's; nothing if neither is.
//! Absent     what comes behind the first time: 3.8.0 sometimes gives its leader up at once, and then lacks less.

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
    /// How a learner caught up first since it was started, if a Java member was part of it. Where only the leader is one,
    /// no other learner may have caught up meanwhile.
    pub fn first_sync(&self, learner: usize) -> Option<Sync> {
        let is_java = |index: &usize| self.member(*index).kind().is_java();
        let teller = [Some(learner), self.leader()].into_iter().flatten().find(is_java)?;
        let log = self.member(teller).log();
        let since = log.get(self.logs_at_start[learner][teller]..)?;
        since.lines().find_map(|line| LINES.iter().find(|(text, _)| line.contains(text)).map(|(_, sync)| *sync))
    }

    /// Panics if it is known how a learner caught up first since it was started, and it is none of these.
    ///
    /// # Panics
    /// As said.
    pub fn check_first_sync(&self, learner: usize, expected: &[Sync]) {
        let found = self.first_sync(learner);
        let told = found.map_or_else(|| "nobody tells how".to_owned(), |found| format!("{found:?}"));
        println!("  member {learner} caught up: {told}");
        if let Some(found) = found {
            assert!(expected.contains(&found), "{found:?} where {expected:?} was due\n{}", self.logs());
        }
    }
}
