//! What the disk holds becomes true: it is announced to every serving core, in order.
//!
//! Invariant  nothing is prepared between the announcement of a transaction and its place in the tree that is prepared
//!            against: this role applies it in the same breath, or the serving core beside it does in the same turn.

use std::sync::Arc;
use std::time::Duration;

use ids::Zxid;
use tree::tree::Tree;
use tree::txn::TxnOp;

use super::super::link::messages::ToLink;
use super::super::mesh::Outlet;
use super::super::messages::{Committed, FromLog, ToServe};
use super::super::metrics::{Counter, Latency, Summary};
use super::{Now, Replica};

/// Transactions announced before other tasks get their turn.
const ANNOUNCE_TURN_MAX: usize = 128;

impl Replica {
    /// The log's word.
    pub fn on_log(&mut self, report: FromLog, now: Now) {
        match &report {
            FromLog::Durable { upto, synced_bytes, took, batch } => {
                assert!(*synced_bytes <= self.logged_bytes, "more bytes are durable than were written");
                self.synced_bytes = *synced_bytes;
                self.metrics.note(Summary::Fsync, took.as_millis() as u64);
                self.metrics.note(Summary::SyncBatch, *batch);
                if self.member.is_none() {
                    assert!(*upto <= self.prepared, "the disk confirmed {upto}, prepared is only {}", self.prepared);
                    self.durable = self.durable.max(*upto);
                    self.committed = self.durable;
                }
            }
            FromLog::Failed => self.metrics.count(Counter::UnrecoverableErrors, 1),
            _ => {}
        }
        if self.member.is_some() {
            self.on_log_as_member(report, now);
        }
    }

    /// Announces what is committed, at most [`ANNOUNCE_TURN_MAX`] transactions; says whether there may be more. What
    /// waited for room in the log goes on.
    pub fn announce(&mut self, now: Now) -> bool {
        self.handle_held(now);
        self.look_behind();
        let mut count = 0;
        while count < ANNOUNCE_TURN_MAX
            && self.outstanding.front().is_some_and(|first| first.txn.zxid <= self.committed)
        {
            self.announce_first(now);
            // Behind this transaction and before the next: what the client has asked for later may be in that.
            self.tell_all_synced();
            count += 1;
        }
        self.metrics.count(Counter::Commits, count as u64);
        if self.member.is_some() {
            self.open_if_applied();
        }
        count == ANNOUNCE_TURN_MAX
    }

    fn announce_first(&mut self, now: Now) {
        let mut committed = self.outstanding.pop_front().expect("the caller has looked");
        self.find_asker(&mut committed);
        let txn = &committed.txn;
        assert!(txn.zxid > self.announced, "transactions are announced in order, once");
        self.announced = txn.zxid;
        self.metrics.time(Latency::StageSync, now.instant.saturating_duration_since(committed.prepared_at));
        self.metrics.time(Latency::StageQuorum, Duration::ZERO);
        if let TxnOp::CloseSession { .. } = txn.op {
            self.sessions.remove(txn.session);
            self.owners.remove(&txn.session);
        }
        if self.applies {
            self.tree.borrow_mut().apply(txn, &mut self.effects);
            self.effects.clear();
            self.prep.applied(txn.zxid);
        }
        let (last, others) = self.serve.split_last().expect("somebody serves");
        for core in others {
            core.post(ToServe::Committed(Arc::clone(&committed)));
        }
        last.post(ToServe::Committed(committed));
    }

    /// At a member that does not lead, who waits for a transaction is found when it is committed.
    fn find_asker(&mut self, committed: &mut Arc<Committed>) {
        let (session, cxid) = (committed.txn.session, committed.txn.cxid);
        let Some(member) = self.member.as_mut() else { return };
        match member.take_forwarded(session, cxid) {
            Ok(None) => {}
            Ok(asked) => Arc::get_mut(committed).expect("nobody else has seen it").asked = asked,
            Err(asked) => {
                tracing::error!(%session, "the leader has passed over a client's request; closing its connection");
                self.tell(asked.origin.core, ToServe::Kicked(asked.origin.conn));
            }
        }
    }

    /// Another tree takes the place of the present one, at every core.
    pub(super) fn spread_tree(&mut self, tree: Tree) {
        let far = self.serve.iter().filter(|core| !core.is_near()).count();
        if far == 0 {
            *self.tree.borrow_mut() = tree;
        } else {
            let tree = Arc::new(tree);
            self.tree.borrow_mut().clone_from(&tree);
            for core in self.serve.iter().filter(|core| !core.is_near()) {
                core.post(ToServe::Replace(Arc::clone(&tree)));
            }
        }
        for core in self.serve.iter().filter(|core| core.is_near()) {
            core.post(ToServe::Replaced);
        }
    }

    /// The serving core beside this role has applied everything that was announced to it.
    pub fn on_applied(&mut self, upto: Zxid) {
        assert_eq!(upto, self.announced, "what is announced is applied in the same turn");
        self.prep.applied(upto);
        self.open_if_applied();
    }

    /// Sends what was said in this turn.
    pub fn dispatch(&mut self, now: Now) {
        self.end_member_turn(now);
        self.log.dispatch();
        if !self.force_sync && self.member.is_none() && self.durable < self.prepared {
            // `forceSync=no`: what is in memory counts as durable. It survives a crash of nothing.
            self.durable = self.prepared;
            self.committed = self.durable;
            self.unsynced_work.ring();
        }
        self.look_behind();
        self.serve.iter().for_each(|core| core.dispatch());
    }

    /// Whether so much is under way that the serving cores' requests have to wait.
    pub fn is_choked(&self) -> bool {
        let is_link_full = self.member.as_ref().is_some_and(|member| member.link().is_full());
        self.is_behind() || self.log.is_full() || is_link_full || self.serve.iter().any(Outlet::is_full)
    }

    /// Whether the log has to catch up before clients may be read on.
    fn is_behind(&self) -> bool {
        self.logged_bytes - self.synced_bytes > self.behind_bytes || !self.held.is_empty()
    }

    /// Notes whether the log is behind. Whoever holds clients back for it is told when it no longer is.
    fn look_behind(&self) {
        let is_behind = self.is_behind();
        if self.shared.log_is_behind() != is_behind {
            self.shared.set_log_is_behind(is_behind);
            if !is_behind {
                self.serve.iter().for_each(|core| core.post(ToServe::Relief));
            }
        }
    }

    /// Whether everything that was said is on its way.
    pub fn is_drained(&self) -> bool {
        self.log.is_drained()
            && self.serve.iter().all(Outlet::is_drained)
            && self.member.as_ref().is_none_or(|member| member.link().is_drained())
    }

    /// Nothing follows: every serving core, the link and the log are told so, behind everything else.
    pub fn end(&mut self, now: Now) {
        self.serve.iter().for_each(|core| core.post(ToServe::End));
        self.member.iter().for_each(|member| member.link().post(ToLink::End));
        self.dispatch(now);
        self.log.end();
    }
}
