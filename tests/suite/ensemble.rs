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

#[test]
fn members_outlive_what_happens_to_them() {
    let members = words("RINGKEEPER_MEMBERS", "zookeeper395,zookeeper395,zookeeper395");
    let kinds = Kind::parse_list(&members, &ringkeeper()).unwrap_or_else(|problem| panic!("{problem}"));
    let mut run = Run::new(&kinds, number("RINGKEEPER_SEED", 1));
    if let Ok(other) = env::var("RINGKEEPER_OTHER") {
        run.other = Kind::parse(&other, ringkeeper).unwrap_or_else(|problem| panic!("{problem}"));
    }
    for name in words("RINGKEEPER_SCENARIOS", "smoke").split(',') {
        println!("{name}, {members}, seed {}", run.seed);
        scenario::named(name).unwrap_or_else(|| panic!("no scenario is called {name}"))(&run);
    }
}
