//! Facts: what operators are told about an ensemble. The leader's record of each member, for `mntr`, and a line in the log
//! whenever one of them changes.
//!
//! Invariant  what is shown decides nothing: who counts is the protocol's affair.

use std::collections::BTreeMap;

use ids::{Sid, Zxid};
use zab::outbox::Standing;

use super::super::super::messages::{EnsembleFacts, MemberFacts, MemberState};
use super::super::{Now, Replica};
use super::Member;

/// Standstill after which a member that has something to acknowledge is shown as lagging, ms.
const LAGGING_AFTER_MS: i64 = 500;

/// Pause between two looks for changes, ms.
const LOOK_EVERY_MS: i64 = 100;

/// What was said last about each member.
#[derive(Debug, Default)]
pub struct Record {
    states: BTreeMap<Sid, MemberState>,
    looked_ms: i64,
}

impl Member {
    /// The leader's record of every other member; empty elsewhere.
    fn members(&self) -> Vec<MemberFacts> {
        if !matches!(self.standing, Standing::Leading { .. }) {
            return Vec::new();
        }
        let history = self.peer.history();
        let clock = self.clock.to_i64();
        let others = self.config.members().iter().filter(|(sid, _)| **sid != self.me);
        let facts = others.map(|(sid, spec)| {
            let handler = self.peer.handlers().map(|(_, handler)| handler).find(|handler| handler.sid == *sid);
            let Some(handler) = handler else { return MemberFacts::down(*sid, spec.is_observer) };
            // An observer acknowledges nothing: what it was sent is what is known.
            let last = if spec.is_observer { handler.sent } else { handler.acked.max(handler.last.min(handler.sent)) };
            let lag_zxids = lag(last, history.last());
            let lag_ms = if lag_zxids > 0 { clock - handler.progress_at.to_i64() } else { 0 };
            let is_behind = !handler.is_serving || handler.is_stopped() || lag_ms > LAGGING_AFTER_MS;
            MemberFacts {
                sid: *sid,
                is_observer: spec.is_observer,
                state: if is_behind { MemberState::Lagging } else { MemberState::Up },
                last,
                lag_zxids,
                lag_ms,
                seen_ms: clock - handler.heard.to_i64(),
            }
        });
        facts.collect()
    }
}

impl Replica {
    /// For `mntr`. `None` on a standalone server.
    pub(in super::super) fn ensemble_facts(&self) -> Option<EnsembleFacts> {
        let member = self.member.as_ref()?;
        Some(EnsembleFacts {
            peer_state: member.peer.part_name(),
            quorum_size: member.config.voters().len(),
            epoch: member.peer.epochs().current.to_u32(),
            leader: member.peer.leader(),
            elections: member.elections,
            pending_syncs: member.syncs.len() + member.forwarded_syncs.len(),
            members: member.members(),
        })
    }

    /// Tells the log who has changed, and how.
    pub(super) fn look_at_members(&mut self, now: Now) {
        let member = self.member_mut();
        let now_ms = now.monotonic.to_i64();
        if now_ms - member.record.looked_ms < LOOK_EVERY_MS {
            return;
        }
        member.record.looked_ms = now_ms;
        let facts = member.members();
        if facts.is_empty() {
            member.record.states.clear();
        }
        for facts in facts {
            let before = member.record.states.insert(facts.sid, facts.state);
            if before == Some(facts.state) {
                continue;
            }
            let MemberFacts { sid, state, last, lag_zxids, lag_ms, seen_ms, .. } = facts;
            let sid = sid.to_u64();
            match state {
                MemberState::Up => tracing::info!(member = sid, %last, "a member is up"),
                MemberState::Lagging => {
                    tracing::warn!(member = sid, %last, lag_zxids, lag_ms, seen_ms, "a member is behind");
                }
                MemberState::Down => tracing::warn!(member = sid, "a member is down"),
            }
        }
    }
}

/// Zxids between two places; across epochs those of the later one, as the earlier one's end is not known here.
fn lag(last: Zxid, end: Zxid) -> u64 {
    if last.epoch() == end.epoch() { end.to_u64().saturating_sub(last.to_u64()) } else { u64::from(end.counter()) }
}
