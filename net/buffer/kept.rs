//! Requests that outlive the receive buffer: those that wait for a commit, or behind one.
//!
//! Flow       `next_frame` -> `Kept::body`, for each frame that has to wait -> `clear` before the next receive.
//! Invariant  what is returned equals the frame's bytes. A request pins at most [`TOGETHER_MAX_BYTES`] beside its own.
//! Why        clients send requests in bursts. One copy of what was received, shared by its requests, takes the place of
//!            two allocations for each of them.

use bytes::Bytes;

use super::Frame;

/// Bytes that are copied together. A longer frame is copied alone.
pub const TOGETHER_MAX_BYTES: usize = 16 * 1024;

/// The copy that requests of one turn share.
#[derive(Debug, Default)]
pub struct Kept {
    copy: Bytes,
    /// Bytes from the start of `copy` to the end of what had been received. Places are told by how much is behind them.
    behind: usize,
}

impl Kept {
    /// The frame's bytes from `from` on, for as long as they are needed.
    ///
    /// All frames between two calls of [`clear`](Kept::clear) must come from one receive buffer, in order, with nothing
    /// received in between.
    ///
    /// # Panics
    /// If the frame is shorter than `from`.
    pub fn body(&mut self, frame: Frame<'_>, from: usize) -> Bytes {
        let body = &frame.bytes()[from..];
        if body.is_empty() || body.len() > TOGETHER_MAX_BYTES {
            return Bytes::copy_from_slice(body);
        }
        let from_here = &frame.with_rest()[from..];
        let at = self.behind.checked_sub(from_here.len()).filter(|at| at + body.len() <= self.copy.len());
        let at = at.unwrap_or_else(|| {
            self.copy = Bytes::copy_from_slice(&from_here[..from_here.len().min(TOGETHER_MAX_BYTES)]);
            self.behind = from_here.len();
            0
        });
        self.copy.slice(at..at + body.len())
    }

    /// More will be received: places mean something else.
    pub fn clear(&mut self) {
        *self = Kept::default();
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::buffer::{Pool, ReceiveBuffer};

    fn frames_of(bodies: &[Vec<u8>]) -> Vec<u8> {
        bodies
            .iter()
            .flat_map(|body| [&u32::try_from(body.len()).unwrap().to_be_bytes(), body.as_slice()].concat())
            .collect()
    }

    fn received(bytes: &[u8]) -> ReceiveBuffer {
        let mut buffer = ReceiveBuffer::new(&Rc::clone(&Pool::new()));
        let mut rest = bytes;
        while !rest.is_empty() {
            let space = buffer.space();
            let count = space.len().min(rest.len());
            space[..count].copy_from_slice(&rest[..count]);
            buffer.received(count);
            rest = &rest[count..];
        }
        buffer
    }

    #[test]
    fn what_is_kept_is_what_was_received() {
        let lens = [8, 9, 100, 8, 5_000, 9_000, 3_000, 20_000, 30, 16_392, 17];
        let bodies: Vec<Vec<u8>> = lens.iter().enumerate().map(|(nr, &len)| vec![nr as u8; len]).collect();
        // Whichever of them have to wait.
        for chosen in 0..1_u32 << lens.len() {
            let mut buffer = received(&frames_of(&bodies));
            let mut kept = Kept::default();
            for (nr, body) in bodies.iter().enumerate() {
                let frame = buffer.next_frame(100_000).unwrap().unwrap();
                if chosen & (1 << nr) != 0 {
                    assert_eq!(kept.body(frame, 8), body[8..], "frame {nr} of choice {chosen:b}");
                }
            }
        }
    }

    #[test]
    fn small_requests_share_and_large_ones_do_not() {
        let bodies = [vec![1; 100], vec![2; 200], vec![3; TOGETHER_MAX_BYTES + 1]];
        let mut buffer = received(&frames_of(&bodies));
        let mut kept = Kept::default();
        let mut next = || kept.body(buffer.next_frame(100_000).unwrap().unwrap(), 0);
        let (first, second, large) = (next(), next(), next());
        assert_eq!(second.as_ptr() as usize - first.as_ptr() as usize, 100 + 4, "one copy");
        assert_eq!(large.len(), TOGETHER_MAX_BYTES + 1);
        assert!(large.is_unique(), "it pins nothing but itself");
    }
}
