//! Both halves of the handshake, with the readOnly byte and without.

#![no_main]

use fuzz_support::budget;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| budget::run(budget::WIRE, bytes, net::record::fuzz_connect));
