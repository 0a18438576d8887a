//! A connection of the election port: the initial message and notifications, and a notification alone.

#![no_main]

use fuzz_support::budget;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| budget::run(budget::WIRE, bytes, net::election::fuzz_election));
