//! Leading: what a leader does for the clients of its learners. Their writes are ordered with its own, their sessions
//! tracked here alone.
//!
//! Invariant  every forwarded request gets a transaction, a refusal's too: the learner knows its answer by nothing else.
//!            A session is used from where it was last presented; from elsewhere its requests are refused.

use ids::{SessionId, Zxid};
use net::error::DecodeError;
use net::opcode::OpCode;
use net::record as wire;
use tree::code::Code;
use tree::request::Request;
use tree::session::{SessionTracker, Standing as SessionStanding};
use zab::message::LinkId;

use super::super::super::codec;
use super::super::super::codec::quorum::{ForwardedRequest, PeerPacket};
use super::super::super::messages::{Asked, Origin, ToServe};
use super::super::{Holder, Now, Order, Replica};

impl Replica {
    /// Everything committed is applied: from here on this replica decides. Sessions get their full timeout anew.
    pub(super) fn begin_to_lead(&mut self) {
        assert!(self.outstanding.is_empty(), "a leader begins with everything applied");
        let now = self.member_mut().looked;
        self.prep = tree::prep::Prep::new();
        self.sessions = SessionTracker::new(self.tick_ms);
        let sessions: Vec<(SessionId, i32)> = self.tree.borrow().sessions().collect();
        for (session, timeout_ms) in sessions {
            self.sessions.track(session, timeout_ms, now);
        }
        tracing::info!(sessions = self.sessions.len(), "leading");
    }

    /// A learner's client was heard of.
    pub(super) fn on_touched(&mut self, touched: Vec<(SessionId, i32)>, now: Now) {
        for (session, _) in touched {
            self.sessions.touch(session, now.monotonic);
        }
    }

    /// A learner asks whether a session that came to it lives.
    pub(super) fn on_revalidate(&mut self, link: LinkId, session: SessionId, timeout_ms: i32, now: Now) {
        let is_valid = self.leads() && self.sessions.renew(session, timeout_ms, now.monotonic);
        if is_valid {
            self.take_over(session, Holder::There(link));
        }
        self.member_mut().wires.send(link, &PeerPacket::Revalidated { session, is_valid });
    }

    /// The session is used from elsewhere now. If its connection was here, that one is told.
    fn take_over(&mut self, session: SessionId, holder: Holder) {
        let previous = self.owners.insert(session, holder);
        if let Some(Holder::Here(Origin { core, conn })) = previous.filter(|previous| *previous != holder) {
            self.tell(core, ToServe::Kicked(conn));
        }
    }

    /// A learner's client asks for something.
    pub(super) fn on_request(&mut self, link: LinkId, request: &ForwardedRequest, now: Now) {
        if !self.leads() {
            return; // The learner will lose its leader in a moment.
        }
        let session = request.session;
        match OpCode::from_wire(request.opcode) {
            Some(OpCode::Sync) => self.tell_peer(now, |peer, _, out| peer.on_sync(link, out)),
            Some(OpCode::CreateSession) => self.open_for(link, request, now),
            Some(OpCode::CloseSession) => {
                if self.sessions.standing(session) == SessionStanding::Open {
                    self.sessions.set_closing(session);
                }
                self.order_forwarded(&Request::CloseSession, request, now);
            }
            op => self.order_for(link, op, request, now),
        }
    }

    fn open_for(&mut self, link: LinkId, request: &ForwardedRequest, now: Now) {
        let Some(timeout_ms) = request.body.first_chunk().map(|bytes| i32::from_be_bytes(*bytes)) else {
            return self.refuse_forwarded(Code::MarshallingError, request, now);
        };
        self.sessions.track(request.session, timeout_ms, now.monotonic);
        self.owners.insert(request.session, Holder::There(link));
        self.order_forwarded(&Request::CreateSession { timeout_ms }, request, now);
    }

    fn order_for(&mut self, link: LinkId, op: Option<OpCode>, request: &ForwardedRequest, now: Now) {
        let session = request.session;
        let standing = self.sessions.standing(session);
        if let Err(code) = standing.check() {
            return self.refuse_forwarded(code, request, now);
        }
        if *self.owners.entry(session).or_insert(Holder::There(link)) != Holder::There(link) {
            return self.refuse_forwarded(Code::SessionMoved, request, now);
        }
        let Some(op) = op.filter(|op| op.is_write()) else {
            return self.refuse_forwarded(Code::Unimplemented, request, now);
        };
        let decoded = match wire::Request::decode(op, &request.body) {
            Some(Ok(decoded)) => decoded,
            Some(Err(error)) if op == OpCode::Multi && error != DecodeError::NullAcl => {
                return self.order_forwarded(&Request::MultiUndecodable, request, now);
            }
            Some(Err(_)) => return self.refuse_forwarded(Code::MarshallingError, request, now),
            None => return self.refuse_forwarded(Code::Unimplemented, request, now),
        };
        match codec::request::to_tree(&decoded) {
            Some(decoded) => self.order_forwarded(&decoded, request, now),
            None => self.refuse_forwarded(Code::Unimplemented, request, now),
        }
    }

    fn refuse_forwarded(&mut self, code: Code, request: &ForwardedRequest, now: Now) {
        self.order_forwarded(&Request::Refused(code), request, now);
    }

    fn order_forwarded(&mut self, decoded: &Request<'_>, request: &ForwardedRequest, now: Now) {
        let order = Order {
            asked: None,
            session: request.session,
            cxid: request.cxid,
            identities: request.identities.as_deref().unwrap_or_default(),
            frame: Some(&request.body),
        };
        self.order(decoded, &order, now);
    }

    /// A sync of a client here is through when everything that was proposed before it is.
    pub(in super::super) fn sync_here(&mut self, asked: Asked) {
        let upto = self.prepared;
        self.tell_synced_behind(upto, asked);
    }

    /// A client here is told behind everything up to `upto`.
    pub(super) fn tell_synced_behind(&mut self, upto: Zxid, asked: Asked) {
        if self.outstanding.is_empty() || upto <= self.announced {
            return self.tell_synced(asked);
        }
        self.member_mut().syncs.push_back((upto, asked));
    }

    /// Tells everybody whose sync is through.
    pub(in super::super) fn tell_all_synced(&mut self) {
        let announced = self.announced;
        while let Some(member) = self.member.as_mut()
            && let Some((_, asked)) = member.syncs.front().copied().filter(|(upto, _)| *upto <= announced)
        {
            member.syncs.pop_front();
            self.tell_synced(asked);
        }
    }

    fn tell_synced(&mut self, Asked { origin, ticket }: Asked) {
        self.tell(origin.core, ToServe::Synced { conn: origin.conn, ticket });
    }
}
