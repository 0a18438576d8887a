//! What a leader does by the clock: pings, looks who is silent or stuck, and whether it still has a quorum.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use ids::{Millis, Sid};

use super::{Handler, Leader, Phase, Stage};
use crate::history::History;
use crate::message::{LinkId, Packet};
use crate::outbox::{Action, CloseReason, Outbox};

impl Leader {
    /// Time has passed. Called every few milliseconds.
    pub fn on_tick(&mut self, history: &History, now: Millis, out: &mut Outbox) {
        if self.phase != Phase::Active && now >= self.deadline {
            self.resigned = Some(match self.phase {
                Phase::Gathering => "no quorum has come within initLimit",
                Phase::Promising | Phase::Comparing => "no quorum has promised within initLimit",
                Phase::Taking | Phase::Spreading | Phase::Active => {
                    "no quorum has taken the history over within initLimit"
                }
            });
            return;
        }
        self.drop_silent(now, out);
        self.ping(history, now, out);
        if self.phase == Phase::Active {
            self.check_disk(history, now);
            if now >= self.check_at {
                self.check_at = now.plus(self.limits.tick_ms);
                self.check_quorum(now);
            }
        }
    }

    fn ping(&mut self, history: &History, now: Millis, out: &mut Outbox) {
        let last = history.last();
        // Java does not expect one before NEWLEADER; our own kind is told all the time that this leader is alive, but for
        // the time when the bytes of a snapshot take the place of packets.
        let hears = |handler: &Handler| handler.is_asked || (handler.is_ringkeeper && handler.stage != Stage::Snapshot);
        for (link, handler) in self.handlers.iter_mut().filter(|(_, handler)| hears(handler)) {
            if now >= handler.ping_at {
                let pause = if handler.is_ringkeeper { self.limits.heartbeat_ms } else { self.limits.tick_ms / 2 };
                handler.ping_at = now.plus(pause);
                out.push(Action::Send { link: *link, packet: Packet::Ping { last } });
            }
        }
    }

    fn drop_silent(&mut self, now: Millis, out: &mut Outbox) {
        let limits = self.limits;
        let fault = |handler: &Handler| {
            // While the leader itself is at work for it, a learner has nothing to say.
            let is_working = matches!(handler.stage, Stage::Greeted | Stage::Promised | Stage::Locating)
                || handler.stage == Stage::Snapshot
                || handler.is_reading();
            let limit = if handler.has_taken { limits.sync_ms } else { limits.init_ms };
            let silence = since(handler.heard, now);
            let standstill = since(handler.progress_at, now);
            if silence > limit && !is_working {
                Some(CloseReason::Silent { for_ms: silence })
            } else if handler.is_serving
                && !handler.is_observer
                && handler.acked < handler.sent
                && standstill > limits.sync_ms
            {
                Some(CloseReason::Stuck { for_ms: standstill })
            } else {
                None
            }
        };
        let bad: Vec<(LinkId, CloseReason)> =
            self.handlers.iter().filter_map(|(link, handler)| Some((*link, fault(handler)?))).collect();
        for (link, reason) in bad {
            self.close(link, reason, out);
        }
    }

    /// A leader whose followers are gone must not let clients wait: somebody else may lead by now.
    fn check_quorum(&mut self, now: Millis) {
        let limit = self.limits.sync_ms;
        let in_step = |handler: &&Handler| {
            handler.has_taken && !handler.is_observer && since(handler.heard, now) <= limit.min(self.patience(handler))
        };
        let mut present: BTreeSet<Sid> = self.handlers.values().filter(in_step).map(|handler| handler.sid).collect();
        present.insert(self.me);
        if !self.verifier.contains_quorum(present.iter().copied()) {
            self.resigned = Some("too few followers are in step");
        }
    }

    /// Our own kind answers every few tens of ms: by the time it has given this leader up, this leader gives up, too.
    fn patience(&self, handler: &Handler) -> i64 {
        if handler.is_ringkeeper { self.limits.suspect_ms.saturating_mul(2) } else { self.limits.sync_ms }
    }

    fn check_disk(&mut self, history: &History, now: Millis) {
        if history.durable() < history.last() && since(self.disk_progress_at, now) > self.limits.sync_ms {
            self.resigned = Some("the own disk has not synced within syncLimit");
        }
    }
}

fn since(then: Millis, now: Millis) -> i64 {
    now.to_i64() - then.to_i64()
}
