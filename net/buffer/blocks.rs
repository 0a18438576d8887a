//! Received bytes that are handed on as they are, by reference count: of peers whose bytes are understood elsewhere.
//!
//! Flow       room in the present block -> the socket writes -> what it wrote is cut off -> `Bytes`.
//! Invariant  no two slices overlap, and what is cut off is never written again.
//! Why        the peers of one executor receive into one block, one after the other: a thousand small packets cost one
//!            allocation, and a peer from whom nothing comes has no memory. A slice keeps its whole block, so this is for
//!            slices that are soon dropped.

use std::{
    cell::RefCell,
    io,
    task::{Poll, ready},
};

use bytes::{Bytes, BytesMut};

/// Size of a block.
const BLOCK_BYTES: usize = 256 * 1024;

/// A block with less room than this is given up, unless no more is wanted: a short receive costs as many system calls as
/// a long one.
const ROOM_MIN_BYTES: usize = 16 * 1024;

/// One receive takes no more: some 20 us of copying, then others have their turn.
const RECEIVE_MAX_BYTES: usize = 128 * 1024;

/// The present block of an executor.
#[derive(Debug, Default)]
pub struct Blocks(RefCell<BytesMut>);

impl Blocks {
    /// Without memory, until there is something to receive.
    pub fn new() -> Blocks {
        Blocks::default()
    }

    /// Has `receive` fill what it can of at most `len_max_bytes`, and says whether it filled everything it was offered.
    pub(crate) fn poll_receive(
        &self,
        len_max_bytes: usize,
        receive: impl FnOnce(&mut [u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<(Bytes, bool)>> {
        assert!(len_max_bytes > 0, "receiving nothing looks like the end of the stream");
        let mut block = self.0.borrow_mut();
        if block.len() < ROOM_MIN_BYTES.min(len_max_bytes) {
            *block = BytesMut::zeroed(BLOCK_BYTES);
        }
        let room = block.len().min(len_max_bytes).min(RECEIVE_MAX_BYTES);
        let count_bytes = ready!(receive(&mut block[..room]))?;
        assert!(count_bytes <= room, "received more than there was room for");
        Poll::Ready(Ok((block.split_to(count_bytes).freeze(), count_bytes == room)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(blocks: &Blocks, len_max: usize, with: u8, len: usize) -> (Bytes, usize) {
        let mut offered = 0;
        let taken = blocks.poll_receive(len_max, |room| {
            offered = room.len();
            room[..len].fill(with);
            Poll::Ready(Ok(len))
        });
        match taken {
            Poll::Ready(Ok((bytes, was_full))) => {
                assert_eq!(was_full, len == offered);
                (bytes, offered)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn small_slices_share_a_block_and_keep_what_they_hold() {
        let blocks = Blocks::new();
        let slices: Vec<Bytes> = (0..=255).map(|with| take(&blocks, 1 << 20, with, 100).0).collect();
        for (with, slice) in slices.iter().enumerate() {
            assert_eq!(slice.as_ref(), [with as u8; 100], "slice {with}");
        }
        let ends: usize = slices.windows(2).filter(|pair| pair[0].as_ptr_range().end != pair[1].as_ptr()).count();
        assert_eq!(ends, 0, "25 KB are cut from one block");
    }

    #[test]
    fn no_more_is_offered_than_is_wanted_or_one_receive_may_take() {
        let blocks = Blocks::new();
        assert_eq!(take(&blocks, 10, 1, 10).1, 10);
        assert_eq!(take(&blocks, 1 << 20, 2, RECEIVE_MAX_BYTES).1, RECEIVE_MAX_BYTES);
        let rest = BLOCK_BYTES - RECEIVE_MAX_BYTES - 10;
        assert_eq!(take(&blocks, 1 << 20, 3, rest - 100).1, rest, "the rest of the block");
        assert_eq!(take(&blocks, 100, 4, 100).1, 100, "a little room is enough when little is wanted");
        assert_eq!(take(&blocks, 1 << 20, 5, 1).1, RECEIVE_MAX_BYTES, "a new block");
    }

    #[test]
    fn waiting_changes_nothing() {
        let blocks = Blocks::new();
        let first = take(&blocks, 1 << 20, 1, 5).0;
        assert!(blocks.poll_receive(1 << 20, |_| Poll::Pending).is_pending());
        let second = take(&blocks, 1 << 20, 2, 5).0;
        assert_eq!(first.as_ptr_range().end, second.as_ptr());
    }
}
