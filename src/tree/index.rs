//! The index: path to node by hash, in shards.
//!
//! Flow       hash of the whole path -> shard by the top bits -> home slot by the rest -> a few slots on, while the hashes
//!            are not above ours -> names compared while climbing.
//! Invariant  every node but the root is in exactly one shard under its path's hash. A shard's slots are in the order of
//!            their hashes, each entry at its home or behind it without a gap: so a search, of what is there and of what
//!            is not, ends within a cache line or two, and no other memory is touched before a hash is equal.
//! Bound      a shard holds a 4096th of the nodes, so growing one (2 441 of 10 million) stalls for well under 1 ms.
//! Absent     the paths themselves, and order: nothing iterates over the index. Shrinking.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::znode::{NONE, NodeId, ROOT, Slab};

const SHARD_BITS: u32 = 12;
const HOME_BITS: u32 = 32 - SHARD_BITS;

/// All shards.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    shards: Box<[Shard]>,
}

impl Index {
    pub(crate) fn new() -> Index {
        Index { shards: (0..1 << SHARD_BITS).map(|_| Shard::default()).collect() }
    }

    /// Makes room for `nodes`, so that loading does not grow each shard again and again.
    pub(crate) fn reserve(&mut self, nodes: usize) {
        for shard in &mut self.shards {
            shard.reserve(nodes >> SHARD_BITS);
        }
    }

    /// The node called `path` (which is not the root's), whose hash is `hash`.
    pub(crate) fn find(&self, slab: &Slab, hash: u32, path: &str) -> Option<NodeId> {
        self.shards[shard_of(hash)].find(hash, |id| is_at(slab, id, path))
    }

    /// Reads where a node with this hash would be looked for first, and nothing that depends on what is there: so the
    /// CPU need not wait for one to begin with the next.
    pub(crate) fn peek(&self, hash: u32) -> u32 {
        let shard = &self.shards[shard_of(hash)];
        shard.slots.get(shard.home(hash)).map_or(0, |slot| slot.hash)
    }

    pub(crate) fn insert(&mut self, hash: u32, id: NodeId) {
        self.shards[shard_of(hash)].insert(Slot { hash, id });
    }

    pub(crate) fn remove(&mut self, hash: u32, id: NodeId) {
        self.shards[shard_of(hash)].remove(Slot { hash, id });
    }
}

fn shard_of(hash: u32) -> usize {
    (hash >> HOME_BITS) as usize
}

/// Whether `id`'s name and its ancestors' spell `path`.
fn is_at(slab: &Slab, mut id: NodeId, path: &str) -> bool {
    let mut rest = path.as_bytes();
    while id != ROOT {
        let node = &slab[id];
        let Some(parent) = rest.strip_suffix(node.name_bytes()).and_then(|rest| rest.strip_suffix(b"/")) else {
            return false;
        };
        rest = parent;
        id = node.parent;
    }
    rest.is_empty()
}

/// An entry, or with `NONE` the room for one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Slot {
    hash: u32,
    id: NodeId,
}

const EMPTY: Slot = Slot { hash: 0, id: NONE };

#[derive(Clone, Default, Debug)]
struct Shard {
    /// A home for each value of the scaled hash, and behind them what the last homes have too many.
    slots: Vec<Slot>,
    homes: u32,
    count: u32,
}

impl Shard {
    /// Rises with the hash.
    fn home(&self, hash: u32) -> usize {
        let low = u64::from(hash & ((1 << HOME_BITS) - 1));
        ((low * u64::from(self.homes)) >> HOME_BITS) as usize
    }

    fn find(&self, hash: u32, is_it: impl Fn(NodeId) -> bool) -> Option<NodeId> {
        let behind = self.slots.get(self.home(hash)..)?;
        let run = behind.iter().take_while(|slot| slot.id != NONE && slot.hash <= hash);
        run.filter(|slot| slot.hash == hash).map(|slot| slot.id).find(|&id| is_it(id))
    }

    fn insert(&mut self, entry: Slot) {
        // Seven eighths full at most: 9.1 bytes for each entry, and 11.4 right after it has grown.
        if (self.count + 1) * 8 > self.homes * 7 {
            self.resize(self.homes + self.homes / 4 + 4);
        }
        self.count += 1;
        // What is above it moves on by one, up to the next room.
        let home = self.home(entry.hash);
        let mut moving = entry;
        for slot in &mut self.slots[home..] {
            if slot.id == NONE {
                *slot = moving;
                return;
            }
            if slot.hash > moving.hash {
                core::mem::swap(slot, &mut moving);
            }
        }
        self.slots.push(moving);
    }

    fn remove(&mut self, entry: Slot) {
        let home = self.home(entry.hash);
        let offset = self.slots[home..].iter().position(|&slot| slot == entry).expect("every node is in the index");
        // What is behind it moves back, up to a gap or to what is at its home.
        let mut at = home + offset;
        while let Some(&next) = self.slots.get(at + 1).filter(|next| next.id != NONE && self.home(next.hash) <= at) {
            self.slots[at] = next;
            at += 1;
        }
        self.slots[at] = EMPTY;
        self.count -= 1;
    }

    fn reserve(&mut self, count: usize) {
        let homes = u32::try_from(count * 8 / 7 + 1).expect("fewer nodes than ids");
        if homes > self.homes {
            self.resize(homes);
        }
    }

    fn resize(&mut self, homes: u32) {
        assert!(homes > self.homes, "a shard only grows");
        self.homes = homes;
        let old = core::mem::take(&mut self.slots);
        self.slots.reserve_exact(homes as usize + 4);
        for &entry in old.iter().filter(|slot| slot.id != NONE) {
            // They come in the order of their hashes, so the next place is at its home or at the end of those before.
            self.slots.resize(self.slots.len().max(self.home(entry.hash)), EMPTY);
            self.slots.push(entry);
        }
        self.slots.resize(self.slots.len().max(homes as usize), EMPTY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Shard {
        fn check(&self) {
            let entries = || self.slots.iter().enumerate().filter(|(_, slot)| slot.id != NONE);
            assert_eq!(entries().count(), self.count as usize);
            assert!(entries().map(|(_, slot)| slot.hash).is_sorted());
            for (at, slot) in entries() {
                let home = self.home(slot.hash);
                assert!(self.slots[home..=at].iter().all(|slot| slot.id != NONE), "{slot:?} at {at}, home {home}");
            }
        }
    }

    /// Hashes from few values, so that they crowd and repeat, and up to the highest, so that the end overflows.
    #[test]
    fn a_shard_holds_what_was_put_in_and_not_taken_out() {
        let mut shard = Shard::default();
        let mut model: Vec<Slot> = Vec::new();
        for step in 0..20_000_u32 {
            let chance = crate::hash::number(step.into());
            let crowd =
                [0x000f_ffff, 0x000f_fff0, 0x0007_0000, chance as u32 & 0x000f_ffff][(chance >> 32) as usize % 4];
            if chance >> 60 < 7 + u64::from(step < 10_000) * 3 || model.is_empty() {
                let entry = Slot { hash: crowd, id: step };
                shard.insert(entry);
                model.push(entry);
            } else {
                let entry = model.swap_remove((chance >> 20) as usize % model.len());
                shard.remove(entry);
                assert_eq!(shard.find(entry.hash, |id| id == entry.id), None);
            }
            if step % 100 == 0 {
                shard.check();
                assert!(model.iter().all(|slot| shard.find(slot.hash, |id| id == slot.id) == Some(slot.id)));
            }
        }
        assert!(shard.count > 100 && shard.count as usize == model.len());
    }
}
