//! A set of node ids as bits in chunks: no rehash ever, so that no insert can stall, and sparse where nothing is set.
//!
//! Invariant  `len` is the number of set bits.

use alloc::boxed::Box;
use alloc::vec::Vec;

const WORDS: usize = 64;
const CHUNK_BITS: usize = WORDS * 64;

/// A set of `u32` ids.
#[derive(Clone, Default, Debug)]
pub(crate) struct IdSet {
    chunks: Vec<Option<Box<[u64; WORDS]>>>,
    len: usize,
}

impl IdSet {
    /// Adds `id`; false if it was there.
    pub(crate) fn insert(&mut self, id: u32) -> bool {
        let (chunk, word, bit) = place(id);
        if chunk >= self.chunks.len() {
            self.chunks.resize_with(chunk + 1, || None);
        }
        let words = self.chunks[chunk].get_or_insert_with(|| Box::new([0; WORDS]));
        let fresh = words[word] & bit == 0;
        words[word] |= bit;
        self.len += usize::from(fresh);
        fresh
    }

    /// Takes `id` out; false if it was not there.
    pub(crate) fn remove(&mut self, id: u32) -> bool {
        let (chunk, word, bit) = place(id);
        let Some(Some(words)) = self.chunks.get_mut(chunk) else {
            return false;
        };
        let had = words[word] & bit != 0;
        words[word] &= !bit;
        self.len -= usize::from(had);
        had
    }

    /// Whether `id` is in it.
    pub(crate) fn contains(&self, id: u32) -> bool {
        let (chunk, word, bit) = place(id);
        matches!(self.chunks.get(chunk), Some(Some(words)) if words[word] & bit != 0)
    }

    /// How many ids there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The smallest id from `from` on.
    pub(crate) fn next_from(&self, from: u32) -> Option<u32> {
        let (first_chunk, first_word, first_bit) = place(from);
        for chunk in first_chunk..self.chunks.len() {
            let Some(words) = &self.chunks[chunk] else {
                continue;
            };
            let start = if chunk == first_chunk { first_word } else { 0 };
            for (word, &value) in words.iter().enumerate().skip(start) {
                let at_start = chunk == first_chunk && word == first_word;
                let value = if at_start { value & !(first_bit - 1) } else { value };
                if value != 0 {
                    let id = chunk * CHUNK_BITS + word * 64 + value.trailing_zeros() as usize;
                    return Some(u32::try_from(id).expect("only ids were inserted"));
                }
            }
        }
        None
    }
}

fn place(id: u32) -> (usize, usize, u64) {
    let id = id as usize;
    (id / CHUNK_BITS, id % CHUNK_BITS / 64, 1 << (id % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order() {
        let mut set = IdSet::default();
        for id in [70_000, 3, 64, 0, 4096, 3] {
            set.insert(id);
        }
        assert_eq!(set.len(), 5);
        assert!(set.remove(64) && !set.remove(64) && !set.contains(64) && set.contains(4096));
        let mut seen = Vec::new();
        let mut from = 0;
        while let Some(id) = set.next_from(from) {
            seen.push(id);
            from = id + 1;
        }
        assert_eq!(seen, [0, 3, 4096, 70_000]);
    }
}
