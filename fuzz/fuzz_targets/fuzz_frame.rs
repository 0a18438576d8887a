//! Lengths and frames, as a connection splits them.

#![no_main]

use fuzz_support::budget;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| budget::run(budget::WIRE, bytes, net::frame::fuzz_frame));
