//! Handshake: the first frame of a connection, which asks for a session, new or known.
//!
//! Flow       ConnectRequest -> a new session's transaction, answered when committed | password, then the replica's word.
//! Invariant  a wrong password changes nothing for anybody: ZooKeeper closes the owner's connection first, which lets
//!            whoever knows a session id disconnect its owner.

use std::rc::Rc;

use ids::{SessionId, Zxid};
use net::jute::{Record as _, decode};
use net::opcode::OpCode;
use net::record::{ConnectRequest, ConnectResponse};
use tree::session::{is_password, password};

use super::super::messages::{ConnId, ToReplica};
use super::super::metrics::Counter;
use super::super::replica::Now;
use super::super::replica::member::Mode;
use super::answer::Question;
use super::connection::{Entry, Phase, Wait};
use super::{Frontend, Next};

impl Frontend {
    pub(super) fn handshake(&mut self, id: ConnId, frame: &[u8], now: Now) -> Option<Next> {
        let Ok(request) = decode::<ConnectRequest<'_>>(frame) else {
            tracing::warn!(peer = ?self.peer(id), "closing a connection whose first frame is no ConnectRequest");
            return Some(Next::Close);
        };
        self.metrics.count(Counter::ConnectionRequest, 1);
        if self.mode == Mode::Idle {
            tracing::debug!(peer = ?self.peer(id), "closing a connection: this member has no leader");
            return Some(Next::Close);
        }
        if self.throttle_handshake(request.session_id != 0, now) {
            return Some(Next::Close);
        }
        let timeout_ms =
            request.timeout_ms.clamp(self.settings.session_timeout_min_ms, self.settings.session_timeout_max_ms);
        let asked = self.ask(id)?;
        let conn = self.conn(id)?;
        conn.timeout_ms = timeout_ms;
        conn.knows_read_only = request.read_only.is_some();
        conn.phase = Phase::Establishing;
        conn.enqueue(Entry {
            xid: 0,
            op: Some(OpCode::CreateSession),
            received: now.instant,
            large_bytes: 0,
            wait: Wait::Commit { ticket: asked.ticket },
        });
        // Whether the client has seen a later state is for the replica to say: this core may be a moment behind it.
        let seen = Zxid::from_wire(request.last_zxid_seen);
        if request.session_id == 0 {
            self.to_replica.post(ToReplica::Open { asked, timeout_ms, seen });
        } else {
            self.metrics.count(Counter::ConnectionRevalidate, 1);
            let (origin, session) = (asked.origin, SessionId::new(request.session_id));
            let is_password_right = request.password.is_some_and(|presented| is_password(session, presented));
            self.to_replica.post(ToReplica::Attach { origin, session, timeout_ms, seen, is_password_right });
        }
        Some(Next::Wait)
    }

    /// The replica has given the session to this connection.
    pub(super) fn attached(&mut self, id: ConnId, session: SessionId, now: Now) {
        let Some((question, _)) = self.dequeue(id) else { return };
        self.established(question, session, now);
        self.run_queue(id, now);
    }

    /// There is no such session for this client.
    pub(super) fn unknown_session(&mut self, id: ConnId, session: SessionId, now: Now) {
        let Some((question, _)) = self.dequeue(id) else { return };
        let Some(conn) = self.conn(id) else { return };
        let read_only = conn.knows_read_only.then_some(false);
        tracing::info!(peer = %conn.link.peer_addr(), %session, "session refused: unknown, expired, or wrong password");
        self.respond(question, &ConnectResponse::refused(read_only), now);
        self.finish(id);
    }

    /// The client must find a server that has what it has seen.
    pub(super) fn ahead(&mut self, id: ConnId, seen: Zxid) {
        let applied = self.tree.borrow().last_zxid();
        let Some(conn) = self.conn(id) else { return };
        tracing::warn!(peer = %conn.link.peer_addr(), %seen, %applied, "refusing a client that has seen a later state than this server; it must try another");
        self.close(id);
    }

    /// The session exists: tells the client and serves it.
    pub(super) fn established(&mut self, question: Question, session: SessionId, now: Now) {
        let Some(conn) = self.conn(question.conn) else { return };
        conn.phase = Phase::Serving;
        conn.session = session;
        conn.resume.ring();
        let secret = password(conn.session);
        let response = ConnectResponse {
            protocol_version: 0,
            timeout_ms: conn.timeout_ms,
            session_id: conn.session.to_i64(),
            password: Some(&secret),
            read_only: conn.knows_read_only.then_some(false),
        };
        self.by_session.insert(session, question.conn);
        self.respond(question, &response, now);
    }

    fn respond(&mut self, question: Question, response: &ConnectResponse<'_>, now: Now) {
        let Some(link) = self.conn(question.conn).map(|conn| Rc::clone(&conn.link)) else { return };
        let mut outbox = link.outbox();
        let mut frame = outbox.frame();
        response.encode(&mut frame.writer());
        let body_len = frame.finish();
        let zxid = self.tree.borrow().last_zxid().to_wire();
        drop(outbox);
        self.answered(question, zxid, body_len, now);
    }
}
