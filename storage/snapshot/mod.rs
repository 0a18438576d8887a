//! Snapshots: one file per state, named by the seq it is at, written beside the traffic and read once at start.
//!
//! ```text
//! block 0   0 magic "ringsnap"   8 version u32   12 crc u32   16 seq u64   24 chunk_len u32   28 zero
//! chunk k   at BLOCK + k * chunk_len:   0 crc u32   4 len u32   8 number u32   12 flags u32 (1: the last)   16 payload
//! trailer   at the next block after the last chunk's payload:
//!           0 magic "ringtail"   8 crc u32   12 chain u32   16 payload_len u64   24 chunks u64   32 metadata_len u32   36 metadata
//! footer    the last 16 bytes of the trailer's last block:   0 magic "ringfoot"   8 blocks of the trailer u32   12 crc u32
//! ```
//! Little-endian. A chunk's crc continues the crc of the chunk before it, the first one's continues the header's; `chain`
//! is the last one's. Every byte of the file is covered or must be zero.
//!
//! Writing: `<name>.tmp`, chunk by chunk, sync, rename, sync of the directory. A name without `.tmp` is complete.
//! Reading: through a map, each chunk is checked before it is handed out. `store.rs` picks which one, and keeps the newest.

mod read;
mod store;
mod write;

pub use read::{SnapshotReader, fuzz_snapshot};
pub use store::{LoadError, Loaded, Snapshots};
pub use write::SnapshotWriter;

use crate::disk::BLOCK;
use crate::segment::number_after;

const MAGIC: &[u8; 8] = b"ringsnap";
const TRAILER_MAGIC: &[u8; 8] = b"ringtail";
const FOOTER_MAGIC: &[u8; 8] = b"ringfoot";
const VERSION: u32 = 1;
/// Bytes of a chunk with its header: what one write hands to the disk, so nobody waits longer than for that.
pub const CHUNK_LEN: usize = 256 * 1024;
const CHUNK_HEADER_LEN: usize = 16;
const CHUNK_LAST: u32 = 1;
const TRAILER_HEADER_LEN: usize = 36;
const FOOTER_LEN: usize = 16;
/// The most metadata a caller may attach, in bytes.
pub const METADATA_LEN_MAX: usize = 64 * 1024;

const PREFIX: &str = "snapshot.";
const TMP_SUFFIX: &str = ".tmp";

/// File name of the snapshot at `seq`.
pub fn name(seq: u64) -> String {
    format!("{PREFIX}{seq:016x}")
}

/// The seq in the name of a complete snapshot, or `None` for any other file.
pub fn seq_of(name: &str) -> Option<u64> {
    number_after(name, PREFIX)
}

/// Whether this is what an interrupted write left.
pub(crate) fn is_left_over(name: &str) -> bool {
    name.strip_suffix(TMP_SUFFIX).is_some_and(|name| seq_of(name).is_some())
}

/// Blocks that a trailer with this much metadata takes.
fn trailer_blocks(metadata_len: usize) -> usize {
    (TRAILER_HEADER_LEN + metadata_len + FOOTER_LEN).div_ceil(BLOCK)
}

/// The crc of a chunk: over its header behind the crc, and its payload, continuing the one before.
fn chunk_crc(chain: u32, header_rest: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(chain);
    hasher.update(header_rest);
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests;
