//! The reaper's eye: which containers and TTL nodes are due, looked for in steps.
//!
//! Flow       `Sweep::new` at each check -> `step` until done -> the caller sends a deleteContainer request per path, at
//!            the rate it was given.
//! Absent     the decision: prep decides again when the request comes, since children may have come meanwhile.

use alloc::string::String;
use alloc::vec::Vec;

use crate::owner::Owner;
use crate::tree::Tree;

/// A look at all containers and TTL nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sweep {
    now_ms: i64,
    never_used_ms: i64,
    stage: Stage,
}

/// Which set, and from which node id on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Containers(u32),
    Ttls(u32),
    Done,
}

impl Sweep {
    /// Starts. `now_ms` is the wall clock, since it is compared with mtime. With `never_used_ms` above 0 a container that
    /// never had a child goes when it is older than that.
    pub fn new(now_ms: i64, never_used_ms: i64) -> Sweep {
        Sweep { now_ms, never_used_ms, stage: Stage::Containers(0) }
    }

    /// Looks at up to `budget` nodes and appends the paths of those that are due; false when all have been seen.
    pub fn step(&mut self, tree: &Tree, budget: usize, due: &mut Vec<String>) -> bool {
        for _ in 0..budget {
            let (next, rest) = match self.stage {
                Stage::Containers(from) => match tree.containers.next_from(from) {
                    Some(id) => (id, Stage::Containers(id + 1)),
                    None => {
                        self.stage = Stage::Ttls(0);
                        continue;
                    }
                },
                Stage::Ttls(from) => match tree.ttls.next_from(from) {
                    Some(id) => (id, Stage::Ttls(id + 1)),
                    None => {
                        self.stage = Stage::Done;
                        return false;
                    }
                },
                Stage::Done => return false,
            };
            self.stage = rest;
            if self.is_due(tree, next) {
                due.push(tree.path_of(next));
            }
        }
        true
    }

    fn is_due(&self, tree: &Tree, id: u32) -> bool {
        let node = &tree.slab[id];
        let age_ms = self.now_ms.saturating_sub(node.mtime);
        node.child_count() == 0
            && match tree.options.owners.classify(node.owner) {
                // It had children once, or it has waited long enough for the first.
                Owner::Container => node.cversion() > 0 || (self.never_used_ms > 0 && age_ms > self.never_used_ms),
                Owner::Ttl(ttl_ms) => ttl_ms != 0 && age_ms > ttl_ms,
                Owner::None | Owner::Session(_) => false,
            }
    }
}

impl Tree {
    /// Containers that exist.
    pub fn container_count(&self) -> usize {
        self.containers.len()
    }

    /// TTL nodes that exist.
    pub fn ttl_count(&self) -> usize {
        self.ttls.len()
    }
}
