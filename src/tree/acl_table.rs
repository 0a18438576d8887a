//! Equal ACL lists are kept once: numbers for nodes to refer to, with a count of references.
//!
//! Flow       apply interns the list of a create or setACL and releases the old one; snapshots write the table first.
//! Invariant  an entry lives while its count is above 0, or while a snapshot is being written that may name it; entry 0
//!            is the open list and lives forever.
//! Absent     numbers that mean the same on two servers: they are local.

use alloc::vec::Vec;

use hashbrown::HashTable;

use crate::acl::{Acl, AclEntry, AclList};
use crate::hash;

/// Number of the list that lets everybody do everything.
pub(crate) const OPEN: u32 = 0;

#[derive(Clone, Debug)]
struct Entry {
    /// `None` for a free number.
    list: Option<AclList>,
    references: u32,
}

/// The table.
#[derive(Clone, Debug)]
pub(crate) struct AclTable {
    entries: Vec<Entry>,
    by_content: HashTable<u32>,
    free: Vec<u32>,
    seed: u64,
    /// A snapshot is being written: nothing is freed, no number is reused.
    held: bool,
    /// Entries whose last reference went while held.
    idle: Vec<u32>,
}

impl AclTable {
    pub(crate) fn new(seed: u64) -> AclTable {
        let by_content = HashTable::new();
        let mut table =
            AclTable { entries: Vec::new(), by_content, free: Vec::new(), seed, held: false, idle: Vec::new() };
        let open = table.intern(&AclList::open());
        assert_eq!(open, OPEN);
        table
    }

    /// The list behind a number.
    pub(crate) fn list(&self, id: u32) -> &AclList {
        self.entries[id as usize].list.as_ref().expect("whoever has the number holds a reference")
    }

    /// Whether it is the open list.
    pub(crate) fn is_open(&self, list: &AclList) -> bool {
        self.list(OPEN) == list
    }

    /// The number of a list, with one reference for the caller.
    pub(crate) fn intern(&mut self, list: &AclList) -> u32 {
        // Nearly every list is the open one, and prep hands out the table's own copy of it.
        if self.entries.first().is_some_and(|open| open.list.as_ref() == Some(list)) {
            return OPEN;
        }
        let hash = self.hash_of(list.iter().map(borrow));
        let entries = &self.entries;
        if let Some(&id) = self.by_content.find(hash, |&id| entries[id as usize].list.as_ref() == Some(list)) {
            self.entries[id as usize].references += 1;
            return id;
        }
        let entry = Entry { list: Some(list.clone()), references: 1 };
        let id = match self.free.pop() {
            Some(id) if !self.held => {
                self.entries[id as usize] = entry;
                id
            }
            reusable => {
                self.free.extend(reusable);
                self.entries.push(entry);
                u32::try_from(self.entries.len() - 1).expect("fewer lists than nodes")
            }
        };
        self.insert_by_content(hash, id);
        id
    }

    fn insert_by_content(&mut self, hash: u64, id: u32) {
        let (entries, seed) = (&self.entries, self.seed);
        self.by_content.insert_unique(hash, id, |&other| {
            let list = entries[other as usize].list.as_ref().expect("only live entries are indexed");
            hash_entries(seed, list.iter().map(borrow))
        });
    }

    /// The table's copy of a list as a request has it, if it needs no change and some node has it.
    pub(crate) fn find(&self, request: &[AclEntry<'_>]) -> Option<&AclList> {
        let hash = self.hash_of(request.iter().copied());
        let is_same = |&id: &u32| {
            let list = self.list(id);
            list.len() == request.len() && list.iter().map(borrow).eq(request.iter().copied())
        };
        self.by_content.find(hash, is_same).map(|&id| self.list(id))
    }

    /// Whether some node has this list.
    pub(crate) fn is_used(&self, list: &AclList) -> bool {
        let is_same = |&id: &u32| self.list(id) == list;
        let found = self.by_content.find(self.hash_of(list.iter().map(borrow)), is_same);
        found.is_some_and(|&id| self.entries[id as usize].references > 0)
    }

    /// Another reference to a list that the caller holds one of.
    pub(crate) fn share(&mut self, id: u32) -> u32 {
        if id != OPEN {
            self.entries[id as usize].references += 1;
        }
        id
    }

    /// Gives a reference back.
    pub(crate) fn release(&mut self, id: u32) {
        if id == OPEN {
            return;
        }
        let entry = &mut self.entries[id as usize];
        entry.references = entry.references.checked_sub(1).expect("no more releases than references");
        if entry.references > 0 {
            return;
        }
        if self.held { self.idle.push(id) } else { self.free_entry(id) }
    }

    fn free_entry(&mut self, id: u32) {
        let list = self.entries[id as usize].list.take().expect("the last reference frees once");
        let hash = self.hash_of(list.iter().map(borrow));
        self.by_content.find_entry(hash, |&other| other == id).expect("live entries are indexed").remove();
        self.free.push(id);
    }

    /// From now on nothing is freed. Returns the bound of the numbers that exist.
    pub(crate) fn hold(&mut self) -> u32 {
        assert!(!self.held, "one snapshot at a time");
        self.held = true;
        self.entries.len() as u32
    }

    /// Frees what went idle since [`AclTable::hold`].
    pub(crate) fn unhold(&mut self) {
        self.held = false;
        for id in core::mem::take(&mut self.idle) {
            let entry = &self.entries[id as usize];
            if entry.references == 0 && entry.list.is_some() {
                self.free_entry(id);
            }
        }
    }

    /// The list behind a number that may be free.
    pub(crate) fn get(&self, id: u32) -> Option<&AclList> {
        self.entries.get(id as usize)?.list.as_ref()
    }

    fn hash_of<'a>(&self, entries: impl Iterator<Item = AclEntry<'a>>) -> u64 {
        hash_entries(self.seed, entries)
    }
}

fn hash_entries<'a>(seed: u64, entries: impl Iterator<Item = AclEntry<'a>>) -> u64 {
    entries.fold(seed, |state, entry| {
        let state = hash::bytes(state ^ entry.perms as u64, entry.scheme.unwrap_or_default().as_bytes());
        hash::bytes(state, entry.id.unwrap_or_default().as_bytes())
    })
}

fn borrow(acl: &Acl) -> AclEntry<'_> {
    AclEntry { perms: acl.perms, scheme: Some(&acl.scheme), id: Some(&acl.id) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lists_share_a_number_until_the_last_goes() {
        let mut table = AclTable::new(1);
        assert_eq!(table.intern(&AclList::open()), OPEN);
        let first = table.intern(&AclList::anyone(1));
        assert_eq!(table.intern(&AclList::anyone(1)), first);
        table.release(first);
        assert!(table.get(first).is_some());
        table.release(first);
        assert!(table.get(first).is_none());
        assert_eq!(table.intern(&AclList::anyone(2)), first, "the number is free again");
        assert!(table.find(&[AclEntry { perms: 2, scheme: Some("world"), id: Some("anyone") }]).is_some());
        assert!(table.find(&[AclEntry { perms: 1, scheme: Some("world"), id: Some("anyone") }]).is_none());
    }

    #[test]
    fn a_snapshot_keeps_numbers_alive_and_unreused() {
        let mut table = AclTable::new(1);
        let read = table.intern(&AclList::anyone(1));
        table.hold();
        table.release(read);
        assert!(table.get(read).is_some());
        assert_ne!(table.intern(&AclList::anyone(2)), read);
        assert_eq!(table.intern(&AclList::anyone(1)), read, "an idle list comes back under its number");
        table.unhold();
        assert!(table.get(read).is_some());
        table.release(read);
        assert!(table.get(read).is_none());
    }
}
