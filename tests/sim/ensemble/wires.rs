//! A member's connections to the others: what `server::link` does with sockets, over the world's streams.
//!
//! Invariant  `ToLink` and `FromLink` mean what the link role's own head says. What the world says of a connection that the
//!            replica has closed is for nobody.
//! Absent     holding back what the replica has not `Taken`: the world's own windows bound what is under way.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use ringkeeper::server::link::messages::{Door, FromLink, ToLink, WireId};

use super::{ELECTION_PORT, Process, QUORUM_PORT, node_of};
use crate::sim::network::NodeId;
use crate::sim::schedule::MILLI;
use crate::sim::stream::{ConnId, WINDOW};
use crate::sim::world::Context;

struct Wire {
    conn: ConnId,
    is_open: bool,
    /// Said while it was dialled.
    waiting: Vec<u8>,
    /// Sent in this turn.
    sent: usize,
    /// `Drained` follows when the world says so.
    is_stuffed: bool,
    /// Delivered and not taken.
    untaken: usize,
}

/// All of them.
#[derive(Default)]
pub struct Wires {
    by_wire: BTreeMap<WireId, Wire>,
    by_conn: BTreeMap<ConnId, WireId>,
    accepted: u64,
    /// For the replica.
    told: VecDeque<FromLink>,
    /// With something sent in this turn.
    dirty: Vec<WireId>,
}

impl Wires {
    /// What the replica is to hear.
    pub fn take_told(&mut self) -> VecDeque<FromLink> {
        std::mem::take(&mut self.told)
    }

    /// Whether a connection is one of these.
    pub fn has(&self, conn: ConnId) -> bool {
        self.by_conn.contains_key(&conn)
    }

    /// Does what the replica says.
    pub fn take(&mut self, message: ToLink, context: &mut Context<'_, Process>) {
        match message {
            ToLink::Dial { wire, host, port, timeout_ms } => {
                let Some(node) = node_of(&host).filter(|&node| node != context.id()) else {
                    return self.told.push_back(FromLink::Closed { wire, reason: "no such host".into() });
                };
                let conn = context.dial(node, port, u64::from(timeout_ms) * MILLI);
                self.add(wire, conn, false);
            }
            ToLink::Send { wire, bytes } => {
                let Some(entry) = self.by_wire.get_mut(&wire) else { return };
                if !entry.is_open {
                    return entry.waiting.extend_from_slice(&bytes);
                }
                entry.sent += bytes.len();
                context.send(entry.conn, bytes.to_vec());
                self.dirty.push(wire);
            }
            ToLink::Taken { wire, len } => {
                if let Some(entry) = self.by_wire.get_mut(&wire) {
                    entry.untaken = entry.untaken.checked_sub(len).expect("no more is taken than was given");
                }
            }
            ToLink::Close { wire, finish } => {
                let Some(entry) = self.by_wire.remove(&wire) else { return };
                self.by_conn.remove(&entry.conn);
                if finish && entry.is_open { context.close(entry.conn) } else { context.abort(entry.conn) }
            }
            ToLink::End => {}
        }
    }

    /// The end of a turn: what has left is said to have. True if there is something to hear.
    pub fn end_turn(&mut self, context: &Context<'_, Process>) -> bool {
        for wire in std::mem::take(&mut self.dirty) {
            let Some(entry) = self.by_wire.get_mut(&wire) else { continue };
            let sent = std::mem::take(&mut entry.sent);
            if sent == 0 {
                continue;
            }
            if context.unsent_len(entry.conn) + sent > WINDOW {
                entry.is_stuffed = true;
            } else if !entry.is_stuffed {
                self.told.push_back(FromLink::Drained(wire));
            }
        }
        !self.told.is_empty()
    }

    fn add(&mut self, wire: WireId, conn: ConnId, is_open: bool) {
        let entry = Wire { conn, is_open, waiting: Vec::new(), sent: 0, is_stuffed: false, untaken: 0 };
        self.by_wire.insert(wire, entry);
        self.by_conn.insert(conn, wire);
    }

    /// Somebody has connected.
    pub fn accepted(&mut self, conn: ConnId, from: NodeId, port: u16) {
        let door = match port {
            ELECTION_PORT => Door::Election,
            QUORUM_PORT => Door::Quorum,
            other => unreachable!("nobody listens at {other}"),
        };
        self.accepted += 1;
        let wire = WireId::accepted(self.accepted);
        self.add(wire, conn, true);
        let from = SocketAddr::from((Ipv4Addr::new(10, 0, 0, from as u8), conn.0 as u16));
        self.told.push_back(FromLink::Accepted { wire, door, from });
    }

    /// A dial has come to a connection.
    pub fn opened(&mut self, conn: ConnId, context: &mut Context<'_, Process>) {
        let Some(wire) = self.by_conn.get(&conn).copied() else { return };
        let entry = self.by_wire.get_mut(&wire).expect("the two maps agree");
        entry.is_open = true;
        self.told.push_back(FromLink::Opened(wire));
        let waiting = std::mem::take(&mut entry.waiting);
        if !waiting.is_empty() {
            entry.sent += waiting.len();
            context.send(conn, waiting);
            self.dirty.push(wire);
        }
    }

    /// Bytes have come.
    pub fn bytes(&mut self, conn: ConnId, bytes: Vec<u8>) {
        let Some(wire) = self.by_conn.get(&conn).copied() else { return };
        self.by_wire.get_mut(&wire).expect("the two maps agree").untaken += bytes.len();
        self.told.push_back(FromLink::Bytes(wire, Bytes::from(bytes)));
    }

    /// What had waited has left.
    pub fn drained(&mut self, conn: ConnId) {
        let Some(wire) = self.by_conn.get(&conn).copied() else { return };
        self.by_wire.get_mut(&wire).expect("the two maps agree").is_stuffed = false;
        self.told.push_back(FromLink::Drained(wire));
    }

    /// It is over.
    pub fn closed(&mut self, conn: ConnId, why: &str) {
        let Some(wire) = self.by_conn.remove(&conn) else { return };
        self.by_wire.remove(&wire);
        self.told.push_back(FromLink::Closed { wire, reason: why.into() });
    }
}
