//! Learner: follows or observes a leader. Takes its history over, then logs what it proposes and promises only what the
//! own disk holds.
//!
//! Flow       connect -> hello -> LEADERINFO -> (promise on disk) -> ACKEPOCH -> DIFF, TRUNC or SNAP -> history ->
//!            NEWLEADER -> (log, then epoch on disk) -> ACK -> UPTODATE -> PROPOSAL -> Append -> (disk) -> ACK; COMMIT -> Deliver.
//! Invariant  the ACK of NEWLEADER says that the log holds everything before it and that the epoch is written down, in
//!            that order (ZOOKEEPER-3911, 4643, 4646, 4785). Proposals have no gap within an epoch. A snapshot replaces the
//!            own log only together with the epoch: until then the disk has the old state, whole (ZOOKEEPER-3642).
//! Absent     retries. Whatever goes wrong ends the term: the member looks for a leader again.
//!
//! Entries are logged as they come, before NEWLEADER too: they are a prefix of this leader's history, so that the log
//! stays one that an elected leader had. Java keeps them in memory until NEWLEADER.

use ids::{Epoch, Millis, Sid, Zxid};

use crate::history::History;
use crate::message::{Hello, LinkId, Packet};
use crate::outbox::{Action, CloseReason, Epochs, News, Outbox, Standing};
use crate::settings::Limits;

/// Pauses between attempts to reach the leader: it may be elected a moment later than it is followed.
const RETRY_FIRST_MS: i64 = 10;
/// The longest pause; ZooKeeper's leaderConnectDelayDuringRetryMs.
const RETRY_LONGEST_MS: i64 = 100;

/// Before a member serves, a leader of our own kind may be at work for others: so many times the usual patience.
const PATIENCE_WHILE_SYNCING: i64 = 4;

/// How far the term has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stage {
    /// The leader is being reached, or tried again at this time.
    Connecting { retry_at: Option<Millis>, pause_ms: i64 },
    /// Hello was said.
    Greeting,
    /// The promise is being written down.
    Promising,
    /// The promise is given.
    Promised,
    /// The log is being cut.
    Cutting { last: Zxid },
    /// A snapshot is being loaded.
    Loading,
    /// History comes.
    Streaming,
    /// NEWLEADER has come, and the log is being synced.
    Syncing,
    /// The epoch is being written down.
    Taking,
    /// NEWLEADER is acknowledged.
    Taken,
    /// In step.
    Serving,
}

/// How a term ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failure {
    /// For the log.
    pub reason: &'static str,
    /// The leader was silent: it must not be waited for.
    pub is_suspect: bool,
    /// The own log cannot be brought in line: next time everything is asked for.
    pub wants_all: bool,
}

/// See the head of the file.
#[derive(Debug)]
pub struct Learner {
    me: Sid,
    limits: Limits,
    leader: Sid,
    link: LinkId,
    is_observer: bool,
    config_version: u64,
    /// Everything is to be sent, whatever the own log holds.
    wants_all: bool,
    stage: Stage,
    epoch: Epoch,
    leader_is_ringkeeper: bool,
    /// A snapshot is loaded and not yet adopted.
    is_adopting: bool,
    /// No proposal has come since DIFF, TRUNC or SNAP: the first one may be anywhere.
    is_first: bool,
    acked: Zxid,
    heard: Millis,
    give_up_at: Millis,
    failure: Option<Failure>,
}

/// Who learns from whom.
#[derive(Clone, Copy, Debug)]
pub struct Pupil {
    /// Who.
    pub me: Sid,
    /// Whether it only observes.
    pub is_observer: bool,
    /// From whom.
    pub leader: Sid,
    /// Over which link.
    pub link: LinkId,
    /// Version of the configuration that it knows to be committed.
    pub config_version: u64,
    /// Everything is to be sent, whatever the own log holds.
    pub wants_all: bool,
}

impl Learner {
    /// Reaches for the leader.
    pub fn new(pupil: Pupil, limits: Limits, now: Millis, out: &mut Outbox) -> Learner {
        let Pupil { me, is_observer, leader, link, config_version, wants_all } = pupil;
        out.push(Action::Connect { to: leader, link });
        Learner {
            me,
            limits,
            leader,
            link,
            is_observer,
            config_version,
            wants_all,
            stage: Stage::Connecting { retry_at: None, pause_ms: RETRY_FIRST_MS },
            epoch: Epoch::default(),
            leader_is_ringkeeper: false,
            is_adopting: false,
            is_first: true,
            acked: Zxid::ZERO,
            heard: now,
            give_up_at: now.plus(limits.init_ms),
            failure: None,
        }
    }

    /// How it ended, if it has. The caller looks after every input.
    pub fn failure(&self) -> Option<Failure> {
        self.failure
    }

    /// Whom it learns from.
    pub fn leader(&self) -> Sid {
        self.leader
    }

    /// Over which link.
    pub fn link(&self) -> LinkId {
        self.link
    }

    /// Whether clients are served.
    pub fn is_serving(&self) -> bool {
        self.stage == Stage::Serving
    }

    /// The leader's epoch, once it serves.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether a loaded snapshot would be lost with the term.
    pub fn is_adopting(&self) -> bool {
        self.is_adopting || self.stage == Stage::Loading
    }

    /// Whether the next packet may be handed over. Until then it waits where it is.
    pub fn takes_packets(&self) -> bool {
        !matches!(
            self.stage,
            Stage::Promising | Stage::Cutting { .. } | Stage::Loading | Stage::Syncing | Stage::Taking
        )
    }

    /// The leader is reached.
    pub fn on_connected(&mut self, epochs: Epochs, now: Millis, out: &mut Outbox) {
        self.stage = Stage::Greeting;
        self.heard = now;
        let hello = Hello {
            sid: self.me,
            is_observer: self.is_observer,
            accepted_epoch: epochs.accepted,
            config_version: self.config_version,
            is_ringkeeper: true,
        };
        self.send(Packet::Hello(hello), out);
    }

    /// The leader is not reached, or is gone.
    pub fn on_closed(&mut self, now: Millis) {
        match &mut self.stage {
            Stage::Connecting { retry_at, pause_ms } => {
                *retry_at = Some(now.plus(*pause_ms));
                *pause_ms = (*pause_ms * 2).min(RETRY_LONGEST_MS);
            }
            _ => self.fail("the connection to the leader is gone"),
        }
    }

    /// A packet of the leader.
    ///
    /// # Panics
    /// While none is taken.
    pub fn on_packet(&mut self, history: &mut History, epochs: Epochs, packet: Packet, now: Millis, out: &mut Outbox) {
        assert!(self.takes_packets(), "the caller has asked");
        self.heard = now;
        match (self.stage, packet) {
            (_, Packet::Ping { last }) => {
                if self.stage == Stage::Serving {
                    self.send(Packet::Pong { last }, out);
                }
            }
            (Stage::Greeting, Packet::LeaderInfo { epoch, is_ringkeeper }) => {
                self.leader_is_ringkeeper = is_ringkeeper;
                self.on_epoch(history, epochs, epoch, out);
            }
            (Stage::Promised, packet) => self.on_plan(history, packet, out),
            (Stage::Streaming | Stage::Taken | Stage::Serving, Packet::Proposal { zxid, entry }) => {
                if !self.is_observer {
                    self.on_proposal(history, zxid, entry, out);
                }
            }
            (Stage::Streaming | Stage::Taken | Stage::Serving, Packet::Commit { zxid }) => {
                if !self.is_observer {
                    self.on_commit(history, zxid, out);
                }
            }
            (Stage::Streaming | Stage::Taken | Stage::Serving, Packet::Inform { zxid, entry }) => {
                if self.on_proposal(history, zxid, entry, out) {
                    self.on_commit(history, zxid, out);
                }
            }
            (Stage::Streaming, Packet::NewLeader { epoch, .. }) if epoch == self.epoch => {
                self.stage = Stage::Syncing;
                self.take_epoch(history, epochs, out);
            }
            (Stage::Taken, Packet::UpToDate) => self.serve(history, now, out),
            (stage, packet) => {
                let reason = CloseReason::OutOfTurn { packet: packet.name(), stage: stage.name() };
                self.break_off(reason, "the leader said something out of turn", out);
            }
        }
    }

    fn on_epoch(&mut self, history: &History, epochs: Epochs, epoch: Epoch, out: &mut Outbox) {
        self.epoch = epoch;
        if epoch < epochs.accepted {
            return self.break_off(CloseReason::OldEpoch, "a later epoch than the leader's was promised", out);
        }
        if epoch == epochs.accepted {
            return self.promise(history, None, out);
        }
        self.stage = Stage::Promising;
        out.push(Action::SaveEpochs { epochs: Epochs { accepted: epoch, ..epochs }, adopt: false });
    }

    /// Only now, with the promise on disk, may it be given.
    fn promise(&mut self, history: &History, current_epoch: Option<Epoch>, out: &mut Outbox) {
        self.stage = Stage::Promised;
        let packet = if self.wants_all {
            Packet::AckEpoch { last: Zxid::ZERO, current_epoch: None }
        } else {
            Packet::AckEpoch { last: history.last(), current_epoch }
        };
        self.send(packet, out);
    }

    fn on_plan(&mut self, history: &mut History, packet: Packet, out: &mut Outbox) {
        self.is_first = true;
        match packet {
            Packet::Diff { .. } if !self.wants_all => self.keep_upto(history, history.last(), out),
            Packet::Trunc { last } if !self.wants_all => {
                self.stage = Stage::Cutting { last };
                out.push(Action::Truncate { last });
            }
            Packet::Snap { last } => {
                self.stage = Stage::Loading;
                out.push(Action::ReceiveSnapshot { link: self.link, last });
            }
            packet => {
                let reason = CloseReason::OutOfTurn { packet: packet.name(), stage: self.stage.name() };
                self.break_off(reason, "the leader said something out of turn", out);
            }
        }
    }

    /// The leader has everything up to `last`, so it stays.
    fn keep_upto(&mut self, history: &mut History, last: Zxid, out: &mut Outbox) {
        self.stage = Stage::Streaming;
        if last > history.committed() {
            history.commit(last);
            out.push(Action::Deliver { upto: last });
        }
    }

    /// The log is cut, and ends with `kept`; `None` if it could not be.
    pub fn on_truncated(&mut self, history: &mut History, kept: Option<Zxid>, now: Millis, out: &mut Outbox) {
        let Stage::Cutting { last } = self.stage else { unreachable!("a cut is asked for in one stage") };
        self.heard = now;
        match kept {
            Some(kept) if kept == last => {
                history.truncate(last);
                self.keep_upto(history, last, out);
            }
            // What the leader names as common is not here: the logs parted earlier than it knows (ZOOKEEPER-3701).
            kept => {
                history.truncate(kept.unwrap_or(history.last()));
                self.wants_all = true;
                self.break_off(CloseReason::SyncFailed, "the log could not be cut where the leader's ends", out);
            }
        }
    }

    /// The snapshot is loaded and holds everything up to `last`; `None` if it could not be.
    pub fn on_snapshot(&mut self, history: &mut History, last: Option<Zxid>, now: Millis, out: &mut Outbox) {
        assert_eq!(self.stage, Stage::Loading, "a snapshot is asked for in one stage");
        self.heard = now;
        self.is_adopting = true;
        match last {
            Some(last) => {
                history.replace(last);
                self.stage = Stage::Streaming;
            }
            None => self.break_off(CloseReason::SyncFailed, "the leader's snapshot could not be loaded", out),
        }
    }

    /// Whether it is, or was already, part of the log.
    fn on_proposal(&mut self, history: &mut History, zxid: Zxid, entry: bytes::Bytes, out: &mut Outbox) -> bool {
        let last = history.last();
        if zxid <= last {
            return true; // Behind a snapshot that held it already.
        }
        let follows = last.next() == Some(zxid) || (zxid.epoch() > last.epoch() && zxid.counter() == 1);
        if !follows && !self.is_first {
            let reason = CloseReason::Gap { after: last, found: zxid };
            self.break_off(reason, "the leader's proposals have a gap", out);
            return false;
        }
        self.is_first = false;
        history.append(zxid, entry.clone());
        out.push(Action::Append { zxid, entry });
        true
    }

    fn on_commit(&mut self, history: &mut History, zxid: Zxid, out: &mut Outbox) {
        if zxid > history.last() {
            let reason = CloseReason::UnknownCommit { zxid };
            return self.break_off(reason, "the leader commits what it has not proposed", out);
        }
        if zxid > history.committed() {
            history.commit(zxid);
            out.push(Action::Deliver { upto: zxid });
        }
    }

    /// The log first, then the epoch: the other way round, a crash between would leave a member that seems to know this
    /// epoch's history and does not.
    fn take_epoch(&mut self, history: &History, epochs: Epochs, out: &mut Outbox) {
        if self.stage == Stage::Syncing && history.durable() == history.last() {
            self.stage = Stage::Taking;
            let epochs = Epochs { current: self.epoch, ..epochs };
            out.push(Action::SaveEpochs { epochs, adopt: self.is_adopting });
        }
    }

    /// The epochs are on disk.
    pub fn on_saved(&mut self, history: &History, before: Epochs, now: Millis, out: &mut Outbox) {
        self.heard = now;
        match self.stage {
            Stage::Promising => self.promise(history, Some(before.current), out),
            Stage::Taking => {
                self.is_adopting = false;
                self.stage = Stage::Taken;
                self.send(Packet::Ack { zxid: Zxid::new(self.epoch, 0) }, out);
            }
            stage => unreachable!("epochs are not saved {}", stage.name()),
        }
    }

    fn serve(&mut self, history: &History, now: Millis, out: &mut Outbox) {
        self.stage = Stage::Serving;
        self.heard = now;
        self.send(Packet::Ack { zxid: Zxid::new(self.epoch, 0) }, out);
        out.push(Action::Stand(Standing::Learning { leader: self.leader, link: self.link }));
        out.push(Action::Tell(News::Synced { learner: self.me }));
        self.acked = history.committed().min(history.durable());
        self.acknowledge(history, out);
    }

    /// The own disk holds more.
    pub fn on_durable(&mut self, history: &History, epochs: Epochs, out: &mut Outbox) {
        match self.stage {
            Stage::Syncing => self.take_epoch(history, epochs, out),
            Stage::Serving => self.acknowledge(history, out),
            _ => {}
        }
    }

    /// To our own kind one word for everything; Java counts each.
    fn acknowledge(&mut self, history: &History, out: &mut Outbox) {
        let durable = history.durable();
        if self.is_observer || durable <= self.acked {
            return;
        }
        if self.leader_is_ringkeeper {
            self.send(Packet::Ack { zxid: durable }, out);
        } else {
            for (zxid, _) in history.after(self.acked).take_while(|entry| entry.0 <= durable) {
                self.send(Packet::Ack { zxid: *zxid }, out);
            }
        }
        self.acked = durable;
    }

    /// Time has passed.
    pub fn on_tick(&mut self, now: Millis, out: &mut Outbox) {
        match self.stage {
            Stage::Connecting { .. } if now >= self.give_up_at => {
                self.fail("the leader was not reached within initLimit")
            }
            Stage::Connecting { retry_at, pause_ms } => {
                if retry_at.is_some_and(|at| now >= at) {
                    self.stage = Stage::Connecting { retry_at: None, pause_ms };
                    out.push(Action::Connect { to: self.leader, link: self.link });
                }
            }
            _ if !self.takes_packets() => self.heard = now,
            _ => {
                let for_ms = now.to_i64() - self.heard.to_i64();
                if for_ms > self.patience_ms() {
                    out.push(Action::Close { link: self.link, reason: CloseReason::Silent { for_ms } });
                    self.fail("the leader is silent");
                    self.failure.as_mut().expect("just set").is_suspect = true;
                }
            }
        }
    }

    fn patience_ms(&self) -> i64 {
        match (self.is_serving(), self.leader_is_ringkeeper) {
            (true, true) => self.limits.suspect_ms,
            (true, false) => self.limits.sync_ms,
            (false, true) => self.limits.init_ms.min(self.limits.suspect_ms.saturating_mul(PATIENCE_WHILE_SYNCING)),
            (false, false) => self.limits.init_ms,
        }
    }

    fn send(&self, packet: Packet, out: &mut Outbox) {
        out.push(Action::Send { link: self.link, packet });
    }

    fn break_off(&mut self, reason: CloseReason, why: &'static str, out: &mut Outbox) {
        out.push(Action::Close { link: self.link, reason });
        self.fail(why);
    }

    fn fail(&mut self, reason: &'static str) {
        let wants_all = self.wants_all;
        self.failure.get_or_insert(Failure { reason, is_suspect: false, wants_all });
    }
}

impl Stage {
    const fn name(self) -> &'static str {
        match self {
            Stage::Connecting { .. } => "before hello",
            Stage::Greeting => "in place of LEADERINFO",
            Stage::Promising | Stage::Promised => "in place of DIFF, TRUNC or SNAP",
            Stage::Cutting { .. } | Stage::Loading | Stage::Streaming => "before NEWLEADER",
            Stage::Syncing | Stage::Taking | Stage::Taken => "before UPTODATE",
            Stage::Serving => "in step",
        }
    }
}
