//! What nodes report, as the checks want to have it; and when a run has shown enough.
//!
//! A member that recovers or catches up holds transactions that nobody has been told are committed, and some of them never
//! will be. So what leaders order is kept with what it follows, and what a member holds counts from when it serves clients:
//! then all of it is committed, back to what was known before.

use std::collections::BTreeMap;

use super::{Process, Report};
use crate::sim::check::{Checks, Seen, Txn, Zxid};
use crate::sim::network::NodeId;
use crate::sim::schedule::{MILLI, Micros};
use crate::sim::world::Judge;

/// The judge of one run.
pub struct Chronicle {
    checks: Checks,
    servers: usize,
    ordered: BTreeMap<Zxid, (Txn, Zxid)>,
    /// Where each server stands: the last transaction, the digest, and whether it serves.
    places: Vec<Option<Place>>,
    /// Clients that have done enough since the last fault.
    finished: Vec<bool>,
    /// Who leads; without a leader, since when. And the longest time without one since all is well.
    leader: Option<NodeId>,
    leaderless_since: Micros,
    leaderless_longest: Micros,
    quiet_from: Micros,
    /// Transactions that somebody knew to be committed.
    pub committed: u64,
}

/// Where a server stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    zxid: Zxid,
    tree: u64,
    is_standing: bool,
}

impl Chronicle {
    /// Of so many servers, and clients behind them; all is well from then on.
    pub fn new(servers: usize, nodes: usize, quiet_from: Micros) -> Chronicle {
        Chronicle {
            checks: Checks::default(),
            servers,
            ordered: BTreeMap::new(),
            places: vec![None; servers],
            finished: vec![false; nodes - servers],
            leader: None,
            leaderless_since: 0,
            leaderless_longest: 0,
            quiet_from,
            committed: 0,
        }
    }

    /// Whether there was a leader soon enough whenever there was none, after the last fault.
    ///
    /// # Errors
    /// There was not.
    pub fn check_leadership(&self, bound: Micros) -> Result<(), String> {
        if self.leader.is_none() {
            return Err("leadership: nobody leads".to_owned());
        }
        let longest = self.leaderless_longest;
        if longest <= bound {
            Ok(())
        } else {
            Err(format!("leadership: nobody led for {} ms when all was well", longest / MILLI))
        }
    }

    fn has_leader(&mut self, at: Micros, node: NodeId) {
        if self.leader.replace(node).is_none() {
            let gap = at.saturating_sub(self.leaderless_since.max(self.quiet_from));
            self.leaderless_longest = self.leaderless_longest.max(gap);
        }
    }

    fn loses(&mut self, at: Micros, node: NodeId) {
        if self.leader == Some(node) {
            self.leader = None;
            self.leaderless_since = at;
        }
    }

    /// The checks, for what is seen when the run is over.
    pub fn checks(&mut self) -> &mut Checks {
        &mut self.checks
    }

    fn see(&mut self, at: Micros, seen: Seen) -> Result<(), String> {
        self.checks.see(at, seen)
    }

    fn ordered(&mut self, node: NodeId, txn: Txn, prev: Zxid) -> Result<(), String> {
        let zxid = txn.zxid;
        let known = self.ordered.entry(zxid).or_insert((txn, prev));
        if *known != (txn, prev) {
            return Err(format!("n{node} orders {txn:x?} behind {prev:#x}; {known:x?} has that zxid"));
        }
        Ok(())
    }

    fn applied(&mut self, at: Micros, node: NodeId, txn: Txn, is_standing: bool) -> Result<(), String> {
        let Some((ordered, _)) = self.ordered.get(&txn.zxid) else {
            return Err(format!("n{node} applied {:#x}, which nobody ordered", txn.zxid));
        };
        // A refusal foresees no digest.
        let foreseen = Txn { tree: if ordered.tree == 0 { txn.tree } else { ordered.tree }, ..*ordered };
        if foreseen != txn {
            return Err(format!("identical history: n{node} applied {txn:x?}, ordered was {ordered:x?}"));
        }
        if is_standing {
            self.committed += u64::from(!self.checks.history.has(txn.zxid));
            self.see(at, Seen::Applied { member: node, txn })?;
        }
        Ok(())
    }

    /// All that a member holds is committed, back to what is known to be.
    fn stands(&mut self, at: Micros, node: NodeId, zxid: Zxid, tree: u64) -> Result<(), String> {
        let mut behind = Vec::new();
        let mut next = zxid;
        while next != 0 && !self.checks.history.has(next) {
            let Some((txn, prev)) = self.ordered.get(&next) else {
                return Err(format!("n{node} has {next:#x} in its history, which nobody ordered"));
            };
            behind.push(*txn);
            next = *prev;
        }
        let mut tree_before = self.checks.history.at(next).map_or(0, |txn| txn.tree);
        while let Some(mut txn) = behind.pop() {
            if txn.tree == 0 {
                txn.tree = tree_before;
            }
            tree_before = txn.tree;
            self.committed += 1;
            self.checks.history.committed(node, txn)?;
        }
        if zxid == 0 { Ok(()) } else { self.see(at, Seen::Installed { member: node, zxid, tree }) }
    }
}

impl Judge<Process> for Chronicle {
    fn on_report(&mut self, at: Micros, node: NodeId, report: Report) -> Result<(), String> {
        match report {
            Report::Ordered { txn, prev } => self.ordered(node, txn, prev),
            Report::Applied { txn, is_standing } => {
                self.places[node] = Some(Place { zxid: txn.zxid, tree: txn.tree, is_standing });
                self.applied(at, node, txn, is_standing)
            }
            Report::Holds { zxid, tree } => {
                self.places[node] = Some(Place { zxid, tree, is_standing: false });
                Ok(())
            }
            Report::Stands { zxid, tree, leads } => {
                self.places[node] = Some(Place { zxid, tree, is_standing: true });
                self.stands(at, node, zxid, tree)?;
                let Some(epoch) = leads else { return Ok(()) };
                self.has_leader(at, node);
                self.see(at, Seen::Leads { member: node, epoch: epoch.into() })
            }
            Report::Idle => {
                if let Some(place) = &mut self.places[node] {
                    place.is_standing = false;
                }
                self.loses(at, node);
                Ok(())
            }
            Report::Client(seen) => self.see(at, seen),
            Report::Finished => {
                self.finished[node - self.servers] = true;
                Ok(())
            }
        }
    }

    fn on_crash(&mut self, at: Micros, node: NodeId) {
        if node < self.servers {
            self.places[node] = None;
            self.checks.history.restarted(node);
            self.loses(at, node);
        } else {
            self.finished[node - self.servers] = false;
        }
    }

    fn is_done(&self) -> bool {
        let first = self.places[0];
        first.is_some_and(|place| place.is_standing)
            && self.finished.iter().all(|finished| *finished)
            && self.places.iter().all(|place| *place == first)
    }

    fn missing(&self) -> String {
        let unfinished = self.finished.iter().filter(|finished| !**finished).count();
        format!(
            "liveness: {unfinished} clients were not served as long as they should have been; servers: {:x?}",
            self.places
        )
    }
}
