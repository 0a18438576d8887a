//! What happened in a run: one readable line per event that matters, and a fingerprint of all of them.
//!
//! Flow       the world marks every event (fingerprint) and notes some (a line, made only when somebody wants to read).
//! Invariant  two runs with one fingerprint went through the same events at the same instants.
//! Absent     any influence on the run: a story that is told changes nothing in it.

use std::collections::VecDeque;
use std::fmt;
use std::hash::{Hash, Hasher};

use super::schedule::{MILLI, Micros};

/// How much of a story is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// The fingerprint only: the fast way, for runs by the thousand.
    Nothing,
    /// Faults, and what nodes say matters.
    Notes,
    /// Every message too.
    Messages,
}

/// Lines that are kept of a long story: its last ones.
const LINES_MAX: usize = 100_000;

/// The story of one run.
#[derive(Debug)]
pub struct Story {
    detail: Detail,
    lines: VecDeque<String>,
    fingerprint: Fingerprint,
    events: u64,
}

impl Story {
    /// An empty one.
    pub fn new(detail: Detail) -> Self {
        Self { detail, lines: VecDeque::new(), fingerprint: Fingerprint(0), events: 0 }
    }

    /// Takes an event into the fingerprint.
    pub fn mark(&mut self, at: Micros, event: &impl Hash) {
        self.events += 1;
        at.hash(&mut self.fingerprint);
        event.hash(&mut self.fingerprint);
    }

    /// Writes a line, if that much detail is wanted. `node` is `None` for the world itself.
    pub fn note(&mut self, detail: Detail, at: Micros, node: Option<usize>, line: impl FnOnce() -> String) {
        if self.detail < detail {
            return;
        }
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        let who = node.map_or_else(|| "  *".to_owned(), |node| format!("{:>3}", format!("n{node}")));
        self.lines.push_back(format!("{:>7}.{:03} {who}  {}", at / MILLI, at % MILLI, line()));
    }

    /// Whether lines of such detail are kept.
    pub fn wants(&self, detail: Detail) -> bool {
        self.detail >= detail
    }

    /// What was marked, in one number.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint.finish()
    }

    /// Events marked.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The last `count` lines.
    pub fn tail(&self, count: usize) -> impl Iterator<Item = &str> {
        self.lines.iter().skip(self.lines.len().saturating_sub(count)).map(String::as_str)
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// A hasher that is the same everywhere and fast: a multiply and a rotate per word, mixed well at the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fingerprint(u64);

impl Hasher for Fingerprint {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word) ^ (chunk.len() as u64) << 56);
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(value.into());
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_u64(&mut self, value: u64) {
        // An odd number with bits everywhere: 2^64 divided by the golden ratio.
        self.0 = (self.0.rotate_left(23) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ (mixed >> 29)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_events_shows_in_the_fingerprint() {
        let story = |events: [u64; 2]| {
            let mut story = Story::new(Detail::Nothing);
            events.iter().for_each(|event| story.mark(1, event));
            story.fingerprint()
        };
        assert_eq!(story([1, 2]), story([1, 2]));
        assert_ne!(story([1, 2]), story([2, 1]));
    }

    #[test]
    fn lines_are_made_for_readers_only() {
        let mut story = Story::new(Detail::Notes);
        story.note(Detail::Messages, 1, None, || unreachable!("nobody asked"));
        story.note(Detail::Notes, 12_345, Some(3), || "votes".to_owned());
        assert_eq!(story.to_string(), "     12.345  n3  votes\n");
    }
}
