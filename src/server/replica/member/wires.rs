//! Wires: the connections of the quorum port, as bytes and as packets.
//!
//! Flow       bytes -> `Wire::receive` -> `next_packet` (while the protocol takes them) | `take_raw` (a snapshot's body);
//!            packet -> `send` -> the turn's bytes -> `flush`.
//! Invariant  a packet is handed over once, in order. Bytes are owned up to (`Taken`) when they are handled, so that a peer
//!            is not read faster than it is heard.
//! Absent     the election port (`ballots`).

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use ids::Sid;
use net::quorum::{Decoder, Limits};
use zab::message::LinkId;

use super::super::super::codec::quorum::{self, Direction, PeerPacket};
use super::super::super::link::messages::{ToLink, WireId};
use super::super::super::mesh::Outlet;

/// Payloads from this size on are sent from where they lie.
const SHARED_LEN_MIN: usize = 8 * 1024;

/// One connection.
#[derive(Debug)]
pub struct Wire {
    /// What the protocol calls it.
    pub link: LinkId,
    /// Who is at the other end, once it has said so.
    pub sid: Option<Sid>,
    /// For logs.
    pub name: Box<str>,
    /// Which side the peer is on.
    pub direction: Direction,
    /// Its bytes are no packets at the moment.
    pub is_raw: bool,
    decoder: Decoder,
    /// Received and not looked at.
    fresh: BytesMut,
    /// Being looked at: whole packets are slices of it.
    current: Bytes,
    untaken: usize,
    out: Vec<u8>,
    ready: Vec<Bytes>,
}

/// All of them.
#[derive(Debug)]
pub struct Wires {
    limits: Limits,
    by_wire: HashMap<WireId, Wire>,
    by_link: HashMap<LinkId, WireId>,
    /// With something to send in this turn.
    dirty: Vec<WireId>,
    next: u64,
}

impl Wires {
    /// None yet.
    pub fn new(limits: Limits) -> Wires {
        Wires { limits, by_wire: HashMap::new(), by_link: HashMap::new(), dirty: Vec::new(), next: 1 }
    }

    /// A name for a connection to be dialled.
    pub fn next_id(&mut self) -> WireId {
        let id = WireId::dialled(self.next);
        self.next += 1;
        id
    }

    /// A connection of the quorum port.
    pub fn add(&mut self, id: WireId, link: LinkId, direction: Direction, name: Box<str>) {
        let wire = Wire {
            link,
            sid: None,
            name,
            direction,
            is_raw: false,
            decoder: Decoder::new(self.limits),
            fresh: BytesMut::new(),
            current: Bytes::new(),
            untaken: 0,
            out: Vec::new(),
            ready: Vec::new(),
        };
        self.by_wire.insert(id, wire);
        self.by_link.insert(link, id);
    }

    /// It is gone.
    pub fn remove(&mut self, id: WireId) -> Option<Wire> {
        let wire = self.by_wire.remove(&id)?;
        self.by_link.remove(&wire.link);
        Some(wire)
    }

    /// The connection of a link.
    pub fn of(&self, link: LinkId) -> Option<WireId> {
        self.by_link.get(&link).copied()
    }

    /// A connection.
    pub fn get_mut(&mut self, id: WireId) -> Option<&mut Wire> {
        self.by_wire.get_mut(&id)
    }

    /// Encodes a packet into the turn's bytes.
    pub fn send(&mut self, link: LinkId, packet: &PeerPacket) {
        let Some(id) = self.by_link.get(&link) else { return };
        let wire = self.by_wire.get_mut(id).expect("links have wires");
        if wire.out.is_empty() && wire.ready.is_empty() {
            self.dirty.push(*id);
        }
        if let Some(behind) = quorum::encode_around(packet, SHARED_LEN_MIN, &mut wire.out) {
            wire.close_piece();
            wire.ready.push(behind.payload);
            wire.out = behind.tail;
        }
    }

    /// Bytes that are no packet.
    pub fn send_raw(&mut self, link: LinkId, bytes: Bytes) {
        let Some(id) = self.by_link.get(&link) else { return };
        let wire = self.by_wire.get_mut(id).expect("links have wires");
        if wire.out.is_empty() && wire.ready.is_empty() {
            self.dirty.push(*id);
        }
        wire.close_piece();
        wire.ready.push(bytes);
    }

    /// Posts the turn's bytes.
    pub fn flush(&mut self, link: &Outlet<ToLink>) {
        for id in std::mem::take(&mut self.dirty) {
            let Some(wire) = self.by_wire.get_mut(&id) else { continue };
            wire.close_piece();
            for bytes in wire.ready.drain(..) {
                link.post(ToLink::Send { wire: id, bytes });
            }
        }
    }
}

impl Wire {
    fn close_piece(&mut self) {
        if !self.out.is_empty() {
            self.ready.push(Bytes::from(std::mem::take(&mut self.out)));
        }
    }

    /// Bytes have come.
    pub fn receive(&mut self, bytes: &Bytes) {
        self.untaken += bytes.len();
        // Copied, because it lies in a block that all connections receive into, and entries stay for long.
        self.fresh.extend_from_slice(bytes);
    }

    /// The next packet, if a whole one has come.
    ///
    /// # Errors
    /// What came is none; the line says what is wrong.
    pub fn next_packet(&mut self) -> Result<Option<PeerPacket>, String> {
        loop {
            if self.current.len() >= self.decoder.needed_len() {
                let found = self.decoder.decode_shared(&self.current).map_err(|error| error.to_string())?;
                if let Some((raw, len)) = found {
                    self.current = self.current.slice(len..);
                    return quorum::from_raw(raw, self.direction).map(Some).map_err(|error| describe(&error));
                }
            }
            // A packet under way is put together once it can be whole, not with every piece of it.
            if self.fresh.is_empty() || self.current.len() + self.fresh.len() < self.decoder.needed_len() {
                return Ok(None);
            }
            self.join();
        }
    }

    fn join(&mut self) {
        let fresh = std::mem::take(&mut self.fresh);
        self.current = if self.current.is_empty() {
            fresh.freeze()
        } else {
            let mut joined = BytesMut::with_capacity(self.current.len() + fresh.len());
            joined.extend_from_slice(&self.current);
            joined.extend_from_slice(&fresh);
            joined.freeze()
        };
    }

    /// Everything that has come and is no packet.
    pub fn take_raw(&mut self) -> Bytes {
        if !self.fresh.is_empty() {
            self.join();
        }
        std::mem::take(&mut self.current)
    }

    /// What followed the raw bytes.
    pub fn put_back(&mut self, rest: Bytes) {
        assert!(self.current.is_empty() && self.fresh.is_empty(), "it was taken from there");
        self.current = rest;
    }

    /// Bytes handled since this was last asked.
    pub fn take_handled(&mut self) -> usize {
        std::mem::take(&mut self.untaken)
    }
}

/// An error with its cause, in one line.
fn describe(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
