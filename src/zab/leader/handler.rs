//! Handler: what a leader knows of one learner, and what it sends it next.
//!
//! Flow       hello -> LEADERINFO -> ACKEPOCH -> (plan) -> history -> NEWLEADER -> ACK -> UPTODATE -> proposals for ever.
//! Invariant  a learner is sent the leader's history in order and without a gap: `sent` is how far. It is never ahead of
//!            what the history in memory and the log on disk can continue. Commits follow proposals.
//! Bound      `WINDOW_BYTES` on their way to one learner. Who does not keep up is served from the disk later, and costs
//!            the others nothing.

use alloc::collections::VecDeque;

use ids::{Epoch, Millis, Sid, Zxid};

use crate::history::History;
use crate::message::{Hello, LinkId, Packet};
use crate::outbox::{Action, Outbox};

/// Bytes that may be on their way to one learner before the link has to say that it has sent them.
pub const WINDOW_BYTES: usize = 4 << 20;

/// Syncs of one learner that may be open at once.
const SYNCS_MAX: usize = 1 << 16;

/// What a packet costs besides its payload: its head, and the memory that it waits in.
const PACKET_COST_BYTES: usize = 64;

/// How far a learner has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// It has said hello and waits for the epoch.
    Greeted,
    /// It was told the epoch.
    Promising,
    /// It has promised, and waits until a quorum has.
    Promised,
    /// The log on disk is asked where it stands.
    Locating,
    /// A snapshot is on its way.
    Snapshot,
    /// It is sent the history, from `sent` on.
    Streaming,
}

/// See the head of the file.
#[derive(Debug)]
pub struct Handler {
    /// Who it is.
    pub sid: Sid,
    /// Whether it observes.
    pub is_observer: bool,
    /// Whether it is one of us.
    pub is_ringkeeper: bool,
    /// How far it has come.
    pub stage: Stage,
    /// Its last at ACKEPOCH.
    pub last: Zxid,
    /// Its epoch at ACKEPOCH.
    pub current_epoch: Option<Epoch>,
    /// The last proposal that it was sent, or had.
    pub sent: Zxid,
    /// The last commit that it was sent.
    pub sent_commit: Zxid,
    /// The last proposal that it has acknowledged on this link.
    pub acked: Zxid,
    /// When `acked` last moved, or had nothing to move to.
    pub progress_at: Millis,
    /// NEWLEADER was sent.
    pub is_asked: bool,
    /// NEWLEADER is acknowledged: its disk holds the epoch's beginning.
    pub has_taken: bool,
    /// UPTODATE was sent.
    pub is_serving: bool,
    /// When it was last heard.
    pub heard: Millis,
    /// When it is pinged next.
    pub ping_at: Millis,
    /// Something is being read from the log on disk for it.
    is_reading: bool,
    in_window: usize,
    /// The last proposal before each sync that it has asked for and not been answered.
    syncs: VecDeque<Zxid>,
}

impl Handler {
    /// Of a learner that has just said hello.
    pub fn new(hello: &Hello, now: Millis) -> Handler {
        Handler {
            sid: hello.sid,
            is_observer: hello.is_observer,
            is_ringkeeper: hello.is_ringkeeper,
            stage: Stage::Greeted,
            last: Zxid::ZERO,
            current_epoch: None,
            sent: Zxid::ZERO,
            sent_commit: Zxid::ZERO,
            acked: Zxid::ZERO,
            progress_at: now,
            is_asked: false,
            has_taken: false,
            is_serving: false,
            heard: now,
            ping_at: now,
            is_reading: false,
            in_window: 0,
            syncs: VecDeque::new(),
        }
    }

    /// The history goes on behind `after`.
    pub fn stream_from(&mut self, after: Zxid) {
        self.stage = Stage::Streaming;
        (self.sent, self.sent_commit) = (after, after);
    }

    /// The disk's part is sent, up to here.
    pub fn on_history_sent(&mut self, upto: Zxid) {
        assert!(self.is_reading, "nothing was asked for");
        self.is_reading = false;
        (self.sent, self.sent_commit) = (self.sent.max(upto), self.sent_commit.max(upto));
    }

    /// It wants to know when everything up to `last` is committed. False when too many of its wishes are open.
    ///
    /// The answer has its place among the commits, since a Java learner takes answers in the order of its requests: one
    /// that a later commit overtakes would leave all its clients waiting for ever.
    pub fn sync(&mut self, link: LinkId, last: Zxid, out: &mut Outbox) -> bool {
        self.syncs.push_back(last);
        self.answer_syncs(link, out);
        self.syncs.len() <= SYNCS_MAX
    }

    /// Answers what the last commit sent has made true.
    fn answer_syncs(&mut self, link: LinkId, out: &mut Outbox) {
        while self.syncs.front().is_some_and(|last| *last <= self.sent_commit) {
            self.syncs.pop_front();
            out.push(Action::Send { link, packet: Packet::Sync });
        }
    }

    /// The last that may be sent as committed before a sync has to be answered.
    fn sync_bound(&self, upto: Zxid) -> Zxid {
        self.syncs.front().map_or(upto, |last| upto.min(*last))
    }

    /// Whether the disk is being read for it.
    pub fn is_reading(&self) -> bool {
        self.is_reading
    }

    /// Everything that was sent has left.
    pub fn on_drained(&mut self) {
        self.in_window = 0;
    }

    /// Whether it has to wait for its link.
    pub fn is_stopped(&self) -> bool {
        self.in_window >= WINDOW_BYTES
    }

    /// Sends what comes next, as far as there is something and the window has room. `base` is the last that is
    /// committed, or will be when a quorum has taken the history over. Whether it now has everything.
    pub fn pump(&mut self, link: LinkId, history: &History, base: Zxid, out: &mut Outbox) -> bool {
        if self.stage != Stage::Streaming || self.is_reading {
            return false;
        }
        self.answer_syncs(link, out);
        if self.sent < history.before() {
            if !self.is_stopped() {
                self.read_from_disk(link, history, base, out);
            }
            return false;
        }
        let has_all = if self.is_observer {
            self.inform(link, history, base, out)
        } else {
            let has_all = self.send_proposals(link, history, out);
            self.send_commits(link, history, base, out);
            has_all
        };
        has_all && !self.is_stopped()
    }

    fn read_from_disk(&mut self, link: LinkId, history: &History, base: Zxid, out: &mut Outbox) {
        let upto = self.sync_bound(base.min(history.durable()));
        assert!(upto > self.sent, "what is forgotten is committed and on disk");
        self.is_reading = true;
        out.push(Action::SendHistory { link, after: self.sent, upto, as_inform: self.is_observer });
    }

    fn send_proposals(&mut self, link: LinkId, history: &History, out: &mut Outbox) -> bool {
        if self.sent >= history.last() {
            return true;
        }
        for (zxid, entry) in history.after(self.sent) {
            if self.in_window >= WINDOW_BYTES {
                return false;
            }
            self.in_window += entry.len() + PACKET_COST_BYTES;
            self.sent = *zxid;
            out.push(Action::Send { link, packet: Packet::Proposal { zxid: *zxid, entry: entry.clone() } });
        }
        true
    }

    /// Commits of what was proposed, each sync answered in its place.
    fn send_commits(&mut self, link: LinkId, history: &History, base: Zxid, out: &mut Outbox) {
        let limit = base.min(self.sent);
        while self.sent_commit < limit {
            self.commit_upto(link, history, self.sync_bound(limit), out);
            self.answer_syncs(link, out);
        }
    }

    /// Our own kind takes a commit for everything up to it; Java wants each.
    fn commit_upto(&mut self, link: LinkId, history: &History, upto: Zxid, out: &mut Outbox) {
        assert!(upto > self.sent_commit, "what is behind a sync's place was answered");
        if self.is_ringkeeper {
            out.push(Action::Send { link, packet: Packet::Commit { zxid: upto } });
        } else {
            assert!(self.sent_commit >= history.before(), "commits are sent before entries are forgotten");
            for (zxid, _) in history.after(self.sent_commit).take_while(|entry| entry.0 <= upto) {
                self.in_window += PACKET_COST_BYTES;
                out.push(Action::Send { link, packet: Packet::Commit { zxid: *zxid } });
            }
        }
        self.sent_commit = upto;
    }

    fn inform(&mut self, link: LinkId, history: &History, base: Zxid, out: &mut Outbox) -> bool {
        for (zxid, entry) in history.after(self.sent).take_while(|entry| entry.0 <= base) {
            if self.in_window >= WINDOW_BYTES {
                return false;
            }
            self.in_window += entry.len() + PACKET_COST_BYTES;
            (self.sent, self.sent_commit) = (*zxid, *zxid);
            out.push(Action::Send { link, packet: Packet::Inform { zxid: *zxid, entry: entry.clone() } });
            self.answer_syncs(link, out);
        }
        true
    }
}
