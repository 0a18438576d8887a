//! Truncation: the end of the log is taken back, because the ensemble went on from an earlier place.
//!
//! Flow       sync -> find the place -> a prepared segment -> its header says "the one before me is segment <i>, and it ends
//!            at <offset>" -> written and synced with an empty batch: the truncation -> one more batch that proves the first
//!            -> what was cut off is removed.
//! Invariant  one write decides. Before it is durable the log is the old one, after it the truncated one: what stands
//!            behind the cut is never read again, and no byte of it is changed.
//! Absent     cutting files and writing over them: that would take several steps, each a state for recovery to know.

use std::future::poll_fn;
use std::task::Poll;

use super::Log;
use super::read::Scan;
use crate::disk::Disk;
use crate::error::{PurgeError, ReadError, TruncateError};
use crate::segment;

/// What a truncation left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated {
    /// The last seq that was kept: the highest that isn't above the one asked for. Appends go on above it.
    pub last_seq: u64,
    /// Whether anything was removed.
    pub removed: bool,
}

impl<D: Disk> Log<D> {
    /// Removes every record above `seq`, durable or waiting, and returns when they can't come back. It first waits for a
    /// segment that is being made and for a purge, if they are in flight.
    ///
    /// Snapshots above `seq` must be gone, durably, before ([`Snapshots::truncate_after`](crate::Snapshots::truncate_after)):
    /// a state that begins with one of them has what is removed here.
    /// Cursors from before return [`ReadError::Truncated`] afterwards.
    ///
    /// # Errors
    /// See [`TruncateError`]; but for `Sync` nothing was changed. Below [`oldest`](Log::oldest) nothing can be truncated.
    ///
    /// # Panics
    /// If a sync or another truncation is in flight, or a record is appended or synced before it returns.
    ///
    /// # Cancel safety
    /// The log is the old one or the truncated one. Dropped while it writes, it closes the log as a dropped sync does.
    pub async fn truncate_after(&self, seq: u64) -> Result<Truncated, TruncateError> {
        assert!(!self.truncating.replace(true), "one truncation at a time");
        let _guard = Truncating { log: self };
        if seq < self.oldest() {
            return Err(ReadError::Purged { oldest: self.oldest() }.into());
        }
        // What waits would have to be taken out of its chunks, and these out of their segments; this happens rarely.
        self.sync().await?;
        self.wait_until(|log| !log.purging.get()).await;
        let Some((index, end)) = self.place_of(seq)? else {
            return Ok(Truncated { last_seq: self.last_seq(), removed: false });
        };
        self.prepare_next().await?;
        {
            let state = &mut *self.state.borrow_mut();
            let dead = state.cut(index, end, self.options.segment_len);
            state.dead.extend(dead);
        }
        self.sync().await?;
        // Else the loss of that one header would bring back what it cut off.
        self.state.borrow_mut().unproven = true;
        self.mark().await?;
        if let Err(error) = self.remove_dead().await {
            // The next purge tries again, and so does the next start.
            tracing::warn!(%error, "what was cut off from the log is still there");
        }
        Ok(Truncated { last_seq: end.last_seq, removed: true })
    }

    /// The segment that holds the last record that isn't above `seq`, and the place behind it. `None` if that is the end.
    fn place_of(&self, seq: u64) -> Result<Option<(u64, segment::Cursor)>, ReadError> {
        let mut scan = Scan::around(&self.reach(), seq)?;
        Ok(scan.seek(seq)?.map(|_| (scan.index(), scan.at())))
    }

    /// Waits for a segment that is being made, or a purge, to be over.
    pub(crate) async fn wait_until(&self, over: impl Fn(&Log<D>) -> bool) {
        poll_fn(|context| {
            if over(self) {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// To be called when what [`wait_until`](Log::wait_until) waits for may be over.
    pub(crate) fn wake_waiting(&self) {
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_iter().for_each(|waker| waker.wake());
    }

    /// Removes what truncations cut off. A crash may bring it back: recovery doesn't look at it, and removes it.
    pub(crate) async fn remove_dead(&self) -> Result<(), PurgeError> {
        while let Some(index) = self.first_dead() {
            let path = self.segment_path(index);
            let removed = self.disk.remove(&path).await;
            removed.map_err(|source| PurgeError { doing: "remove", path, source })?;
            self.state.borrow_mut().dead.retain(|&other| other != index);
        }
        Ok(())
    }

    fn first_dead(&self) -> Option<u64> {
        self.state.borrow().dead.first().copied()
    }
}

struct Truncating<'a, D: Disk> {
    log: &'a Log<D>,
}

impl<D: Disk> Drop for Truncating<'_, D> {
    fn drop(&mut self) {
        self.log.truncating.set(false);
    }
}

#[cfg(test)]
mod tests;
