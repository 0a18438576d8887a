//! Whole ensembles in one thread, from a seed: what happens in a run depends on the seed and the code, on nothing else.
//!
//! ```text
//! schedule.rs  virtual time           network.rs  wires, cuts, datagrams     stream.rs  connections over them
//! time.rs      drift, set calendars   disk.rs     a disk that takes time     tasks.rs   futures that await it
//! faults.rs    what goes wrong, when  world.rs    nodes, and all of this     story.rs   the timeline, the fingerprint
//! run.rs       many seeds, shrinking  check.rs    what clients must never see
//! paxos.rs     single-decree Paxos, the first protocol that lives here
//! ensemble/    the real servers, under simulated clients
//! ```

pub mod check;
pub mod disk;
pub mod ensemble;
pub mod faults;
pub mod network;
pub mod paxos;
pub mod run;
pub mod schedule;
pub mod story;
pub mod stream;
pub mod tasks;
pub mod time;
pub mod world;
