//! Commit: a transaction is applied to this core's tree, its watchers are told, and whoever asked is answered.

use ids::SessionId;
use net::jute::Writer;
use net::opcode::OpCode;
use tree::apply::OpResult;
use tree::txn::TxnOp;

use super::super::messages::{Asked, Committed};
use super::super::metrics::Counter;
use super::super::replica::Now;
use super::super::replica::member::Mode;
use super::Frontend;
use super::answer::encode_result;
use super::connection::Wait;

/// Zxids between two digests that are remembered, and how many are, as in ZooKeeper.
const DIGEST_EVERY: u64 = 128;
const DIGESTS_MAX: usize = 1024;

impl Frontend {
    /// Carries out one transaction that is committed.
    pub(super) fn apply(&mut self, committed: &Committed, now: Now) {
        let txn = &committed.txn;
        let mut effects = std::mem::take(&mut self.effects);
        effects.set_deaf(self.watches.is_empty());
        let result = self.tree.borrow_mut().apply(txn, &mut effects);
        // While a member is brought up to date it may apply what a snapshot of a Java leader holds in part.
        if let Some(mismatch) = effects.digest_mismatch().filter(|_| self.mode != Mode::Idle) {
            self.metrics.count(Counter::DigestMismatches, 1);
            tracing::error!(zxid = %txn.zxid, ?mismatch, "the tree's digest is not the one the transaction carries: memory or log is damaged");
        }
        if txn.zxid.to_u64().is_multiple_of(DIGEST_EVERY) {
            if self.digests.len() == DIGESTS_MAX {
                self.digests.pop_front();
            }
            self.digests.push_back((txn.zxid, self.tree.borrow().digest()));
        }
        self.notify(&effects, txn.zxid);
        effects.clear();
        self.effects = effects;
        if let Some(asked) = committed.asked
            && asked.origin.core == self.core
        {
            self.complete(asked, txn.session, &result, now);
        }
        if let TxnOp::CloseSession { .. } = txn.op {
            self.session_closed(txn.session);
        }
    }

    /// Answers a write, and what waited behind it; or keeps the answer if a listing before it is not complete.
    fn complete(&mut self, asked: Asked, session: SessionId, result: &OpResult<'_>, now: Now) {
        // A connection that has gone in the meantime gets no answer; its write stands.
        let id = asked.origin.conn;
        let Some(conn) = self.conn(id) else { return };
        let at = conn.queue.iter().position(|entry| matches!(entry.wait, Wait::Commit { .. }));
        let at = at.expect("whoever has asked waits for the commit");
        let ticket = asked.ticket;
        assert!(matches!(conn.queue[at].wait, Wait::Commit { ticket: first } if first == ticket), "commits keep order");
        if at > 0 {
            let mut record = Vec::new();
            encode_result(result, &mut Writer::new(&mut record));
            conn.queue[at].wait = Wait::Done { code: result.header_code(), record: record.into() };
            return;
        }
        let Some((question, _)) = self.dequeue(id) else { return };
        if question.op == Some(OpCode::CreateSession) {
            self.established(question, session, now);
        } else {
            self.answer_write(question, result.header_code(), |writer| encode_result(result, writer), now);
            if question.op == Some(OpCode::CloseSession) {
                self.finish(id);
            }
        }
        self.run_queue(id, now);
    }

    /// The session is no more: its connection, unless it is the one that asked and waits for the answer, goes with it.
    fn session_closed(&mut self, session: SessionId) {
        let finished = self
            .by_session
            .get(&session)
            .copied()
            .and_then(|id| self.conn(id))
            .is_some_and(|conn| conn.phase == super::Phase::Finished);
        if finished {
            self.by_session.remove(&session);
        } else {
            self.close_session_connection(session);
        }
    }
}
