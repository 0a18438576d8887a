//! Makes a chosen member the leader, by the rule that who has logged most wins.
//!
//! Flow       a quorum that holds the chosen one and the present leader runs alone and logs something; all of it but the
//!            chosen one is killed, and the others start: among them only the chosen one has the last txn.
//! Invariant  no clock decides: the chosen one's zxid is the highest of a quorum, so it leads or nobody does.

use super::Ensemble;

impl Ensemble {
    /// Makes a voter lead, with everybody running before and behind it.
    ///
    /// # Panics
    /// If the number of voters is even (a quorum and the rest then do not meet in the chosen one alone), or another leads.
    pub fn make_leader(&mut self, chosen: usize) {
        let (voters, leader) = (self.voters(), self.wait_for_leader());
        assert!(voters % 2 == 1 && chosen < voters, "an odd number of voters, and the chosen one among them");
        if leader == chosen {
            return;
        }
        let quorum = voters / 2 + 1;
        let mut inside = vec![chosen, leader];
        inside.extend((0..voters).filter(|index| *index != chosen && *index != leader));
        let outside = inside.split_off(quorum);
        outside.iter().for_each(|index| self.kill(*index));
        // Each of the quorum has to log these for them to be committed: a session, and its end.
        self.session(chosen).close();
        inside.iter().filter(|index| **index != chosen).for_each(|index| self.kill(*index));
        outside.iter().for_each(|index| self.spawn(*index));
        self.wait_until_serving(chosen);
        assert_eq!(self.wait_for_leader(), chosen, "it has logged more than all others\n{}", self.logs());
        inside.iter().filter(|index| **index != chosen).for_each(|index| self.spawn(*index));
        self.wait_until_all_serve();
    }
}
