//! A quota's limits or its statistics, which are the data of a znode that anybody may have written.

#![no_main]

use fuzz_support::budget;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| budget::run(budget::WIRE, bytes, tree::quota::fuzz_quota_text));
