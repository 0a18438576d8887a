//! Blocks of memory that an executor's connections take turns with.
//!
//! Two stacks, because a block to receive into must stay initialised over its whole length, while a block to append to
//! starts empty; one kind would have to be zeroed at every change of hands.

use std::{cell::RefCell, rc::Rc};

/// Size of a block: one receive takes in at most this much, about a hundred small requests.
pub const BLOCK_BYTES: usize = 16 * 1024;

/// Room of a new block to append to: it grows as it must. A whole block for each of ten thousand notifications at once
/// would be 160 MB, touched for the first time before any is sent.
const REPLY_BYTES: usize = 256;

/// Free blocks kept per stack: 1 MiB. More are in use at once only while many clients are slow at the same time.
const FREE_BLOCKS_MAX: usize = 64;

/// The blocks of one executor.
#[derive(Debug, Default)]
pub struct Pool {
    /// Each exactly `BLOCK_BYTES` long.
    receive: RefCell<Vec<Vec<u8>>>,
    /// Each empty, with the room that it was found to need, `BLOCK_BYTES` at most.
    reply: RefCell<Vec<Vec<u8>>>,
}

impl Pool {
    /// An empty pool. It fills as blocks come back.
    pub fn new() -> Rc<Pool> {
        Rc::default()
    }

    /// A block to receive into, `BLOCK_BYTES` long, with anything in it.
    pub(super) fn take_receive(&self) -> Vec<u8> {
        let block = self.receive.borrow_mut().pop();
        block.unwrap_or_else(|| vec![0; BLOCK_BYTES])
    }

    /// An empty block to append to.
    pub(super) fn take_reply(&self) -> Vec<u8> {
        let block = self.reply.borrow_mut().pop();
        block.unwrap_or_else(|| Vec::with_capacity(REPLY_BYTES))
    }

    /// Takes a block back. Those that have grown or shrunk are freed.
    pub(super) fn give_receive(&self, block: Vec<u8>) {
        let mut free = self.receive.borrow_mut();
        if block.len() == BLOCK_BYTES && free.len() < FREE_BLOCKS_MAX {
            free.push(block);
        }
    }

    /// Takes a block back. Those that have grown beyond a block are freed.
    pub(super) fn give_reply(&self, mut block: Vec<u8>) {
        block.clear();
        let mut free = self.reply.borrow_mut();
        if (REPLY_BYTES..=BLOCK_BYTES).contains(&block.capacity()) && free.len() < FREE_BLOCKS_MAX {
            free.push(block);
        }
    }
}
