//! The data of those packets that have a layout of their own.
//!
//! ```text
//! FOLLOWERINFO, OBSERVERINFO   sid i64, protocol version i32, config version i64, [trailer]
//! LEADERINFO                   protocol version i32, [trailer]
//! trailer                      "RNGK", capabilities u32: only Ringkeeper writes it
//! ACKEPOCH                     current epoch i32, or -1
//! PING, answered               any number of (session i64, timeout i32 ms)
//! REVALIDATE                   session i64, timeout i32 ms;  answered: session i64, valid u8
//! REQUEST                      session i64, cxid i32, opcode i32, the client's record
//! COMMITANDACTIVATE            designated leader i64
//! INFORMANDACTIVATE            designated leader i64, transaction
//! ```
//!
//! Invariant  ZooKeeper ignores what follows a hello's 20 bytes, so a learner can say there that it is one of us. A leader
//!            says so only to a learner that did: what follows LEADERINFO's 4 bytes no other member ever sees.
//! Absent     transactions, and the configuration in NEWLEADER: those are all of their packet's data.

use bytes::Bytes;

use super::packet::RawPacket;
use crate::error::DecodeError;
use crate::jute::{Reader, Writer};

/// The protocol version that every ZooKeeper since 3.4 speaks.
pub const PROTOCOL_VERSION: i32 = 0x1_0000;

/// What a hello that does not say its version means: the protocol before 3.4.
const PROTOCOL_VERSION_UNSAID: i32 = 1;

/// Before the capabilities.
const TRAILER_MAGIC: i32 = i32::from_be_bytes(*b"RNGK");

/// Bytes of a trailer.
const TRAILER_LEN: usize = 8;

/// Bytes of a session in a touch table.
const TOUCH_LEN: usize = 12;

/// What a member of our make can do beyond ZooKeeper's protocol. A bit that a reader doesn't know means nothing.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Capabilities(pub u32);

impl Capabilities {
    fn read(reader: &mut Reader<'_>) -> Result<Option<Capabilities>, DecodeError> {
        if reader.rest().len() < TRAILER_LEN || !reader.rest().starts_with(&TRAILER_MAGIC.to_be_bytes()) {
            return Ok(None);
        }
        reader.i32()?;
        Ok(Some(Capabilities(reader.i32()?.cast_unsigned())))
    }

    fn write(self, writer: &mut Writer<'_>) {
        writer.i32(TRAILER_MAGIC);
        writer.i32(self.0.cast_signed());
    }
}

/// A learner's hello.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LearnerInfo {
    /// Its id.
    pub sid: i64,
    /// [`PROTOCOL_VERSION`], or another's.
    pub protocol_version: i32,
    /// Version of its committed configuration.
    pub config_version: i64,
    /// Of a learner of our make.
    pub capabilities: Option<Capabilities>,
}

impl LearnerInfo {
    /// Old learners send only the first 8 bytes, or 12.
    ///
    /// # Errors
    /// When there are fewer than 8.
    pub fn decode(data: &[u8]) -> Result<LearnerInfo, DecodeError> {
        let mut reader = Reader::new(data);
        let sid = reader.i64()?;
        let protocol_version = if reader.rest().is_empty() { PROTOCOL_VERSION_UNSAID } else { reader.i32()? };
        let config_version = if reader.rest().is_empty() { 0 } else { reader.i64()? };
        Ok(LearnerInfo { sid, protocol_version, config_version, capabilities: Capabilities::read(&mut reader)? })
    }

    /// Appends it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.i64(self.sid);
        writer.i32(self.protocol_version);
        writer.i64(self.config_version);
        if let Some(capabilities) = self.capabilities {
            capabilities.write(&mut writer);
        }
    }
}

/// A leader's answer to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeaderInfo {
    /// [`PROTOCOL_VERSION`].
    pub protocol_version: i32,
    /// Of a leader of our make, to a learner of our make.
    pub capabilities: Option<Capabilities>,
}

impl LeaderInfo {
    /// Takes it apart.
    ///
    /// # Errors
    /// When it is cut.
    pub fn decode(data: &[u8]) -> Result<LeaderInfo, DecodeError> {
        let mut reader = Reader::new(data);
        Ok(LeaderInfo { protocol_version: reader.i32()?, capabilities: Capabilities::read(&mut reader)? })
    }

    /// Appends it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        writer.i32(self.protocol_version);
        if let Some(capabilities) = self.capabilities {
            capabilities.write(&mut writer);
        }
    }
}

/// The current epoch in ACKEPOCH; -1 when it doesn't count.
///
/// # Errors
/// When it is cut.
pub fn decode_epoch(data: &[u8]) -> Result<i32, DecodeError> {
    Reader::new(data).i32()
}

/// The sessions in the answer to a PING, each with its timeout in ms.
///
/// # Errors
/// When the last one is cut.
pub fn decode_touched(data: &[u8]) -> Result<Vec<(i64, i32)>, DecodeError> {
    let mut reader = Reader::new(data);
    let mut touched = Vec::with_capacity(data.len() / TOUCH_LEN);
    while !reader.rest().is_empty() {
        touched.push((reader.i64()?, reader.i32()?));
    }
    Ok(touched)
}

/// Appends a session to the answer to a PING; by itself it is the data of a REVALIDATE.
pub fn encode_touched(session: i64, timeout_ms: i32, out: &mut Vec<u8>) {
    let mut writer = Writer::new(out);
    writer.i64(session);
    writer.i32(timeout_ms);
}

/// Session and timeout in ms of a REVALIDATE.
///
/// # Errors
/// When it is cut.
pub fn decode_revalidate(data: &[u8]) -> Result<(i64, i32), DecodeError> {
    let mut reader = Reader::new(data);
    Ok((reader.i64()?, reader.i32()?))
}

/// Session and verdict of the answer to a REVALIDATE.
///
/// # Errors
/// When it is cut.
pub fn decode_revalidated(data: &[u8]) -> Result<(i64, bool), DecodeError> {
    let mut reader = Reader::new(data);
    Ok((reader.i64()?, reader.bool()?))
}

/// Appends the answer to a REVALIDATE.
pub fn encode_revalidated(session: i64, is_valid: bool, out: &mut Vec<u8>) {
    let mut writer = Writer::new(out);
    writer.i64(session);
    writer.bool(is_valid);
}

/// A client's request, on its way to the leader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestData {
    /// Whose.
    pub session: i64,
    /// The client's number for it.
    pub cxid: i32,
    /// What it asks for.
    pub opcode: i32,
    /// Its record, as the client sent it.
    pub body: Bytes,
}

/// Bytes before a request's body.
const REQUEST_HEAD_LEN: usize = 16;

impl RequestData {
    /// Takes it apart; the body points into `data`.
    ///
    /// # Errors
    /// When it is cut before the body.
    pub fn decode(data: &Bytes) -> Result<RequestData, DecodeError> {
        let mut reader = Reader::new(data);
        let (session, cxid, opcode) = (reader.i64()?, reader.i32()?, reader.i32()?);
        Ok(RequestData { session, cxid, opcode, body: data.slice(REQUEST_HEAD_LEN..) })
    }
}

/// Appends what stands before a request's body.
pub fn encode_request_head(session: i64, cxid: i32, opcode: i32, out: &mut Vec<u8>) {
    let mut writer = Writer::new(out);
    writer.i64(session);
    writer.i32(cxid);
    writer.i32(opcode);
}

/// The designated leader, and what follows it: a transaction in INFORMANDACTIVATE, nothing in COMMITANDACTIVATE.
///
/// # Errors
/// When it is cut.
pub fn decode_designated(data: &Bytes) -> Result<(i64, Bytes), DecodeError> {
    let sid = Reader::new(data).i64()?;
    Ok((sid, data.slice(8..)))
}

/// Takes any packet's data apart as each of these; what comes out must be the same after encoding it.
pub(super) fn fuzz_payload(packet: &RawPacket) {
    let Some(data) = &packet.data else { return };
    let mut out = Vec::new();
    if let Ok(info) = LearnerInfo::decode(data) {
        info.encode(&mut out);
        assert_eq!(LearnerInfo::decode(&out), Ok(info));
    }
    out.clear();
    if let Ok(info) = LeaderInfo::decode(data) {
        info.encode(&mut out);
        assert_eq!(LeaderInfo::decode(&out), Ok(info));
    }
    out.clear();
    if let Ok(touched) = decode_touched(data) {
        touched.iter().for_each(|(session, timeout_ms)| encode_touched(*session, *timeout_ms, &mut out));
        assert_eq!(out, **data);
    }
    out.clear();
    if let Ok(request) = RequestData::decode(data) {
        encode_request_head(request.session, request.cxid, request.opcode, &mut out);
        out.extend_from_slice(&request.body);
        assert_eq!(out, **data);
    }
    let _ = (decode_epoch(data), decode_revalidate(data), decode_revalidated(data), decode_designated(data));
}
