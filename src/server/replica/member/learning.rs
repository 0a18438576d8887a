//! Learning: what a follower or observer does for its clients. Writes, syncs and sessions go to the leader; answers come
//! back with the commits, known by session and cxid, or as words of their own.
//!
//! Invariant  a request that was forwarded is answered when its transaction is applied here, so that whoever is answered
//!            reads it here. When the leader is lost nobody knows what became of it: the client's connection is closed.

use ids::{SessionId, Xid};
use net::opcode::OpCode;
use tree::acl::Identity;
use zab::outbox::Standing;

use super::super::super::codec::quorum::{ForwardedRequest, PeerPacket};
use super::super::super::messages::{Asked, Origin, ToReplica, ToServe, Write};
use super::super::{Holder, Replica};
use super::Member;

/// A connection that has presented a session, and waits for the leader's word.
#[derive(Clone, Copy, Debug)]
pub struct Attaching {
    origin: Origin,
    timeout_ms: i32,
}

impl Member {
    /// Sessions heard of since the last time, for the leader.
    pub(super) fn take_touched(&mut self) -> Vec<(SessionId, i32)> {
        let mut touched: Vec<(SessionId, i32)> = self.touched.drain().collect();
        touched.sort_unstable_by_key(|(session, _)| session.to_i64());
        touched
    }

    /// Clients' connections are closed: nobody waits for anything.
    pub(super) fn forget_clients(&mut self) {
        self.opens_at = None;
        self.forwarded.clear();
        self.forwarded_syncs.clear();
        self.revalidating.clear();
        self.timeouts.clear();
        self.touched.clear();
        self.syncs.clear();
    }

    fn forward(&mut self, request: ForwardedRequest) {
        let Standing::Learning { link, .. } = self.standing else { return };
        self.wires.send(link, &PeerPacket::Request(request));
    }

    /// Who waits for a transaction, if it is a client here.
    ///
    /// # Errors
    /// A request before it got no transaction, which no leader may do: the client cannot be answered any more.
    pub(in super::super) fn take_forwarded(&mut self, session: SessionId, cxid: Xid) -> Result<Option<Asked>, Asked> {
        let Some(waiting) = self.forwarded.get_mut(&session) else { return Ok(None) };
        let Some(at) = waiting.iter().position(|(waiting, _)| *waiting == cxid) else { return Ok(None) };
        let (_, asked) = waiting.drain(..=at).next_back().expect("one was found");
        if waiting.is_empty() {
            self.forwarded.remove(&session);
        }
        if at == 0 { Ok(Some(asked)) } else { Err(asked) }
    }

    fn wait_for(&mut self, session: SessionId, cxid: Xid, asked: Asked) {
        self.forwarded.entry(session).or_default().push_back((cxid, asked));
    }
}

impl Replica {
    /// A client's request, at a member that does not lead.
    pub(in super::super) fn forward(&mut self, message: ToReplica) {
        if !self.stands() {
            return; // Its connection is being closed.
        }
        match message {
            ToReplica::Write(write) => self.forward_write(write),
            ToReplica::Open { asked, timeout_ms, seen } => {
                if self.is_ahead(seen) {
                    return self.tell(asked.origin.core, ToServe::Ahead { conn: asked.origin.conn, seen });
                }
                let session = self.new_session_id();
                self.owners.insert(session, Holder::Here(asked.origin));
                let member = self.member_mut();
                member.timeouts.insert(session, timeout_ms);
                member.wait_for(session, Xid::new(0), asked);
                let body = timeout_ms.to_be_bytes().to_vec().into();
                let opcode = OpCode::CreateSession.to_wire();
                member.forward(ForwardedRequest { session, cxid: Xid::new(0), opcode, body, identities: None });
            }
            ToReplica::Attach { origin, session, timeout_ms, seen, is_password_right } => {
                if self.is_ahead(seen) {
                    return self.tell(origin.core, ToServe::Ahead { conn: origin.conn, seen });
                }
                if !is_password_right {
                    return self.tell(origin.core, ToServe::Unknown { conn: origin.conn, session });
                }
                let member = self.member_mut();
                let Standing::Learning { link, .. } = member.standing else { return };
                let waiting = member.revalidating.entry(session).or_default();
                waiting.push_back(Attaching { origin, timeout_ms });
                member.wires.send(link, &PeerPacket::Revalidate { session, timeout_ms });
            }
            ToReplica::Close { asked, session, cxid } => {
                if self.owners.get(&session) != Some(&Holder::Here(asked.origin)) {
                    return self.tell(asked.origin.core, ToServe::Kicked(asked.origin.conn));
                }
                let member = self.member_mut();
                member.wait_for(session, cxid, asked);
                let opcode = OpCode::CloseSession.to_wire();
                let body = bytes::Bytes::new();
                member.forward(ForwardedRequest { session, cxid, opcode, body, identities: None });
            }
            ToReplica::Sync { asked, session, cxid, body, identities } => {
                let member = self.member_mut();
                member.forwarded_syncs.push_back(asked);
                let opcode = OpCode::Sync.to_wire();
                let identities = Some(identities.to_vec());
                member.forward(ForwardedRequest { session, cxid, opcode, body, identities });
            }
            ToReplica::Detach { origin, session } => {
                self.detach(origin, session);
                self.member_mut().timeouts.remove(&session);
            }
            ToReplica::Touch(_) | ToReplica::Ask(..) | ToReplica::Facts(..) => unreachable!("handled before"),
        }
    }

    fn forward_write(&mut self, write: Write) {
        let Asked { origin, .. } = write.asked;
        if self.owners.get(&write.session) != Some(&Holder::Here(origin)) {
            return self.tell(origin.core, ToServe::Kicked(origin.conn));
        }
        let member = self.member_mut();
        member.wait_for(write.session, write.cxid, write.asked);
        let identities: Vec<Identity> = write.identities.to_vec();
        member.forward(ForwardedRequest {
            session: write.session,
            cxid: write.cxid,
            opcode: write.op.to_wire(),
            body: write.body,
            identities: Some(identities),
        });
    }

    /// A client here was heard of, at a member that does not lead.
    pub(in super::super) fn note_touch(&mut self, session: SessionId) {
        let member = self.member_mut();
        if let Some(timeout_ms) = member.timeouts.get(&session) {
            member.touched.insert(session, *timeout_ms);
        }
    }

    /// The leader's word about a session that was presented here.
    pub(super) fn on_revalidated(&mut self, session: SessionId, is_valid: bool) {
        let member = self.member_mut();
        let Some(waiting) = member.revalidating.get_mut(&session) else { return };
        let Some(Attaching { origin, timeout_ms }) = waiting.pop_front() else { return };
        if waiting.is_empty() {
            member.revalidating.remove(&session);
        }
        let Origin { core, conn } = origin;
        if !is_valid {
            return self.tell(core, ToServe::Unknown { conn, session });
        }
        member.timeouts.insert(session, timeout_ms);
        let previous = self.owners.insert(session, Holder::Here(origin));
        if let Some(Holder::Here(previous)) = previous.filter(|previous| *previous != Holder::Here(origin)) {
            self.tell(previous.core, ToServe::Kicked(previous.conn));
        }
        self.tell(core, ToServe::Attached { conn, session });
    }

    /// The oldest sync that was forwarded is through: everything committed before it has come.
    pub(super) fn on_synced(&mut self) {
        if let Some(asked) = self.member_mut().forwarded_syncs.pop_front() {
            self.tell_synced_behind(self.committed, asked);
        }
    }
}
