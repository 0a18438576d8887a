//! One leader per epoch, and a leader soon after a quorum can talk.

use std::collections::BTreeMap;

use crate::sim::network::NodeId;
use crate::sim::schedule::{MILLI, Micros};

/// Epochs and who led them.
#[derive(Debug, Default)]
pub struct Leadership {
    leaders: BTreeMap<u64, NodeId>,
    /// The bound within which there must be a leader, if one is set.
    bound: Option<Micros>,
    /// Since when a quorum could talk without having a leader.
    leaderless_since: Option<Micros>,
    can_talk: bool,
    has_leader: bool,
}

impl Leadership {
    /// From now on a quorum that can talk must have a leader within `bound`.
    pub fn expect_within(&mut self, bound: Micros) {
        self.bound = Some(bound);
    }

    /// A member leads an epoch.
    ///
    /// # Errors
    /// Another one did, or it was late.
    pub fn leads(&mut self, at: Micros, member: NodeId, epoch: u64) -> Result<(), String> {
        self.at(at)?;
        self.has_leader = true;
        self.leaderless_since = None;
        let leader = *self.leaders.entry(epoch).or_insert(member);
        if leader != member {
            return Err(format!("one leader per epoch: n{member} leads epoch {epoch}, n{leader} did before"));
        }
        Ok(())
    }

    /// Nobody leads any more.
    pub fn leader_is_gone(&mut self, at: Micros) {
        self.has_leader = false;
        self.update(at);
    }

    /// Whether the members that run and reach each other, in both directions, are a quorum.
    ///
    /// # Errors
    /// They were for longer than the bound, without a leader.
    pub fn quorum_can_talk(&mut self, at: Micros, can_talk: bool) -> Result<(), String> {
        self.at(at)?;
        self.can_talk = can_talk;
        self.update(at);
        Ok(())
    }

    /// Time has passed.
    ///
    /// # Errors
    /// A quorum can talk for longer than the bound, without a leader.
    pub fn at(&self, at: Micros) -> Result<(), String> {
        let late = |since: &Micros| self.bound.is_some_and(|bound| at > since + bound);
        match self.leaderless_since.filter(late) {
            Some(since) => Err(format!("leadership: a quorum can talk since {} ms and has no leader", since / MILLI)),
            None => Ok(()),
        }
    }

    fn update(&mut self, at: Micros) {
        if !self.can_talk || self.has_leader {
            self.leaderless_since = None;
        } else if self.leaderless_since.is_none() {
            self.leaderless_since = Some(at);
        }
    }
}
