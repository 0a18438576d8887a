//! Paxos holds under every profile; each bug that can be put in is found.

use super::trial::PaxosTrial;
use super::*;
use crate::sim::faults::Profile;
use crate::sim::run::{Range, Trial, hunt};
use crate::sim::story::Detail;

#[test]
fn members_agree_whatever_goes_wrong() {
    for profile in Profile::ALL {
        let trial = PaxosTrial { profile, bug: Bug::None };
        let summary = hunt(&trial, &Range { first: 1, seeds: 60, jobs: 2 });
        if let Some(failure) = summary.failure {
            panic!("{} seed {}: {}\n{}", profile.name(), failure.seed, failure.message, failure.plan);
        }
    }
}

#[test]
fn a_run_is_the_same_every_time() {
    for profile in Profile::ALL {
        let trial = PaxosTrial { profile, bug: Bug::None };
        for seed in 1..20 {
            let play = |detail| trial.play(seed, trial.plan(seed), detail).story;
            let (silent, told) = (play(Detail::Nothing), play(Detail::Messages));
            assert_eq!(silent.fingerprint(), told.fingerprint(), "{} {seed}", profile.name());
            assert_eq!(silent.events(), told.events());
        }
    }
}

/// Seeds within which each bug must be found in chaos; about four times as many as it took when this was written.
const FOUND_WITHIN: [(Bug, u64); 10] = [
    (Bug::AckBeforeDisk, 4000),
    (Bug::ForgetPromise, 4000),
    (Bug::ForgetAccepted, 4000),
    (Bug::MinorityQuorum, 4000),
    (Bug::IgnoreAcceptedValue, 4000),
    (Bug::LowestAccepted, 4000),
    (Bug::AcceptBelowPromise, 4000),
    (Bug::PromiseBelow, 4000),
    (Bug::CountAnyBallot, 4000),
    (Bug::ReuseBallot, 4000),
];

#[test]
fn every_bug_is_found() {
    assert_eq!(FOUND_WITHIN.map(|(bug, _)| bug), Bug::ALL);
    let mut missed = Vec::new();
    for (bug, seeds) in FOUND_WITHIN {
        let trial = PaxosTrial { profile: Profile::Chaos, bug };
        let summary = hunt(&trial, &Range { first: 1, seeds, jobs: 2 });
        match summary.failure {
            Some(failure) => {
                let (seed, count) = (failure.seed, failure.plan.faults.len());
                println!("{bug:?}: seed {seed}, {count} faults suffice: {}", failure.message);
            }
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
