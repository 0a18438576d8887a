//! What recovery changes on disk: a new log is made, a torn tail wiped, left-overs are cleared away.
//!
//! Everything here may be cut short by another crash, and is done again by the next start.

use std::collections::VecDeque;
use std::path::Path;
use std::rc::Rc;

use super::End;
use crate::disk::{BLOCK, Disk, DiskFile, Open, block_down, block_up, join, write_padded, write_zeros};
use crate::error::OpenError;
use crate::log::{Active, LogOptions, Part, Prepared, State};
use crate::prepare::{self, SPARES_MAX};
use crate::record::{Batch, Home, Position};
use crate::segment::{self, BATCHES_AT, Header};

/// A new log: its first segment gets its name only when its header and an empty batch are durable in it.
pub(crate) async fn create<D: Disk>(
    disk: &D,
    options: &LogOptions,
    index: u64,
    prev_seq: u64,
) -> Result<(), OpenError> {
    let path = join(&options.dir, &segment::name(index));
    let fail = |(doing, source)| OpenError::io(doing, &path)(source);
    let home = Home { salt: options.salt, index };
    let header = Header { home, segment_len: options.segment_len, prev_seq, prev_end: 0, link: 0, cut: 0 };
    let batch = Batch {
        home,
        durable: Position { index, offset: BATCHES_AT },
        len: 0,
        count: 0,
        flags: 0,
        chain: header.link,
        end_chain: header.link,
    };
    let mut bytes = vec![0; 2 * BLOCK];
    header.encode(&mut bytes);
    batch.encode(BATCHES_AT, &mut bytes[BLOCK..]);
    prepare::make(disk, options, index, &bytes, async |_| true).await.map_err(fail)?;
    Ok(())
}

/// Makes the log ready: wipes the torn tail, makes what was read durable, takes the next segment if it is there, and
/// clears away what a crash left.
pub(super) async fn settle<D: Disk>(
    disk: &D,
    options: &LogOptions,
    end: End,
    segments: VecDeque<Part>,
) -> Result<State<D::File>, OpenError> {
    let Header { home, segment_len, .. } = end.header;
    let path = join(&options.dir, &segment::name(home.index));
    let file = disk.open(&path, Open::Existing, options.strategy).await.map_err(OpenError::io("open", &path))?;
    if let Some(torn_end) = end.torn_end {
        wipe(&file, &end.tail, end.cursor.offset, torn_end)
            .await
            .map_err(OpenError::io("wipe the torn tail of", &path))?;
    }
    // What was read may never have been synced: the last process may have died between its write and its sync.
    file.sync().await.map_err(OpenError::io("sync", &path))?;
    let (next, spares) = clear(disk, options, &segments, end.closed).await?;
    let active =
        Active { file: Rc::new(file), home, segment_len, cursor: end.cursor, closed: end.closed, tail: end.tail };
    let mut state = State::new(active, segments, end.unproven);
    state.next = next;
    state.spares = spares;
    Ok(state)
}

/// Zeros from `offset` to the end of the block that holds `end`. `tail` is what stands before, from the block's start.
pub(crate) async fn wipe<F: DiskFile>(file: &F, tail: &[u8], offset: u64, end: u64) -> std::io::Result<()> {
    assert_eq!(tail.len() as u64, offset - block_down(offset), "the tail starts at its block");
    if !tail.is_empty() {
        write_padded(file, tail, block_down(offset)).await?;
    }
    write_zeros(file, block_up(offset), block_up(end)).await
}

type Cleared<F> = (Option<Prepared<F>>, Vec<u64>);

/// Takes the prepared segment after the active one, keeps a spare, removes the rest of what isn't the log.
async fn clear<D: Disk>(
    disk: &D,
    options: &LogOptions,
    segments: &VecDeque<Part>,
    closed: bool,
) -> Result<Cleared<D::File>, OpenError> {
    let dir = &options.dir;
    let active_index = segments.back().expect("a log has a segment").index;
    let (mut next, mut spares) = (None, Vec::new());
    for entry in disk.list(dir).await.map_err(OpenError::io("list", dir))? {
        let whole = entry.len == options.segment_len;
        let path = join(dir, &entry.name);
        match (segment::index_of(&entry.name), segment::spare_number_of(&entry.name)) {
            // What is lower and not in the table was cut off, by a truncation that is durable since the sync above.
            (Some(index), _) if segments.iter().any(|part| part.index == index) => continue,
            (Some(index), _) if index == active_index + 1 && whole => {
                next = Some(take_next(disk, options, &path, index).await?);
                continue;
            }
            // It must not vanish before there is another: the active segment says that it is there.
            (Some(index), _) if index == active_index + 1 && closed => continue,
            (_, Some(number)) if whole && spares.len() < SPARES_MAX => {
                spares.push(number);
                continue;
            }
            (None, None) if segment::new_number_of(&entry.name).is_none() => continue,
            _ => {}
        }
        disk.remove(&path).await.map_err(OpenError::io("remove", &path))?;
    }
    // Always: the last process may have died between a rename and this.
    disk.sync_dir(dir).await.map_err(OpenError::io("sync the directory", dir))?;
    Ok((next, spares))
}

/// Opens a prepared segment, without what a torn first batch may have left: its header and the batch's, or the header of
/// the next first batch could adopt it.
async fn take_next<D: Disk>(
    disk: &D,
    options: &LogOptions,
    path: &Path,
    index: u64,
) -> Result<Prepared<D::File>, OpenError> {
    let file = disk.open(path, Open::Existing, options.strategy).await.map_err(OpenError::io("open", path))?;
    write_zeros(&file, 0, BATCHES_AT + BLOCK as u64).await.map_err(OpenError::io("wipe the header of", path))?;
    file.sync().await.map_err(OpenError::io("sync", path))?;
    Ok(Prepared { index, file: Rc::new(file) })
}
