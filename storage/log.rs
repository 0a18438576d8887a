//! The log: records are appended in memory, and one sync makes everything that waits durable in one write.
//!
//! Flow       append -> open chunk -> (full segment: sealed) -> sync -> write_durable -> durable
//! Invariant  durable <= appended; a chunk is written only when all before it is durable, so that a batch on disk proves
//!            everything before it; seqs rise.
//! Absent     reading back: recovery reads, once, before anything is appended. Retrying a sync: a failure is for ever.
//!
//! Everything is single-threaded and no borrow is held across an await: appends may arrive while a sync is in flight and
//! go with the next. `prepare.rs` has the other half of this type, which brings segments and takes them away.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::Waker;

use crate::disk::{BLOCK, Disk, DiskFile, Strategy, block_down, block_up, join};
use crate::error::{AppendError, OpenError, SyncError, VisitError};
use crate::record::{self, BATCH_HEADER_LEN, Batch, FLAG_CLOSES, Home, Position};
use crate::recover::{self, Recovered};
use crate::segment::{self, BATCHES_AT, Cursor, Header, SEGMENT_LEN_MAX, SEGMENT_LEN_MIN};

/// First size of a batch's buffer, in bytes; it doubles when it is too small.
const BUFFER_LEN: usize = 32 * 1024;

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

    /// As asked for, or as near as the other options allow: a segment must hold several of the longest records.
    #[must_use]
    pub fn with_segment_len(mut self, segment_len: u64) -> LogOptions {
        let least = SEGMENT_LEN_MIN.max(4 * block_up(self.record_len_max as u64 + BLOCK as u64));
        self.segment_len = block_up(segment_len.clamp(least, SEGMENT_LEN_MAX.max(least)));
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
    pub(crate) state: RefCell<State<D::File>>,
    /// Whether a sync, or the making of a segment, is in flight. Of each there is one at a time.
    syncing: Cell<bool>,
    pub(crate) preparing: Cell<bool>,
}

/// What changes.
pub(crate) struct State<F: DiskFile> {
    pub active: Active<F>,
    /// The segment after the active one, prepared.
    pub next: Option<Prepared<F>>,
    /// Chunks of segments that are full, oldest first. They go before the open one.
    sealed: VecDeque<Chunk<F>>,
    open: Option<Chunk<F>>,
    pending_len: usize,
    pub durable: Position,
    pub durable_seq: u64,
    /// Whether the last batch holds records that no later batch proves durable.
    unproven: bool,
    failed: Option<SyncError>,
    /// Every segment with records, oldest first, the active one last: index and the seq before it.
    pub segments: VecDeque<(u64, u64)>,
    /// Segments that were purged and may be used again.
    pub spares: Vec<u64>,
    /// Who waits for `next` to be taken.
    pub next_waiter: Option<Waker>,
}

/// The segment that is appended to.
pub(crate) struct Active<F: DiskFile> {
    pub file: Rc<F>,
    pub home: Home,
    pub segment_len: u64,
    /// Behind the last record that was appended, durable or not.
    pub cursor: Cursor,
    /// No batch may follow here.
    pub closed: bool,
    /// The bytes from the start of the block that holds `cursor.offset` up to it, if no chunk is open.
    pub tail: Vec<u8>,
}

/// A segment that is ready to be appended to.
pub(crate) struct Prepared<F: DiskFile> {
    pub index: u64,
    pub file: Rc<F>,
}

/// One batch on its way to one segment, in the buffer it is written from.
struct Chunk<F: DiskFile> {
    file: Rc<F>,
    home: Home,
    buffer: F::Buffer,
    /// Where the buffer's first byte belongs in the file; a multiple of [`BLOCK`].
    file_offset: u64,
    /// Where the batch's header is in the buffer. Before it stands what shares its first block.
    batch_at: usize,
    used: usize,
    count: u32,
    flags: u32,
    chain_before: u32,
    chain: u32,
    last_seq: u64,
}

impl<F: DiskFile> Chunk<F> {
    /// A batch with no records yet, behind what the active segment has. A new segment's first one carries its header.
    fn open(active: &Active<F>, header: Option<Header>, room_len: usize) -> Chunk<F> {
        let before = header.map_or(active.tail.len(), |_| BATCHES_AT as usize);
        let file_offset = if header.is_some() { 0 } else { block_down(active.cursor.offset) };
        let needed = before + BATCH_HEADER_LEN + room_len;
        let mut buffer = active.file.buffer(needed.max(BUFFER_LEN).next_multiple_of(BLOCK));
        match header {
            Some(header) => header.encode(buffer.as_mut()),
            None => buffer.as_mut()[..before].copy_from_slice(&active.tail),
        }
        Chunk {
            file: Rc::clone(&active.file),
            home: active.home,
            buffer,
            file_offset,
            batch_at: before,
            used: before + BATCH_HEADER_LEN,
            count: 0,
            flags: 0,
            chain_before: active.cursor.chain,
            chain: active.cursor.chain,
            last_seq: active.cursor.last_seq,
        }
    }

    /// Room for `len` more bytes, by doubling.
    fn reserve(&mut self, len: usize) {
        let needed = self.used + len;
        let capacity = self.buffer.as_ref().len();
        if needed <= capacity {
            return;
        }
        let mut larger = self.file.buffer(needed.max(2 * capacity).next_multiple_of(BLOCK));
        larger.as_mut()[..self.used].copy_from_slice(&self.buffer.as_ref()[..self.used]);
        self.buffer = larger;
    }

    /// Adds a record.
    fn push(&mut self, seq: u64, parts: &[&[u8]], len: usize) {
        self.reserve(len);
        let room = &mut self.buffer.as_mut()[self.used..self.used + len];
        self.chain = record::encode_record(self.chain, seq, parts, room);
        self.used += len;
        self.count += 1;
        self.last_seq = seq;
    }

    fn end(&self) -> u64 {
        self.file_offset + self.used as u64
    }

    /// Completes the header and pads the last block; returns the bytes to write, in whole blocks.
    fn seal(&mut self, durable: Position) -> usize {
        let batch = Batch {
            home: self.home,
            durable,
            len: u32::try_from(self.used - self.batch_at - BATCH_HEADER_LEN).expect("a segment is at most 1 GiB"),
            count: self.count,
            flags: self.flags,
            chain: self.chain_before,
            end_chain: self.chain,
        };
        let (used, at) = (self.used, self.batch_at);
        let len = block_up(used as u64) as usize;
        let bytes = self.buffer.as_mut();
        batch.encode(self.file_offset + at as u64, &mut bytes[at..]);
        bytes[used..len].fill(0);
        len
    }
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
        options.check()?;
        let (state, recovered) = recover::open(&disk, &options, from_seq, visit, progress).await?;
        let log =
            Log { disk, options, state: RefCell::new(state), syncing: Cell::new(false), preparing: Cell::new(false) };
        Ok((log, recovered))
    }

    /// Takes a record, in memory. It is durable when a [`sync`](Log::sync) that began later has returned.
    ///
    /// # Errors
    /// The record was not taken; see [`AppendError`] for what the caller can do.
    ///
    /// # Panics
    /// If `seq` doesn't rise: two histories would be mixed.
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
        let sealed = self.state.borrow().sealed.len();
        for _ in 0..sealed {
            self.write_chunk(Take::Sealed).await?;
        }
        // If the open chunk was sealed meanwhile, it is the next sealed one; a new open one isn't ours to write first.
        let take = if self.state.borrow().sealed.is_empty() { Take::Open } else { Take::Sealed };
        self.write_chunk(take).await?;
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
            if state.failed.is_none() && state.is_idle() && state.unproven && state.fits(0) {
                let chunk = Chunk::open(&state.active, None, 0);
                state.active.cursor.offset = chunk.end();
                state.open = Some(chunk);
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

/// Which chunk to write next.
#[derive(Clone, Copy)]
enum Take {
    Sealed,
    Open,
}

impl<F: DiskFile> State<F> {
    /// A log that is durable up to where `active` stands.
    pub fn new(active: Active<F>, segments: VecDeque<(u64, u64)>, unproven: bool) -> State<F> {
        assert_eq!(segments.back().map(|last| last.0), Some(active.home.index), "the active segment is the last one");
        State {
            durable: Position { index: active.home.index, offset: active.cursor.offset },
            durable_seq: active.cursor.last_seq,
            active,
            next: None,
            sealed: VecDeque::new(),
            open: None,
            pending_len: 0,
            unproven,
            failed: None,
            segments,
            spares: Vec::new(),
            next_waiter: None,
        }
    }

    fn is_idle(&self) -> bool {
        self.open.is_none() && self.sealed.is_empty()
    }

    /// Whether a record of `len` bytes fits into the active segment, with room left for a batch that closes it.
    fn fits(&self, len: usize) -> bool {
        let header_len = if self.open.is_some() { 0 } else { BATCH_HEADER_LEN };
        let end = self.active.cursor.offset + (header_len + len + BATCH_HEADER_LEN) as u64;
        !self.active.closed && end <= self.active.segment_len
    }

    fn push(&mut self, seq: u64, parts: &[&[u8]], len: usize) {
        let active = &mut self.active;
        let chunk = self.open.get_or_insert_with(|| Chunk::open(active, None, len));
        chunk.push(seq, parts, len);
        active.cursor = Cursor { offset: chunk.end(), chain: chunk.chain, last_seq: seq };
        self.pending_len += len;
        assert!(active.cursor.offset + BATCH_HEADER_LEN as u64 <= active.segment_len, "a record beyond its segment");
    }

    /// Closes the active segment and goes on in the next, if there is one.
    fn roll(&mut self, segment_len: u64) -> bool {
        let Some(next) = self.next.take() else { return false };
        assert_eq!(next.index, self.active.home.index + 1, "segments follow each other");
        if !self.active.closed {
            let mut last = self.open.take().unwrap_or_else(|| Chunk::open(&self.active, None, 0));
            last.flags |= FLAG_CLOSES;
            self.active.cursor.offset = last.end();
            self.sealed.push_back(last);
        }
        let Cursor { offset: prev_end, chain: link, last_seq: prev_seq } = self.active.cursor;
        let home = Home { salt: self.active.home.salt, index: next.index };
        let header = Header { home, segment_len, prev_seq, prev_end, link };
        self.active = Active {
            file: next.file,
            home,
            segment_len,
            cursor: Cursor::start(&header),
            closed: false,
            tail: Vec::new(),
        };
        self.open = Some(Chunk::open(&self.active, Some(header), 0));
        self.active.cursor.offset += BATCH_HEADER_LEN as u64;
        self.segments.push_back((next.index, prev_seq));
        if let Some(waiter) = self.next_waiter.take() {
            waiter.wake();
        }
        true
    }

    /// Takes a chunk out to be written, complete, with the number of bytes to write.
    fn take(&mut self, take: Take) -> Option<(Chunk<F>, usize)> {
        let mut chunk = match take {
            Take::Sealed => self.sealed.pop_front()?,
            Take::Open => self.open.take()?,
        };
        let len = chunk.seal(self.durable);
        self.pending_len -= chunk.used - chunk.batch_at - BATCH_HEADER_LEN;
        if matches!(take, Take::Open) {
            assert_eq!(chunk.end(), self.active.cursor.offset, "the open chunk ends where the log does");
            let tail_at = block_down(chunk.used as u64) as usize;
            self.active.tail.clear();
            self.active.tail.extend_from_slice(&chunk.buffer.as_ref()[tail_at..chunk.used]);
        }
        Some((chunk, len))
    }

    fn on_durable(&mut self, done: Position, last_seq: u64, has_records: bool) {
        assert!(done > self.durable, "durable goes forward: {done:?} after {:?}", self.durable);
        assert!(last_seq >= self.durable_seq && last_seq <= self.active.cursor.last_seq, "durable <= appended");
        self.durable = done;
        self.durable_seq = last_seq;
        self.unproven = has_records;
    }
}

#[cfg(test)]
pub(crate) mod tests;
