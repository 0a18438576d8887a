//! Fast leader election: servers without a leader tell each other whom they would follow, until a quorum names the same.
//!
//! Flow       `start` -> votes to all voters; a vote that beats ours becomes ours and goes to all; a quorum for ours ->
//!            a moment for a better vote to arrive -> `Elected`. Or: a quorum follows somebody who says that it leads ->
//!            `Elected`. Whoever asks while we have a leader is told who it is.
//! Invariant  only votes of voters for voters are counted or kept, so nothing that strangers send takes memory; our own vote
//!            only gets better within a round; while we look, our proposal is what the others were last told.
//! Absent     promises. An election is a guess at who can lead: what makes it safe is that the leader must then win a quorum
//!            for a new epoch and must not be behind anyone of it. Hence nothing here is ever written to disk. Also absent:
//!            the oracle of ensembles of two, and giving up a leadership because of what voters say (Java's default is off).
//!
//! # Ending at once
//!
//! A quorum's votes may come in before the vote of a server with more history, so Java waits 200 ms once it has a quorum.
//! That is most of the time an election takes. Among Ringkeeper members it ends at once when nobody is left to wait for:
//! every voter that can be reached has voted for the same leader in the same round, or follows it already.
//!
//! Safe, because the wait never was a guarantee: whoever was unreachable may come back a moment after it with more history
//! than the winner, and Zab has to cope. No transaction is committed without the disks of a quorum; a new leader needs
//! ACKEPOCH of a quorum, so of one that has the transaction, and gives up when anyone of them is ahead of it. Electing too
//! early therefore costs no commit, only time: who gives up starts again, and by then has heard the better vote.
//!
//! Live, because "cannot be reached" is never final: who is heard again is waited for again, and who comes back when all is
//! over finds an established leader and joins it. Two servers may disagree on who can be reached. Then one of them waits
//! while the other already follows, as between two Java servers that heard the last vote at different times; the follower's
//! attempts to connect take longer than the wait. A proposed leader that cannot be reached ourselves never makes us hurry.
//! A Java voter that can be reached always brings the wait back, as Java does not know the shortcut.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use ids::{Epoch, Millis, Sid, Zxid};

use crate::config::EnsembleConfig;
use crate::electorate::Electorate;
use crate::vote::{ABSTAINING, CountedVote, NOTIFICATION_VERSION, Notification, PeerState, Vote, sid_to_wire};

mod counting;

/// Answers to servers that do not vote, per second. Two servers that both take the other for a stranger would otherwise
/// answer each other for ever. Enough for some hundred observers that all lose their leader at once, which ask again.
const STRANGER_ANSWERS_MAX: u32 = 1024;
/// Over which they are counted, ms.
const STRANGER_WINDOW_MS: i64 = 1000;
/// Servers without a vote that are told of the election's end without having to ask again.
const ASKERS_MAX: usize = 256;

/// How long things take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ElectionSettings {
    /// How long to wait for a better vote once a quorum agrees, ms (Java's finalizeWait).
    pub settle_ms: i64,
    /// Time until the vote is sent again, ms; doubles every time.
    pub resend_min_ms: i64,
    /// Where the doubling ends, ms.
    pub resend_max_ms: i64,
    /// Whether a newer configuration in a peer's notification is handed up (reconfigEnabled).
    pub takes_newer_config: bool,
}

impl Default for ElectionSettings {
    fn default() -> ElectionSettings {
        ElectionSettings { settle_ms: 200, resend_min_ms: 200, resend_max_ms: 60_000, takes_newer_config: false }
    }
}

/// What this server has to show for itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidacy {
    /// The last transaction in its log; after a reign, the epoch's first zxid. `None`: its data is gone, it abstains.
    pub last: Option<Zxid>,
    /// The last epoch whose history it took over.
    pub current_epoch: Epoch,
}

/// What the election wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ElectionAction {
    /// Tell `to`. Never ourselves.
    Send {
        /// Whom.
        to: Sid,
        /// What.
        notification: Notification,
    },
    /// Dial whoever has no connection.
    ConnectAll,
    /// The election is over: lead when it is us, follow or observe otherwise.
    Elected {
        /// Whom to follow.
        leader: Sid,
        /// The vote that won.
        vote: Vote,
        /// The round in which it did.
        round: i64,
    },
    /// A peer knows a newer committed configuration. `on_config` when it is accepted.
    NewerConfig(Arc<EnsembleConfig>),
}

/// What is only there while an election runs.
#[derive(Debug)]
struct Running {
    /// With which it was started.
    candidacy: Candidacy,
    /// What we voted for before we heard anybody.
    initial: Vote,
    /// Votes of this round, ours included (Java's recvset).
    received: BTreeMap<Sid, CountedVote>,
    /// What those say who have a leader, whatever their round (Java's outofelection).
    established: BTreeMap<Sid, CountedVote>,
    /// When our proposal wins unless something better comes. Set while a quorum agrees with it.
    decide_at: Option<Millis>,
    resend_at: Millis,
    resend_interval_ms: i64,
}

/// One server's part in elections, and its answers in between.
#[derive(Debug)]
pub struct Election {
    me: Sid,
    settings: ElectionSettings,
    electorate: Electorate,
    /// The committed configuration's text, which goes with every notification.
    config_text: Arc<str>,
    state: PeerState,
    /// Java's logical clock. Only in memory; never decreases but with a new configuration.
    round: i64,
    /// Whom we want, as we told everybody.
    proposal: Vote,
    /// Whom we have; before the first election ourselves.
    current: Vote,
    /// The round that chose it.
    current_round: i64,
    running: Option<Running>,
    /// What voters said between the end of a reign and `start`. One each.
    early: BTreeMap<Sid, Notification>,
    /// Voters that nobody need wait for.
    unreachable: BTreeSet<Sid>,
    /// The newest configuration that was handed up.
    handed_up: u64,
    stranger_answers: u32,
    stranger_window_end: Millis,
    /// Observers of ours that asked while we looked. Java's have to ask again, up to a minute later.
    askers: BTreeSet<Sid>,
}

impl Election {
    /// Of server `me`, which is looking but does nothing before `start`.
    pub fn new(
        me: Sid,
        committed: Arc<EnsembleConfig>,
        last_seen: Option<Arc<EnsembleConfig>>,
        candidacy: Candidacy,
        settings: ElectionSettings,
    ) -> Election {
        assert!(settings.settle_ms >= 0 && settings.resend_min_ms > 0, "settings are checked when they are read");
        let config_text = committed.to_text().into();
        let electorate = Electorate::new(committed, last_seen);
        let mut election = Election {
            me,
            settings,
            electorate,
            config_text,
            state: PeerState::Looking,
            round: 0,
            proposal: Vote::NONE,
            current: Vote::NONE,
            current_round: -1,
            running: None,
            early: BTreeMap::new(),
            unreachable: BTreeSet::new(),
            handed_up: 0,
            stranger_answers: 0,
            stranger_window_end: Millis::default(),
            askers: BTreeSet::new(),
        };
        election.current = Vote { leader: sid_to_wire(me), ..election.facts(candidacy) };
        election.proposal = election.initial_vote(candidacy);
        election.check();
        election
    }

    /// Looks for a leader, in a new round: after start-up, and whenever there is none any more.
    pub fn start(&mut self, candidacy: Candidacy, now: Millis, out: &mut Vec<ElectionAction>) {
        self.state = PeerState::Looking;
        // At the end of the numbers votes of two rounds look alike, which costs time and nothing else.
        self.round = self.round.saturating_add(1);
        let initial = self.initial_vote(candidacy);
        self.proposal = initial;
        self.running = Some(Running {
            candidacy,
            initial,
            received: BTreeMap::new(),
            established: BTreeMap::new(),
            decide_at: None,
            resend_at: now.plus(self.settings.resend_min_ms),
            resend_interval_ms: self.settings.resend_min_ms,
        });
        self.propose(out);
        self.settle(now, out);
        for (from, notification) in core::mem::take(&mut self.early) {
            self.on_notification(from, &notification, now, out);
        }
        self.check();
    }

    /// What `from` says. In every state; from anybody.
    pub fn on_notification(
        &mut self,
        from: Sid,
        notification: &Notification,
        now: Millis,
        out: &mut Vec<ElectionAction>,
    ) {
        if from == self.me {
            return; // Our own votes are counted as they are cast; this is somebody with our number.
        }
        self.unreachable.remove(&from);
        if self.hands_up_config(notification, out) {
            return;
        }
        let is_looking = notification.state == PeerState::Looking;
        if !self.electorate.is_voter(from) {
            self.answer_stranger(from, notification.is_ringkeeper, now, out);
        } else if self.state != PeerState::Looking {
            if is_looking {
                self.send(from, self.current, self.current_round, out);
            }
        } else {
            if is_looking && notification.round < self.round {
                self.send(from, self.proposal, self.round, out);
            }
            self.count(from, notification, now, out);
            // One of ours that began to look a moment after us has dropped our vote, as it had a leader then. Java waits
            // until it is sent again; nobody answers an answer, as the better of two votes is one.
            let is_behind = self.state == PeerState::Looking
                && notification.is_ringkeeper
                && is_looking
                && notification.round == self.round
                && notification.vote < self.proposal;
            if is_behind {
                self.send(from, self.proposal, self.round, out);
            }
        }
        self.check();
    }

    /// The clock has reached `next_deadline`, or anything else made the caller look.
    pub fn on_tick(&mut self, now: Millis, out: &mut Vec<ElectionAction>) {
        self.settle(now, out);
        let Some(running) = &mut self.running else { return };
        if now >= running.resend_at {
            running.resend_interval_ms = running.resend_interval_ms.saturating_mul(2).min(self.settings.resend_max_ms);
            running.resend_at = now.plus(running.resend_interval_ms);
            // Both, where Java has one or the other: what is queued already is merely replaced by itself.
            out.push(ElectionAction::ConnectAll);
            self.propose(out);
        }
        self.check();
    }

    /// When `on_tick` has something to do, if nothing else happens.
    pub fn next_deadline(&self) -> Option<Millis> {
        let running = self.running.as_ref()?;
        Some(running.decide_at.map_or(running.resend_at, |at| at.min(running.resend_at)))
    }

    /// Whether `sid` can be reached at the moment: there is a connection, or it is not yet known that none can be made.
    pub fn on_reachable(&mut self, sid: Sid, is_reachable: bool, now: Millis, out: &mut Vec<ElectionAction>) {
        if is_reachable {
            self.unreachable.remove(&sid);
        } else if self.electorate.is_voter(sid) && sid != self.me {
            self.unreachable.insert(sid);
            self.settle(now, out);
        }
        self.check();
    }

    /// `sid` has failed detection: nobody waits for it until it is heard again.
    pub fn on_suspect(&mut self, sid: Sid, now: Millis, out: &mut Vec<ElectionAction>) {
        self.on_reachable(sid, false, now, out);
    }

    /// Another configuration is committed or proposed. With other members the rounds begin again from nothing, and an
    /// election that is under way begins anew.
    pub fn on_config(
        &mut self,
        committed: Arc<EnsembleConfig>,
        last_seen: Option<Arc<EnsembleConfig>>,
        now: Millis,
        out: &mut Vec<ElectionAction>,
    ) {
        let next = Electorate::new(committed, last_seen);
        let is_other = !next.committed().is_same_membership(self.electorate.committed());
        if is_other {
            self.round = 0;
        }
        let changes = is_other || next.proposed() != self.electorate.proposed();
        self.config_text = next.committed().to_text().into();
        self.electorate = next;
        let electorate = &self.electorate;
        self.early.retain(|sid, _| electorate.is_voter(*sid));
        self.unreachable.retain(|sid| electorate.is_voter(*sid));
        if let Some(candidacy) = self.running.as_ref().filter(|_| changes).map(|running| running.candidacy) {
            self.start(candidacy, now, out);
        }
        self.check();
    }

    /// This server has taken over the history of `epoch`, or leads it. From now on it says so: who comes late can only count
    /// equal votes.
    pub fn refresh_epoch(&mut self, epoch: Epoch) {
        self.current.epoch = epoch.to_u32().into();
    }

    /// A reconfiguration named `leader`, and everybody takes its place without an election.
    pub fn designate(&mut self, leader: Sid, last: Zxid) {
        self.current = Vote { epoch: -1, zxid: last.to_wire(), leader: sid_to_wire(leader) };
        self.current_round = -1;
        self.running = None;
        self.state = self.state_under(leader);
        self.check();
    }

    /// What we are doing, as others are told.
    pub fn state(&self) -> PeerState {
        self.state
    }

    /// The leader that was elected or named last, and why; before that, this server.
    pub fn current_vote(&self) -> Vote {
        self.current
    }

    /// Whom we want, while we look.
    pub fn proposal(&self) -> Vote {
        self.proposal
    }

    /// The round that we are in, or were in last.
    pub fn round(&self) -> i64 {
        self.round
    }

    /// Who votes.
    pub fn electorate(&self) -> &Electorate {
        &self.electorate
    }

    /// Whether this server votes by its role. One that is in no configuration is a voter whom nobody counts.
    fn is_participant(&self) -> bool {
        self.electorate.committed().member(self.me).is_none_or(|member| !member.is_observer)
    }

    fn facts(&self, candidacy: Candidacy) -> Vote {
        let zxid = candidacy.last.map_or(ABSTAINING, Zxid::to_wire);
        Vote { epoch: candidacy.current_epoch.to_u32().into(), zxid, leader: Vote::NONE.leader }
    }

    fn initial_vote(&self, candidacy: Candidacy) -> Vote {
        let facts = if self.is_participant() { self.facts(candidacy) } else { Vote::NONE };
        let is_voter = self.electorate.committed().verifier().is_voter(self.me);
        Vote { leader: if is_voter { sid_to_wire(self.me) } else { Vote::NONE.leader }, ..facts }
    }

    fn state_under(&self, leader: Sid) -> PeerState {
        match self.is_participant() {
            _ if leader == self.me => PeerState::Leading,
            true => PeerState::Following,
            false => PeerState::Observing,
        }
    }

    /// Hands a newer configuration up, each version once. True when its members are others, so that the election goes on
    /// under it or, if it is not accepted, with the next notification.
    fn hands_up_config(&mut self, notification: &Notification, out: &mut Vec<ElectionAction>) -> bool {
        let is_asked = self.state == PeerState::Looking && self.settings.takes_newer_config;
        let Some(text) = notification.config.as_ref().filter(|text| is_asked && **text != self.config_text) else {
            return false;
        };
        // A text that is none is ignored, and the rest of the notification counts.
        let Ok(config) = EnsembleConfig::parse(text) else { return false };
        if config.version() <= self.handed_up.max(self.electorate.committed().version()) {
            return false;
        }
        self.handed_up = config.version();
        let is_other = !config.is_same_membership(self.electorate.committed());
        out.push(ElectionAction::NewerConfig(Arc::new(config)));
        is_other
    }

    /// Servers without a vote are always told what we have; while we look that is what we had, in the present round. Those
    /// of ours are told again when we have a leader.
    fn answer_stranger(&mut self, to: Sid, is_ringkeeper: bool, now: Millis, out: &mut Vec<ElectionAction>) {
        if now >= self.stranger_window_end {
            self.stranger_window_end = now.plus(STRANGER_WINDOW_MS);
            self.stranger_answers = 0;
        }
        if self.stranger_answers < STRANGER_ANSWERS_MAX {
            self.stranger_answers += 1;
            self.send(to, self.current, self.round, out);
            if is_ringkeeper && self.running.is_some() && self.askers.len() < ASKERS_MAX {
                self.askers.insert(to);
            }
        }
    }

    fn send(&self, to: Sid, vote: Vote, round: i64, out: &mut Vec<ElectionAction>) {
        assert!(to != self.me, "what we tell ourselves does not leave");
        let notification = Notification {
            state: self.state,
            vote,
            round,
            version: NOTIFICATION_VERSION,
            config: Some(self.config_text.clone()),
            is_ringkeeper: true,
        };
        out.push(ElectionAction::Send { to, notification });
    }

    fn check(&self) {
        assert!(self.running.is_none() || self.state == PeerState::Looking, "who has a leader does not look");
        assert!(self.early.len() <= self.electorate.voters().len(), "only voters are heard early");
        assert!(self.unreachable.len() <= self.electorate.voters().len(), "only voters are waited for");
        if let Some(running) = &self.running {
            let is_voter = |sid: &Sid| self.electorate.is_voter(*sid);
            assert!(running.received.keys().chain(running.established.keys()).all(is_voter), "only voters count");
            let own = running.received.get(&self.me);
            assert!(own.is_none_or(|own| *own == self.mine()), "we count the vote that we told the others");
        }
    }
}

#[cfg(test)]
mod tests;
