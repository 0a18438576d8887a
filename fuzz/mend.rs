//! Makes checksums hold again after a mutation. Without this a fuzzer of a checksummed format tests the checksum only.
//!
//! Flow       mutated bytes -> the checksums that the bytes' own lengths point at are computed anew -> the parser.
//! Invariant  only checksum fields change, and what they lie in stays as the fuzzer made it.
//! Absent     the crates' own encoders: those write what is right, and here everything but the checksums may be wrong.
//!
//! Layouts are those of `storage/segment.rs`, `storage/record.rs` and `storage/snapshot/mod.rs`. When one of them changes,
//! coverage falls here and nothing else happens.

const BLOCK: usize = 4096;
const BATCH_HEADER_LEN: usize = 64;
const RECORD_HEADER_LEN: usize = 16;
const CHUNK_LEN: usize = 256 * 1024;
const CHUNK_HEADER_LEN: usize = 16;
const TRAILER_HEADER_LEN: usize = 36;
const FOOTER_LEN: usize = 16;

/// Whether to mend the input that came of `seed`: one in eight keeps its broken checksums, which are inputs too.
pub fn wanted(seed: u32) -> bool {
    !seed.is_multiple_of(8)
}

/// A segment: its header, and every batch from the first on, as far as their lengths lead.
pub fn segment(bytes: &mut [u8]) {
    let Some(header) = bytes.get_mut(..BLOCK) else { return };
    put(header, 12, crc(0, &[&header[8..12], &header[16..64]]));
    let mut chain = u32_at(header, 56);
    let mut at = BLOCK;
    while let Some(end) = batch(bytes, at, &mut chain) {
        at = end;
    }
}

/// The batch at `at`; returns where it ends.
fn batch(bytes: &mut [u8], at: usize, chain: &mut u32) -> Option<usize> {
    let (header, body) = bytes.get_mut(at..)?.split_at_mut_checked(BATCH_HEADER_LEN)?;
    if &header[..4] != b"RKB1" {
        return None;
    }
    let len = u32_at(header, 48) as usize;
    put(header, 40, *chain);
    if let Some(records) = body.get_mut(..len) {
        *chain = record_chain(records, u32_at(header, 52), *chain);
    }
    put(header, 44, *chain);
    put(header, 4, crc(0, &[&(at as u64).to_le_bytes(), &header[8..]]));
    Some(at + BATCH_HEADER_LEN + len)
}

/// Input of `fuzz_record`: a chain, whose first byte is also the number of records, and the records. The target decodes
/// the first record behind that chain and all of them behind none, so only one of the two can hold: the batch mostly.
pub fn records(bytes: &mut [u8]) {
    let Some((head, records)) = bytes.split_first_chunk_mut::<4>() else { return };
    let chain = if head[1] == 0 { u32::from_le_bytes(*head) } else { 0 };
    record_chain(records, u32::from(head[0]), chain);
}

/// Up to `count` records, chained.
fn record_chain(mut bytes: &mut [u8], count: u32, mut chain: u32) -> u32 {
    for _ in 0..count {
        let Some((header, rest)) = bytes.split_at_mut_checked(RECORD_HEADER_LEN) else { break };
        let payload_len = u32_at(header, 0) as usize;
        let Some(payload) = rest.get(..payload_len) else { break };
        chain = crc(chain, &[&header[..4], &header[8..], payload]);
        put(header, 4, chain);
        let Some(next) = rest.get_mut(payload_len.next_multiple_of(8)..) else { break };
        bytes = next;
    }
    chain
}

/// A snapshot file: header, chunks, trailer and footer.
pub fn snapshot_file(bytes: &mut [u8]) {
    let Some(header) = bytes.get_mut(..BLOCK) else { return };
    put(header, 12, crc(0, &[&header[16..32]]));
    let mut chain = u32_at(header, 12);
    let Some(footer_at) = bytes.len().checked_sub(FOOTER_LEN).filter(|at| *at >= BLOCK) else { return };
    let footer = &mut bytes[footer_at..];
    put(footer, 12, crc(0, &[&footer[..12]]));
    let trailer_len = (u32_at(footer, 8) as usize).saturating_mul(BLOCK);
    let Some(trailer_at) = bytes.len().checked_sub(trailer_len).filter(|at| (BLOCK..footer_at).contains(at)) else {
        return;
    };
    for chunk in bytes[BLOCK..trailer_at].chunks_mut(CHUNK_LEN) {
        let Some((header, payload)) = chunk.split_at_mut_checked(CHUNK_HEADER_LEN) else { break };
        let Some(payload) = payload.get(..u32_at(header, 4) as usize) else { break };
        chain = crc(chain, &[&header[4..], payload]);
        put(header, 0, chain);
    }
    let trailer = &mut bytes[trailer_at..footer_at];
    if trailer.len() >= TRAILER_HEADER_LEN {
        put(trailer, 12, chain);
        let metadata_len = u32_at(trailer, 32) as usize;
        let Some(covered) = trailer.get(12..TRAILER_HEADER_LEN.saturating_add(metadata_len)) else { return };
        put(trailer, 8, crc(0, &[covered]));
    }
}

fn crc(chain: u32, parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(chain);
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}
