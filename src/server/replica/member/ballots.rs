//! Ballots: the election port. Carries notifications between the protocol and the connections that the switchboard wants.
//!
//! Flow       bytes -> initial message -> switchboard; then notifications -> the protocol.  The protocol's notification ->
//!            switchboard -> the one connection to its addressee.
//! Invariant  what a peer sends is heard only on the connection that the switchboard has chosen for it. A notification that
//!            makes no sense is dropped, one that has an impossible length costs the connection.
//! Absent     who dials whom (`zab::switchboard`), and what a vote means (`zab::election`).

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use ids::Sid;
use net::election::{ElectionAddress, Initial, InitialMessage, decode_notification, encode_initial, split_initial};
use net::frame::{self, Split};
use zab::config::EnsembleConfig;
use zab::switchboard::{ConnId, DialAddress, DialTiming, Switchboard, SwitchboardAction};
use zab::vote::{Notification, PeerState};

use super::super::super::codec::election::{encode_notification, to_notification};
use super::super::super::link::messages::{ToLink, WireId};
use super::super::{Now, Replica};

/// One connection of the election port.
#[derive(Debug, Default)]
pub struct BallotWire {
    /// Received and not understood yet.
    received: BytesMut,
    /// The peer has said who it is, or we have dialled it.
    is_introduced: bool,
    /// For logs.
    name: Box<str>,
    /// A dial under way is to this member.
    dialled: Option<Sid>,
}

/// All of them.
pub type BallotWires = BTreeMap<WireId, BallotWire>;

/// Who dials whom in this ensemble.
pub fn switchboard(me: Sid, config: &EnsembleConfig, now: ids::Millis) -> Switchboard {
    let mut switchboard = Switchboard::new(me, DialTiming::default());
    let mut out = Vec::new();
    switchboard.on_config(config, None, now, &mut out);
    assert!(out.is_empty(), "the first configuration closes nothing and proposes nobody");
    switchboard
}

impl Replica {
    /// The protocol has something to say to a member.
    pub(super) fn notify(&mut self, to: Sid, notification: Notification, now: Now) {
        // Nobody must elect a member that is about to go.
        if self.member_mut().is_stopping {
            return;
        }
        self.switch(now, |switchboard, clock, out| switchboard.on_send(to, notification, clock, out));
    }

    pub(super) fn connect_all(&mut self, now: Now) {
        self.switch(now, |switchboard, clock, out| switchboard.connect_all(clock, out));
    }

    pub(super) fn tick_ballots(&mut self, now: Now) {
        self.look_whether_looking(now);
        self.switch(now, |switchboard, clock, out| switchboard.on_tick(clock, out));
    }

    /// Tells the switchboard something, and does what it wants done.
    fn switch(&mut self, now: Now, input: impl FnOnce(&mut Switchboard, ids::Millis, &mut Vec<SwitchboardAction>)) {
        let member = self.member_mut();
        let mut out = Vec::new();
        let clock = member.now(now);
        input(&mut member.switchboard, clock, &mut out);
        for action in out {
            self.act_on_switch(action, now);
        }
    }

    fn act_on_switch(&mut self, action: SwitchboardAction, now: Now) {
        let member = self.member_mut();
        match action {
            SwitchboardAction::Dial { sid, address } => {
                tracing::debug!(member = sid.to_u64(), "dialling for elections");
                let wire = member.wires.next_id();
                let name = format!("{}:{}", address.host, address.port).into();
                let ballot = BallotWire { is_introduced: true, name, dialled: Some(sid), ..BallotWire::default() };
                member.ballots.insert(wire, ballot);
                let timeout_ms = member.dial_timeout_ms;
                member.link.post(ToLink::Dial { wire, host: address.host, port: address.port, timeout_ms });
            }
            SwitchboardAction::Introduce { conn } => {
                let Some(own) = member.config.member(member.me) else { return };
                let addresses = own.addresses.iter();
                let addresses = addresses
                    .map(|address| ElectionAddress { host: address.host.clone(), port: address.election_port })
                    .collect();
                let message = InitialMessage { sid: member.me.to_u64().cast_signed(), addresses };
                let mut bytes = Vec::new();
                encode_initial(&message, false, &mut bytes);
                member.send_ballot(conn, bytes);
            }
            SwitchboardAction::Write { conn, notification } => {
                let mut bytes = Vec::new();
                encode_notification(&notification, &mut bytes);
                member.send_ballot(conn, bytes);
            }
            SwitchboardAction::Close { conn } => {
                if let Some(wire) = member.ballot_of(conn) {
                    member.ballots.remove(&wire);
                    member.link.post(ToLink::Close { wire, finish: true });
                }
            }
            SwitchboardAction::Reachability { sid, is_reachable } => {
                tracing::debug!(member = sid.to_u64(), is_reachable, "for elections");
                self.tell_peer(now, |peer, clock, out| peer.on_reachable(sid, is_reachable, clock, out));
            }
        }
    }

    /// Somebody has connected to the election port.
    pub(super) fn on_ballot_accepted(&mut self, wire: WireId, name: Box<str>) {
        let ballot = BallotWire { name, ..BallotWire::default() };
        self.member_mut().ballots.insert(wire, ballot);
    }

    /// A dial has come to a connection.
    pub(super) fn on_ballot_opened(&mut self, wire: WireId, now: Now) {
        let ballot = self.member_mut().ballots.get_mut(&wire);
        if let Some(sid) = ballot.and_then(|ballot| ballot.dialled.take()) {
            self.switch(now, |switchboard, clock, out| switchboard.on_dialled(sid, conn_of(wire), clock, out));
        }
    }

    /// What was written has left.
    pub(super) fn on_ballot_drained(&mut self, wire: WireId, now: Now) {
        self.switch(now, |switchboard, _, out| switchboard.on_written(conn_of(wire), out));
    }

    /// The connection is gone, or was not made.
    pub(super) fn on_ballot_closed(&mut self, wire: WireId, now: Now) {
        let Some(ballot) = self.member_mut().ballots.remove(&wire) else { return };
        tracing::debug!(peer = &*ballot.name, "a connection of the election port is gone");
        match ballot.dialled {
            Some(sid) => self.switch(now, |switchboard, clock, out| switchboard.on_dial_failed(sid, clock, out)),
            None => self.switch(now, |switchboard, clock, out| switchboard.on_closed(conn_of(wire), clock, out)),
        }
    }

    /// Bytes have come.
    pub(super) fn on_ballot_bytes(&mut self, wire: WireId, bytes: &Bytes, now: Now) {
        let member = self.member_mut();
        member.link.post(ToLink::Taken { wire, len: bytes.len() });
        let Some(ballot) = member.ballots.get_mut(&wire) else { return };
        ballot.received.extend_from_slice(bytes);
        if let Err(problem) = self.hear_ballots(wire, now) {
            let member = self.member_mut();
            if let Some(ballot) = member.ballots.remove(&wire) {
                tracing::error!(peer = &*ballot.name, "closing a connection of the election port: {problem}");
                member.link.post(ToLink::Close { wire, finish: false });
                self.switch(now, |switchboard, clock, out| switchboard.on_closed(conn_of(wire), clock, out));
            }
        }
    }

    /// Everything that is whole.
    fn hear_ballots(&mut self, wire: WireId, now: Now) -> Result<(), String> {
        while let Some(ballot) = self.member_mut().ballots.get_mut(&wire) {
            if !ballot.is_introduced {
                match split_initial(&ballot.received).map_err(|error| error.to_string())? {
                    Initial::Partial { .. } => return Ok(()),
                    Initial::Whole { message, len } => {
                        ballot.is_introduced = true;
                        drop(ballot.received.split_to(len));
                        self.introduce(wire, message, now)?;
                    }
                }
                continue;
            }
            match net::election::split_notification(&ballot.received).map_err(|error| error.to_string())? {
                Split::Frame { body_len } => {
                    let framed = ballot.received.split_to(frame::HEADER_LEN + body_len);
                    self.hear(wire, &framed[frame::HEADER_LEN..], now);
                }
                Split::Partial { .. } => return Ok(()),
            }
        }
        Ok(())
    }

    fn introduce(&mut self, wire: WireId, message: InitialMessage, now: Now) -> Result<(), String> {
        let sid = u64::try_from(message.sid).map_err(|_| format!("{} is no server's id", message.sid))?;
        let advertised = message.addresses.into_iter();
        let advertised = advertised.map(|address| DialAddress { host: address.host, port: address.port }).collect();
        self.switch(now, |switchboard, clock, out| {
            switchboard.on_accepted(conn_of(wire), Sid::new(sid), advertised, clock, out);
        });
        Ok(())
    }

    fn hear(&mut self, wire: WireId, body: &[u8], now: Now) {
        let switchboard = &mut self.member_mut().switchboard;
        let Some(from) = switchboard.sid_of(conn_of(wire)) else { return };
        switchboard.on_heard(conn_of(wire));
        let Some(notification) = decode_notification(body).ok().and_then(|wire| to_notification(&wire)) else {
            return tracing::debug!(from = from.to_u64(), "a notification that makes no sense");
        };
        tracing::debug!(from = from.to_u64(), state = ?notification.state, vote = ?notification.vote, round = notification.round, "heard");
        self.tell_peer(now, |peer, clock, out| peer.on_notification(from, &notification, clock, out));
        self.look_whether_looking(now);
    }

    /// The switchboard keeps connections while there is an election.
    pub(super) fn look_whether_looking(&mut self, now: Now) {
        let member = self.member_mut();
        let is_looking = member.peer.election().state() == PeerState::Looking;
        if std::mem::replace(&mut member.is_looking, is_looking) != is_looking {
            self.switch(now, |switchboard, clock, out| switchboard.on_looking(is_looking, clock, out));
        }
    }
}

impl super::Member {
    fn ballot_of(&self, conn: ConnId) -> Option<WireId> {
        let wire = WireId::from_u64(conn.0);
        self.ballots.contains_key(&wire).then_some(wire)
    }

    fn send_ballot(&mut self, conn: ConnId, bytes: Vec<u8>) {
        if let Some(wire) = self.ballot_of(conn) {
            self.link.post(ToLink::Send { wire, bytes: bytes.into() });
        }
    }
}

fn conn_of(wire: WireId) -> ConnId {
    ConnId(wire.to_u64())
}
