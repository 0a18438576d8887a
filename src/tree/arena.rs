//! A slab for small records: numbered slots in chunks, so that growing copies nothing; and hash tables of such numbers,
//! in shards, so that growing one of them stays short.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

use hashbrown::HashTable;

const CHUNK: usize = 1024;

/// Slots of `T`. A freed slot holds the default value until it is used again.
#[derive(Debug)]
pub(crate) struct Arena<T> {
    chunks: Vec<Vec<T>>,
    free: Vec<u32>,
}

impl<T: Default> Arena<T> {
    pub(crate) fn new() -> Arena<T> {
        Arena { chunks: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(at) = self.free.pop() {
            self[at] = value;
            return at;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let chunk_start = (self.chunks.len() - 1) * CHUNK;
        let chunk = self.chunks.last_mut().expect("just made");
        chunk.push(value);
        u32::try_from(chunk_start + chunk.len() - 1).expect("fewer records than memory")
    }

    pub(crate) fn remove(&mut self, at: u32) -> T {
        self.free.push(at);
        core::mem::take(&mut self[at])
    }

    /// All slots, freed ones included.
    pub(crate) fn slots(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(self.chunks.iter().flatten())
    }
}

impl<T> Index<u32> for Arena<T> {
    type Output = T;

    fn index(&self, at: u32) -> &T {
        &self.chunks[at as usize / CHUNK][at as usize % CHUNK]
    }
}

impl<T> IndexMut<u32> for Arena<T> {
    fn index_mut(&mut self, at: u32) -> &mut T {
        &mut self.chunks[at as usize / CHUNK][at as usize % CHUNK]
    }
}

const SHARD_BITS: u32 = 8;

/// Slot numbers by hash.
#[derive(Debug)]
pub(crate) struct Shards {
    tables: Box<[HashTable<u32>]>,
}

impl Shards {
    pub(crate) fn new() -> Shards {
        Shards { tables: (0..1 << SHARD_BITS).map(|_| HashTable::new()).collect() }
    }

    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.tables[shard_of(hash)].find(hash, |&at| is_it(at)).copied()
    }

    pub(crate) fn insert(&mut self, hash: u64, at: u32, hash_of: impl Fn(u32) -> u64) {
        self.tables[shard_of(hash)].insert_unique(hash, at, |&other| hash_of(other));
    }

    pub(crate) fn remove(&mut self, hash: u64, at: u32) {
        let entry = self.tables[shard_of(hash)].find_entry(hash, |&other| other == at);
        entry.expect("what is removed was inserted").remove();
    }
}

/// From the middle: tables use the low bits for the bucket and the top 7 for the tag.
fn shard_of(hash: u64) -> usize {
    (hash >> 40) as usize & ((1 << SHARD_BITS) - 1)
}
