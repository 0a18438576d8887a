//! The text of an ensemble's configuration, as peers send it.

#![no_main]

use fuzz_support::budget;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| budget::run(budget::WIRE, bytes, zab::config::fuzz_config_text));
