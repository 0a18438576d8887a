//! What is answered and not yet sent.
//!
//! Flow       `frame` -> fields through its `Writer`, large values by reference -> `finish` patches the length;
//!            the connection takes `slices` to the socket and tells `advance` how far it got.
//! Invariant  everything small lies contiguous in one block; `shared` says where in between large values stand, each
//!            kept alive by its reference count. An unfinished frame leaves nothing behind.

use std::{collections::VecDeque, fmt, io::IoSlice, rc::Rc};

use bytes::{Buf, Bytes};

use super::pool::{BLOCK_BYTES, Pool};
use crate::{
    frame::HEADER_LEN,
    jute::{Record, Writer},
    record::ReplyHeader,
};

/// A value from this size on is sent from where it lies, a smaller one is copied: a reference costs two more slices in
/// the system call, and the kernel copies anyway. Measured over loopback, copied against shared, nanoseconds per reply
/// when eight leave together: 2 KiB 394/524, 4 KiB 632/698, 8 KiB 1187/1184, 16 KiB 2578/2341.
pub const SHARED_MIN_BYTES: usize = 8 * 1024;

/// Sent bytes are cut off the block when at least this much, and half of the block, is behind.
const COMPACT_MIN_BYTES: usize = BLOCK_BYTES;

#[derive(Debug)]
struct Shared {
    /// Where in `small` it stands: behind this many of its bytes.
    small_end: usize,
    /// What of it is not yet sent.
    bytes: Bytes,
}

/// Frames on their way to one peer.
#[derive(Debug)]
pub struct ReplyBuffer {
    pool: Rc<Pool>,
    small: Vec<u8>,
    small_sent: usize,
    shared: VecDeque<Shared>,
    /// Sum over `shared`.
    shared_bytes: usize,
}

impl ReplyBuffer {
    /// Without memory, until there is something to send.
    pub fn new(pool: &Rc<Pool>) -> ReplyBuffer {
        ReplyBuffer {
            pool: Rc::clone(pool),
            small: Vec::new(),
            small_sent: 0,
            shared: VecDeque::new(),
            shared_bytes: 0,
        }
    }

    /// Bytes not yet sent. The caller's measure of a slow reader.
    pub fn pending_bytes(&self) -> usize {
        self.small.len() - self.small_sent + self.shared_bytes
    }

    /// Whether everything is sent.
    pub fn is_empty(&self) -> bool {
        self.pending_bytes() == 0
    }

    /// Begins a frame. It counts once it is finished; dropped before, it has never been.
    pub fn frame(&mut self) -> ReplyFrame<'_> {
        self.take_block();
        let start = self.small.len();
        self.small.extend_from_slice(&[0; HEADER_LEN]);
        let (shared_before, shared_bytes_before) = (self.shared.len(), self.shared_bytes);
        ReplyFrame { buffer: self, start, shared_before, shared_bytes_before, is_finished: false }
    }

    /// A reply without a record: an error, or a success that says no more.
    pub fn reply_header(&mut self, header: ReplyHeader) {
        let mut frame = self.frame();
        header.encode(&mut frame.writer());
        frame.finish();
    }

    /// A reply with its record.
    pub fn reply<'r, R: Record<'r>>(&mut self, header: ReplyHeader, record: &R) {
        let mut frame = self.frame();
        header.encode(&mut frame.writer());
        record.encode(&mut frame.writer());
        frame.finish();
    }

    /// Bytes without a frame: the answer to a four-letter command.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.take_block();
        self.small.extend_from_slice(bytes);
    }

    /// As [`raw`](ReplyBuffer::raw): copied when small, else referred to until they are sent.
    pub fn raw_shared(&mut self, bytes: Bytes) {
        if bytes.len() < SHARED_MIN_BYTES {
            return self.raw(&bytes);
        }
        self.shared_bytes += bytes.len();
        self.shared.push_back(Shared { small_end: self.small.len(), bytes });
    }

    fn take_block(&mut self) {
        if self.small.capacity() == 0 {
            self.small = self.pool.take_reply();
        }
    }

    /// Fills `out` with what to send next, in order, up to `len_max_bytes` in total. Returns how many slices it used.
    pub(crate) fn slices<'b>(&'b self, out: &mut [IoSlice<'b>], mut len_max_bytes: usize) -> usize {
        let mut used = 0;
        let mut push = |bytes: &'b [u8]| {
            let bytes = &bytes[..bytes.len().min(len_max_bytes)];
            if bytes.is_empty() {
                return true;
            }
            let Some(slot) = out.get_mut(used) else { return false };
            *slot = IoSlice::new(bytes);
            used += 1;
            len_max_bytes -= bytes.len();
            len_max_bytes > 0
        };
        let mut small_at = self.small_sent;
        for shared in &self.shared {
            if !push(&self.small[small_at..shared.small_end]) || !push(&shared.bytes) {
                return used;
            }
            small_at = shared.small_end;
        }
        push(&self.small[small_at..]);
        used
    }

    /// The first `count_bytes` are sent.
    ///
    /// # Panics
    /// When fewer were pending.
    pub(crate) fn advance(&mut self, mut count_bytes: usize) {
        assert!(count_bytes <= self.pending_bytes(), "sent more than was pending");
        while let Some(front) = self.shared.front_mut() {
            let small = count_bytes.min(front.small_end - self.small_sent);
            let large = (count_bytes - small).min(front.bytes.len());
            self.small_sent += small;
            self.shared_bytes -= large;
            front.bytes.advance(large);
            count_bytes -= small + large;
            if !front.bytes.is_empty() {
                break;
            }
            self.shared.pop_front();
        }
        self.small_sent += count_bytes;
        self.let_go();
    }

    fn let_go(&mut self) {
        if self.is_empty() {
            self.pool.give_reply(std::mem::take(&mut self.small));
            self.small_sent = 0;
            self.shared = VecDeque::new();
        } else if self.small_sent >= COMPACT_MIN_BYTES && self.small_sent >= self.small.len() / 2 {
            self.small.drain(..self.small_sent);
            self.shared.iter_mut().for_each(|shared| shared.small_end -= self.small_sent);
            self.small_sent = 0;
        }
    }
}

impl Drop for ReplyBuffer {
    fn drop(&mut self) {
        self.pool.give_reply(std::mem::take(&mut self.small));
    }
}

/// A frame being written at the end of a `ReplyBuffer`.
#[derive(Debug)]
#[must_use = "a frame that is not finished is not sent"]
pub struct ReplyFrame<'b> {
    buffer: &'b mut ReplyBuffer,
    /// Where in `small` its header stands.
    start: usize,
    /// How many of `shared` belong to earlier frames.
    shared_before: usize,
    /// And how many bytes those are.
    shared_bytes_before: usize,
    is_finished: bool,
}

/// The reply is longer than a frame can say. It has been taken back; an error code can be sent in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyTooLarge;

impl fmt::Display for ReplyTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reply is larger than 2 GiB")
    }
}

impl std::error::Error for ReplyTooLarge {}

impl ReplyFrame<'_> {
    /// Appends fields.
    pub fn writer(&mut self) -> Writer<'_> {
        Writer::new(&mut self.buffer.small)
    }

    /// Appends a jute buffer whose bytes are shared: copied when small, else referred to until they are sent.
    pub fn shared_buffer(&mut self, bytes: &Bytes) {
        self.writer().count(Some(bytes.len()));
        self.shared_raw(bytes);
    }

    /// As `shared_buffer`, without the length in front: for fields that were encoded elsewhere.
    pub fn shared_raw(&mut self, bytes: &Bytes) {
        if bytes.len() < SHARED_MIN_BYTES {
            self.writer().raw(bytes);
            return;
        }
        self.buffer.raw_shared(bytes.clone());
    }

    /// Length of the body so far. A caller that answers many questions in one frame stops when it gets out of hand.
    pub fn body_len(&self) -> usize {
        let small = self.buffer.small.len() - self.start - HEADER_LEN;
        small + self.buffer.shared_bytes - self.shared_bytes_before
    }

    /// Puts the length in front: from here on the frame is to be sent. Returns the length of its body.
    ///
    /// # Errors
    /// When no frame can be that long, which a small multiRead of large values reaches.
    pub fn try_finish(mut self) -> Result<usize, ReplyTooLarge> {
        let body_len = self.body_len();
        let raw = i32::try_from(body_len).map_err(|_| ReplyTooLarge)?;
        let start = self.start;
        self.writer().patch_i32(start, raw);
        self.is_finished = true;
        Ok(body_len)
    }

    /// As `try_finish`, for a reply whose size is bounded by what it was made from.
    ///
    /// # Panics
    /// When it was not.
    pub fn finish(self) -> usize {
        self.try_finish().expect("a reply of bounded size is below 2 GiB")
    }
}

impl Drop for ReplyFrame<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            self.buffer.shared_bytes = self.shared_bytes_before;
            self.buffer.shared.truncate(self.shared_before);
            self.buffer.small.truncate(self.start);
            self.buffer.let_go();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes everything out in steps of at most `step` bytes.
    fn drain(buffer: &mut ReplyBuffer, step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while !buffer.is_empty() {
            let mut slices = [IoSlice::new(&[]); 3];
            let used = buffer.slices(&mut slices, step);
            let sent: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
            assert!(!sent.is_empty() && sent.len() <= step);
            buffer.advance(sent.len());
            out.extend(sent);
        }
        out
    }

    fn fill(buffer: &mut ReplyBuffer, expected: &mut Vec<u8>, values: &[usize]) {
        let mut frame = buffer.frame();
        let mut body = Vec::new();
        for (nr, len) in values.iter().enumerate() {
            let value = vec![u8::try_from(nr).unwrap(); *len];
            frame.writer().i32(7);
            body.extend_from_slice(&7i32.to_be_bytes());
            frame.shared_buffer(&Bytes::from(value.clone()));
            Writer::new(&mut body).buffer(Some(&value));
        }
        assert_eq!(frame.finish(), body.len());
        Writer::new(expected).buffer(Some(&body));
    }

    #[test]
    fn raw_pieces_leave_in_order_copied_or_shared() {
        for step in [1, 4096, 1 << 20] {
            let (mut buffer, mut expected) = (ReplyBuffer::new(&Pool::new()), Vec::new());
            for (nr, len) in [SHARED_MIN_BYTES, 3, 0, 20_000, 20_000, 7, 7].into_iter().enumerate() {
                let piece = vec![u8::try_from(nr).unwrap(); len];
                expected.extend_from_slice(&piece);
                buffer.raw_shared(Bytes::from(piece));
            }
            assert_eq!((buffer.small.len(), buffer.shared.len()), (17, 3), "small pieces lie together");
            assert!(drain(&mut buffer, step) == expected, "in steps of {step}");
        }
    }

    #[test]
    fn small_and_large_values_leave_in_order() {
        for step in [1, 7, 4096, 5000, 1 << 20] {
            let (mut buffer, mut expected) = (ReplyBuffer::new(&Pool::new()), Vec::new());
            for values in [&[10, 9000, SHARED_MIN_BYTES][..], &[], &[SHARED_MIN_BYTES - 1], &[9000, 9000]] {
                fill(&mut buffer, &mut expected, values);
            }
            assert_eq!(buffer.pending_bytes(), expected.len());
            assert!(drain(&mut buffer, step) == expected, "in steps of {step}");
            assert_eq!((buffer.small.capacity(), buffer.shared.capacity()), (0, 0), "an idle buffer holds no memory");
        }
    }

    #[test]
    fn a_dropped_frame_has_never_been() {
        let (mut buffer, mut expected) = (ReplyBuffer::new(&Pool::new()), Vec::new());
        fill(&mut buffer, &mut expected, &[10_000, 1]);
        let mut frame = buffer.frame();
        frame.shared_buffer(&Bytes::from(vec![1; 9000]));
        frame.writer().i64(1);
        drop(frame);
        fill(&mut buffer, &mut expected, &[3]);
        assert_eq!(drain(&mut buffer, 100), expected);
        drop(buffer.frame());
        assert_eq!(buffer.small.capacity(), 0);
    }

    #[test]
    fn a_reply_beyond_2_gib_is_taken_back() {
        let mut buffer = ReplyBuffer::new(&Pool::new());
        let value = Bytes::from(vec![0; 64 << 20]);
        let mut frame = buffer.frame();
        (0..32).for_each(|_| frame.shared_buffer(&value));
        assert_eq!(frame.body_len(), 32 * (value.len() + 4));
        assert_eq!(frame.try_finish(), Err(ReplyTooLarge));
        assert!(buffer.is_empty());
    }

    #[test]
    fn sent_bytes_do_not_pile_up_behind_a_slow_reader() {
        let mut buffer = ReplyBuffer::new(&Pool::new());
        buffer.raw(&[1; 1000]);
        for _ in 0..1000 {
            buffer.raw(&[1; 1000]);
            buffer.advance(1000);
        }
        assert!(buffer.small.len() < 2 * COMPACT_MIN_BYTES + 2000, "{} bytes kept for 1000", buffer.small.len());
    }

    #[test]
    fn appending_between_partial_sends_keeps_the_order() {
        let (mut buffer, mut expected, mut sent) = (ReplyBuffer::new(&Pool::new()), Vec::new(), Vec::new());
        for round in 0..200 {
            fill(&mut buffer, &mut expected, &[round * 37, SHARED_MIN_BYTES + round]);
            let mut slices = [IoSlice::new(&[]); 2];
            let used = buffer.slices(&mut slices, 3001);
            let piece: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
            buffer.advance(piece.len());
            sent.extend(piece);
        }
        sent.extend(drain(&mut buffer, 1 << 16));
        assert!(sent == expected);
    }

    #[test]
    fn a_header_alone_is_a_frame_of_16_bytes() {
        let mut buffer = ReplyBuffer::new(&Pool::new());
        buffer.reply_header(ReplyHeader { xid: -2, zxid: 5, err: 0 });
        assert_eq!(drain(&mut buffer, 100), [0, 0, 0, 16, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0]);
    }
}
