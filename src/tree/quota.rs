//! Quotas: limits and usage as text in two nodes under /zookeeper/quota, and the bookkeeping that keeps usage right.
//!
//! Flow       apply: limits node comes or goes -> the set of covered paths; stats node comes -> recount; any other
//!            create, delete, setData -> the deepest covering stats node's text is adjusted in place. Prep: hard limits.
//! Invariant  a path is covered iff its limits node exists; the root never is. A stats node's stat never changes here.
//! Absent     ZooKeeper's crash on text that does not parse: such limits are no limits, such usage is zero.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use hashbrown::HashSet;

use crate::code::Code;
use crate::hash::NumberHash;
use crate::tree::Tree;
use crate::znode::NONE;

/// Where quotas live.
pub const ROOT: &str = "/zookeeper/quota";
/// Name of the node with the limits.
pub const LIMITS: &str = "zookeeper_limits";
/// Name of the node with the usage.
pub const STATS: &str = "zookeeper_stats";

const COUNT: &str = "count";
const BYTES: &str = "bytes";
const COUNT_HARD: &str = "countHardLimit";
const BYTES_HARD: &str = "byteHardLimit";

/// The text of either node: key=value pairs, of which four keys mean something and all are kept. A map, since a client may
/// write a text with as many keys as a frame holds, and it is read again at every write that the quota covers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct QuotaText<'a> {
    pairs: BTreeMap<&'a str, i64>,
}

impl<'a> QuotaText<'a> {
    /// Reads it as Java's `StatsTrack` does; `None` where that throws.
    pub fn parse(text: &'a [u8]) -> Option<QuotaText<'a>> {
        let text = core::str::from_utf8(text).ok()?;
        let mut parsed = QuotaText::default();
        let mut pairs = text.split([',', ';']);
        // Separators count as one in a run; what stands before a leading one is an empty pair, which has no value.
        if text.starts_with([',', ';']) && !text.trim_start_matches([',', ';']).is_empty() {
            return None;
        }
        pairs.try_for_each(|pair| {
            if pair.is_empty() {
                return Some(());
            }
            let mut parts = pair.trim_end_matches('=').split('=');
            let (key, value) = (parts.next()?, parts.next()?);
            parsed.set(key, if value.is_empty() { -1 } else { value.parse().ok()? });
            Some(())
        })?;
        Some(parsed)
    }

    fn value(&self, key: &str) -> i64 {
        self.pairs.get(key).copied().unwrap_or(-1)
    }

    fn set(&mut self, key: &'a str, value: i64) {
        self.pairs.insert(key, value);
    }

    /// Nodes: used or allowed (soft); -1 for no limit.
    pub fn count(&self) -> i64 {
        self.value(COUNT)
    }

    /// Bytes: used or allowed (soft); -1 for no limit.
    pub fn bytes(&self) -> i64 {
        self.value(BYTES)
    }

    /// The hard limit of nodes, -1 for none.
    pub fn count_hard_limit(&self) -> i64 {
        self.value(COUNT_HARD)
    }

    /// The hard limit of bytes, -1 for none.
    pub fn byte_hard_limit(&self) -> i64 {
        self.value(BYTES_HARD)
    }

    /// As Java writes it: count and bytes first, then an odd "=" for old parsers and the other keys in order.
    pub fn to_text(&self) -> String {
        let mut out = format!("count={},bytes={}", self.count(), self.bytes());
        let others = self.pairs.iter().filter(|(key, _)| **key != COUNT && **key != BYTES);
        for (at, (key, value)) in others.enumerate() {
            let separator = if at == 0 { "=;" } else { ";" };
            write!(out, "{separator}{key}={value}").expect("a String takes everything");
        }
        out
    }
}

/// For the fuzzer: text that parses means the same after it was written.
pub fn fuzz_quota_text(input: &[u8]) {
    if let Some(text) = QuotaText::parse(input) {
        let written = text.to_text();
        let again = QuotaText::parse(written.as_bytes());
        let numbers =
            |text: &QuotaText<'_>| [text.count(), text.bytes(), text.count_hard_limit(), text.byte_hard_limit()];
        // A key may hold what breaks the line when it is written, as in ZooKeeper; a line that parses says the same.
        assert!(again.is_none_or(|again| numbers(&again) == numbers(&text)), "{written}");
    }
}

/// The covered paths.
#[derive(Clone, Default, Debug)]
pub(crate) struct QuotaPaths {
    covered: HashSet<Box<str>, NumberHash>,
}

impl QuotaPaths {
    /// The deepest covered path that is `path` or above it.
    pub(crate) fn deepest<'p>(&self, path: &'p str) -> Option<&'p str> {
        if self.covered.is_empty() {
            return None;
        }
        let mut at = path;
        while !at.is_empty() {
            if self.covered.contains(at) {
                return Some(at);
            }
            at = &at[..at.rfind('/')?];
        }
        None
    }
}

/// What a node under /zookeeper/quota is there for.
enum Role<'p> {
    Limits(&'p str),
    Stats(&'p str),
}

/// The role of the node called `path`, with the path it covers. The root's quota is none.
fn role(path: &str) -> Option<Role<'_>> {
    let inside = path.strip_prefix(ROOT)?;
    let (covered, name) = inside.rsplit_once('/')?;
    match name {
        _ if !covered.starts_with('/') => None,
        LIMITS => Some(Role::Limits(covered)),
        STATS => Some(Role::Stats(covered)),
        _ => None,
    }
}

impl Tree {
    /// A node came: with `bytes` of data, at `path`.
    pub(crate) fn quota_created(&mut self, path: &str, bytes: usize) {
        match role(path) {
            Some(Role::Limits(covered)) => _ = self.quotas.covered.insert(covered.into()),
            Some(Role::Stats(covered)) => self.quota_recount(covered),
            None => {}
        }
        self.quota_used(path, bytes as i64, 1);
    }

    /// A node that had `bytes` of data went.
    pub(crate) fn quota_deleted(&mut self, path: &str, bytes: usize) {
        if let Some(Role::Limits(covered)) = role(path) {
            self.quotas.covered.remove(covered);
        }
        self.quota_used(path, -(bytes as i64), -1);
    }

    /// Adjusts the usage of the deepest quota that covers `path`.
    pub(crate) fn quota_used(&mut self, path: &str, bytes: i64, count: i64) {
        let Some(covered) = self.quotas.deepest(path) else {
            return;
        };
        let stats_path = format!("{ROOT}{covered}/{STATS}");
        let Some(stats) = self.get(&stats_path) else {
            return;
        };
        let data = stats.data();
        let usage = data.as_ref().and_then(|data| QuotaText::parse(data.as_slice()));
        let mut usage = usage.unwrap_or_else(|| QuotaText { pairs: BTreeMap::from([(COUNT, 0), (BYTES, 0)]) });
        usage.set(COUNT, usage.count().wrapping_add(count));
        usage.set(BYTES, usage.bytes().wrapping_add(bytes));
        let text = usage.to_text();
        self.quota_write(&stats_path, &text);
    }

    /// Counts the subtree afresh into the stats node of `covered`, if there is one.
    pub(crate) fn quota_recount(&mut self, covered: &str) {
        let (mut count, mut bytes) = (0, 0);
        let mut stack: Vec<_> = self.find(covered).into_iter().collect();
        while let Some(id) = stack.pop() {
            let node = &self.slab[id];
            count += 1;
            bytes += node.data_len() as i64;
            let mut child = node.first_child();
            while child != NONE {
                stack.push(child);
                child = self.slab[child].next;
            }
        }
        let text = QuotaText { pairs: BTreeMap::from([(COUNT, count), (BYTES, bytes)]) }.to_text();
        self.quota_write(&format!("{ROOT}{covered}/{STATS}"), &text);
    }

    fn quota_write(&mut self, stats_path: &str, text: &str) {
        if let Some(id) = self.find(stats_path) {
            self.change(id, |tree| tree.replace_data(id, stats_path, Some(text.as_bytes()), None));
        }
    }

    /// Finds the quotas of a tree that was just loaded and counts all of them afresh.
    pub(crate) fn quota_rebuild(&mut self) {
        let mut stack: Vec<_> = self.find(ROOT).into_iter().collect();
        let mut covered: Vec<Box<str>> = Vec::new();
        while let Some(id) = stack.pop() {
            let mut child = self.slab[id].first_child();
            while child != NONE {
                if self.slab[child].name() == LIMITS
                    && let Some(Role::Limits(path)) = role(&self.path_of(child))
                {
                    covered.push(path.into());
                }
                stack.push(child);
                child = self.slab[child].next;
            }
        }
        for path in covered {
            self.quota_recount(&path);
            self.quotas.covered.insert(path);
        }
    }

    /// Whether a hard limit forbids a create (`count` 1) or setData (`count` 0) that adds `bytes` at `path`. By applied
    /// usage plus this request, as in ZooKeeper: writes still in flight are not seen.
    ///
    /// # Errors
    /// `QuotaExceeded`.
    pub(crate) fn quota_check(&self, path: &str, bytes: i64, count: i64) -> Result<(), Code> {
        let Some(covered) = self.quotas.deepest(path) else {
            return Ok(());
        };
        let (Some(limits), Some(stats)) =
            (self.get(&format!("{ROOT}{covered}/{LIMITS}")), self.get(&format!("{ROOT}{covered}/{STATS}")))
        else {
            return Ok(());
        };
        let (limits, stats) = (limits.data(), stats.data());
        let limits = limits.as_ref().and_then(|data| QuotaText::parse(data.as_slice())).unwrap_or_default();
        let zero = || QuotaText { pairs: BTreeMap::from([(COUNT, 0), (BYTES, 0)]) };
        let usage = stats.as_ref().and_then(|data| QuotaText::parse(data.as_slice())).unwrap_or_else(zero);
        let exceeds =
            |used: i64, added: i64, limit: i64| added != 0 && limit > -1 && used.saturating_add(added) > limit;
        if exceeds(usage.count(), count, limits.count_hard_limit())
            || exceeds(usage.bytes(), bytes, limits.byte_hard_limit())
        {
            return Err(Code::QuotaExceeded);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_and_written_as_java_does() {
        let text = QuotaText::parse(b"count=-1,bytes=-1=;byteHardLimit=10;countHardLimit=4").unwrap();
        assert_eq!((text.count(), text.count_hard_limit(), text.byte_hard_limit()), (-1, 4, 10));
        assert_eq!(text.to_text(), "count=-1,bytes=-1=;byteHardLimit=10;countHardLimit=4");
        assert_eq!(QuotaText::parse(b"").unwrap().to_text(), "count=-1,bytes=-1");
        assert_eq!(QuotaText::parse(b"bytes=7;;,count==3").unwrap().to_text(), "count=-1,bytes=7");
        for bad in [&b"count"[..], b"count=", b",count=1", b"count=x", b"count= 1", b"\xff=1"] {
            assert_eq!(QuotaText::parse(bad), None, "{bad:?}");
        }
        for empty in [&b","[..], b";;"] {
            assert_eq!(QuotaText::parse(empty), Some(QuotaText::default()));
        }
    }

    #[test]
    fn any_bytes_may_stand_in_a_quota_node() {
        for input in [&b"count=1,bytes=2"[..], b"", b"=", b"==;=,", b"\xf0\x9f", b"a=1;a=2;count=9223372036854775807"] {
            fuzz_quota_text(input);
        }
    }

    /// Every key was looked for among all before it, so one text of a frame's length stopped the server for many
    /// seconds.
    #[test]
    fn many_keys_take_time_in_proportion() {
        let text: String = (0..120_000).map(|key| format!("{key:x}=1,")).collect();
        assert!(text.len() < 0xf_ffff, "a frame holds it");
        let parsed = QuotaText::parse(text.as_bytes()).unwrap();
        assert_eq!((parsed.pairs.len(), parsed.count()), (120_000, -1));
        fuzz_quota_text(text.as_bytes());
    }

    #[test]
    fn the_deepest_cover_counts_and_the_root_never_does() {
        let mut paths = QuotaPaths::default();
        paths.covered.insert("/a".into());
        paths.covered.insert("/a/b".into());
        assert_eq!(paths.deepest("/a/b/c"), Some("/a/b"));
        assert_eq!(paths.deepest("/a/bc"), Some("/a"));
        assert_eq!(paths.deepest("/ab"), None);
        assert!(role("/zookeeper/quota/zookeeper_limits").is_none(), "the root's");
        assert!(role("/zookeeper/quotas/x/zookeeper_limits").is_none());
        assert!(matches!(role("/zookeeper/quota/a/b/zookeeper_stats"), Some(Role::Stats("/a/b"))));
    }
}
