//! The crate's only unsafe code, one file per facility of the kernel.

pub(crate) mod ring;
