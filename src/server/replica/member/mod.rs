//! Member: the replica as one of an ensemble. Drives the protocol (`zab`), which says what to do, and carries it out over
//! the mailboxes to link, log and serving cores.
//!
//! Flow       bytes of a peer -> packet -> `zab::Peer` -> actions -> log, links, tree;  a client's write -> proposal (at the
//!            leader) or forwarded to it -> committed -> announced.
//! Invariant  actions are carried out in the order in which they were asked for, and all of them before the next input.
//!            A client is served only while the member stands in an ensemble that has a leader.
//! Absent     sockets and files. What is here replays from its messages: the simulator runs it.

mod ballots;
mod facts;
mod hear;
mod leading;
mod learning;
mod state;
mod wires;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use ids::{Millis, SessionId, Sid, Xid, Zxid};
use zab::config::EnsembleConfig;
use zab::election::ElectionSettings;
use zab::message::{LinkId, Packet};
use zab::outbox::{Action, CloseReason, Epochs, News, Outbox, Standing};
use zab::peer::{Peer, Start};
use zab::settings::Limits;
use zab::switchboard::Switchboard;

use super::super::codec::quorum::PeerPacket;
use super::super::link::messages::{ToLink, WireId};
use super::super::mesh::Outlet;
use super::super::messages::{Asked, Committed, FromLog, ToLog, ToServe};
use super::super::shared::Room;
use super::{Now, Replica};
use wires::Wires;

/// Time that passes at most between two looks, as far as the protocol is concerned. When this process was stopped for
/// longer, its peers have not been silent: it has not listened.
const ATTENTION_MS: i64 = 100;

/// Counter at which a leader gives up its epoch for the next one, long before the counter's end.
const ROLL_OVER_AT: u32 = 0xf000_0000;

/// What a member is made of.
pub struct MemberParts {
    /// Its id.
    pub me: Sid,
    /// The ensemble.
    pub config: Arc<EnsembleConfig>,
    /// Time limits of elections.
    pub election: ElectionSettings,
    /// Time limits of terms.
    pub limits: Limits,
    /// What its disk says about epochs.
    pub epochs: Epochs,
    /// `jute.maxbuffer` and what may come on top, bytes.
    pub packet_limits: net::quorum::Limits,
    /// How long a dial may take, ms.
    pub dial_timeout_ms: u32,
    /// To the sockets.
    pub link: Outlet<ToLink>,
}

/// See the head of the file.
pub struct Member {
    me: Sid,
    peer: Peer,
    config: Arc<EnsembleConfig>,
    /// As it stands in `/zookeeper/config`.
    config_text: Arc<str>,
    /// The calendar at the last look, ms since 1970.
    wall: Millis,
    switchboard: Switchboard,
    todo: VecDeque<Action>,
    link: Outlet<ToLink>,
    wires: Wires,
    ballots: ballots::BallotWires,
    /// Connections whose next packet has to wait.
    blocked: Vec<WireId>,
    /// What the switchboard was told.
    is_looking: bool,
    dial_timeout_ms: u32,
    standing: Standing,
    /// It stands, but not everything that is committed is applied yet: clients are served when this is.
    opens_at: Option<Zxid>,
    /// The protocol's clock, and when it was set.
    clock: Millis,
    looked: Millis,
    /// Requests of clients here that the leader has, oldest first in each session.
    forwarded: HashMap<SessionId, VecDeque<(Xid, Asked)>>,
    forwarded_syncs: VecDeque<Asked>,
    revalidating: HashMap<SessionId, VecDeque<learning::Attaching>>,
    /// Timeouts of sessions whose connections are here, ms, and those heard of since the last word to the leader.
    timeouts: HashMap<SessionId, i32>,
    touched: HashMap<SessionId, i32>,
    /// Syncs of clients here that wait until what was committed is announced.
    syncs: VecDeque<(Zxid, Asked)>,
    state: state::Transfers,
    /// Decoded from the packet under way: what it has the log append.
    staged: Option<tree::txn::Txn>,
    is_stopping: bool,
    /// Elections that were begun.
    elections: u64,
    record: facts::Record,
}

impl Member {
    /// A member that has just recovered. `last` is the last transaction of its log.
    pub fn new(parts: MemberParts, last: Zxid, now: Millis) -> Member {
        let MemberParts { me, config, election, limits, epochs, packet_limits, dial_timeout_ms, link } = parts;
        let start = Start { me, config: Arc::clone(&config), election, limits, epochs, last };
        Member {
            me,
            peer: Peer::new(start),
            config_text: config.to_text().into(),
            wall: Millis::default(),
            switchboard: ballots::switchboard(me, &config, now),
            config,
            todo: VecDeque::new(),
            link,
            wires: Wires::new(packet_limits),
            ballots: ballots::BallotWires::new(),
            blocked: Vec::new(),
            is_looking: false,
            dial_timeout_ms,
            standing: Standing::Idle,
            opens_at: None,
            clock: now,
            looked: now,
            forwarded: HashMap::new(),
            forwarded_syncs: VecDeque::new(),
            revalidating: HashMap::new(),
            timeouts: HashMap::new(),
            touched: HashMap::new(),
            syncs: VecDeque::new(),
            state: state::Transfers::default(),
            staged: None,
            is_stopping: false,
            elections: 0,
            record: facts::Record::default(),
        }
    }

    /// The way to the sockets.
    pub fn link(&self) -> &Outlet<ToLink> {
        &self.link
    }

    /// What it is to clients.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// The protocol, to look at.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The protocol's clock: time in which this member has listened.
    fn now(&mut self, now: Now) -> Millis {
        let passed = now.monotonic.to_i64() - self.looked.to_i64();
        (self.looked, self.wall) = (now.monotonic, now.wall);
        self.clock = self.clock.plus(passed.clamp(0, ATTENTION_MS));
        self.clock
    }
}

impl Replica {
    /// The member that this replica is.
    ///
    /// # Panics
    /// When it is standalone.
    pub(super) fn member_mut(&mut self) -> &mut Member {
        self.member.as_mut().expect("only asked of members")
    }

    /// Tells the protocol something, and does what it wants done.
    fn tell_peer(&mut self, now: Now, input: impl FnOnce(&mut Peer, Millis, &mut Outbox)) {
        let member = self.member_mut();
        let mut out = Outbox::new();
        let clock = member.now(now);
        input(&mut member.peer, clock, &mut out);
        // What an action leads to comes behind what was asked for together with it.
        for action in out.into_iter().rev() {
            member.todo.push_front(action);
        }
        self.carry_out(now);
    }

    fn carry_out(&mut self, now: Now) {
        while let Some(action) = self.member_mut().todo.pop_front() {
            self.act(action, now);
        }
    }

    fn act(&mut self, action: Action, now: Now) {
        match action {
            Action::Notify { to, notification } => self.notify(to, *notification, now),
            Action::ConnectAll => self.connect_all(now),
            Action::Connect { to, link } => self.dial_leader(to, link, now),
            Action::Send { link, packet } => self.send(link, packet),
            Action::Close { link, reason } => self.close_link(link, &reason),
            Action::Append { zxid, entry } => self.append_entry(zxid, entry, now),
            Action::SaveEpochs { epochs, adopt } => self.save_epochs(epochs, adopt),
            Action::Truncate { last } => self.truncate(last),
            Action::ReceiveSnapshot { link, last } => self.receive_state(link, last),
            Action::Reload => self.reload(),
            Action::LookUp { link, zxid } => self.log.post(ToLog::Locate { link, zxid }),
            Action::SendHistory { link, after, upto, as_inform } => self.send_history(link, after, upto, as_inform),
            Action::SendSnapshot { link } => self.send_state(link, now),
            Action::Deliver { upto } => self.committed = self.committed.max(upto),
            Action::Stand(standing) => self.stand(standing),
            Action::Tell(news) => {
                self.member_mut().elections += u64::from(matches!(news, News::Looking { .. }));
                tell(&news);
            }
        }
    }

    fn send(&mut self, link: LinkId, packet: Packet) {
        let member = self.member_mut();
        let packet = match packet {
            Packet::Sync => PeerPacket::Sync,
            Packet::Pong { last } => PeerPacket::Pong { last, touched: member.take_touched() },
            packet => PeerPacket::Zab(packet),
        };
        member.wires.send(link, &packet);
    }

    /// Proposed by this leader or by the one that it follows: the log takes it, and it waits for its commit.
    fn append_entry(&mut self, zxid: Zxid, entry: Bytes, now: Now) {
        if let Some(txn) = self.member_mut().staged.take() {
            assert_eq!(txn.zxid, zxid, "a packet leads to one entry");
            self.prepared = zxid;
            self.push_outstanding(txn, now);
        }
        let entry_len = entry.len() as u64;
        self.log.append_entry(zxid, entry);
        self.logged_bytes += entry_len;
        self.count_towards_snapshot(1, entry_len);
    }

    /// The next transaction of this leader.
    pub(super) fn propose(&mut self, zxid: Zxid, entry: Bytes, now: Now) {
        self.tell_peer(now, |peer, clock, out| peer.propose(zxid, entry, clock, out));
    }

    /// A transaction of the leader waits for its commit.
    fn push_outstanding(&mut self, txn: tree::txn::Txn, now: Now) {
        self.outstanding.push_back(Arc::new(Committed { txn, asked: None, prepared_at: now.instant }));
    }

    /// The log's word about something that only members ask it for.
    pub(super) fn on_log_as_member(&mut self, report: FromLog, now: Now) {
        match report {
            FromLog::Durable { upto, .. } => {
                if upto <= self.member_mut().peer.history().last() {
                    self.tell_peer(now, |peer, clock, out| peer.on_durable(upto, clock, out));
                }
                self.snapshot_gate.set_durable(upto);
            }
            FromLog::Room => self.hear_all(now),
            FromLog::Saved { snapshot_dir } => self.on_saved(snapshot_dir, now),
            FromLog::Truncated { kept, tree } => self.on_truncated(kept, tree, now),
            FromLog::Located { link, located } => {
                self.tell_peer(now, |peer, _, out| peer.on_located(link, located, out));
            }
            FromLog::Read { link, entries } => self.on_read(link, entries, now),
            FromLog::StateReady { is_ready } => self.on_state_ready(is_ready, now),
            FromLog::Reloaded { tree } => self.on_reloaded(*tree, now),
            FromLog::Failed => {}
        }
        self.hear_all(now);
    }

    /// Time has passed: a few milliseconds.
    pub fn on_member_tick(&mut self, now: Now) {
        self.tick_ballots(now);
        self.tell_peer(now, |peer, clock, out| peer.on_tick(clock, out));
        self.go_on_with_state(now);
        self.hear_all(now);
        self.look_at_members(now);
        if self.leads() && self.prepared.counter() >= ROLL_OVER_AT {
            tracing::warn!("the epoch's zxids come to their end; another epoch is begun");
            self.tell_peer(now, |peer, clock, out| peer.resign(clock, out));
        }
    }

    /// The end of a turn: proposals go out, and bytes.
    pub(super) fn end_member_turn(&mut self, now: Now) {
        let Some(member) = self.member.as_mut() else { return };
        let mut out = Outbox::new();
        member.peer.flush(&mut out);
        member.todo.extend(out);
        // Nothing but packets and reading follows from a flush.
        self.carry_out(now);
        let member = self.member_mut();
        member.wires.flush(&member.link);
        member.link.dispatch();
    }

    /// What this member is to its clients has changed. They are served when everything committed is applied.
    fn stand(&mut self, standing: Standing) {
        let member = self.member_mut();
        let before = std::mem::replace(&mut member.standing, standing);
        if standing == Standing::Idle {
            if before == Standing::Idle {
                return;
            }
            member.forget_clients();
            self.owners.clear();
            self.held.clear();
            self.expired.clear();
            self.tell_all(|| ToServe::Stands { mode: Mode::Idle, config: None });
            return;
        }
        member.opens_at = Some(member.peer.history().committed());
        self.open_if_applied();
    }

    /// Serves clients as soon as the tree is what was committed when this member took its stand. What is announced may not
    /// be applied yet, where the serving core does that.
    pub(super) fn open_if_applied(&mut self) {
        let applied = self.tree.borrow().last_zxid();
        let Some(member) = self.member.as_mut() else { return };
        if member.opens_at.is_none_or(|at| at > applied) {
            return;
        }
        member.opens_at = None;
        let mode = match member.standing {
            Standing::Idle => return,
            Standing::Leading { epoch } => {
                self.prepared = Zxid::new(epoch, 0);
                self.begin_to_lead();
                Mode::Leader
            }
            Standing::Learning { .. } if member.config.voters().contains(&member.me) => Mode::Follower,
            Standing::Learning { .. } => Mode::Observer,
        };
        let member = self.member_mut();
        let version = Zxid::from_u64(member.config.version());
        let config = Some((version, Arc::clone(&member.config_text), member.wall.to_i64()));
        if self.applies {
            let (text, time) = (Arc::clone(&self.member_mut().config_text), self.member_mut().wall.to_i64());
            self.tree.borrow_mut().set_config(&text, version, time);
        }
        self.tell_all(|| ToServe::Stands { mode, config: config.clone() });
    }

    fn tell_all(&self, message: impl Fn() -> ToServe) {
        self.serve.iter().for_each(|core| core.post(message()));
    }

    /// Whether clients' requests are taken at all.
    pub(super) fn stands(&self) -> bool {
        self.member.as_ref().is_none_or(|member| member.standing != Standing::Idle && member.opens_at.is_none())
    }

    /// Whether this replica gives writes their order.
    pub(super) fn leads(&self) -> bool {
        self.member
            .as_ref()
            .is_none_or(|member| matches!(member.standing, Standing::Leading { .. }) && member.opens_at.is_none())
    }

    /// Gives up a leadership before a planned stop, so that the others need not find out.
    pub fn resign(&mut self, now: Now) {
        if self.member.is_some() {
            self.member_mut().is_stopping = true;
            self.tell_peer(now, |peer, clock, out| peer.resign(clock, out));
        }
    }

    /// Whether the log takes what a leader proposes.
    fn has_log_room(&self) -> bool {
        self.log.room() == Room::Free && !self.log.is_full()
    }
}

/// What a server is to its clients, in the words of four-letter words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Alone.
    Standalone,
    /// A member without a leader: it serves nobody.
    Idle,
    /// It leads.
    Leader,
    /// It follows, and votes.
    Follower,
    /// It observes.
    Observer,
}

impl Mode {
    /// As `srvr` and `mntr` say it.
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Standalone => "standalone",
            Mode::Idle => "leaderelection",
            Mode::Leader => "leader",
            Mode::Follower => "follower",
            Mode::Observer => "observer",
        }
    }
}

/// A line for the operator.
fn tell(news: &News) {
    match news {
        News::Looking { last, epoch } => tracing::info!(%last, epoch = epoch.to_u32(), "looking for a leader"),
        News::Elected { leader } => tracing::info!(leader = leader.to_u64(), "a leader is elected"),
        News::EpochBegins { epoch } => {
            tracing::info!(epoch = epoch.to_u32(), "a quorum has promised; a new epoch begins")
        }
        News::Syncing { learner, from, by } => {
            tracing::info!(learner = learner.to_u64(), %from, by, "bringing a learner up to date");
        }
        News::Synced { learner } => tracing::info!(learner = learner.to_u64(), "a learner is up to date"),
        News::Lagging { learner, at } => {
            tracing::warn!(learner = learner.to_u64(), %at, "a learner does not keep up; it is served at its own pace");
        }
        News::Resigns { reason } => tracing::warn!(reason, "giving up leadership"),
        News::LeftLeader { leader, reason } => {
            tracing::warn!(leader = leader.to_u64(), reason, "leaving the leader");
        }
    }
}

/// A line for the operator about a link that is closed.
fn tell_closing(sid: Option<Sid>, reason: &CloseReason) {
    let peer = sid.map(Sid::to_u64);
    match reason {
        CloseReason::PartEnded => tracing::debug!(peer, "closing a link: this member's part has changed"),
        CloseReason::OutOfTurn { packet, stage } => {
            tracing::error!(peer, "closing a link: the peer sent {packet} {stage}, which nobody may");
        }
        CloseReason::Silent { for_ms } => tracing::warn!(peer, for_ms, "closing a link: the peer is silent"),
        CloseReason::Stuck { for_ms } => {
            tracing::warn!(peer, for_ms, "closing a link: the peer acknowledges nothing of what was proposed");
        }
        CloseReason::Ahead => tracing::warn!(peer, "closing a link: the peer has more than this would-be leader"),
        CloseReason::NewerConfig => tracing::warn!(peer, "closing a link: the peer knows a newer configuration"),
        CloseReason::Superseded => tracing::info!(peer, "closing a link: the peer has opened another"),
        CloseReason::OldEpoch => tracing::warn!(peer, "closing a link: a later epoch than the peer's was promised"),
        CloseReason::Gap { after, found } => {
            tracing::error!(peer, %after, %found, "closing a link: the leader's proposals have a gap");
        }
        CloseReason::UnknownCommit { zxid } => {
            tracing::error!(peer, %zxid, "closing a link: the leader commits what it has not proposed");
        }
        CloseReason::SyncFailed => tracing::error!(peer, "closing a link: this member could not be brought up to date"),
        CloseReason::TooMany => tracing::error!(peer, "closing a link: there are too many learners"),
    }
}
