//! The log: lines on standard error, as text for people or as JSON for collectors.
//!
//! Flow       `--log-level`/`RINGKEEPER_LOG` and `--log-format`/`RINGKEEPER_LOG_FORMAT` -> [`init`], once per process.
//! Invariant  standard output carries answers of commands only, so that a log line never breaks a script.
//! Absent     files and rotation: whoever starts the process owns its standard error.

use std::fmt;
use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// Time, level, place, message, fields; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Why the log could not be set up.
#[derive(Debug)]
#[non_exhaustive]
pub enum InitError {
    /// The level is neither a level nor a list of `target=level`.
    Level {
        /// What was given.
        found: String,
    },
    /// The process has a log already.
    Twice,
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InitError::Level { found } => write!(
                f,
                "log level: found {found:?}, allowed: error, warn, info, debug, trace, off, or parts as in \
                 info,ringkeeper::server=debug"
            ),
            InitError::Twice => f.write_str("the log is set up already"),
        }
    }
}

impl std::error::Error for InitError {}

/// Sends the process's log to standard error, from `level` on: a level, or `info,module=debug` for some modules.
///
/// # Errors
/// When `level` is not understood, or on a second call.
pub fn init(level: &str, format: Format) -> Result<(), InitError> {
    let builder = tracing_subscriber::fmt().with_env_filter(filter(level)?).with_writer(std::io::stderr);
    let done = match format {
        Format::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        Format::Json => builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
    };
    done.map_err(|_| InitError::Twice)
}

/// A bare word must be a level: the filter's own grammar would take `inof` for a module of that name.
fn filter(level: &str) -> Result<EnvFilter, InitError> {
    let refused = || InitError::Level { found: level.to_owned() };
    for part in level.split(',') {
        let directive_level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        if directive_level.trim().is_empty() || directive_level.parse::<LevelFilter>().is_err() {
            return Err(refused());
        }
    }
    EnvFilter::builder().parse(level).map_err(|_| refused())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_parts_are_understood() {
        for level in ["info", "WARN", "off", "trace", "info,ringkeeper::server=debug"] {
            assert!(filter(level).is_ok(), "{level}");
        }
    }

    #[test]
    fn a_misspelt_level_is_refused_instead_of_silencing_everything() {
        for level in ["", "inof", "info,", "ringkeeper=loud", "verbose"] {
            let error = filter(level).unwrap_err();
            assert!(error.to_string().contains("allowed: error, warn"), "{error}");
        }
    }
}
