//! An entry of a ZooKeeper log or proposal.

#![no_main]

use fuzz_support::budget;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| budget::run(budget::WIRE, bytes, ringkeeper::server::codec::txn::fuzz_txn));
