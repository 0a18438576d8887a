//! What the generator believes the tree to be, so that most requests meet something.
//!
//! Flow       the original's answers are learnt after every step; within a step creates and deletes are taken as passed.
//! Invariant  every node but the root has a parent here. Whether the servers agree with any of it decides nothing.

use std::collections::BTreeMap;

use crate::random::Random;

/// Names of nodes. Few, so that creates meet what is there.
const NAMES: [&str; 6] = ["a", "b", "c", "d", "ü", ".x"];
/// How deep creates go.
const DEPTH_MAX: usize = 4;

#[derive(Clone, Debug, Default)]
struct Node {
    version: i32,
    acl_version: i32,
    created: i32,
    children: usize,
    owner: Option<usize>,
}

/// The believed tree.
#[derive(Clone, Debug)]
pub struct Guess(BTreeMap<String, Node>);

impl Guess {
    /// A fresh server's tree, as far as plans care.
    pub fn new() -> Self {
        Self(BTreeMap::from([("/".to_owned(), Node::default())]))
    }

    /// A node that should be there. The root is rarely meant.
    pub fn existing(&self, random: &mut Random) -> String {
        let skip = usize::from(self.0.len() > 1 && random.chance(95));
        let place = skip + random.below(self.0.len() - skip);
        self.0.keys().nth(place).expect("the place lies below the count").clone()
    }

    /// A node without children.
    pub fn leaf(&self, random: &mut Random) -> String {
        let leaves: Vec<&String> = self.0.iter().filter(|(_, node)| node.children == 0).map(|(path, _)| path).collect();
        if leaves.is_empty() { "/".to_owned() } else { leaves[random.below(leaves.len())].clone() }
    }

    /// A name that a create may have: below some node that may have children, taken or not.
    pub fn new_child(&self, random: &mut Random) -> String {
        join(&self.parent(random), random.pick(&NAMES))
    }

    /// A prefix for a sequential create.
    pub fn new_prefix(&self, random: &mut Random) -> String {
        join(&self.parent(random), random.pick(&["s-", "s-", "s-", "", "."]))
    }

    fn parent(&self, random: &mut Random) -> String {
        let fit = |(path, node): &(&String, &Node)| node.owner.is_none() && path.split('/').count() <= DEPTH_MAX;
        let parents: Vec<&String> = self.0.iter().filter(fit).map(|(path, _)| path).collect();
        parents[random.below(parents.len())].clone()
    }

    /// The version that a node should have.
    pub fn version(&self, path: &str) -> i32 {
        self.0.get(path).map_or(0, |node| node.version)
    }

    /// The ACL version that a node should have.
    pub fn acl_version(&self, path: &str) -> i32 {
        self.0.get(path).map_or(0, |node| node.acl_version)
    }

    /// A create by slot `owner` that should pass. Gives the final path.
    pub fn created(&mut self, path: &str, sequential: bool, owner: Option<usize>) -> String {
        let parent = self.0.get(&parent_of(path));
        let number = parent.map_or(0, |parent| parent.created);
        let path = if sequential { format!("{path}{number:010}") } else { path.to_owned() };
        self.is_there(&path, owner);
        path
    }

    /// A node that is there, whoever made it.
    pub fn is_there(&mut self, path: &str, owner: Option<usize>) {
        if self.0.contains_key(path) || !path.starts_with('/') {
            return;
        }
        let Some(parent) = self.0.get_mut(&parent_of(path)) else { return };
        parent.created += 1;
        parent.children += 1;
        self.0.insert(path.to_owned(), Node { owner, ..Node::default() });
    }

    /// A node that is not there, nor anything below it.
    pub fn is_absent(&mut self, path: &str) {
        let below = format!("{path}/");
        let gone: Vec<String> = self.0.keys().filter(|key| *key == path || key.starts_with(&below)).cloned().collect();
        // Children sort behind their parents.
        for path in gone.iter().rev() {
            self.deleted(path);
        }
    }

    /// A delete that passed, or should.
    pub fn deleted(&mut self, path: &str) {
        if path == "/" || self.0.get(path).is_none_or(|node| node.children > 0) {
            return;
        }
        self.0.remove(path);
        if let Some(node) = self.0.get_mut(&parent_of(path)) {
            node.children = node.children.saturating_sub(1);
        }
    }

    /// A node's versions after a change.
    pub fn versions(&mut self, path: &str, version: i32, acl_version: i32) {
        if let Some(node) = self.0.get_mut(path) {
            node.version = version;
            node.acl_version = acl_version;
        }
    }

    /// A session that ended with its ephemerals.
    pub fn closed(&mut self, slot: usize) {
        let gone: Vec<String> =
            self.0.iter().filter(|(_, node)| node.owner == Some(slot)).map(|(path, _)| path.clone()).collect();
        for path in gone {
            self.deleted(&path);
        }
    }
}

impl Default for Guess {
    fn default() -> Self {
        Self::new()
    }
}

fn join(parent: &str, name: &str) -> String {
    if parent == "/" { format!("/{name}") } else { format!("{parent}/{name}") }
}

fn parent_of(path: &str) -> String {
    match path.rsplit_once('/') {
        None | Some(("", _)) => "/".to_owned(),
        Some((parent, _)) => parent.to_owned(),
    }
}
