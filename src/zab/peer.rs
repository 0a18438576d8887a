//! Peer: one member of the ensemble. Looks for a leader, then leads, follows or observes, until that ends.
//!
//! Flow       settling (the disk has spoken about everything) -> looking (election) -> leading | learning -> settling ...
//! Invariant  a member votes with what its disk holds, no more and no less: nothing of an earlier term is under way when
//!            an election begins (ZOOKEEPER-2845, 4712). One operation on epochs, cut or snapshot at a time.
//! Absent     clients and sessions; bytes; who dials whom on the election port (`switchboard`).
//!
//! Inputs are `on_<what happened>`, outputs are `Action`s. The shell hands a packet over only while `takes_packets`.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use ids::{Millis, Sid, Zxid};

use crate::config::EnsembleConfig;
use crate::election::{Candidacy, Election, ElectionAction, ElectionSettings};
use crate::history::History;
use crate::leader::{Handler, Leader};
use crate::learner::{Learner, Pupil};
use crate::message::{LinkId, Packet};
use crate::outbox::{Action, CloseReason, Epochs, News, Outbox, Standing};
use crate::settings::Limits;
use crate::sync::Located;
use crate::vote::Notification;

/// Learners that may wait for this member to find out that it leads.
const EARLY_MAX: usize = 64;

/// How long they wait.
const EARLY_MS: i64 = 1000;

/// What a member is doing.
#[derive(Debug)]
enum Part {
    /// Waits for its disk.
    Settling,
    /// Takes part in an election.
    Looking,
    /// Leads.
    Leading(Box<Leader>),
    /// Follows or observes.
    Learning(Box<Learner>),
}

/// What is known when a member starts.
#[derive(Debug)]
pub struct Start {
    /// Who it is.
    pub me: Sid,
    /// The ensemble.
    pub config: Arc<EnsembleConfig>,
    /// Time limits of elections.
    pub election: ElectionSettings,
    /// Time limits of terms.
    pub limits: Limits,
    /// What its disk says about epochs.
    pub epochs: Epochs,
    /// The last transaction that its disk holds; all are applied.
    pub last: Zxid,
}

/// See the head of the file.
#[derive(Debug)]
pub struct Peer {
    me: Sid,
    is_observer: bool,
    config: Arc<EnsembleConfig>,
    limits: Limits,
    epochs: Epochs,
    history: History,
    election: Election,
    part: Part,
    /// Operations of the disk besides appending that have not ended.
    saving: Option<Epochs>,
    is_cutting: bool,
    is_loading: bool,
    is_reloading: bool,
    /// The state in memory is a snapshot's that was not adopted.
    must_reload: bool,
    wants_all: bool,
    next_link: u64,
    /// Learners that came before this member knew that it leads.
    early: BTreeMap<LinkId, (Vec<Packet>, Millis)>,
}

impl Peer {
    /// A member that has just started. It looks for a leader at the first tick.
    pub fn new(start: Start) -> Peer {
        let Start { me, config, election, limits, epochs, last } = start;
        let candidacy = Candidacy { last: Some(last), current_epoch: epochs.current };
        let election = Election::new(me, Arc::clone(&config), None, candidacy, election);
        Peer {
            me,
            is_observer: !config.voters().contains(&me),
            config,
            limits,
            epochs,
            history: History::new(last),
            election,
            part: Part::Settling,
            saving: None,
            is_cutting: false,
            is_loading: false,
            is_reloading: false,
            must_reload: false,
            wants_all: false,
            next_link: 1,
            early: BTreeMap::new(),
        }
    }

    /// Who it is.
    pub fn me(&self) -> Sid {
        self.me
    }

    /// The epochs that its disk holds.
    pub fn epochs(&self) -> Epochs {
        self.epochs
    }

    /// What it has logged.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The ensemble.
    pub fn config(&self) -> &Arc<EnsembleConfig> {
        &self.config
    }

    /// The election, to be told who can be reached.
    pub fn election(&self) -> &Election {
        &self.election
    }

    /// Whether it leads and takes proposals.
    pub fn is_leading(&self) -> bool {
        matches!(&self.part, Part::Leading(leader) if leader.is_active())
    }

    /// Whom it follows or observes, once it is in step.
    pub fn leader(&self) -> Option<Sid> {
        match &self.part {
            Part::Leading(leader) if leader.is_active() => Some(self.me),
            Part::Learning(learner) if learner.is_serving() => Some(learner.leader()),
            _ => None,
        }
    }

    /// The leader's record of each learner; empty at others.
    pub fn handlers(&self) -> impl Iterator<Item = (LinkId, &Handler)> {
        let leader = if let Part::Leading(leader) = &self.part { Some(leader) } else { None };
        leader.into_iter().flat_map(|leader| leader.handlers())
    }

    /// The protocol's word for what it does, as operators know it.
    pub fn part_name(&self) -> &'static str {
        match &self.part {
            Part::Settling | Part::Looking => "leaderelection",
            Part::Leading(leader) if leader.is_active() => "leading",
            Part::Leading(_) => "leading - discovery or synchronization",
            Part::Learning(learner) => match (self.is_observer, learner.is_serving()) {
                (false, true) => "following - broadcast",
                (false, false) => "following - discovery or synchronization",
                (true, true) => "observing - broadcast",
                (true, false) => "observing - discovery or synchronization",
            },
        }
    }

    /// A name for a link that somebody has opened to this member.
    pub fn new_link(&mut self) -> LinkId {
        let link = LinkId(self.next_link);
        self.next_link += 1;
        link
    }

    /// Whether the next packet of a link may be handed over.
    pub fn takes_packets(&self, link: LinkId) -> bool {
        match &self.part {
            Part::Learning(learner) if learner.link() == link => learner.takes_packets(),
            _ => true,
        }
    }

    /// A packet has come.
    pub fn on_packet(&mut self, link: LinkId, packet: Packet, now: Millis, out: &mut Outbox) {
        match &mut self.part {
            Part::Leading(leader) => leader.on_packet(&mut self.history, link, packet, now, out),
            Part::Learning(learner) if learner.link() == link => {
                learner.on_packet(&mut self.history, self.epochs, packet, now, out);
            }
            Part::Learning(_) => out.push(Action::Close { link, reason: CloseReason::PartEnded }),
            Part::Settling | Part::Looking => self.keep_early(link, packet, now, out),
        }
        self.look_after(now, out);
    }

    /// Who follows this member before it knows that it leads is asked to wait a moment.
    fn keep_early(&mut self, link: LinkId, packet: Packet, now: Millis, out: &mut Outbox) {
        let is_first = !self.early.contains_key(&link);
        if !matches!(packet, Packet::Hello(_)) || !is_first || self.early.len() >= EARLY_MAX {
            self.early.remove(&link);
            return out.push(Action::Close { link, reason: CloseReason::PartEnded });
        }
        self.early.insert(link, (Vec::from([packet]), now));
    }

    /// The leader is reached over a link that this member has asked for.
    pub fn on_connected(&mut self, link: LinkId, now: Millis, out: &mut Outbox) {
        match &mut self.part {
            Part::Learning(learner) if learner.link() == link => learner.on_connected(self.epochs, now, out),
            _ => out.push(Action::Close { link, reason: CloseReason::PartEnded }),
        }
    }

    /// A link is gone, or could not be made.
    pub fn on_closed(&mut self, link: LinkId, now: Millis, out: &mut Outbox) {
        self.early.remove(&link);
        match &mut self.part {
            Part::Leading(leader) => leader.on_closed(link),
            Part::Learning(learner) if learner.link() == link => learner.on_closed(now),
            _ => {}
        }
        self.look_after(now, out);
    }

    /// Everything that was sent on a link has left.
    pub fn on_drained(&mut self, link: LinkId, out: &mut Outbox) {
        if let Part::Leading(leader) = &mut self.part {
            leader.on_drained(&mut self.history, link, out);
        }
    }

    /// The log holds everything up to here.
    pub fn on_durable(&mut self, upto: Zxid, now: Millis, out: &mut Outbox) {
        self.history.on_durable(upto);
        match &mut self.part {
            Part::Leading(leader) => leader.on_durable(&mut self.history, now, out),
            Part::Learning(learner) => learner.on_durable(&self.history, self.epochs, out),
            Part::Settling | Part::Looking => {}
        }
        self.look_after(now, out);
    }

    /// Epochs are on disk.
    ///
    /// # Panics
    /// If none were to be saved.
    pub fn on_saved(&mut self, now: Millis, out: &mut Outbox) {
        let before = self.epochs;
        self.epochs = self.saving.take().expect("somebody has asked for it");
        match &mut self.part {
            Part::Leading(leader) => leader.on_saved(&mut self.history, now, out),
            Part::Learning(learner) => learner.on_saved(&self.history, before, now, out),
            Part::Settling | Part::Looking => {}
        }
        self.look_after(now, out);
    }

    /// The log is cut and ends with `kept`; `None` if it could not be.
    pub fn on_truncated(&mut self, kept: Option<Zxid>, now: Millis, out: &mut Outbox) {
        self.is_cutting = false;
        match &mut self.part {
            Part::Learning(learner) => learner.on_truncated(&mut self.history, kept, now, out),
            _ => {
                if let Some(kept) = kept {
                    self.history.truncate(kept);
                }
            }
        }
        self.look_after(now, out);
    }

    /// A snapshot is loaded and holds everything up to `last`; `None` if it could not be.
    pub fn on_snapshot(&mut self, last: Option<Zxid>, now: Millis, out: &mut Outbox) {
        self.is_loading = false;
        if let Part::Learning(learner) = &mut self.part {
            learner.on_snapshot(&mut self.history, last, now, out);
        }
        self.look_after(now, out);
    }

    /// The state is what the disk has, which ends with `last`.
    pub fn on_reloaded(&mut self, last: Zxid, now: Millis, out: &mut Outbox) {
        self.is_reloading = false;
        self.history.replace(last);
        self.look_after(now, out);
    }

    /// What the log on disk says.
    pub fn on_located(&mut self, link: LinkId, located: Located, out: &mut Outbox) {
        if let Part::Leading(leader) = &mut self.part {
            leader.on_located(&mut self.history, link, located, out);
        }
    }

    /// A snapshot has been sent.
    pub fn on_snapshot_sent(&mut self, link: LinkId, zxid: Zxid, out: &mut Outbox) {
        if let Part::Leading(leader) = &mut self.part {
            leader.on_snapshot_sent(&mut self.history, link, zxid, out);
        }
    }

    /// A part of the log on disk has been sent.
    pub fn on_history_sent(&mut self, link: LinkId, upto: Zxid, out: &mut Outbox) {
        if let Part::Leading(leader) = &mut self.part {
            leader.on_history_sent(&mut self.history, link, upto, out);
        }
    }

    /// A learner asks to be told when everything proposed so far is committed: SYNC.
    pub fn on_sync(&mut self, link: LinkId, out: &mut Outbox) {
        if let Part::Leading(leader) = &mut self.part {
            leader.on_sync(&self.history, link, out);
        }
    }

    /// The leader's next proposal. `flush` sends what was proposed in a turn.
    ///
    /// # Panics
    /// If it doesn't lead, or the zxid does not follow.
    pub fn propose(&mut self, zxid: Zxid, entry: Bytes, now: Millis, out: &mut Outbox) {
        let Part::Leading(leader) = &mut self.part else { panic!("only a leader proposes") };
        leader.propose(&mut self.history, zxid, entry, now, out);
    }

    /// Sends what was proposed.
    pub fn flush(&mut self, out: &mut Outbox) {
        if let Part::Leading(leader) = &mut self.part {
            leader.flush(&self.history, out);
        }
    }

    /// A notification has come on the election port.
    pub fn on_notification(&mut self, from: Sid, notification: &Notification, now: Millis, out: &mut Outbox) {
        let mut votes = Vec::new();
        self.election.on_notification(from, notification, now, &mut votes);
        self.carry_out(votes, now, out);
        self.look_after(now, out);
    }

    /// Whether somebody's election port can be reached.
    pub fn on_reachable(&mut self, sid: Sid, is_reachable: bool, now: Millis, out: &mut Outbox) {
        let mut votes = Vec::new();
        self.election.on_reachable(sid, is_reachable, now, &mut votes);
        self.carry_out(votes, now, out);
        self.look_after(now, out);
    }

    /// Time has passed. To be called every few milliseconds, after each of which the member has looked at everything that
    /// has come: what a slow shell has not handed over must not count as silence.
    pub fn on_tick(&mut self, now: Millis, out: &mut Outbox) {
        let mut votes = Vec::new();
        self.election.on_tick(now, &mut votes);
        self.carry_out(votes, now, out);
        match &mut self.part {
            Part::Leading(leader) => leader.on_tick(&self.history, now, out),
            Part::Learning(learner) => learner.on_tick(now, out),
            Part::Settling | Part::Looking => {}
        }
        let late = |since: &Millis| now.to_i64() - since.to_i64() > EARLY_MS;
        let late: Vec<LinkId> =
            self.early.iter().filter(|(_, (_, since))| late(since)).map(|(link, _)| *link).collect();
        for link in late {
            self.early.remove(&link);
            out.push(Action::Close { link, reason: CloseReason::PartEnded });
        }
        self.look_after(now, out);
    }

    /// Gives leadership up, before a planned stop. Others are told by their connections.
    pub fn resign(&mut self, now: Millis, out: &mut Outbox) {
        if matches!(self.part, Part::Leading(_)) {
            self.end_part(out);
            self.look_after(now, out);
        }
    }

    fn carry_out(&mut self, votes: Vec<ElectionAction>, now: Millis, out: &mut Outbox) {
        for action in votes {
            match action {
                ElectionAction::Send { to, notification } => {
                    out.push(Action::Notify { to, notification: Box::new(notification) });
                }
                ElectionAction::ConnectAll => out.push(Action::ConnectAll),
                ElectionAction::NewerConfig(_) => {}
                ElectionAction::Elected { leader, .. } => self.on_elected(leader, now, out),
            }
        }
    }

    fn on_elected(&mut self, leader: Sid, now: Millis, out: &mut Outbox) {
        assert!(matches!(self.part, Part::Looking), "an election is between parts");
        out.push(Action::Tell(News::Elected { leader }));
        if leader == self.me {
            let config = Arc::clone(&self.config);
            let leader = Leader::new(self.me, self.limits, config, self.epochs, &self.history, now, out);
            self.part = Part::Leading(Box::new(leader));
            self.note_saves(out);
            for (link, (packets, _)) in core::mem::take(&mut self.early) {
                packets.into_iter().for_each(|packet| self.on_packet(link, packet, now, out));
            }
            return;
        }
        self.close_early(out);
        let pupil = Pupil {
            me: self.me,
            is_observer: self.is_observer,
            leader,
            link: self.new_link(),
            config_version: self.config.version(),
            wants_all: self.wants_all,
        };
        self.part = Part::Learning(Box::new(Learner::new(pupil, self.limits, now, out)));
    }

    fn close_early(&mut self, out: &mut Outbox) {
        for (link, _) in core::mem::take(&mut self.early) {
            out.push(Action::Close { link, reason: CloseReason::PartEnded });
        }
    }

    /// What every input ends with: operations that were asked for are noted, a part that is over ends, and a member that
    /// has settled looks for a leader.
    fn look_after(&mut self, now: Millis, out: &mut Outbox) {
        self.note_saves(out);
        let mut suspect = None;
        let ended = match &self.part {
            Part::Leading(leader) => leader.resigned().map(|reason| News::Resigns { reason }),
            Part::Learning(learner) => {
                let failure = learner.failure();
                if let Some(failure) = failure {
                    self.wants_all = failure.wants_all;
                    suspect = failure.is_suspect.then(|| learner.leader());
                } else if learner.is_serving() {
                    self.wants_all = false;
                }
                failure.map(|failure| News::LeftLeader { leader: learner.leader(), reason: failure.reason })
            }
            Part::Settling | Part::Looking => None,
        };
        if let Some(suspect) = suspect {
            let mut votes = Vec::new();
            self.election.on_suspect(suspect, now, &mut votes);
            assert!(votes.is_empty(), "no election is under way");
        }
        if let Some(news) = ended {
            out.push(Action::Tell(news));
            self.end_part(out);
        }
        self.refresh_vote();
        self.settle(now, out);
        self.check();
    }

    /// Notes what the last input has asked of the disk: nothing new begins before it has ended.
    fn note_saves(&mut self, out: &Outbox) {
        for action in out {
            match action {
                Action::SaveEpochs { epochs, .. } => self.saving = Some(*epochs),
                Action::Truncate { .. } => self.is_cutting = true,
                Action::ReceiveSnapshot { .. } => self.is_loading = true,
                _ => {}
            }
        }
    }

    fn end_part(&mut self, out: &mut Outbox) {
        match core::mem::replace(&mut self.part, Part::Settling) {
            Part::Leading(leader) => {
                for (link, _) in leader.handlers() {
                    out.push(Action::Close { link, reason: CloseReason::PartEnded });
                }
            }
            Part::Learning(learner) => {
                self.must_reload |= learner.is_adopting();
                out.push(Action::Close { link: learner.link(), reason: CloseReason::PartEnded });
            }
            Part::Settling | Part::Looking => {}
        }
        out.push(Action::Stand(Standing::Idle));
    }

    /// An established ensemble reports the epoch that it runs in (ZOOKEEPER-1732).
    fn refresh_vote(&mut self) {
        let epoch = match &self.part {
            Part::Leading(leader) if leader.is_active() => leader.epoch(),
            Part::Learning(learner) if learner.is_serving() => learner.epoch(),
            _ => return,
        };
        self.election.refresh_epoch(epoch);
    }

    fn settle(&mut self, now: Millis, out: &mut Outbox) {
        let is_busy = self.saving.is_some() || self.is_cutting || self.is_loading || self.is_reloading;
        if !matches!(self.part, Part::Settling) || is_busy {
            return;
        }
        if core::mem::take(&mut self.must_reload) {
            self.is_reloading = true;
            return out.push(Action::Reload);
        }
        if self.history.durable() < self.history.last() {
            return;
        }
        self.part = Part::Looking;
        let (last, epoch) = (self.history.last(), self.epochs.current);
        out.push(Action::Tell(News::Looking { last, epoch }));
        let mut votes = Vec::new();
        let candidacy = Candidacy { last: Some(last), current_epoch: epoch };
        self.election.start(candidacy, now, &mut votes);
        self.carry_out(votes, now, out);
    }

    fn check(&self) {
        assert!(self.epochs.current <= self.epochs.accepted, "an epoch is promised before it is taken");
        assert!(self.history.durable() <= self.history.last() && self.history.committed() <= self.history.last());
        if let Part::Leading(leader) = &self.part {
            assert!(!leader.is_active() || leader.epoch() == self.epochs.current, "a leader leads in its epoch");
        }
    }
}

#[cfg(test)]
mod tests;
