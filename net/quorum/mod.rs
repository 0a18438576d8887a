//! What members of an ensemble send each other on the quorum port, as bytes.
//!
//! ```text
//! type i32, zxid i64, data buffer, authinfo vector of (scheme ustring, id ustring)      one packet after the other
//! ```
//!
//! Flow       received bytes -> `decode::Decoder` -> [`RawPacket`] -> `payload` takes its data apart;
//!            `payload` -> data -> [`encode`], or [`encode_head`] and [`encode_tail`] around data that stays where it is.
//! Invariant  a packet has no length in front: where it ends shows while it is read, and whatever lengths it claims are
//!            bounded before their bytes are waited for.
//! Absent     which packet may come when, and what it means. The stream behind SNAP, which is no packet.

pub mod decode;
pub mod packet;
pub mod payload;

pub use decode::{Decoder, FramingError, Limits, fuzz_quorum};
pub use packet::{RawPacket, encode, encode_head, encode_tail, kind};

#[cfg(test)]
mod testdata;
#[cfg(test)]
mod tests;
