//! Plays many seeds, stops at the first that fails, and makes its plan as small as it gets.
//!
//! Flow       seeds -> `Trial::play`, several at once -> the lowest seed that fails -> faults left out one by one ->
//!            played once more for its story.
//! Invariant  what is found does not depend on how many play at once. A panic in a node is a failure like any other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::faults::Plan;
use super::story::{Detail, Story};

/// Plays while a plan is made smaller, at most.
const SHRINK_PLAYS_MAX: usize = 200;

/// What is played: a protocol with its nodes and its judge.
pub trait Trial: Sync {
    /// What goes wrong in the run of a seed.
    fn plan(&self, seed: u64) -> Plan;

    /// One run.
    fn play(&self, seed: u64, plan: Plan, detail: Detail) -> Outcome;
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// What must not be, if it was.
    pub verdict: Result<(), String>,
    /// What happened.
    pub story: Story,
}

/// Which seeds are played.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// The first; the others follow it.
    pub first: u64,
    /// How many.
    pub seeds: u64,
    /// Played at once.
    pub jobs: usize,
}

/// A seed that failed.
#[derive(Debug)]
pub struct Failure {
    /// Which.
    pub seed: u64,
    /// What must not be.
    pub message: String,
    /// The faults that it takes.
    pub plan: Plan,
    /// Faults that were left out.
    pub dropped: usize,
    /// The run with these faults, in full.
    pub story: Option<Story>,
}

/// What came of it.
#[derive(Debug)]
pub struct Summary {
    /// Seeds up to the failure, or all.
    pub played: u64,
    /// Events in all runs that were played.
    pub events: u64,
    /// The first failure.
    pub failure: Option<Failure>,
}

/// Plays seeds until one fails.
pub fn hunt(trial: &impl Trial, range: &Range) -> Summary {
    let next = AtomicU64::new(range.first);
    let lowest = AtomicU64::new(u64::MAX);
    let events = AtomicU64::new(0);
    let end = range.first + range.seeds;
    thread::scope(|scope| {
        for _ in 0..range.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || seed > lowest.load(Ordering::Relaxed) {
                        return;
                    }
                    let (verdict, story) = play(trial, seed, trial.plan(seed), Detail::Nothing);
                    events.fetch_add(story.map_or(0, |story| story.events()), Ordering::Relaxed);
                    if verdict.is_err() {
                        lowest.fetch_min(seed, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let failed = Some(lowest.into_inner()).filter(|&seed| seed != u64::MAX);
    Summary {
        played: failed.map_or(range.seeds, |seed| seed - range.first + 1),
        events: events.into_inner(),
        failure: failed.map(|seed| shrink(trial, seed)),
    }
}

/// A run whose panics are verdicts. The story of a run that panicked is lost.
fn play(trial: &impl Trial, seed: u64, plan: Plan, detail: Detail) -> (Result<(), String>, Option<Story>) {
    match catch_unwind(AssertUnwindSafe(|| trial.play(seed, plan, detail))) {
        Ok(outcome) => (outcome.verdict, Some(outcome.story)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            (Err(format!("panicked: {text}")), None)
        }
    }
}

/// Leaves out what faults it can, as long as the seed still fails, be it differently.
fn shrink(trial: &impl Trial, seed: u64) -> Failure {
    let mut plan = trial.plan(seed);
    let planned = plan.faults.len();
    let mut plays = 0;
    let mut index = plan.faults.len();
    while index > 0 && plays < SHRINK_PLAYS_MAX {
        index -= 1;
        plays += 1;
        let smaller = plan.without(index);
        if play(trial, seed, smaller.clone(), Detail::Nothing).0.is_err() {
            plan = smaller;
            // What was needed beside it may not be any more.
            index = plan.faults.len();
        }
    }
    let (verdict, story) = play(trial, seed, plan.clone(), Detail::Messages);
    let message = verdict.expect_err("what fails, fails again: a run depends on its seed only");
    Failure { seed, message, dropped: planned - plan.faults.len(), plan, story }
}
