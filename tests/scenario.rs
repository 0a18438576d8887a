//! What happens to ensembles in tests: members are killed, stopped, wiped and replaced under a load.
//!
//! Flow       a scenario starts an ensemble of the kinds it is given and a load, breaks something, waits until all
//!            members serve again, and ends with `conclude`.
//! Invariant  scenarios know no kind: three members of one kind, or any mixture, pass all of them. What a Java member's
//!            log says about how it synchronised is checked where there is one.
//! Absent     the network's faults: every member can reach every other. The simulator has those.

mod absence;
mod rolling;
mod smoke;
mod uncommitted;

use std::time::Instant;

use crate::ensemble::{Ensemble, Settings};
use crate::history::check::{Promises, assert_kept};
use crate::history::load::Load;
use crate::server::Kind;

/// What a scenario is run with.
#[derive(Clone, Debug)]
pub struct Run {
    /// A member of each kind.
    pub kinds: Vec<Kind>,
    /// How many of them, the last ones, are observers.
    pub observers: usize,
    /// Of the load.
    pub seed: u64,
    /// What members are replaced by, in the scenario that replaces them.
    pub other: Kind,
}

impl Run {
    /// All vote, and each is replaced by its own kind.
    pub fn new(kinds: &[Kind], seed: u64) -> Self {
        Self { kinds: kinds.to_vec(), observers: 0, seed, other: kinds[0].clone() }
    }

    fn start(&self, settings: Settings) -> Ensemble {
        Ensemble::start(&self.kinds, settings.observers(self.observers))
    }
}

/// A scenario by its name.
pub type Scenario = (&'static str, fn(&Run));

/// All there are, the quick ones first.
pub const ALL: [Scenario; 7] = [
    ("smoke", smoke::run),
    ("short-absence", absence::short),
    ("long-absence", absence::long),
    ("stopped", absence::stopped),
    ("uncommitted", uncommitted::run),
    ("undecided", uncommitted::undecided),
    ("rolling", rolling::run),
];

/// The scenario of this name.
pub fn named(name: &str) -> Option<fn(&Run)> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, run)| *run)
}

/// Clients per member of a load.
const CLIENTS_PER_MEMBER: usize = 2;

/// Writes in the end, with all members there.
const WRITES_TOGETHER: usize = 50;

fn load(ensemble: &Ensemble, run: &Run) -> Load {
    Load::start(&ensemble.addresses(), CLIENTS_PER_MEMBER * ensemble.size(), run.seed)
}

/// Ends a load and judges: all members hold the same, it is what the history says, and closed sessions leave nothing.
fn conclude(ensemble: &mut Ensemble, load: Load, promises: Promises) {
    ensemble.wait_until_all_serve();
    let mismatches = ensemble.digest_mismatch_counts();
    load.wait_for_writes(WRITES_TOGETHER);
    let (history, sessions) = load.finish();
    let end = ensemble.check_equal();
    assert_eq!(ensemble.digest_mismatch_counts(), mismatches, "digests while all serve\n{}", ensemble.logs());
    let has_java = (0..ensemble.size()).any(|index| ensemble.member(index).kind().is_java());
    assert_kept(&history, &end, Promises { sync_is_strict: promises.sync_is_strict && !has_java });
    sessions.close(ensemble.address(0));
    let left = ensemble.check_equal().owned();
    assert!(left.is_empty(), "sessions were closed and left {left:?}");
    let (calls, writes) = (history.calls.len(), history.acknowledged());
    println!("  {calls} calls, {writes} writes acknowledged, {} nodes in the end", end.nodes.len());
}

/// Tells how long a step took: these runs are long, and whoever watches wants to know where they are.
struct Step(&'static str, Instant);

impl Step {
    fn begin(what: &'static str) -> Self {
        Self(what, Instant::now())
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        println!("  {}: {:.1} s", self.0, self.1.elapsed().as_secs_f64());
    }
}
