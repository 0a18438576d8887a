//! Cores, placement and what the host offers. Knows no server.
//!
//! - [`topology`]: the CPUs allowed to us, with their cores, caches and NUMA nodes.
//! - [`placement`]: the pure function from (machine, wishes) to a plan: which executor holds which roles, and where.
//! - [`layout`]: which roles the configuration wants together, as text.
//! - [`host`]: what the host lacks for the server to run, and the command that mends it.

pub mod host;
pub mod layout;
pub mod placement;
mod sys;
pub mod topology;

pub use layout::{Group, Layout, LayoutParseError};
pub use placement::{Executor, Pin, Plan, PlanError, Role, Wishes, plan};
pub use topology::{Cpu, Machine};
