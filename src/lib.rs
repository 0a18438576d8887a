//! The server.

pub mod command;
pub mod config;
pub mod server;
