//! Random sequences against Ringkeeper and a real ZooKeeper 3.9.5 at once: `support::differential` says how.
//!
//! `RINGKEEPER_SEEDS`, `RINGKEEPER_OPS`, `RINGKEEPER_SEED` (the first) and `RINGKEEPER_JOBS` make it longer; one seed
//! is replayed by `cargo run -p ringkeeper-tests --bin differential -- --against target/debug/ringkeeper --seed N`.

use support::differential::report::describe;
use support::differential::{Range, hunt};

use crate::{number, under_test};

#[test]
fn random_sequences_get_the_same_answers() {
    let range = Range {
        first: number("RINGKEEPER_SEED", 1),
        seeds: number("RINGKEEPER_SEEDS", 20),
        operations: usize::try_from(number("RINGKEEPER_OPS", 500)).expect("a count of requests fits"),
        jobs: usize::try_from(number("RINGKEEPER_JOBS", 2)).expect("a count of threads fits"),
    };
    let failed = hunt(&range, &under_test(), &|seed, found| match found {
        None => println!("seed {seed}: no divergence"),
        Some(divergence) => println!("{}", describe(&divergence, ["ZooKeeper 3.9.5", "the server under test"])),
    });
    assert!(failed.is_empty(), "seeds that diverge, each described above: {failed:?}");
}
