//! Cores, placement and what the host offers. Knows no server.
//!
//! - [`topology`]: the CPUs allowed to us, with their cores, caches and NUMA nodes.
//! - [`placement`]: the pure function from (machine, wishes) to a plan: which executor holds which roles, and where.
//! - [`host`]: what the host lacks for the server to run, and the command that mends it.

pub mod host;
pub mod placement;
mod sys;
pub mod topology;

pub use placement::{Executor, Layout, LayoutParseError, Pin, Plan, PlanError, Role, Wishes, plan};
pub use topology::{Cpu, Machine};
