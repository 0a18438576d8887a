//! Where a setting came from, and what is said about it: problems that stop the start, warnings that do not.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A line of a file.
    File {
        /// The file.
        path: Arc<PathBuf>,
        /// The line, from 1.
        line: u32,
    },
    /// A `-D` of the command line; the text is the property's whole name.
    Define(Box<str>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Define(name) => write!(f, "-D{name}"),
        }
    }
}

/// Something about one setting: where it stands, its key, what is to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Where the setting stands; `Default` when it is missing.
    pub origin: Origin,
    /// The setting's name.
    pub key: Box<str>,
    /// What was found and what is allowed, or what will not happen and why.
    pub text: String,
}

impl Remark {
    /// A remark on `key`.
    pub fn new(origin: &Origin, key: &str, text: impl Into<String>) -> Remark {
        Remark { origin: origin.clone(), key: key.into(), text: text.into() }
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Default => write!(f, "{}: {}", self.key, self.text),
            // The property's name says the key already.
            Origin::Define(_) => write!(f, "{}: {}", self.origin, self.text),
            Origin::File { .. } => write!(f, "{}: {}: {}", self.origin, self.key, self.text),
        }
    }
}
