//! Check: every sum, count and link of a tree recomputed from scratch, and compared with what is kept up to date.
//!
//! Absent     from the running server: it takes time in proportion to the tree. Tests and the simulator call it.

use alloc::vec::Vec;

use crate::digest;
use crate::tree::{Tree, size_of_node};
use crate::znode::{NONE, NodeId, ROOT};

impl Tree {
    /// Asserts that everything that is kept up to date is what a recomputation gives.
    ///
    /// # Panics
    /// If not.
    pub fn check(&self) {
        // The root counts its second name, "/", and its data.
        let (mut count, mut sum, mut size_bytes) = (0, 0u64, 1 + self.slab[ROOT].data_len() as u64);
        let mut stack: Vec<NodeId> = Vec::from([ROOT]);
        while let Some(id) = stack.pop() {
            count += 1;
            sum = sum.wrapping_add(self.digest_of(id));
            if id != ROOT {
                size_bytes += size_of_node(&self.path_of(id), self.slab[id].data_len());
            }
            self.check_node(id);
            self.check_children(id, &mut stack);
        }
        assert_eq!((count, sum, size_bytes), (self.node_count(), self.digest(), self.size_bytes));
        let owned: usize = self.ephemerals.values().map(|own| own.len()).sum();
        assert_eq!(owned, self.ephemeral_count);
    }

    fn check_node(&self, id: NodeId) {
        let (node, path) = (&self.slab[id], self.path_of(id));
        assert_eq!(self.find(&path), Some(id), "{path} is in the index");
        assert_eq!(node.is_outside_digest(), digest::is_outside(&path), "{path}");
        assert!(self.acls.get(node.acl).is_some(), "{path} has an ACL");
        if self.options.digest && !node.is_outside_digest() {
            let data = node.data();
            let crc = digest::content_crc(&path, data.as_ref().map(|data| data.as_slice()));
            assert_eq!(node.content_crc, crc, "{path}");
        }
    }

    fn check_children(&self, id: NodeId, stack: &mut Vec<NodeId>) {
        let (mut children, mut descendants, mut prev) = (0, 0, NONE);
        let mut child = self.slab[id].first_child();
        while child != NONE {
            let node = &self.slab[child];
            assert_eq!((node.parent, node.prev), (id, prev));
            children += 1;
            descendants += 1 + node.descendants();
            stack.push(child);
            (prev, child) = (child, node.next);
        }
        let node = &self.slab[id];
        assert_eq!((children, descendants), (node.child_count(), node.descendants()), "{}", self.path_of(id));
    }
}
