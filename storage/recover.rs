//! Recovery: what a directory of segments means, and how the log goes on from it.
//!
//! The rule: what a sync acknowledged is never cut in silence. A batch is written only when all before it is durable, and
//! says so; so a batch or a segment header that holds proves everything before it. Damage with such a proof behind it is a
//! loss and an error; damage without one is a torn tail, which no sync ever acknowledged, and is cut.
//!
//! Which files (from the newest down to the first whose `prev_seq` is covered by the state to start from):
//! ```text
//! header of segment.<n>         newer one in use   its batches prove use    then
//! holds, index n, full length   any                any                      in use
//! holds, another index          any                any                      Corrupt: swapped or renamed
//! holds, file shorter           any                any                      Corrupt: cut short
//! newer format                  any                any                      Version
//! empty or damaged              no                 no                       unused: prepared, or its first batch was torn
//! empty or damaged              no                 yes                      Corrupt: the header was durable
//! empty or damaged              yes                any                      Corrupt: the header was durable
//! any                           yes, cut below it  any                      no part of the log: removed
//! no file                       yes                -                        Missing
//! no older file                 yes, not covered   -                        Gap
//! no segment in use, none at all                                            NoLog with a snapshot, else a new log
//! no segment in use, some files                                             Corrupt: a log is born with its first header
//! ```
//! Where a segment ends:
//! ```text
//! the walk stops at             newer one in use   proof behind it          then
//! where the newer one cut it    yes, linked        -                        go on there
//! where the newer one cut it    yes, not linked    -                        Corrupt: swapped or replaced
//! a batch that closes           yes, linked        -                        go on there
//! a batch that closes           yes, not linked    -                        Corrupt: swapped or replaced
//! a batch that closes           no, file there     -                        the log ends here, goes on there
//! a batch that closes           no, no file        -                        Missing
//! anything else                 yes                (its header is one)      Corrupt
//! no header / a broken batch    no                 yes                      Corrupt
//! a broken batch                no                 no                       torn tail: wiped
//! no header                     no                 no                       the end
//! any end                       ends below the snapshot's seq               Corrupt: the snapshot proves more
//! ```

#[cfg(test)]
mod crash;
mod settle;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, block_down, join};
use crate::error::{OpenError, VisitError};
use crate::log::{LogOptions, Part, State};
use crate::record::{self, FLAG_CLOSES, Home, Position};
use crate::segment::{self, Cursor, Found, Header, Next};

use settle::settle;
pub(crate) use settle::{create, wipe};

/// Bytes read between two calls of the progress callback.
const PROGRESS_STEP: u64 = 1 << 20;

/// What opening found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The highest seq in the log.
    pub last_seq: u64,
    /// Records that were shown to the caller.
    pub records: u64,
    /// Bytes of segments that were read.
    pub bytes: u64,
    /// Whether there was no log before.
    pub created: bool,
    /// The torn tail that was cut, if there was one.
    pub cut: Option<Cut>,
}

/// A torn tail: a batch that no sync ever acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment.
    pub path: PathBuf,
    /// Where it was cut, in bytes.
    pub offset: u64,
    /// Bytes that were wiped.
    pub len: u64,
}

/// Damage that can't be a torn tail.
#[derive(Debug)]
pub(crate) struct Damage {
    /// The segment.
    pub index: u64,
    /// Behind the last batch of it that holds; 0 if not even its header does.
    pub keep: u64,
    /// What the caller is told.
    pub error: OpenError,
}

/// What reading the log found, before anything is changed.
#[derive(Debug)]
pub struct Exam {
    pub(crate) recovered: Recovered,
    /// Where the log ends, or `None` if there is none.
    pub(crate) end: Option<End>,
    /// As in [`State`].
    pub(crate) segments: VecDeque<Part>,
}

/// The end of the log.
#[derive(Debug)]
pub(crate) struct End {
    pub header: Header,
    pub cursor: Cursor,
    pub tail: Vec<u8>,
    pub closed: bool,
    /// Whether the last batch holds records.
    pub unproven: bool,
    /// Behind a torn batch, if there is one at the end.
    pub torn_end: Option<u64>,
}

/// Why an examination failed.
#[derive(Debug)]
pub(crate) enum ExamError {
    /// A repair can cut here.
    Damage(Damage),
    /// It can't.
    Other(OpenError),
}

impl From<ExamError> for OpenError {
    fn from(error: ExamError) -> OpenError {
        match error {
            ExamError::Damage(damage) => damage.error,
            ExamError::Other(error) => error,
        }
    }
}

impl From<OpenError> for ExamError {
    fn from(error: OpenError) -> ExamError {
        ExamError::Other(error)
    }
}

/// A segment file and what its first block says.
#[derive(Debug)]
struct Facts {
    index: u64,
    path: PathBuf,
    len: u64,
    found: Found,
}

/// Finds the log, has it read, then makes it ready to be appended to.
pub(crate) async fn open<D: Disk>(
    disk: &D,
    options: &LogOptions,
    from_seq: u64,
    read: impl FnOnce(LogReader<D::Map>) -> Result<Exam, OpenError>,
) -> Result<(State<D::File>, Recovered), OpenError> {
    let dir = &options.dir;
    disk.create_dir(dir).await.map_err(OpenError::io("make the directory", dir))?;
    let mut exam = read(find(disk, options, from_seq).await?)?;
    if exam.end.is_none() {
        create(disk, options, 1, from_seq).await?;
        exam = examine(disk, options, from_seq).await?;
        exam.recovered.created = true;
    }
    let end = exam.end.take().expect("a log was found or made");
    let state = settle(disk, options, end, exam.segments).await?;
    Ok((state, exam.recovered))
}

/// Reads the log without showing or changing anything.
pub(crate) async fn examine<D: Disk>(disk: &D, options: &LogOptions, from_seq: u64) -> Result<Exam, ExamError> {
    find(disk, options, from_seq).await?.examine(|_, _| Ok(()), |_, _| ())
}

/// The first table: what there is to read.
async fn find<D: Disk>(disk: &D, options: &LogOptions, from_seq: u64) -> Result<LogReader<D::Map>, ExamError> {
    let dir = options.dir.clone();
    let Chosen { lower, used, unused } = choose(disk, gather(disk, &dir).await?, from_seq)?;
    let Some((_, first)) = used.first() else {
        if from_seq > 0 && !options.may_create_after_snapshot {
            return Err(OpenError::NoLog { dir, from_seq }.into());
        }
        return Ok(LogReader { dir, from_seq, lower, used: Vec::new(), unused });
    };
    if first.prev_seq > from_seq {
        let error = OpenError::Gap { dir, from_seq, log_after_seq: first.prev_seq };
        return Err(ExamError::Damage(Damage { index: first.home.index, keep: 0, error }));
    }
    let map = |(facts, header): (Facts, Header)| match disk.map(&facts.path) {
        Ok(map) => Ok(Used { facts, header, map }),
        Err(source) => Err(OpenError::io("map", &facts.path)(source)),
    };
    let used = used.into_iter().map(map).collect::<Result<_, OpenError>>()?;
    Ok(LogReader { dir, from_seq, lower, used, unused })
}

/// A segment that is read.
#[derive(Debug)]
struct Used<M> {
    facts: Facts,
    header: Header,
    map: M,
}

/// A log that was found, and whose segments are mapped: it may be read on any thread, while the disk's own waits.
#[derive(Debug)]
pub struct LogReader<M> {
    dir: PathBuf,
    from_seq: u64,
    /// Those older than the first to read, the oldest first.
    lower: Vec<Facts>,
    /// Those to read, the oldest first. Without any there is no log.
    used: Vec<Used<M>>,
    /// Those newer than the last in use.
    unused: Vec<Facts>,
}

impl<M: Deref<Target = [u8]>> LogReader<M> {
    /// Shows `visit` every record, in order, and tells `progress` of bytes read and bytes to read, now and then.
    ///
    /// # Errors
    /// The log can't be opened. Nothing was changed.
    pub fn read(
        self,
        visit: impl FnMut(u64, &[u8]) -> Result<(), VisitError>,
        progress: impl FnMut(u64, u64),
    ) -> Result<Exam, OpenError> {
        Ok(self.examine(visit, progress)?)
    }

    fn examine(
        self,
        visit: impl FnMut(u64, &[u8]) -> Result<(), VisitError>,
        progress: impl FnMut(u64, u64),
    ) -> Result<Exam, ExamError> {
        let LogReader { dir, from_seq, lower, used, unused } = self;
        if used.is_empty() {
            let recovered = Recovered { last_seq: from_seq, records: 0, bytes: 0, created: false, cut: None };
            return Ok(Exam { recovered, end: None, segments: VecDeque::new() });
        }
        let segments = known_segments(&lower, &used);
        let total = used.iter().map(|used| used.facts.len).sum();
        let mut walk = Walk { from_seq, visit, progress, done: 0, reported: 0, total, records: 0 };
        let end = walk.segments(used)?;
        let after = unused.iter().any(|facts| facts.index == end.header.home.index + 1);
        let recovered = conclude(&dir, from_seq, &end, after, walk.records, total)?;
        Ok(Exam { recovered, segments, end: Some(end) })
    }
}

/// The rows of the second table that concern the last segment in use.
fn conclude(
    dir: &Path,
    from_seq: u64,
    end: &End,
    file_after: bool,
    records: u64,
    bytes: u64,
) -> Result<Recovered, ExamError> {
    let index = end.header.home.index;
    let path = join(dir, &segment::name(index));
    if end.cursor.last_seq < from_seq {
        let reason = "it ends before the newest snapshot, so its last records are lost";
        let error = OpenError::Corrupt { path, offset: end.cursor.offset, reason };
        return Err(ExamError::Damage(Damage { index, keep: 0, error }));
    }
    if end.closed && !file_after {
        let error = OpenError::Missing { path: join(dir, &segment::name(index + 1)) };
        return Err(ExamError::Damage(Damage { index: index + 1, keep: 0, error }));
    }
    let offset = end.cursor.offset;
    let cut = end.torn_end.map(|torn_end| Cut { path, offset, len: torn_end - offset });
    Ok(Recovered { last_seq: end.cursor.last_seq, records, bytes, created: false, cut })
}

async fn gather<D: Disk>(disk: &D, dir: &Path) -> Result<Vec<Facts>, OpenError> {
    let entries = disk.list(dir).await.map_err(OpenError::io("list", dir))?;
    let mut facts = Vec::new();
    for entry in entries {
        let Some(index) = segment::index_of(&entry.name) else { continue };
        let path = join(dir, &entry.name);
        let found = segment::header(&disk.map(&path).map_err(OpenError::io("map", &path))?);
        facts.push(Facts { index, path, len: entry.len, found });
    }
    // Names have a fixed width, but don't rely on the disk's order of them.
    facts.sort_by_key(|facts| facts.index);
    Ok(facts)
}

/// The segments of a directory, by what is done with them.
struct Chosen {
    /// Older than the first to read, the oldest first.
    lower: Vec<Facts>,
    /// To be read, the oldest first.
    used: Vec<(Facts, Header)>,
    /// Newer than the last in use.
    unused: Vec<Facts>,
}

fn choose<D: Disk>(disk: &D, mut facts: Vec<Facts>, from_seq: u64) -> Result<Chosen, ExamError> {
    let (mut used, mut unused): (Vec<(Facts, Header)>, _) = (Vec::new(), Vec::new());
    while let Some(candidate) = facts.pop() {
        if let Some((_, newer)) = used.last() {
            if newer.prev_seq <= from_seq {
                facts.push(candidate);
                break;
            }
            if candidate.index > newer.prev_index() {
                continue;
            }
            missing_between(&candidate, newer)?;
        }
        match judge(disk, &candidate, !used.is_empty())? {
            Some(header) => used.push((candidate, header)),
            None => unused.push(candidate),
        }
    }
    if let (true, Some(first)) = (used.is_empty(), unused.last()) {
        return Err(corrupt(first, 0, 0, "its header is lost"));
    }
    used.reverse();
    Ok(Chosen { lower: facts, used, unused })
}

fn missing_between(candidate: &Facts, newer: &Header) -> Result<(), ExamError> {
    let wanted = newer.prev_index();
    if candidate.index == wanted {
        return Ok(());
    }
    let error = OpenError::Missing { path: candidate.path.with_file_name(segment::name(wanted)) };
    Err(ExamError::Damage(Damage { index: wanted, keep: 0, error }))
}

/// One row of the first table: the header of a segment in use, or `None` if it is unused.
fn judge<D: Disk>(disk: &D, facts: &Facts, newer_used: bool) -> Result<Option<Header>, ExamError> {
    match facts.found {
        Found::Header(header) if header.home.index != facts.index => {
            Err(corrupt(facts, 0, 0, "its header is another segment's: files were swapped or renamed"))
        }
        Found::Header(header) if facts.len < header.segment_len => {
            Err(corrupt(facts, facts.len, 0, "the file was cut short"))
        }
        Found::Header(header) => Ok(Some(header)),
        Found::Version(version) => Err(OpenError::Version { path: facts.path.clone(), version }.into()),
        Found::Empty | Found::Damaged => {
            let map = disk.map(&facts.path).map_err(OpenError::io("map", &facts.path))?;
            let start = Position { index: facts.index, offset: 0 };
            if newer_used || segment::proof_of_loss(&map, None, start).is_some() {
                return Err(corrupt(facts, 0, 0, "its header is lost"));
            }
            Ok(None)
        }
    }
}

fn corrupt(facts: &Facts, offset: u64, keep: u64, reason: &'static str) -> ExamError {
    let error = OpenError::Corrupt { path: facts.path.clone(), offset, reason };
    ExamError::Damage(Damage { index: facts.index, keep, error })
}

/// The walk over the segments in use.
struct Walk<V, P> {
    from_seq: u64,
    visit: V,
    progress: P,
    done: u64,
    reported: u64,
    total: u64,
    records: u64,
}

impl<V: FnMut(u64, &[u8]) -> Result<(), VisitError>, P: FnMut(u64, u64)> Walk<V, P> {
    fn segments<M: Deref<Target = [u8]>>(&mut self, used: Vec<Used<M>>) -> Result<End, ExamError> {
        let mut end: Option<End> = None;
        let newer: Vec<Header> = used.iter().skip(1).map(|used| used.header).collect();
        for (at, Used { facts, header, map }) in used.into_iter().enumerate() {
            if let Some(before) = &end {
                linked(&facts, &header, before)?;
            }
            end = Some(self.segment(&facts, &header, &map, newer.get(at))?);
            self.report(facts.len - self.done.min(facts.len), true);
            self.done = 0;
            self.reported += facts.len;
        }
        Ok(end.expect("at least one segment is in use"))
    }

    /// The second table, for one segment.
    fn segment(
        &mut self,
        facts: &Facts,
        header: &Header,
        bytes: &[u8],
        newer: Option<&Header>,
    ) -> Result<End, ExamError> {
        let mut cursor = Cursor::start(header);
        let mut last = (0, 0);
        let cut_at = newer.and_then(Header::cut_at);
        let (bad_offset, torn_end) = loop {
            if cut_at.is_some_and(|cut_at| cursor.offset >= cut_at) {
                break (cursor.offset, None);
            }
            match segment::next(header.home, bytes, &cursor, cut_at) {
                Next::Batch { batch, records, behind } => {
                    self.show(facts, records)?;
                    self.report(behind.offset, false);
                    cursor = behind;
                    last = (batch.count, batch.flags);
                    if batch.flags & FLAG_CLOSES != 0 {
                        break (cursor.offset, None);
                    }
                }
                Next::Nothing => break (cursor.offset, None),
                Next::Broken { bad_offset, end } => break (bad_offset, Some(end)),
            }
        };
        let closed = last.1 & FLAG_CLOSES != 0;
        let ends_here = closed || cut_at == Some(cursor.offset);
        let place = Position { index: facts.index, offset: cursor.offset };
        if !ends_here && (newer.is_some() || segment::proof_of_loss(bytes, Some(header.home.salt), place).is_some()) {
            return Err(corrupt(facts, bad_offset, cursor.offset, "a batch here is not what was written"));
        }
        let tail = bytes[block_down(cursor.offset) as usize..cursor.offset as usize].to_vec();
        Ok(End { header: *header, cursor, tail, closed, unproven: last.0 > 0, torn_end })
    }

    fn show(&mut self, facts: &Facts, records: &[u8]) -> Result<(), ExamError> {
        for (seq, payload) in record::records(records).filter(|(seq, _)| *seq > self.from_seq) {
            self.records += 1;
            (self.visit)(seq, payload).map_err(|source| OpenError::Refused {
                path: facts.path.clone(),
                seq,
                source,
            })?;
        }
        Ok(())
    }

    /// `offset` is where the walk stands in its segment.
    fn report(&mut self, offset: u64, whole: bool) {
        if whole {
            (self.progress)((self.reported + self.done + offset).min(self.total), self.total);
        } else if offset >= self.done + PROGRESS_STEP {
            self.done = offset;
            (self.progress)(self.reported + self.done, self.total);
        }
    }
}

/// Whether a segment says of the one before what was found there.
fn linked(facts: &Facts, header: &Header, before: &End) -> Result<(), ExamError> {
    let found = (before.cursor.offset, before.cursor.chain, before.cursor.last_seq, before.header.home.salt);
    let said = (header.prev_end, header.link, header.prev_seq, header.home.salt);
    if found == said { Ok(()) } else { Err(corrupt(facts, 0, 0, "it does not follow the segment before it")) }
}

/// The table of segments. Where the header below the walk isn't the one that was written there, the next one's seq is
/// taken, so that a purge is never too early.
fn known_segments<M>(lower: &[Facts], used: &[Used<M>]) -> VecDeque<Part> {
    let mut known = VecDeque::<Part>::new();
    for (at, Used { facts, header, .. }) in used.iter().enumerate() {
        let cut_at = used.get(at + 1).and_then(|newer| newer.header.cut_at());
        known.push_back(Part { index: facts.index, prev_seq: header.prev_seq, cut_at, linked: true });
    }
    let oldest = &used[0].header;
    let salt = oldest.home.salt;
    let (mut prev_index, mut prev_seq, mut cut_at) = (oldest.prev_index(), oldest.prev_seq, oldest.cut_at());
    for facts in lower.iter().rev() {
        if facts.index > prev_index {
            continue; // Cut off.
        }
        let header = match facts.found {
            Found::Header(header) if header.home == (Home { salt, index: facts.index }) => Some(header),
            _ => None,
        };
        let newer = known.front_mut().expect("a segment is in use");
        newer.linked = header.is_some() && facts.index == prev_index;
        prev_seq = header.map_or(prev_seq, |header| header.prev_seq);
        known.push_front(Part { index: facts.index, prev_seq, cut_at, linked: true });
        prev_index = header.map_or(facts.index.saturating_sub(1), |header| header.prev_index());
        cut_at = header.and_then(|header| header.cut_at());
    }
    known
}
