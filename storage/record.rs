//! Batches and records as bytes. A batch is what one sync made durable; it is there whole or not at all.
//!
//! ```text
//! batch   0 magic u32   4 crc u32          8 salt u64          16 segment index u64
//!        24 durable segment index u64     32 durable offset u64    (everything before it was durable when this was written)
//!        40 chain u32 (crc of the record before)   44 end chain u32 (crc of its last record)   48 len u32 (of its records)
//!        52 count u32                     56 flags u32             60 zero
//! record  0 len u32 (of the payload)  4 crc u32  8 seq u64  16 payload, padded with zeros to 8 bytes
//! ```
//! Little-endian. A batch starts at a multiple of 8. Its crc covers its offset in the segment and bytes 8..64, so a header
//! is valid at one place of one segment of one log only. A record's crc continues the crc of the record before it, so a
//! record is valid behind one predecessor only: missing, swapped and recycled records can't pass. The end chain ties the
//! header to its records: a new header can't adopt what a torn batch left at the same place.
//!
//! Invariant: nothing here trusts a length before it is checked against the bytes that are there.

/// `RKB1`, as a little-endian number.
const MAGIC: u32 = u32::from_le_bytes(*b"RKB1");
/// Bytes of a batch header.
pub const BATCH_HEADER_LEN: usize = 64;
/// Bytes of a record before its payload.
pub const RECORD_HEADER_LEN: usize = 16;
/// Everything starts at a multiple of this.
pub const ALIGN: usize = 8;

/// The log goes on in the next segment: nothing follows this batch here.
pub const FLAG_CLOSES: u32 = 1;

/// A place in the log: the segment's index and the offset in it. Order is the log's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    /// Index of the segment.
    pub index: u64,
    /// Offset in the segment's file, in bytes.
    pub offset: u64,
}

/// What makes a batch belong to one segment of one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// The log's random number, so that no payload can be made to look like a batch.
    pub salt: u64,
    /// The segment's index, so that what a recycled file held before isn't taken for its new content.
    pub index: u64,
}

/// The fields of a batch header, without its magic and crc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Where it belongs.
    pub home: Home,
    /// Everything before this place was durable when the batch was written.
    pub durable: Position,
    /// Length of the records, in bytes.
    pub len: u32,
    /// Number of records.
    pub count: u32,
    /// See [`FLAG_CLOSES`].
    pub flags: u32,
    /// Crc of the record before this batch.
    pub chain: u32,
    /// Crc of its last record, or `chain` if it has none.
    pub end_chain: u32,
}

impl Batch {
    /// Writes the header of a batch that starts at `offset` of its segment.
    pub fn encode(&self, offset: u64, out: &mut [u8]) {
        assert!(offset.is_multiple_of(ALIGN as u64), "batch at {offset}");
        out[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[8..16].copy_from_slice(&self.home.salt.to_le_bytes());
        out[16..24].copy_from_slice(&self.home.index.to_le_bytes());
        out[24..32].copy_from_slice(&self.durable.index.to_le_bytes());
        out[32..40].copy_from_slice(&self.durable.offset.to_le_bytes());
        out[40..44].copy_from_slice(&self.chain.to_le_bytes());
        out[44..48].copy_from_slice(&self.end_chain.to_le_bytes());
        out[48..52].copy_from_slice(&self.len.to_le_bytes());
        out[52..56].copy_from_slice(&self.count.to_le_bytes());
        out[56..60].copy_from_slice(&self.flags.to_le_bytes());
        out[60..64].fill(0);
        let crc = header_crc(offset, &out[8..BATCH_HEADER_LEN]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads a header at `offset`, or `None` if there is none whose crc holds at that place.
    pub fn decode(offset: u64, bytes: &[u8]) -> Option<Batch> {
        let bytes = bytes.get(..BATCH_HEADER_LEN)?;
        if u32_at(bytes, 0) != MAGIC || u32_at(bytes, 4) != header_crc(offset, &bytes[8..]) {
            return None;
        }
        Some(Batch {
            home: Home { salt: u64_at(bytes, 8), index: u64_at(bytes, 16) },
            durable: Position { index: u64_at(bytes, 24), offset: u64_at(bytes, 32) },
            len: u32_at(bytes, 48),
            count: u32_at(bytes, 52),
            flags: u32_at(bytes, 56),
            chain: u32_at(bytes, 40),
            end_chain: u32_at(bytes, 44),
        })
    }
}

fn header_crc(offset: u64, rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&offset.to_le_bytes());
    hasher.update(rest);
    hasher.finalize()
}

/// Bytes that a record with a payload of `payload_len` takes.
pub const fn record_len(payload_len: usize) -> usize {
    RECORD_HEADER_LEN + payload_len.next_multiple_of(ALIGN)
}

/// Writes a record whose payload is `parts` one behind the other, and returns its crc, the next link of the chain.
///
/// # Panics
/// If `out` isn't [`record_len`] long: the caller's mistake.
pub fn encode_record(chain: u32, seq: u64, parts: &[&[u8]], out: &mut [u8]) -> u32 {
    let payload_len: usize = parts.iter().map(|part| part.len()).sum();
    assert_eq!(out.len(), record_len(payload_len), "room for a record");
    let stored_len = u32::try_from(payload_len).expect("the log refuses longer records");
    out[0..4].copy_from_slice(&stored_len.to_le_bytes());
    out[8..16].copy_from_slice(&seq.to_le_bytes());
    let mut at = RECORD_HEADER_LEN;
    for part in parts {
        out[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    out[at..].fill(0);
    let crc = record_crc(chain, &out[0..4], &out[8..at]);
    out[4..8].copy_from_slice(&crc.to_le_bytes());
    crc
}

fn record_crc(chain: u32, len: &[u8], seq_and_payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(chain);
    hasher.update(len);
    hasher.update(seq_and_payload);
    hasher.finalize()
}

/// A record that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its sequence number.
    pub seq: u64,
    /// Its payload.
    pub payload: &'a [u8],
    /// Its crc, which the next record's crc continues.
    pub chain: u32,
}

/// Reads the record at the start of `bytes`, or `None` if it isn't whole or doesn't follow `chain`.
pub fn decode_record(chain: u32, bytes: &[u8]) -> Option<Record<'_>> {
    let header = bytes.get(..RECORD_HEADER_LEN)?;
    let payload_len = u32_at(header, 0) as usize;
    let payload = bytes.get(RECORD_HEADER_LEN..)?.get(..payload_len)?;
    let padding = bytes.get(RECORD_HEADER_LEN + payload_len..record_len(payload_len))?;
    let crc = record_crc(chain, &header[0..4], &bytes[8..RECORD_HEADER_LEN + payload_len]);
    if crc != u32_at(header, 4) || padding.iter().any(|&byte| byte != 0) {
        return None;
    }
    Some(Record { seq: u64_at(header, 8), payload, chain: crc })
}

/// Why the records of a batch don't hold, and where, counted from the first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// Offset from the start of the batch's records.
    pub offset: usize,
}

/// The end of a batch's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchEnd {
    /// Crc of the last record, or of the one before the batch if it has none.
    pub chain: u32,
    /// Highest seq, or the one before the batch.
    pub last_seq: u64,
}

/// Checks every record of a batch: whole, chained, with rising seqs, and exactly as many as promised.
///
/// # Errors
/// Where the first record is that doesn't hold.
pub fn check_records(batch: &Batch, bytes: &[u8], last_seq: u64) -> Result<BatchEnd, BadRecord> {
    let mut end = BatchEnd { chain: batch.chain, last_seq };
    let mut at = 0;
    for _ in 0..batch.count {
        (end, at) = check_record(end, bytes, at)?;
    }
    if at == bytes.len() && end.chain == batch.end_chain { Ok(end) } else { Err(BadRecord { offset: at }) }
}

/// Checks the records that a cut has left of a batch: whole, chained, with rising seqs. How many they were and how they
/// ended, only the segment behind the cut can say.
///
/// # Errors
/// Where the first record is that doesn't hold.
pub fn check_first_records(batch: &Batch, bytes: &[u8], last_seq: u64) -> Result<BatchEnd, BadRecord> {
    let mut end = BatchEnd { chain: batch.chain, last_seq };
    let mut at = 0;
    while at < bytes.len() {
        (end, at) = check_record(end, bytes, at)?;
    }
    Ok(end)
}

fn check_record(before: BatchEnd, bytes: &[u8], at: usize) -> Result<(BatchEnd, usize), BadRecord> {
    let bad = BadRecord { offset: at };
    let record = decode_record(before.chain, bytes.get(at..).ok_or(bad)?).ok_or(bad)?;
    if record.seq <= before.last_seq {
        return Err(bad);
    }
    Ok((BatchEnd { chain: record.chain, last_seq: record.seq }, at + record_len(record.payload.len())))
}

/// The records of a batch that [`check_records`] found good.
pub fn records(bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let header = rest.get(..RECORD_HEADER_LEN)?;
        let payload_len = u32_at(header, 0) as usize;
        let payload = rest.get(RECORD_HEADER_LEN..RECORD_HEADER_LEN + payload_len)?;
        rest = rest.get(record_len(payload_len)..)?;
        Some((u64_at(header, 8), payload))
    })
}

/// Puts the checksum of each record in `bytes` right, whatever its length says, and returns the last one's.
pub(crate) fn fuzz_seal(mut chain: u32, mut bytes: &mut [u8]) -> u32 {
    while bytes.len() >= RECORD_HEADER_LEN {
        let payload_len = u32_at(bytes, 0) as usize;
        if bytes.len() < record_len(payload_len) {
            break;
        }
        let (this, rest) = bytes.split_at_mut(record_len(payload_len));
        chain = record_crc(chain, &this[0..4], &this[8..RECORD_HEADER_LEN + payload_len]);
        this[4..8].copy_from_slice(&chain.to_le_bytes());
        bytes = rest;
    }
    chain
}

/// Any bytes as records, as they are and with every checksum put right: must end, must not panic.
pub fn fuzz_record(bytes: &[u8]) {
    let Some((count, bytes)) = bytes.split_first() else { return };
    let mut sealed = bytes.to_vec();
    let end_chain = fuzz_seal(0, &mut sealed);
    let home = Home { salt: 1, index: 1 };
    let (len, count) = (bytes.len() as u32, u32::from(*count));
    let batch = Batch { home, durable: Position::default(), len, count, flags: 0, chain: 0, end_chain };
    let _ = check_records(&batch, bytes, 0);
    if check_records(&batch, &sealed, 0).is_ok() {
        assert_eq!(records(&sealed).count(), count as usize, "both walks see the same records");
    }
}

/// The four bytes at `at`, as a number.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// The eight bytes at `at`, as a number.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests;
