//! The log: records are appended in memory, and one sync makes everything that waits durable in one write.
//!
//! Flow       append -> open chunk -> (full segment: sealed) -> sync -> write_durable -> durable
//! Invariant  durable <= appended; a chunk is written only when all before it is durable, so that a batch on disk proves
//!            everything before it; seqs rise.
//! Absent     retrying a sync: a failure is for ever.
//!
//! Everything is single-threaded and no borrow is held across an await: appends may arrive while a sync is in flight and
//! go with the next. `prepare.rs` has the half of this type which brings segments and takes them away, `log/read.rs` reads
//! back what is durable, `log/truncate.rs` takes the end of the log back.

mod chunk;
mod read;
mod state;
#[cfg(test)]
pub(crate) mod tests;
mod truncate;

use std::cell::{Cell, RefCell};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::Waker;

use crate::disk::{BLOCK, Disk, DiskFile, Strategy, block_up, join};
use crate::error::{AppendError, OpenError, SyncError, VisitError};
use crate::record::{self, Position};
use crate::recover::{self, Exam, LogReader, Recovered};
use crate::segment::{self, SEGMENT_LEN_MAX, SEGMENT_LEN_MIN};

pub use read::{Located, LogCursor};
use state::Take;
pub(crate) use state::{Active, Part, Prepared, State};
pub use truncate::Truncated;

/// How a log is kept.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Its directory, which holds nothing else.
    pub dir: PathBuf,
    /// Length of a new segment, in bytes; a multiple of [`BLOCK`]. ZooKeeper's preAllocSize maps onto it.
    pub segment_len: u64,
    /// The longest payload, in bytes. At most a quarter of a segment.
    pub record_len_max: usize,
    /// The most that may wait to be written, in bytes. At most half a segment.
    pub pending_len_max: usize,
    /// How batches reach the disk.
    pub strategy: Strategy,
    /// A random number, used when the log is made, so that no client can craft a payload that looks like a batch.
    pub salt: u64,
    /// Make a new log though there is a snapshot: for an import. Otherwise a snapshot without a log is an error.
    pub may_create_after_snapshot: bool,
}

impl LogOptions {
    /// The defaults, for a log in `dir`.
    pub fn new(dir: impl Into<PathBuf>, salt: u64) -> LogOptions {
        LogOptions {
            dir: dir.into(),
            segment_len: 64 << 20,
            record_len_max: 8 << 20,
            pending_len_max: 32 << 20,
            strategy: Strategy::default(),
            salt,
            may_create_after_snapshot: false,
        }
    }

    /// As asked for, or as near as the other options allow: a segment must hold several of the longest records. A
    /// `record_len_max` that no segment could hold is lowered, to a quarter of the longest segment.
    #[must_use]
    pub fn with_segment_len(mut self, segment_len: u64) -> LogOptions {
        self.record_len_max = self.record_len_max.min((SEGMENT_LEN_MAX / 4) as usize - BLOCK);
        let least = SEGMENT_LEN_MIN.max(4 * block_up((self.record_len_max + BLOCK) as u64));
        self.segment_len = block_up(segment_len.clamp(least, SEGMENT_LEN_MAX));
        self.pending_len_max = (self.segment_len / 2) as usize;
        self
    }

    fn check(&self) -> Result<(), OpenError> {
        let wrong = |reason| Err(OpenError::Options { reason });
        if !(SEGMENT_LEN_MIN..=SEGMENT_LEN_MAX).contains(&self.segment_len)
            || !self.segment_len.is_multiple_of(BLOCK as u64)
        {
            return wrong("a log segment must be 64 KiB to 1 GiB long and a multiple of 4 KiB");
        }
        if self.record_len_max as u64 > self.segment_len / 4 {
            return wrong("the longest log record must fit into a quarter of a segment");
        }
        if self.pending_len_max as u64 > self.segment_len / 2 || self.pending_len_max < self.record_len_max {
            return wrong("what may wait for the log must hold one record and fit into half a segment");
        }
        Ok(())
    }
}

/// The log. See the module's head.
pub struct Log<D: Disk> {
    pub(crate) disk: D,
    pub(crate) options: LogOptions,
    /// Shared with cursors.
    pub(crate) state: Rc<RefCell<State<D::File>>>,
    /// Whether a sync, or the making of a segment, is in flight. Of each there is one at a time.
    syncing: Cell<bool>,
    pub(crate) preparing: Cell<bool>,
    /// Whether a purge is in flight, and a truncation: the two exclude each other.
    pub(crate) purging: Cell<bool>,
    pub(crate) truncating: Cell<bool>,
    /// Who waits for one of the above to end.
    waiting: RefCell<Vec<Waker>>,
}

impl<D: Disk> Log<D> {
    /// Opens the log in `options.dir`, or makes a new one, and shows `visit` every record above `from_seq`, in order.
    ///
    /// The caller must hold the directory's lock. `progress` hears of bytes read and bytes to read, now and then.
    /// What was recovered is synced before this returns: it may have been in the page cache only.
    ///
    /// # Errors
    /// Nothing was changed on disk, but for left-overs of an earlier crash and a torn tail, which may have been removed.
    pub async fn open(
        disk: D,
        options: LogOptions,
        from_seq: u64,
        visit: impl FnMut(u64, &[u8]) -> Result<(), VisitError>,
        progress: impl FnMut(u64, u64),
    ) -> Result<(Log<D>, Recovered), OpenError> {
        Log::open_by(disk, options, from_seq, |reader| reader.read(visit, progress)).await
    }

    /// As [`open`](Log::open), for a caller with a way of its own to have the log read, as on another thread. `read` must
    /// return what [`LogReader::read`] does.
    ///
    /// # Errors
    /// As `open`, and those of `read`.
    pub async fn open_by(
        disk: D,
        options: LogOptions,
        from_seq: u64,
        read: impl FnOnce(LogReader<D::Map>) -> Result<Exam, OpenError>,
    ) -> Result<(Log<D>, Recovered), OpenError> {
        options.check()?;
        let (state, recovered) = recover::open(&disk, &options, from_seq, read).await?;
        let log = Log {
            disk,
            options,
            state: Rc::new(RefCell::new(state)),
            syncing: Cell::new(false),
            preparing: Cell::new(false),
            purging: Cell::new(false),
            truncating: Cell::new(false),
            waiting: RefCell::default(),
        };
        Ok((log, recovered))
    }

    /// Takes a record, in memory. It is durable when a [`sync`](Log::sync) that began later has returned.
    ///
    /// # Errors
    /// The record was not taken; see [`AppendError`] for what the caller can do.
    ///
    /// # Panics
    /// If `seq` doesn't rise, or a truncation is in flight: two histories would be mixed.
    pub fn append(&self, seq: u64, payload: &[u8]) -> Result<(), AppendError> {
        self.append_parts(seq, &[payload])
    }

    /// As [`append`](Log::append), with a payload that is in several places, so that nobody copies it together first.
    ///
    /// # Errors
    /// As [`append`](Log::append).
    ///
    /// # Panics
    /// As [`append`](Log::append).
    pub fn append_parts(&self, seq: u64, parts: &[&[u8]]) -> Result<(), AppendError> {
        let payload_len: usize = parts.iter().map(|part| part.len()).sum();
        if payload_len > self.options.record_len_max {
            return Err(AppendError::TooLong);
        }
        let state = &mut *self.state.borrow_mut();
        assert!(!self.truncating.get(), "nothing is appended while the log is truncated");
        assert!(seq > state.active.cursor.last_seq, "seq {seq:#x} after {:#x}", state.active.cursor.last_seq);
        if state.failed.is_some() {
            return Err(AppendError::Failed);
        }
        let len = record::record_len(payload_len);
        if state.pending_len + len > self.options.pending_len_max {
            return Err(AppendError::Busy);
        }
        if !state.fits(len) && !state.roll(self.options.segment_len) {
            return Err(AppendError::NoSpace);
        }
        state.push(seq, parts, len);
        Ok(())
    }

    /// Writes everything that waits as one batch per segment, makes it durable, and returns the highest durable seq.
    ///
    /// What is appended meanwhile goes with the next sync. With nothing waiting it returns at once.
    ///
    /// # Errors
    /// The log is closed for ever: what is durable is unknown, the process must end. Later calls return the same error.
    ///
    /// # Panics
    /// If another sync of this log is in flight.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped before it returns, it closes the log as an error does.
    pub async fn sync(&self) -> Result<u64, SyncError> {
        assert!(!self.syncing.replace(true), "one sync at a time");
        let guard = SyncGuard { log: self };
        let sealed = self.state.borrow().sealed_count();
        for _ in 0..sealed {
            self.write_chunk(Take::Sealed).await?;
        }
        // What waits is at most half a segment, so the open chunk can't have filled its segment meanwhile.
        assert_eq!(self.state.borrow().sealed_count(), 0, "older chunks go first");
        self.write_chunk(Take::Open).await?;
        std::mem::forget(guard);
        self.syncing.set(false);
        Ok(self.state.borrow().durable_seq)
    }

    /// Writes an empty batch which proves that the last one was durable, so that a later damage of it isn't taken for a
    /// torn tail. To be called when the log is idle and when it is closed; does nothing if there is nothing to prove.
    ///
    /// # Errors
    /// As [`sync`](Log::sync).
    ///
    /// # Panics
    /// As [`sync`](Log::sync).
    ///
    /// # Cancel safety
    /// As [`sync`](Log::sync).
    pub async fn mark(&self) -> Result<(), SyncError> {
        {
            let state = &mut *self.state.borrow_mut();
            if state.failed.is_none() {
                state.begin_mark();
            }
        }
        self.sync().await.map(|_| ())
    }

    /// Bytes of records that wait for a sync.
    pub fn pending(&self) -> usize {
        self.state.borrow().pending_len
    }

    /// Whether the longest record would be taken now. If not, the server refuses writes, and goes on when it would.
    pub fn has_room(&self) -> bool {
        self.has_room_for(self.options.record_len_max)
    }

    /// Whether [`append`](Log::append) would take a payload of this length now.
    pub fn has_room_for(&self, payload_len: usize) -> bool {
        let state = self.state.borrow();
        let len = record::record_len(payload_len);
        payload_len <= self.options.record_len_max
            && state.failed.is_none()
            && state.pending_len + len <= self.options.pending_len_max
            && (state.fits(len) || state.next.is_some())
    }

    /// The highest seq that was appended, durable or not.
    pub fn last_seq(&self) -> u64 {
        self.state.borrow().active.cursor.last_seq
    }

    /// The highest seq that is durable.
    pub fn durable_seq(&self) -> u64 {
        self.state.borrow().durable_seq
    }

    /// The options that it was opened with.
    pub fn options(&self) -> &LogOptions {
        &self.options
    }

    /// Writes one chunk, if there is one to take.
    async fn write_chunk(&self, take: Take) -> Result<(), SyncError> {
        let taken = {
            let state = &mut *self.state.borrow_mut();
            if let Some(failed) = &state.failed {
                return Err(failed.clone());
            }
            state.take(take)
        };
        let Some((chunk, len)) = taken else { return Ok(()) };
        let done = Position { index: chunk.home.index, offset: chunk.end() };
        let (last_seq, count) = (chunk.last_seq, chunk.count);
        let written = chunk.file.write_durable(chunk.buffer, len, chunk.file_offset).await;
        match written {
            Ok(()) => self.state.borrow_mut().on_durable(done, last_seq, count > 0),
            Err(source) => return Err(self.fail("write and sync", done.index, source)),
        }
        Ok(())
    }

    fn fail(&self, doing: &'static str, index: u64, source: io::Error) -> SyncError {
        let path = self.segment_path(index);
        let error = SyncError { doing, path, source: Rc::new(source) };
        self.state.borrow_mut().failed.get_or_insert_with(|| error.clone());
        error
    }

    pub(crate) fn segment_path(&self, index: u64) -> PathBuf {
        join(&self.options.dir, &segment::name(index))
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.options.dir
    }
}

/// Closes the log if a sync is dropped in the middle.
struct SyncGuard<'a, D: Disk> {
    log: &'a Log<D>,
}

impl<D: Disk> Drop for SyncGuard<'_, D> {
    fn drop(&mut self) {
        let index = self.log.state.borrow().active.home.index;
        // After an error this changes nothing: the first one stands.
        self.log.fail("finish the sync of", index, io::Error::from(io::ErrorKind::Interrupted));
        self.log.syncing.set(false);
    }
}
