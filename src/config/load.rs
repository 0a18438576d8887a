//! From a path and `-D`s to a configuration, with everything that is to be said about it.

use std::error::Error;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::origin::{Origin, Remark};
use super::settings::{Define, Settings};
use super::{Config, build, keys, members, properties};

/// Longest zoo.cfg that is read, bytes; a thousand servers need a tenth of it.
const FILE_MAX_BYTES: u64 = 1 << 20;

/// A configuration, and what was found on the way to it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What an operator should know: settings without effect, likely misspellings, values that were raised.
    pub warnings: Vec<Remark>,
    /// Every setting that has an effect, with its value and its origin; what `check-config` prints.
    pub effective: Vec<Effective>,
}

/// One setting that has an effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// Its name in zoo.cfg.
    pub key: String,
    /// Its value; `<hidden>` for a secret.
    pub value: String,
    /// Where the value came from.
    pub origin: Origin,
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}  ({})", self.key, self.value, self.origin)
    }
}

/// Why there is no configuration: everything that is wrong, not only the first.
#[derive(Clone, Debug)]
pub struct LoadError {
    /// What is wrong, in the order of the files; not empty.
    pub problems: Vec<Remark>,
    /// What would have been warned of.
    pub warnings: Vec<Remark>,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl Error for LoadError {}

/// Reads `file`, if there is one, under the `-D`s of the command line.
///
/// # Errors
/// When the file cannot be read, or anything in it or in `defines` is wrong.
pub fn load(file: Option<&Path>, defines: &[Define]) -> Result<Loaded, LoadError> {
    let properties = match file {
        Some(path) => Some(read(path)?),
        None => None,
    };
    let mut settings = Settings::merge(defines, file.zip(properties.as_deref()));
    let config = build::build(&mut settings, file);
    let effective = effective(&settings, config.membership.is_some());
    let mut warnings = settings.warnings;
    warnings.sort_by_key(|warning| place(&warning.origin));
    let mut problems = settings.problems;
    if problems.is_empty() {
        return Ok(Loaded { config, warnings, effective });
    }
    problems.sort_by_key(|problem| place(&problem.origin));
    Err(LoadError { problems, warnings })
}

/// Reads anything as a zoo.cfg, up to where names would be resolved and other files read; for the fuzzer, which looks for
/// panics.
pub fn fuzz_zoo_cfg(bytes: &[u8]) {
    let Ok(properties) = properties::parse(bytes) else { return };
    assert!(properties.len() <= bytes.len(), "a property takes a byte at least");
    assert!(properties.is_sorted_by_key(|property| property.line), "properties come in the file's order");
    let settings = Settings::merge(&[], Some((Path::new("zoo.cfg"), &properties)));
    for (name, text, origin) in settings.family("server.") {
        let _ = members::parse(name, text, origin);
    }
    let shown = effective(&settings, true);
    assert!(shown.iter().all(|setting| keys::find(&setting.key).is_some()), "only known settings have an effect");
}

/// Lines in their order, then the command line, then what is missing.
fn place(origin: &Origin) -> u64 {
    match origin {
        Origin::File { line, .. } => u64::from(*line),
        Origin::Define(_) => u64::MAX - 1,
        Origin::Default => u64::MAX,
    }
}

fn read(path: &Path) -> Result<Vec<properties::Property>, LoadError> {
    let failed = |text: String| {
        let problem = Remark::new(&Origin::Default, &path.display().to_string(), text);
        LoadError { problems: vec![problem], warnings: Vec::new() }
    };
    let length = fs::metadata(path).map(|found| found.len()).unwrap_or(0);
    if length > FILE_MAX_BYTES {
        return Err(failed(format!("found {length} bytes; allowed: a file of at most {FILE_MAX_BYTES}")));
    }
    let bytes = fs::read(path).map_err(|error| failed(format!("cannot be read: {error}")))?;
    properties::parse(&bytes).map_err(|error| {
        let origin = Origin::File { path: Arc::new(path.to_owned()), line: error.line };
        let problem = Remark::new(&origin, "syntax", error.to_string());
        LoadError { problems: vec![problem], warnings: Vec::new() }
    })
}

/// What has an effect, on a member of an ensemble or on a standalone server.
fn effective(settings: &Settings, is_member: bool) -> Vec<Effective> {
    let mut shown = if is_member { settings.noted.clone() } else { Vec::new() };
    let has_effect = |key: &&keys::Key| match key.state {
        keys::State::Effective => true,
        keys::State::Members => is_member,
        keys::State::NotYet(_) | keys::State::Never(_) => false,
    };
    for key in keys::all().filter(has_effect) {
        let names: Vec<String> = match key.name.strip_suffix('*') {
            Some(prefix) => settings.family(prefix).map(|(rest, _, _)| format!("{prefix}{rest}")).collect(),
            None => vec![key.name.to_owned()],
        };
        for name in names.into_iter().filter(|name| keys::find(name).is_some_and(|found| found.name == key.name)) {
            if let Some(value) = settings.shown(key, &name) {
                let origin = settings.origin(&name);
                shown.push(Effective { key: name, value, origin });
            }
        }
    }
    shown
}

#[cfg(test)]
#[path = "load/tests.rs"]
mod tests;
