//! Every setting that ZooKeeper 3.9 knows, and ours: name, where it may be given, type with bounds, default, and
//! whether it has an effect here.
//!
//! Invariant  names are unique; a default obeys its own bounds; `keys/` holds the table, one file per family.
//! Absent     meanings: what an effective setting does stands at its field in [`Config`](super::Config).

mod access;
mod admin;
mod basic;
mod client;
mod ensemble;
pub(super) mod own;
mod storage;
mod tls;

/// One setting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// As in zoo.cfg. A name that ends in `*` stands for every name that begins so.
    pub name: &'static str,
    /// Where it may be given.
    pub scope: Scope,
    /// What its value may be.
    pub kind: Kind,
    /// The value when nobody gives one; `None` when that is nothing, or follows from other settings.
    pub default: Option<&'static str>,
    /// What it does here.
    pub state: State,
}

/// Where a setting may be given. A zoo.cfg beats a `-D`: ZooKeeper writes unknown keys of the file over the system
/// properties that `-D` made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// zoo.cfg, where ZooKeeper knows it by name. `-Dname` works too, which is ours.
    File,
    /// zoo.cfg, or `-Dzookeeper.name`.
    Property,
    /// As `Property`, and `-Dname` when neither is given.
    PropertyOrBare,
    /// `-Dname` only; in zoo.cfg it has no effect, in ZooKeeper as here.
    Jvm,
    /// Ours, `ringkeeper.…`: zoo.cfg or `-Dname`.
    Own,
}

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// A whole number.
    Int {
        /// Least.
        min: i64,
        /// Greatest.
        max: i64,
        /// Unit or meaning of special values, for messages; may be empty.
        unit: &'static str,
    },
    /// A whole number that is raised to `floor`, with a warning, as ZooKeeper does.
    Raised {
        /// Least that is used.
        floor: i64,
        /// Greatest.
        max: i64,
        /// Unit.
        unit: &'static str,
    },
    /// A number with a fraction.
    Decimal {
        /// Least.
        min: f64,
        /// Greatest.
        max: f64,
    },
    /// `true` or `false`, in any case.
    Bool,
    /// One of these words, in any case if `true`.
    Word(&'static [&'static str], bool),
    /// `auto`, or a whole number.
    IntOrAuto {
        /// Greatest.
        max: i64,
        /// Unit.
        unit: &'static str,
    },
    /// A layout of roles.
    Layout,
    /// A path, not empty.
    Path,
    /// Any text.
    Text,
    /// Any text, never shown.
    Secret,
}

/// What a setting does here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It works.
    Effective,
    /// It works among the members of an ensemble. A standalone server has no use for it, which nobody needs to be told:
    /// ZooKeeper's sample file has some of these.
    Members,
    /// Accepted, no effect yet: what it belongs to is not built.
    NotYet(&'static str),
    /// Accepted, and will never have an effect: what it tunes does not exist here.
    Never(&'static str),
}

const TLS: &str = "TLS is not supported yet";
const SASL: &str = "SASL is not supported yet";
const SYNC: &str = "how learners are brought up to date cannot be tuned yet";

const I32_MAX: i64 = i32::MAX as i64;

const fn key(name: &'static str, scope: Scope, kind: Kind, default: &'static str) -> Key {
    Key { name, scope, kind, default: Some(default), state: State::Effective }
}

const fn unset(name: &'static str, scope: Scope, kind: Kind) -> Key {
    Key { name, scope, kind, default: None, state: State::Effective }
}

const fn int(min: i64, max: i64, unit: &'static str) -> Kind {
    Kind::Int { min, max, unit }
}

/// A count or a time that ZooKeeper keeps in 31 bits.
const fn natural(unit: &'static str) -> Kind {
    int(0, I32_MAX, unit)
}

const fn positive(unit: &'static str) -> Kind {
    int(1, I32_MAX, unit)
}

/// Minus one is "off" or "default".
const fn from_minus_one(unit: &'static str) -> Kind {
    int(-1, I32_MAX, unit)
}

impl Key {
    const fn among_members(self) -> Key {
        Key { state: State::Members, ..self }
    }

    const fn not_yet(self, reason: &'static str) -> Key {
        Key { state: State::NotYet(reason), ..self }
    }

    const fn never(self, reason: &'static str) -> Key {
        Key { state: State::Never(reason), ..self }
    }

    /// Whether the name stands for a family of names.
    pub fn is_family(&self) -> bool {
        self.name.ends_with('*')
    }

    /// Whether this is the entry for `name`.
    fn matches(&self, name: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(prefix) => name.len() > prefix.len() && name.starts_with(prefix),
            None => self.name == name,
        }
    }
}

/// Every setting, in the order in which `check-config` shows them.
pub(super) fn all() -> impl Iterator<Item = &'static Key> + Clone {
    let tables: [&'static [Key]; 8] =
        [basic::KEYS, client::KEYS, storage::KEYS, access::KEYS, own::KEYS, ensemble::KEYS, tls::KEYS, admin::KEYS];
    tables.into_iter().flatten()
}

/// The entry for `name`, a whole name before a family.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    all().find(|key| key.name == name).or_else(|| all().find(|key| key.matches(name)))
}

/// Whether `name` is one of a family, and not a key of its own that begins alike (`server.realm`).
pub(super) fn is_family(name: &str) -> bool {
    find(name).is_some_and(Key::is_family)
}

/// The setting that `name` may be a misspelling of: the headings of the administrator's guide that ZooKeeper itself
/// never reads, a difference in case, or up to two letters.
pub(super) fn resembling(name: &str) -> Option<&'static str> {
    if let Some((_, meant)) = HEADINGS.iter().find(|(heading, _)| *heading == name) {
        return Some(meant);
    }
    // Short names are two letters away from anything.
    let distance_max = if name.len() < 5 { 0 } else { (name.len() / 4).min(2) };
    let lower = name.to_ascii_lowercase();
    let candidates = all().filter(|key| !key.is_family());
    let near = candidates.map(|key| (distance(&lower, &key.name.to_ascii_lowercase()), key.name));
    near.filter(|(distance, _)| *distance <= distance_max).min().map(|(_, name)| name)
}

/// Names that the administrator's guide prints as headings, and what ZooKeeper reads instead.
const HEADINGS: &[(&str, &str)] = &[
    ("connectionMaxTokens", "connection_throttle_tokens"),
    ("connectionTokenFillTime", "connection_throttle_fill_time"),
    ("connectionTokenFillCount", "connection_throttle_fill_count"),
    ("connectionFreezeTime", "connection_throttle_freeze_time"),
    ("connectionDropIncrease", "connection_throttle_drop_increase"),
    ("connectionDropDecrease", "connection_throttle_drop_decrease"),
    ("connectionDecreaseRatio", "connection_throttle_decrease_ratio"),
    ("requestThrottleLimit", "request_throttle_max_requests"),
    ("requestThrottleStallTime", "request_throttle_stall_time"),
    ("requestThrottleDropStale", "request_throttle_drop_stale"),
    ("requestStaleLatencyCheck", "request_stale_latency_check"),
    ("requestStaleConnectionCheck", "request_stale_connection_check"),
    ("throttledOpWaitTime", "throttled_op_wait_time"),
    ("outstandingHandshake.limit", "netty.server.outstandingHandshake.limit"),
    ("advancedFlowControlEnabled", "netty.advancedFlowControl.enabled"),
    ("maxConcurrentSnapSyncs", "leader.maxConcurrentSnapSyncs"),
    ("maxConcurrentDiffSyncs", "leader.maxConcurrentDiffSyncs"),
    ("maxTimeToWaitForEpoch", "leader.maxTimeToWaitForEpoch"),
];

/// Edits (insert, delete, replace, swap of neighbours) that lead from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len().abs_diff(b.len()) > 2 {
        return usize::MAX; // More than anybody asks for; saves the table.
    }
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = match (i, j) {
                (0, _) => j,
                (_, 0) => i,
                _ => {
                    let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                    let shifted = rows[i - 1][j].min(rows[i][j - 1]) + 1;
                    let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                    let swapped = if swapped { rows[i - 2][j - 2] + 1 } else { usize::MAX };
                    replaced.min(shifted).min(swapped)
                }
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let mut seen = HashSet::new();
        for key in all() {
            assert!(seen.insert(key.name), "{} stands twice", key.name);
        }
    }

    #[test]
    fn every_name_finds_itself() {
        for key in all().filter(|key| !key.is_family()) {
            assert_eq!(find(key.name).unwrap().name, key.name);
        }
        assert_eq!(find("server.17").unwrap().name, "server.*");
        assert_eq!(find("ssl.quorum.keyStore.type").unwrap().name, "ssl.quorum.keyStore.type");
        assert!(find("server.").is_none());
        assert!(find("tracetime").is_none());
    }

    #[test]
    fn misspellings_find_what_was_meant() {
        let cases = [
            ("ticktime", "tickTime"),
            ("tickTme", "tickTime"),
            ("clinetPort", "clientPort"),
            ("maxClientConns", "maxClientCnxns"),
            ("autopurge.purgeIntervall", "autopurge.purgeInterval"),
            ("4lw.command.whitelist", "4lw.commands.whitelist"),
            ("connectionMaxTokens", "connection_throttle_tokens"),
            ("datadir", "dataDir"),
        ];
        for (written, meant) in cases {
            assert_eq!(resembling(written), Some(meant), "{written}");
        }
        for written in ["my.own.plugin.setting", "port", "foo", "tick", "colour"] {
            assert_eq!(resembling(written), None, "{written}");
        }
    }

    #[test]
    fn distance_counts_edits() {
        for (a, b, edits) in [("abc", "abc", 0), ("abc", "acb", 1), ("abc", "ab", 1), ("abc", "xbcd", 2), ("", "ab", 2)]
        {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
    }
}
