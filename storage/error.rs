//! What can go wrong, one enum per operation, and what the operator can do about it.

mod ensemble;

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub use ensemble::{GenerationError, ReadError, RegisterError, TruncateError};

/// Why the log did not open.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The kernel refused. `doing` is a verb: "map", "sync".
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Bytes that were durable are damaged: an acknowledged record may be lost here.
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Where the damage begins, in bytes.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// A segment that must exist doesn't.
    Missing {
        /// Its name.
        path: PathBuf,
    },
    /// The oldest segment begins after the snapshot: the records between are nowhere.
    Gap {
        /// The log's directory.
        dir: PathBuf,
        /// The state to start from has everything up to this seq.
        from_seq: u64,
        /// The log only has what is above this seq.
        log_after_seq: u64,
    },
    /// There is a snapshot but no log at all.
    NoLog {
        /// The log's directory.
        dir: PathBuf,
        /// Seq of the snapshot.
        from_seq: u64,
    },
    /// Written by a version that this one doesn't know.
    Version {
        /// The file.
        path: PathBuf,
        /// The format version in it.
        version: u32,
    },
    /// The caller could not take a record that is whole.
    Refused {
        /// The file it is in.
        path: PathBuf,
        /// Its seq.
        seq: u64,
        /// What the caller said.
        source: VisitError,
    },
    /// The options contradict each other.
    Options {
        /// Which, and how.
        reason: &'static str,
    },
}

/// What the caller says of a record that it can't take.
pub type VisitError = Box<dyn Error + Send + Sync>;

impl OpenError {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
        move |source| OpenError::Io { doing, path: path.to_owned(), source }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Io { doing, path, source } => write_io(f, doing, path, source),
            OpenError::Corrupt { path, offset, reason } => write!(
                f,
                "the log is damaged: {} at byte {offset}: {reason}. What follows was acknowledged and may be lost: restore \
                 the file from a copy, or repair the log, which cuts it there and keeps the rest beside it",
                path.display()
            ),
            OpenError::Missing { path } => write!(
                f,
                "the log lacks {}: restore the file from a copy, or repair the log, which ends it before that file",
                path.display()
            ),
            OpenError::Gap { dir, from_seq, log_after_seq } => write!(
                f,
                "the log in {} begins after {log_after_seq:#x}, the snapshot ends at {from_seq:#x}: what is between is \
                 lost. Restore the missing segments or a newer snapshot from a copy",
                dir.display()
            ),
            OpenError::NoLog { dir, from_seq } => write!(
                f,
                "there is a snapshot of {from_seq:#x} but no log in {}: is the log's directory mounted and right?",
                dir.display()
            ),
            OpenError::Version { path, version } => {
                write!(f, "{} has format version {version}, this program knows 1: start a newer one", path.display())
            }
            OpenError::Refused { path, seq, .. } => {
                write!(f, "record {seq:#x} in {} is whole but can't be understood", path.display())
            }
            OpenError::Options { reason } => f.write_str(reason),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            OpenError::Io { source, .. } => Some(source),
            OpenError::Refused { source, .. } => Some(source.as_ref()),
            _ => None,
        }
    }
}

/// Why a record was not taken. The record is not in the log, and nothing before it is harmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AppendError {
    /// The preallocated room is used up and the next segment isn't there: the disk is full, or slower than the writers.
    NoSpace,
    /// Too much waits for the disk already.
    Busy,
    /// Longer than a record may be.
    TooLong,
    /// A sync failed before: this log takes nothing any more.
    Failed,
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AppendError::NoSpace => "no room in the log: its next segment could not be allocated yet",
            AppendError::Busy => "too much waits to be written to the log",
            AppendError::TooLong => "the record is longer than a record may be",
            AppendError::Failed => "a sync of the log has failed before",
        })
    }
}

impl Error for AppendError {}

/// Why what was appended isn't durable, for ever: the log must be opened anew, by a new process.
///
/// The kernel reports a failed write-back once and then calls the pages clean, so a second sync would lie.
#[derive(Clone, Debug)]
pub struct SyncError {
    /// What was tried: "write", "sync".
    pub doing: &'static str,
    /// On which segment.
    pub path: PathBuf,
    /// What the kernel said, then.
    pub source: Rc<io::Error>,
}

impl fmt::Display for SyncError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_io(f, self.doing, &self.path, &self.source)?;
        f.write_str("; the log is closed, as trying again can't be trusted. Check the disk, then start again")
    }
}

impl Error for SyncError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.source.as_ref())
    }
}

/// Why the next segment isn't ready. Nothing is lost: try again later.
#[derive(Debug)]
#[non_exhaustive]
pub enum PrepareError {
    /// The disk or the quota is full.
    NoSpace {
        /// The directory that has no room.
        dir: PathBuf,
        /// Bytes that were asked for.
        wanted: u64,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused.
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl fmt::Display for PrepareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PrepareError::NoSpace { dir, wanted, .. } => write!(
                f,
                "no room for a log segment of {wanted} bytes in {}: free some, writing goes on by itself",
                dir.display()
            ),
            PrepareError::Io { doing, path, source } => write_io(f, doing, path, source),
        }
    }
}

impl Error for PrepareError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            PrepareError::NoSpace { source, .. } | PrepareError::Io { source, .. } => Some(source),
        }
    }
}

/// Why old files were not removed. They are in nobody's way: try again with the next snapshot.
#[derive(Debug)]
pub struct PurgeError {
    /// What was tried.
    pub doing: &'static str,
    /// On which file.
    pub path: PathBuf,
    /// What the kernel said.
    pub source: io::Error,
}

impl fmt::Display for PurgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_io(f, self.doing, &self.path, &self.source)
    }
}

impl Error for PurgeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// Why a repair did nothing, or stopped before it changed the log.
#[derive(Debug)]
#[non_exhaustive]
pub enum RepairError {
    /// The log opens: there is nothing to repair.
    Sound,
    /// Cutting can't help here; the cause says what can.
    Hopeless(OpenError),
    /// The kernel refused.
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl fmt::Display for RepairError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RepairError::Sound => f.write_str("the log is sound: nothing was changed"),
            RepairError::Hopeless(_) => f.write_str("the log can't be repaired by cutting it: nothing was changed"),
            RepairError::Io { doing, path, source } => write_io(f, doing, path, source),
        }
    }
}

impl Error for RepairError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            RepairError::Sound => None,
            RepairError::Hopeless(cause) => Some(cause),
            RepairError::Io { source, .. } => Some(source),
        }
    }
}

/// Why a snapshot was not written or read.
#[derive(Debug)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The disk or the quota is full: the snapshot is given up, the ones before stay. Try again later.
    NoSpace {
        /// The file that had no room.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused.
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file isn't what was written.
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where it is damaged, in bytes.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
    },
    /// Its bytes hold, but the caller can't make a state of them.
    Refused {
        /// The file.
        path: PathBuf,
        /// What the caller said.
        source: VisitError,
    },
    /// There are snapshots, and none can be read.
    NoneReadable {
        /// Their directory.
        dir: PathBuf,
        /// Why each can't, newest first. Never empty.
        causes: Vec<SnapshotError>,
    },
}

impl SnapshotError {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SnapshotError {
        move |source| match is_no_space(&source) {
            true => SnapshotError::NoSpace { path: path.to_owned(), source },
            false => SnapshotError::Io { doing, path: path.to_owned(), source },
        }
    }
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SnapshotError::NoSpace { path, .. } => {
                write!(f, "no room for the snapshot {}: free some, it is tried again", path.display())
            }
            SnapshotError::Io { doing, path, source } => write_io(f, doing, path, source),
            SnapshotError::Damaged { path, offset, reason } => {
                write!(f, "the snapshot {} is damaged at byte {offset}: {reason}", path.display())
            }
            SnapshotError::Refused { path, .. } => {
                write!(f, "the snapshot {} is whole but can't be understood", path.display())
            }
            SnapshotError::NoneReadable { dir, causes } => write!(
                f,
                "none of the {} snapshots in {} can be read: restore one from a copy",
                causes.len(),
                dir.display()
            ),
        }
    }
}

impl Error for SnapshotError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            SnapshotError::NoSpace { source, .. } | SnapshotError::Io { source, .. } => Some(source),
            SnapshotError::Refused { source, .. } => Some(source.as_ref()),
            SnapshotError::NoneReadable { causes, .. } => causes.first().map(|cause| cause as _),
            SnapshotError::Damaged { .. } => None,
        }
    }
}

/// Why the directory isn't ours.
#[derive(Debug)]
#[non_exhaustive]
pub enum LockError {
    /// Another process has it.
    Held {
        /// The lock file.
        path: PathBuf,
        /// The owner's process id, if it could be read.
        pid: Option<u32>,
    },
    /// The kernel refused.
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::Held { path, pid } => {
                write!(f, "{} is locked", path.display())?;
                match pid {
                    Some(pid) => write!(f, " by process {pid}")?,
                    None => f.write_str(" by another process")?,
                }
                f.write_str(": stop that server first, or give this one a directory of its own")
            }
            LockError::Io { doing, path, source } => write_io(f, doing, path, source),
        }
    }
}

impl Error for LockError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            LockError::Io { source, .. } => Some(source),
            LockError::Held { .. } => None,
        }
    }
}

/// `source` is printed here too, as this line is often all that an operator sees.
fn write_io(f: &mut fmt::Formatter<'_>, doing: &str, path: &Path, source: &io::Error) -> fmt::Result {
    write!(f, "can't {doing} {}: {source}", path.display())?;
    match source.kind() {
        io::ErrorKind::PermissionDenied => f.write_str(" (who owns it, and as whom does the server run?)"),
        io::ErrorKind::ReadOnlyFilesystem => f.write_str(" (was it remounted read-only after an error?)"),
        _ => Ok(()),
    }
}

/// Whether there may be room later.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
