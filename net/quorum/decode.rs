//! Finds the packets in what was received, though nothing says in advance how long one is.
//!
//! Flow       `decode` looks at what came since its last call, no byte twice -> a packet, or `needed_len` to wait for.
//! Invariant  a length is a claim: it is held against its limit at once, and nothing is reserved for it. Where the packets
//!            are cut does not change what comes out.
//! Absent     memory of its own: the received bytes are the caller's, from the start of the packet under way.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use super::packet::{RawPacket, encode};
use crate::jute::Reader;

/// Type, zxid and the data's length.
const HEAD_LEN: usize = 16;

/// Identities of one request. A client gets one per `auth` packet.
const IDENTITIES_MAX: usize = 16 * 1024;

/// The least that ZooKeeper lets `jute.maxbuffer.extrasize` be.
const EXTRA_MIN: usize = 1024;

/// How long a packet's parts may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of the data, and again of all identities together.
    pub data_len_max: usize,
}

impl Limits {
    /// As ZooKeeper's members limit each other: `jute.maxbuffer` and again as much, or what
    /// `zookeeper.jute.maxbuffer.extrasize` says.
    pub fn from_settings(jute_max_buffer: usize, extra_size: Option<usize>) -> Limits {
        let extra = extra_size.unwrap_or(jute_max_buffer).max(EXTRA_MIN);
        Limits { data_len_max: jute_max_buffer.saturating_add(extra) }
    }
}

/// Bytes that are no packet. Nothing behind them can be understood any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FramingError {
    /// A length or count that no packet of ours or ZooKeeper's has.
    Length {
        /// Whose it is.
        of: &'static str,
        /// The packet's type, as it claims.
        kind: i32,
        /// What stood there.
        raw: i32,
        /// The largest that is allowed.
        max: usize,
    },
    /// An identity without a scheme or without an id.
    NullIdentity {
        /// The packet's type, as it claims.
        kind: i32,
    },
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FramingError::Length { of, kind, raw, max } => {
                write!(f, "a packet of type {kind} claims {raw} for the length of its {of}, {max} is the most")
            }
            FramingError::NullIdentity { kind } => write!(f, "a packet of type {kind} has a null identity"),
        }
    }
}

impl std::error::Error for FramingError {}

/// What is looked at next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Head,
    IdentityCount,
    /// Lengths of the strings of identities, two each.
    Strings {
        left: usize,
    },
}

/// Finds packets, one after the other. Of one connection in one direction.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    stage: Stage,
    /// Where the stage's own bytes begin, counted from the packet's.
    at: usize,
    /// The packet cannot be complete before so many of its bytes are there.
    needed_len: usize,
    kind: i32,
    /// Where the data stands; `None` when it is null.
    data: Option<Range<usize>>,
    /// Where the identities begin and how many they are; `None` when they are null.
    identities: Option<(usize, usize)>,
}

impl Decoder {
    /// At the start of a packet.
    pub fn new(limits: Limits) -> Decoder {
        Decoder { limits, stage: Stage::Head, at: 0, needed_len: HEAD_LEN, kind: 0, data: None, identities: None }
    }

    /// How many bytes of the packet under way have to be there before another `decode` can find more than the last one
    /// did. Less than it will be in the end, never more than the limits allow at once.
    pub fn needed_len(&self) -> usize {
        self.needed_len
    }

    /// The packet at the start of `received`, its data copied, and its length; `None` until it is whole. Between two
    /// packets `received` must begin with the same bytes each time.
    ///
    /// # Errors
    /// When this is no packet. The decoder is of no use after that.
    pub fn decode(&mut self, received: &[u8]) -> Result<Option<(RawPacket, usize)>, FramingError> {
        let Some(packet_len) = self.scan(received)? else { return Ok(None) };
        let data = self.data.clone().map(|range| Bytes::copy_from_slice(&received[range]));
        Ok(Some((self.finish(received, data), packet_len)))
    }

    /// As [`Decoder::decode`], with data that points into `received` and keeps all of it in memory.
    ///
    /// # Errors
    /// As there.
    pub fn decode_shared(&mut self, received: &Bytes) -> Result<Option<(RawPacket, usize)>, FramingError> {
        let Some(packet_len) = self.scan(received)? else { return Ok(None) };
        let data = self.data.clone().map(|range| received.slice(range));
        Ok(Some((self.finish(received, data), packet_len)))
    }

    /// Goes on where the last call stopped, until the packet's length is known.
    fn scan(&mut self, received: &[u8]) -> Result<Option<usize>, FramingError> {
        while received.len() >= self.needed_len {
            match self.stage {
                Stage::Head => self.take_head(received)?,
                Stage::IdentityCount => self.take_identity_count(received)?,
                Stage::Strings { left: 0 } => return Ok(Some(self.at)),
                Stage::Strings { left } => self.take_string(received, left)?,
            }
        }
        Ok(None)
    }

    fn take_head(&mut self, received: &[u8]) -> Result<(), FramingError> {
        self.kind = int_at(received, 0);
        let len = self.length("data", int_at(received, HEAD_LEN - 4), self.limits.data_len_max)?;
        self.data = len.map(|len| HEAD_LEN..HEAD_LEN + len);
        self.go_on(Stage::IdentityCount, HEAD_LEN + len.unwrap_or(0), 4);
        Ok(())
    }

    fn take_identity_count(&mut self, received: &[u8]) -> Result<(), FramingError> {
        let count = self.length("identities", int_at(received, self.at), IDENTITIES_MAX)?;
        let first_at = self.at + 4;
        self.identities = count.map(|count| (first_at, count));
        self.go_on_with_strings(first_at, count.unwrap_or(0) * 2);
        Ok(())
    }

    fn take_string(&mut self, received: &[u8], left: usize) -> Result<(), FramingError> {
        let (first_at, _) = self.identities.expect("strings follow a count");
        let len_left_max = self.limits.data_len_max.saturating_sub(self.at - first_at);
        let len = self.length("identities", int_at(received, self.at), len_left_max)?;
        let len = len.ok_or(FramingError::NullIdentity { kind: self.kind })?;
        self.go_on_with_strings(self.at + 4 + len, left - 1);
        Ok(())
    }

    fn go_on_with_strings(&mut self, at: usize, left: usize) {
        // Each has at least a length, so those of all that are left are needed at once.
        self.go_on(Stage::Strings { left }, at, 4 * left);
    }

    fn go_on(&mut self, stage: Stage, at: usize, len: usize) {
        (self.stage, self.at, self.needed_len) = (stage, at, at + len);
    }

    /// A length, `None` for null.
    fn length(&self, of: &'static str, raw: i32, max: usize) -> Result<Option<usize>, FramingError> {
        match usize::try_from(raw) {
            Ok(len) if len <= max => Ok(Some(len)),
            Err(_) if raw == -1 => Ok(None),
            _ => Err(FramingError::Length { of, kind: self.kind, raw, max }),
        }
    }

    /// The packet, which lies whole in `received`; then the next one is under way.
    fn finish(&mut self, received: &[u8], data: Option<Bytes>) -> RawPacket {
        let zxid = i64::from_be_bytes(*received[4..].first_chunk().expect("the head was seen"));
        let packet = RawPacket { kind: self.kind, zxid, data, identities: self.identities(&received[..self.at]) };
        *self = Decoder::new(self.limits);
        packet
    }

    fn identities(&self, packet: &[u8]) -> Option<Vec<(Box<str>, Box<str>)>> {
        let (first_at, count) = self.identities?;
        let mut reader = Reader::new(&packet[first_at..]);
        let mut string = || -> Box<str> {
            let text = reader.string().expect("lengths were seen and are within the packet");
            text.expect("null was refused").into()
        };
        Some((0..count).map(|_| (string(), string())).collect())
    }
}

fn int_at(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(*bytes[at..].first_chunk().expect("as many bytes as are needed are there"))
}

/// Decodes `bytes` as a connection's, whole and in small pieces. Both must come to the same, and what decodes must decode
/// again from its own encoding.
///
/// # Panics
/// When they do not, which is a bug.
pub fn fuzz_quorum(bytes: &[u8]) {
    let limits = Limits::from_settings(4096, None);
    let whole = Bytes::copy_from_slice(bytes);
    let (mut all, mut pieces) = (Decoder::new(limits), Decoder::new(limits));
    let (mut start, mut end) = (0, 0);
    loop {
        let packet = all.decode_shared(&whole.slice(start..));
        let piecewise = loop {
            let outcome = pieces.decode(&bytes[start..end]);
            if !matches!(outcome, Ok(None)) || end == bytes.len() {
                break outcome;
            }
            assert!(start + pieces.needed_len() > end, "what is needed is not yet there");
            end = (end + 3).min(bytes.len());
        };
        assert_eq!(packet, piecewise);
        let Ok(Some((packet, packet_len))) = packet else { return };
        super::payload::fuzz_payload(&packet);
        let mut again = Vec::new();
        encode(&packet, &mut again);
        // Text that is no UTF-8 grows when it is replaced, perhaps beyond the limit.
        if again.len() == packet_len {
            assert_eq!(Decoder::new(limits).decode(&again), Ok(Some((packet, packet_len))));
        }
        start += packet_len;
    }
}
