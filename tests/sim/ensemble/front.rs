//! The serving core of a simulated server: connections of clients, their requests in order, and the tree that it shares with
//! the replica beside it. As much of `server::frontend` as the checks need to look through.
//!
//! Flow       frames -> `ToReplica`, or the connection's queue;  `ToServe` -> tree, watches, queues -> frames.
//! Invariant  a connection's requests are answered in their order; a notification leaves before any reply that reflects
//!            its transaction. Everything that is applied is reported.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use ids::{SessionId, Xid, Zxid};
use net::jute::{Record as _, decode};
use net::opcode::OpCode;
use net::record::{ConnectRequest, ConnectResponse, ExistsRequest, ReplyHeader, RequestHeader, WatcherEvent, xid};
use ringkeeper::server::mesh::Outlet;
use ringkeeper::server::messages::{Asked, Committed, ConnId, Origin, ToReplica, ToServe, Write};
use ringkeeper::server::replica::member::Mode;
use ringkeeper::server::shared::Shared;
use tree::effects::Effects;
use tree::session::{is_password, password};
use tree::tree::Tree;
use tree::txn::TxnOp;
use tree::watch::{Watch, WatcherId, Watches};

use super::{Report, naming, speech};
use crate::sim::stream;

/// What is to be done with a connection.
#[derive(Debug)]
pub enum Do {
    /// Send this.
    Send(stream::ConnId, Vec<u8>),
    /// End it behind what was sent.
    Close(stream::ConnId),
}

/// What a request waits for.
#[derive(Debug)]
enum Wait {
    /// The replica's word.
    Replica {
        ticket: u32,
        is_sync: bool,
    },
    /// Its turn: then this is read, or it is answered with the code.
    Read {
        path: String,
        watch: bool,
    },
    Code(i32),
    Sync,
    /// The same; it was applied at this zxid.
    Done {
        code: i32,
        zxid: Zxid,
    },
}

#[derive(Debug)]
struct Entry {
    xid: i32,
    wait: Wait,
}

#[derive(Debug)]
struct Conn {
    stream: stream::ConnId,
    received: Vec<u8>,
    session: SessionId,
    timeout_ms: i32,
    is_greeted: bool,
    is_serving: bool,
    /// Nothing more is answered: the session is ending.
    is_mute: bool,
    queue: VecDeque<Entry>,
}

/// See the head of the file.
pub struct Front {
    tree: Rc<RefCell<Tree>>,
    to_replica: Outlet<ToReplica>,
    shared: Arc<Shared>,
    watches: Watches,
    effects: Effects,
    conns: BTreeMap<u32, Conn>,
    by_stream: BTreeMap<stream::ConnId, u32>,
    next_conn: u32,
    next_ticket: u32,
    mode: Mode,
    /// To be done, and to be told.
    pub todo: Vec<Do>,
    /// What was seen.
    pub reports: Vec<Report>,
    /// What must not be.
    pub problem: Option<String>,
}

impl Front {
    /// Over a tree that nobody else applies to.
    pub fn new(tree: Rc<RefCell<Tree>>, to_replica: Outlet<ToReplica>, shared: Arc<Shared>) -> Front {
        Front {
            tree,
            to_replica,
            shared,
            watches: Watches::new(7),
            effects: Effects::new(),
            conns: BTreeMap::new(),
            by_stream: BTreeMap::new(),
            next_conn: 0,
            next_ticket: 0,
            mode: Mode::Idle,
            todo: Vec::new(),
            reports: Vec::new(),
            problem: None,
        }
    }

    /// What this server is to clients.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// A client has connected.
    pub fn accepted(&mut self, stream: stream::ConnId) {
        let conn = Conn {
            stream,
            received: Vec::new(),
            session: SessionId::NONE,
            timeout_ms: 0,
            is_greeted: false,
            is_serving: false,
            is_mute: false,
            queue: VecDeque::new(),
        };
        self.next_conn += 1;
        self.conns.insert(self.next_conn, conn);
        self.by_stream.insert(stream, self.next_conn);
    }

    /// Bytes of a client.
    pub fn bytes(&mut self, stream: stream::ConnId, bytes: &[u8]) {
        if let Some(&slot) = self.by_stream.get(&stream) {
            self.conns.get_mut(&slot).expect("the two maps agree").received.extend_from_slice(bytes);
            self.read(slot);
        }
    }

    /// A client is gone.
    pub fn closed(&mut self, stream: stream::ConnId) {
        if let Some(slot) = self.by_stream.get(&stream).copied() {
            self.forget(slot);
        }
    }

    fn forget(&mut self, slot: u32) {
        let Some(conn) = self.conns.remove(&slot) else { return };
        self.by_stream.remove(&conn.stream);
        self.watches.remove_watcher(WatcherId(slot));
        if conn.session != SessionId::NONE {
            self.to_replica.post(ToReplica::Detach { origin: origin(slot), session: conn.session });
        }
    }

    fn close(&mut self, slot: u32) {
        if let Some(conn) = self.conns.get(&slot) {
            self.todo.push(Do::Close(conn.stream));
            self.forget(slot);
        }
    }

    /// Takes frames, unless the log is behind.
    fn read(&mut self, slot: u32) {
        while !self.shared.log_is_behind()
            && let Some(conn) = self.conns.get_mut(&slot)
            && let Some(frame) = speech::next_frame(&mut conn.received)
        {
            if conn.is_mute {
                continue;
            }
            if conn.is_greeted {
                self.request(slot, &frame);
            } else {
                conn.is_greeted = true;
                self.greeting(slot, &frame);
            }
        }
    }

    fn ask(&mut self, slot: u32) -> Asked {
        self.next_ticket += 1;
        Asked { origin: origin(slot), ticket: self.next_ticket }
    }

    fn greeting(&mut self, slot: u32, frame: &[u8]) {
        let request: ConnectRequest<'_> = decode(frame).expect("clients say it right");
        if self.mode == Mode::Idle {
            return self.close(slot);
        }
        let asked = self.ask(slot);
        let conn = self.conns.get_mut(&slot).expect("it has said something");
        conn.timeout_ms = request.timeout_ms;
        conn.queue.push_back(Entry { xid: 0, wait: Wait::Replica { ticket: asked.ticket, is_sync: false } });
        let (timeout_ms, seen) = (request.timeout_ms, Zxid::from_wire(request.last_zxid_seen));
        if request.session_id == 0 {
            return self.to_replica.post(ToReplica::Open { asked, timeout_ms, seen });
        }
        let (origin, session) = (asked.origin, SessionId::new(request.session_id));
        let is_password_right = request.password.is_some_and(|given| is_password(session, given));
        self.to_replica.post(ToReplica::Attach { origin, session, timeout_ms, seen, is_password_right });
    }

    fn request(&mut self, slot: u32, frame: &[u8]) {
        let (header, body): (RequestHeader, _) = speech::split(frame).expect("clients say it right");
        let op = OpCode::from_wire(header.op).expect("clients say it right");
        let session = self.conns[&slot].session;
        self.to_replica.post(ToReplica::Touch(session));
        let asked = self.ask(slot);
        let (body, identities) = (Bytes::copy_from_slice(body), Arc::from([]));
        let cxid = Xid::new(header.xid);
        let mut wait = Wait::Replica { ticket: asked.ticket, is_sync: op == OpCode::Sync };
        match op {
            OpCode::Ping => return self.say(slot, header.xid, self.applied(), 0, &[]),
            OpCode::Exists => {
                let read: ExistsRequest<'_> = decode(&body).expect("clients say it right");
                wait = Wait::Read { path: read.path.into_owned(), watch: read.watch };
            }
            OpCode::Sync => self.to_replica.post(ToReplica::Sync { asked, session, cxid, body, identities }),
            OpCode::CloseSession => self.to_replica.post(ToReplica::Close { asked, session, cxid }),
            op => self.to_replica.post(ToReplica::Write(Write { asked, session, cxid, op, body, identities })),
        }
        let conn = self.conns.get_mut(&slot).expect("it has said something");
        conn.queue.push_back(Entry { xid: header.xid, wait });
        self.run_queue(slot);
    }

    fn applied(&self) -> Zxid {
        self.tree.borrow().last_zxid()
    }

    fn say(&mut self, slot: u32, xid: i32, zxid: Zxid, err: i32, body: &[u8]) {
        let Some(conn) = self.conns.get(&slot).filter(|conn| !conn.is_mute) else { return };
        let header = ReplyHeader { xid, zxid: zxid.to_wire(), err };
        self.todo.push(Do::Send(conn.stream, speech::reply(header, body)));
    }

    /// Answers what is ready, in order.
    fn run_queue(&mut self, slot: u32) {
        while let Some(conn) = self.conns.get_mut(&slot)
            && let Some(entry) = conn.queue.pop_front_if(|entry| !matches!(entry.wait, Wait::Replica { .. }))
        {
            let applied = self.applied();
            match entry.wait {
                Wait::Replica { .. } => unreachable!("just looked"),
                Wait::Code(code) => self.say(slot, entry.xid, applied, code, &[]),
                Wait::Sync => self.say(slot, entry.xid, applied, 0, &[]),
                Wait::Done { code, zxid } => self.say(slot, entry.xid, applied, code, &zxid.to_u64().to_be_bytes()),
                Wait::Read { path, watch } => {
                    let tree = self.tree.borrow();
                    let found = tree.get(&path);
                    let data = found.as_ref().and_then(|node| node.data().map(|data| data.as_slice().to_vec()));
                    let code = if found.is_some() { 0 } else { tree::code::Code::NoNode.to_i32() };
                    drop(tree);
                    if watch {
                        self.watches.add(WatcherId(slot), &path, Watch::Data);
                    }
                    self.say(slot, entry.xid, applied, code, &data.unwrap_or_default());
                }
            }
        }
    }

    /// What the replica says. Returns the last transaction that was applied, if one was.
    pub fn take(&mut self, message: ToServe) -> Option<Zxid> {
        match message {
            ToServe::Committed(committed) => {
                self.apply(&committed);
                return Some(committed.txn.zxid);
            }
            ToServe::Refused { conn, ticket, code } => self.decide(conn, ticket, Wait::Code(code.to_i32())),
            ToServe::Synced { conn, ticket } => self.decide(conn, ticket, Wait::Sync),
            ToServe::Dropped { conn, .. } | ToServe::Expiring(conn) => {
                if let Some(conn) = self.conns.get_mut(&conn.slot) {
                    conn.is_mute = true;
                }
            }
            ToServe::Attached { conn, session } => {
                if let Some(entry) = self.conns.get_mut(&conn.slot) {
                    entry.queue.pop_front();
                    self.establish(conn.slot, session);
                }
            }
            ToServe::Unknown { conn, .. } => {
                self.respond(conn.slot, &ConnectResponse::refused(None));
                self.close(conn.slot);
            }
            ToServe::Ahead { conn, .. } | ToServe::Kicked(conn) => self.close(conn.slot),
            ToServe::Relief => {
                let slots: Vec<u32> = self.conns.keys().copied().collect();
                slots.into_iter().for_each(|slot| self.read(slot));
            }
            ToServe::Stands(mode) => self.stand(mode),
            ToServe::Replaced => {
                let (zxid, tree) = (self.applied().to_u64(), self.tree.borrow().digest());
                self.reports.push(Report::Holds { zxid, tree });
            }
            ToServe::Replace(_) => unreachable!("the tree is shared"),
            ToServe::Ask(..) | ToServe::Facts(..) | ToServe::End => {}
        }
        None
    }

    fn stand(&mut self, mode: Mode) {
        self.mode = mode;
        if mode == Mode::Idle {
            self.reports.push(Report::Idle);
            let greeted = self.conns.iter().filter(|(_, conn)| conn.is_greeted);
            let slots: Vec<u32> = greeted.map(|(slot, _)| *slot).collect();
            slots.into_iter().for_each(|slot| self.close(slot));
        }
    }

    fn decide(&mut self, conn: ConnId, asked: u32, wait: Wait) {
        let Some(entry) = self.conns.get_mut(&conn.slot) else { return };
        let waiting = |entry: &&mut Entry| matches!(entry.wait, Wait::Replica { ticket, .. } if ticket == asked);
        let Some(entry) = entry.queue.iter_mut().find(waiting) else {
            self.problem = Some(format!("the replica answers {asked}, for which nobody waits"));
            return;
        };
        if entry.xid == 0 {
            // A session that the log has no room for.
            return self.close(conn.slot);
        }
        entry.wait = wait;
        self.run_queue(conn.slot);
    }

    fn apply(&mut self, committed: &Committed) {
        let txn = &committed.txn;
        self.effects.set_deaf(self.watches.is_empty());
        let mut effects = std::mem::take(&mut self.effects);
        let mut code = self.tree.borrow_mut().apply(txn, &mut effects).header_code();
        // A multi says so in its results only.
        if let TxnOp::Multi(ops) = &txn.op {
            code =
                ops.iter().find_map(|op| if let TxnOp::Error(code) = op { Some(*code) } else { None }).unwrap_or(code);
        }
        if let Some(mismatch) = effects.digest_mismatch() {
            self.problem = Some(format!("identical history: {:#x} leads to {mismatch:x?}", txn.zxid.to_u64()));
        }
        match naming::name(txn, self.tree.borrow().digest()) {
            Ok(txn) => self.reports.push(Report::Applied { txn, is_standing: self.mode != Mode::Idle }),
            Err(problem) => self.problem = Some(problem),
        }
        for change in effects.changes() {
            let (conns, todo) = (&self.conns, &mut self.todo);
            self.watches.fire(&change, |notification| {
                let Some(conn) = conns.get(&notification.watcher.0).filter(|conn| !conn.is_mute) else { return };
                let frame = speech::frame(|writer| {
                    ReplyHeader { xid: xid::NOTIFICATION, zxid: txn.zxid.to_wire(), err: 0 }.encode(writer);
                    WatcherEvent::new(notification.kind.to_wire(), notification.path).encode(writer);
                });
                todo.push(Do::Send(conn.stream, frame));
            });
        }
        effects.clear();
        self.effects = effects;
        if let Some(asked) = committed.asked {
            self.complete(asked, txn.session, code, txn.zxid);
        }
        if let TxnOp::CloseSession { .. } = txn.op {
            let ended = |(_, conn): &(&u32, &Conn)| conn.session == txn.session;
            if let Some(slot) = self.conns.iter().find(ended).map(|(slot, _)| *slot) {
                self.close(slot);
            }
        }
    }

    fn complete(&mut self, asked: Asked, session: SessionId, code: i32, zxid: Zxid) {
        let slot = asked.origin.conn.slot;
        let Some(conn) = self.conns.get_mut(&slot) else { return };
        let waits = |entry: &Entry| matches!(entry.wait, Wait::Replica { is_sync: false, .. });
        let at = conn.queue.iter().position(waits);
        let first = at.map(|at| &mut conn.queue[at]);
        match first {
            Some(Entry { wait: Wait::Replica { ticket, .. }, .. }) if *ticket != asked.ticket => {
                self.problem = Some(format!("session order: {} is committed, {ticket} waits", asked.ticket));
            }
            Some(entry) if entry.xid == 0 => {
                conn.queue.pop_front();
                self.establish(slot, session);
            }
            Some(entry) => {
                entry.wait = Wait::Done { code, zxid };
                self.run_queue(slot);
            }
            None => self.problem = Some(format!("session order: {} is committed, nobody waits", asked.ticket)),
        }
    }

    fn establish(&mut self, slot: u32, session: SessionId) {
        let Some(conn) = self.conns.get_mut(&slot) else { return };
        conn.session = session;
        conn.is_serving = true;
        let (timeout_ms, secret) = (conn.timeout_ms, password(session));
        let session_id = session.to_i64();
        let password = Some(&secret[..]);
        self.respond(slot, &ConnectResponse { protocol_version: 0, timeout_ms, session_id, password, read_only: None });
        self.run_queue(slot);
    }

    fn respond(&mut self, slot: u32, response: &ConnectResponse<'_>) {
        if let Some(conn) = self.conns.get(&slot) {
            self.todo.push(Do::Send(conn.stream, speech::frame(|writer| response.encode(writer))));
        }
    }
}

fn origin(slot: u32) -> Origin {
    Origin { core: 0, conn: ConnId { slot, generation: 1 } }
}
