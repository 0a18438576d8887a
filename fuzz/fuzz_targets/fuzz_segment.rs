//! A segment of the log: header, batches, and the search for proof of loss.

#![no_main]

use fuzz_support::budget;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| budget::run(budget::STORED, bytes, storage::segment::fuzz_segment));
