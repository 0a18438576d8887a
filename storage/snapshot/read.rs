//! Reading a snapshot: the frame is checked when it is opened, each chunk before it is handed out.

use std::ops::Deref;
use std::path::{Path, PathBuf};

use super::{
    CHUNK_HEADER_LEN, CHUNK_LAST, CHUNK_LEN, FOOTER_LEN, FOOTER_MAGIC, MAGIC, METADATA_LEN_MAX, TRAILER_HEADER_LEN,
    TRAILER_MAGIC, VERSION, chunk_crc, trailer_blocks,
};
use crate::disk::{BLOCK, Disk, block_up};
use crate::error::SnapshotError;
use crate::record::{u32_at, u64_at};

/// A snapshot that is being read, over the bytes of its file.
#[derive(Debug)]
pub struct SnapshotReader<M> {
    path: PathBuf,
    bytes: M,
    frame: Frame,
    /// Number of the next chunk, and the crc of the one before.
    chunk: u32,
    chain: u32,
    payload_read: u64,
    finished: bool,
}

/// What header, trailer and footer say. They were checked against their crcs and against each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame {
    seq: u64,
    header_crc: u32,
    chain: u32,
    payload_len: u64,
    chunks: u64,
    trailer_at: usize,
    metadata_len: usize,
}

/// Where bytes are wrong, and how.
type Wrong = (usize, &'static str);

impl<M: Deref<Target = [u8]>> SnapshotReader<M> {
    /// Opens the snapshot at `path` and checks its frame.
    ///
    /// # Errors
    /// It can't be mapped, or isn't whole.
    pub fn open<D: Disk<Map = M>>(disk: &D, path: &Path) -> Result<SnapshotReader<M>, SnapshotError> {
        let map = disk.map(path).map_err(SnapshotError::io("map", path))?;
        SnapshotReader::new(map, path)
    }

    /// Reads the bytes of a snapshot file; `path` is for messages.
    ///
    /// # Errors
    /// The frame is damaged.
    pub fn new(bytes: M, path: &Path) -> Result<SnapshotReader<M>, SnapshotError> {
        let frame = frame(&bytes).map_err(|wrong| damaged(path, wrong))?;
        let (path, chain) = (path.to_owned(), frame.header_crc);
        Ok(SnapshotReader { path, bytes, frame, chunk: 0, chain, payload_read: 0, finished: false })
    }

    /// Seq of the state.
    pub fn seq(&self) -> u64 {
        self.frame.seq
    }

    /// What the writer attached.
    pub fn metadata(&self) -> &[u8] {
        let at = self.frame.trailer_at + TRAILER_HEADER_LEN;
        &self.bytes[at..at + self.frame.metadata_len]
    }

    /// Bytes that [`next_chunk`](SnapshotReader::next_chunk) gives in total.
    pub fn payload_len(&self) -> u64 {
        self.frame.payload_len
    }

    /// Bytes that it has given so far.
    pub fn payload_read(&self) -> u64 {
        self.payload_read
    }

    /// The next piece of the payload, or `None` behind the last. Pieces are cut at any byte.
    ///
    /// # Errors
    /// The bytes here aren't what was written: discard what was made of the ones before.
    pub fn next_chunk(&mut self) -> Result<Option<&[u8]>, SnapshotError> {
        if self.finished {
            return Ok(None);
        }
        let (begin, end, chain, last) = self.check_chunk().map_err(|wrong| damaged(&self.path, wrong))?;
        self.chain = chain;
        self.chunk += 1;
        self.payload_read += (end - begin) as u64;
        self.finished = last;
        Ok(Some(&self.bytes[begin..end]))
    }

    /// Checks the next chunk: where its payload is, its crc, and whether it is the last.
    fn check_chunk(&self) -> Result<(usize, usize, u32, bool), Wrong> {
        let at = BLOCK + self.chunk as usize * CHUNK_LEN;
        let limit = self.frame.trailer_at.min(at.saturating_add(CHUNK_LEN));
        let chunk = self.bytes.get(at..limit).filter(|chunk| chunk.len() >= CHUNK_HEADER_LEN);
        let chunk = chunk.ok_or((at, "a chunk is missing"))?;
        let (len, number, flags) = (u32_at(chunk, 4) as usize, u32_at(chunk, 8), u32_at(chunk, 12));
        let payload = chunk[CHUNK_HEADER_LEN..].get(..len).ok_or((at, "a chunk's length is wrong"))?;
        let crc = chunk_crc(self.chain, &chunk[4..CHUNK_HEADER_LEN], payload);
        if crc != u32_at(chunk, 0) || number != self.chunk {
            return Err((at, "a chunk's checksum is wrong"));
        }
        let end = at + CHUNK_HEADER_LEN + len;
        let last = flags & CHUNK_LAST != 0;
        let full = CHUNK_HEADER_LEN + len == CHUNK_LEN;
        if !last {
            return if full { Ok((at + CHUNK_HEADER_LEN, end, crc, false)) } else { Err((at, "a chunk is short")) };
        }
        let whole = block_up(end as u64) as usize == self.frame.trailer_at
            && u64::from(number) + 1 == self.frame.chunks
            && self.payload_read + len as u64 == self.frame.payload_len
            && crc == self.frame.chain
            && self.bytes[end..self.frame.trailer_at].iter().all(|&byte| byte == 0);
        if whole { Ok((at + CHUNK_HEADER_LEN, end, crc, true)) } else { Err((at, "the chunks don't add up")) }
    }
}

fn damaged(path: &Path, (offset, reason): Wrong) -> SnapshotError {
    SnapshotError::Damaged { path: path.to_owned(), offset: offset as u64, reason }
}

/// Reads header, footer and trailer. No length is used before it is checked against the file's.
fn frame(bytes: &[u8]) -> Result<Frame, Wrong> {
    let (seq, header_crc) = header(bytes)?;
    let footer_at = bytes.len().checked_sub(FOOTER_LEN).filter(|_| bytes.len() >= 2 * BLOCK);
    let footer_at = footer_at.ok_or((bytes.len(), "the file is short"))?;
    let footer = &bytes[footer_at..];
    if &footer[0..8] != FOOTER_MAGIC || u32_at(footer, 12) != crc32fast::hash(&footer[..12]) {
        return Err((footer_at, "the footer is damaged, or the file was cut short"));
    }
    let blocks = u32_at(footer, 8) as usize;
    if blocks == 0 || blocks > trailer_blocks(METADATA_LEN_MAX) || !bytes.len().is_multiple_of(BLOCK) {
        return Err((footer_at, "the footer's lengths don't fit"));
    }
    let trailer_at = (bytes.len() - BLOCK).checked_sub(blocks * BLOCK).map(|at| at + BLOCK);
    let trailer_at = trailer_at.ok_or((footer_at, "the trailer is longer than the file"))?;
    let trailer = &bytes[trailer_at..footer_at];
    let metadata_len = u32_at(trailer, 32) as usize;
    let end = TRAILER_HEADER_LEN + metadata_len;
    if &trailer[0..8] != TRAILER_MAGIC || metadata_len > METADATA_LEN_MAX || trailer_blocks(metadata_len) != blocks {
        return Err((trailer_at, "the trailer is damaged"));
    }
    if u32_at(trailer, 8) != crc32fast::hash(&trailer[12..end]) || trailer[end..].iter().any(|&byte| byte != 0) {
        return Err((trailer_at, "the trailer's checksum is wrong"));
    }
    let (chain, payload_len, chunks) = (u32_at(trailer, 12), u64_at(trailer, 16), u64_at(trailer, 24));
    Ok(Frame { seq, header_crc, chain, payload_len, chunks, trailer_at, metadata_len })
}

fn header(bytes: &[u8]) -> Result<(u64, u32), Wrong> {
    let header = bytes.get(..BLOCK).ok_or((bytes.len(), "the file is short"))?;
    let crc = u32_at(header, 12);
    if &header[0..8] != MAGIC || crc != crc32fast::hash(&header[16..32]) {
        return Err((0, "the header is damaged"));
    }
    if header[32..].iter().any(|&byte| byte != 0) {
        return Err((32, "the header is damaged"));
    }
    if u32_at(header, 8) != VERSION || u32_at(header, 24) as usize != CHUNK_LEN {
        return Err((8, "its format version isn't known to this program"));
    }
    Ok((u64_at(header, 16), crc))
}

/// Any bytes as a snapshot, as they are and with its frame put right: must end, must not panic, must not allocate.
pub fn fuzz_snapshot(bytes: &[u8]) {
    fuzz_walk(bytes);
    let mut image = bytes.to_vec();
    image.resize(bytes.len().next_multiple_of(BLOCK).max(2 * BLOCK), 0);
    image[0..8].copy_from_slice(MAGIC);
    image[8..12].copy_from_slice(&VERSION.to_le_bytes());
    image[24..28].copy_from_slice(&(CHUNK_LEN as u32).to_le_bytes());
    let crc = crc32fast::hash(&image[16..32]);
    image[12..16].copy_from_slice(&crc.to_le_bytes());
    image[32..BLOCK].fill(0);
    let footer = image.len() - FOOTER_LEN;
    image[footer..footer + 8].copy_from_slice(FOOTER_MAGIC);
    let blocks = u32_at(&image, footer + 8) as usize;
    let crc = crc32fast::hash(&image[footer..footer + 12]);
    image[footer + 12..].copy_from_slice(&crc.to_le_bytes());
    if let Some(at) = image.len().checked_sub(blocks.saturating_mul(BLOCK)).filter(|&at| at < footer) {
        image[at..at + 8].copy_from_slice(TRAILER_MAGIC);
        let end = (at + TRAILER_HEADER_LEN).saturating_add(u32_at(&image, at + 32) as usize).min(footer);
        image[end..footer].fill(0);
        let crc = crc32fast::hash(&image[at + 12..end]);
        image[at + 8..at + 12].copy_from_slice(&crc.to_le_bytes());
    }
    fuzz_walk(&image);
}

fn fuzz_walk(bytes: &[u8]) {
    let Ok(mut reader) = SnapshotReader::new(bytes, Path::new("fuzz")) else { return };
    let mut len = 0;
    while let Ok(Some(chunk)) = reader.next_chunk() {
        len += chunk.len() as u64;
    }
    assert!(len <= bytes.len() as u64, "a snapshot gives no more than it holds");
    assert!(reader.metadata().len() <= METADATA_LEN_MAX, "metadata is bounded");
}
