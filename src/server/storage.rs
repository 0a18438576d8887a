//! The server's log: transactions in ZooKeeper's own form, one record each, keyed by zxid; and the replica's way to it.
//! Alone, a server's replica appends by itself when the log is on its executor. Otherwise, and as a member of an ensemble,
//! it posts what the log role is to do.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use futures_lite::future;
use ids::Zxid;
use storage::{AppendError, Disk, Log, OsDisk, PrepareError, SyncError};
use tree::txn::{Txn, TxnOp};

use super::codec;
use super::gate::{Gate, Pass};
use super::mesh::Outlet;
use super::messages::ToLog;
use super::notify::Notify;
use super::shared::{Room, Shared};

/// The log, with what its syncs are measured by. When the server takes over another state, that one's log takes the place.
///
/// Its gates keep apart what must not happen at once. Whoever takes several takes them in the order of the fields.
pub struct ServerLog<D: Disk = OsDisk> {
    log: RefCell<Rc<Log<D>>>,
    taken: Cell<Taken>,
    synced: Cell<Synced>,
    /// The last try to make a segment has failed.
    is_disk_full: Cell<bool>,
    /// The highest zxid that somebody wanted to purge before since the last purge.
    purge_wanted: Cell<u64>,
    is_purging: Cell<bool>,
    /// Rung when there is something to sync.
    pub work: Notify,
    /// Rung when who makes segments must leave the log that it is at.
    left: Notify,
    /// Around every sync, and whatever replaces or truncates the log.
    pub syncing: Gate,
    /// Around a purge.
    pub purging: Gate,
    /// Around the making of a segment.
    preparing: Gate,
}

/// Entries and bytes that a log has taken since it was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Taken {
    /// Entries.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What syncs have made durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Synced {
    /// The last zxid when the last one had ended.
    pub upto: Zxid,
    /// How much, since the start.
    pub taken: Taken,
}

impl<D: Disk> ServerLog<D> {
    /// Around an open log.
    pub fn new(log: Log<D>) -> ServerLog<D> {
        ServerLog {
            log: RefCell::new(Rc::new(log)),
            taken: Cell::default(),
            synced: Cell::default(),
            is_disk_full: Cell::new(false),
            purge_wanted: Cell::new(0),
            is_purging: Cell::new(false),
            work: Notify::default(),
            left: Notify::default(),
            syncing: Gate::default(),
            purging: Gate::default(),
            preparing: Gate::default(),
        }
    }

    /// Takes an entry, in memory.
    ///
    /// # Errors
    /// It was not taken.
    pub fn append(&self, zxid: Zxid, entry: &[u8]) -> Result<(), AppendError> {
        self.log.borrow().append(zxid.to_u64(), entry)?;
        let Taken { entries, bytes } = self.taken.get();
        self.taken.set(Taken { entries: entries + 1, bytes: bytes + entry.len() as u64 });
        self.work.ring();
        Ok(())
    }

    /// What it has made durable.
    pub fn synced(&self) -> Synced {
        self.synced.get()
    }

    /// What it does with the next write, however long that is.
    pub fn room(&self) -> Room {
        match (self.log.borrow().has_room(), self.is_disk_full.get()) {
            (true, _) => Room::Free,
            (false, false) => Room::Soon,
            (false, true) => Room::Out,
        }
    }

    /// Whether the next segment can't be made, for the time being.
    pub fn set_disk_full(&self, is_full: bool) {
        self.is_disk_full.set(is_full);
    }

    /// Makes everything that waits durable, when nobody else does. See [`Log::sync`].
    ///
    /// # Errors
    /// The log is closed for ever; the process must end.
    pub async fn sync(&self) -> Result<Synced, SyncError> {
        let pass = self.syncing.enter().await;
        self.sync_within(&pass).await
    }

    /// As [`sync`](ServerLog::sync), for who is within [`syncing`](ServerLog::syncing).
    ///
    /// # Errors
    /// As `sync`.
    pub async fn sync_within(&self, _pass: &Pass<'_>) -> Result<Synced, SyncError> {
        let (log, taken) = (self.log(), self.taken.get());
        let upto = Zxid::from_u64(log.sync().await?);
        self.synced.set(Synced { upto, taken });
        Ok(self.synced.get())
    }

    /// Proves the last batch. See [`Log::mark`].
    ///
    /// # Errors
    /// As [`sync`](ServerLog::sync).
    pub async fn mark(&self) -> Result<(), SyncError> {
        let _pass = self.syncing.enter().await;
        let (log, taken) = (self.log(), self.taken.get());
        log.mark().await?;
        self.synced.set(Synced { upto: Zxid::from_u64(log.durable_seq()), taken });
        Ok(())
    }

    /// The log itself. It may be another one after the next wait.
    pub fn log(&self) -> Rc<Log<D>> {
        Rc::clone(&self.log.borrow())
    }

    /// Waits until the next segment is wanted and makes it. `None` when the log was left meanwhile: to be called again.
    pub async fn prepare_next(&self) -> Option<Result<(), PrepareError>> {
        let log = self.log();
        let wanted = async {
            log.next_wanted().await;
            Some(())
        };
        future::or(wanted, self.until_left()).await?;
        let _pass = self.preparing.enter().await;
        let log = self.log();
        future::or(async { Some(log.prepare_next().await) }, self.until_left()).await
    }

    async fn until_left<T>(&self) -> Option<T> {
        self.left.wait().await;
        None
    }

    /// Has whoever makes a segment leave it, and keeps it from making another.
    pub async fn stop_preparing(&self) -> Pass<'_> {
        self.left.ring();
        self.preparing.enter().await
    }

    /// Puts another log in the place, and returns the one that was there, with nothing that waits for a sync. What was to
    /// be purged concerned that one.
    pub fn switch(&self, log: Rc<Log<D>>, _pass: &Pass<'_>) -> Rc<Log<D>> {
        assert_eq!(self.log.borrow().pending(), 0, "what was appended is durable before its log is left");
        self.forget_purges();
        self.is_disk_full.set(false);
        let before = self.log.replace(log);
        self.left.ring();
        self.work.ring();
        before
    }

    /// A snapshot covers everything up to `oldest`: what is older may go with the next [`purge`](ServerLog::purge).
    pub fn want_purge(&self, oldest: u64) {
        self.purge_wanted.set(self.purge_wanted.get().max(oldest));
    }

    /// What a snapshot covered that is no longer there, or of another log, is needed.
    pub fn forget_purges(&self) {
        self.purge_wanted.set(0);
    }

    /// Removes what is wanted. While one purge is under way it takes the wishes of others along, which return at once.
    pub async fn purge(&self) {
        if self.is_purging.replace(true) {
            return;
        }
        loop {
            let _pass = self.purging.enter().await;
            let oldest = self.purge_wanted.take();
            if oldest == 0 {
                break;
            }
            let log = self.log();
            match log.purge_before(oldest).await {
                Ok(0) => {}
                Ok(segments) => tracing::info!(segments, below = %Zxid::from_u64(oldest), "log purged"),
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
    /// On this executor, and appended to directly.
    Near(Rc<ServerLog>),
    /// Behind a mailbox, on whichever executor.
    Far(Outlet<ToLog>, Arc<Shared>),
}

impl LogPort {
    /// To a log whose records may have this length.
    pub fn new(way: Way, record_len_max: usize) -> LogPort {
        LogPort { way, record_len_max, scratch: RefCell::new(Vec::new()) }
    }

    /// Hands a transaction over and says how long its entry is. The caller has seen that [`room`](LogPort::room)
    /// is free.
    pub fn append(&self, txn: &mut Txn) -> usize {
        let scratch = &mut *self.scratch.borrow_mut();
        self.encode_into(txn, scratch);
        match &self.way {
            Way::Near(log) => append_near(log, txn.zxid, scratch),
            Way::Far(outlet, _) => outlet.post(ToLog::Entry { zxid: txn.zxid, bytes: Bytes::copy_from_slice(scratch) }),
        }
        scratch.len()
    }

    /// Hands over what [`encode`](LogPort::encode) has made, here or at another member.
    pub fn append_entry(&self, zxid: Zxid, entry: Bytes) {
        match &self.way {
            Way::Near(log) => append_near(log, zxid, &entry),
            Way::Far(outlet, _) => outlet.post(ToLog::Entry { zxid, bytes: entry }),
        }
    }

    /// A transaction as the log keeps it.
    pub fn encode(&self, txn: &mut Txn) -> Bytes {
        let scratch = &mut *self.scratch.borrow_mut();
        self.encode_into(txn, scratch);
        Bytes::copy_from_slice(scratch)
    }

    /// A closeSession that lists more ephemerals than a record holds is written without the list, as ZooKeeper did before
    /// 3.6: applying it removes whatever the session owns then, which is the same.
    fn encode_into(&self, txn: &mut Txn, entry: &mut Vec<u8>) {
        entry.clear();
        codec::txn::encode(txn, entry);
        if entry.len() > self.record_len_max
            && let TxnOp::CloseSession { paths } = &mut txn.op
        {
            *paths = None;
            entry.clear();
            codec::txn::encode(txn, entry);
        }
    }

    /// Has the log role do something. It leaves with the next [`dispatch`](LogPort::dispatch).
    ///
    /// # Panics
    /// If the log is appended to directly, as a server's that is no member.
    pub fn post(&self, message: ToLog) {
        match &self.way {
            Way::Near(_) => unreachable!("members post, and to a mailbox"),
            Way::Far(outlet, _) => outlet.post(message),
        }
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
            Way::Near(log) => {
                log.want_purge(oldest);
                log.purge().await;
            }
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

fn append_near(log: &ServerLog, zxid: Zxid, entry: &[u8]) {
    if let Err(error) = log.append(zxid, entry) {
        panic!("the log had room before the transaction was prepared, and now: {error}");
    }
}
