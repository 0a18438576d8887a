//! What roles say to each other.
//!
//! Flow       serve -> `ToReplica` -> replica -> `ToLog` -> log -> `FromLog` -> replica -> `ToServe` -> serve.
//! Invariant  the replica's messages to one core keep their order, so that whoever handles an answer has applied every
//!            transaction that was committed before it was given.
//! Absent     messages between serving cores: a survey goes through the replica. Accepted sockets travel by themselves.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ids::{Millis, SessionId, Sid, Xid, Zxid};
use net::opcode::OpCode;
use tree::acl::Identity;
use tree::code::Code;
use tree::tree::Tree;
use tree::txn::Txn;
use tree::watch::WatchTotals;
use zab::message::LinkId;
use zab::outbox::Epochs;
use zab::sync::Located;

use super::admin::Word;
use super::admin::report::ConnFacts;
use super::mesh::Weigh;
use super::metrics::Metrics;
use super::replica::member::Mode;

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

/// A request that waits in its connection's queue for the replica's word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asked {
    /// Whose it is.
    pub origin: Origin,
    /// Which of the connection's it is: answers do not come in the order of requests, as refusals overtake commits.
    pub ticket: u32,
}

/// A transaction that the disk holds, to be applied by every core.
#[derive(Debug)]
pub struct Committed {
    /// What happens.
    pub txn: Txn,
    /// Who asked; `None` when the server itself did.
    pub asked: Option<Asked>,
    /// When it was given to the log.
    pub prepared_at: Instant,
}

/// A write as the wire brought it.
#[derive(Debug)]
pub struct Write {
    /// Who asks.
    pub asked: Asked,
    /// The session that it belongs to.
    pub session: SessionId,
    /// The client's number of it.
    pub cxid: Xid,
    /// What it asks.
    pub op: OpCode,
    /// The record behind the header, copied out of the receive buffer. Small values of its transaction point into it.
    pub body: Bytes,
    /// Identities of the connection when it was received.
    pub identities: Arc<[Identity]>,
}

/// A four-letter word that needs facts of every core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SurveyId {
    /// The core that was asked.
    pub core: u16,
    /// Which of its surveys.
    pub number: u32,
}

/// From a serving core to the replica.
#[derive(Debug)]
pub enum ToReplica {
    /// A write: committed or refused.
    Write(Write),
    /// A new session: committed or refused.
    Open {
        /// Who asks.
        asked: Asked,
        /// Negotiated timeout.
        timeout_ms: i32,
        /// The last transaction that the client has seen.
        seen: Zxid,
    },
    /// A session is presented by another connection: attached or refused.
    Attach {
        /// Who asks.
        origin: Origin,
        /// The session.
        session: SessionId,
        /// Negotiated timeout.
        timeout_ms: i32,
        /// The last transaction that the client has seen.
        seen: Zxid,
        /// Whether the client knows the session's password.
        is_password_right: bool,
    },
    /// Its client ends a session: committed or refused.
    Close {
        /// Who asks.
        asked: Asked,
        /// The session.
        session: SessionId,
        /// The client's number of the request.
        cxid: Xid,
    },
    /// Answer when everything that is committed now has been said.
    Sync {
        /// Who asks.
        asked: Asked,
        /// Its session.
        session: SessionId,
        /// The client's number of the request.
        cxid: Xid,
        /// The record behind the header.
        body: Bytes,
        /// Identities of the connection.
        identities: Arc<[Identity]>,
    },
    /// Somebody heard from a session.
    Touch(SessionId),
    /// A connection with a session is gone.
    Detach {
        /// Which connection.
        origin: Origin,
        /// Its session.
        session: SessionId,
    },
    /// Ask everybody for what a word needs.
    Ask(SurveyId, Word),
    /// What a core was asked for, to be passed on.
    Facts(SurveyId, Box<Facts>),
}

/// From the replica to a serving core.
#[derive(Debug)]
pub enum ToServe {
    /// Apply this, tell watchers, and answer if it was asked here.
    Committed(Arc<Committed>),
    /// Answer with this code when its turn comes.
    Refused {
        /// The connection.
        conn: ConnId,
        /// Its request.
        ticket: u32,
        /// Why.
        code: Code,
    },
    /// Never answer: its session is closing or gone.
    Dropped {
        /// The connection.
        conn: ConnId,
        /// Its request.
        ticket: u32,
    },
    /// Everything that was committed when it asked has been said.
    Synced {
        /// The connection.
        conn: ConnId,
        /// Its request.
        ticket: u32,
    },
    /// The session that it presented is this connection's now.
    Attached {
        /// The connection.
        conn: ConnId,
        /// The session.
        session: SessionId,
    },
    /// There is no such session, it is ending, or the password is wrong.
    Unknown {
        /// The connection.
        conn: ConnId,
        /// The session.
        session: SessionId,
    },
    /// Close without an answer: the client has seen a state that this server does not have.
    Ahead {
        /// The connection.
        conn: ConnId,
        /// What the client has seen.
        seen: Zxid,
    },
    /// Close without an answer: the connection's session belongs to another one.
    Kicked(ConnId),
    /// The connection's session has expired: drop what comes, until its end is committed.
    Expiring(ConnId),
    /// The log has caught up: clients may be read again.
    Relief,
    /// What this server is to clients from now on. Without a leader it closes their connections.
    Stands {
        /// What.
        mode: Mode,
        /// The configuration for `/zookeeper/config`: version, text and time, ms since 1970.
        config: Option<(Zxid, Arc<str>, i64)>,
    },
    /// Another tree takes the place of this core's. Nobody is being served.
    Replace(Arc<Tree>),
    /// The same, said to a core that shares the replica's tree: it is there already.
    Replaced,
    /// Gather what a word needs.
    Ask(SurveyId, Word),
    /// A part of what was asked for.
    Facts(SurveyId, Box<Facts>),
    /// The server stops and nothing follows: send what is left and close.
    End,
}

/// From the replica to the log. Carried out in the order in which it was said, but for reading, which holds nothing up.
#[derive(Debug)]
pub enum ToLog {
    /// An encoded transaction.
    Entry {
        /// Its zxid.
        zxid: Zxid,
        /// As the log keeps it.
        bytes: Bytes,
    },
    /// A snapshot covers everything up to here: what is older may go.
    PurgeBefore(u64),
    /// Write the epochs down, and have what was staged take the place of log and snapshots if `adopt`: `Saved`.
    Save {
        /// What.
        epochs: Epochs,
        /// Whether log and snapshot since `BeginState` are the state from now on.
        adopt: bool,
    },
    /// Cut the log behind `last`, with every snapshot that goes further: `Truncated`. Everything said before is durable.
    Truncate {
        /// The last to keep.
        last: Zxid,
        /// Whether the tree in memory goes further, so that another is wanted.
        reload: bool,
    },
    /// What stands around a zxid in the log: `Located`.
    Locate {
        /// For whom; comes back.
        link: LinkId,
        /// What.
        zxid: Zxid,
    },
    /// Read what is durable above `after`, up to `upto`, as much as fits into [`READ_MAX_BYTES`]: `Read`.
    Read {
        /// For whom; comes back.
        link: LinkId,
        /// Not this.
        after: Zxid,
        /// This too.
        upto: Zxid,
    },
    /// A snapshot of a state that another member has, up to `zxid`, follows in pieces. It is written beside the present
    /// state. One at a time; another one that was begun is dropped.
    BeginState {
        /// What it holds.
        zxid: Zxid,
    },
    /// A piece of its body.
    State(Bytes),
    /// The body is complete: make it durable with this metadata, and open an empty log behind it, which takes the
    /// entries that follow: `StateReady`.
    EndState {
        /// As [`SnapshotWriter::finish`](storage::SnapshotWriter::finish) takes it.
        metadata: Vec<u8>,
    },
    /// Drop what was staged, if anything was, and load what the disk has: `Reloaded`.
    Reload,
    /// Nothing follows.
    End,
}

/// Bytes of entries in one answer to `ToLog::Read`, at most, but for a single longer one.
pub const READ_MAX_BYTES: usize = 1 << 20;

/// From the log to the replica.
#[derive(Debug)]
pub enum FromLog {
    /// Epochs are durable.
    Saved {
        /// Where snapshots belong from now on, when another state was adopted.
        snapshot_dir: Option<PathBuf>,
    },
    /// The log is cut.
    Truncated {
        /// What it ends with now; `None`: it could not be cut there, and nothing was changed.
        kept: Option<Zxid>,
        /// The tree at that place, when it was asked for.
        tree: Option<Box<Tree>>,
    },
    /// What the log has.
    Located {
        /// Who asked.
        link: LinkId,
        /// What.
        located: Located,
    },
    /// A part of the log.
    Read {
        /// Who asked.
        link: LinkId,
        /// Entries without a gap, oldest first; `None` when the log does not reach back so far any more.
        entries: Option<Vec<(Zxid, Bytes)>>,
    },
    /// Another member's state is on disk, beside the present one, or could not be written: then nothing is staged.
    StateReady {
        /// Whether it is.
        is_ready: bool,
    },
    /// What the disk has.
    Reloaded {
        /// The tree, at the last entry of the log.
        tree: Box<Tree>,
    },
    /// A sync has succeeded.
    Durable {
        /// Everything up to here survives a crash.
        upto: Zxid,
        /// Bytes of all entries up to here, since the start.
        synced_bytes: u64,
        /// How long it took.
        took: Duration,
        /// Transactions in it.
        batch: u64,
    },
    /// There may be room where there was none, or no longer be: look again.
    Room,
    /// A sync has failed. The server stops.
    Failed,
}

/// One role's part of a survey.
#[derive(Debug)]
pub enum Facts {
    /// Of a serving core.
    Serve(ServeFacts),
    /// Of the replica.
    Replica(ReplicaFacts),
}

/// What a serving core knows. Only what the word needs is filled in.
#[derive(Debug, Default)]
pub struct ServeFacts {
    /// Counts and times.
    pub metrics: Option<Metrics>,
    /// Connections.
    pub connections: usize,
    /// Requests with a positive xid in the queues.
    pub in_process: usize,
    /// Share of handshakes refused by the throttle.
    pub drop_probability: f64,
    /// Watches in all tables.
    pub watch_count: usize,
    /// Those of the data table.
    pub watches: WatchTotals,
    /// `cons`, `stat`.
    pub conns: Vec<ConnFacts>,
    /// `dump`: peer, session and timeout in ms of each connection.
    pub timeouts: Vec<(SocketAddr, SessionId, i32)>,
    /// `wchc`: paths by session.
    pub by_session: Vec<(SessionId, Vec<String>)>,
    /// `wchp`, `wchs`: sessions by path.
    pub by_path: Vec<(String, Vec<SessionId>)>,
}

/// What the replica knows.
#[derive(Debug, Default)]
pub struct ReplicaFacts {
    /// Counts and times.
    pub metrics: Option<Metrics>,
    /// Sessions.
    pub sessions: usize,
    /// Transactions that are prepared and not committed.
    pub outstanding: usize,
    /// Whether the log takes writes.
    pub has_room: bool,
    /// What a member knows of its ensemble.
    pub ensemble: Option<EnsembleFacts>,
    /// `dump`: sessions by the time at which they expire (monotonic).
    pub expiries: Vec<(Millis, Vec<SessionId>)>,
}

/// What a member knows of its ensemble.
#[derive(Clone, Debug)]
pub struct EnsembleFacts {
    /// ZooKeeper's words for what it does.
    pub peer_state: &'static str,
    /// How many vote.
    pub quorum_size: usize,
    /// The last epoch whose history it took over.
    pub epoch: u32,
    /// Whom it follows, or itself.
    pub leader: Option<Sid>,
    /// How often it has looked for a leader.
    pub elections: u64,
    /// Syncs that wait.
    pub pending_syncs: usize,
    /// The leader's record of the others.
    pub members: Vec<MemberFacts>,
}

/// What a leader knows of another member.
#[derive(Clone, Copy, Debug)]
pub struct MemberFacts {
    /// Who.
    pub sid: Sid,
    /// Whether it only observes.
    pub is_observer: bool,
    /// In a word.
    pub state: MemberState,
    /// The last transaction that it is known to have.
    pub last: Zxid,
    /// Transactions that it is behind.
    pub lag_zxids: u64,
    /// For how long it has acknowledged nothing of them, ms.
    pub lag_ms: i64,
    /// When it was last heard, ms ago.
    pub seen_ms: i64,
}

/// How a member does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberState {
    /// In step.
    Up,
    /// Connected, and behind.
    Lagging,
    /// Not connected.
    Down,
}

impl MemberState {
    /// As `mntr` says it.
    pub const fn name(self) -> &'static str {
        match self {
            MemberState::Up => "up",
            MemberState::Lagging => "lagging",
            MemberState::Down => "down",
        }
    }
}

impl MemberFacts {
    /// Of a member that is not connected.
    pub const fn down(sid: Sid, is_observer: bool) -> MemberFacts {
        let state = MemberState::Down;
        MemberFacts { sid, is_observer, state, last: Zxid::ZERO, lag_zxids: 0, lag_ms: 0, seen_ms: -1 }
    }
}

impl Weigh for ToReplica {
    fn weight_bytes(&self) -> usize {
        match self {
            ToReplica::Write(write) => write.body.len(),
            _ => 0,
        }
    }
}

impl Weigh for ToServe {
    /// A transaction weighs nothing: it is shared, and bounded where it is prepared.
    fn weight_bytes(&self) -> usize {
        0
    }
}

impl Weigh for ToLog {
    fn weight_bytes(&self) -> usize {
        match self {
            ToLog::Entry { bytes, .. } | ToLog::State(bytes) => bytes.len(),
            _ => 0,
        }
    }
}

impl Weigh for FromLog {
    fn weight_bytes(&self) -> usize {
        match self {
            FromLog::Read { entries: Some(entries), .. } => entries.iter().map(|(_, bytes)| bytes.len()).sum(),
            _ => 0,
        }
    }
}
