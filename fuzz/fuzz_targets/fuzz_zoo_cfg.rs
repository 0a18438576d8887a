//! A zoo.cfg.

#![no_main]

use fuzz_support::budget;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| budget::run(budget::TEXT, bytes, ringkeeper::config::fuzz_zoo_cfg));
