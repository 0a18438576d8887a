//! Replaying the log: a thread reads, checks and decodes it ahead, this one applies.

use storage::{Exam, LogReader, OpenError};
use tree::effects::Effects;
use tree::foresight::{Foreseen, Foresight};
use tree::tree::Tree;
use tree::txn::Txn;

use super::ahead::{BATCH_BYTES, BATCH_ITEMS, ahead};
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

/// Applies what `reader` reads to `tree`. Says too how many transactions carry another digest than the tree has after them.
///
/// # Errors
/// The log cannot be read, or holds what is no transaction.
pub fn replay<M: std::ops::Deref<Target = [u8]> + Send>(
    reader: LogReader<M>,
    tree: &mut Tree,
    progress: impl FnMut(u64, u64) + Send,
) -> Result<(Exam, u64), OpenError> {
    let foresight = tree.foresight();
    let mut effects = Effects::deaf();
    let mut mismatches = 0;
    let apply = |batch: &mut Batch| {
        let txns = &mut batch.txns[..batch.count];
        tree.warm_up(txns.iter().filter_map(|(_, foreseen)| *foreseen));
        for (txn, foreseen) in txns {
            txn.op.adopt_large_data();
            tree.apply_foreseen(txn, *foreseen, &mut effects);
            mismatches += u64::from(effects.digest_mismatch().is_some());
            effects.clear();
        }
    };
    let exam = ahead(|pass| decode(reader, foresight, progress, pass), apply).map_err(|source| OpenError::Io {
        doing: "start a thread to read",
        path: "the log".into(),
        source,
    })??;
    Ok((exam, mismatches))
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
