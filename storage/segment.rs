//! A segment: one file of the log. Its name, its header, and the walk over its batches. Pure: bytes in, findings out.
//!
//! ```text
//! header, alone in block 0     0 magic "ringklog"    8 version u32    12 crc u32    16 index u64    24 segment_len u64
//!                             32 salt u64    40 prev_seq u64    48 prev_end u64    56 link u32    60 cut u32
//! batches from BATCHES_AT on, each behind the last at the next multiple of 8
//! ```
//! `link` is the crc of the last record before this segment, `prev_seq` its seq and `prev_end` where it ended, so each
//! segment says how the one before must look. A header is written together with the segment's first batch, after
//! everything before it was durable: a valid header is therefore proof that the segment before was complete.
//!
//! `cut` is 0, or this segment begins behind a truncation: then the segment before is the one `cut` indices lower, it ends
//! at `prev_end` whatever stands behind that, and the segments between are no part of the log. One header that becomes
//! durable is the whole truncation, and no index is ever used twice.
//!
//! Files: `segment.<index>` (16 hex digits) belongs to the log; one with an empty header waits to be used.
//! `new.<number>` is one that is being made, `spare.<number>` one that was purged and may be used again. `cut.*` is what a
//! repair saved.

use crate::disk::BLOCK;
pub use crate::record::fuzz_record;
use crate::record::{self, BATCH_HEADER_LEN, Batch, Home, Position};

const MAGIC: &[u8; 8] = b"ringklog";
const VERSION: u32 = 1;
const HEADER_LEN: usize = 64;
const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// Offset of the first batch: the header has a block of its own, so it is never written again with a batch.
pub const BATCHES_AT: u64 = BLOCK as u64;
/// Least and most bytes of a segment. Below the least, rolling would cost more than writing; a batch's length must fit u32.
pub const SEGMENT_LEN_MIN: u64 = 64 * 1024;
/// See [`SEGMENT_LEN_MIN`].
pub const SEGMENT_LEN_MAX: u64 = 1 << 30;

/// What a segment says about itself and the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The log's salt and this segment's index.
    pub home: Home,
    /// Length of the file, in bytes.
    pub segment_len: u64,
    /// The highest seq before this segment: its own are above.
    pub prev_seq: u64,
    /// Where the segment before ended, 0 if there is none.
    pub prev_end: u64,
    /// Crc of the last record before this segment.
    pub link: u32,
    /// How many indices lower the segment before is, if the log was cut there; else 0, and it is the next lower one.
    pub cut: u32,
}

impl Header {
    /// Index of the segment before this one.
    pub fn prev_index(&self) -> u64 {
        self.home.index.saturating_sub(u64::from(self.cut.max(1)))
    }

    /// Where the segment before ends, if what stands behind that was cut off.
    pub fn cut_at(&self) -> Option<u64> {
        (self.cut > 0).then_some(self.prev_end)
    }

    /// Writes the header into the first block of a segment.
    pub fn encode(&self, block: &mut [u8]) {
        block[..BLOCK].fill(0);
        block[0..8].copy_from_slice(MAGIC);
        block[8..12].copy_from_slice(&VERSION.to_le_bytes());
        block[16..24].copy_from_slice(&self.home.index.to_le_bytes());
        block[24..32].copy_from_slice(&self.segment_len.to_le_bytes());
        block[32..40].copy_from_slice(&self.home.salt.to_le_bytes());
        block[40..48].copy_from_slice(&self.prev_seq.to_le_bytes());
        block[48..56].copy_from_slice(&self.prev_end.to_le_bytes());
        block[56..60].copy_from_slice(&self.link.to_le_bytes());
        block[60..64].copy_from_slice(&self.cut.to_le_bytes());
        let crc = header_crc(block);
        block[12..16].copy_from_slice(&crc.to_le_bytes());
    }
}

/// Over the version and all behind the crc.
fn header_crc(block: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&block[8..12]);
    hasher.update(&block[16..HEADER_LEN]);
    hasher.finalize()
}

/// What stands where a header should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A header whose crc holds.
    Header(Header),
    /// A header of a format that this version doesn't know.
    Version(u32),
    /// Nothing but zeros, or not even a block: no batch was ever made durable here, or the header is lost.
    Empty,
    /// Something else: a header that was torn or damaged.
    Damaged,
}

/// Reads the header of a segment file.
pub fn header(bytes: &[u8]) -> Found {
    let Some(block) = bytes.get(..BLOCK) else { return Found::Empty };
    if block.iter().all(|&byte| byte == 0) {
        return Found::Empty;
    }
    if &block[0..8] != MAGIC || record::u32_at(block, 12) != header_crc(block) {
        return Found::Damaged;
    }
    match record::u32_at(block, 8) {
        VERSION => Found::Header(Header {
            home: Home { salt: record::u64_at(block, 32), index: record::u64_at(block, 16) },
            segment_len: record::u64_at(block, 24),
            prev_seq: record::u64_at(block, 40),
            prev_end: record::u64_at(block, 48),
            link: record::u32_at(block, 56),
            cut: record::u32_at(block, 60),
        }),
        version => Found::Version(version),
    }
}

/// Where the walk over a segment stands: behind a batch that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Offset behind the last good batch, in bytes.
    pub offset: u64,
    /// Crc of the last record.
    pub chain: u32,
    /// Its seq.
    pub last_seq: u64,
}

impl Cursor {
    /// Before the first batch of the segment with this header.
    pub fn start(header: &Header) -> Cursor {
        Cursor { offset: BATCHES_AT, chain: header.link, last_seq: header.prev_seq }
    }
}

/// What the walk met next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// A batch that holds, with the bytes of its records and the place behind it.
    Batch {
        /// Its header.
        batch: Batch,
        /// Its records.
        records: &'a [u8],
        /// Behind it.
        behind: Cursor,
    },
    /// No header of this segment's stands here: nothing was begun, or its header is damaged.
    Nothing,
    /// A header that holds, with records that don't.
    Broken {
        /// Offset of the first record that doesn't hold.
        bad_offset: u64,
        /// Offset behind the batch as its header has it, at most the end of the file.
        end: u64,
    },
}

/// Reads the batch at `cursor`. If the segment was cut at `cut_at`, of the batch there only the records before it count,
/// and only they are looked at.
pub fn next<'a>(home: Home, bytes: &'a [u8], cursor: &Cursor, cut_at: Option<u64>) -> Next<'a> {
    let at = usize::try_from(cursor.offset).expect("offsets within a file that is mapped");
    let Some(rest) = bytes.get(at..) else { return Next::Nothing };
    let Some(batch) = Batch::decode(cursor.offset, rest).filter(|batch| batch.home == home) else {
        return Next::Nothing;
    };
    let body = &rest[BATCH_HEADER_LEN..];
    let begin = cursor.offset + BATCH_HEADER_LEN as u64;
    let whole_end = begin + u64::from(batch.len);
    let end = cut_at.map_or(whole_end, |cut_at| whole_end.min(cut_at.max(begin)));
    let Some(records) = body.get(..(end - begin) as usize) else {
        return Next::Broken { bad_offset: begin, end: bytes.len() as u64 };
    };
    if batch.chain != cursor.chain {
        return Next::Broken { bad_offset: cursor.offset, end };
    }
    let checked = match end == whole_end {
        true => record::check_records(&batch, records, cursor.last_seq),
        false => record::check_first_records(&batch, records, cursor.last_seq),
    };
    match checked {
        Ok(last) => {
            let behind = Cursor { offset: end, chain: last.chain, last_seq: last.last_seq };
            Next::Batch { batch, records, behind }
        }
        Err(bad) => Next::Broken { bad_offset: begin + bad.offset as u64, end },
    }
}

/// Looks behind `damage` for a batch which says that the damaged place was durable when it was written.
///
/// `salt` is the log's, if it is known; without it any will do. Reads every eighth byte position, as the damage may have
/// hit the length that would lead to the next batch.
pub fn proof_of_loss(bytes: &[u8], salt: Option<u64>, damage: Position) -> Option<Position> {
    let from = usize::try_from(damage.offset).expect("offsets within a file that is mapped");
    let is_proof = |at: usize| {
        let batch = Batch::decode(at as u64, &bytes[at..])?;
        let ours = batch.home.index == damage.index && salt.is_none_or(|salt| salt == batch.home.salt);
        (ours && batch.durable > damage).then_some(Position { index: damage.index, offset: at as u64 })
    };
    // Most of what is looked at was never written: no header begins in a block of zeros.
    let blocks = (from / BLOCK * BLOCK..bytes.len()).step_by(BLOCK).map(|at| at..bytes.len().min(at + BLOCK));
    let written = blocks.filter(|block| bytes[block.clone()] != ZEROS[..block.len()]);
    let places = written.flat_map(|block| block.step_by(record::ALIGN));
    places.filter(|&at| at >= from).find_map(is_proof)
}

/// File name of the segment with this index.
pub fn name(index: u64) -> String {
    format!("segment.{index:016x}")
}

/// File name of a spare.
pub fn spare_name(number: u64) -> String {
    format!("spare.{number:016x}")
}

/// File name of a segment that is being made: left over, it is worth nothing.
pub fn new_name(number: u64) -> String {
    format!("new.{number:016x}")
}

/// The index in the name of a segment, or `None` for any other file.
pub fn index_of(name: &str) -> Option<u64> {
    number_after(name, "segment.")
}

/// The number in the name of a spare, or `None` for any other file.
pub fn spare_number_of(name: &str) -> Option<u64> {
    number_after(name, "spare.")
}

/// The number in the name of a segment that is being made, or `None` for any other file.
pub fn new_number_of(name: &str) -> Option<u64> {
    number_after(name, "new.")
}

/// The number of 16 hex digits behind `prefix`: exactly as we write it, so that no two names mean one number.
pub(crate) fn number_after(name: &str, prefix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?;
    let plain = digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    plain.then(|| u64::from_str_radix(digits, 16).ok())?
}

/// Any bytes as a segment, as they are and with every checksum put right: must end, must not panic.
pub fn fuzz_segment(bytes: &[u8]) {
    fuzz_walk(bytes);
    let home = Home { salt: 1, index: 1 };
    let mut image = vec![0; BLOCK];
    Header { home, segment_len: bytes.len() as u64, prev_seq: 0, prev_end: 0, link: 0, cut: 0 }.encode(&mut image);
    image.extend_from_slice(bytes);
    let (mut at, mut chain) = (BLOCK, 0);
    while let Some(fields) = image.get(at..at + BATCH_HEADER_LEN) {
        let [len, count, flags] = [48, 52, 56].map(|field| record::u32_at(fields, field));
        let durable = Position { index: record::u64_at(fields, 24), offset: record::u64_at(fields, 32) };
        let begin = at + BATCH_HEADER_LEN;
        let end = image.len().min(begin + len as usize);
        let end_chain = record::fuzz_seal(chain, &mut image[begin..end]);
        Batch { home, durable, len, count, flags, chain, end_chain }.encode(at as u64, &mut image[at..]);
        (at, chain) = (end.next_multiple_of(record::ALIGN), end_chain);
    }
    fuzz_walk(&image);
}

fn fuzz_walk(bytes: &[u8]) {
    let Found::Header(head) = header(bytes) else {
        proof_of_loss(bytes, None, Position { index: 1, offset: 0 });
        return;
    };
    let mut cursor = Cursor::start(&head);
    let mut half = Vec::new();
    while let Next::Batch { batch, records, behind } = next(head.home, bytes, &cursor, None) {
        if let Some((_, first)) = record::records(records).next() {
            let cut_at = cursor.offset + (BATCH_HEADER_LEN + record::record_len(first.len())) as u64;
            half.push((cursor, cut_at));
        }
        let seqs: Vec<u64> = record::records(records).map(|(seq, _)| seq).collect();
        assert!(seqs.is_sorted() && seqs.len() == batch.count as usize, "checked records are as promised");
        assert!(behind.offset > cursor.offset, "the walk goes on");
        cursor = behind;
    }
    for (before, cut_at) in half {
        let Next::Batch { records, behind, .. } = next(head.home, bytes, &before, Some(cut_at)) else {
            panic!("a batch that holds, holds in part");
        };
        assert!(record::records(records).count() == 1 && behind.offset == cut_at, "cut behind its first record");
    }
    proof_of_loss(bytes, Some(head.home.salt), Position { index: head.home.index, offset: cursor.offset });
}

#[cfg(test)]
mod tests;
