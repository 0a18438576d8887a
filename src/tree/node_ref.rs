//! Reading one node, with the permission checks that reads share.
//!
//! Flow       `Tree::readable` finds and checks -> `NodeRef` gives data, stat, ACL, children.
//! Invariant  what one `NodeRef` tells belongs together: nothing changes while it is borrowed.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use ids::SessionId;

use crate::acl::{Acl, AclList, Identity, perms};
use crate::code::Code;
use crate::scheme::Schemes;
use crate::stat::{Stat, StatPersisted};
use crate::tree::Tree;
use crate::znode::{Data, NONE, Node, NodeId};

/// A node, borrowed from the tree.
#[derive(Clone, Copy, Debug)]
pub struct NodeRef<'t> {
    pub(crate) tree: &'t Tree,
    pub(crate) id: NodeId,
}

impl<'t> NodeRef<'t> {
    pub(crate) fn node(&self) -> &'t Node {
        &self.tree.slab[self.id]
    }

    /// Its path, built by climbing.
    pub fn path(&self) -> String {
        self.tree.path_of(self.id)
    }

    /// As clients see it.
    pub fn stat(&self) -> Stat {
        let node = self.node();
        let shown_owner = self.tree.options.owners.shown(node.owner);
        node.stat().to_stat(shown_owner, node.data_len(), node.child_count())
    }

    /// As it is kept.
    pub fn stat_persisted(&self) -> StatPersisted {
        self.node().stat()
    }

    /// The data; `None` is null, which is not empty.
    pub fn data(&self) -> Option<Data<'t>> {
        self.node().data()
    }

    /// The ACL.
    pub fn acl(&self) -> &'t AclList {
        self.tree.acls.list(self.node().acl)
    }

    /// Children now.
    pub fn child_count(&self) -> usize {
        self.node().child_count() as usize
    }

    /// Nodes below it at any depth: what getAllChildrenNumber answers.
    pub fn descendant_count(&self) -> usize {
        self.node().descendants() as usize
    }

    /// Names of the children, newest first. For very many there is `Tree::listing_begin`.
    pub fn children(&self) -> Children<'t> {
        let node = self.node();
        Children { tree: self.tree, next: node.first_child(), left: node.child_count() as usize }
    }
}

/// Names of a node's children.
#[derive(Clone, Debug)]
pub struct Children<'t> {
    tree: &'t Tree,
    next: NodeId,
    left: usize,
}

impl<'t> Iterator for Children<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        if self.next == NONE {
            assert_eq!(self.left, 0, "the list holds as many as were counted");
            return None;
        }
        let child = &self.tree.slab[self.next];
        self.next = child.next;
        self.left -= 1;
        Some(child.name())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Children<'_> {}

impl Tree {
    /// The node for a read that wants READ: exists, getData, getChildren, getAllChildrenNumber. Paths are not validated.
    ///
    /// # Errors
    /// `NoNode`, then `NoAuth`.
    pub fn readable(&self, path: &str, who: &[Identity], schemes: &Schemes) -> Result<NodeRef<'_>, Code> {
        let node = self.get(path).ok_or(Code::NoNode)?;
        if schemes.allow(node.acl(), perms::READ, who) { Ok(node) } else { Err(Code::NoAuth) }
    }

    /// What getAllChildrenNumber answers for a path that is readable. ZooKeeper keeps the root under "" and "/", and who
    /// asks for the former has the latter counted.
    pub fn all_children_number(&self, path: &str) -> Option<usize> {
        self.get(path).map(|node| node.descendant_count() + usize::from(path.is_empty()))
    }

    /// What getEphemerals answers: a prefix that is null, blank or "/" means all. Blank is what Java's `String.trim` takes
    /// off: control characters too, and no space beyond ASCII.
    pub fn ephemerals_with_prefix(&self, session: SessionId, prefix: Option<&str>) -> impl Iterator<Item = String> {
        let is_all = prefix.is_none_or(|prefix| matches!(prefix.trim_matches(|c| c <= ' '), "" | "/"));
        self.ephemerals_of(session, if is_all { "" } else { prefix.unwrap_or_default() })
    }

    /// For exists, which refuses a NUL where other reads find nothing.
    ///
    /// # Errors
    /// `BadArguments`, `NoNode` (a watch is registered all the same), `NoAuth`.
    pub fn exists(&self, path: &str, who: &[Identity], schemes: &Schemes) -> Result<Stat, Code> {
        if path.bytes().any(|byte| byte == 0) {
            return Err(Code::BadArguments);
        }
        self.readable(path, who, schemes).map(|node| node.stat())
    }

    /// For getACL: READ or ADMIN is enough, and who lacks ADMIN sees digests masked.
    ///
    /// # Errors
    /// `NoNode`, then `NoAuth`.
    pub fn read_acl(&self, path: &str, who: &[Identity], schemes: &Schemes) -> Result<(Cow<'_, [Acl]>, Stat), Code> {
        let node = self.get(path).ok_or(Code::NoNode)?;
        let acl = node.acl();
        if !schemes.allow(acl, perms::READ | perms::ADMIN, who) {
            return Err(Code::NoAuth);
        }
        let shown = if schemes.allow(acl, perms::ADMIN, who) { Cow::Borrowed(&**acl) } else { Cow::Owned(masked(acl)) };
        Ok((shown, node.stat()))
    }
}

/// `bob:hash` becomes `bob:x`.
fn masked(acl: &[Acl]) -> Vec<Acl> {
    let mask = |entry: &Acl| match entry.id.split_once(':') {
        Some((user, _)) if &*entry.scheme == "digest" => Acl::new(entry.perms, "digest", &alloc::format!("{user}:x")),
        _ => entry.clone(),
    };
    acl.iter().map(mask).collect()
}
