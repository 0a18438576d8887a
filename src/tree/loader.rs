//! Loading: a tree from the items of a snapshot, in their order.
//!
//! Flow       `TreeLoader::new` -> `session`, `acl`, `node` ... -> `finish` -> `Tree`.
//! Invariant  parents come before children and ACL lists before their nodes; whatever breaks that is an error, never a
//!            panic, since the items come from a file or from another server. Siblings come in any order.
//! Absent     ACL lists that no node uses: they are dropped at the end. Usage of quotas: it is counted afresh.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use ids::{SessionId, Zxid};

use crate::acl::AclList;
use crate::acl_table;
use crate::foresight::{Foreseen, Foresight};
use crate::hash::NumberMap;
use crate::path;
use crate::stat::StatPersisted;
use crate::tree::{NewNode, Tree, TreeOptions};
use crate::znode::{NodeId, ROOT};

/// Why the items make no tree.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LoadError {
    /// A node came before its parent, or the parent is missing.
    NoParent(Box<str>),
    /// A node names an ACL list that did not come. Not an error in a leader's stream.
    NoAcl(i64),
    /// A path that is no path.
    BadPath(Box<str>),
    /// A node came twice.
    Twice(Box<str>),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::NoParent(path) => write!(f, "the parent of {path} is missing"),
            LoadError::NoAcl(key) => write!(f, "ACL list {key} is missing"),
            LoadError::BadPath(path) => write!(f, "{path:?} is not a path"),
            LoadError::Twice(path) => write!(f, "{path} appears twice"),
        }
    }
}

impl core::error::Error for LoadError {}

/// Who took the snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// We: the tree at one zxid.
    Own,
    /// ZooKeeper, node by node while it went on: holds parts of what followed, which is then applied again. Its ACL lists
    /// were written before its nodes, so that a list that came meanwhile is missing.
    Leader,
}

/// A tree in the making.
#[derive(Debug)]
pub struct TreeLoader {
    tree: Tree,
    source: Source,
    /// Key in the snapshot to number in our table.
    acl_numbers: NumberMap<i64, u32>,
    /// Siblings mostly come one after the other.
    last_parent_path: String,
    last_parent: NodeId,
}

/// ZooKeeper's key of a null list.
const OPEN_KEY: i64 = -1;

impl TreeLoader {
    /// Starts with a snapshot of ours. `nodes` is how many are expected, 0 if unknown.
    pub fn new(seed: u64, options: TreeOptions, nodes: usize) -> TreeLoader {
        TreeLoader::of(Source::Own, seed, options, nodes)
    }

    /// Starts.
    pub fn of(source: Source, seed: u64, options: TreeOptions, nodes: usize) -> TreeLoader {
        let mut tree = Tree::new(seed, options);
        // A claim from outside: room for what is plausible, the rest grows as it comes.
        tree.index.reserve(nodes.min(1 << 26));
        let acl_numbers = NumberMap::from_iter([(OPEN_KEY, acl_table::OPEN)]);
        TreeLoader { tree, source, acl_numbers, last_parent_path: String::from(path::ROOT), last_parent: ROOT }
    }

    /// A session.
    pub fn session(&mut self, id: SessionId, timeout_ms: i32) {
        self.tree.sessions.insert(id.to_i64(), timeout_ms);
    }

    /// An ACL list and its key.
    pub fn acl(&mut self, key: i64, list: &AclList) {
        let number = self.tree.acls.intern(list);
        if let Some(old) = self.acl_numbers.insert(key, number) {
            self.tree.acls.release(old);
        }
    }

    /// How to foresee for the tree that is being made.
    pub fn foresight(&self) -> Foresight {
        self.tree.foresight()
    }

    /// See [`Tree::warm_up`].
    pub fn warm_up(&self, upcoming: impl Iterator<Item = Foreseen>) {
        self.tree.warm_up(upcoming);
    }

    /// A node. The root is "" or "/".
    ///
    /// # Errors
    /// See [`LoadError`]; the loader is of no use after one.
    pub fn node(
        &mut self,
        node_path: &str,
        data: Option<&[u8]>,
        acl_key: i64,
        stat: StatPersisted,
    ) -> Result<(), LoadError> {
        self.foreseen_node(node_path, data, acl_key, stat, self.foresight().node(node_path, data, &stat))
    }

    /// A node, and what was foreseen of it.
    ///
    /// # Errors
    /// As [`TreeLoader::node`].
    pub fn foreseen_node(
        &mut self,
        node_path: &str,
        data: Option<&[u8]>,
        acl_key: i64,
        stat: StatPersisted,
        foreseen: Foreseen,
    ) -> Result<(), LoadError> {
        let acl = self.acl_number(acl_key)?;
        let node_path = if node_path.is_empty() { path::ROOT } else { node_path };
        if is_built_in(node_path) {
            self.replace_built_in(node_path, data, acl, stat);
            return Ok(());
        }
        // ZooKeeper's older servers let in what today's rules refuse, so only what the tree itself needs is checked.
        let is_rooted = node_path.starts_with('/') && !node_path.ends_with('/');
        if !is_rooted {
            return Err(LoadError::BadPath(node_path.into()));
        }
        let parent = self.parent_of(node_path)?;
        if self.tree.find_hashed(node_path, foreseen.path_hash).is_some() {
            return Err(LoadError::Twice(node_path.into()));
        }
        let acl = self.tree.acls.share(acl);
        self.tree.attach(parent, NewNode { path: node_path, foreseen, data, shared: None, acl, stat });
        Ok(())
    }

    /// A leader's list that is missing comes with a later transaction: a create that finds the node, or a setACL.
    fn acl_number(&mut self, key: i64) -> Result<u32, LoadError> {
        match self.acl_numbers.get(&key) {
            Some(number) => Ok(*number),
            None if self.source == Source::Own => Err(LoadError::NoAcl(key)),
            None => {
                let number = self.tree.acls.intern(&AclList::missing());
                self.acl_numbers.insert(key, number);
                Ok(number)
            }
        }
    }

    fn parent_of(&mut self, node_path: &str) -> Result<NodeId, LoadError> {
        let (parent_path, _) = path::split(node_path);
        if parent_path != self.last_parent_path {
            let parent = self.tree.find(parent_path).ok_or_else(|| LoadError::NoParent(node_path.into()))?;
            self.last_parent = parent;
            self.last_parent_path.clear();
            self.last_parent_path.push_str(parent_path);
        }
        Ok(self.last_parent)
    }

    /// The built-in nodes exist before anything is loaded; what comes for them replaces what they are.
    fn replace_built_in(&mut self, node_path: &str, data: Option<&[u8]>, acl: u32, stat: StatPersisted) {
        let id = self.tree.find(node_path).expect("built-in nodes are never deleted");
        let list = self.tree.acls.list(acl).clone();
        self.tree.replace_acl(id, &list);
        self.tree.change(id, |tree| {
            tree.replace_data(id, node_path, data, None);
            tree.slab[id].set_stat(&stat);
        });
    }

    /// The tree as of `zxid`.
    pub fn finish(mut self, zxid: Zxid) -> Tree {
        for number in self.acl_numbers.into_values() {
            self.tree.acls.release(number);
        }
        self.tree.last_zxid = zxid;
        self.tree.quota_rebuild();
        self.tree
    }
}

fn is_built_in(node_path: &str) -> bool {
    crate::tree::SPECIAL_PATHS.contains(&node_path)
}
