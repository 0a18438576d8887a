//! Ringkeeper, a coordination server: what stands behind the binary.

pub mod command;
pub mod config;
pub mod server;

/// For the server, its tools and whatever measures them. Fuzz targets bring one that keeps a budget.
#[cfg(not(fuzzing))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
