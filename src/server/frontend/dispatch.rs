//! Dispatch: what a frame of an open session asks, and what happens to it.
//!
//! Flow       header -> touch the session -> at once (auth) | answered now (read, nothing before it) | queued.
//! Invariant  an operation that no client may ask is answered UNIMPLEMENTED with zxid -1, at its turn, and is the last.

use std::sync::Arc;

use ids::{SessionId, Xid};
use net::buffer::Frame;
use net::jute::decode;
use net::opcode::OpCode;
use net::record::{AuthPacket, ReplyHeader, RequestHeader, SaslRequest, SaslResponse, xid};
use tree::code::Code;

use super::super::auth::{Verdict, authenticate};
use super::super::messages::{ConnId, ToReplica, Write};
use super::super::metrics::Counter;
use super::super::replica::Now;
use super::answer::Question;
use super::connection::{Entry, Phase, Wait};
use super::{Frontend, Next};

/// Bytes of a request header.
const HEADER_LEN: usize = 8;

/// What stands behind the header.
fn body_of(frame: Frame<'_>) -> &[u8] {
    &frame.bytes()[HEADER_LEN..]
}

impl Frontend {
    /// Handles one frame. `Some` when the connection is not to be read on as before.
    pub(super) fn dispatch(&mut self, id: ConnId, frame: Frame<'_>, now: Now) -> Option<Next> {
        self.metrics.packets_received += 1;
        let conn = self.conn(id)?;
        conn.stats.received += 1;
        if conn.phase == Phase::Handshake {
            return self.handshake(id, frame.bytes(), now);
        }
        let Ok(header) = decode::<RequestHeader>(frame.bytes()) else {
            return Some(Next::Close);
        };
        let op = OpCode::from_wire(header.op).filter(|op| op.is_client_request());
        let xid = if op == Some(OpCode::Ping) { xid::PING } else { header.xid };
        let question = Question { conn: id, xid, op, received: self.waiting_since(id, now) };
        if self.refuse_large(frame.bytes().len()) {
            return Some(Next::Close);
        }
        match op {
            Some(OpCode::Auth) => self.auth(question, body_of(frame), now),
            Some(OpCode::Sasl) => self.sasl(question, body_of(frame)),
            _ if self.lacks_enforced_auth(id) => {
                self.answer_last(question, 0, Code::SessionClosedRequireSaslAuth, now);
                Some(Next::Finish)
            }
            op => self.request(question, op.ok_or(header.op), frame, now),
        }
    }

    /// A request that counts as a sign of life. `Err` is a number that is no operation.
    fn request(&mut self, question: Question, op: Result<OpCode, i32>, frame: Frame<'_>, now: Now) -> Option<Next> {
        self.touch(question.conn, now);
        if question.received != now.instant
            && let Some(next) = self.throttle_request(question, now)
        {
            return next;
        }
        match op {
            Ok(OpCode::CloseSession) => self.close_session(question),
            Ok(OpCode::Sync) => self.sync(question, frame),
            Ok(op) if op.is_write() => self.submit(question, op, frame, now),
            Ok(_) => self.read_in_turn(question, frame, now),
            Err(op) => {
                tracing::debug!(peer = ?self.peer(question.conn), op, "unknown operation");
                self.unimplemented(question, now)
            }
        }
    }

    /// Tells the replica that the session lives, unless it has been told in this tick.
    fn touch(&mut self, id: ConnId, now: Now) {
        let tick_time_ms = self.settings.tick_time_ms;
        let Some(conn) = self.conn(id) else { return };
        let session = conn.session;
        let tick = (now.monotonic.to_i64() + i64::from(conn.timeout_ms)) / tick_time_ms;
        if tick != conn.touched_tick {
            conn.touched_tick = tick;
            self.to_replica.post(ToReplica::Touch(session));
        }
    }

    fn lacks_enforced_auth(&mut self, id: ConnId) -> bool {
        if self.settings.auth.enforced_schemes.is_empty() {
            return false;
        }
        let settings = std::rc::Rc::clone(&self.settings);
        self.conn(id).is_some_and(|conn| {
            let enforced = &settings.auth.enforced_schemes;
            !conn.identities.iter().any(|identity| enforced.contains(&identity.scheme))
        })
    }

    fn auth(&mut self, question: Question, body: &[u8], now: Now) -> Option<Next> {
        let packet: AuthPacket<'_> = match decode(body) {
            Ok(packet) => packet,
            Err(_) => return Some(Next::Close),
        };
        let scheme = packet.scheme.as_deref().unwrap_or_default();
        let verdict = authenticate(&self.settings.auth, scheme, packet.auth);
        if scheme == "ensemble" && self.settings.auth.ensemble_names.is_some() {
            let passed = matches!(verdict, Verdict::Added(_));
            self.metrics.count(if passed { Counter::EnsembleAuthSuccess } else { Counter::EnsembleAuthFail }, 1);
        }
        match verdict {
            Verdict::Added(identities) => {
                let conn = self.conn(question.conn)?;
                if !conn.add_identities(identities) {
                    tracing::warn!(peer = ?self.peer(question.conn), "too many identities on one connection; closing it");
                    self.answer_last(question, 0, Code::AuthFailed, now);
                    return Some(Next::Finish);
                }
                conn.link.outbox().reply_header(ReplyHeader { xid: question.xid, zxid: 0, err: 0 });
                self.sent_out_of_turn(question);
                None
            }
            Verdict::Failed => {
                tracing::warn!(peer = ?self.peer(question.conn), scheme, "authentication failed; closing the connection");
                self.answer_last(question, 0, Code::AuthFailed, now);
                Some(Next::Finish)
            }
            Verdict::Dropped => Some(Next::Close),
        }
    }

    /// Without a JAAS section ZooKeeper answers every SASL packet with success and no token. It looks at the token's
    /// length first, and closes the connection if there is none.
    fn sasl(&mut self, question: Question, body: &[u8]) -> Option<Next> {
        if !matches!(decode(body), Ok(SaslRequest { token: Some(_) })) {
            return Some(Next::Close);
        }
        let conn = self.conn(question.conn)?;
        let header = ReplyHeader { xid: question.xid, zxid: 0, err: 0 };
        conn.link.outbox().reply(header, &SaslResponse { token: None });
        self.sent_out_of_turn(question);
        None
    }

    fn sent_out_of_turn(&mut self, question: Question) {
        self.metrics.packets_sent += 1;
        if let Some(conn) = self.conn(question.conn) {
            conn.stats.sent += 1;
        }
        self.mark_dirty(question.conn);
    }

    pub(super) fn enqueue(&mut self, question: Question, wait: Wait) {
        self.enqueue_sized(question, wait, 0);
    }

    fn enqueue_sized(&mut self, question: Question, wait: Wait, frame_len: usize) {
        let large_bytes = self.large_part(frame_len);
        let Some(conn) = self.conn(question.conn) else { return };
        conn.enqueue(Entry { xid: question.xid, op: question.op, received: question.received, large_bytes, wait });
        self.large_bytes += large_bytes as usize;
        self.in_process += usize::from(question.xid > 0);
    }

    fn submit(&mut self, question: Question, op: OpCode, frame: Frame<'_>, now: Now) -> Option<Next> {
        if let Some(code) = self.eager_refusal(question, op, body_of(frame)) {
            self.refuse(question, 0, code, now);
            return None;
        }
        self.metrics.count(Counter::PrepQueued, 1);
        let asked = self.ask(question.conn)?;
        let body = self.kept.body(frame, HEADER_LEN);
        let body_len = body.len();
        let conn = self.conn(question.conn)?;
        let write = Write {
            asked,
            session: conn.session,
            cxid: Xid::new(question.xid),
            op,
            body,
            identities: Arc::clone(&conn.identities),
        };
        self.to_replica.post(ToReplica::Write(write));
        self.enqueue_sized(question, Wait::Commit { ticket: asked.ticket }, body_len);
        None
    }

    fn close_session(&mut self, question: Question) -> Option<Next> {
        let asked = self.ask(question.conn)?;
        let conn = self.conn(question.conn)?;
        conn.phase = Phase::Closing;
        let session = conn.session;
        assert_ne!(session, SessionId::NONE, "a connection that is served has a session");
        self.to_replica.post(ToReplica::Close { asked, session, cxid: Xid::new(question.xid) });
        self.enqueue(question, Wait::Commit { ticket: asked.ticket });
        // Whatever the client sends behind it is not read.
        Some(Next::Wait)
    }

    /// Goes by the replica: what another client of another core was told before is seen by the reads behind it.
    fn sync(&mut self, question: Question, frame: Frame<'_>) -> Option<Next> {
        let asked = self.ask(question.conn)?;
        let body = self.kept.body(frame, HEADER_LEN);
        let conn = self.conn(question.conn)?;
        let (session, identities) = (conn.session, Arc::clone(&conn.identities));
        let cxid = Xid::new(question.xid);
        self.to_replica.post(ToReplica::Sync { asked, session, cxid, body: body.clone(), identities });
        self.enqueue(question, Wait::Sync { ticket: asked.ticket, body });
        None
    }

    fn read_in_turn(&mut self, question: Question, frame: Frame<'_>, now: Now) -> Option<Next> {
        let conn = self.conn(question.conn)?;
        let identities = Arc::clone(&conn.identities);
        if conn.queue.is_empty() {
            self.answer_read(question, body_of(frame), &identities, now);
        } else {
            let body = self.kept.body(frame, HEADER_LEN);
            self.enqueue(question, Wait::Turn { body, identities });
        }
        None
    }

    fn unimplemented(&mut self, question: Question, now: Now) -> Option<Next> {
        let conn = self.conn(question.conn)?;
        conn.phase = Phase::Closing;
        self.enqueue(question, Wait::Refused(Code::Unimplemented));
        self.run_queue(question.conn, now);
        Some(Next::Wait)
    }

    /// Answers from the head of the queue whatever waits for nothing any more.
    pub(super) fn run_queue(&mut self, id: ConnId, now: Now) {
        loop {
            let Some(conn) = self.conn(id) else { return };
            match conn.queue.front().map(|entry| &entry.wait) {
                None | Some(Wait::Commit { .. } | Wait::Sync { .. } | Wait::Listing(_)) => return,
                Some(Wait::Turn { .. } | Wait::Refused(_) | Wait::Done { .. }) => {}
            }
            let Some((question, wait)) = self.dequeue(id) else { return };
            match wait {
                Wait::Turn { body, identities } => self.answer_read(question, &body, &identities, now),
                Wait::Refused(Code::Unimplemented) if question.op.is_none() => {
                    self.answer_last(question, -1, Code::Unimplemented, now);
                }
                Wait::Done { code, record } => {
                    self.answer_write(question, code, |writer| writer.raw(&record), now);
                    if question.op == Some(OpCode::CloseSession) {
                        self.finish(id);
                    }
                }
                Wait::Refused(code) => {
                    self.refuse_in_turn(question, code, now);
                    if question.op == Some(OpCode::CloseSession) {
                        self.finish(id);
                    }
                }
                Wait::Commit { .. } | Wait::Sync { .. } | Wait::Listing(_) => unreachable!("looked at above"),
            }
        }
    }

    /// Takes the first request off a connection's queue.
    pub(super) fn dequeue(&mut self, id: ConnId) -> Option<(Question, Wait)> {
        self.remove(id, 0)
    }

    /// Takes a request out of a connection's queue.
    pub(super) fn remove(&mut self, id: ConnId, at: usize) -> Option<(Question, Wait)> {
        let conn = self.conn(id)?;
        let entry = conn.remove(at)?;
        conn.resume.ring();
        self.in_process -= usize::from(entry.xid > 0);
        self.large_bytes -= entry.large_bytes as usize;
        Some((Question { conn: id, xid: entry.xid, op: entry.op, received: entry.received }, entry.wait))
    }
}
