//! The server's log: transactions in ZooKeeper's own form, one record each, keyed by zxid; and the replica's way to it,
//! which leads to the same executor or to another.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use ids::Zxid;
use storage::error::{AppendError, SyncError};
use storage::log::Log;
use storage::os::OsDisk;
use tree::txn::{Txn, TxnOp};

use super::codec;
use super::mesh::Outlet;
use super::messages::ToLog;
use super::notify::Notify;
use super::shared::{Room, Shared};

/// The log, with what its syncs are measured by.
pub struct ServerLog {
    log: Log<OsDisk>,
    entries: Cell<u64>,
    bytes: Cell<u64>,
    /// The last try to make a segment has failed.
    is_disk_full: Cell<bool>,
    /// The highest zxid that somebody wanted to purge before, and whether a purge is under way.
    purge_wanted: Cell<u64>,
    is_purging: Cell<bool>,
    /// Rung when there is something to sync.
    pub work: Notify,
}

/// Entries and bytes that a log has taken since it was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// Entries.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl ServerLog {
    /// Around an open log.
    pub fn new(log: Log<OsDisk>) -> ServerLog {
        ServerLog {
            log,
            entries: Cell::new(0),
            bytes: Cell::new(0),
            is_disk_full: Cell::new(false),
            purge_wanted: Cell::new(0),
            is_purging: Cell::new(false),
            work: Notify::default(),
        }
    }

    /// Takes an entry, in memory.
    ///
    /// # Errors
    /// It was not taken.
    pub fn append(&self, zxid: Zxid, entry: &[u8]) -> Result<(), AppendError> {
        self.log.append(zxid.to_u64(), entry)?;
        self.entries.set(self.entries.get() + 1);
        self.bytes.set(self.bytes.get() + entry.len() as u64);
        self.work.ring();
        Ok(())
    }

    /// What it has taken, synced or not.
    pub fn taken(&self) -> Taken {
        Taken { entries: self.entries.get(), bytes: self.bytes.get() }
    }

    /// What it does with the next write, however long that is.
    pub fn room(&self) -> Room {
        match (self.log.has_room(), self.is_disk_full.get()) {
            (true, _) => Room::Free,
            (false, false) => Room::Soon,
            (false, true) => Room::Out,
        }
    }

    /// Whether the next segment can't be made, for the time being.
    pub fn set_disk_full(&self, is_full: bool) {
        self.is_disk_full.set(is_full);
    }

    /// Makes everything that waits durable. See [`Log::sync`].
    ///
    /// # Errors
    /// The log is closed for ever; the process must end.
    pub async fn sync(&self) -> Result<Zxid, SyncError> {
        self.log.sync().await.map(Zxid::from_u64)
    }

    /// The log itself, for the tasks that look after it.
    pub fn log(&self) -> &Log<OsDisk> {
        &self.log
    }

    /// Removes what a snapshot up to `oldest` makes superfluous. While one purge is under way it takes the wishes of others
    /// along, which return at once.
    pub async fn purge_before(&self, oldest: u64) {
        self.purge_wanted.set(self.purge_wanted.get().max(oldest));
        if self.is_purging.replace(true) {
            return;
        }
        let mut done = 0;
        while done < self.purge_wanted.get() {
            done = self.purge_wanted.get();
            match self.log.purge_before(done).await {
                Ok(0) => {}
                Ok(segments) => tracing::info!(segments, below = %Zxid::from_u64(done), "log purged"),
                Err(error) => tracing::warn!("purging the log: {error}"),
            }
        }
        self.is_purging.set(false);
    }
}

/// The replica's way to the log.
pub struct LogPort {
    way: Way,
    record_len_max: usize,
    /// Where an entry is encoded. Reused, so it allocates rarely.
    scratch: RefCell<Vec<u8>>,
}

/// Where the log is.
pub enum Way {
    /// On this executor.
    Near(Rc<ServerLog>),
    /// On another one.
    Far(Outlet<ToLog>, Arc<Shared>),
}

impl LogPort {
    /// To a log whose records may have this length.
    pub fn new(way: Way, record_len_max: usize) -> LogPort {
        LogPort { way, record_len_max, scratch: RefCell::new(Vec::new()) }
    }

    /// Hands a transaction over and says how long its entry is. The caller has seen that [`room`](LogPort::room)
    /// is free.
    ///
    /// A closeSession that lists more ephemerals than a record holds is written without the list, as ZooKeeper did before
    /// 3.6: applying it removes whatever the session owns then, which is the same.
    pub fn append(&self, txn: &mut Txn) -> usize {
        let scratch = &mut *self.scratch.borrow_mut();
        scratch.clear();
        codec::txn::encode(txn, scratch);
        if scratch.len() > self.record_len_max
            && let TxnOp::CloseSession { paths } = &mut txn.op
        {
            *paths = None;
            scratch.clear();
            codec::txn::encode(txn, scratch);
        }
        match &self.way {
            Way::Near(log) => {
                if let Err(error) = log.append(txn.zxid, scratch) {
                    panic!("the log had room before the transaction was prepared, and now: {error}");
                }
            }
            Way::Far(outlet, _) => outlet.post(ToLog::Entry { zxid: txn.zxid, bytes: Bytes::copy_from_slice(scratch) }),
        }
        scratch.len()
    }

    /// A transaction as the log keeps it. A closeSession that is too long loses its list, as with `append`.
    pub fn encode(&self, txn: &mut Txn) -> Bytes {
        let mut entry = Vec::new();
        codec::txn::encode(txn, &mut entry);
        if entry.len() > self.record_len_max
            && let TxnOp::CloseSession { paths } = &mut txn.op
        {
            *paths = None;
            entry.clear();
            codec::txn::encode(txn, &mut entry);
        }
        entry.into()
    }

    /// Hands an encoded entry over.
    pub fn append_entry(&self, zxid: Zxid, bytes: Bytes) {
        self.post(ToLog::Entry { zxid, bytes });
    }

    /// Says something to the log of a member, which is always reached by a mailbox.
    ///
    /// # Panics
    /// At a standalone server whose log lives on this executor.
    pub fn post(&self, message: ToLog) {
        let Way::Far(outlet, _) = &self.way else { unreachable!("a member's log is reached by a mailbox") };
        outlet.post(message);
    }

    /// What the log does with the next write. Of a far log this is a moment old: what it cannot take then waits there,
    /// neither lost nor acknowledged, until there is room.
    pub fn room(&self) -> Room {
        match &self.way {
            Way::Near(log) => log.room(),
            Way::Far(_, shared) => shared.log_room(),
        }
    }

    /// Whether the way to the log is full.
    pub fn is_full(&self) -> bool {
        match &self.way {
            Way::Near(_) => false,
            Way::Far(outlet, _) => outlet.is_full(),
        }
    }

    /// Whether everything that was handed over is on its way.
    pub fn is_drained(&self) -> bool {
        match &self.way {
            Way::Near(_) => true,
            Way::Far(outlet, _) => outlet.is_drained(),
        }
    }

    /// Sends what was handed over in this turn.
    pub fn dispatch(&self) {
        if let Way::Far(outlet, _) = &self.way {
            outlet.dispatch();
        }
    }

    /// Removes, or has removed, what a snapshot up to `oldest` makes superfluous.
    pub async fn purge_before(&self, oldest: u64) {
        match &self.way {
            Way::Near(log) => log.purge_before(oldest).await,
            Way::Far(outlet, _) => {
                outlet.post(ToLog::PurgeBefore(oldest));
                outlet.dispatch();
            }
        }
    }

    /// Nothing follows.
    pub fn end(&self) {
        if let Way::Far(outlet, _) = &self.way {
            outlet.post(ToLog::End);
            outlet.dispatch();
        }
    }
}
