//! Exit codes, with ZooKeeper's meanings, since supervisors know those.

use std::process::ExitCode;

/// Why the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// It ended as it was told to.
    Success,
    /// Something that should not have happened, or that the host lacks.
    Unexpected,
    /// An argument or a setting is wrong.
    Configuration,
    /// A data directory cannot be used.
    DataDirectory,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Success => 0,
            Exit::Unexpected => 1,
            Exit::Configuration => 2,
            Exit::DataDirectory => 3,
        })
    }
}
