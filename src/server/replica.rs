//! Replica: the one place where writes get their order. Prepares them, gives them to the log, says when they count.
//!
//! Flow       write -> prepare against tree + outstanding changes -> txn -> log;  disk's word -> committed, in order.
//! Invariant  applied <= durable <= prepared, by zxid. Nothing leaves `take_durable` that the disk has not confirmed.
//! Absent     connections and replies (`frontend`), and the disk itself: the log task moves `durable` forward.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use ids::{Millis, SessionId, Xid, Zxid};
use net::error::DecodeError;
use net::opcode::OpCode;
use net::record as wire;
use tree::acl::Identity;
use tree::code::Code;
use tree::prep::{Prep, PrepContext, PrepSettings};
use tree::request::Request;
use tree::session::{SessionTracker, Standing};
use tree::tree::Tree;
use tree::txn::{Txn, TxnOp};

use super::codec;
use super::notify::Notify;
use super::storage::ServerLog;

/// A connection, by the slot it has on its core. The generation tells it from earlier tenants of the slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnId {
    /// Index into the core's connections.
    pub slot: u32,
    /// How many connections had the slot before.
    pub generation: u32,
}

/// Who waits for an answer, or holds a session: a connection of one serving core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    /// Number of the serving core.
    pub core: u16,
    /// The connection on it.
    pub conn: ConnId,
}

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

/// A transaction that the disk holds, to be applied next.
#[derive(Debug)]
pub struct Committed {
    /// What happens.
    pub txn: Txn,
    /// Who asked; `None` when the server itself did.
    pub origin: Option<Origin>,
    /// When it was given to the log.
    pub prepared_at: Instant,
}

/// What became of a write that was handed in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Submitted {
    /// It has a zxid; its answer comes when it is committed.
    Queued,
    /// It has none; answer with this code when its turn comes.
    Refused(Code),
    /// Its session lives on another connection now: close this one without an answer.
    Moved,
    /// Its session is closing or gone: no answer.
    Dropped,
}

/// What became of a wish to re-attach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attached {
    /// The session is this connection's now; the connection that had it, if any, must go.
    Yes(Option<Origin>),
    /// Unknown or closing.
    No,
}

/// A write as the wire brought it.
pub struct Write<'a> {
    /// The connection that sent it.
    pub origin: Origin,
    /// Its session.
    pub session: SessionId,
    /// Its number.
    pub cxid: Xid,
    /// What it asks.
    pub op: OpCode,
    /// The record behind the header.
    pub body: &'a [u8],
    /// Who asks, as known when it was received.
    pub identities: &'a [Identity],
}

/// No snapshot is due, whatever comes.
const NOT_DUE: (u64, u64) = (u64::MAX, u64::MAX);

/// The order of writes, and the sessions.
pub struct Replica {
    tree: Rc<RefCell<Tree>>,
    prep: Prep,
    settings: PrepSettings,
    sessions: SessionTracker,
    owners: HashMap<SessionId, Origin>,
    log: Rc<ServerLog>,
    /// Prepared, in zxid order, not yet taken.
    outstanding: VecDeque<Committed>,
    prepared: Zxid,
    durable: Zxid,
    /// Rung when the log has something to write.
    pub log_work: Rc<Notify>,
    next_session: i64,
    accepting: bool,
    /// Transactions and bytes of log since the last snapshot was begun, and the numbers at which the next one is due.
    since_snapshot: (u64, u64),
    snapshot_at: (u64, u64),
    /// Rung when a snapshot is due.
    pub snapshot_due: Rc<Notify>,
}

impl Replica {
    /// A replica that continues after what `tree` holds. All its sessions get their full timeout from `now` on.
    pub fn new(
        tree: Rc<RefCell<Tree>>,
        log: Rc<ServerLog>,
        settings: PrepSettings,
        mut sessions: SessionTracker,
        first_session: SessionId,
        now: Millis,
    ) -> Replica {
        let last = tree.borrow().last_zxid();
        for (session, timeout_ms) in tree.borrow().sessions() {
            sessions.track(session, timeout_ms, now);
        }
        Replica {
            tree,
            prep: Prep::new(),
            settings,
            sessions,
            owners: HashMap::new(),
            log,
            outstanding: VecDeque::new(),
            prepared: last,
            durable: last,
            log_work: Rc::new(Notify::default()),
            next_session: first_session.to_i64(),
            accepting: true,
            since_snapshot: (0, 0),
            snapshot_at: NOT_DUE,
            snapshot_due: Rc::new(Notify::default()),
        }
    }

    /// Takes one write of a client.
    pub fn submit(&mut self, write: &Write<'_>, now: Now) -> Submitted {
        if !self.is_live(write.session) {
            return Submitted::Dropped;
        }
        if self.owners.get(&write.session) != Some(&write.origin) {
            return Submitted::Moved;
        }
        if self.room_is_out() {
            return Submitted::Refused(Code::SystemError);
        }
        let decoded = match wire::Request::decode(write.op, write.body) {
            Some(Ok(decoded)) => decoded,
            // A broken multi consumes a zxid in ZooKeeper, and clients can see it; nothing else broken does, and not one
            // that breaks at a null ACL list (`CreateOptions` throws what its caller does not catch).
            Some(Err(error)) if write.op == OpCode::Multi && error != DecodeError::NullAcl => {
                let request = Request::MultiUndecodable;
                self.order(&request, Some(write.origin), write.session, write.cxid, write.identities, now);
                return Submitted::Queued;
            }
            Some(Err(_)) => return Submitted::Refused(Code::MarshallingError),
            None => return Submitted::Refused(Code::Unimplemented),
        };
        let Some(request) = codec::request::to_tree(&decoded) else {
            return Submitted::Refused(Code::Unimplemented);
        };
        self.order(&request, Some(write.origin), write.session, write.cxid, write.identities, now);
        Submitted::Queued
    }

    /// Starts a session for `origin`. Its id is known at once, its existence when the transaction is committed.
    /// `None` when the disk has no room for it.
    pub fn create_session(&mut self, origin: Origin, timeout_ms: i32, now: Now) -> Option<SessionId> {
        if self.room_is_out() {
            return None;
        }
        let session = SessionId::new(self.next_session);
        self.next_session = self.next_session.wrapping_add(1);
        self.sessions.track(session, timeout_ms, now.monotonic);
        self.owners.insert(session, origin);
        let request = Request::CreateSession { timeout_ms };
        self.order(&request, Some(origin), session, Xid::new(0), &[], now);
        Some(session)
    }

    /// Gives a living session to `origin`, with a new timeout. Whoever presents it has been checked.
    pub fn attach(&mut self, origin: Origin, session: SessionId, timeout_ms: i32, now: Now) -> Attached {
        if !self.sessions.renew(session, timeout_ms, now.monotonic) {
            return Attached::No;
        }
        let previous = self.owners.insert(session, origin);
        Attached::Yes(previous.filter(|previous| *previous != origin))
    }

    /// The connection is gone. The session lives on, without an owner, until it expires or is attached again.
    pub fn detach(&mut self, origin: Origin, session: SessionId) {
        if self.owners.get(&session) == Some(&origin) {
            self.owners.remove(&session);
        }
    }

    /// Ends a session: its client asked (`origin`), or it expired. False when the disk has no room to say so.
    pub fn close_session(&mut self, session: SessionId, cxid: Xid, origin: Option<Origin>, now: Now) -> bool {
        if self.room_is_out() {
            return false;
        }
        self.sessions.set_closing(session);
        self.order(&Request::CloseSession, origin, session, cxid, &[], now);
        true
    }

    /// Removes a container or TTL node that is due, if it still is one without children when its turn comes.
    pub fn delete_container(&mut self, path: &str, now: Now) {
        if !self.room_is_out() {
            let request = Request::DeleteContainer { path };
            self.order(&request, None, SessionId::NONE, Xid::new(0), &[], now);
        }
    }

    /// Somebody heard from `session`. False when it is closing or gone.
    pub fn touch(&mut self, session: SessionId, now: Millis) -> bool {
        self.sessions.touch(session, now)
    }

    /// Whether `session` is tracked and not closing.
    pub fn is_live(&self, session: SessionId) -> bool {
        self.sessions.standing(session) == Standing::Open
    }

    /// Ends every session whose time is up, and says which. Without room on the disk none can end: they wait for it.
    pub fn expire(&mut self, now: Now) -> Vec<SessionId> {
        let mut due = Vec::new();
        if self.room_is_out() {
            return due;
        }
        self.sessions.expire(now.monotonic, &mut due);
        for session in &due {
            tracing::info!(%session, "session expired; closing it");
            self.order(&Request::CloseSession, None, *session, Xid::new(0), &[], now);
        }
        due
    }

    /// The disk's word that everything up to `upto` survives a crash.
    pub fn on_durable(&mut self, upto: Zxid) {
        assert!(upto <= self.prepared, "the disk confirmed {upto}, prepared is only {}", self.prepared);
        self.durable = self.durable.max(upto);
    }

    /// `forceSync=no`: what is in memory counts as durable. Survives a crash of nothing.
    pub fn trust_memory(&mut self) {
        self.durable = self.prepared;
    }

    /// The next transaction that the disk holds. The caller applies it and calls [`Replica::applied`] before anything
    /// else is handed in.
    pub fn take_durable(&mut self) -> Option<Committed> {
        let first = self.outstanding.front()?;
        if first.txn.zxid > self.durable {
            return None;
        }
        self.outstanding.pop_front()
    }

    /// `committed` is in the tree.
    pub fn applied(&mut self, txn: &Txn) {
        self.prep.applied(txn.zxid);
        if let TxnOp::CloseSession { .. } = txn.op {
            self.sessions.remove(txn.session);
            self.owners.remove(&txn.session);
        }
    }

    /// Transactions that are prepared and not yet taken.
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// The session tracker, for reports.
    pub fn sessions(&self) -> &SessionTracker {
        &self.sessions
    }

    /// Whether so much waits for the disk that clients must not be read for now.
    pub fn log_is_behind(&self) -> bool {
        self.log.is_behind()
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

    /// Takes no more writes: the server stops.
    pub fn stop_accepting(&mut self) {
        self.accepting = false;
    }

    /// Whether the log takes writes.
    pub fn has_room(&self) -> bool {
        self.log.has_room()
    }

    fn room_is_out(&self) -> bool {
        !self.accepting || !self.has_room()
    }

    fn order(
        &mut self,
        request: &Request<'_>,
        origin: Option<Origin>,
        session: SessionId,
        cxid: Xid,
        identities: &[Identity],
        now: Now,
    ) {
        // A standalone server has no epochs: ZooKeeper lets the counter run on into the high half, and so do we.
        let zxid = Zxid::from_u64(self.prepared.to_u64() + 1);
        let context = PrepContext {
            session,
            standing: Standing::Open,
            cxid,
            zxid,
            time: now.wall.to_i64(),
            identities,
            frame: None,
            settings: &self.settings,
        };
        let mut txn = self.prep.prepare(&self.tree.borrow(), &context, request);
        let entry_len = self.log.append(&mut txn);
        self.prepared = zxid;
        self.count_towards_snapshot(1, entry_len as u64);
        self.outstanding.push_back(Committed { txn, origin, prepared_at: now.instant });
        self.log_work.ring();
    }
}
