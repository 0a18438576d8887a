//! Frontend: one serving core's connections. Takes frames, answers reads, hands writes to the replica, tells watchers.
//!
//! Flow       bytes -> frames -> `dispatch` -> read answered | write submitted;  commit -> apply -> watches -> replies.
//! Invariant  a reply is built when its turn in its connection's queue has come, from the tree as it is then; the
//!            notifications of a transaction enter an outbox before any reply that reflects it.
//! Absent     waiting. Every method here runs to its end; the tasks in `connections` do the awaiting.

pub mod answer;
pub mod connection;
mod dispatch;
mod handshake;
pub mod listing;
mod reads;
pub mod throttle;
mod watching;
pub mod words;
mod writes;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ids::{SessionId, Zxid};
use net::buffer::ReceiveBuffer;
use net::conn::{Connection, Flushed};
use tree::effects::Effects;
use tree::tree::Tree;
use tree::watch::Watches;

use super::metrics::{Counter, Latency, Metrics};
use super::notify::Notify;
use super::replica::{ConnId, Now, Origin, Replica};
use super::settings::ServeSettings;
use connection::{Conn, Phase};

/// Bytes of answers that may wait for a client before its requests are no longer read.
const OUTBOX_HIGH_BYTES: usize = 1 << 20;

/// Requests of one connection that may wait. Beyond `globalOutstandingLimit`, because requests with an xid that is not
/// positive do not count there.
const QUEUE_MAX: usize = 4096;

/// Bytes of notifications that may wait for a client that does not read. It is disconnected then, and asks with
/// setWatches for what it missed when it comes back.
const NOTIFIED_MAX_BYTES: usize = 8 << 20;

/// Transactions applied before other tasks get their turn.
pub const APPLY_TURN_MAX: usize = 128;

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
    replica: Rc<RefCell<Replica>>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_session: HashMap<SessionId, ConnId>,
    per_address: HashMap<IpAddr, u32>,
    connections: usize,
    watches: Watches,
    effects: Effects,
    /// Connections with answers to send at the end of the turn.
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
    /// What it counts and times.
    pub metrics: Metrics,
    trace_mask: i64,
    /// The digest after each transaction whose zxid is a multiple of 128, oldest first.
    digests: VecDeque<(Zxid, u64)>,
}

impl Frontend {
    /// A core without connections.
    pub fn new(
        core: u16,
        settings: Rc<ServeSettings>,
        tree: Rc<RefCell<Tree>>,
        replica: Rc<RefCell<Replica>>,
    ) -> Frontend {
        let watches = Watches::new(settings.hash_seed);
        let handshakes =
            throttle::HandshakeBucket::new(settings.config.local.connection_throttle.clone(), settings.started);
        Frontend {
            core,
            settings,
            tree,
            replica,
            slots: Vec::new(),
            free: Vec::new(),
            by_session: HashMap::new(),
            per_address: HashMap::new(),
            connections: 0,
            watches,
            effects: Effects::default(),
            dirty: Vec::new(),
            in_process: 0,
            held_back: Vec::new(),
            listings: Vec::new(),
            handshakes,
            large_bytes: 0,
            listing_work: Rc::new(Notify::default()),
            metrics: Metrics::new(),
            trace_mask: words::TRACE_MASK_DEFAULT,
            digests: VecDeque::new(),
        }
    }

    /// Takes a new connection in, unless a limit forbids it: then it is to be closed at once.
    pub fn connect(&mut self, link: Rc<Connection>, now: Now) -> Option<(ConnId, Rc<Notify>)> {
        let address = link.peer_addr().ip();
        let from_address = self.per_address.get(&address).copied().unwrap_or(0);
        let per_address_max = self.settings.max_client_cnxns;
        let max = self.settings.max_cnxns as usize;
        if (per_address_max > 0 && from_address >= per_address_max) || (max > 0 && self.connections >= max) {
            self.metrics.count(Counter::ConnectionRejected, 1);
            tracing::warn!(%address, from_address, total = self.connections, "connection refused: maxClientCnxns or maxCnxns reached");
            return None;
        }
        *self.per_address.entry(address).or_insert(0) += 1;
        self.connections += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, conn: None });
            u32::try_from(self.slots.len() - 1).expect("descriptors, and so connections, are fewer than 2^32")
        });
        let place = &mut self.slots[slot as usize];
        assert!(place.conn.is_none(), "a free slot has no tenant");
        place.generation = place.generation.wrapping_add(1);
        let id = ConnId { slot, generation: place.generation };
        let conn = Conn::new(id, link, &super::auth::java_address(address), now.wall);
        let resume = Rc::clone(&conn.resume);
        place.conn = Some(conn);
        Some((id, resume))
    }

    /// The connection is over: forgets it, its watches and its place in every queue. Its session lives on.
    pub fn disconnect(&mut self, id: ConnId) {
        let Some(place) = self.slots.get_mut(id.slot as usize).filter(|place| place.generation == id.generation) else {
            return;
        };
        let Some(conn) = place.conn.take() else { return };
        self.free.push(id.slot);
        self.connections -= 1;
        self.in_process -= conn.outstanding;
        self.large_bytes -= conn.queue.iter().map(|entry| entry.large_bytes as usize).sum::<usize>();
        if let Some(connection::Wait::Listing(listing)) = conn.queue.front().map(|entry| &entry.wait) {
            self.tree.borrow_mut().listing_cancel(listing.id());
        }
        conn.link.close();
        let address = conn.link.peer_addr().ip();
        if let Some(count) = self.per_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&address);
            }
        }
        self.watches.remove_watcher(watching::watcher(id));
        if conn.session != SessionId::NONE {
            if self.by_session.get(&conn.session) == Some(&id) {
                self.by_session.remove(&conn.session);
            }
            self.replica.borrow_mut().detach(self.origin(id), conn.session);
        }
        self.release_held_back();
    }

    /// Handles everything that `inbox` holds, as far as the connection may be read now.
    pub fn on_bytes(&mut self, id: ConnId, inbox: &mut ReceiveBuffer, now: Now) -> Next {
        let next = self.take_frames(id, inbox, now);
        self.flush_dirty();
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
            self.metrics.count(Counter::BytesReceived, frame.len() as u64 + 4);
            if let Some(next) = self.dispatch(id, frame, now) {
                return next;
            }
        }
    }

    /// `None` when the next frame of the connection may be handled.
    fn reason_not_to_read(&mut self, id: ConnId) -> Option<Next> {
        let (in_process, limit) = (self.in_process, self.settings.global_outstanding_limit);
        let is_pipeline_full = self.is_pipeline_full();
        let log_is_behind = self.replica.borrow().log_is_behind();
        let Some(conn) = self.conn(id) else { return Some(Next::Close) };
        match conn.phase {
            Phase::Finished => return Some(Next::Finish),
            Phase::Closing | Phase::Establishing => return Some(Next::Wait),
            Phase::Handshake | Phase::Serving => {}
        }
        if conn.queue.len() >= QUEUE_MAX || conn.link.pending_bytes() > OUTBOX_HIGH_BYTES {
            return Some(Next::Wait);
        }
        if (in_process > limit && conn.outstanding > 0) || is_pipeline_full || log_is_behind {
            conn.held_since.get_or_insert_with(Instant::now);
            self.held_back.push(id);
            self.metrics.count(Counter::ThrottleWait, 1);
            return Some(Next::Wait);
        }
        None
    }

    fn release_held_back(&mut self) {
        if self.in_process <= self.settings.global_outstanding_limit && !self.is_pipeline_full() {
            for id in std::mem::take(&mut self.held_back) {
                if let Some(conn) = self.conn(id) {
                    conn.resume.ring();
                }
            }
        }
    }

    /// Sends the answers of this turn, one system call a connection.
    pub fn flush_dirty(&mut self) {
        if self.dirty.is_empty() {
            return;
        }
        let started = Instant::now();
        let mut dirty = std::mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            self.flush(id);
        }
        self.dirty = dirty;
        self.metrics.time(Latency::StageFlush, started.elapsed());
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

    /// Applies transactions that the disk holds, answers and notifies. At most [`APPLY_TURN_MAX`]; says whether there
    /// may be more.
    pub fn apply_durable(&mut self, now: Now) -> bool {
        let mut applied = 0;
        while applied < APPLY_TURN_MAX {
            let Some(committed) = self.replica.borrow_mut().take_durable() else { break };
            self.metrics.time(Latency::StageSync, now.instant.saturating_duration_since(committed.prepared_at));
            self.metrics.time(Latency::StageQuorum, Duration::ZERO);
            self.apply(&committed, now);
            applied += 1;
        }
        if applied > 0 {
            self.metrics.count(Counter::Commits, applied as u64);
            self.metrics.time(Latency::StageApply, now.instant.elapsed());
            self.flush_dirty();
            self.release_held_back();
        }
        applied == APPLY_TURN_MAX
    }

    /// Closes the connection that has `session`, without a word. The client learns when it comes back.
    fn close_session_connection(&mut self, session: SessionId) {
        if let Some(id) = self.by_session.remove(&session)
            && let Some(conn) = self.conn(id)
        {
            conn.link.close();
            conn.resume.ring();
            if conn.phase != Phase::Finished {
                conn.phase = Phase::Closing;
            }
        }
    }

    /// Another connection has taken over this one's session.
    fn kick(&mut self, id: ConnId) {
        if let Some(conn) = self.conn(id) {
            tracing::debug!(peer = %conn.link.peer_addr(), session = %conn.session, "session re-attached elsewhere; closing this connection");
            conn.link.close();
            conn.phase = Phase::Closing;
            conn.resume.ring();
        }
    }

    /// Expires sessions that fell silent. Called once a tick.
    pub fn expire_sessions(&mut self, now: Now) {
        let expired = self.replica.borrow_mut().expire(now);
        for session in &expired {
            // From now on its frames are dropped; the connection goes when the transaction is applied.
            if let Some(conn) = self.by_session.get(session).copied().and_then(|id| self.conn(id)) {
                conn.phase = Phase::Closing;
            }
        }
        self.metrics.count(Counter::StaleSessionsExpired, expired.len() as u64);
    }

    /// Closes the connection if it has not finished its handshake by now.
    pub fn expire_handshake(&mut self, id: ConnId) {
        if let Some(conn) = self.conn(id)
            && conn.phase == Phase::Handshake
        {
            conn.link.close();
            conn.resume.ring();
            self.metrics.count(Counter::SessionlessExpired, 1);
        }
    }

    /// Tells every connection's task to finish: the server stops.
    pub fn finish_all(&mut self) {
        for place in &mut self.slots {
            if let Some(conn) = &mut place.conn {
                conn.link.close();
                conn.resume.ring();
            }
        }
    }

    fn origin(&self, id: ConnId) -> Origin {
        Origin { core: self.core, conn: id }
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
