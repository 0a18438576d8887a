//! Ensembles of real processes: one scenario in every run, any of them with any members on demand.
//!
//! `RINGKEEPER_MEMBERS` (`zookeeper395,zookeeper395,zookeeper395`) names the members, of `ringkeeper`, `zookeeper395` and
//! `zookeeper380`; `RINGKEEPER_SCENARIOS` (`smoke`) what happens to them; `RINGKEEPER_OTHER` (the first member's kind)
//! what `rolling` replaces them by; `RINGKEEPER_SEED` (1) the load. The bin `ensemble` does the same without a compile
//! of everything.

use std::env;
use std::path::{Path, PathBuf};

use support::scenario::{self, Run};
use support::server::Kind;

use crate::number;

fn words(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// Ours, unless `RINGKEEPER_SERVER` names another build of it.
fn ringkeeper() -> PathBuf {
    let ours = env!("CARGO_BIN_EXE_ringkeeper");
    env::var("RINGKEEPER_SERVER").ok().filter(|name| Path::new(name).exists()).map_or(ours.into(), PathBuf::from)
}

fn play(members: &str, other: Option<&str>, scenarios: &str) {
    let parse = |name: &str| Kind::parse(name, ringkeeper).unwrap_or_else(|problem| panic!("{problem}"));
    let kinds = Kind::parse_list(members, &ringkeeper()).unwrap_or_else(|problem| panic!("{problem}"));
    let mut run = Run::new(&kinds, number("RINGKEEPER_SEED", 1));
    if let Some(other) = other {
        run.other = parse(other);
    }
    for name in scenarios.split(',') {
        println!("{name}, {members}, seed {}", run.seed);
        scenario::named(name).unwrap_or_else(|| panic!("no scenario is called {name}"))(&run);
    }
}

/// What `RINGKEEPER_MEMBERS` says; by default three of the original, by which the scenarios themselves are tested.
#[test]
fn members_outlive_what_happens_to_them() {
    let members = words("RINGKEEPER_MEMBERS", "zookeeper395,zookeeper395,zookeeper395");
    let other = env::var("RINGKEEPER_OTHER").ok();
    play(&members, other.as_deref(), &words("RINGKEEPER_SCENARIOS", "smoke"));
}

#[test]
fn three_of_ours_outlive_what_happens_to_them() {
    play("ringkeeper,ringkeeper,ringkeeper", None, "smoke,short-absence,uncommitted,undecided");
}

#[test]
fn five_of_ours_outlive_their_leader() {
    play("ringkeeper,ringkeeper,ringkeeper,ringkeeper,ringkeeper", None, "smoke");
}

#[test]
fn ours_stand_beside_the_original() {
    play("ringkeeper,zookeeper395,zookeeper395", None, "smoke,short-absence");
    play("ringkeeper,ringkeeper,zookeeper380", None, "smoke,uncommitted");
}

/// A live ensemble of the original is replaced by ours, a member at a time, and back, under load.
#[test]
fn an_ensemble_moves_over_and_back() {
    play("zookeeper395,zookeeper395,zookeeper395", Some("ringkeeper"), "rolling");
}
