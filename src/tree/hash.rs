//! Hashing: a seeded 64-bit hash of paths, and a mixer for numbers.
//!
//! Invariant  with an unknown seed nobody can choose paths that collide; nothing that is replayed or written depends on
//!            the seed, because no iteration follows a hash.
//! Absent     cryptographic strength. Folded multiplication is what fits a lookup of some tens of nanoseconds.

use core::hash::{BuildHasher, Hasher};

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
const ODD_TOO: u64 = 0xd6e8_feb8_6659_fd93;

/// Multiplies to 128 bits and folds the halves: every input bit reaches every output bit.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// Hash of a byte string under `seed`.
pub(crate) fn bytes(seed: u64, input: &[u8]) -> u64 {
    let mut state = seed ^ ODD;
    let mut blocks = input.chunks_exact(16);
    for block in &mut blocks {
        let (low, high) = block.split_at(8);
        state = fold(word(low) ^ state, word(high) ^ seed ^ ODD_TOO);
    }
    let rest = blocks.remainder();
    let (low, high) = if rest.len() > 8 { rest.split_at(8) } else { (rest, &rest[..0]) };
    state = fold(word(low) ^ state, word(high) ^ seed ^ ODD_TOO);
    fold(state ^ input.len() as u64, ODD)
}

fn word(input: &[u8]) -> u64 {
    if let Ok(whole) = <[u8; 8]>::try_from(input) {
        return u64::from_le_bytes(whole);
    }
    input.iter().rev().fold(0, |word, &byte| (word << 8) | u64::from(byte))
}

/// Hash of one number.
pub(crate) fn number(value: u64) -> u64 {
    fold(value ^ ODD, ODD_TOO)
}

/// For maps keyed by our own numbers (sessions, node ids), which no client chooses.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct NumberHash;

/// See [`NumberHash`].
#[derive(Default)]
pub(crate) struct NumberHasher(u64);

impl BuildHasher for NumberHash {
    type Hasher = NumberHasher;

    fn build_hasher(&self) -> NumberHasher {
        NumberHasher::default()
    }
}

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, input: &[u8]) {
        self.0 = bytes(self.0, input);
    }

    fn write_u32(&mut self, value: u32) {
        self.0 = number(self.0 ^ u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = number(self.0 ^ value);
    }

    fn write_i64(&mut self, value: i64) {
        self.write_u64(value as u64);
    }
}

/// A map keyed by a number of ours.
pub(crate) type NumberMap<K, V> = hashbrown::HashMap<K, V, NumberHash>;
/// A set of numbers of ours.
pub(crate) type NumberSet<K> = hashbrown::HashSet<K, NumberHash>;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use std::collections::HashSet;
    use std::format;

    #[test]
    fn similar_paths_spread_over_all_bits() {
        let hashes: Vec<u64> = (0..100_000).map(|i| bytes(42, format!("/bench/node-{i:010}").as_bytes())).collect();
        let low: HashSet<u32> = hashes.iter().map(|hash| *hash as u32).collect();
        let high: HashSet<u32> = hashes.iter().map(|hash| (*hash >> 32) as u32).collect();
        assert!(low.len() > 99_990 && high.len() > 99_990, "{} {}", low.len(), high.len());
    }

    #[test]
    fn length_and_seed_matter() {
        assert_ne!(bytes(1, b"/a"), bytes(1, b"/a\0"));
        assert_ne!(bytes(1, b"/a"), bytes(2, b"/a"));
        assert_eq!(bytes(1, b""), bytes(1, b""));
    }
}
