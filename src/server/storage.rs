//! The server's log: transactions in ZooKeeper's own form, one record each, keyed by zxid.

use std::cell::RefCell;

use ids::Zxid;
use storage::error::{AppendError, SyncError};
use storage::log::Log;
use storage::os::OsDisk;
use tree::txn::{Txn, TxnOp};

use super::codec;

/// Bytes that wait for the disk, or are being written, above which clients are not read: a quarter of what the log
/// itself takes, so that what is already received always fits.
const BEHIND_BYTES: usize = 8 << 20;

/// The log, with the encoding of what goes in.
pub struct ServerLog {
    log: Log<OsDisk>,
    /// Where an entry is encoded before it is copied behind the log's record header. Reused, so it allocates rarely.
    scratch: RefCell<Vec<u8>>,
}

impl ServerLog {
    /// Around an open log.
    pub fn new(log: Log<OsDisk>) -> ServerLog {
        ServerLog { log, scratch: RefCell::new(Vec::new()) }
    }

    /// Takes a transaction, in memory, and says how long its entry is. The caller has seen that there is room.
    ///
    /// A closeSession that lists more ephemerals than a record holds is written without the list, as ZooKeeper did before
    /// 3.6: applying it removes whatever the session owns then, which is the same.
    pub fn append(&self, txn: &mut Txn) -> usize {
        let scratch = &mut *self.scratch.borrow_mut();
        scratch.clear();
        codec::txn::encode(txn, scratch);
        let mut taken = self.log.append(txn.zxid.to_u64(), scratch);
        if let (Err(AppendError::TooLong), TxnOp::CloseSession { paths }) = (&taken, &mut txn.op) {
            *paths = None;
            scratch.clear();
            codec::txn::encode(txn, scratch);
            taken = self.log.append(txn.zxid.to_u64(), scratch);
        }
        if let Err(error) = taken {
            panic!("the log had room before the transaction was prepared, and now: {error}");
        }
        scratch.len()
    }

    /// Makes everything that waits durable. See [`Log::sync`].
    ///
    /// # Errors
    /// The log is closed for ever; the process must end.
    pub async fn sync(&self) -> Result<Zxid, SyncError> {
        self.log.sync().await.map(Zxid::from_u64)
    }

    /// Whether a write would be taken.
    pub fn has_room(&self) -> bool {
        self.log.has_room()
    }

    /// Whether so much waits for the disk that clients should not be read.
    pub fn is_behind(&self) -> bool {
        self.log.pending() > BEHIND_BYTES
    }

    /// The log itself, for the tasks that look after it.
    pub fn log(&self) -> &Log<OsDisk> {
        &self.log
    }
}
