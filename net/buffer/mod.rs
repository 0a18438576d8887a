//! Where bytes wait: what has been received and is not yet handled, what is answered and not yet sent.
//!
//! Invariant  a connection with nothing in either holds no memory for it: blocks belong to the executor's `Pool` and
//!            are lent only while there are bytes in them.

mod blocks;
mod kept;
mod pool;
mod receive;
mod reply;

pub use blocks::Blocks;
pub use kept::Kept;
pub use pool::{BLOCK_BYTES, Pool};
pub use receive::{Frame, ReceiveBuffer};
pub use reply::{ReplyBuffer, ReplyFrame, ReplyTooLarge, SHARED_MIN_BYTES};
