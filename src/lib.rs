//! Ringkeeper, a coordination server: what stands behind the binary.

pub mod command;
pub mod config;
pub mod server;

/// For the server, its tools and whatever measures them. Fuzz targets bring one that keeps a budget; unit tests have that
/// of the library that their helpers run.
#[cfg(not(any(fuzzing, test)))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
