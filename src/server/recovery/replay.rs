//! Replaying the log: one side reads, checks and decodes it, ahead where there are two threads; the other applies. At start
//! that is a log that is being opened (`replay`), later one that is open (`catch_up`).

use std::fmt;

use ids::Zxid;
use net::error::DecodeError;
use storage::{Disk, Exam, Log, LogReader, OpenError, ReadError};
use tree::effects::Effects;
use tree::foresight::{Foreseen, Foresight};
use tree::tree::Tree;
use tree::txn::Txn;

use super::ahead::{BATCH_BYTES, BATCH_ITEMS, Threads, ahead};
use crate::server::codec;

/// Decoded transactions in their order.
#[derive(Default)]
struct Batch {
    /// Those behind `count` are used ones, left over: each is dropped when the next comes in its place, so that the
    /// allocator gives the same memory again, over and over.
    txns: Vec<(Txn, Option<Foreseen>)>,
    count: usize,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, txn: Txn, foreseen: Option<Foreseen>, entry_len: usize) {
        match self.txns.get_mut(self.count) {
            Some(used) => *used = (txn, foreseen),
            None => self.txns.push((txn, foreseen)),
        }
        self.count += 1;
        self.bytes += entry_len;
    }

    fn is_full(&self) -> bool {
        self.count >= BATCH_ITEMS || self.bytes >= BATCH_BYTES
    }

    fn reuse(&mut self) {
        (self.count, self.bytes) = (0, 0);
    }
}

/// Transactions on their way into a tree.
struct Applier<'t> {
    tree: &'t mut Tree,
    effects: Effects,
    mismatches: u64,
}

impl<'t> Applier<'t> {
    fn new(tree: &'t mut Tree) -> Applier<'t> {
        Applier { tree, effects: Effects::deaf(), mismatches: 0 }
    }

    fn apply(&mut self, batch: &mut Batch) {
        let txns = &mut batch.txns[..batch.count];
        self.tree.warm_up(txns.iter().filter_map(|(_, foreseen)| *foreseen));
        for (txn, foreseen) in txns {
            txn.op.adopt_large_data();
            self.tree.apply_foreseen(txn, *foreseen, &mut self.effects);
            self.mismatches += u64::from(self.effects.digest_mismatch().is_some());
            self.effects.clear();
        }
    }
}

/// Applies what `reader` reads to `tree`. Says too how many transactions carry another digest than the tree has after them.
///
/// # Errors
/// The log cannot be read, or holds what is no transaction.
pub fn replay<M: std::ops::Deref<Target = [u8]> + Send>(
    reader: LogReader<M>,
    tree: &mut Tree,
    threads: Threads,
    progress: impl FnMut(u64, u64) + Send,
) -> Result<(Exam, u64), OpenError> {
    let foresight = tree.foresight();
    let mut applier = Applier::new(tree);
    let read = |pass: &mut dyn FnMut(&mut Batch)| decode(reader, foresight, progress, pass);
    let exam = ahead(threads, read, |batch| applier.apply(batch)).map_err(|source| OpenError::Io {
        doing: "start a thread to read",
        path: "the log".into(),
        source,
    })??;
    Ok((exam, applier.mismatches))
}

/// Why an open log cannot be read into a tree.
#[derive(Debug)]
#[non_exhaustive]
pub enum CatchUpError {
    /// It cannot be read.
    Read(ReadError),
    /// An entry is no transaction.
    Decode(DecodeError),
}

impl fmt::Display for CatchUpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CatchUpError::Read(error) => error.fmt(f),
            CatchUpError::Decode(error) => write!(f, "an entry of the log is no transaction: {error}"),
        }
    }
}

impl From<ReadError> for CatchUpError {
    fn from(error: ReadError) -> CatchUpError {
        CatchUpError::Read(error)
    }
}

/// Applies what an open log has durable above the tree's last zxid, up to `upto`, to `tree`. Between batches `rest` lets
/// others go on.
///
/// # Errors
/// The tree is half way.
pub async fn catch_up<D: Disk>(
    log: &Log<D>,
    tree: &mut Tree,
    upto: Zxid,
    rest: impl AsyncFn(),
) -> Result<(), CatchUpError> {
    let foresight = tree.foresight();
    let mut cursor = log.read_after(tree.last_zxid().to_u64())?;
    let mut applier = Applier::new(tree);
    let mut batch = Batch::default();
    while let Some((_, entry)) = cursor.next()?.filter(|(seq, _)| *seq <= upto.to_u64()) {
        let txn = codec::txn::decode(entry, None).map_err(CatchUpError::Decode)?;
        let foreseen = foresight.txn(&txn);
        batch.push(txn, foreseen, entry.len());
        if batch.is_full() {
            applier.apply(&mut batch);
            batch.reuse();
            rest().await;
        }
    }
    applier.apply(&mut batch);
    Ok(())
}

/// Passes all transactions on.
fn decode<M: std::ops::Deref<Target = [u8]>>(
    reader: LogReader<M>,
    foresight: Foresight,
    progress: impl FnMut(u64, u64),
    pass: &mut dyn FnMut(&mut Batch),
) -> Result<Exam, OpenError> {
    let mut batch = Batch::default();
    let visit = |_, entry: &[u8]| {
        let txn = codec::txn::decode(entry, None)?;
        let foreseen = foresight.txn(&txn);
        batch.push(txn, foreseen, entry.len());
        if batch.is_full() {
            pass(&mut batch);
            batch.reuse();
        }
        Ok(())
    };
    let exam = reader.read(visit, progress)?;
    pass(&mut batch);
    Ok(exam)
}
