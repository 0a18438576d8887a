//! A few seeds of every profile; `bin/sim.rs` plays as many as one likes.

use super::trial::EnsembleTrial;
use crate::sim::faults::Profile;
use crate::sim::run::{Range, Trial, hunt};
use crate::sim::story::Detail;

#[test]
fn an_ensemble_keeps_its_promises_whatever_goes_wrong() {
    for profile in Profile::ALL {
        let summary = hunt(&EnsembleTrial { profile }, &Range { first: 1, seeds: 20, jobs: 2 });
        if let Some(failure) = summary.failure {
            panic!("{} seed {}: {}\n{}", profile.name(), failure.seed, failure.message, failure.plan);
        }
    }
}

#[test]
fn a_seed_is_a_run() {
    let trial = EnsembleTrial { profile: Profile::Chaos };
    for seed in 1..4 {
        let play = |detail| trial.play(seed, trial.plan(seed), detail).story;
        let (one, other) = (play(Detail::Nothing), play(Detail::Messages));
        assert_eq!((one.events(), one.fingerprint()), (other.events(), other.fingerprint()));
    }
}
