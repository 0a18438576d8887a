//! Listings: the children of a node in steps, for parents with so many that one turn would be too long.
//!
//! Flow       `listing_begin` -> `listing_step` until it says done; between steps the tree changes as it likes.
//! Invariant  a listing gives exactly the children at its start, each once: a new child enters before the cursor and is
//!            marked as visited; a child that goes before its turn leaves its name here.
//! Bound      one bit per child visited, and the names of children deleted before their turn.
//! Absent     order.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::idset::IdSet;
use crate::tree::Tree;
use crate::znode::{NONE, NodeId, Slab};

/// A listing under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListingId(u64);

#[derive(Clone, Debug)]
struct Listing {
    id: ListingId,
    parent: NodeId,
    /// The next child to visit.
    cursor: NodeId,
    visited: IdSet,
    /// Names of children that went before their turn.
    gone: Vec<Box<str>>,
}

/// All listings under way: rarely more than a few.
#[derive(Clone, Default, Debug)]
pub(crate) struct Listings {
    active: Vec<Listing>,
    last_id: u64,
}

impl Listings {
    /// A child came to `parent`. Its id may be that of a child that was there before.
    pub(crate) fn attached(&mut self, parent: NodeId, id: NodeId) {
        for listing in self.active.iter_mut().filter(|listing| listing.parent == parent) {
            listing.visited.insert(id);
        }
    }

    /// A node is about to go; its links are still those of a child.
    pub(crate) fn detaching(&mut self, slab: &Slab, id: NodeId) {
        if self.active.is_empty() {
            return;
        }
        let node = &slab[id];
        for listing in &mut self.active {
            if listing.parent == id {
                assert_eq!(listing.cursor, NONE, "a node goes after its children");
                listing.parent = NONE; // The id may come back as another node.
            }
            if listing.parent != node.parent {
                continue;
            }
            if !listing.visited.contains(id) {
                listing.gone.push(node.name().into());
            }
            if listing.cursor == id {
                listing.cursor = node.next;
            }
        }
    }
}

impl Tree {
    /// Starts listing the children that `path` has now, which it returns the number of.
    pub fn listing_begin(&mut self, path: &str) -> Option<(ListingId, usize)> {
        let parent = self.find(path)?;
        let node = &self.slab[parent];
        let (cursor, count) = (node.first_child(), node.child_count() as usize);
        self.listings.last_id += 1;
        let id = ListingId(self.listings.last_id);
        self.listings.active.push(Listing { id, parent, cursor, visited: IdSet::default(), gone: Vec::new() });
        Some((id, count))
    }

    /// Gives up to `budget` names to `out`; false when that was all and the listing has ended.
    ///
    /// # Panics
    /// On a listing that has ended.
    pub fn listing_step(&mut self, id: ListingId, budget: usize, mut out: impl FnMut(&str)) -> bool {
        let at = self.listings.active.iter().position(|listing| listing.id == id);
        let at = at.expect("the listing has not ended");
        let listing = &mut self.listings.active[at];
        for _ in 0..budget {
            if let Some(name) = listing.gone.pop() {
                out(&name);
            } else if listing.cursor != NONE {
                let child = &self.slab[listing.cursor];
                out(child.name());
                listing.visited.insert(listing.cursor);
                listing.cursor = child.next;
            } else {
                self.listings.active.swap_remove(at);
                return false;
            }
        }
        true
    }

    /// Gives a listing up before its end.
    pub fn listing_cancel(&mut self, id: ListingId) {
        self.listings.active.retain(|listing| listing.id != id);
    }
}
