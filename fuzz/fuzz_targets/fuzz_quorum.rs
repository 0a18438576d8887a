//! Packets of the quorum port, whole and in pieces.

#![no_main]

use fuzz_support::budget;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| budget::run(budget::WIRE, bytes, net::quorum::fuzz_quorum));
