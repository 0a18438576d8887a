//! `repair`: cuts a damaged log where the damage begins. The server never does this by itself, because what is cut may
//! have been acknowledged.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use glommio::{LocalExecutorBuilder, Placement};

use super::defines::Defines;
use super::exit::Exit;
use crate::config::{self, LoadError, Loaded};
use crate::server::recovery;
use crate::server::start::RunError;

/// Cuts a damaged log where the damage begins, and keeps what it cuts beside the log. Transactions behind the damage are
/// lost to the server, acknowledged ones too: restore from another copy if there is one. No server may run.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  ringkeeper repair /etc/zookeeper/zoo.cfg
      says what was wrong, where the cut is, and which files hold what was cut")]
pub(super) struct Arguments {
    #[command(flatten)]
    defines: Defines,
    /// The configuration of the server whose log is damaged.
    #[arg(value_name = "zoo.cfg")]
    path: Option<PathBuf>,
}

/// Repairs; exits with 0 when it has, 1 when there was nothing to repair or nothing that would help.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    arguments.defines.warnings().for_each(|warning| tracing::warn!("{warning}"));
    let Loaded { config, .. } = match config::load(arguments.path.as_deref(), &arguments.defines.properties()) {
        Ok(loaded) => loaded,
        Err(LoadError { problems, .. }) => {
            problems.iter().for_each(|problem| tracing::error!("{problem}"));
            return Exit::Configuration.into();
        }
    };
    let executor = match LocalExecutorBuilder::new(Placement::Unbound).make() {
        Ok(executor) => executor,
        Err(error) => {
            tracing::error!("the io_uring runtime did not start: {error}");
            return Exit::Unexpected.into();
        }
    };
    match executor.run(recovery::repair(&config)) {
        Ok(repaired) => {
            println!("damage     {}", repaired.damage);
            println!("log ends   at zxid 0x{:x} now", repaired.last_seq);
            repaired.saved.iter().for_each(|path| println!("cut off    {}", path.display()));
            Exit::Success.into()
        }
        Err(error) => {
            tracing::error!("{error}");
            match error {
                RunError::DataDirectory(_) => Exit::DataDirectory.into(),
                _ => Exit::Unexpected.into(),
            }
        }
    }
}
