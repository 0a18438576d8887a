//! Reading back what is durable, while the log goes on: for members that catch up, and to find where to truncate.
//!
//! Flow       read_after -> the segment that holds the place, mapped -> seek -> next, next, ... -> the next segment
//! Invariant  a cursor hands out the log's durable records above its seq, each once, in order, with nothing between left
//!            out: each continues the chain of crcs, and each segment says where the one before ended, as in recovery.
//! Absent     what only waits for a sync: it may never have been.
//!
//! What is mapped stays what it was. A segment of the log is written behind its durable end only (and the block there again
//! with the same bytes), and a cursor reads before it only. One that is purged or cut off while it is mapped is removed but
//! not written again (`pin`), so it can be read to its end, without its name. A cursor that follows the end maps it again for
//! each batch that it finds there: a few system calls.

use std::cell::RefCell;
use std::ops::{Deref, Range};
use std::path::PathBuf;
use std::rc::Rc;

use super::Log;
use super::state::{Part, State};
use crate::disk::{Disk, join};
use crate::error::ReadError;
use crate::record::{self, BATCH_HEADER_LEN, Batch, FLAG_CLOSES, Home};
use crate::segment::{self, Cursor, Found, Header};

/// The two neighbours of a seq in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located {
    /// The highest seq that isn't above it. If there is no such record, [`Log::oldest`], which is one that was.
    pub at_or_below: u64,
    /// The lowest seq above it that is durable, if there is one.
    pub above: Option<u64>,
}

impl<D: Disk> Log<D> {
    /// The seq before the first record that is still there: everything above it can be read.
    pub fn oldest(&self) -> u64 {
        self.state.borrow().oldest()
    }

    /// A cursor over the durable records above `seq`, in order. Reads up to one segment to find the place.
    ///
    /// # Errors
    /// See [`ReadError`]; below [`oldest`](Log::oldest) it is `Purged`.
    pub fn read_after(&self, seq: u64) -> Result<LogCursor<D>, ReadError> {
        let reach = self.reach();
        let mut scan = Scan::around(&reach, seq)?;
        scan.seek(seq)?;
        let truncations = self.state.borrow().truncations;
        Ok(LogCursor { reach, scan, after: seq, truncations })
    }

    /// Finds a seq among the durable records. Reads up to one segment, and the beginning of the next.
    ///
    /// # Errors
    /// See [`ReadError`]; below [`oldest`](Log::oldest) it is `Purged`.
    pub fn locate(&self, seq: u64) -> Result<Located, ReadError> {
        let mut cursor = self.read_after(seq)?;
        let at_or_below = cursor.scan.at().last_seq;
        Ok(Located { at_or_below, above: cursor.next()?.map(|(above, _)| above) })
    }

    pub(super) fn reach(&self) -> Reach<D> {
        Reach { disk: self.disk.clone(), dir: self.options.dir.clone(), state: Rc::clone(&self.state) }
    }
}

/// A place in the log, from which it is read. It doesn't keep the log from anything.
pub struct LogCursor<D: Disk> {
    reach: Reach<D>,
    scan: Scan<D::Map>,
    /// The seq that was handed out last, or asked for.
    after: u64,
    /// As it was when this cursor was made.
    truncations: u64,
}

impl<D: Disk> LogCursor<D> {
    /// The next durable record, or `None` if there is none now: asking again goes on when there is one.
    ///
    /// Reads one record, and what of empty batches and of a new segment's header is before it.
    ///
    /// # Errors
    /// See [`ReadError`]. What was handed out before is right; a cursor that failed goes on failing.
    #[expect(clippy::should_implement_trait, reason = "it lends, which an iterator can't")]
    pub fn next(&mut self) -> Result<Option<(u64, &[u8])>, ReadError> {
        self.check()?;
        let found = loop {
            match self.scan.step()? {
                Some((seq, payload)) if seq > self.after => {
                    self.after = seq;
                    break payload;
                }
                Some(_) => {}
                None if self.go_on()? => {}
                None => return Ok(None),
            }
        };
        Ok(Some((self.after, &self.scan.map[found])))
    }

    /// The seq of the last record that was handed out, or the one that was asked for.
    pub fn after(&self) -> u64 {
        self.after
    }

    fn check(&self) -> Result<(), ReadError> {
        let state = self.reach.state.borrow();
        if state.failed.is_some() {
            return Err(ReadError::Closed);
        }
        if state.truncations != self.truncations {
            return Err(ReadError::Truncated);
        }
        Ok(())
    }

    /// At the end of what is mapped: whether there is more now.
    fn go_on(&mut self) -> Result<bool, ReadError> {
        if !self.scan.ended() {
            let Some((part, limit)) = self.reach.part(self.scan.part.index) else { return self.move_on() };
            if limit == Some(self.scan.limit) {
                return Ok(false);
            }
            let place = self.scan.place;
            self.scan = Scan::open(&self.reach, part)?;
            self.scan.place = place;
            return Ok(true);
        }
        let Some(part) = self.reach.part_behind(self.scan.part.index) else { return Ok(false) };
        if self.reach.part(self.scan.part.index).is_none() {
            return self.move_on();
        }
        let next = Scan::open(&self.reach, part)?;
        next.must_follow(&self.scan)?;
        self.scan = next;
        Ok(true)
    }

    /// From a segment that was purged, and perhaps more behind it. What is missing may be empty, a batch or a segment, or
    /// below what was asked for, if that was above all that was durable then.
    fn move_on(&mut self) -> Result<bool, ReadError> {
        if self.reach.state.borrow().oldest() > self.after {
            return Err(self.reach.purged());
        }
        let mut scan = Scan::around(&self.reach, self.after)?;
        scan.seek(self.after)?;
        let (before, behind) = (self.scan.at(), scan.at());
        if before.last_seq == behind.last_seq && before.chain != behind.chain {
            return Err(scan.damaged("it does not follow the segments before it"));
        }
        self.scan = scan;
        Ok(true)
    }
}

/// What a reader needs of the log.
pub(super) struct Reach<D: Disk> {
    disk: D,
    dir: PathBuf,
    state: Rc<RefCell<State<D::File>>>,
}

impl<D: Disk> Reach<D> {
    fn purged(&self) -> ReadError {
        ReadError::Purged { oldest: self.state.borrow().oldest() }
    }

    /// A segment of the table that has something durable, and up to where if more may follow there.
    fn part(&self, index: u64) -> Option<(Part, Option<u64>)> {
        let state = self.state.borrow();
        let part = state.readable().find(|part| part.index == index && index <= state.durable.index)?;
        Some((*part, (index == state.durable.index).then_some(state.durable.offset)))
    }

    /// The first one behind `index` that has something durable.
    fn part_behind(&self, index: u64) -> Option<Part> {
        let state = self.state.borrow();
        state.readable().find(|part| part.index > index && part.index <= state.durable.index).copied()
    }

    /// The last one that has something durable and begins at or below `seq`.
    fn part_around(&self, seq: u64) -> Option<Part> {
        let state = self.state.borrow();
        let found = state.readable().rfind(|part| part.index <= state.durable.index && part.prev_seq <= seq);
        found.copied()
    }
}

/// The batch that a scan is in.
#[derive(Clone, Copy)]
struct Open {
    /// Records that are still to come; at least one.
    left: u32,
    /// Where it ends.
    end: u64,
    end_chain: u32,
    closes: bool,
}

/// Where a scan stands.
#[derive(Clone, Copy)]
struct Place {
    /// Behind the last record, or in front of the next one if its batch was entered.
    at: Cursor,
    batch: Option<Open>,
    /// Whether a batch was passed that closes the segment.
    closed: bool,
}

/// A walk over the records of one segment, up to where it is durable.
pub(super) struct Scan<M> {
    part: Part,
    path: PathBuf,
    header: Header,
    map: M,
    /// Where what may be read ends: where the segment was cut, or the log's durable place, or the end of the file.
    limit: u64,
    /// Whether more may become durable behind that.
    grows: bool,
    place: Place,
    _pin: Rc<()>,
}

impl<M: Deref<Target = [u8]>> Scan<M> {
    /// The beginning of the segment that holds the records around `seq`.
    pub(super) fn around<D: Disk<Map = M>>(reach: &Reach<D>, seq: u64) -> Result<Scan<M>, ReadError> {
        if reach.state.borrow().failed.is_some() {
            return Err(ReadError::Closed);
        }
        let part = reach.part_around(seq).ok_or_else(|| reach.purged())?;
        Scan::open(reach, part)
    }

    fn open<D: Disk<Map = M>>(reach: &Reach<D>, part: Part) -> Result<Scan<M>, ReadError> {
        let path = join(&reach.dir, &segment::name(part.index));
        // The map first: what is durable by then is in it.
        let pin = reach.state.borrow_mut().pin(part.index);
        let map = reach.disk.map(&path).map_err(|source| ReadError::Io { doing: "map", path: path.clone(), source })?;
        let salt = reach.state.borrow().active.home.salt;
        let damaged = |reason| ReadError::Damaged { path: path.clone(), offset: 0, reason };
        let header = match segment::header(&map) {
            Found::Header(header) if header.home == (Home { salt, index: part.index }) => header,
            _ => return Err(damaged("its header is not what was written")),
        };
        let durable = reach.part(part.index).and_then(|(_, limit)| limit);
        let (limit, grows) = (part.cut_at.or(durable).unwrap_or(map.len() as u64), durable.is_some());
        if limit > map.len() as u64 {
            return Err(damaged("the file was cut short"));
        }
        let place = Place { at: Cursor::start(&header), batch: None, closed: false };
        Ok(Scan { part, path, header, map, limit, grows, place, _pin: pin })
    }

    pub(super) fn index(&self) -> u64 {
        self.part.index
    }

    /// Behind the last record that was passed; after a seek also behind no batch that holds none of what was passed.
    pub(super) fn at(&self) -> Cursor {
        self.place.at
    }

    /// Whether nothing can follow in this segment.
    fn ended(&self) -> bool {
        self.place.closed || self.part.cut_at == Some(self.place.at.offset)
    }

    /// Goes in front of the first record above `seq`, and returns that one's. `None` if there is none (yet).
    pub(super) fn seek(&mut self, seq: u64) -> Result<Option<u64>, ReadError> {
        loop {
            let before = self.place;
            match self.step()? {
                Some((above, _)) if above > seq => {
                    self.place = before;
                    return Ok(Some(above));
                }
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// The next record: its seq, and where its payload is in the map.
    fn step(&mut self) -> Result<Option<(u64, Range<usize>)>, ReadError> {
        while !self.ended() && self.place.at.offset < self.limit {
            match self.place.batch {
                None => self.enter()?,
                Some(batch) => return self.record(batch).map(Some),
            }
        }
        let whole = self.place.batch.is_none() && self.grows;
        if whole || self.ended() { Ok(None) } else { Err(self.damaged("it ends before the log goes on")) }
    }

    /// Reads the header of a batch.
    fn enter(&mut self) -> Result<(), ReadError> {
        let Place { at, .. } = self.place;
        let bytes = &self.map[..self.limit as usize];
        let found = Batch::decode(at.offset, &bytes[at.offset as usize..]);
        let Some(batch) = found.filter(|batch| batch.home == self.header.home && batch.chain == at.chain) else {
            return Err(self.damaged("a batch here is not what was written"));
        };
        let begin = at.offset + BATCH_HEADER_LEN as u64;
        let closes = batch.flags & FLAG_CLOSES != 0;
        self.place.at.offset = begin;
        let end = begin + u64::from(batch.len);
        self.stay(Open { left: batch.count, end, end_chain: batch.end_chain, closes })
    }

    fn record(&mut self, batch: Open) -> Result<(u64, Range<usize>), ReadError> {
        let at = self.place.at;
        let end = self.limit.min(batch.end) as usize;
        let bytes = self.map.get(at.offset as usize..end).unwrap_or_default();
        let Some(found) = record::decode_record(at.chain, bytes).filter(|record| record.seq > at.last_seq) else {
            return Err(self.damaged("a record here is not what was written"));
        };
        let begin = at.offset as usize + record::RECORD_HEADER_LEN;
        let (seq, payload) = (found.seq, begin..begin + found.payload.len());
        let offset = at.offset + record::record_len(found.payload.len()) as u64;
        self.place.at = Cursor { offset, chain: found.chain, last_seq: seq };
        self.stay(Open { left: batch.left - 1, ..batch })?;
        Ok((seq, payload))
    }

    /// Stays in the batch, unless this was its end.
    fn stay(&mut self, batch: Open) -> Result<(), ReadError> {
        let at = self.place.at;
        if batch.left > 0 {
            self.place.batch = Some(batch);
            return Ok(());
        }
        if at.offset != batch.end || at.chain != batch.end_chain {
            return Err(self.damaged("a batch here is not what was written"));
        }
        self.place.batch = None;
        self.place.closed = batch.closes;
        Ok(())
    }

    /// As recovery has it: a segment says how the one before must look.
    fn must_follow(&self, before: &Scan<M>) -> Result<(), ReadError> {
        let at = before.place.at;
        let found = (before.part.index, at.offset, at.chain, at.last_seq);
        let said = (self.header.prev_index(), self.header.prev_end, self.header.link, self.header.prev_seq);
        if found == said { Ok(()) } else { Err(self.damaged("it does not follow the segment before it")) }
    }

    fn damaged(&self, reason: &'static str) -> ReadError {
        ReadError::Damaged { path: self.path.clone(), offset: self.place.at.offset, reason }
    }
}

#[cfg(test)]
mod tests;
