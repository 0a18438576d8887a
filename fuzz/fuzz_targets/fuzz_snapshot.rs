//! The body of a ZooKeeper snapshot, whole and in pieces.

#![no_main]

use fuzz_support::budget;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| budget::run(budget::WIRE, bytes, ringkeeper::server::codec::snapshot::fuzz_snapshot));
