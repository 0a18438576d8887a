//! The records of one batch.

#![no_main]

use fuzz_support::budget;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| budget::run(budget::STORED, bytes, storage::segment::fuzz_record));
