//! What can go wrong in what only a member of an ensemble does: reading back, truncating, taking over a state, remembering
//! its epochs.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::{PrepareError, SyncError, write_io};

/// Why the log can't be read back from there.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// What was asked for is below what the log still has: the reader needs a snapshot.
    Purged {
        /// Everything above this seq can still be read.
        oldest: u64,
    },
    /// The log was truncated since this cursor was made: begin again, where the log ends now.
    Truncated,
    /// A sync failed: what of this log is durable is unknown, it is closed.
    Closed,
    /// Bytes that were durable are not what was written.
    Damaged {
        /// The damaged file.
        path: PathBuf,
        /// Where the damage begins, in bytes.
        offset: u64,
        /// What is wrong there.
        reason: &'static str,
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

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Purged { oldest } => write!(f, "the log has only what is above {oldest:#x}"),
            ReadError::Truncated => f.write_str("the log was truncated meanwhile"),
            ReadError::Closed => f.write_str("a sync of the log has failed before"),
            ReadError::Damaged { path, offset, reason } => {
                write!(f, "the log is damaged: {} at byte {offset}: {reason}", path.display())
            }
            ReadError::Io { doing, path, source } => write_io(f, doing, path, source),
        }
    }
}

impl Error for ReadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ReadError::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Why the log was not truncated.
#[derive(Debug)]
#[non_exhaustive]
pub enum TruncateError {
    /// The place to cut at can't be found, as the log begins above it or is damaged there. Nothing was changed: the whole
    /// state must come from elsewhere.
    Unreachable(ReadError),
    /// There is no room for the segment to go on in. Nothing was changed: try again later.
    Prepare(PrepareError),
    /// A write failed: the log is closed for ever, and is the old one or the truncated one when it is opened again.
    Sync(SyncError),
}

impl fmt::Display for TruncateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TruncateError::Unreachable(_) => "the log can't be truncated there, nothing was changed",
            TruncateError::Prepare(_) => "the log can't be truncated now, nothing was changed",
            TruncateError::Sync(_) => "the log may have been truncated or not",
        })
    }
}

impl Error for TruncateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            TruncateError::Unreachable(cause) => Some(cause),
            TruncateError::Prepare(cause) => Some(cause),
            TruncateError::Sync(cause) => Some(cause),
        }
    }
}

impl From<ReadError> for TruncateError {
    fn from(error: ReadError) -> TruncateError {
        TruncateError::Unreachable(error)
    }
}

impl From<PrepareError> for TruncateError {
    fn from(error: PrepareError) -> TruncateError {
        TruncateError::Prepare(error)
    }
}

impl From<SyncError> for TruncateError {
    fn from(error: SyncError) -> TruncateError {
        TruncateError::Sync(error)
    }
}

/// Why a generation could not be made or removed. May be tried again.
#[derive(Debug)]
pub struct GenerationError {
    /// What was tried.
    pub doing: &'static str,
    /// On which file or directory.
    pub path: PathBuf,
    /// What the kernel said.
    pub source: io::Error,
}

impl GenerationError {
    pub(crate) fn at(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> GenerationError {
        move |source| GenerationError { doing, path: path.to_owned(), source }
    }
}

impl fmt::Display for GenerationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_io(f, self.doing, &self.path, &self.source)
    }
}

impl Error for GenerationError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// Why a register can't be opened, or why what was to be saved isn't durable.
#[derive(Debug)]
#[non_exhaustive]
pub enum RegisterError {
    /// The file is there, and neither slot holds: what was promised is unknown. Such a member must not vote.
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// Written by a version that this one doesn't know.
    Version {
        /// The file.
        path: PathBuf,
        /// The format version in it.
        version: u32,
    },
    /// The kernel refused. After a save that failed, the register is closed for ever.
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A save failed before, or was dropped in the middle: which value is durable is unknown until it is opened again.
    Closed,
}

impl RegisterError {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RegisterError {
        move |source| RegisterError::Io { doing, path: path.to_owned(), source }
    }
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegisterError::Damaged { path } => write!(
                f,
                "both slots of {} are damaged: what this server has promised is unknown. Restore the file from a copy, or \
                 let the server join as a new one, with empty directories",
                path.display()
            ),
            RegisterError::Version { path, version } => {
                write!(f, "{} has format version {version}, this program knows 1: start a newer one", path.display())
            }
            RegisterError::Io { doing, path, source } => write_io(f, doing, path, source),
            RegisterError::Closed => f.write_str("saving has failed before"),
        }
    }
}

impl Error for RegisterError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            RegisterError::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
