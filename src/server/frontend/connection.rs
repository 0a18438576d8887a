//! What a serving core knows about one connection, and the queue that keeps its answers in order.
//!
//! Invariant  answers leave in the order of the requests: a request waits in `queue` as long as one stands before it.
//!            `outstanding` counts the entries of `queue` that have a positive xid, as ZooKeeper counts.
//! Absent     bytes: the socket and what is received or answered belong to `net`.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ids::{Millis, SessionId};
use net::conn::Connection;
use net::opcode::OpCode;
use tree::acl::Identity;
use tree::code::Code;

use super::super::messages::ConnId;
use super::super::metrics::RequestLatency;
use super::super::notify::Notify;
use super::listing::PendingListing;

/// Bytes of identities of one connection. Each auth packet may add one, and every list with an `auth` entry copies them.
const IDENTITIES_MAX_BYTES: usize = 16 * 1024;

/// How far a connection has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Nothing has come yet: a word or a ConnectRequest will.
    Handshake,
    /// Its session is being created; nothing is read until it is.
    Establishing,
    /// Requests are answered.
    Serving,
    /// Its end is decided and follows the answers before it; what the client still sends is not read.
    Closing,
    /// The last answer has been given: send it and close.
    Finished,
}

/// One request that cannot be answered yet.
#[derive(Debug)]
pub struct Entry {
    /// Echoed.
    pub xid: i32,
    /// What was asked; `None` for a number that is no operation.
    pub op: Option<OpCode>,
    /// When it arrived.
    pub received: Instant,
    /// Its size, if it counts as a large request.
    pub large_bytes: u32,
    /// What it waits for.
    pub wait: Wait,
}

/// What a request waits for.
#[derive(Debug)]
pub enum Wait {
    /// The replica's word: a transaction, a refusal, a session.
    Commit {
        /// Which of the connection's questions to the replica it is.
        ticket: u32,
    },
    /// Sync: the replica's word that everything committed before has come. Then it is a read.
    Sync {
        /// As above.
        ticket: u32,
        /// The record.
        body: Bytes,
    },
    /// A read: the writes before it. Keeps what it asks and who asked.
    Turn {
        /// The record.
        body: Bytes,
        /// Who asked, as known when it was received.
        identities: Arc<[Identity]>,
    },
    /// Nothing but its turn: it has been refused.
    Refused(Code),
    /// Nothing but its turn: it is committed, and this is its answer.
    Done {
        /// For the reply header.
        code: i32,
        /// Behind it when the code is 0.
        record: Bytes,
    },
    /// A long list that is being written slice by slice.
    Listing(Box<PendingListing>),
}

/// Counts of one connection, for `cons`.
#[derive(Debug)]
pub struct ConnStats {
    /// Frames read since connect or reset.
    pub received: u64,
    /// Frames written since connect or reset.
    pub sent: u64,
    /// Latencies since connect or reset.
    pub latency: RequestLatency,
    /// When the connection was made, ms since 1970.
    pub established: Millis,
    /// The last operation answered.
    pub last_op: &'static str,
    /// Last xid answered that was not negative.
    pub last_cxid: Option<i32>,
    /// Zxid of the last answer.
    pub last_zxid: i64,
    /// Monotonic time of the last answer.
    pub last_response: Millis,
    /// Latency of the last answer, ms.
    pub last_latency_ms: u64,
}

impl ConnStats {
    fn new(established: Millis) -> ConnStats {
        ConnStats {
            received: 0,
            sent: 0,
            latency: RequestLatency::default(),
            established,
            last_op: "NA",
            last_cxid: None,
            last_zxid: 0,
            last_response: Millis::new(0),
            last_latency_ms: 0,
        }
    }

    /// Forgets the counts, as `crst` asks.
    pub fn reset(&mut self) {
        *self = ConnStats { last_zxid: -1, ..ConnStats::new(self.established) };
    }
}

/// One connection.
pub struct Conn {
    /// Its place on this core.
    pub id: ConnId,
    /// The socket, shared with the task that reads it.
    pub link: Rc<Connection>,
    /// Rung when a reason not to read may have gone.
    pub resume: Rc<Notify>,
    /// How far it has come.
    pub phase: Phase,
    /// Its session, `NONE` before it has one.
    pub session: SessionId,
    /// Negotiated timeout, ms.
    pub timeout_ms: i32,
    /// Whether the client's handshake had the readOnly field, and so expects it back.
    pub knows_read_only: bool,
    /// Who it is. Replaced as a whole when an identity is added, so that queued requests keep what they had.
    pub identities: Arc<[Identity]>,
    /// Requests that wait.
    pub queue: VecDeque<Entry>,
    /// Entries of `queue` with a positive xid.
    pub outstanding: usize,
    /// Notifications that wait for the end of a listing, encoded.
    pub held: Vec<Bytes>,
    /// Bytes of notifications since the client last took everything.
    pub notified_bytes: usize,
    /// The session is known to be alive until the clock leaves this tick; spares a look-up per frame.
    pub touched_tick: i64,
    /// Questions to the replica so far.
    pub tickets: u32,
    /// Since when it is not read although it has sent something.
    pub held_since: Option<Instant>,
    /// For `cons`.
    pub stats: ConnStats,
}

impl Conn {
    /// A connection that has just been accepted.
    pub fn new(id: ConnId, link: Rc<Connection>, address: &str, wall: Millis) -> Conn {
        Conn {
            id,
            link,
            resume: Rc::new(Notify::default()),
            phase: Phase::Handshake,
            session: SessionId::NONE,
            timeout_ms: 0,
            knows_read_only: false,
            identities: Arc::from([Identity::new("ip", address)]),
            queue: VecDeque::new(),
            outstanding: 0,
            held: Vec::new(),
            notified_bytes: 0,
            touched_tick: i64::MIN,
            tickets: 0,
            held_since: None,
            stats: ConnStats::new(wall),
        }
    }

    /// Puts a request at the end of the queue.
    pub fn enqueue(&mut self, entry: Entry) {
        self.outstanding += usize::from(entry.xid > 0);
        self.queue.push_back(entry);
    }

    /// Takes a request out of the queue.
    pub fn remove(&mut self, at: usize) -> Option<Entry> {
        let entry = if at == 0 { self.queue.pop_front() } else { self.queue.remove(at) }?;
        self.outstanding -= usize::from(entry.xid > 0);
        Some(entry)
    }

    /// Whether its first request is a listing under way: notifications have to wait for its end.
    pub fn is_listing(&self) -> bool {
        matches!(self.queue.front().map(|entry| &entry.wait), Some(Wait::Listing(_)))
    }

    /// Adds identities that it does not have yet. False when it would have too many.
    pub fn add_identities(&mut self, added: Vec<Identity>) -> bool {
        let new: Vec<Identity> = added.into_iter().filter(|identity| !self.identities.contains(identity)).collect();
        let size = |identity: &Identity| size_of::<Identity>() + identity.scheme.len() + identity.id.len();
        if self.identities.iter().chain(&new).map(size).sum::<usize>() > IDENTITIES_MAX_BYTES {
            return false;
        }
        if !new.is_empty() {
            self.identities = self.identities.iter().cloned().chain(new).collect();
        }
        true
    }
}

/// Four letters for an operation, as `cons` shows them.
pub fn op_letters(op: Option<OpCode>) -> &'static str {
    use OpCode as O;
    match op {
        Some(O::Ping) => "PING",
        Some(O::CreateSession) => "SESS",
        Some(O::Create | O::Create2 | O::CreateContainer | O::CreateTtl) => "CREA",
        Some(O::Delete) => "DELE",
        Some(O::SetData) => "SETD",
        Some(O::SetAcl) => "SETA",
        Some(O::Exists) => "EXIS",
        Some(O::GetData) => "GETD",
        Some(O::GetAcl) => "GETA",
        Some(O::GetChildren | O::GetChildren2) => "GETC",
        Some(O::GetAllChildrenNumber) => "GETACN",
        Some(O::GetEphemerals) => "GETE",
        Some(O::Sync) => "SYNC",
        Some(O::Multi) => "MULT",
        Some(O::MultiRead) => "MLTR",
        Some(O::Check) => "CHEC",
        Some(O::Reconfig) => "RECO",
        Some(O::SetWatches) => "SETW",
        Some(O::SetWatches2) => "STW2",
        Some(O::AddWatch) => "ADDW",
        Some(O::CheckWatches) => "CHKW",
        Some(O::RemoveWatches) => "REMW",
        Some(O::WhoAmI) => "HOMI",
        Some(O::CloseSession) => "CLOS",
        _ => "NA",
    }
}
