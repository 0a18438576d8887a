//! Mail: what the replica says to this core.
//!
//! Invariant  handled in the order in which it was said. What concerns a connection that has gone is dropped: its slot
//!            may have another tenant, whose generation differs.

use std::time::Instant;

use ids::Zxid;
use net::opcode::OpCode;
use tree::code::Code;

use super::super::messages::{ConnId, ToServe};
use super::super::metrics::{Counter, Latency};
use super::super::replica::Now;
use super::Frontend;
use super::connection::{Phase, Wait};

impl Frontend {
    /// Handles messages. Returns the last transaction applied, if one was.
    pub fn take(&mut self, messages: impl Iterator<Item = ToServe>, now: Now) -> Option<Zxid> {
        let mut applied = None;
        let began = Instant::now();
        for message in messages {
            if let ToServe::Committed(committed) = &message {
                if applied.is_none() {
                    self.flush_dirty(usize::MAX);
                }
                self.apply(committed, now);
                applied = Some(committed.txn.zxid);
            } else {
                self.take_one(message, now);
            }
        }
        if applied.is_some() {
            self.metrics.time(Latency::StageApply, began.elapsed());
        }
        applied
    }

    fn take_one(&mut self, message: ToServe, now: Now) {
        match message {
            ToServe::Committed(_) => unreachable!("the caller has looked"),
            ToServe::Refused { conn, ticket, code } => self.refused(conn, ticket, code, now),
            ToServe::Dropped { conn, ticket } => self.dropped(conn, ticket, now),
            ToServe::Synced { conn, ticket } => self.synced(conn, ticket, now),
            ToServe::Attached { conn, session } => self.attached(conn, session, now),
            ToServe::Unknown { conn, session } => self.unknown_session(conn, session, now),
            ToServe::Ahead { conn, seen } => self.ahead(conn, seen),
            ToServe::Kicked(conn) => self.kick(conn),
            ToServe::Expiring(conn) => {
                // From now on its frames are dropped; the connection goes when the transaction is applied.
                if let Some(conn) = self.conn(conn) {
                    conn.phase = Phase::Closing;
                }
            }
            // The end of the turn sees to it.
            ToServe::Relief => {}
            ToServe::Stands { mode, config } => {
                if let Some((version, text, time)) = config {
                    self.tree.borrow_mut().set_config(&text, version, time);
                }
                self.stand(mode);
            }
            ToServe::Replace(tree) => {
                self.tree.borrow_mut().clone_from(&tree);
                self.digests.clear();
            }
            ToServe::Replaced => self.digests.clear(),
            ToServe::Ask(survey, word) => self.gather(survey, word),
            ToServe::Facts(survey, facts) => self.gathered(survey, *facts, now),
            ToServe::End => self.ended.ring(),
        }
    }

    /// Where in its connection's queue a request stands that waits for the replica.
    fn waiting_at(&mut self, id: ConnId, asked: u32) -> Option<usize> {
        self.conn(id)?.queue.iter().position(|entry| match entry.wait {
            Wait::Commit { ticket } | Wait::Sync { ticket, .. } => ticket == asked,
            _ => false,
        })
    }

    /// A request has no zxid: it is answered with `code` when its turn comes. A handshake has no such answer.
    fn refused(&mut self, id: ConnId, ticket: u32, code: Code, now: Now) {
        let Some(at) = self.waiting_at(id, ticket) else { return };
        let Some(conn) = self.conn(id) else { return };
        let op = conn.queue[at].op;
        if op == Some(OpCode::CreateSession) {
            tracing::warn!(peer = %conn.link.peer_addr(), "no new session: the log has no room on its disk");
            return self.close(id);
        }
        conn.queue[at].wait = Wait::Refused(code);
        if code == Code::SystemError && op != Some(OpCode::CloseSession) {
            self.metrics.count(Counter::WritesRefusedNoSpace, 1);
        }
        self.run_queue(id, now);
    }

    /// A request gets no answer: its session was closing when it came.
    fn dropped(&mut self, id: ConnId, ticket: u32, now: Now) {
        let Some(at) = self.waiting_at(id, ticket) else { return };
        self.remove(id, at);
        self.run_queue(id, now);
    }

    /// A sync may be answered when its turn comes, as a read.
    fn synced(&mut self, id: ConnId, ticket: u32, now: Now) {
        let Some(at) = self.waiting_at(id, ticket) else { return };
        let Some(conn) = self.conn(id) else { return };
        let identities = std::sync::Arc::clone(&conn.identities);
        let wait = &mut conn.queue[at].wait;
        if let Wait::Sync { body, .. } = wait {
            *wait = Wait::Turn { body: std::mem::take(body), identities };
        }
        self.run_queue(id, now);
    }
}
