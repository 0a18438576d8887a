//! What was set where: `-D` and zoo.cfg merged into one value per key, each with its origin, checked one by one.
//!
//! Flow       defines, then the file over them -> look-up in the key table -> type and bounds -> `Settings`.
//! Invariant  every value in `Settings` is of its key's type and in its bounds; the typed getters cannot fail.
//! Absent     checks between keys, which stand in `build`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::keys::own::PREFIX as OWN_PREFIX;
use super::keys::{self, Key, Kind, Scope, State};
use super::load::Effective;
use super::origin::{Origin, Remark};
use super::properties::Property;
use super::value::{self, Value};

/// What ZooKeeper puts before a key to make it a system property.
const SYSTEM_PREFIX: &str = "zookeeper.";

/// Unknown names that are looked at for misspellings. Each is compared with every known one, and the longest zoo.cfg has
/// room for a hundred thousand: with no bound, seconds of a start. Nobody has this many properties of their own.
pub(super) const COMPARED_MAX: usize = 1000;

/// A `-Dname=value` of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Define {
    /// The property's whole name.
    pub name: String,
    /// Its value; empty for a bare `-Dname`, as in Java.
    pub value: String,
}

impl Define {
    /// From what stands behind `-D`.
    pub fn parse(text: &str) -> Define {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        Define { name: name.to_owned(), value: value.to_owned() }
    }
}

/// A value that somebody set.
#[derive(Clone, Debug)]
struct Setting {
    text: String,
    value: Value,
    origin: Origin,
}

/// Every value that was set, by the name in zoo.cfg.
#[derive(Debug, Default)]
pub(super) struct Settings {
    set: BTreeMap<String, Setting>,
    /// Values that follow from others, to be shown in place of what was given.
    resolved: BTreeMap<&'static str, String>,
    /// What counts as a setting and is none.
    pub noted: Vec<Effective>,
    /// Unknown names so far, at most one more than [`COMPARED_MAX`].
    unknown: usize,
    /// What stops the start.
    pub problems: Vec<Remark>,
    /// What does not.
    pub warnings: Vec<Remark>,
}

/// A value on its way to its key.
struct Given {
    name: String,
    text: String,
    origin: Origin,
}

impl Settings {
    /// Merges what was given; problems and warnings are collected, not returned one by one.
    pub fn merge(defines: &[Define], file: Option<(&Path, &[Property])>) -> Settings {
        let mut settings = Settings::default();
        let mut given = BTreeMap::new();
        // A property without prefix counts only where the one with the prefix is missing.
        let (prefixed, bare): (Vec<_>, Vec<_>) =
            defines.iter().partition(|define| define.name.starts_with(SYSTEM_PREFIX));
        for define in bare.into_iter().chain(prefixed) {
            if let Some((key, found)) = settings.take_define(define) {
                given.insert(found.name.clone(), (key, found));
            }
        }
        let (path, properties) = file.unwrap_or((Path::new(""), &[]));
        let path = Arc::new(path.to_path_buf());
        for property in properties {
            if let Some((key, found)) = settings.take_property(&path, property) {
                settings.warn_of_shadowed(given.insert(found.name.clone(), (key, found)), property);
            }
        }
        for (key, found) in given.into_values() {
            settings.check(key, found);
        }
        settings
    }

    /// A later line of one file over an earlier one is the format's rule; over a `-D` it is worth a word.
    fn warn_of_shadowed(&mut self, replaced: Option<(&'static Key, Given)>, by: &Property) {
        let Some((_, Given { name, text, origin: origin @ Origin::Define(_) })) = replaced else { return };
        if text != by.value.trim() {
            let line = by.line;
            self.warnings.push(Remark::new(
                &origin,
                &name,
                format!("has no effect: line {line} of the file sets it too"),
            ));
        }
    }

    fn take_define(&mut self, define: &Define) -> Option<(&'static Key, Given)> {
        let whole = define.name.as_str();
        let origin = Origin::Define(whole.into());
        let (name, prefixed) = match whole.strip_prefix(SYSTEM_PREFIX) {
            Some(name) => (name, true),
            None => (whole, false),
        };
        let key = keys::find(name);
        let wrong_form = match (key.map(|key| key.scope), prefixed) {
            (Some(Scope::Property | Scope::PropertyOrBare), true)
            | (Some(Scope::File | Scope::PropertyOrBare | Scope::Jvm | Scope::Own), false) => {
                let given = Given { name: name.to_owned(), text: define.value.trim().to_owned(), origin };
                return key.map(|key| (key, given));
            }
            (Some(Scope::File), true) => format!("has no effect: {name} is read from zoo.cfg, or as -D{name}"),
            (Some(Scope::Jvm | Scope::Own), true) => format!("has no effect: write -D{name}"),
            (Some(Scope::Property), false) => format!("has no effect: write -D{SYSTEM_PREFIX}{name}"),
            (None, _) => {
                self.take_unknown(name, &origin, prefixed);
                return None;
            }
        };
        self.warnings.push(Remark::new(&origin, name, wrong_form));
        None
    }

    fn take_property(&mut self, path: &Arc<PathBuf>, property: &Property) -> Option<(&'static Key, Given)> {
        let origin = Origin::File { path: path.clone(), line: property.line };
        let name = property.key.trim();
        match keys::find(name) {
            Some(Key { scope: Scope::Jvm, .. }) => {
                let text = format!("has no effect in a file, as in ZooKeeper: start with -D{name}={}", property.value);
                self.warnings.push(Remark::new(&origin, name, text));
                None
            }
            Some(key) => {
                let given = Given { name: name.to_owned(), text: property.value.trim().to_owned(), origin };
                Some((key, given))
            }
            None => {
                self.take_unknown(name, &origin, true);
                None
            }
        }
    }

    /// A name that the table does not have. In a file and behind `zookeeper.` it is somebody's own property, unless it
    /// looks like a misspelling; a bare `-D` is most likely the JVM's. Names with our prefix are ours to refuse.
    fn take_unknown(&mut self, name: &str, origin: &Origin, of_zookeeper: bool) {
        let meant = self.meant_by(name, origin);
        if name.starts_with(OWN_PREFIX) {
            let hint = meant.map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
            self.problems.push(Remark::new(origin, name, format!("there is no such setting{hint}")));
            return;
        }
        let unprefixed = name.strip_prefix(SYSTEM_PREFIX).filter(|rest| keys::find(rest).is_some());
        if let (Some(rest), true) = (unprefixed, of_zookeeper) {
            let text = format!("has no effect: ZooKeeper adds the prefix itself; did you mean {rest}?");
            self.warnings.push(Remark::new(origin, name, text));
        } else if let Some(meant) = meant {
            let meant_key = keys::find(meant).expect("resembling() answers from the table");
            if of_zookeeper || matches!(meant_key.scope, Scope::Jvm | Scope::PropertyOrBare) {
                let text = format!("is read by nothing; did you mean {meant}?");
                self.warnings.push(Remark::new(origin, name, text));
            }
        }
    }

    /// The setting that an unknown name may be a misspelling of; beyond the bound nobody looks, and that is said once.
    fn meant_by(&mut self, name: &str, origin: &Origin) -> Option<&'static str> {
        if self.unknown > COMPARED_MAX {
            return None;
        }
        self.unknown += 1;
        if self.unknown <= COMPARED_MAX {
            return keys::resembling(name);
        }
        let text = format!("is unknown, as {COMPARED_MAX} names before it: no more are looked at for misspellings");
        self.warnings.push(Remark::new(origin, name, text));
        None
    }

    fn check(&mut self, key: &'static Key, given: Given) {
        let Given { name, text, origin } = given;
        let shown = if key.kind == Kind::Secret { "<hidden>" } else { text.as_str() };
        let value = match value::parse(key, &text) {
            Ok(Value::Raised { found, used }) => {
                let remark = format!("found {found}, {used} is the least and is used");
                self.warnings.push(Remark::new(&origin, &name, remark));
                Value::Int(used)
            }
            Ok(value) => value,
            Err(allowed) => {
                let remark = format!("found {shown:?}; allowed: {allowed}");
                self.problems.push(Remark::new(&origin, &name, remark));
                return;
            }
        };
        match key.state {
            State::Effective | State::Members => {}
            State::NotYet(reason) => {
                self.warnings.push(Remark::new(&origin, &name, format!("has no effect yet: {reason}")));
            }
            State::Never(reason) => {
                self.warnings.push(Remark::new(&origin, &name, format!("has no effect here: {reason}")));
            }
        }
        self.set.insert(name, Setting { text, value, origin });
    }

    /// Sets a line of the server list that stands in a file of its own.
    pub fn adopt(&mut self, name: &str, text: &str, origin: Origin) {
        let setting = Setting { text: text.to_owned(), value: Value::Text(text.into()), origin };
        self.set.insert(name.to_owned(), setting);
    }

    /// Something that counts as a setting and is none: it is shown among them.
    pub fn note(&mut self, name: &'static str, value: impl std::fmt::Display, origin: Origin) {
        self.noted.push(Effective { key: name.to_owned(), value: value.to_string(), origin });
    }

    /// Whether anybody set `name`, rightly.
    pub fn is_set(&self, name: &str) -> bool {
        self.set.contains_key(name)
    }

    /// Where `name` was set.
    pub fn origin(&self, name: &str) -> Origin {
        self.set.get(name).map_or(Origin::Default, |setting| setting.origin.clone())
    }

    /// What was set under names that begin with `prefix`: rest of the name, text, origin; in the order of the names.
    pub fn family<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str, &'a Origin)> + 'a {
        let from = self.set.range(prefix.to_owned()..);
        let named = from.map_while(move |(name, setting)| Some((name.strip_prefix(prefix)?, setting)));
        named.map(|(rest, setting)| (rest, setting.text.as_str(), &setting.origin))
    }

    /// Value of a key that may be nothing.
    fn value(&self, name: &str) -> Option<Value> {
        if let Some(setting) = self.set.get(name) {
            return Some(setting.value.clone());
        }
        let key = keys::find(name).expect("the caller names a key of the table");
        let default = key.default?;
        Some(value::parse(key, default).expect("every default obeys its bounds, which a test sees to"))
    }

    /// Value of a whole number that may be nothing.
    pub fn int_if_set(&self, name: &str) -> Option<i64> {
        match self.value(name)? {
            Value::Int(number) => Some(number),
            Value::Text(text) if &*text == "auto" => None,
            other => unreachable!("{name} is a whole number, not {other:?}"),
        }
    }

    /// Value of a whole number with a default.
    pub fn int(&self, name: &str) -> i64 {
        self.int_if_set(name).expect("the key has a default")
    }

    /// Value of a whole number that its bounds keep within 32 bits unsigned.
    pub fn u32(&self, name: &str) -> u32 {
        u32::try_from(self.int(name)).expect("the key's bounds are within 32 bits")
    }

    /// As `u32`, with zero and less for nothing.
    pub fn u32_over_zero(&self, name: &str) -> Option<u32> {
        let number = self.int(name);
        (number > 0).then(|| u32::try_from(number).expect("the key's bounds are within 32 bits"))
    }

    /// Value of a number with a fraction.
    pub fn decimal(&self, name: &str) -> f64 {
        match self.value(name) {
            Some(Value::Decimal(number)) => number,
            other => unreachable!("{name} is a number with a default, not {other:?}"),
        }
    }

    /// Value of a truth value.
    pub fn bool(&self, name: &str) -> bool {
        match self.value(name) {
            Some(Value::Bool(truth)) => truth,
            other => unreachable!("{name} is a truth value with a default, not {other:?}"),
        }
    }

    /// Text of a key that may be nothing.
    pub fn text_if_set(&self, name: &str) -> Option<Box<str>> {
        match self.value(name)? {
            Value::Text(text) => Some(text),
            other => unreachable!("{name} is a text, not {other:?}"),
        }
    }

    /// Text of a key with a default.
    pub fn text(&self, name: &str) -> Box<str> {
        self.text_if_set(name).expect("the key has a default")
    }

    /// The text as it was given, or the default's.
    pub fn shown(&self, key: &Key, name: &str) -> Option<String> {
        if let Some(resolved) = self.resolved.get(name) {
            return Some(resolved.clone());
        }
        let text = self.set.get(name).map(|setting| match setting.value {
            Value::Int(number) => number.to_string(),
            _ => setting.text.clone(),
        });
        let text = text.or_else(|| key.default.map(str::to_owned))?;
        Some(if key.kind == Kind::Secret { "<hidden>".to_owned() } else { text })
    }

    /// From here on `name` is shown as `value`, which its own text does not say (a default that follows from others).
    pub fn resolve(&mut self, name: &'static str, value: impl std::fmt::Display) {
        self.resolved.insert(name, value.to_string());
    }

    /// Adds a problem with `name`, which stands where it was set.
    pub fn problem(&mut self, name: &str, text: impl Into<String>) {
        self.problems.push(Remark::new(&self.origin(name), name, text));
    }

    /// Adds a warning about `name`, which stands where it was set.
    pub fn warning(&mut self, name: &str, text: impl Into<String>) {
        self.warnings.push(Remark::new(&self.origin(name), name, text));
    }
}
