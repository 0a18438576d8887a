//! What Java members say of their tree's digest: theirs against the one that came with each txn from the leader.
//!
//! Flow       the log tells where a row of mismatches began; the counter of `mntr` tells whether one goes on.
//! Invariant  while a Java member builds its tree from a snapshot that was taken while txns went on, its own at its start or
//!            the leader's until NEWLEADER, it is none that anybody ever had, and it reports mismatches: these rows are
//!            legal, if they end.

use super::Ensemble;
use crate::four_letter;

/// How a row of mismatches begins: the same message behind it has no `Value:`, or `Last value:`.
const BEGINS: &str = "Digests are not matching. Value is Zxid. Value:";
/// The thread that loads the disk at the start.
const LOADER: &str = "[main]";
/// From here on a learner's tree may be ahead of the txns that it is given: from the leader, or from its own disk again.
const REBUILDS: [&str; 2] = ["Getting a snapshot from leader", "Truncating log to get in sync with the leader"];
/// From here on it may not.
const COMPLETE: &str = "Learner received NEWLEADER message";
/// A new term begins.
const ELECTED: &str = "LEADER ELECTION TOOK";
/// How `mntr` calls the counter.
const COUNTER: &str = "zk_digest_mismatches_count";

impl Ensemble {
    /// Lines of a Java member's log, since its first start, in which its tree ceases to be its leader's, for no reason.
    pub fn digest_mismatches(&self, index: usize) -> Vec<String> {
        mismatches(&self.member(index).log())
    }

    /// How many mismatches each Java member has counted since its start; 0 for others.
    ///
    /// # Panics
    /// If a Java member that runs does not tell.
    pub fn digest_mismatch_counts(&self) -> Vec<u64> {
        let count = |index: usize| {
            if !self.member(index).kind().is_java() || !self.runs(index) {
                return 0;
            }
            let answer = four_letter::ask(self.address(index), "mntr").expect("a member that serves");
            let value = answer.lines().find_map(|line| line.strip_prefix(COUNTER)).expect("it has this counter");
            value.trim().parse().expect("a number")
        };
        (0..self.size()).map(count).collect()
    }

    /// Panics if any Java member's tree was not its leader's where it had to be.
    ///
    /// # Panics
    /// As said.
    pub fn check_digests(&self) {
        for index in 0..self.size() {
            let found = self.digest_mismatches(index);
            assert!(found.is_empty(), "member {index} ({}): {}", self.member(index).kind(), found.join("\n"));
        }
    }
}

fn mismatches(log: &str) -> Vec<String> {
    let mut is_loading = false;
    let mut found = Vec::new();
    for line in log.lines() {
        if REBUILDS.iter().any(|text| line.contains(text)) {
            is_loading = true;
        } else if line.contains(COMPLETE) || line.contains(ELECTED) {
            is_loading = false;
        } else if line.contains(BEGINS) && !is_loading && !line.contains(LOADER) {
            found.push(line.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mismatch_is_legal_only_while_the_tree_is_built() {
        let begins = |zxid: u32| format!("WARN DataTree - Message:{BEGINS}{zxid}\n");
        let log = format!(
            "[main] {}{}INFO Learner - {} 0x1\n{}Message: Digests are not matching. Value is Zxid. Last value:2\n\
             INFO Learner - {COMPLETE}\n{}",
            begins(0),
            begins(1),
            REBUILDS[0],
            begins(2),
            begins(3)
        );
        let found = mismatches(&log);
        assert_eq!(found, [begins(1).trim_end(), begins(3).trim_end()]);
    }
}
