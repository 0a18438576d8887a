//! The only unsafe code of this crate: maps of files.

pub(crate) mod map;
