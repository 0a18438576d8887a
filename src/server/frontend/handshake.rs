//! Handshake: the first frame of a connection, which asks for a session, new or known.
//!
//! Flow       ConnectRequest -> a new session's transaction, answered when committed | password, then re-attach.
//! Invariant  a wrong password changes nothing for anybody: ZooKeeper closes the owner's connection first, which lets
//!            whoever knows a session id disconnect its owner.

use std::rc::Rc;

use ids::{SessionId, Zxid};
use net::jute::{Record as _, decode};
use net::opcode::OpCode;
use net::record::{ConnectRequest, ConnectResponse};
use tree::session::{is_password, password};

use super::super::metrics::Counter;
use super::super::replica::{Attached, ConnId, Now};
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
        if self.throttle_handshake(request.session_id != 0, now) {
            return Some(Next::Close);
        }
        let applied = self.tree.borrow().last_zxid();
        if request.last_zxid_seen > applied.to_wire() {
            let seen = Zxid::from_wire(request.last_zxid_seen);
            tracing::warn!(peer = ?self.peer(id), %seen, %applied, "refusing a client that has seen a later state than this server; it must try another");
            return Some(Next::Close);
        }
        let timeout_ms =
            request.timeout_ms.clamp(self.settings.session_timeout_min_ms, self.settings.session_timeout_max_ms);
        let conn = self.conn(id)?;
        conn.timeout_ms = timeout_ms;
        conn.knows_read_only = request.read_only.is_some();
        if request.session_id == 0 {
            self.new_session(id, timeout_ms, now)
        } else {
            self.attach(id, &request, timeout_ms, now)
        }
    }

    fn new_session(&mut self, id: ConnId, timeout_ms: i32, now: Now) -> Option<Next> {
        let origin = self.origin(id);
        let Some(session) = self.replica.borrow_mut().create_session(origin, timeout_ms, now) else {
            tracing::warn!(peer = ?self.peer(id), "no new session: the log has no room on its disk");
            return Some(Next::Close);
        };
        self.by_session.insert(session, id);
        let conn = self.conn(id)?;
        conn.phase = Phase::Establishing;
        conn.session = session;
        conn.enqueue(Entry {
            xid: 0,
            op: Some(OpCode::CreateSession),
            received: now.instant,
            large_bytes: 0,
            wait: Wait::Commit,
        });
        Some(Next::Wait)
    }

    fn attach(&mut self, id: ConnId, request: &ConnectRequest<'_>, timeout_ms: i32, now: Now) -> Option<Next> {
        self.metrics.count(Counter::ConnectionRevalidate, 1);
        let session = SessionId::new(request.session_id);
        let knows_it = request.password.is_some_and(|presented| is_password(session, presented));
        let origin = self.origin(id);
        let attached =
            if knows_it { self.replica.borrow_mut().attach(origin, session, timeout_ms, now) } else { Attached::No };
        let question = Question { conn: id, xid: 0, op: Some(OpCode::CreateSession), received: now.instant };
        let Attached::Yes(previous) = attached else {
            tracing::info!(peer = ?self.peer(id), %session, is_password_right = knows_it, "session refused: unknown, expired, or wrong password");
            let read_only = self.conn(id)?.knows_read_only.then_some(false);
            self.respond(question, &ConnectResponse::refused(read_only), now);
            self.finish(id);
            return Some(Next::Finish);
        };
        if let Some(previous) = previous {
            self.kick(previous.conn);
        }
        self.by_session.insert(session, id);
        self.conn(id)?.session = session;
        self.established(question, now);
        None
    }

    /// The session exists: tells the client and serves it.
    pub(super) fn established(&mut self, question: Question, now: Now) {
        let Some(conn) = self.conn(question.conn) else { return };
        conn.phase = Phase::Serving;
        conn.resume.ring();
        let secret = password(conn.session);
        let response = ConnectResponse {
            protocol_version: 0,
            timeout_ms: conn.timeout_ms,
            session_id: conn.session.to_i64(),
            password: Some(&secret),
            read_only: conn.knows_read_only.then_some(false),
        };
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
