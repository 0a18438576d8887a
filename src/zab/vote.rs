//! Votes: who should lead and why, and what servers tell each other about it.
//!
//! Invariant  numbers are Java's signed ones as they stand on the wire: observers vote with `i64::MIN` throughout, a server
//!            that abstains has zxid -1, and both lose every comparison because they are negative.

use alloc::sync::Arc;

use ids::{Epoch, Sid, Zxid};

/// Of the vote of a server that does not vote.
const NOTHING: i64 = i64::MIN;
/// The zxid of a server that abstains: its data is gone and nobody said that it may begin empty.
pub(crate) const ABSTAINING: i64 = -1;

/// A proposal: this leader, because its history ends here. The order is the order of preference: epoch, zxid, sid.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Vote {
    /// The last epoch whose history the proposed leader took over (peerEpoch).
    pub epoch: i64,
    /// The last zxid of its history.
    pub zxid: i64,
    /// Its sid.
    pub leader: i64,
}

impl Vote {
    /// What those say who do not vote.
    pub const NONE: Vote = Vote { epoch: NOTHING, zxid: NOTHING, leader: NOTHING };

    /// For `leader`, whose history ends at `zxid` and whose current epoch is `epoch`.
    pub fn new(leader: Sid, zxid: Zxid, epoch: Epoch) -> Vote {
        Vote { epoch: epoch.to_u32().into(), zxid: zxid.to_wire(), leader: sid_to_wire(leader) }
    }

    /// The proposed leader; `None` when the vote is for nobody.
    pub fn leader(&self) -> Option<Sid> {
        u64::try_from(self.leader).ok().map(Sid::new)
    }

    /// Whether it is for `sid`.
    pub fn is_for(&self, sid: Sid) -> bool {
        self.leader() == Some(sid)
    }
}

/// A sid as it stands in a vote.
///
/// # Panics
/// Above `i64::MAX`, which no configuration lets through.
pub(crate) fn sid_to_wire(sid: Sid) -> i64 {
    i64::try_from(sid.to_u64()).expect("sids are not negative on the wire")
}

/// What a server is doing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PeerState {
    /// It has no leader and looks for one.
    Looking,
    /// It follows one, and votes.
    Following,
    /// It is the leader.
    Leading,
    /// It follows one without a vote.
    Observing,
}

impl PeerState {
    /// From the wire; `None` when there is no such state.
    pub const fn from_wire(raw: i32) -> Option<PeerState> {
        match raw {
            0 => Some(PeerState::Looking),
            1 => Some(PeerState::Following),
            2 => Some(PeerState::Leading),
            3 => Some(PeerState::Observing),
            _ => None,
        }
    }

    /// As on the wire.
    pub const fn to_wire(self) -> i32 {
        match self {
            PeerState::Looking => 0,
            PeerState::Following => 1,
            PeerState::Leading => 2,
            PeerState::Observing => 3,
        }
    }
}

/// The one message of elections: a server's state and vote. It is a report, so hearing it twice changes nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notification {
    /// What the sender is doing.
    pub state: PeerState,
    /// Whom it wants to lead, or whom it has.
    pub vote: Vote,
    /// The round of elections in which it voted so (electionEpoch).
    pub round: i64,
    /// Format of the message: 2, or 0 of old servers, which leave parts out.
    pub version: i32,
    /// The sender's committed configuration as text. Shared, because it goes to everybody.
    pub config: Option<Arc<str>>,
    /// Whether the sender is one of us. Java neither says it nor sees it.
    pub is_ringkeeper: bool,
}

/// The format that is sent today.
pub const NOTIFICATION_VERSION: i32 = 2;

/// A vote as it is counted: with the state in which it was reported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CountedVote {
    pub vote: Vote,
    pub round: i64,
    pub state: PeerState,
    pub version: i32,
    pub is_ringkeeper: bool,
}

impl CountedVote {
    pub fn new(notification: &Notification, version: i32) -> CountedVote {
        let Notification { state, vote, round, is_ringkeeper, .. } = *notification;
        CountedVote { vote, round, state, version, is_ringkeeper }
    }

    /// Whether both are votes for the same thing. Among those who look, everything must agree; among those who have a
    /// leader, the leader and its epoch, since they may have come to it in different rounds and with different zxids; and
    /// with old servers, which do not know their epoch, only the leader.
    pub fn agrees(&self, other: &CountedVote) -> bool {
        if self.state == PeerState::Looking || other.state == PeerState::Looking {
            return self.vote == other.vote && self.round == other.round;
        }
        let is_one_old = (self.version > 0) != (other.version > 0);
        self.vote.leader == other.vote.leader && (is_one_old || self.vote.epoch == other.vote.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote(epoch: u32, zxid: u64, leader: u64) -> Vote {
        Vote::new(Sid::new(leader), Zxid::from_u64(zxid), Epoch::new(epoch))
    }

    fn counted(state: PeerState, vote: Vote, round: i64, version: i32) -> CountedVote {
        CountedVote { vote, round, state, version, is_ringkeeper: false }
    }

    #[test]
    fn epoch_goes_before_zxid_and_zxid_before_sid() {
        assert!(vote(2, 0, 1) > vote(1, 9, 9));
        assert!(vote(1, 2, 1) > vote(1, 1, 9));
        assert!(vote(1, 1, 2) > vote(1, 1, 1));
    }

    #[test]
    fn who_does_not_vote_loses_to_everybody() {
        let abstaining = Vote { zxid: ABSTAINING, ..vote(0, 0, 9) };
        assert!(vote(0, 0, 0) > abstaining && abstaining > Vote::NONE);
        assert_eq!((Vote::NONE.leader(), abstaining.leader()), (None, Some(Sid::new(9))));
    }

    #[test]
    fn states_are_the_wires() {
        for raw in 0..4 {
            assert_eq!(PeerState::from_wire(raw).unwrap().to_wire(), raw);
        }
        assert_eq!((PeerState::from_wire(4), PeerState::from_wire(-1)), (None, None));
    }

    #[test]
    fn who_looks_must_agree_in_everything() {
        let mine = counted(PeerState::Looking, vote(1, 5, 3), 2, 2);
        assert!(mine.agrees(&counted(PeerState::Following, vote(1, 5, 3), 2, 2)));
        assert!(!mine.agrees(&counted(PeerState::Following, vote(1, 6, 3), 2, 2)));
        assert!(!mine.agrees(&counted(PeerState::Looking, vote(1, 5, 3), 3, 2)));
    }

    #[test]
    fn who_has_a_leader_must_agree_on_it_and_its_epoch() {
        let mine = counted(PeerState::Leading, vote(1, 5, 3), 2, 2);
        assert!(mine.agrees(&counted(PeerState::Following, vote(1, 6, 3), 9, 2)));
        assert!(!mine.agrees(&counted(PeerState::Following, vote(2, 5, 3), 2, 2)));
        assert!(!mine.agrees(&counted(PeerState::Following, vote(1, 5, 4), 2, 2)));
        assert!(
            mine.agrees(&counted(PeerState::Following, vote(2, 5, 3), 2, 0)),
            "old servers do not know their epoch"
        );
    }
}
