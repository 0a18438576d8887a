//! What changes in a log, and how: appending, rolling to the next segment, taking chunks out to be written.
//!
//! Invariant  the active segment is the last one; sealed chunks belong to segments before it and go before the open one.

use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::task::Waker;

use super::chunk::Chunk;
use crate::disk::DiskFile;
use crate::error::SyncError;
use crate::record::{BATCH_HEADER_LEN, FLAG_CLOSES, Home, Position};
use crate::segment::{Cursor, Header};

/// A log's memory.
pub(crate) struct State<F: DiskFile> {
    pub active: Active<F>,
    /// The segment after the active one, prepared.
    pub next: Option<Prepared<F>>,
    /// Chunks of segments that are full, oldest first. They go before the open one.
    sealed: VecDeque<Chunk<F>>,
    open: Option<Chunk<F>>,
    pub pending_len: usize,
    pub durable: Position,
    pub durable_seq: u64,
    /// Whether the last batch holds records that no later batch proves durable.
    pub(super) unproven: bool,
    pub failed: Option<SyncError>,
    /// Every segment of the log, oldest first, the active one last.
    pub segments: VecDeque<Part>,
    /// Segments that a truncation cut off and that are still to be removed.
    pub dead: Vec<u64>,
    /// How often the log was truncated since it was opened: a cursor from before may stand on what is gone.
    pub truncations: u64,
    /// Segments that cursors have mapped: these may be removed, but never written again.
    pins: Vec<(u64, Weak<()>)>,
    /// Segments that were purged and may be used again.
    pub spares: Vec<u64>,
    /// Who waits for `next` to be taken.
    pub next_waiter: Option<Waker>,
}

/// A segment in the table of segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub index: u64,
    /// The highest seq before it.
    pub prev_seq: u64,
    /// Where it ends, if what stands behind that was cut off.
    pub cut_at: Option<u64>,
    /// Whether the one before it in the table is the one that it follows: else that is what an interrupted purge left.
    pub linked: bool,
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

/// Which chunk to write next.
#[derive(Clone, Copy)]
pub(super) enum Take {
    Sealed,
    Open,
}

impl<F: DiskFile> State<F> {
    /// A log that is durable up to where `active` stands.
    pub fn new(active: Active<F>, segments: VecDeque<Part>, unproven: bool) -> State<F> {
        assert_eq!(
            segments.back().map(|last| last.index),
            Some(active.home.index),
            "the active segment is the last one"
        );
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
            dead: Vec::new(),
            truncations: 0,
            pins: Vec::new(),
            spares: Vec::new(),
            next_waiter: None,
        }
    }

    /// Chunks that wait in front of the open one.
    pub(super) fn sealed_count(&self) -> usize {
        self.sealed.len()
    }

    /// Opens an empty batch, if the last one holds records that nothing proves yet and nothing else is on its way.
    pub(super) fn begin_mark(&mut self) {
        if self.open.is_none() && self.sealed.is_empty() && self.unproven && self.fits(0) {
            let chunk = Chunk::open(&self.active, None, 0);
            self.active.cursor.offset = chunk.end();
            self.open = Some(chunk);
        }
    }

    /// Whether a record of `len` bytes fits into the active segment, with room left for a batch that closes it.
    pub(super) fn fits(&self, len: usize) -> bool {
        let header_len = if self.open.is_some() { 0 } else { BATCH_HEADER_LEN };
        let end = self.active.cursor.offset + (header_len + len + BATCH_HEADER_LEN) as u64;
        !self.active.closed && end <= self.active.segment_len
    }

    pub(super) fn push(&mut self, seq: u64, parts: &[&[u8]], len: usize) {
        let active = &mut self.active;
        let chunk = self.open.get_or_insert_with(|| Chunk::open(active, None, len));
        chunk.push(seq, parts, len);
        active.cursor = Cursor { offset: chunk.end(), chain: chunk.chain, last_seq: seq };
        self.pending_len += len;
        assert!(active.cursor.offset + BATCH_HEADER_LEN as u64 <= active.segment_len, "a record beyond its segment");
    }

    /// Closes the active segment and goes on in the next, if there is one.
    pub(super) fn roll(&mut self, segment_len: u64) -> bool {
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
        self.begin(next.file, Header { home, segment_len, prev_seq, prev_end, link, cut: 0 });
        true
    }

    /// Ends the log at `end` in segment `index` and goes on in the next segment, which is there, and whose header says so.
    /// It counts when the batch that is now open is durable. Returns the segments that are cut off.
    pub(super) fn cut(&mut self, index: u64, end: Cursor, segment_len: u64) -> Vec<u64> {
        let next = self.next.take().expect("the caller has seen to it");
        assert_eq!(next.index, self.active.home.index + 1, "segments follow each other");
        assert!(self.open.is_none() && self.sealed.is_empty(), "nothing waits when a log is cut");
        assert!(end.last_seq < self.durable_seq, "something is to be cut");
        let dead: Vec<u64> = self.segments.iter().map(|part| part.index).filter(|&other| other > index).collect();
        self.segments.retain(|part| part.index <= index);
        let last = self.segments.back_mut().expect("what is cut has a beginning");
        assert_eq!(last.index, index, "the log is cut in one of its segments");
        last.cut_at = Some(end.offset);
        let home = Home { salt: self.active.home.salt, index: next.index };
        let cut = u32::try_from(next.index - index).expect("fewer segments than that have a place on a disk");
        let Cursor { offset: prev_end, chain: link, last_seq: prev_seq } = end;
        self.begin(next.file, Header { home, segment_len, prev_seq, prev_end, link, cut });
        self.durable_seq = prev_seq;
        self.truncations += 1;
        dead
    }

    /// Makes a new segment the active one, with a first batch open that carries its header.
    fn begin(&mut self, file: Rc<F>, header: Header) {
        self.active = Active {
            file,
            home: header.home,
            segment_len: header.segment_len,
            cursor: Cursor::start(&header),
            closed: false,
            tail: Vec::new(),
        };
        self.open = Some(Chunk::open(&self.active, Some(header), 0));
        self.active.cursor.offset += BATCH_HEADER_LEN as u64;
        self.segments.push_back(Part {
            index: header.home.index,
            prev_seq: header.prev_seq,
            cut_at: None,
            linked: true,
        });
        if let Some(waiter) = self.next_waiter.take() {
            waiter.wake();
        }
    }

    /// The segments that follow each other up to the active one.
    pub fn readable(&self) -> impl DoubleEndedIterator<Item = &Part> {
        let first = self.segments.iter().rposition(|part| !part.linked).unwrap_or(0);
        self.segments.range(first..)
    }

    /// The seq before the first record that can be read.
    pub fn oldest(&self) -> u64 {
        self.readable().next().expect("a log has a segment").prev_seq
    }

    /// Keeps a segment from being written again as long as what is returned lives.
    pub(super) fn pin(&mut self, index: u64) -> Rc<()> {
        self.pins.retain(|(_, pin)| pin.strong_count() > 0);
        let pin = Rc::new(());
        self.pins.push((index, Rc::downgrade(&pin)));
        pin
    }

    /// Whether a cursor has this segment mapped.
    pub fn is_pinned(&self, index: u64) -> bool {
        self.pins.iter().any(|(pinned, pin)| *pinned == index && pin.strong_count() > 0)
    }

    /// Takes a chunk out to be written, complete, with the number of bytes to write.
    pub(super) fn take(&mut self, take: Take) -> Option<(Chunk<F>, usize)> {
        let mut chunk = match take {
            Take::Sealed => self.sealed.pop_front()?,
            Take::Open => self.open.take()?,
        };
        let len = chunk.seal(self.durable);
        self.pending_len -= chunk.records_len();
        if matches!(take, Take::Open) {
            assert_eq!(chunk.end(), self.active.cursor.offset, "the open chunk ends where the log does");
            self.active.tail.clear();
            self.active.tail.extend_from_slice(chunk.tail());
        }
        Some((chunk, len))
    }

    pub(super) fn on_durable(&mut self, done: Position, last_seq: u64, has_records: bool) {
        assert!(done > self.durable, "durable goes forward: {done:?} after {:?}", self.durable);
        assert!(last_seq >= self.durable_seq && last_seq <= self.active.cursor.last_seq, "durable <= appended");
        self.durable = done;
        self.durable_seq = last_seq;
        self.unproven = has_records;
    }
}
