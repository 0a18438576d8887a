//! A snapshot file. Its function is `storage::snapshot::fuzz_snapshot`; the codec has one of the same name.

#![no_main]

use fuzz_support::{budget, mend};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|bytes: &[u8]| budget::run(budget::STORED, bytes, storage::snapshot::fuzz_snapshot));

fuzz_mutator!(|bytes: &mut [u8], len: usize, len_max: usize, seed: u32| {
    let len = fuzzer_mutate(bytes, len, len_max);
    if mend::wanted(seed) {
        mend::snapshot_file(&mut bytes[..len]);
    }
    len
});
