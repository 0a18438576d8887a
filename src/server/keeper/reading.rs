//! Reading the log back, for members that catch up.
//!
//! Flow       `locate` what a learner has -> `read` a part, and the next behind it, ... : each where the last one ended.
//! Invariant  what is handed out is durable, in order, without a gap. Whatever cannot be read counts as not there, as what
//!            was purged meanwhile: the learner is sent a snapshot then.
//! Bound      [`CURSORS_MAX`] cursors are kept between reads, each a segment's map; the one that rests longest goes.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use bytes::Bytes;
use ids::Zxid;
use storage::{Disk, Log, LogCursor, ReadError};
use zab::message::LinkId;
use zab::sync::Located;

use super::{Keeper, REST};
use crate::server::messages::READ_MAX_BYTES;

/// Places in the log that are remembered for learners which read on.
const CURSORS_MAX: usize = 8;

/// A log that is shorter is sent, whatever a snapshot's length, bytes.
const LONG_MIN_BYTES: u64 = 4 << 20;

/// The log is the longer way if it has more bytes than the snapshot divided by this: ZooKeeper's `snapshotSizeFactor`
/// of 0.33.
const SNAPSHOT_SHARE: u64 = 3;

/// Bytes read before others go on.
const TURN_BYTES: u64 = 256 << 10;

/// What was read.
pub type Entries = Vec<(Zxid, Bytes)>;

/// Where learners have stopped reading, the longest ago first.
pub(super) struct Readers<D: Disk> {
    resting: RefCell<VecDeque<Reader<D>>>,
    /// How often the log was replaced or cut: a reader from before reads what is no longer this server's.
    era: Cell<u64>,
}

struct Reader<D: Disk> {
    link: LinkId,
    era: u64,
    cursor: LogCursor<D>,
    /// The last entry that was handed out.
    after: Zxid,
    /// Read, and too much for the last answer.
    next: Option<(Zxid, Bytes)>,
}

impl<D: Disk> Default for Readers<D> {
    fn default() -> Readers<D> {
        Readers { resting: RefCell::default(), era: Cell::new(0) }
    }
}

impl<D: Disk> Readers<D> {
    pub(super) fn clear(&self) {
        self.era.set(self.era.get() + 1);
        self.resting.borrow_mut().clear();
    }

    /// Takes out what the link's last read left, if this one goes on there.
    fn take(&self, link: LinkId, after: Zxid) -> Option<Reader<D>> {
        let readers = &mut *self.resting.borrow_mut();
        let at = readers.iter().position(|reader| reader.link == link)?;
        readers.remove(at).filter(|reader| reader.after == after)
    }

    fn put(&self, reader: Reader<D>) {
        if reader.era != self.era.get() {
            return;
        }
        let readers = &mut *self.resting.borrow_mut();
        readers.retain(|other| other.link != reader.link);
        if readers.len() == CURSORS_MAX {
            readers.pop_front();
        }
        readers.push_back(reader);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.resting.borrow().len()
    }
}

impl<D: Disk> Reader<D> {
    fn new(log: &Log<D>, era: u64, link: LinkId, after: Zxid) -> Result<Reader<D>, ReadError> {
        Ok(Reader { link, era, cursor: log.read_after(after.to_u64())?, after, next: None })
    }

    fn next(&mut self) -> Result<Option<(Zxid, Bytes)>, ReadError> {
        if let Some(next) = self.next.take() {
            return Ok(Some(next));
        }
        let next = self.cursor.next()?;
        Ok(next.map(|(seq, entry)| (Zxid::from_u64(seq), Bytes::copy_from_slice(entry))))
    }
}

impl<D: Disk> Keeper<D>
where
    D::Map: Send,
{
    /// What stands around `zxid` in the log.
    pub async fn locate(&self, zxid: Zxid) -> Located {
        let log = self.log.log();
        let located = match log.locate(zxid.to_u64()) {
            Ok(located) => located,
            Err(error) => {
                tracing::debug!(%zxid, "not found in the log: {error}");
                return Located { floor: None, next: None, is_long: false };
            }
        };
        let floor = Zxid::from_u64(located.at_or_below);
        let next = located.above.map(Zxid::from_u64);
        match self.is_long(&log, zxid).await {
            Ok(is_long) => Located { floor: Some(floor), next, is_long },
            Err(error) => {
                tracing::warn!(%zxid, "the log cannot be read from there: {error}");
                Located { floor: None, next: None, is_long: false }
            }
        }
    }

    /// Whether a snapshot is the shorter way to what stands above `zxid`.
    async fn is_long(&self, log: &Log<D>, zxid: Zxid) -> Result<bool, ReadError> {
        let Ok(snapshots) = self.snapshots().await else { return Ok(false) };
        let Some((_, snapshot_len)) = snapshots.first() else { return Ok(false) };
        let limit = LONG_MIN_BYTES.max(snapshot_len / SNAPSHOT_SHARE);
        let mut cursor = log.read_after(zxid.to_u64())?;
        let (mut len, mut turn) = (0, 0);
        while let Some((_, entry)) = cursor.next()? {
            len += entry.len() as u64;
            if len > limit {
                return Ok(true);
            }
            if len - turn > TURN_BYTES {
                turn = len;
                self.disk.rest(REST).await;
            }
        }
        Ok(false)
    }

    /// Entries above `after` up to `upto`, as many as fit into [`READ_MAX_BYTES`] and at least one; fewer if there are no
    /// more. `None` if the log does not reach back so far any more, or cannot be read there.
    pub async fn read(&self, link: LinkId, after: Zxid, upto: Zxid) -> Option<Entries> {
        let log = self.log.log();
        let reader = match self.readers.take(link, after) {
            Some(reader) => Ok(reader),
            None => Reader::new(&log, self.readers.era.get(), link, after),
        };
        let read = match reader {
            Ok(reader) => self.read_on(reader, upto).await,
            Err(error) => Err(error),
        };
        match read {
            Ok(entries) => Some(entries),
            Err(error) => {
                tracing::warn!(%after, "the log cannot be read from there: {error}");
                None
            }
        }
    }

    async fn read_on(&self, mut reader: Reader<D>, upto: Zxid) -> Result<Entries, ReadError> {
        let (mut entries, mut len, mut turn) = (Vec::new(), 0, 0);
        while reader.after < upto
            && let Some((zxid, entry)) = reader.next()?
        {
            if zxid > upto {
                return Ok(entries);
            }
            if len > 0 && len + entry.len() > READ_MAX_BYTES {
                reader.next = Some((zxid, entry));
                break;
            }
            len += entry.len();
            reader.after = zxid;
            entries.push((zxid, entry));
            if (len - turn) as u64 > TURN_BYTES {
                turn = len;
                self.disk.rest(REST).await;
            }
        }
        if reader.after < upto && !entries.is_empty() {
            self.readers.put(reader);
        }
        Ok(entries)
    }
}
