//! Hearing: what the link role says, taken apart by connection and packet.
//!
//! Flow       `on_link` -> the connection's bytes -> packets, while whoever has to handle them takes them -> `Taken`.
//! Invariant  a packet that cannot be handled now stays where it is, and its connection is not read on. A peer that sends
//!            what makes no sense is cut off with a line that says what it was.

use zab::message::{LinkId, Packet};
use zab::outbox::CloseReason;

use super::super::super::codec;
use super::super::super::codec::quorum::{Direction, PeerPacket};
use super::super::super::link::messages::{Door, FromLink, ToLink, WireId};
use super::super::{Now, Replica};
use ids::Sid;

impl Replica {
    /// What the link role says.
    pub fn on_link(&mut self, messages: impl Iterator<Item = FromLink>, now: Now) {
        for message in messages {
            self.on_link_message(message, now);
        }
        self.look_whether_looking(now);
    }

    fn on_link_message(&mut self, message: FromLink, now: Now) {
        match message {
            FromLink::Accepted { wire, door: Door::Election, from } => {
                self.on_ballot_accepted(wire, from.to_string().into());
            }
            FromLink::Accepted { wire, door: Door::Quorum, from } => {
                let member = self.member_mut();
                let link = member.peer.new_link();
                member.wires.add(wire, link, Direction::FromLearner, from.to_string().into());
            }
            FromLink::Opened(wire) if self.member_mut().ballots.contains_key(&wire) => self.on_ballot_opened(wire, now),
            FromLink::Opened(wire) => {
                if let Some(link) = self.link_of(wire) {
                    self.tell_peer(now, |peer, clock, out| peer.on_connected(link, clock, out));
                }
            }
            FromLink::Bytes(wire, bytes) => {
                if self.member_mut().ballots.contains_key(&wire) {
                    self.on_ballot_bytes(wire, &bytes, now);
                } else if let Some(connection) = self.member_mut().wires.get_mut(wire) {
                    connection.receive(&bytes);
                    self.hear_wire(wire, now);
                }
            }
            FromLink::Drained(wire) if self.member_mut().ballots.contains_key(&wire) => {
                self.on_ballot_drained(wire, now);
            }
            FromLink::Drained(wire) => {
                if let Some(link) = self.link_of(wire) {
                    self.on_link_drained(link, now);
                }
            }
            FromLink::Closed { wire, .. } if self.member_mut().ballots.contains_key(&wire) => {
                self.on_ballot_closed(wire, now);
            }
            FromLink::Closed { wire, reason } => {
                if let Some(connection) = self.member_mut().wires.remove(wire) {
                    let peer = connection.sid.map(Sid::to_u64);
                    tracing::info!(peer, address = &*connection.name, reason = &*reason, "a link is gone");
                    self.forget_transfers(connection.link);
                    self.tell_peer(now, |peer, clock, out| peer.on_closed(connection.link, clock, out));
                }
            }
        }
    }

    fn link_of(&mut self, wire: WireId) -> Option<LinkId> {
        self.member_mut().wires.get_mut(wire).map(|connection| connection.link)
    }

    /// Goes on with connections whose packets had to wait.
    pub(super) fn hear_all(&mut self, now: Now) {
        for wire in std::mem::take(&mut self.member_mut().blocked) {
            self.hear_wire(wire, now);
        }
    }

    /// Handles what has come on a connection, as far as it may be handled now.
    fn hear_wire(&mut self, id: WireId, now: Now) {
        loop {
            if self.is_blocked(id) {
                let blocked = &mut self.member_mut().blocked;
                if !blocked.contains(&id) {
                    blocked.push(id);
                }
                return;
            }
            let member = self.member_mut();
            let Some(connection) = member.wires.get_mut(id) else { return };
            let link = connection.link;
            if connection.is_raw {
                let bytes = connection.take_raw();
                if bytes.is_empty() {
                    break;
                }
                if let Some(rest) = self.on_state_bytes(link, bytes, now)
                    && let Some(connection) = self.member_mut().wires.get_mut(id)
                {
                    connection.put_back(rest);
                }
                continue;
            }
            match connection.next_packet() {
                Ok(Some(packet)) => self.on_peer_packet(id, link, packet, now),
                Ok(None) => break,
                Err(problem) => return self.cut_off(link, &problem, now),
            }
        }
        let member = self.member_mut();
        if let Some(connection) = member.wires.get_mut(id) {
            let len = connection.take_handled();
            if len > 0 {
                member.link.post(ToLink::Taken { wire: id, len });
            }
        }
    }

    /// Whether a connection's next packet has to wait: for the protocol, or for room in the log.
    fn is_blocked(&mut self, id: WireId) -> bool {
        let Some(connection) = self.member_mut().wires.get_mut(id) else { return false };
        let (link, direction, is_raw) = (connection.link, connection.direction, connection.is_raw);
        if is_raw {
            return !self.takes_state();
        }
        if !self.member_mut().peer.takes_packets(link) {
            return true;
        }
        match direction {
            Direction::FromLeader => !self.has_log_room(),
            Direction::FromLearner => {
                // Requests that come while the last of the history is being applied wait for the moment.
                let is_opening = self.member_mut().opens_at.is_some();
                is_opening || (self.leads() && (self.must_wait() || !self.held.is_empty() || self.log.is_full()))
            }
        }
    }

    /// A peer that sends what makes no sense.
    fn cut_off(&mut self, link: LinkId, problem: &str, now: Now) {
        let member = self.member_mut();
        let Some(wire) = member.wires.of(link) else { return };
        let Some(connection) = member.wires.remove(wire) else { return };
        let peer = connection.sid.map(Sid::to_u64);
        tracing::error!(peer, address = &*connection.name, "cutting off a member that sent {problem}");
        member.link.post(ToLink::Close { wire, finish: false });
        self.forget_transfers(link);
        self.tell_peer(now, |peer, clock, out| peer.on_closed(link, clock, out));
    }

    /// The protocol closes a link.
    pub(super) fn close_link(&mut self, link: LinkId, reason: &CloseReason) {
        let member = self.member_mut();
        let Some(wire) = member.wires.of(link) else { return };
        let connection = member.wires.remove(wire);
        super::tell_closing(connection.and_then(|connection| connection.sid), reason);
        member.link.post(ToLink::Close { wire, finish: false });
        self.forget_transfers(link);
    }

    /// Reaches for the leader's quorum port.
    pub(super) fn dial_leader(&mut self, to: Sid, link: LinkId, now: Now) {
        let member = self.member_mut();
        let address = member.config.member(to).and_then(|spec| spec.addresses.first()).cloned();
        let Some(address) = address else {
            return self.tell_peer(now, |peer, clock, out| peer.on_closed(link, clock, out));
        };
        let wire = member.wires.next_id();
        let name = format!("{}:{}", address.host, address.quorum_port).into();
        member.wires.add(wire, link, Direction::FromLeader, name);
        if let Some(connection) = member.wires.get_mut(wire) {
            connection.sid = Some(to);
        }
        let timeout_ms = member.dial_timeout_ms;
        member.link.post(ToLink::Dial { wire, host: address.host, port: address.quorum_port, timeout_ms });
    }

    fn on_peer_packet(&mut self, id: WireId, link: LinkId, packet: PeerPacket, now: Now) {
        match packet {
            PeerPacket::Zab(packet) => self.on_zab_packet(id, link, packet, now),
            PeerPacket::Pong { last, touched } => {
                self.on_touched(touched, now);
                self.tell_peer(now, |peer, clock, out| peer.on_packet(link, Packet::Pong { last }, clock, out));
            }
            PeerPacket::Request(request) if self.serves(link) => self.on_request(link, &request, now),
            PeerPacket::Revalidate { session, timeout_ms } if self.serves(link) => {
                self.on_revalidate(link, session, timeout_ms, now);
            }
            PeerPacket::Request(_) | PeerPacket::Revalidate { .. } => {
                self.cut_off(link, "a request before it was up to date", now);
            }
            PeerPacket::Revalidated { session, is_valid } => self.on_revalidated(session, is_valid),
            PeerPacket::Sync => self.on_synced(),
        }
    }

    /// Whether a learner is up to date, so that its clients' requests count.
    fn serves(&mut self, link: LinkId) -> bool {
        self.member_mut().peer.handlers().any(|(other, handler)| other == link && handler.is_serving)
    }

    fn on_zab_packet(&mut self, id: WireId, link: LinkId, packet: Packet, now: Now) {
        if let Packet::Hello(hello) = &packet
            && let Some(connection) = self.member_mut().wires.get_mut(id)
        {
            connection.sid = Some(hello.sid);
        }
        if let Packet::Proposal { entry, .. } | Packet::Inform { entry, .. } = &packet {
            match codec::txn::decode(entry, Some(entry)) {
                Ok(mut txn) => {
                    txn.op.adopt_large_data();
                    self.member_mut().staged = Some(txn);
                }
                Err(error) => return self.cut_off(link, &format!("a transaction that is none: {error}"), now),
            }
        }
        self.tell_peer(now, |peer, clock, out| peer.on_packet(link, packet, clock, out));
        self.member_mut().staged = None;
    }
}
