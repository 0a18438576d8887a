//! Paxos for one decision: members agree on one of the proposed values, whatever is lost, late, or forgotten but
//! durable.
//!
//! ```text
//! proposer   Prepare(ballot) ──> acceptors     a quorum promises: the value accepted under the highest ballot, or ours
//!            Accept(ballot, value) ──>         accepted by a quorum: decided
//!            Learn(value) ──> all
//! acceptor   Prepare above all it promised ──> Promise, with what it accepted;   else Refuse
//!            Accept not below its promise  ──> Accepted;                          else Refuse
//! ```
//!
//! Flow       events go in, `Action`s come out. The shell writes each `Persist` and says `on_durable`.
//! Invariant  nothing is said before the disk holds what it rests on: a promise, an acceptance, and the proposer's own
//!            round, or a ballot could be used twice, for two values. Any two quorums have a member in common.
//! Absent     time: the shell calls `propose` again when it is tired of waiting, and each time the ballot rises.
//!
//! In Zab's words: prepare and promise are discovery by epoch, accept and accepted a proposal and its ACK, learn
//! COMMIT.

pub mod member;
pub mod quorum;
pub mod register;
#[cfg(test)]
mod tests;
pub mod trial;

use std::collections::{BTreeSet, VecDeque};
use std::fmt;

/// Number of a member.
pub type Member = u64;
/// What is decided on.
pub type Value = u64;

/// A try to decide. No two proposers share one, and no proposer uses one twice.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ballot {
    /// Rises with every try; zero is below all.
    pub round: u64,
    /// Whose try it is.
    pub member: Member,
}

impl fmt::Debug for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.round, self.member)
    }
}

/// What members say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// Will you follow this ballot and none below?
    Prepare(Ballot),
    /// We will; this we have accepted under the highest ballot so far.
    Promise(Ballot, Option<(Ballot, Value)>),
    /// Then accept this value.
    Accept(Ballot, Value),
    /// We have.
    Accepted(Ballot),
    /// We have promised a higher one.
    Refuse {
        /// What was asked for.
        ballot: Ballot,
        /// What we promised.
        promised: Ballot,
    },
    /// This is decided.
    Learn(Value),
}

/// What a member must not forget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Record {
    /// The highest round of its own ballots.
    pub round: u64,
    /// The highest ballot that it promised to follow.
    pub promised: Ballot,
    /// What it accepted, under the highest ballot.
    pub accepted: Option<(Ballot, Value)>,
}

/// What the shell shall do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this, to ourselves perhaps.
    Send(Member, Message),
    /// Make the record durable, and say `on_durable` with its version. A newer one may be written in its place.
    Persist(u64, Record),
    /// The value is decided, and stays it.
    Decide(Value),
}

/// A fault of ours, put in to see that it is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Bug {
    /// None.
    #[default]
    None,
    /// The acceptor answers before its disk has.
    AckBeforeDisk,
    /// A restart forgets the promise.
    ForgetPromise,
    /// A restart forgets what was accepted.
    ForgetAccepted,
    /// Half of the members count as a quorum.
    MinorityQuorum,
    /// The proposer proposes its own value whatever was accepted.
    IgnoreAcceptedValue,
    /// The proposer takes the value accepted under the lowest ballot.
    LowestAccepted,
    /// The acceptor accepts below its promise.
    AcceptBelowPromise,
    /// The acceptor promises below its promise.
    PromiseBelow,
    /// The proposer counts acceptances of its earlier ballots.
    CountAnyBallot,
    /// A proposer tries again, for another value, under the same ballot, as long as it knows of none above.
    ReuseBallot,
    /// A restart forgets the own round.
    ForgetRound,
}

impl Bug {
    /// Every bug.
    pub const ALL: [Bug; 11] = [
        Self::AckBeforeDisk,
        Self::ForgetPromise,
        Self::ForgetAccepted,
        Self::MinorityQuorum,
        Self::IgnoreAcceptedValue,
        Self::LowestAccepted,
        Self::AcceptBelowPromise,
        Self::PromiseBelow,
        Self::CountAnyBallot,
        Self::ReuseBallot,
        Self::ForgetRound,
    ];
}

/// A member: proposer, acceptor and learner.
pub struct Paxos<Q> {
    member: Member,
    members: Vec<Member>,
    is_quorum: Q,
    bug: Bug,
    record: Record,
    /// Version of `record`, and the last that is durable.
    version: u64,
    durable: u64,
    /// What may be said when a version is durable, in order.
    waiting: VecDeque<(u64, Member, Message)>,
    /// The highest round heard of.
    round_seen: u64,
    attempt: Option<Attempt>,
    decided: Option<Value>,
}

/// Our own ballot.
#[derive(Debug)]
struct Attempt {
    ballot: Ballot,
    /// What we would like.
    wish: Value,
    /// Who has promised, or accepted when there is a value.
    votes: BTreeSet<Member>,
    /// What was accepted under the highest ballot that a promise told of.
    accepted: Option<(Ballot, Value)>,
    /// What we asked to accept.
    value: Option<Value>,
}

impl<Q: Fn(&BTreeSet<Member>) -> bool> Paxos<Q> {
    /// A member that starts on what its disk holds.
    pub fn new(member: Member, members: Vec<Member>, is_quorum: Q, mut record: Record, bug: Bug) -> Self {
        match bug {
            Bug::ForgetPromise => record.promised = Ballot::default(),
            Bug::ForgetAccepted => record.accepted = None,
            Bug::ForgetRound => record.round = 0,
            _ => {}
        }
        Self {
            member,
            members,
            is_quorum,
            bug,
            record,
            version: 0,
            durable: 0,
            waiting: VecDeque::new(),
            round_seen: if bug == Bug::ForgetRound { 0 } else { record.promised.round },
            attempt: None,
            decided: None,
        }
    }

    /// What was decided, as far as this member has learned since its start.
    pub fn decided(&self) -> Option<Value> {
        self.decided
    }

    /// Tries to have a value decided, under a ballot above all that were heard of. An earlier try is given up.
    pub fn propose(&mut self, wish: Value, out: &mut Vec<Action>) {
        let has_ballot = self.record.round > 0 && self.round_seen <= self.record.round;
        let keeps = self.bug == Bug::ReuseBallot && has_ballot;
        let round = self.round_seen.max(self.record.round) + u64::from(!keeps);
        let ballot = Ballot { round, member: self.member };
        self.round_seen = round;
        self.record.round = round;
        self.persist(out);
        self.attempt = Some(Attempt { ballot, wish, votes: BTreeSet::new(), accepted: None, value: None });
        for index in 0..self.members.len() {
            self.say(self.members[index], Message::Prepare(ballot), out);
        }
    }

    /// Takes one message.
    pub fn on_message(&mut self, from: Member, message: Message, out: &mut Vec<Action>) {
        match message {
            Message::Prepare(ballot) => self.on_prepare(from, ballot, out),
            Message::Promise(ballot, accepted) => self.on_promise(from, ballot, accepted, out),
            Message::Accept(ballot, value) => self.on_accept(from, ballot, value, out),
            Message::Accepted(ballot) => self.on_accepted(from, ballot, out),
            Message::Refuse { promised, .. } => {
                // The bug is to keep a ballot, not to stay below a rival of the same round.
                let above = u64::from(self.bug == Bug::ReuseBallot);
                self.round_seen = self.round_seen.max(promised.round + above);
            }
            Message::Learn(value) => self.decide(value, out),
        }
        self.check();
    }

    /// The disk's word that this version of the record, or a later one, survives a crash.
    pub fn on_durable(&mut self, version: u64, out: &mut Vec<Action>) {
        assert!(version <= self.version, "the disk confirms {version}, the last is {}", self.version);
        self.durable = self.durable.max(version);
        while let Some(&(needs, to, message)) = self.waiting.front()
            && needs <= self.durable
        {
            self.waiting.pop_front();
            out.push(Action::Send(to, message));
        }
    }

    fn on_prepare(&mut self, from: Member, ballot: Ballot, out: &mut Vec<Action>) {
        self.round_seen = self.round_seen.max(ballot.round);
        if ballot < self.record.promised && self.bug != Bug::PromiseBelow {
            return self.say(from, Message::Refuse { ballot, promised: self.record.promised }, out);
        }
        if ballot != self.record.promised {
            self.record.promised = ballot;
            self.persist(out);
        }
        self.say(from, Message::Promise(ballot, self.record.accepted), out);
    }

    fn on_accept(&mut self, from: Member, ballot: Ballot, value: Value, out: &mut Vec<Action>) {
        self.round_seen = self.round_seen.max(ballot.round);
        if ballot < self.record.promised && self.bug != Bug::AcceptBelowPromise {
            return self.say(from, Message::Refuse { ballot, promised: self.record.promised }, out);
        }
        if self.record.accepted != Some((ballot, value)) {
            // Accepting is a promise too, for who missed the Prepare.
            self.record.promised = self.record.promised.max(ballot);
            self.record.accepted = Some((ballot, value));
            self.persist(out);
        }
        self.say(from, Message::Accepted(ballot), out);
    }

    fn on_promise(&mut self, from: Member, ballot: Ballot, told: Option<(Ballot, Value)>, out: &mut Vec<Action>) {
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.ballot == ballot) else { return };
        if attempt.value.is_some() {
            return; // A quorum has promised already, and we have asked for a value.
        }
        attempt.votes.insert(from);
        attempt.accepted = match self.bug {
            Bug::LowestAccepted => [attempt.accepted, told].into_iter().flatten().min(),
            _ => attempt.accepted.max(told),
        };
        if !(self.is_quorum)(&attempt.votes) {
            return;
        }
        let bound = attempt.accepted.filter(|_| self.bug != Bug::IgnoreAcceptedValue);
        let value = bound.map_or(attempt.wish, |(_, value)| value);
        attempt.value = Some(value);
        attempt.votes.clear();
        for index in 0..self.members.len() {
            self.say(self.members[index], Message::Accept(ballot, value), out);
        }
    }

    fn on_accepted(&mut self, from: Member, ballot: Ballot, out: &mut Vec<Action>) {
        let any = self.bug == Bug::CountAnyBallot;
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.ballot == ballot || any) else { return };
        let Some(value) = attempt.value else { return };
        attempt.votes.insert(from);
        if (self.is_quorum)(&attempt.votes) {
            self.attempt = None;
            self.decide(value, out);
            for &to in self.members.iter().filter(|&&to| to != self.member) {
                out.push(Action::Send(to, Message::Learn(value)));
            }
        }
    }

    fn decide(&mut self, value: Value, out: &mut Vec<Action>) {
        // Told again, for whoever listens to judge: no assertion here, or nobody would hear of two values.
        self.decided = Some(value);
        out.push(Action::Decide(value));
    }

    fn persist(&mut self, out: &mut Vec<Action>) {
        self.version += 1;
        out.push(Action::Persist(self.version, self.record));
    }

    /// Says it when all that is recorded now is durable.
    fn say(&mut self, to: Member, message: Message, out: &mut Vec<Action>) {
        let is_answer = matches!(message, Message::Promise(..) | Message::Accepted(_));
        if self.version <= self.durable || (is_answer && self.bug == Bug::AckBeforeDisk) {
            out.push(Action::Send(to, message));
        } else {
            self.waiting.push_back((self.version, to, message));
        }
    }

    fn check(&self) {
        assert!(self.durable <= self.version, "durable {} before it was recorded", self.durable);
        if self.bug == Bug::None {
            let accepted = self.record.accepted.map(|(ballot, _)| ballot);
            assert!(accepted.is_none_or(|ballot| ballot <= self.record.promised), "accepted above {:?}", self.record);
        }
    }
}
