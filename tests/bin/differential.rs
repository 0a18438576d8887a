//! Replays seeds of the differential test: `differential [--against PATH] [--seed N] [--seeds N] [--ops N] [--jobs N]`.
//!
//! Without `--against` a real ZooKeeper is compared with itself, which must never diverge: that is how the test is
//! tested. The suite's own run is `differential.rs` there; this is for one seed at a time, and for long nights.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use support::differential::report::describe;
use support::differential::{Range, hunt};
use support::server::Kind;

fn main() -> ExitCode {
    let mut range = Range { first: 1, seeds: 1, operations: 500, jobs: 2 };
    let mut kind = Kind::ZooKeeper395;
    let mut arguments = env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().unwrap_or_default();
        let number = || value.parse::<u64>();
        match (name.as_str(), number()) {
            ("--against", _) => kind = Kind::Ringkeeper(PathBuf::from(&value)),
            ("--seed", Ok(number)) => range.first = number,
            ("--seeds", Ok(number)) => range.seeds = number,
            ("--ops", Ok(number)) => range.operations = number as usize,
            ("--jobs", Ok(number)) => range.jobs = number as usize,
            _ => {
                eprintln!("unknown: {name} {value}; see the head of tests/bin/differential.rs");
                return ExitCode::from(2);
            }
        }
    }
    let mut failed = false;
    hunt(&range, &kind, &|seed, found| match found {
        None => println!("seed {seed}: no divergence"),
        Some(divergence) => println!("{}", describe(&divergence, ["ZooKeeper 3.9.5", "the other"])),
    })
    .into_iter()
    .for_each(|_| failed = true);
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
