//! The keeper over a disk in memory.
