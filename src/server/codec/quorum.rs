//! What members say to each other: raw packets of the quorum port as zab's packets, and what rides along for sessions.
//!
//! Flow       `net::quorum::Decoder` -> `from_raw` -> [`PeerPacket`];  [`PeerPacket`] -> `encode`, or `encode_around` when
//!            a large payload is to be sent from where it lies.
//! Invariant  what a packet must carry, it carries: behind this door no data is null, cut, or another packet's. A peer
//!            that sends anything else is cut off, with the error as the reason in the log.
//! Absent     whether the packet may come now. What is in a transaction, but for its zxid, which must be the packet's.

use std::fmt;

use bytes::Bytes;
use ids::{Epoch, SessionId, Sid, Xid, Zxid};
use net::error::DecodeError;
use net::quorum::payload::{self, Capabilities, LeaderInfo, LearnerInfo, PROTOCOL_VERSION, RequestData};
use net::quorum::{RawPacket, encode_head, encode_tail, kind};
use tree::acl::Identity;
use zab::message::{Hello, Packet};

/// The zxid of packets that are about no transaction.
const NO_ZXID: i64 = -1;

/// The current epoch in an ACKEPOCH that does not count.
const NO_EPOCH: i32 = -1;

/// Where a transaction's zxid stands in its entry, behind session and cxid.
const ENTRY_ZXID_AT: usize = 12;

/// A transaction's header.
const ENTRY_LEN_MIN: usize = 32;

/// Who sent a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// A follower or observer, to its leader.
    FromLearner,
    /// The leader, to a learner.
    FromLeader,
}

/// A client's request on its way from the learner that has the client to the leader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForwardedRequest {
    /// Whose.
    pub session: SessionId,
    /// The client's number for it; with the session, all that the answer is known by.
    pub cxid: Xid,
    /// What it asks for, any number.
    pub opcode: i32,
    /// Its record, as the client sent it.
    pub body: Bytes,
    /// Who the client is. `None` from ZooKeeper for sessions that begin and end; nothing that looks at an ACL has none.
    pub identities: Option<Vec<Identity>>,
}

/// A packet of the quorum port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PeerPacket {
    /// One that agreement is made of. Never a [`Packet::Pong`] when it was received.
    Zab(Packet),
    /// A learner's answer to PING.
    Pong {
        /// As in the question.
        last: Zxid,
        /// Sessions that their clients were heard of in since the last answer, and timeouts in ms.
        touched: Vec<(SessionId, i32)>,
    },
    /// A client's write or sync.
    Request(ForwardedRequest),
    /// A learner asks whether a session that came to it lives.
    Revalidate {
        /// Which.
        session: SessionId,
        /// Its timeout from now on.
        timeout_ms: i32,
    },
    /// The leader's answer. Valid, it also makes the learner the session's owner.
    Revalidated {
        /// Which.
        session: SessionId,
        /// Whether it lives.
        is_valid: bool,
    },
    /// The learner's oldest forwarded sync is through.
    Sync,
}

/// Why a packet is none. Each line names the packet, so that the log says what the peer did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PacketError {
    /// A type that nobody knows.
    Unknown(i32),
    /// A type that only the other side sends.
    Misdirected(&'static str),
    /// Null data where something is needed.
    NoData(&'static str),
    /// Data that is cut or otherwise not this packet's.
    Data {
        /// The packet.
        name: &'static str,
        /// What is wrong.
        source: DecodeError,
    },
    /// A member that speaks the protocol before 3.4, or none.
    Protocol {
        /// The packet.
        name: &'static str,
        /// What it says.
        version: i32,
    },
    /// A transaction under another's zxid.
    OtherZxid {
        /// The packet.
        name: &'static str,
        /// What the packet says.
        packet: Zxid,
        /// What the transaction says.
        entry: Zxid,
    },
    /// A configuration that is no text.
    NotText(&'static str),
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PacketError::Unknown(kind) => write!(f, "a packet of type {kind}, which is unknown"),
            PacketError::Misdirected(name) => write!(f, "{name} from the wrong side of the connection"),
            PacketError::NoData(name) => write!(f, "{name} without data"),
            PacketError::Data { name, .. } => write!(f, "{name} with data that is not its own"),
            PacketError::Protocol { name, version } => {
                write!(f, "{name} with protocol version {version:#x}; {PROTOCOL_VERSION:#x} is the least")
            }
            PacketError::OtherZxid { name, packet, entry } => {
                write!(f, "{name} of {packet} with the transaction {entry}")
            }
            PacketError::NotText(name) => write!(f, "{name} with a configuration that is not UTF-8"),
        }
    }
}

impl std::error::Error for PacketError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            PacketError::Data { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Understands a packet.
///
/// # Errors
/// When it makes no sense from this side. The connection is of no use then.
pub fn from_raw(raw: RawPacket, direction: Direction) -> Result<PeerPacket, PacketError> {
    let name = kind::name(raw.kind).ok_or(PacketError::Unknown(raw.kind))?;
    let parts = Parts { name, zxid: Zxid::from_wire(raw.zxid), data: raw.data };
    let packet = match direction {
        Direction::FromLearner => from_learner(raw.kind, parts, raw.identities),
        Direction::FromLeader => from_leader(raw.kind, parts),
    };
    packet?.ok_or(PacketError::Misdirected(name))
}

/// What all packets have.
struct Parts {
    name: &'static str,
    zxid: Zxid,
    data: Option<Bytes>,
}

impl Parts {
    /// The data, taken apart.
    fn read<T>(&self, decode: impl FnOnce(&Bytes) -> Result<T, DecodeError>) -> Result<T, PacketError> {
        let data = self.data.as_ref().ok_or(PacketError::NoData(self.name))?;
        decode(data).map_err(|source| PacketError::Data { name: self.name, source })
    }

    fn check_protocol(&self, version: i32) -> Result<(), PacketError> {
        if version < PROTOCOL_VERSION {
            return Err(PacketError::Protocol { name: self.name, version });
        }
        Ok(())
    }

    /// A transaction's entry, which is all of the data or what follows a designated leader.
    fn entry(&self, entry: Bytes) -> Result<Bytes, PacketError> {
        if entry.len() < ENTRY_LEN_MIN {
            let source = DecodeError::Short { needed_bytes: ENTRY_LEN_MIN, left_bytes: entry.len() };
            return Err(PacketError::Data { name: self.name, source });
        }
        let zxid = entry[ENTRY_ZXID_AT..].first_chunk().expect("the header's length was checked");
        let zxid = Zxid::from_wire(i64::from_be_bytes(*zxid));
        if zxid != self.zxid {
            return Err(PacketError::OtherZxid { name: self.name, packet: self.zxid, entry: zxid });
        }
        Ok(entry)
    }

    fn designated(&self) -> Result<(Sid, Bytes), PacketError> {
        let (sid, entry) = self.read(payload::decode_designated)?;
        Ok((Sid::new(sid.cast_unsigned()), entry))
    }
}

/// `None` for what learners don't send.
fn from_learner(
    kind: i32,
    parts: Parts,
    identities: Option<Vec<(Box<str>, Box<str>)>>,
) -> Result<Option<PeerPacket>, PacketError> {
    Ok(Some(match kind {
        kind::FOLLOWER_INFO | kind::OBSERVER_INFO => {
            let info = parts.read(|data| LearnerInfo::decode(data))?;
            parts.check_protocol(info.protocol_version)?;
            PeerPacket::Zab(Packet::Hello(Hello {
                sid: Sid::new(info.sid.cast_unsigned()),
                is_observer: kind == kind::OBSERVER_INFO,
                accepted_epoch: parts.zxid.epoch(),
                config_version: info.config_version.cast_unsigned(),
                is_ringkeeper: info.capabilities.is_some(),
            }))
        }
        kind::ACK_EPOCH => {
            let epoch = parts.read(|data| payload::decode_epoch(data))?;
            let current_epoch = (epoch != NO_EPOCH).then_some(Epoch::new(epoch.cast_unsigned()));
            PeerPacket::Zab(Packet::AckEpoch { last: parts.zxid, current_epoch })
        }
        kind::ACK => PeerPacket::Zab(Packet::Ack { zxid: parts.zxid }),
        kind::PING => {
            let touched = parts.read(|data| payload::decode_touched(data))?;
            let touched = touched.into_iter().map(|(id, timeout_ms)| (SessionId::new(id), timeout_ms)).collect();
            PeerPacket::Pong { last: parts.zxid, touched }
        }
        kind::REVALIDATE => {
            let (session, timeout_ms) = parts.read(|data| payload::decode_revalidate(data))?;
            PeerPacket::Revalidate { session: SessionId::new(session), timeout_ms }
        }
        kind::REQUEST => {
            let RequestData { session, cxid, opcode, body } = parts.read(RequestData::decode)?;
            let identities =
                identities.map(|list| list.into_iter().map(|(scheme, id)| Identity { scheme, id }).collect());
            let (session, cxid) = (SessionId::new(session), Xid::new(cxid));
            PeerPacket::Request(ForwardedRequest { session, cxid, opcode, body, identities })
        }
        _ => return Ok(None),
    }))
}

/// `None` for what leaders don't send.
fn from_leader(kind: i32, parts: Parts) -> Result<Option<PeerPacket>, PacketError> {
    let zxid = parts.zxid;
    Ok(Some(PeerPacket::Zab(match kind {
        kind::LEADER_INFO => {
            let info = parts.read(|data| LeaderInfo::decode(data))?;
            parts.check_protocol(info.protocol_version)?;
            Packet::LeaderInfo { epoch: zxid.epoch(), is_ringkeeper: info.capabilities.is_some() }
        }
        kind::DIFF => Packet::Diff { last: zxid },
        kind::TRUNC => Packet::Trunc { last: zxid },
        kind::SNAP => Packet::Snap { last: zxid },
        kind::NEW_LEADER => Packet::NewLeader { epoch: zxid.epoch(), config: config(&parts)? },
        kind::UP_TO_DATE => Packet::UpToDate,
        kind::PROPOSAL => Packet::Proposal { zxid, entry: parts.entry(parts.read(|data| Ok(data.clone()))?)? },
        kind::INFORM => Packet::Inform { zxid, entry: parts.entry(parts.read(|data| Ok(data.clone()))?)? },
        kind::COMMIT => Packet::Commit { zxid },
        kind::COMMIT_AND_ACTIVATE => Packet::CommitAndActivate { zxid, designated: parts.designated()?.0 },
        kind::INFORM_AND_ACTIVATE => {
            let (designated, entry) = parts.designated()?;
            Packet::InformAndActivate { zxid, designated, entry: parts.entry(entry)? }
        }
        kind::PING => Packet::Ping { last: zxid },
        kind::REVALIDATE => {
            let (session, is_valid) = parts.read(|data| payload::decode_revalidated(data))?;
            return Ok(Some(PeerPacket::Revalidated { session: SessionId::new(session), is_valid }));
        }
        kind::SYNC => return Ok(Some(PeerPacket::Sync)),
        _ => return Ok(None),
    })))
}

/// ZooKeeper takes one byte or less for no configuration.
fn config(parts: &Parts) -> Result<Option<Box<str>>, PacketError> {
    match parts.data.as_deref() {
        None | Some([] | [_]) => Ok(None),
        Some(text) => {
            let text = str::from_utf8(text).map_err(|_| PacketError::NotText(parts.name))?;
            Ok(Some(text.into()))
        }
    }
}

/// What follows the bytes that [`encode_around`] has appended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Behind {
    /// Comes next, from where it lies.
    pub payload: Bytes,
    /// Comes after it.
    pub tail: Vec<u8>,
}

/// Appends a whole packet.
pub fn encode(packet: &PeerPacket, out: &mut Vec<u8>) {
    let behind = encode_around(packet, usize::MAX, out);
    assert!(behind.is_none(), "no payload is that large");
}

/// Appends a packet, up to its payload if that has `shared_len_min` bytes or more: the rest is then the caller's to send.
///
/// # Panics
/// When a payload is 2 GiB or longer, far beyond any limit.
pub fn encode_around(packet: &PeerPacket, shared_len_min: usize, out: &mut Vec<u8>) -> Option<Behind> {
    let outgoing = outgoing(packet);
    let payload_len = outgoing.payload.map_or(0, Bytes::len);
    encode_head(outgoing.kind, outgoing.zxid, outgoing.data.as_ref().map(|data| data.len() + payload_len), out);
    out.extend_from_slice(outgoing.data.as_deref().unwrap_or_default());
    let identities = outgoing.identities.map(|list| list.iter().map(|identity| (&*identity.scheme, &*identity.id)));
    match outgoing.payload {
        Some(payload) if payload.len() >= shared_len_min => {
            let mut tail = Vec::new();
            encode_tail(identities, &mut tail);
            Some(Behind { payload: payload.clone(), tail })
        }
        payload => {
            out.extend_from_slice(payload.map_or(&[][..], |payload| &payload[..]));
            encode_tail(identities, out);
            None
        }
    }
}

/// A packet in the order of its bytes.
struct Outgoing<'p> {
    kind: i32,
    zxid: i64,
    /// The data, or what stands in it before the payload.
    data: Option<Vec<u8>>,
    /// The end of the data.
    payload: Option<&'p Bytes>,
    identities: Option<&'p [Identity]>,
}

impl<'p> Outgoing<'p> {
    fn bare(kind: i32, zxid: i64) -> Outgoing<'p> {
        Outgoing { kind, zxid, data: None, payload: None, identities: None }
    }

    fn with(self, fill: impl FnOnce(&mut Vec<u8>)) -> Outgoing<'p> {
        let mut data = Vec::new();
        fill(&mut data);
        Outgoing { data: Some(data), ..self }
    }

    fn entry(kind: i32, zxid: Zxid, entry: &'p Bytes) -> Outgoing<'p> {
        Outgoing { data: Some(Vec::new()), payload: Some(entry), ..Outgoing::bare(kind, zxid.to_wire()) }
    }
}

fn outgoing(packet: &PeerPacket) -> Outgoing<'_> {
    match packet {
        PeerPacket::Zab(packet) => outgoing_zab(packet),
        PeerPacket::Pong { last, touched } => Outgoing::bare(kind::PING, last.to_wire()).with(|data| {
            touched
                .iter()
                .for_each(|(session, timeout_ms)| payload::encode_touched(session.to_i64(), *timeout_ms, data));
        }),
        PeerPacket::Request(request) => {
            let head = |data: &mut Vec<u8>| {
                let (session, cxid) = (request.session.to_i64(), request.cxid.to_i32());
                payload::encode_request_head(session, cxid, request.opcode, data);
            };
            let identities = request.identities.as_deref();
            Outgoing { payload: Some(&request.body), identities, ..Outgoing::bare(kind::REQUEST, NO_ZXID).with(head) }
        }
        PeerPacket::Revalidate { session, timeout_ms } => Outgoing::bare(kind::REVALIDATE, NO_ZXID)
            .with(|data| payload::encode_touched(session.to_i64(), *timeout_ms, data)),
        PeerPacket::Revalidated { session, is_valid } => Outgoing::bare(kind::REVALIDATE, NO_ZXID)
            .with(|data| payload::encode_revalidated(session.to_i64(), *is_valid, data)),
        PeerPacket::Sync => Outgoing::bare(kind::SYNC, 0),
    }
}

fn outgoing_zab(packet: &Packet) -> Outgoing<'_> {
    let capabilities = |is_ringkeeper: bool| is_ringkeeper.then(Capabilities::default);
    match packet {
        Packet::Hello(hello) => {
            let kind = if hello.is_observer { kind::OBSERVER_INFO } else { kind::FOLLOWER_INFO };
            let info = LearnerInfo {
                sid: hello.sid.to_u64().cast_signed(),
                protocol_version: PROTOCOL_VERSION,
                config_version: hello.config_version.cast_signed(),
                capabilities: capabilities(hello.is_ringkeeper),
            };
            Outgoing::bare(kind, epoch_start(hello.accepted_epoch)).with(|data| info.encode(data))
        }
        Packet::LeaderInfo { epoch, is_ringkeeper } => {
            let capabilities = capabilities(*is_ringkeeper);
            let info = LeaderInfo { protocol_version: PROTOCOL_VERSION, capabilities };
            Outgoing::bare(kind::LEADER_INFO, epoch_start(*epoch)).with(|data| info.encode(data))
        }
        Packet::AckEpoch { last, current_epoch } => {
            let epoch = current_epoch.map_or(NO_EPOCH, |epoch| epoch.to_u32().cast_signed());
            Outgoing::bare(kind::ACK_EPOCH, last.to_wire()).with(|data| data.extend_from_slice(&epoch.to_be_bytes()))
        }
        Packet::Diff { last } => Outgoing::bare(kind::DIFF, last.to_wire()),
        Packet::Trunc { last } => Outgoing::bare(kind::TRUNC, last.to_wire()),
        Packet::Snap { last } => Outgoing::bare(kind::SNAP, last.to_wire()),
        Packet::NewLeader { epoch, config } => {
            let data = config.as_ref().map(|text| text.as_bytes().to_vec());
            Outgoing { data, ..Outgoing::bare(kind::NEW_LEADER, epoch_start(*epoch)) }
        }
        Packet::UpToDate => Outgoing::bare(kind::UP_TO_DATE, NO_ZXID),
        Packet::Sync => Outgoing::bare(kind::SYNC, 0),
        Packet::Proposal { zxid, entry } => Outgoing::entry(kind::PROPOSAL, *zxid, entry),
        Packet::Inform { zxid, entry } => Outgoing::entry(kind::INFORM, *zxid, entry),
        Packet::Ack { zxid } => Outgoing::bare(kind::ACK, zxid.to_wire()),
        Packet::Commit { zxid } => Outgoing::bare(kind::COMMIT, zxid.to_wire()),
        Packet::CommitAndActivate { zxid, designated } => {
            Outgoing::bare(kind::COMMIT_AND_ACTIVATE, zxid.to_wire()).with(|data| put_sid(*designated, data))
        }
        Packet::InformAndActivate { zxid, designated, entry } => {
            Outgoing::entry(kind::INFORM_AND_ACTIVATE, *zxid, entry).with(|data| put_sid(*designated, data))
        }
        Packet::Ping { last } => Outgoing::bare(kind::PING, last.to_wire()),
        // Null data would stop ZooKeeper's leader.
        Packet::Pong { last } => Outgoing::bare(kind::PING, last.to_wire()).with(|_| {}),
    }
}

/// The zxid that stands for an epoch.
fn epoch_start(epoch: Epoch) -> i64 {
    Zxid::new(epoch, 0).to_wire()
}

fn put_sid(sid: Sid, data: &mut Vec<u8>) {
    data.extend_from_slice(&sid.to_u64().to_be_bytes());
}

/// Takes `bytes` for a packet of either side; what is understood must be the same after encoding it.
///
/// # Panics
/// When it is not, which is a bug.
pub fn fuzz_peer_packet(bytes: &[u8]) {
    let limits = net::quorum::Limits::from_settings(bytes.len(), None);
    let Ok(Some((raw, _))) = net::quorum::Decoder::new(limits).decode(bytes) else { return };
    for direction in [Direction::FromLearner, Direction::FromLeader] {
        let Ok(packet) = from_raw(raw.clone(), direction) else { continue };
        let mut again = Vec::new();
        let behind = encode_around(&packet, 8, &mut again);
        if let Some(Behind { payload, tail }) = behind {
            again.extend_from_slice(&payload);
            again.extend_from_slice(&tail);
        }
        let limits = net::quorum::Limits::from_settings(again.len(), None);
        let decoded = net::quorum::Decoder::new(limits).decode(&again).expect("our own packet");
        let (raw, len) = decoded.expect("a whole one");
        assert_eq!((from_raw(raw, direction), len), (Ok(packet), again.len()));
    }
}

#[cfg(test)]
mod tests;
