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

/// Too rare for a test that runs every time: among crashes it takes some twenty thousand seeds. From four places twenty
/// thousand seeds found it twice (18571, 2727) and missed it twice; `sim --bug ForgetRound` looks for it.
const RARE: [Bug; 1] = [Bug::ForgetRound];

/// Seeds from the first within which each bug must be found among crashes. Behind it: seeds that it took when this was
/// written, from the first, and from three others.
const FOUND_WITHIN: [(Bug, u64); 10] = [
    (Bug::AckBeforeDisk, 3_000),    // 82; 80, 568, 734
    (Bug::ForgetPromise, 10_000),   // 818; 2109, 5248, 1440
    (Bug::ForgetAccepted, 100),     // 11; 5, 3, 22
    (Bug::MinorityQuorum, 100),     // 11; 5, 16, 15
    (Bug::IgnoreAcceptedValue, 50), // 2; 3, 1, 2
    (Bug::LowestAccepted, 1_000),   // 262; 33, 121, 21
    (Bug::AcceptBelowPromise, 200), // 26; 10, 12, 26
    (Bug::PromiseBelow, 500),       // 106; 41, 17, 14
    (Bug::CountAnyBallot, 20_000),  // 4789; more than 20000, 1804, 8405
    (Bug::ReuseBallot, 3_000),      // 108; 454, 651, 474
];

#[test]
fn every_bug_is_found() {
    let tried: Vec<Bug> = FOUND_WITHIN.iter().map(|(bug, _)| *bug).chain(RARE).collect();
    assert_eq!(tried, Bug::ALL);
    let mut missed = Vec::new();
    for (bug, seeds) in FOUND_WITHIN {
        let trial = PaxosTrial { profile: Profile::Crashes, bug };
        let summary = hunt(&trial, &Range { first: 1, seeds, jobs: 2 });
        match summary.failure {
            Some(failure) => {
                let (seed, count) = (failure.seed, failure.plan.faults.len());
                // Each breaks agreement. One that only blocks would be another bug than its name says.
                assert!(failure.message.starts_with("agreement"), "{bug:?}, seed {seed}: {}", failure.message);
                println!("{bug:?}: seed {seed}, {count} faults suffice: {}", failure.message);
            }
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
