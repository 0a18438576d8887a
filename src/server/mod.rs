//! The shell: the one place where time, disk, sockets and the pure crates meet.

pub mod logging;
