//! Leader: finds an epoch that nobody has promised away, brings learners to its history, orders proposals and commits
//! what a quorum holds.
//!
//! Flow       hellos of a quorum -> epoch on disk -> LEADERINFO -> promises of a quorum -> epoch taken -> history, NEWLEADER
//!            -> acknowledged by a quorum -> active: `propose` -> `flush` -> acknowledged by a quorum -> Deliver, COMMIT.
//! Invariant  nothing is committed that a quorum of the verifier does not hold on disk, counting an acknowledgement only
//!            on the link that it came on: a learner that comes back may have been told to forget. The own disk is one
//!            vote, given when it has spoken.
//! Absent     requests and sessions; bytes; retries: a learner that fails comes again.

mod handler;
mod tick;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use ids::{Epoch, Millis, Sid, Zxid};

pub use handler::{Handler, Stage};

use crate::config::EnsembleConfig;
use crate::history::History;
use crate::message::{Hello, LinkId, Packet};
use crate::outbox::{Action, CloseReason, Epochs, News, Outbox, Standing};
use crate::quorum::Verifier;
use crate::settings::Limits;
use crate::sync::{self, Located, Plan};

/// Links to learners, at most: seven voters, and observers.
pub const LEARNERS_MAX: usize = 512;

/// How far the term has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    /// Hellos are gathered.
    Gathering,
    /// The epoch is being written down as promised.
    Promising,
    /// Promises are gathered.
    Comparing,
    /// The epoch is being written down as taken.
    Taking,
    /// The history is being spread.
    Spreading,
    /// Proposals are taken.
    Active,
}

/// See the head of the file.
#[derive(Debug)]
pub struct Leader {
    me: Sid,
    limits: Limits,
    verifier: Verifier,
    config: Arc<EnsembleConfig>,
    phase: Phase,
    epoch: Epoch,
    /// What this member had when it was elected: nobody in the quorum may have more.
    start: (Epoch, Zxid),
    hellos: BTreeSet<Sid>,
    promised: BTreeSet<Sid>,
    taken: BTreeSet<Sid>,
    handlers: BTreeMap<LinkId, Handler>,
    /// The last that a quorum holds.
    committed: Zxid,
    /// Of the present phase, before it is active.
    deadline: Millis,
    check_at: Millis,
    /// When the own disk last said something, or had nothing to say.
    disk_progress_at: Millis,
    resigned: Option<&'static str>,
}

impl Leader {
    /// Of a member that was elected.
    pub fn new(
        me: Sid,
        limits: Limits,
        config: Arc<EnsembleConfig>,
        epochs: Epochs,
        history: &History,
        now: Millis,
        out: &mut Outbox,
    ) -> Leader {
        assert_eq!(history.durable(), history.last(), "nobody is elected for what is not on its disk");
        let mut leader = Leader {
            me,
            limits,
            verifier: config.verifier().clone(),
            config,
            phase: Phase::Gathering,
            epoch: next_epoch(epochs.accepted),
            start: (epochs.current, history.last()),
            hellos: BTreeSet::from([me]),
            promised: BTreeSet::new(),
            taken: BTreeSet::new(),
            handlers: BTreeMap::new(),
            committed: Zxid::ZERO,
            deadline: now.plus(limits.init_ms),
            check_at: now,
            disk_progress_at: now,
            resigned: None,
        };
        leader.fix_epoch(out);
        leader
    }

    /// Why it gives up, if it does. The caller looks after every input.
    pub fn resigned(&self) -> Option<&'static str> {
        self.resigned
    }

    /// Whether proposals are taken.
    pub fn is_active(&self) -> bool {
        self.phase == Phase::Active
    }

    /// The epoch, once it is active.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Every learner.
    pub fn handlers(&self) -> impl Iterator<Item = (LinkId, &Handler)> {
        self.handlers.iter().map(|(link, handler)| (*link, handler))
    }

    /// A packet of a link.
    pub fn on_packet(&mut self, history: &mut History, link: LinkId, packet: Packet, now: Millis, out: &mut Outbox) {
        let Some(handler) = self.handlers.get_mut(&link) else {
            return match packet {
                Packet::Hello(hello) => self.on_hello(link, &hello, now, out),
                _ => out.push(out_of_turn(link, &packet, "before its hello")),
            };
        };
        handler.heard = now;
        match (packet, handler.stage) {
            (Packet::AckEpoch { last, current_epoch }, Stage::Promising) => {
                (handler.last, handler.current_epoch) = (last, current_epoch);
                handler.stage = Stage::Promised;
                self.on_promise(history, link, now, out);
            }
            (Packet::Ack { zxid }, Stage::Streaming) => self.on_ack(history, link, zxid, now, out),
            (Packet::Pong { .. }, Stage::Streaming) if handler.has_taken => {}
            (packet, stage) => {
                self.handlers.remove(&link);
                out.push(out_of_turn(link, &packet, stage.name()));
            }
        }
    }

    /// The link is gone, and with it what its learner has acknowledged.
    pub fn on_closed(&mut self, link: LinkId) {
        self.handlers.remove(&link);
    }

    fn close(&mut self, link: LinkId, reason: CloseReason, out: &mut Outbox) {
        self.handlers.remove(&link);
        out.push(Action::Close { link, reason });
    }

    fn on_hello(&mut self, link: LinkId, hello: &Hello, now: Millis, out: &mut Outbox) {
        if hello.config_version > self.config.version() {
            return out.push(Action::Close { link, reason: CloseReason::NewerConfig });
        }
        let same = self.handlers.iter().find(|(_, handler)| handler.sid == hello.sid).map(|(link, _)| *link);
        if let Some(old) = same {
            self.close(old, CloseReason::Superseded, out);
        }
        if self.handlers.len() >= LEARNERS_MAX {
            return out.push(Action::Close { link, reason: CloseReason::TooMany });
        }
        self.handlers.insert(link, Handler::new(hello, now));
        let is_voter = !hello.is_observer && self.verifier.is_voter(hello.sid);
        if self.phase == Phase::Gathering {
            // Only voters have a say: an observer with a wild epoch must not use epochs up.
            if is_voter {
                self.epoch = self.epoch.max(next_epoch(hello.accepted_epoch));
                self.hellos.insert(hello.sid);
                self.fix_epoch(out);
            }
            return;
        }
        if is_voter && hello.accepted_epoch > self.epoch {
            // It can never be led in this epoch: it has promised a later one, to a leader that came to nothing.
            self.resigned = Some("a voter has promised a later epoch");
        }
        if self.phase > Phase::Promising {
            self.tell_epoch(link, out);
        }
    }

    fn fix_epoch(&mut self, out: &mut Outbox) {
        if self.phase == Phase::Gathering && self.is_quorum(&self.hellos) {
            self.phase = Phase::Promising;
            let epochs = Epochs { accepted: self.epoch, current: self.start.0 };
            out.push(Action::SaveEpochs { epochs, adopt: false });
        }
    }

    fn is_quorum(&self, set: &BTreeSet<Sid>) -> bool {
        set.contains(&self.me) && self.verifier.contains_quorum(set.iter().copied())
    }

    fn tell_epoch(&mut self, link: LinkId, out: &mut Outbox) {
        let handler = self.handlers.get_mut(&link).expect("the caller has it");
        handler.stage = Stage::Promising;
        let packet = Packet::LeaderInfo { epoch: self.epoch, is_ringkeeper: handler.is_ringkeeper };
        out.push(Action::Send { link, packet });
    }

    /// The epochs are on disk.
    pub fn on_saved(&mut self, history: &mut History, now: Millis, out: &mut Outbox) {
        match self.phase {
            Phase::Promising => {
                self.phase = Phase::Comparing;
                self.deadline = now.plus(self.limits.init_ms);
                self.promised.insert(self.me);
                let links: Vec<LinkId> = self.handlers.keys().copied().collect();
                links.into_iter().for_each(|link| self.tell_epoch(link, out));
                self.take_epoch(history, now, out);
            }
            Phase::Taking => {
                self.phase = Phase::Spreading;
                self.deadline = now.plus(self.limits.init_ms);
                self.taken.insert(self.me);
                self.activate(history, now, out);
            }
            Phase::Gathering | Phase::Comparing | Phase::Spreading | Phase::Active => {
                unreachable!("a leader saves epochs twice")
            }
        }
    }

    fn on_promise(&mut self, history: &mut History, link: LinkId, now: Millis, out: &mut Outbox) {
        let handler = &self.handlers[&link];
        if self.phase != Phase::Comparing {
            return self.begin_sync(history, link, out);
        }
        // -1 stands for a history that its owner cannot read.
        let counts = handler.last.to_wire() >= 0;
        if let Some(current) = handler.current_epoch.filter(|_| counts) {
            if (current, handler.last) > self.start {
                return self.close(link, CloseReason::Ahead, out);
            }
            if !handler.is_observer && self.verifier.is_voter(handler.sid) {
                self.promised.insert(handler.sid);
                self.take_epoch(history, now, out);
            }
        }
    }

    fn take_epoch(&mut self, history: &mut History, _now: Millis, out: &mut Outbox) {
        if self.phase != Phase::Comparing || !self.is_quorum(&self.promised) {
            return;
        }
        self.phase = Phase::Taking;
        out.push(Action::Tell(News::EpochBegins { epoch: self.epoch }));
        out.push(Action::SaveEpochs { epochs: Epochs { accepted: self.epoch, current: self.epoch }, adopt: false });
        let waiting = self.handlers.iter().filter(|(_, handler)| handler.stage == Stage::Promised);
        let waiting: Vec<LinkId> = waiting.map(|(link, _)| *link).collect();
        waiting.into_iter().for_each(|link| self.begin_sync(history, link, out));
    }

    /// The last that is committed, or will be with the epoch's beginning.
    fn base(&self, history: &History) -> Zxid {
        if self.is_active() { self.committed } else { history.last() }
    }

    fn begin_sync(&mut self, history: &mut History, link: LinkId, out: &mut Outbox) {
        let handler = &self.handlers[&link];
        // Nothing, and no epoch either: it asks for everything.
        let wants_all = handler.current_epoch.is_none() && handler.last == Zxid::ZERO;
        let plan = if wants_all || handler.last.to_wire() < 0 {
            Plan::Snap
        } else {
            sync::decide(handler.last, self.base(history), history, handler.is_ringkeeper)
        };
        self.carry_out(history, link, plan, out);
    }

    /// What the log on disk says about a learner's last.
    pub fn on_located(&mut self, history: &mut History, link: LinkId, located: Located, out: &mut Outbox) {
        let Some(handler) = self.handlers.get(&link).filter(|handler| handler.stage == Stage::Locating) else { return };
        let plan = sync::decide_from_log(handler.last, located, handler.is_ringkeeper);
        self.carry_out(history, link, plan, out);
    }

    fn carry_out(&mut self, history: &mut History, link: LinkId, plan: Plan, out: &mut Outbox) {
        let base = self.base(history);
        let handler = self.handlers.get_mut(&link).expect("the caller has it");
        let by = match plan {
            Plan::Diff { after } => {
                handler.stream_from(after);
                out.push(Action::Send { link, packet: Packet::Diff { last: base } });
                "DIFF"
            }
            Plan::Trunc { last } => {
                handler.stream_from(last);
                out.push(Action::Send { link, packet: Packet::Trunc { last } });
                "TRUNC"
            }
            Plan::Snap => {
                handler.stage = Stage::Snapshot;
                out.push(Action::SendSnapshot { link });
                "SNAP"
            }
            Plan::LookUp => {
                handler.stage = Stage::Locating;
                out.push(Action::LookUp { link, zxid: handler.last });
                return;
            }
        };
        out.push(Action::Tell(News::Syncing { learner: handler.sid, from: handler.last, by }));
        self.pump(history, link, out);
    }

    /// A snapshot has gone out, of the state at `zxid`.
    pub fn on_snapshot_sent(&mut self, history: &mut History, link: LinkId, zxid: Zxid, out: &mut Outbox) {
        if let Some(handler) = self.handlers.get_mut(&link).filter(|handler| handler.stage == Stage::Snapshot) {
            handler.stream_from(zxid);
            self.pump(history, link, out);
        }
    }

    /// A part of the log on disk has gone out.
    pub fn on_history_sent(&mut self, history: &mut History, link: LinkId, upto: Zxid, out: &mut Outbox) {
        if let Some(handler) = self.handlers.get_mut(&link).filter(|handler| handler.is_reading()) {
            handler.on_history_sent(upto);
            self.pump(history, link, out);
        }
    }

    /// A learner that is in step asks to be told when everything proposed so far is committed.
    pub fn on_sync(&mut self, history: &History, link: LinkId, out: &mut Outbox) {
        let last = history.last();
        let Some(handler) = self.handlers.get_mut(&link).filter(|handler| handler.is_serving) else { return };
        if !handler.sync(link, last, out) {
            self.close(link, CloseReason::TooMany, out);
        }
    }

    /// A link has room again.
    pub fn on_drained(&mut self, history: &mut History, link: LinkId, out: &mut Outbox) {
        if let Some(handler) = self.handlers.get_mut(&link) {
            handler.on_drained();
            self.pump(history, link, out);
        }
    }

    fn pump(&mut self, history: &History, link: LinkId, out: &mut Outbox) {
        let base = self.base(history);
        let handler = self.handlers.get_mut(&link).expect("the caller has it");
        let was_stopped = handler.is_stopped();
        let has_all = handler.pump(link, history, base, out);
        if handler.is_serving && handler.is_stopped() && !was_stopped {
            out.push(Action::Tell(News::Lagging { learner: handler.sid, at: handler.sent }));
        }
        if has_all && !handler.is_asked {
            handler.is_asked = true;
            let config = Some(self.config.to_text().into_boxed_str());
            out.push(Action::Send { link, packet: Packet::NewLeader { epoch: self.epoch, config } });
        }
    }

    /// Sends every learner what it has not got. To be called at the end of a turn with proposals.
    pub fn flush(&mut self, history: &History, out: &mut Outbox) {
        let base = self.base(history);
        let needs =
            |handler: &Handler| handler.sent < history.last() || handler.sent_commit < base || !handler.is_asked;
        let links: Vec<LinkId> =
            self.handlers.iter().filter(|(_, handler)| needs(handler)).map(|(link, _)| *link).collect();
        links.into_iter().for_each(|link| self.pump(history, link, out));
    }

    fn on_ack(&mut self, history: &mut History, link: LinkId, zxid: Zxid, now: Millis, out: &mut Outbox) {
        let base = self.base(history);
        let handler = self.handlers.get_mut(&link).expect("the caller has it");
        if zxid.counter() == 0 {
            if zxid.epoch() != self.epoch || !handler.is_asked || handler.has_taken {
                return; // The second one, behind UPTODATE, means nothing.
            }
            handler.has_taken = true;
            handler.progress_at = now;
            // Its disk has all of what it was brought up to date with; nobody acknowledges that once more.
            handler.acked = handler.acked.max(handler.sent.min(base));
            if !handler.is_observer && self.verifier.is_voter(handler.sid) {
                self.taken.insert(handler.sid);
            }
            if self.is_active() {
                self.let_serve(link, out);
                self.commit(history, now, out);
            } else {
                self.activate(history, now, out);
            }
            return;
        }
        if zxid > handler.sent {
            self.handlers.remove(&link);
            return out.push(out_of_turn(link, &Packet::Ack { zxid }, "acknowledges what it was not sent"));
        }
        if zxid > handler.acked {
            handler.acked = zxid;
            handler.progress_at = now;
            self.commit(history, now, out);
        }
    }

    fn activate(&mut self, history: &mut History, now: Millis, out: &mut Outbox) {
        if self.phase != Phase::Spreading || !self.is_quorum(&self.taken) {
            return;
        }
        self.phase = Phase::Active;
        self.committed = history.last();
        self.check_at = now.plus(self.limits.tick_ms);
        self.disk_progress_at = now;
        history.commit(self.committed);
        out.push(Action::Deliver { upto: self.committed });
        out.push(Action::Stand(Standing::Leading { epoch: self.epoch }));
        let ready: Vec<LinkId> =
            self.handlers.iter().filter(|(_, handler)| handler.has_taken).map(|(link, _)| *link).collect();
        ready.into_iter().for_each(|link| self.let_serve(link, out));
    }

    fn let_serve(&mut self, link: LinkId, out: &mut Outbox) {
        let handler = self.handlers.get_mut(&link).expect("the caller has it");
        handler.is_serving = true;
        out.push(Action::Send { link, packet: Packet::UpToDate });
        out.push(Action::Tell(News::Synced { learner: handler.sid }));
    }

    /// Takes a proposal; `flush` sends it.
    ///
    /// # Panics
    /// If the leader is not active, or the zxid does not follow.
    pub fn propose(&mut self, history: &mut History, zxid: Zxid, entry: Bytes, now: Millis, out: &mut Outbox) {
        assert!(self.is_active(), "proposals are for active leaders");
        assert_eq!(zxid.epoch(), self.epoch, "a leader proposes in its epoch");
        if history.durable() == history.last() {
            self.disk_progress_at = now;
        }
        for handler in self.handlers.values_mut().filter(|handler| handler.acked >= handler.sent) {
            handler.progress_at = now;
        }
        history.append(zxid, entry.clone());
        out.push(Action::Append { zxid, entry });
    }

    /// The own disk holds more.
    pub fn on_durable(&mut self, history: &mut History, now: Millis, out: &mut Outbox) {
        self.disk_progress_at = now;
        self.commit(history, now, out);
    }

    /// Commits what a quorum holds.
    fn commit(&mut self, history: &mut History, _now: Millis, out: &mut Outbox) {
        if !self.is_active() {
            return;
        }
        let mut marks: Vec<(Zxid, Sid)> = self
            .handlers
            .values()
            .filter(|handler| handler.has_taken && !handler.is_observer && self.verifier.is_voter(handler.sid))
            .map(|handler| (handler.acked, handler.sid))
            .collect();
        marks.push((history.durable(), self.me));
        marks.sort_unstable_by(|one, other| other.cmp(one));
        let mut holders = BTreeSet::new();
        for (zxid, sid) in marks {
            holders.insert(sid);
            if self.verifier.contains_quorum(holders.iter().copied()) {
                if zxid > self.committed {
                    self.advance(history, zxid, out);
                }
                return;
            }
        }
    }

    fn advance(&mut self, history: &mut History, upto: Zxid, out: &mut Outbox) {
        assert!(upto <= history.last(), "acknowledged is only what was proposed");
        self.committed = upto;
        // Before entries are forgotten: Java wants a commit for each.
        self.flush(history, out);
        history.commit(upto);
        out.push(Action::Deliver { upto });
    }
}

impl Stage {
    const fn name(self) -> &'static str {
        match self {
            Stage::Greeted => "before its epoch was found",
            Stage::Promising => "before its promise",
            Stage::Promised | Stage::Locating => "before it was told how to sync",
            Stage::Snapshot => "while it was sent a snapshot",
            Stage::Streaming => "while it was brought up to date",
        }
    }
}

fn out_of_turn(link: LinkId, packet: &Packet, stage: &'static str) -> Action {
    Action::Close { link, reason: CloseReason::OutOfTurn { packet: packet.name(), stage } }
}

/// Four thousand million elections are out of reach, but not a voter that claims to have seen them.
fn next_epoch(accepted: Epoch) -> Epoch {
    Epoch::new(accepted.to_u32().saturating_add(1))
}
