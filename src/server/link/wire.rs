//! One connection to another member that stands: its reading, its sending, and its end.
//!
//! Flow       `read` (its task) -> `FromLink::Bytes`, until somebody ends it;  `push` -> `flush`, at the end of a turn.
//! Invariant  only an open wire says anything: whoever finds that the replica has closed it, or that it has said
//!            `Closed`, keeps silent. One task at most sends, beside turns that send at once what the socket takes.
//! Bound      `UNREAD_MAX_BYTES` are under way to the replica. No bound to what waits to be sent: see `messages`.
//!
//! A send that fails does not end the connection: what the peer sent before it closed its side is still there to be read
//! (a member that only knocks writes one message and closes). The reader learns of the end behind it.

use std::cell::{Cell, RefCell};
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_lite::future;
use net::buffer::Blocks;
use net::conn::{Connection, Flushed};

use super::super::notify::Notify;
use super::messages::{UNREAD_MAX_BYTES, WireId};
use super::reason;

/// How long a connection that can't be sent to is read on.
pub(super) const BROKEN_PATIENCE: Duration = Duration::from_secs(1);

/// A connection that stands.
pub(super) struct Wire {
    pub(super) id: WireId,
    pub(super) connection: Connection,
    phase: Cell<Phase>,
    /// Bytes under way to the replica.
    unread: Cell<usize>,
    /// The reader waits for the replica, not for the socket.
    is_full: Cell<bool>,
    /// Rung when the reader shall look around.
    pub(super) bell: Notify,
    /// Waits in the list of those that have something to send.
    pub(super) is_listed: Cell<bool>,
    /// A task sends what turns have left.
    pub(super) is_flushing: Cell<bool>,
    /// Why nothing can be sent any more.
    broken: RefCell<Option<Box<str>>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Open,
    /// By the replica, which hears nothing more.
    Closed {
        finish: bool,
    },
    /// By the peer, or as it broke.
    Gone,
}

/// What came of reading once.
pub(super) enum Heard {
    /// Bytes, now under way.
    Bytes(Bytes),
    /// The replica has closed the wire. Whether what waits is sent first.
    Closed { finish: bool },
    /// The connection is gone, and why.
    Gone(Box<str>),
}

impl Wire {
    /// Of a connection with nothing under way.
    pub(super) fn new(id: WireId, connection: Connection) -> Wire {
        Wire {
            id,
            connection,
            phase: Cell::new(Phase::Open),
            unread: Cell::new(0),
            is_full: Cell::new(false),
            bell: Notify::default(),
            is_listed: Cell::new(false),
            is_flushing: Cell::new(false),
            broken: RefCell::new(None),
        }
    }

    /// Whether the replica may hear of it.
    pub(super) fn is_open(&self) -> bool {
        self.phase.get() == Phase::Open
    }

    /// Reads once. `is_choked`: the way to the replica is full.
    ///
    /// # Cancel safety
    /// Cancelled, it has read nothing.
    pub(super) async fn read(&self, blocks: &Blocks, is_choked: impl Fn() -> bool) -> Heard {
        loop {
            if let Phase::Closed { finish } = self.phase.get() {
                return Heard::Closed { finish };
            }
            let room = UNREAD_MAX_BYTES - self.unread.get();
            if room == 0 || is_choked() {
                if let Some(reason) = self.broken.borrow_mut().take() {
                    return self.gone(reason);
                }
                self.is_full.set(true);
                self.bell.wait().await;
                self.is_full.set(false);
                continue;
            }
            let receive = async { Some(self.connection.receive_bytes(blocks, room).await) };
            let look_around = async {
                self.bell.wait().await;
                None
            };
            let Some(received) = future::or(receive, look_around).await else { continue };
            if !self.is_open() {
                continue;
            }
            match received {
                Ok(bytes) if bytes.is_empty() => return self.gone(reason::CLOSED_BY_PEER.into()),
                Ok(bytes) => {
                    self.unread.set(self.unread.get() + bytes.len());
                    return Heard::Bytes(bytes);
                }
                Err(error) => return self.gone(reason::of(&error)),
            }
        }
    }

    /// Whatever broke it first is the reason.
    fn gone(&self, reason: Box<str>) -> Heard {
        self.phase.set(Phase::Gone);
        Heard::Gone(self.broken.borrow_mut().take().unwrap_or(reason))
    }

    /// The replica has handled so many bytes.
    ///
    /// # Panics
    /// When so many were not under way.
    pub(super) fn taken(&self, len: usize) {
        let unread = self.unread.get();
        assert!(len <= unread, "the replica took {len} bytes of a connection that had given it {unread}");
        self.unread.set(unread - len);
        self.relieve();
    }

    /// There may be room on the way to the replica.
    pub(super) fn relieve(&self) {
        if self.is_full.get() {
            self.bell.ring();
        }
    }

    /// Appends to what is sent. Nothing, once that is in vain.
    pub(super) fn push(&self, bytes: Bytes) {
        if self.broken.borrow().is_none() {
            self.connection.outbox().raw_shared(bytes);
        }
    }

    /// Sends what the socket takes at once. `None` when there is nothing to be done about the rest: a task is at it, or
    /// nothing can be sent.
    pub(super) fn flush(&self) -> Option<io::Result<Flushed>> {
        let is_idle = !self.is_flushing.get() && self.broken.borrow().is_none();
        is_idle.then(|| self.connection.try_flush())
    }

    /// A send has failed.
    pub(super) fn note_broken(&self, error: &io::Error) {
        self.broken.borrow_mut().get_or_insert_with(|| reason::of(error));
        self.bell.ring();
    }

    /// The replica closes it: nothing is said of it from here on.
    pub(super) fn close(&self, finish: bool) {
        self.phase.set(Phase::Closed { finish });
        if !finish {
            self.connection.close();
        }
        self.bell.ring();
    }
}
