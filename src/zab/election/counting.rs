//! How votes are counted while we look.
//!
//! Flow       a vote -> is it better than ours? then ours is the same -> what do all say? -> decided, or wait.
//! Invariant  `received` holds votes of our round only, and ours is our proposal; `decide_at` is set exactly while we vote and
//!            a quorum agrees with the proposal, and anew for each proposal.
//! Absent     Java's deafness while it waits for a better vote: it drops whatever is not better, we count it. Our wait begins
//!            when the quorum does and is not prolonged by what comes in, so it ends whatever comes in.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use ids::{Millis, Sid};

use super::{Election, ElectionAction, Running};
use crate::vote::{ABSTAINING, CountedVote, Notification, PeerState, Vote};

impl Election {
    /// Whether `new` is to be preferred. A server without weight is only ever elected by itself.
    fn beats(&self, new: &Vote, old: &Vote) -> bool {
        new.leader().is_some_and(|leader| self.electorate.weight(leader) > 0) && new > old
    }

    /// A voter's notification while we look.
    pub(super) fn count(&mut self, from: Sid, notification: &Notification, now: Millis, out: &mut Vec<ElectionAction>) {
        if self.running.is_none() {
            self.early.insert(from, notification.clone());
            return;
        }
        if !notification.vote.leader().is_some_and(|leader| self.electorate.is_voter(leader)) {
            return;
        }
        match notification.state {
            PeerState::Looking => self.count_looking(from, notification, out),
            PeerState::Following | PeerState::Leading => self.count_established(from, notification, out),
            PeerState::Observing => return,
        }
        self.settle(now, out);
    }

    fn count_looking(&mut self, from: Sid, notification: &Notification, out: &mut Vec<ElectionAction>) {
        let Some(running) = &mut self.running else { return };
        let initial = running.initial;
        if initial.zxid == ABSTAINING || notification.vote.zxid == ABSTAINING || notification.round < self.round {
            return;
        }
        if notification.round > self.round {
            self.round = notification.round;
            running.received.clear();
            let is_better = self.beats(&notification.vote, &initial);
            self.adopt(if is_better { notification.vote } else { initial }, out);
        } else if self.beats(&notification.vote, &self.proposal) {
            self.adopt(notification.vote, out);
        }
        if let Some(running) = &mut self.running {
            running.received.insert(from, CountedVote::new(notification, 0));
        }
    }

    /// From somebody who has a leader: join it when a quorum has it and it says so itself.
    fn count_established(&mut self, from: Sid, notification: &Notification, out: &mut Vec<ElectionAction>) {
        let Some(running) = &mut self.running else { return };
        let theirs = CountedVote::new(notification, notification.version);
        let is_our_round = notification.round == self.round;
        if is_our_round {
            // Without its version, as in Java: within a round the leader alone decides, so that it does not matter who has
            // taken over the new epoch already.
            running.received.insert(from, CountedVote::new(notification, 0));
        }
        running.established.insert(from, theirs);
        let joins = (is_our_round && self.electorate_has(&theirs, |running| &running.received))
            || self.electorate_has(&theirs, |running| &running.established);
        if joins {
            self.round = notification.round;
            self.decide(notification.vote, out);
        }
    }

    /// Whether a quorum of `votes` agrees with `theirs` and the leader itself is among those who say that it leads.
    fn electorate_has(&self, theirs: &CountedVote, votes: fn(&Running) -> &BTreeMap<Sid, CountedVote>) -> bool {
        let (Some(running), Some(leader)) = (&self.running, theirs.vote.leader()) else { return false };
        let votes = votes(running);
        let leads = if leader == self.me {
            theirs.round == self.round
        } else {
            votes.get(&leader).is_some_and(|vote| vote.state == PeerState::Leading)
        };
        leads && self.electorate.is_quorum(|sid| votes.get(&sid).is_some_and(|vote| vote.agrees(theirs)))
    }

    /// Our proposal as a counted vote.
    pub(super) fn mine(&self) -> CountedVote {
        let (vote, round) = (self.proposal, self.round);
        CountedVote { vote, round, state: PeerState::Looking, version: 0, is_ringkeeper: true }
    }

    /// Another proposal, or the same in another round.
    fn adopt(&mut self, proposal: Vote, out: &mut Vec<ElectionAction>) {
        self.proposal = proposal;
        if let Some(running) = &mut self.running {
            running.decide_at = None;
        }
        self.propose(out);
    }

    /// Tells every voter our proposal; what we tell ourselves is counted at once.
    pub(super) fn propose(&mut self, out: &mut Vec<ElectionAction>) {
        for to in self.electorate.voters().iter().filter(|to| **to != self.me) {
            self.send(*to, self.proposal, self.round, out);
        }
        let mine = self.mine();
        let counts = self.electorate.is_voter(self.me) && self.proposal.leader().is_some();
        if let Some(running) = &mut self.running
            && counts
            && running.initial.zxid != ABSTAINING
        {
            running.received.insert(self.me, mine);
        }
    }

    /// Decides for our proposal when a quorum agrees with it and there is nothing to wait for any more. Only voters do: those
    /// who look tell others nothing but whom they had, so an observer would elect the leader that has just died.
    pub(super) fn settle(&mut self, now: Millis, out: &mut Vec<ElectionAction>) {
        let mine = self.mine();
        let is_unanimous = self.is_unanimous();
        let settle_ms = self.settings.settle_ms;
        let Some(running) = self.running.as_mut().filter(|_| self.electorate.is_voter(self.me)) else { return };
        if !self.electorate.is_quorum(|sid| running.received.get(&sid).is_some_and(|vote| vote.agrees(&mine))) {
            running.decide_at = None;
            return;
        }
        let decide_at = *running.decide_at.get_or_insert(now.plus(settle_ms));
        if is_unanimous || now >= decide_at {
            self.decide(self.proposal, out);
        }
    }

    /// Whether every voter that can be reached, and the proposed leader among them, is one of us and wants our proposal.
    fn is_unanimous(&self) -> bool {
        let Some(running) = &self.running else { return false };
        let mine = self.mine();
        let supports = |vote: &CountedVote| {
            let has_it = vote.state != PeerState::Looking && vote.round == mine.round;
            vote.agrees(&mine) || (has_it && vote.vote.leader == mine.vote.leader)
        };
        self.electorate.voters().iter().all(|sid| match running.received.get(sid) {
            Some(vote) if supports(vote) => vote.is_ringkeeper,
            _ => self.unreachable.contains(sid),
        }) && !self.unreachable.iter().any(|sid| mine.vote.is_for(*sid))
    }

    fn decide(&mut self, vote: Vote, out: &mut Vec<ElectionAction>) {
        let leader = vote.leader().expect("only votes for voters are counted");
        self.current = vote;
        self.current_round = self.round;
        self.state = self.state_under(leader);
        self.running = None;
        out.push(ElectionAction::Elected { leader, vote, round: self.round });
        for asker in core::mem::take(&mut self.askers) {
            self.send(asker, self.current, self.round, out);
        }
    }
}
