//! The records of one batch.

#![no_main]

use fuzz_support::{budget, mend};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|bytes: &[u8]| budget::run(budget::STORED, bytes, storage::segment::fuzz_record));

fuzz_mutator!(|bytes: &mut [u8], len: usize, len_max: usize, seed: u32| {
    let len = fuzzer_mutate(bytes, len, len_max);
    if mend::wanted(seed) {
        mend::records(&mut bytes[..len]);
    }
    len
});
