//! Frontend: one serving core's connections. Takes frames, answers reads, hands writes to the replica, tells watchers.
//!
//! Flow       bytes -> frames -> `dispatch` -> read answered | write posted;  `mail`: commit -> apply -> watches -> replies.
//! Invariant  a reply is built when its turn in its connection's queue has come, from the tree as it is then; the
//!            notifications of a transaction enter an outbox before any reply that reflects it.
//! Absent     waiting. Every method here runs to its end; the tasks in `connections` and `core` do the awaiting.

pub mod answer;
pub mod connection;
mod dispatch;
mod handshake;
mod lifecycle;
pub mod listing;
mod mail;
mod reads;
pub mod survey;
pub mod throttle;
mod watching;
pub mod words;
mod writes;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use ids::{SessionId, Zxid};
use net::buffer::{Kept, ReceiveBuffer};
use net::conn::Flushed;
use tree::effects::Effects;
use tree::tree::Tree;
use tree::watch::Watches;

use super::mesh::Outlet;
use super::messages::{Asked, ConnId, Origin, ToReplica};
use super::metrics::{Counter, Latency, Metrics};
use super::notify::Notify;
use super::replica::Now;
use super::replica::member::Mode;
use super::settings::ServeSettings;
use super::shared::Shared;
use connection::{Conn, Phase};

/// Bytes of answers that may wait for a client before its requests are no longer read.
const OUTBOX_HIGH_BYTES: usize = 1 << 20;

/// Requests of one connection that may wait. Beyond `globalOutstandingLimit`, because requests with an xid that is not
/// positive do not count there.
const QUEUE_MAX: usize = 4096;

/// Bytes of notifications that may wait for a client that does not read. It is disconnected then, and asks with
/// setWatches for what it missed when it comes back.
const NOTIFIED_MAX_BYTES: usize = 8 << 20;

/// Connections that are sent to in one turn: some 1 ms.
const FLUSH_TURN_MAX: usize = 128;

/// What the task that reads a connection does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Receive more bytes.
    Receive,
    /// Nothing may be read now: wait for the bell.
    Wait,
    /// Send what is left, then close.
    Finish,
    /// Close.
    Close,
}

struct Slot {
    generation: u32,
    conn: Option<Conn>,
}

/// One serving core.
pub struct Frontend {
    /// Its number.
    core: u16,
    settings: Rc<ServeSettings>,
    tree: Rc<RefCell<Tree>>,
    to_replica: Outlet<ToReplica>,
    shared: Arc<Shared>,
    /// What this server is to clients.
    mode: Mode,
    /// `globalOutstandingLimit` and the like count for the server: this core's part of them is one of so many.
    serve_cores: usize,
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_session: HashMap<SessionId, ConnId>,
    connections: usize,
    watches: Watches,
    effects: Effects,
    /// Requests of this turn that have to wait.
    kept: Kept,
    /// Connections with answers to send at the end of the turn, or of one soon.
    dirty: Vec<ConnId>,
    /// Requests with a positive xid in the queues of all connections.
    in_process: usize,
    /// Connections that are not read because too much is in process.
    held_back: Vec<ConnId>,
    /// Connections whose first entry is a listing under way.
    listings: Vec<ConnId>,
    /// What handshakes cost.
    handshakes: throttle::HandshakeBucket,
    /// Bytes of large requests in the queues.
    large_bytes: usize,
    /// Rung when `listings` gets its first entry.
    pub listing_work: Rc<Notify>,
    /// Rung when a turn ends with connections still in `dirty`.
    pub flush_work: Rc<Notify>,
    /// Rung when the replica has said its last: the server stops.
    pub ended: Rc<Notify>,
    /// Rung when a survey begins, which is not waited for without end.
    pub survey_work: Rc<Notify>,
    /// What it counts and times.
    pub metrics: Metrics,
    surveys: survey::Surveys,
    /// The digest after each transaction whose zxid is a multiple of 128, oldest first.
    digests: VecDeque<(Zxid, u64)>,
}

impl Frontend {
    /// A core without connections.
    pub fn new(
        (core, serve_cores): (u16, usize),
        settings: Rc<ServeSettings>,
        tree: Rc<RefCell<Tree>>,
        to_replica: Outlet<ToReplica>,
        shared: Arc<Shared>,
    ) -> Frontend {
        let settings_mode = settings.first_mode;
        let watches = Watches::new(settings.hash_seed);
        let handshakes =
            throttle::HandshakeBucket::new(settings.config.local.connection_throttle.clone(), settings.started);
        Frontend {
            core,
            settings,
            tree,
            to_replica,
            shared,
            mode: settings_mode,
            serve_cores,
            slots: Vec::new(),
            free: Vec::new(),
            by_session: HashMap::new(),
            connections: 0,
            watches,
            effects: Effects::default(),
            kept: Kept::default(),
            dirty: Vec::new(),
            in_process: 0,
            held_back: Vec::new(),
            listings: Vec::new(),
            handshakes,
            large_bytes: 0,
            listing_work: Rc::new(Notify::default()),
            flush_work: Rc::new(Notify::default()),
            ended: Rc::new(Notify::default()),
            survey_work: Rc::new(Notify::default()),
            metrics: Metrics::new(),
            surveys: survey::Surveys::default(),
            digests: VecDeque::new(),
        }
    }

    /// Handles everything that `inbox` holds, as far as the connection may be read now.
    pub fn on_bytes(&mut self, id: ConnId, inbox: &mut ReceiveBuffer, now: Now) -> Next {
        let next = self.take_frames(id, inbox, now);
        self.kept.clear();
        self.metrics.time(Latency::StageDecode, now.instant.elapsed());
        next
    }

    fn take_frames(&mut self, id: ConnId, inbox: &mut ReceiveBuffer, now: Now) -> Next {
        loop {
            if let Some(next) = self.reason_not_to_read(id) {
                return next;
            }
            if self.conn(id).is_some_and(|conn| conn.phase == Phase::Handshake)
                && let Some(next) = self.four_letter_word(id, inbox, now)
            {
                return next;
            }
            let frame = match inbox.next_frame(self.settings.frame_len_max_bytes) {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    if let Some(conn) = self.conn(id) {
                        conn.held_since = None;
                    }
                    return Next::Receive;
                }
                Err(error) => {
                    let peer = self.conn(id).map(|conn| conn.link.peer_addr());
                    tracing::warn!(?peer, %error, "closing a connection that sent an impossible length (jute.maxbuffer bounds it)");
                    return Next::Close;
                }
            };
            self.metrics.count(Counter::BytesReceived, frame.bytes().len() as u64 + 4);
            if let Some(next) = self.dispatch(id, frame, now) {
                return next;
            }
        }
    }

    /// `None` when the next frame of the connection may be handled.
    fn reason_not_to_read(&mut self, id: ConnId) -> Option<Next> {
        let is_over_limit = self.is_over_limit();
        let is_held_up = self.is_held_up();
        let Some(conn) = self.conn(id) else { return Some(Next::Close) };
        match conn.phase {
            Phase::Finished => return Some(Next::Finish),
            // Whoever closed it may have found its task waiting for something else than the socket.
            _ if conn.link.is_closed() => return Some(Next::Close),
            Phase::Closing | Phase::Establishing => return Some(Next::Wait),
            Phase::Handshake | Phase::Serving => {}
        }
        if conn.queue.len() >= QUEUE_MAX || conn.link.pending_bytes() > OUTBOX_HIGH_BYTES {
            return Some(Next::Wait);
        }
        if (is_over_limit && conn.outstanding > 0) || is_held_up {
            conn.held_since.get_or_insert_with(Instant::now);
            self.held_back.push(id);
            self.metrics.count(Counter::ThrottleWait, 1);
            return Some(Next::Wait);
        }
        None
    }

    /// Whether more is in process than `globalOutstandingLimit` lets this core have.
    fn is_over_limit(&self) -> bool {
        self.in_process > self.settings.global_outstanding_limit.div_ceil(self.serve_cores)
    }

    /// Whether nobody may be read for now.
    fn is_held_up(&self) -> bool {
        self.is_pipeline_full() || self.shared.log_is_behind() || self.to_replica.is_full()
    }

    fn release_held_back(&mut self) {
        if self.held_back.is_empty() || self.is_over_limit() || self.is_held_up() {
            return;
        }
        for id in std::mem::take(&mut self.held_back) {
            if let Some(conn) = self.conn(id) {
                conn.resume.ring();
            }
        }
    }

    /// The end of a turn: sends answers to clients and messages to the replica.
    pub fn end_turn(&mut self) {
        self.flush_dirty(FLUSH_TURN_MAX);
        self.to_replica.dispatch();
        self.release_held_back();
    }

    /// Sends what was answered, one system call a connection, to so many of them at most. When ten thousand watchers are
    /// told at once most have to wait for later turns: what came last goes first, so that the answers of those turns do not
    /// wait behind them. Nobody is overtaken for long: before more is committed everything is sent (see `take`), so that
    /// the notifications of one batch are all that can wait here.
    fn flush_dirty(&mut self, connections_max: usize) {
        if self.dirty.is_empty() {
            return;
        }
        let started = Instant::now();
        for _ in 0..connections_max {
            let Some(id) = self.dirty.pop() else { break };
            self.flush(id);
        }
        if !self.dirty.is_empty() {
            self.flush_work.ring();
        }
        self.metrics.time(Latency::StageFlush, started.elapsed());
    }

    /// Whether there are answers that a turn has left to the next.
    pub fn has_unsent(&self) -> bool {
        !self.dirty.is_empty()
    }

    fn flush(&mut self, id: ConnId) {
        let Some(conn) = self.conn(id) else { return };
        match conn.link.try_flush() {
            Ok(Flushed::All) => conn.notified_bytes = 0,
            Ok(Flushed::Underway) => {}
            Ok(Flushed::Remainder) => {
                let (link, resume) = (Rc::clone(&conn.link), Rc::clone(&conn.resume));
                glommio::spawn_local(async move {
                    if link.flush().await.is_err() {
                        link.close();
                    }
                    resume.ring();
                })
                .detach();
            }
            // The task that reads it learns it too, and cleans up.
            Err(_broken) => conn.link.close(),
        }
    }

    fn mark_dirty(&mut self, id: ConnId) {
        // Turns touch few connections several times in a row, so looking at the last one finds most repeats.
        if self.dirty.last() != Some(&id) {
            self.dirty.push(id);
        }
    }

    fn origin(&self, id: ConnId) -> Origin {
        Origin { core: self.core, conn: id }
    }

    /// Names the connection's next request to the replica.
    fn ask(&mut self, id: ConnId) -> Option<Asked> {
        let origin = self.origin(id);
        let conn = self.conn(id)?;
        conn.tickets = conn.tickets.wrapping_add(1);
        Some(Asked { origin, ticket: conn.tickets })
    }

    fn conn(&mut self, id: ConnId) -> Option<&mut Conn> {
        let place = self.slots.get_mut(id.slot as usize)?;
        place.conn.as_mut().filter(|_| place.generation == id.generation)
    }

    /// Every connection, for reports.
    fn all(&self) -> impl Iterator<Item = &Conn> {
        self.slots.iter().filter_map(|place| place.conn.as_ref())
    }

    /// The client's end of a connection, for logs.
    fn peer(&mut self, id: ConnId) -> Option<SocketAddr> {
        self.conn(id).map(|conn| conn.link.peer_addr())
    }
}
