//! Makes a snapshot file's checksums hold again after a mutation. Without this a fuzzer tests the checksums only.
//!
//! Flow       mutated bytes -> the checksums that the bytes' own lengths point at are computed anew -> the parser.
//! Invariant  only checksum fields change; all else stays as the fuzzer made it.
//! Absent     the log's checksums, which `fuzz_segment` and `fuzz_record` put right themselves. The crate's own writer:
//!            that writes what is right, and here everything but the checksums may be wrong.
//!
//! The layout is that of `storage/snapshot/mod.rs`. When that changes, coverage falls here and nothing else happens.

const BLOCK: usize = 4096;
const CHUNK_LEN: usize = 256 * 1024;
const CHUNK_HEADER_LEN: usize = 16;
const TRAILER_HEADER_LEN: usize = 36;
const FOOTER_LEN: usize = 16;

/// Whether to mend the input that came of `seed`: one in eight keeps its broken checksums, which are inputs too.
pub fn wanted(seed: u32) -> bool {
    !seed.is_multiple_of(8)
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
