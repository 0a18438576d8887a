//! Ringkeeper, a coordination server: what stands behind the binary.

pub mod command;
pub mod config;
pub mod server;
