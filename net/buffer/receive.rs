//! What a connection has received and not yet handled.
//!
//! Flow       `space` -> the socket writes -> `received` -> `next_frame` until there is none -> `rest_before_wait`.
//! Invariant  `head..tail` of the block are the bytes not handled. A block grows only as bytes really arrive, at most
//!            by doubling, so a length that is only claimed costs nothing.
//! Absent     a limit on the frames: the caller passes it, since it may differ before and after the handshake.

use std::rc::Rc;

use super::pool::{BLOCK_BYTES, Pool};
use crate::frame::{self, FrameError, HEADER_LEN, Split};

/// Part of a block up to which bytes that have to wait are moved out, so that the block can serve others.
const STOW_FRACTION: usize = 8;

/// The body of a frame, where it was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'b> {
    /// The body and everything that was received behind it.
    with_rest: &'b [u8],
    len: usize,
}

impl<'b> Frame<'b> {
    /// The body.
    pub fn bytes(self) -> &'b [u8] {
        &self.with_rest[..self.len]
    }

    /// The body and everything that was received behind it.
    pub(crate) fn with_rest(self) -> &'b [u8] {
        self.with_rest
    }
}

/// Received bytes, handed out frame by frame.
#[derive(Debug)]
pub struct ReceiveBuffer {
    pool: Rc<Pool>,
    /// Empty, a pool's block, a grown block, or just the waiting bytes.
    block: Vec<u8>,
    head: usize,
    tail: usize,
}

impl ReceiveBuffer {
    /// Without memory, until there is something to receive.
    pub fn new(pool: &Rc<Pool>) -> ReceiveBuffer {
        ReceiveBuffer { pool: Rc::clone(pool), block: Vec::new(), head: 0, tail: 0 }
    }

    /// What is there and not yet handled.
    pub fn bytes(&self) -> &[u8] {
        &self.block[self.head..self.tail]
    }

    /// Drops the first `count_bytes` unseen, after something that is not a frame, such as a command.
    ///
    /// # Panics
    /// When fewer are there.
    pub fn skip(&mut self, count_bytes: usize) {
        assert!(count_bytes <= self.bytes().len(), "skipping {count_bytes} bytes of {}", self.bytes().len());
        self.head += count_bytes;
    }

    /// The body of the next whole frame, or `None` until more has been received.
    ///
    /// # Errors
    /// When the next length cannot be one. Nothing behind it can be understood any more.
    pub fn next_frame(&mut self, len_max_bytes: usize) -> Result<Option<Frame<'_>>, FrameError> {
        match frame::split(self.bytes(), len_max_bytes)? {
            Split::Partial { .. } => Ok(None),
            Split::Frame { body_len } => {
                let body_at = self.head + HEADER_LEN;
                self.head = body_at + body_len;
                assert!(self.head <= self.tail, "a frame ends within the received bytes");
                Ok(Some(Frame { with_rest: &self.block[body_at..self.tail], len: body_len }))
            }
        }
    }

    /// Where to receive into; never empty. Whatever is written there counts once `received` is told.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        if self.block.len() < BLOCK_BYTES {
            let mut block = self.pool.take_receive();
            let waiting = self.tail - self.head;
            block[..waiting].copy_from_slice(&self.block[self.head..self.tail]);
            (self.block, self.head, self.tail) = (block, 0, waiting);
        }
        if self.head == self.tail {
            (self.head, self.tail) = (0, 0);
        }
        if self.tail == self.block.len() {
            self.make_room();
        }
        &mut self.block[self.tail..]
    }

    /// The block is full up to its end: moves the waiting bytes to the front, or grows when they fill it.
    fn make_room(&mut self) {
        if self.head > 0 {
            self.block.copy_within(self.head.., 0);
            (self.head, self.tail) = (0, self.tail - self.head);
            return;
        }
        // Not beyond the frame's end: what follows a large frame is received into a block of ordinary size again.
        let wanted = match frame::split(self.bytes(), usize::MAX) {
            Ok(Split::Partial { total_len }) => total_len,
            Ok(Split::Frame { .. }) | Err(_) => usize::MAX,
        };
        let grown = wanted.min(self.block.len() * 2).max(self.block.len() + 1);
        self.block.reserve_exact(grown - self.block.len());
        self.block.resize(grown, 0);
    }

    /// `count_bytes` have been written to the front of `space`.
    ///
    /// # Panics
    /// When that is more than `space` holds.
    pub(crate) fn received(&mut self, count_bytes: usize) {
        assert!(count_bytes <= self.block.len() - self.tail, "received more than there was space for");
        self.tail += count_bytes;
    }

    /// Nothing is there to receive: lets go of all memory but for the bytes of a cut frame.
    pub(crate) fn rest_before_wait(&mut self) {
        let waiting = self.tail - self.head;
        if self.block.len() < BLOCK_BYTES || waiting > BLOCK_BYTES / STOW_FRACTION {
            return;
        }
        let stowed = self.bytes().to_vec();
        self.pool.give_receive(std::mem::replace(&mut self.block, stowed));
        (self.head, self.tail) = (0, waiting);
    }
}

impl Drop for ReceiveBuffer {
    fn drop(&mut self) {
        self.pool.give_receive(std::mem::take(&mut self.block));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(buffer: &mut ReceiveBuffer, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let space = buffer.space();
            let count = space.len().min(bytes.len());
            space[..count].copy_from_slice(&bytes[..count]);
            buffer.received(count);
            bytes = &bytes[count..];
        }
    }

    fn frame_of(body: &[u8]) -> Vec<u8> {
        [&u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
    }

    #[test]
    fn frames_come_out_however_they_were_cut() {
        let bodies: Vec<Vec<u8>> = [0, 1, 100, BLOCK_BYTES - 4, BLOCK_BYTES, 50_000, 3]
            .iter()
            .enumerate()
            .map(|(nr, len)| vec![u8::try_from(nr).unwrap(); *len])
            .collect();
        let stream: Vec<u8> = bodies.iter().flat_map(|body| frame_of(body)).collect();
        for step in [1, 3, 4, 5, 1000, 16_384, 70_000] {
            let mut buffer = ReceiveBuffer::new(&Pool::new());
            let mut seen = Vec::new();
            for piece in stream.chunks(step) {
                feed(&mut buffer, piece);
                while let Some(frame) = buffer.next_frame(100_000).unwrap() {
                    seen.push(frame.bytes().to_vec());
                }
                buffer.rest_before_wait();
            }
            assert!(seen == bodies, "cut every {step} bytes");
            assert_eq!(buffer.block.capacity(), 0, "an idle buffer holds no memory");
        }
    }

    #[test]
    fn a_claimed_length_reserves_nothing() {
        let mut buffer = ReceiveBuffer::new(&Pool::new());
        feed(&mut buffer, &[0, 0x0f, 0xff, 0xff, 1]);
        assert_eq!(buffer.next_frame(frame::LEN_MAX_DEFAULT), Ok(None));
        buffer.rest_before_wait();
        assert!(buffer.block.capacity() < 64, "{} bytes held for 5", buffer.block.capacity());
        feed(&mut buffer, &vec![0; 40_000]);
        assert!(buffer.block.len() <= 2 * 40_005);
    }

    #[test]
    fn a_bad_length_is_an_error_and_stays_one() {
        let mut buffer = ReceiveBuffer::new(&Pool::new());
        feed(&mut buffer, &[0xff; 8]);
        assert!(buffer.next_frame(10).is_err());
        assert!(buffer.next_frame(10).is_err());
    }

    #[test]
    fn blocks_go_back_to_the_pool() {
        let pool = Pool::new();
        let mut buffer = ReceiveBuffer::new(&pool);
        feed(&mut buffer, &frame_of(b"x"));
        let lent = buffer.block.as_ptr();
        assert_eq!(buffer.next_frame(10).unwrap().map(Frame::bytes), Some(&b"x"[..]));
        buffer.rest_before_wait();
        let returned = pool.take_receive();
        assert_eq!(returned.as_ptr(), lent);
    }
}
