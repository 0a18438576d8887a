//! `check-config`: what a server would run with, and where each value comes from; or what is wrong.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::defines::Defines;
use super::exit::Exit;
use crate::config::{self, Effective, LoadError, Loaded};

/// Shows the effective settings of a configuration with their origin, and exits with 0, or with 2 if any is wrong.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  ringkeeper check-config -Djute.maxbuffer=4194304 /etc/zookeeper/zoo.cfg
      lists one setting per line, as in: tickTime=2000  (/etc/zookeeper/zoo.cfg:1)")]
pub(super) struct Arguments {
    #[command(flatten)]
    defines: Defines,
    /// The configuration.
    #[arg(value_name = "zoo.cfg")]
    path: PathBuf,
}

/// Prints settings to standard output, warnings and errors to standard error.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    arguments.defines.warnings().for_each(|warning| eprintln!("warning: {warning}"));
    let (warnings, outcome) = match check(arguments) {
        Ok(Loaded { warnings, effective, .. }) => (warnings, Ok(effective)),
        Err(LoadError { problems, warnings }) => (warnings, Err(problems)),
    };
    warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    match outcome {
        Ok(effective) => match print(&effective) {
            Ok(()) => Exit::Success.into(),
            // Whoever read it has seen enough, as `head` does; the configuration is right nonetheless.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Success.into(),
            Err(error) => {
                eprintln!("error: cannot write the settings: {error}");
                Exit::Unexpected.into()
            }
        },
        Err(problems) => {
            problems.iter().for_each(|problem| eprintln!("error: {problem}"));
            Exit::Configuration.into()
        }
    }
}

fn check(arguments: &Arguments) -> Result<Loaded, LoadError> {
    let loaded = config::load(Some(&arguments.path), &arguments.defines.properties())?;
    super::server::plan(&loaded)?;
    Ok(loaded)
}

fn print(effective: &[Effective]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for setting in effective {
        writeln!(out, "{setting}")?;
    }
    out.flush()
}
