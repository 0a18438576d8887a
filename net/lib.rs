//! Frames, jute and connections: bytes between a socket and ZooKeeper's records. Knows no sessions and no znodes.
//!
//! Flow       socket -> `buffer::ReceiveBuffer` -> `frame` -> `record` (borrowing from the frame) -> the server;
//!            the server -> `record` -> `buffer::ReplyBuffer` -> `conn::Connection` -> socket.
//!            Between members: received bytes -> `quorum::Decoder` -> `quorum::RawPacket`, and back through its `encode`.
//! Invariant  whatever the peer sends, decoding ends in a record or a `DecodeError`: no panic, and no allocation that
//!            is not proportional to the bytes that really arrived.

pub mod buffer;
pub mod conn;
pub mod election;
pub mod error;
pub mod frame;
pub mod jute;
pub mod listener;
pub mod opcode;
pub mod quorum;
pub mod record;
mod sys;
