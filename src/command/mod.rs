//! The command line: what may be written, and which neighbour does it.
//!
//! - `server` runs a server; `check_config` says what a server would run with; `repair` cuts a damaged log.
//!
//! Standard output carries answers, standard error the log and complaints.

mod check_config;
mod defines;
mod exit;
mod repair;
mod server;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::server::logging::{self, Format};

/// What the environment may say about the log, where no option does.
const LEVEL_VARIABLE: &str = "RINGKEEPER_LOG";
const FORMAT_VARIABLE: &str = "RINGKEEPER_LOG_FORMAT";
const LEVEL_DEFAULT: &str = "info";

const EXAMPLES: &str = "\
Examples:
  ringkeeper server
      serves on port 2181, with its data in ./ringkeeper-data
  ringkeeper server -Dzookeeper.snapCount=50000 /etc/zookeeper/zoo.cfg
      serves as an existing ZooKeeper configuration says
  ringkeeper check-config /etc/zookeeper/zoo.cfg
      shows every setting with its origin; exits 2 if one is wrong
  ringkeeper repair /etc/zookeeper/zoo.cfg
      cuts a damaged log where the damage begins, and keeps what it cuts";

/// A coordination server that ZooKeeper's clients cannot tell from ZooKeeper.
#[derive(Debug, Parser)]
#[command(name = "ringkeeper", version, after_help = EXAMPLES, disable_help_subcommand = true)]
struct Line {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: LogArguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    Server(server::Arguments),
    CheckConfig(check_config::Arguments),
    Repair(repair::Arguments),
}

#[derive(Debug, Args)]
struct LogArguments {
    /// Least level that is logged: error, warn, info, debug, trace or off; parts as in info,ringkeeper::server=debug.
    /// [environment: RINGKEEPER_LOG] [default: info]
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How a log line looks. [environment: RINGKEEPER_LOG_FORMAT] [default: text]
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<FormatName>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormatName {
    Text,
    Json,
}

impl LogArguments {
    /// Sets the log up; an option beats the environment, an empty variable is none.
    fn init(&self) -> Result<(), String> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let level = self.log_level.clone().or_else(|| variable(LEVEL_VARIABLE));
        let format = match (self.log_format, variable(FORMAT_VARIABLE)) {
            (Some(format), _) => format,
            (None, Some(text)) => FormatName::from_str(&text, true)
                .map_err(|_| format!("{FORMAT_VARIABLE}: found {text:?}; allowed: text, json"))?,
            (None, None) => FormatName::Text,
        };
        let format = match format {
            FormatName::Text => Format::Text,
            FormatName::Json => Format::Json,
        };
        logging::init(level.as_deref().unwrap_or(LEVEL_DEFAULT), format).map_err(|error| error.to_string())
    }
}

/// Does what the command line says, and returns the process's exit code.
pub fn run() -> ExitCode {
    // Wrong usage exits here with 2, which is ZooKeeper's code for it too; help and version with 0.
    let line = Line::parse();
    if let Err(complaint) = line.log.init() {
        eprintln!("error: {complaint}");
        return exit::Exit::Configuration.into();
    }
    match line.command {
        Command::Server(arguments) => server::run(&arguments),
        Command::CheckConfig(arguments) => check_config::run(&arguments),
        Command::Repair(arguments) => repair::run(&arguments),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Line::command().debug_assert();
    }

    #[test]
    fn every_command_s_help_has_an_example() {
        let mut line = Line::command();
        for name in ["server", "check-config", "repair"] {
            let help = line.find_subcommand_mut(name).unwrap().render_long_help().to_string();
            assert!(help.contains(&format!("\n  ringkeeper {name}")), "{help}");
        }
        assert!(line.render_help().to_string().contains(EXAMPLES));
    }

    #[test]
    fn log_options_stand_before_or_after_the_command() {
        for words in [["--log-level=debug", "server"], ["server", "--log-level=debug"]] {
            let line = Line::try_parse_from(["ringkeeper"].into_iter().chain(words)).unwrap();
            assert_eq!(line.log.log_level.as_deref(), Some("debug"));
        }
        assert!(Line::try_parse_from(["ringkeeper", "server", "--log-format=xml"]).is_err());
        let json = Line::try_parse_from(["ringkeeper", "server", "--log-format=json"]).unwrap();
        assert_eq!(json.log.log_format, Some(FormatName::Json));
    }
}
