//! The other half of the log: segments are made ahead of use and taken away when a snapshot covers them.
//!
//! Flow       prepare_next: new.<n> is made (allocated, filled with zeros, synced), or spare.<n> reused (its name
//!            synced, its header wiped, synced), renamed to segment.<next>, directory synced. Only then may a batch go there.
//!            purge_before: segment -> spare (one is kept for reuse) or removed, oldest first.
//! Invariant  a name `segment.<n>` that a crash leaves behind holds either the log's bytes or no valid header.
//!
//! Filling matters: a write into blocks that are allocated but never written makes the file system convert them in its
//! journal, and the sync waits for that.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::disk::{BLOCK, Disk, DiskFile, Open, Strategy, join, write_padded, write_zeros, write_zeros_while};
use crate::error::{PrepareError, PurgeError, is_no_space};
use crate::log::{Log, LogOptions, Prepared};
use crate::segment;

/// Purged segments that are kept to be used again. One is enough: the next is made while the active one fills.
pub const SPARES_MAX: usize = 1;

/// Between two slices of 64 KiB of a segment that is filled ahead of use: 25 MB/s.
const FILL_REST: Duration = Duration::from_micros(2_500);

/// The same while more is filled than the log needs at its pace: 1.6 MB/s, so that fewer than one sync in a hundred
/// finds a slice in front of it.
const FILL_REST_AHEAD: Duration = Duration::from_millis(40);

/// A step that failed: the verb, and what the kernel said.
pub(crate) type Step = (&'static str, io::Error);

impl<D: Disk> Log<D> {
    /// Makes the next segment ready, unless it is, after another call that is in flight. To be called from a task of its own, in a loop with
    /// [`next_wanted`](Log::next_wanted), and again after an error when there may be room.
    ///
    /// # Errors
    /// Nothing was lost; the log takes records as long as the active segment has room.
    ///
    /// # Cancel safety
    /// Safe: what was begun is made use of, or removed, by the next call or the next start.
    pub async fn prepare_next(&self) -> Result<(), PrepareError> {
        // A truncation may want one, too.
        self.wait_until(|log| !log.preparing.get()).await;
        self.preparing.set(true);
        let _guard = Flying { log: self, flag: &self.preparing };
        let (index, spare) = {
            let state = &mut *self.state.borrow_mut();
            if state.next.is_some() {
                return Ok(());
            }
            (state.active.home.index + 1, state.spares.pop())
        };
        let made = match spare {
            Some(number) => reuse(&self.disk, &self.options, number, index).await,
            None => {
                make(&self.disk, &self.options, index, &[], async |filled| self.goes_on_filling(filled).await).await
            }
        };
        let file = made.map_err(|step| self.prepare_error(index, step))?;
        let state = &mut *self.state.borrow_mut();
        assert_eq!(state.active.home.index + 1, index, "the log can't roll without a next segment");
        state.next = Some(Prepared { index, file: Rc::new(file) });
        Ok(())
    }

    /// Waits until the next segment is wanted: at once if there is none, else until the log goes on to it.
    pub async fn next_wanted(&self) {
        poll_fn(|context| {
            let state = &mut *self.state.borrow_mut();
            if state.next.is_none() {
                return Poll::Ready(());
            }
            state.next_waiter = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Takes away the segments that hold nothing of `seq` or above: to be called with the seq of the oldest snapshot that
    /// is kept. Returns how many. While the log is truncated it does nothing.
    ///
    /// The directory isn't synced: whichever of them a crash brings back is below what recovery looks at, and goes again.
    ///
    /// # Errors
    /// Some may be gone, none that is needed; call again with the next snapshot.
    ///
    /// # Cancel safety
    /// Safe, as an error is.
    ///
    /// # Panics
    /// If another call is in flight.
    pub async fn purge_before(&self, seq: u64) -> Result<usize, PurgeError> {
        if self.truncating.get() {
            return Ok(0);
        }
        assert!(!self.purging.replace(true), "one purge at a time");
        let _guard = Flying { log: self, flag: &self.purging };
        self.remove_dead().await?;
        let mut purged = 0;
        while let Some(index) = self.purgeable(seq) {
            let path = self.segment_path(index);
            let fail = |doing| {
                let path = path.clone();
                move |source| PurgeError { doing, path, source }
            };
            // A cursor that has it mapped may go on reading what was removed, but not what is written again.
            let free = !self.state.borrow().is_pinned(index);
            let keep = free && self.state.borrow().spares.len() < SPARES_MAX && self.reusable(&path);
            if keep {
                let spare = join(self.dir(), &segment::spare_name(index));
                self.disk.rename(&path, &spare).await.map_err(fail("rename"))?;
            } else {
                self.disk.remove(&path).await.map_err(fail("remove"))?;
            }
            let state = &mut *self.state.borrow_mut();
            assert_eq!(state.segments.pop_front().map(|oldest| oldest.index), Some(index), "the oldest goes first");
            if keep {
                state.spares.push(index);
            }
            purged += 1;
        }
        Ok(purged)
    }

    /// Every flush of the log has to wait for what a filling has put into the disk's cache, so it goes slowly: at twice
    /// the log's own pace, or a crawl. When the active segment is half full, or is to be left by a truncation, the next
    /// one is needed soon, and what is not
    /// filled stays allocated: it reads as zero, and only the first write to each block costs more.
    async fn goes_on_filling(&self, filled: u64) -> bool {
        let (used, segment_len) = {
            let active = &self.state.borrow().active;
            (active.cursor.offset, active.segment_len)
        };
        if used > segment_len / 2 || self.truncating.get() {
            return false;
        }
        self.disk.rest(if filled > 2 * used { FILL_REST_AHEAD } else { FILL_REST }).await;
        true
    }

    /// The oldest segment, if the one after it begins above everything below `seq`.
    fn purgeable(&self, seq: u64) -> Option<u64> {
        let state = self.state.borrow();
        let second = state.segments.get(1)?;
        // The second may be in memory only yet; until it is durable the first is the end of the log.
        let durable = second.index <= state.durable.index;
        (durable && second.prev_seq < seq).then_some(state.segments[0].index)
    }

    /// Whether a purged segment has the length that new ones have.
    fn reusable(&self, path: &Path) -> bool {
        self.disk.map(path).is_ok_and(|map| map.len() as u64 == self.options.segment_len)
    }

    fn prepare_error(&self, index: u64, (doing, source): Step) -> PrepareError {
        if is_no_space(&source) {
            return PrepareError::NoSpace { dir: self.dir().to_owned(), wanted: self.options.segment_len, source };
        }
        PrepareError::Io { doing, path: self.segment_path(index), source }
    }
}

/// Takes a flag back when what it stands for has ended or was dropped.
struct Flying<'a, D: Disk> {
    log: &'a Log<D>,
    flag: &'a Cell<bool>,
}

impl<D: Disk> Drop for Flying<'_, D> {
    fn drop(&mut self) {
        self.flag.set(false);
        self.log.wake_waiting();
    }
}

/// Makes segment `index` and opens it: room first, so that a full disk is found before anything else is done, then zeros,
/// then `head` (whole blocks) at its start, then its name.
pub(crate) async fn make<D: Disk>(
    disk: &D,
    options: &LogOptions,
    index: u64,
    head: &[u8],
    goes_on: impl AsyncFn(u64) -> bool,
) -> Result<D::File, Step> {
    let path = join(&options.dir, &segment::new_name(index));
    // Not by the log's own strategy: that one may sync each write.
    let file = disk.open(&path, Open::Fresh, Strategy::Direct).await.map_err(|source| ("make", source))?;
    let filled = fill(&file, options, head, goes_on).await;
    drop(file);
    if let Err(step) = filled {
        // It would keep the room that others need; if it can't be removed, the next start or try does it.
        let _ = disk.remove(&path).await;
        return Err(step);
    }
    install(disk, options, &path, index).await
}

async fn fill<F: DiskFile>(
    file: &F,
    options: &LogOptions,
    head: &[u8],
    goes_on: impl AsyncFn(u64) -> bool,
) -> Result<(), Step> {
    file.allocate(options.segment_len).await.map_err(|source| ("allocate", source))?;
    write_padded(file, head, 0).await.map_err(|source| ("write", source))?;
    let filled = write_zeros_while(file, head.len() as u64, options.segment_len, goes_on).await;
    filled.map_err(|source| ("fill", source))?;
    file.sync().await.map_err(|source| ("sync", source))
}

/// Makes segment `index` of a purged one: without its header nothing in it can be taken for the log.
async fn reuse<D: Disk>(disk: &D, options: &LogOptions, number: u64, index: u64) -> Result<D::File, Step> {
    let path = join(&options.dir, &segment::spare_name(number));
    // A crash must not bring its first name back beside the one that it gets now: the purge of the one would hand out the
    // other, which is in use.
    disk.sync_dir(&options.dir).await.map_err(|source| ("sync the directory of", source))?;
    let file = disk.open(&path, Open::Existing, Strategy::Direct).await.map_err(|source| ("open", source))?;
    write_zeros(&file, 0, BLOCK as u64).await.map_err(|source| ("wipe the header of", source))?;
    file.sync().await.map_err(|source| ("sync", source))?;
    drop(file);
    install(disk, options, &path, index).await
}

/// Gives a finished segment its place in the log, and opens it to be appended to.
async fn install<D: Disk>(disk: &D, options: &LogOptions, from: &Path, index: u64) -> Result<D::File, Step> {
    let path = join(&options.dir, &segment::name(index));
    disk.rename(from, &path).await.map_err(|source| ("rename", source))?;
    disk.sync_dir(&options.dir).await.map_err(|source| ("sync the directory of", source))?;
    disk.open(&path, Open::Existing, options.strategy).await.map_err(|source| ("open", source))
}
