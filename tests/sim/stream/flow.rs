//! One direction of a connection: what was sent and has not arrived.
//!
//! Flow       push -> (schedule: a pump per piece) -> take;  stall and resume when the wire is cut and healed.
//! Invariant  at most one pump is scheduled, and none while the flow is stalled; arrivals are in the order of sending.

use std::collections::VecDeque;

use super::{BANDWIDTH, WINDOW};
use crate::random::Random;
use crate::sim::schedule::Micros;

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Flow {
    chunks: VecDeque<Chunk>,
    len: usize,
    /// When the last of them arrives.
    last_at: Micros,
    is_pumping: bool,
    /// The number of the present stall while there is one.
    stalled: Option<u32>,
    stalls: u32,
    /// Bytes that have arrived and whose acknowledgement has not.
    unacked: usize,
    /// Whether more than a window has waited since the sender was last told that nothing does.
    was_full: bool,
}

#[derive(Debug)]
struct Chunk {
    /// When it arrives, if nothing holds it up.
    at: Micros,
    /// Empty for the sender's end.
    bytes: Vec<u8>,
}

impl Flow {
    /// Bytes that have not arrived.
    pub(super) fn unsent_len(&self) -> usize {
        self.len
    }

    /// Whether neither bytes nor an end are under way.
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Takes bytes that arrive at `at` unless others before them are slower. Gives the instant of a pump if one is due.
    pub(super) fn push(&mut self, bytes: Vec<u8>, at: Micros) -> Option<Micros> {
        assert!(!bytes.is_empty(), "nothing is sent as such");
        self.len += bytes.len();
        self.was_full |= self.len >= WINDOW;
        self.last_at = self.last_at.max(at) + bytes.len() as u64 / BANDWIDTH;
        self.chunks.push_back(Chunk { at: self.last_at, bytes });
        self.schedule(0)
    }

    /// The sender says no more.
    pub(super) fn push_end(&mut self, at: Micros) -> Option<Micros> {
        self.last_at = self.last_at.max(at);
        self.chunks.push_back(Chunk { at: self.last_at, bytes: Vec::new() });
        self.schedule(0)
    }

    /// The instant of the next pump, not before `now`, if there is something to pump and no pump scheduled.
    pub(super) fn schedule(&mut self, now: Micros) -> Option<Micros> {
        if self.is_pumping || self.stalled.is_some() {
            return None;
        }
        let at = self.chunks.front()?.at.max(now);
        self.is_pumping = true;
        Some(at)
    }

    /// The pump has come.
    pub(super) fn pumped(&mut self) {
        self.is_pumping = false;
    }

    /// Nothing gets through. Gives the number of this stall.
    pub(super) fn stall(&mut self) -> u32 {
        self.stalls += 1;
        self.stalled = Some(self.stalls);
        self.stalls
    }

    /// Whether this stall is not over yet.
    pub(super) fn is_stalled(&self, stall: u32) -> bool {
        self.stalled == Some(stall)
    }

    /// The end of a stall: true if a pump must be scheduled, which may find that nothing has changed.
    pub(super) fn resume(&mut self) -> bool {
        let was_stalled = self.stalled.take().is_some();
        let goes_on = was_stalled && !self.chunks.is_empty() && !self.is_pumping;
        self.is_pumping |= goes_on;
        goes_on
    }

    /// Whether no more may be sent before something is acknowledged.
    pub(super) fn is_window_full(&self) -> bool {
        self.unacked >= WINDOW
    }

    /// Whether more than a window waited at some time; asked once.
    pub(super) fn take_was_full(&mut self) -> bool {
        std::mem::take(&mut self.was_full)
    }

    /// The next piece: a chunk, a part of one, or all that are due, as it pleases the network. Or the end.
    pub(super) fn take(&mut self, now: Micros, is_unacked: bool, random: &mut Random) -> (Vec<u8>, bool) {
        let Some(front) = self.chunks.front_mut() else { return (Vec::new(), false) };
        if front.bytes.is_empty() {
            self.chunks.pop_front();
            return (Vec::new(), true);
        }
        let choice = random.below(100);
        let bytes = if choice < 15 && front.bytes.len() > 1 {
            let rest = front.bytes.split_off(1 + random.below(front.bytes.len() - 1));
            std::mem::replace(&mut front.bytes, rest)
        } else {
            let mut bytes = self.chunks.pop_front().expect("there is a front").bytes;
            while choice < 30
                && let Some(next) = self.chunks.front().filter(|next| next.at <= now && !next.bytes.is_empty())
            {
                bytes.extend_from_slice(&next.bytes);
                self.chunks.pop_front();
            }
            bytes
        };
        self.len -= bytes.len();
        self.unacked = if is_unacked { self.unacked + bytes.len() } else { 0 };
        (bytes, false)
    }

    /// Loses everything.
    pub(super) fn clear(&mut self) {
        self.chunks.clear();
        self.len = 0;
    }

    /// Loses what is behind some byte, mostly in the middle of a frame.
    pub(super) fn truncate(&mut self, random: &mut Random) {
        let mut keep_len = random.below(self.len + 1);
        self.len = keep_len;
        self.chunks.retain_mut(|chunk| {
            chunk.bytes.truncate(keep_len);
            keep_len -= chunk.bytes.len();
            !chunk.bytes.is_empty()
        });
    }
}
