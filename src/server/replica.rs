//! Replica: the one place where writes get their order. Prepares them, gives them to the log, tells every core when they
//! count.
//!
//! Flow       `handle` -> prepare against tree + outstanding changes -> txn -> log;  `on_log` -> `announce`, in order.
//! Invariant  applied <= announced <= durable <= prepared, by zxid. Nothing is announced that the disk has not confirmed.
//! Absent     connections and replies (`frontend`), and the disk itself: the log role moves `durable` forward.

mod announce;
pub mod member;
mod sessions;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use ids::{Millis, SessionId, Xid, Zxid};
use net::error::DecodeError;
use net::opcode::OpCode;
use net::record as wire;
use tree::acl::Identity;
use tree::code::Code;
use tree::effects::Effects;
use tree::prep::{Prep, PrepContext, PrepSettings};
use tree::request::Request;
use tree::session::{SessionTracker, Standing};
use tree::tree::Tree;
use zab::message::LinkId;

use super::admin::Word;
use super::codec;
use super::mesh::Outlet;
use super::messages::Origin;
use super::messages::{Asked, Committed, Facts, ReplicaFacts, SurveyId, ToReplica, ToServe, Write};
use super::metrics::Metrics;
use super::notify::Notify;
use super::shared::{Room, Shared};
use super::snapshots::SnapshotGate;
use super::storage::LogPort;
use member::{Member, MemberParts};

/// The two clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Wall clock, ms since 1970: for ctime and mtime only.
    pub wall: Millis,
    /// Monotonic clock, ms: for everything that expires.
    pub monotonic: Millis,
    /// The same moment for measuring.
    pub instant: Instant,
}

/// What a replica is made of.
pub struct ReplicaParts {
    /// Recovered. Shared with the serving core of this executor, if there is one.
    pub tree: Rc<RefCell<Tree>>,
    /// Nobody else applies to that tree.
    pub applies: bool,
    /// Where transactions go.
    pub log: Rc<LogPort>,
    /// The serving cores, by their number.
    pub serve: Vec<Outlet<ToServe>>,
    /// What all executors see.
    pub shared: Arc<Shared>,
    /// Settings that decide about writes.
    pub settings: PrepSettings,
    /// `forceSync=no` turns it off, and durability with it.
    pub force_sync: bool,
    /// Bytes on their way to the disk above which clients are not read.
    pub behind_bytes: u64,
    /// Without sessions.
    pub sessions: SessionTracker,
    /// The next session's id.
    pub first_session: SessionId,
    /// Unit of expiry, ms.
    pub tick_ms: i64,
    /// Where snapshots belong.
    pub snapshot_dir: Rc<RefCell<PathBuf>>,
    /// Who is told when a snapshot must not be completed.
    pub snapshot_gate: Rc<SnapshotGate>,
    /// What makes it one of an ensemble; `None` for a standalone server.
    pub member: Option<MemberParts>,
}

/// Where a session is used from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Holder {
    /// A connection of this server.
    Here(Origin),
    /// A learner of this leader, by its link.
    There(LinkId),
}

/// No snapshot is due, whatever comes.
const NOT_DUE: (u64, u64) = (u64::MAX, u64::MAX);

/// The order of writes, and the sessions.
pub struct Replica {
    tree: Rc<RefCell<Tree>>,
    /// The tree is this role's alone, so that it applies what it announces; else the serving core beside it does.
    applies: bool,
    effects: Effects,
    prep: Prep,
    settings: PrepSettings,
    sessions: SessionTracker,
    owners: HashMap<SessionId, Holder>,
    /// Expired, marked as closing, and not yet given to the log. At most as many as there are sessions.
    expired: VecDeque<SessionId>,
    log: Rc<LogPort>,
    /// Said while the log had no room and was making some, in order. Clients are not read meanwhile, so that this is
    /// what they had sent before.
    held: VecDeque<ToReplica>,
    serve: Vec<Outlet<ToServe>>,
    shared: Arc<Shared>,
    /// Prepared, in zxid order, not yet announced.
    outstanding: VecDeque<Arc<Committed>>,
    prepared: Zxid,
    durable: Zxid,
    /// What may be announced: what is durable, at a standalone server; what a quorum has, at a member.
    committed: Zxid,
    announced: Zxid,
    /// Bytes that wait for the disk, or are being written, above which clients are not read: a quarter of what the
    /// log itself takes, so that what is already received always fits.
    behind_bytes: u64,
    /// Bytes of all entries given to the log, and of those that it has synced.
    logged_bytes: u64,
    synced_bytes: u64,
    force_sync: bool,
    next_session: i64,
    tick_ms: i64,
    /// Where snapshots belong. Changes when another state is adopted.
    pub snapshot_dir: Rc<RefCell<PathBuf>>,
    /// Whether they may be written.
    pub snapshot_gate: Rc<SnapshotGate>,
    member: Option<Box<Member>>,
    accepting: bool,
    /// Transactions and bytes of log since the last snapshot was begun, and the numbers at which the next one is due.
    since_snapshot: (u64, u64),
    snapshot_at: (u64, u64),
    /// Rung when a snapshot is due.
    pub snapshot_due: Rc<Notify>,
    /// Rung when there is something to announce without the disk's word.
    pub unsynced_work: Rc<Notify>,
    /// What it counts and times.
    pub metrics: Metrics,
}

impl Replica {
    /// A replica that continues after what its tree holds. All its sessions get their full timeout from `now` on.
    pub fn new(parts: ReplicaParts, now: Millis) -> Replica {
        let ReplicaParts {
            tree,
            applies,
            log,
            serve,
            shared,
            settings,
            force_sync,
            behind_bytes,
            mut sessions,
            first_session,
            tick_ms,
            snapshot_dir,
            snapshot_gate,
            member,
        } = parts;
        let last = tree.borrow().last_zxid();
        if member.is_some() {
            snapshot_gate.set_durable(last);
        }
        // A member tracks sessions while it leads.
        if member.is_none() {
            for (session, timeout_ms) in tree.borrow().sessions() {
                sessions.track(session, timeout_ms, now);
            }
        }
        Replica {
            tree,
            applies,
            effects: Effects::deaf(),
            prep: Prep::new(),
            settings,
            sessions,
            owners: HashMap::new(),
            expired: VecDeque::new(),
            log,
            held: VecDeque::new(),
            serve,
            shared,
            outstanding: VecDeque::new(),
            prepared: last,
            durable: last,
            committed: last,
            announced: last,
            behind_bytes,
            logged_bytes: 0,
            synced_bytes: 0,
            force_sync,
            next_session: first_session.to_i64(),
            tick_ms,
            snapshot_dir,
            snapshot_gate,
            member: member.map(|parts| Box::new(Member::new(parts, last, now))),
            accepting: true,
            since_snapshot: (0, 0),
            snapshot_at: NOT_DUE,
            snapshot_due: Rc::new(Notify::default()),
            unsynced_work: Rc::new(Notify::default()),
            metrics: Metrics::new(),
        }
    }

    /// Carries out what a serving core asks, or keeps it until the log has room. What is no part of any order is carried
    /// out at once: heartbeats count and operators are answered while writes wait.
    pub fn handle(&mut self, message: ToReplica, now: Now) {
        match message {
            ToReplica::Touch(session) if self.leads() => self.touch(session, now),
            ToReplica::Touch(session) => self.note_touch(session),
            ToReplica::Ask(survey, word) => self.ask(survey, word),
            ToReplica::Facts(survey, facts) => self.tell(survey.core, ToServe::Facts(survey, facts)),
            message if !self.leads() => self.forward(message),
            message if !self.held.is_empty() || self.must_wait() => self.held.push_back(message),
            message => self.handle_in_order(message, now),
        }
    }

    /// Goes on with what waited for room.
    fn handle_held(&mut self, now: Now) {
        while !self.must_wait()
            && let Some(message) = self.held.pop_front()
        {
            self.handle_in_order(message, now);
        }
    }

    fn handle_in_order(&mut self, message: ToReplica, now: Now) {
        match message {
            ToReplica::Write(write) => self.write(&write, now),
            ToReplica::Open { asked, timeout_ms, seen } => self.open(asked, timeout_ms, seen, now),
            ToReplica::Attach { origin, session, timeout_ms, seen, is_password_right } => {
                let attached = is_password_right.then_some(session);
                self.attach(origin, session, attached, timeout_ms, seen, now);
            }
            ToReplica::Close { asked, session, cxid } => self.close_session(asked, session, cxid, now),
            ToReplica::Sync { asked, .. } if self.member.is_some() => self.sync_here(asked),
            ToReplica::Sync { asked: Asked { origin, ticket }, .. } => {
                self.tell(origin.core, ToServe::Synced { conn: origin.conn, ticket });
            }
            // A leader remembers where the session was last presented: what a learner still has of it from before, and
            // forwards late, must not count.
            ToReplica::Detach { .. } if self.member.is_some() => {}
            ToReplica::Detach { origin, session } => self.detach(origin, session),
            ToReplica::Touch(_) | ToReplica::Ask(..) | ToReplica::Facts(..) => unreachable!("these never wait"),
        }
    }

    fn write(&mut self, write: &Write, now: Now) {
        let Asked { origin, ticket } = write.asked;
        if self.sessions.standing(write.session) != Standing::Open {
            return self.tell(origin.core, ToServe::Dropped { conn: origin.conn, ticket });
        }
        if self.is_foreign(write.session, origin) {
            return self.tell(origin.core, ToServe::Kicked(origin.conn));
        }
        if self.refuses_writes() {
            return self.refuse(write.asked, Code::SystemError);
        }
        let decoded = match wire::Request::decode(write.op, &write.body) {
            Some(Ok(decoded)) => decoded,
            // A broken multi consumes a zxid in ZooKeeper, and clients can see it; nothing else broken does, and not one
            // that breaks at a null ACL list (`CreateOptions` throws what its caller does not catch).
            Some(Err(error)) if write.op == OpCode::Multi && error != DecodeError::NullAcl => {
                return self.order_write(&Request::MultiUndecodable, write, now);
            }
            Some(Err(_)) => return self.refuse(write.asked, Code::MarshallingError),
            None => return self.refuse(write.asked, Code::Unimplemented),
        };
        match codec::request::to_tree(&decoded) {
            Some(request) => self.order_write(&request, write, now),
            None => self.refuse(write.asked, Code::Unimplemented),
        }
    }

    /// Removes a container or TTL node that is due, if it still is one without children when its turn comes.
    pub fn delete_container(&mut self, path: &str, now: Now) {
        if self.has_room() {
            let request = Request::DeleteContainer { path };
            self.order(&request, &Order::by_server(SessionId::NONE), now);
        }
    }

    /// Asks everybody, itself too, for what a word needs. The answers go to whoever was asked for the word.
    fn ask(&mut self, survey: SurveyId, word: Word) {
        let is_dump = word == Word::Dump;
        let facts = ReplicaFacts {
            metrics: matches!(word, Word::Mntr | Word::Srvr | Word::Stat).then(|| self.metrics.clone()),
            sessions: self.sessions.len(),
            outstanding: self.outstanding.len(),
            has_room: self.log.room() != Room::Out,
            ensemble: self.ensemble_facts(),
            expiries: self.sessions.buckets().filter(|_| is_dump).map(|(due, ids)| (due, ids.collect())).collect(),
        };
        if word == Word::Srst {
            self.metrics.reset();
        }
        for core in &self.serve {
            core.post(ToServe::Ask(survey, word));
        }
        self.tell(survey.core, ToServe::Facts(survey, Box::new(Facts::Replica(facts))));
    }

    fn tell(&self, core: u16, message: ToServe) {
        self.serve[usize::from(core)].post(message);
    }

    fn refuse(&self, asked: Asked, code: Code) {
        self.tell(asked.origin.core, ToServe::Refused { conn: asked.origin.conn, ticket: asked.ticket, code });
    }

    /// What makes it one of an ensemble, to look at.
    pub fn member(&self) -> Option<&Member> {
        self.member.as_deref()
    }

    /// Transactions that are prepared and not yet announced.
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// Whether clients here wait for what will be committed soon. What a member that lost its leader has logged may never be.
    pub fn awaits_commits(&self) -> bool {
        self.leads() && !self.outstanding.is_empty()
    }

    /// Sets when the next snapshot is due: transactions or bytes of log since the last one was begun.
    pub fn set_snapshot_at(&mut self, txns: u64, bytes: u64) {
        self.snapshot_at = (txns, bytes);
        self.count_towards_snapshot(0, 0);
    }

    /// A snapshot begins: counting starts again.
    pub fn snapshot_begins(&mut self) {
        self.since_snapshot = (0, 0);
        self.snapshot_at = NOT_DUE;
    }

    /// More transactions and bytes of log for the next snapshot.
    pub fn count_towards_snapshot(&mut self, txns: u64, bytes: u64) {
        self.since_snapshot.0 += txns;
        self.since_snapshot.1 += bytes;
        if self.since_snapshot.0 >= self.snapshot_at.0 || self.since_snapshot.1 >= self.snapshot_at.1 {
            self.snapshot_at = NOT_DUE;
            self.snapshot_due.ring();
        }
    }

    /// Takes no more writes: the server stops. Those that waited for room are refused.
    pub fn stop_accepting(&mut self, now: Now) {
        self.accepting = false;
        self.handle_held(now);
    }

    /// Whether the log will take writes, but not yet.
    fn must_wait(&self) -> bool {
        self.accepting && self.log.room() == Room::Soon
    }

    /// Whether a write that need not wait is refused. A far log may have run out of room since somebody looked whether it
    /// must: what is ordered then waits there.
    fn refuses_writes(&self) -> bool {
        !self.accepting || self.log.room() == Room::Out
    }

    /// Whether the server may order a write of its own, which can come again later.
    fn has_room(&self) -> bool {
        self.accepting && self.leads() && self.log.room() == Room::Free
    }

    fn order_write(&mut self, request: &Request<'_>, write: &Write, now: Now) {
        let order = Order {
            asked: Some(write.asked),
            session: write.session,
            cxid: write.cxid,
            identities: &write.identities,
            frame: Some(&write.body),
        };
        self.order(request, &order, now);
    }

    fn order(&mut self, request: &Request<'_>, order: &Order<'_>, now: Now) {
        // A standalone server has no epochs: ZooKeeper lets the counter run on into the high half, and so do we. A leader
        // resigns before that.
        let zxid = Zxid::from_u64(self.prepared.to_u64() + 1);
        let context = PrepContext {
            session: order.session,
            standing: Standing::Open,
            cxid: order.cxid,
            zxid,
            time: now.wall.to_i64(),
            identities: order.identities,
            frame: order.frame,
            settings: &self.settings,
        };
        let mut txn = self.prep.prepare(&self.tree.borrow(), &context, request);
        self.prepared = zxid;
        if self.member.is_some() {
            let entry = self.log.encode(&mut txn);
            self.outstanding.push_back(Arc::new(Committed { txn, asked: order.asked, prepared_at: now.instant }));
            return self.propose(zxid, entry, now);
        }
        let entry_len = self.log.append(&mut txn) as u64;
        self.logged_bytes += entry_len;
        self.count_towards_snapshot(1, entry_len);
        self.outstanding.push_back(Arc::new(Committed { txn, asked: order.asked, prepared_at: now.instant }));
    }

    /// A session's next id. Another member makes others: the top byte is this one's.
    fn new_session_id(&mut self) -> SessionId {
        let session = SessionId::new(self.next_session);
        self.next_session = self.next_session.wrapping_add(1);
        session
    }

    /// Whether a session is used from elsewhere. What nobody has used since this member leads is taken by who uses it.
    fn is_foreign(&mut self, session: SessionId, origin: Origin) -> bool {
        let holder = self.owners.get(&session).copied();
        match holder {
            None if self.member.is_some() => {
                self.owners.insert(session, Holder::Here(origin));
                false
            }
            holder => holder != Some(Holder::Here(origin)),
        }
    }
}

/// Whose a request is, and who waits for it.
struct Order<'a> {
    asked: Option<Asked>,
    session: SessionId,
    cxid: Xid,
    identities: &'a [Identity],
    frame: Option<&'a bytes::Bytes>,
}

impl Order<'_> {
    /// The server's own.
    fn by_server(session: SessionId) -> Order<'static> {
        Order { asked: None, session, cxid: Xid::new(0), identities: &[], frame: None }
    }
}

#[cfg(test)]
mod tests;
