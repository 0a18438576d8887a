//! Memory in proportion to the input. A parser that reserves what a length merely claims, or keeps many times what it
//! read, would pass unseen on a machine with memory to spare; here it aborts.
//!
//! Invariant  outside `run` there is no limit: the fuzzer's own bookkeeping must not count.

use std::alloc::System;

use cap::Cap;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// How much a parser may have allocated at any one time.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// For every byte of input.
    per_byte: usize,
    /// For any input: tables, messages.
    fixed_bytes: usize,
}

/// Records from a peer. The dearest byte is one of a vector of empty strings: 4 bytes of it are 24 in memory, twice while
/// the vector grows, in two copies when the target decodes its own encoding again.
pub const WIRE: Budget = Budget { per_byte: 64, fixed_bytes: 16 << 10 };

/// Files of ours. The parsers copy nothing; their fuzz functions copy the input, to put its checksums right, and list seqs.
pub const STORED: Budget = Budget { per_byte: 6, fixed_bytes: 64 << 10 };

/// Text from the administrator: a line of two bytes may earn a whole sentence.
pub const TEXT: Budget = Budget { per_byte: 1024, fixed_bytes: 256 << 10 };

/// Gives `bytes` to `parser`, which aborts when it allocates beyond `budget`.
pub fn run(budget: Budget, bytes: &[u8], parser: impl FnOnce(&[u8])) {
    let limit = ALLOCATOR.allocated() + budget.per_byte * bytes.len() + budget.fixed_bytes;
    ALLOCATOR.set_limit(limit).expect("the limit is above what is allocated");
    parser(bytes);
    ALLOCATOR.set_limit(usize::MAX).expect("no limit is above everything");
}
