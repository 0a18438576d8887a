//! Durable records keyed by an increasing sequence number, and snapshots of what they add up to.
//!
//! ```text
//! log.rs       append (memory) -> sync (one batch, one write) -> durable      prepare.rs  the next segment, ahead of use
//!   read.rs    cursors over what is durable    truncate.rs  the end of the log taken back
//! record.rs    batches and records as bytes                                   segment.rs  headers, names, the scan
//! recover.rs   what a directory of segments means: a decision table           repair.rs   cut at a damage, when asked to
//! snapshot/    chunked, checksummed, renamed into place, the newest readable one
//! register.rs  a few bytes in two slots      generation.rs  one whole state in the place of another
//! disk.rs      the seam;  os.rs io_uring through glommio;  mem/ a disk that tears, loses and refuses
//! lock.rs      one server per directory                                       error.rs    one enum per operation
//! ```
//!
//! Payloads are opaque: this crate has never heard of a proposal or a znode. `DESIGN.md` has the bytes and crash cases.

pub mod disk;
pub mod error;
pub mod generation;
pub mod lock;
pub mod log;
pub mod mem;
pub mod os;
mod prepare;
pub mod record;
pub mod recover;
pub mod register;
pub mod repair;
pub mod segment;
pub mod snapshot;
mod sys;

pub use disk::{Disk, DiskFile, Strategy};
pub use error::{
    AppendError, GenerationError, LockError, OpenError, PrepareError, PurgeError, ReadError, RegisterError,
    RepairError, SnapshotError, SyncError, TruncateError,
};
pub use generation::{generation_dir, prepare_generation, remove_generation};
pub use lock::DirLock;
pub use log::{Located, Log, LogCursor, LogOptions, Truncated};
pub use mem::MemDisk;
pub use os::OsDisk;
pub use recover::{Cut, Exam, LogReader, Recovered};
pub use register::Register;
pub use repair::{Repaired, repair};
pub use snapshot::{LoadError, Loaded, SnapshotReader, SnapshotWriter, Snapshots};
