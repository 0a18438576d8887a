//! One batch on its way to one segment, in the buffer that it is written from: records are encoded where the disk reads.
//!
//! A buffer begins at a block of the file. What the block already holds is copied in front of the batch, and written again
//! with it: the bytes are the same, so it doesn't matter which of the two writes the disk keeps.

use std::rc::Rc;

use super::state::Active;
use crate::disk::{BLOCK, DiskFile, block_down, block_up};
use crate::record::{self, BATCH_HEADER_LEN, Batch, Home, Position};
use crate::segment::{BATCHES_AT, Header};

/// First size of a batch's buffer, in bytes; it doubles when it is too small.
const BUFFER_LEN: usize = 32 * 1024;

/// One batch on its way to one segment.
pub(super) struct Chunk<F: DiskFile> {
    pub file: Rc<F>,
    pub home: Home,
    pub buffer: F::Buffer,
    /// Where the buffer's first byte belongs in the file; a multiple of [`BLOCK`].
    pub file_offset: u64,
    /// Where the batch's header is in the buffer. Before it stands what shares its first block.
    batch_at: usize,
    used: usize,
    pub count: u32,
    pub flags: u32,
    chain_before: u32,
    pub chain: u32,
    pub last_seq: u64,
}

impl<F: DiskFile> Chunk<F> {
    /// A batch with no records yet, behind what the active segment has. A new segment's first one carries its header.
    pub fn open(active: &Active<F>, header: Option<Header>, room_len: usize) -> Chunk<F> {
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
    pub fn push(&mut self, seq: u64, parts: &[&[u8]], len: usize) {
        self.reserve(len);
        let room = &mut self.buffer.as_mut()[self.used..self.used + len];
        self.chain = record::encode_record(self.chain, seq, parts, room);
        self.used += len;
        self.count += 1;
        self.last_seq = seq;
    }

    /// Offset in the file behind it.
    pub fn end(&self) -> u64 {
        self.file_offset + self.used as u64
    }

    /// Completes the header and pads the last block; returns the bytes to write, in whole blocks.
    pub fn seal(&mut self, durable: Position) -> usize {
        let batch = Batch {
            home: self.home,
            durable,
            len: u32::try_from(self.records_len()).expect("a segment is at most 1 GiB"),
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

    /// Bytes of its records.
    pub fn records_len(&self) -> usize {
        self.used - self.batch_at - BATCH_HEADER_LEN
    }

    /// The bytes that share a block with what comes behind it.
    pub fn tail(&self) -> &[u8] {
        &self.buffer.as_ref()[block_down(self.used as u64) as usize..self.used]
    }
}
