//! Throttles: what an operator may set against floods of handshakes, of requests and of large requests. All off unless
//! asked for.
//!
//! Handshakes take tokens from a bucket; when it stays empty a growing share of them is refused at random, so that a
//! fleet that reconnects is spread instead of served in bursts (ZooKeeper's BlueThrottle, after the BLUE queue).
//! Requests beyond the pipeline's limit stay unread; those that have waited too long are refused unexecuted, or dropped
//! with their connection when their session would have given up. Absent: a thread that stalls; the bell is enough.

use std::time::{Duration, Instant};

use ids::Millis;
use net::opcode::OpCode;
use tree::code::Code;
use tree::prep_eager::eager_check;

use super::super::codec;
use super::super::messages::ConnId;
use super::super::metrics::{Counter, Latency, Summary};
use super::super::replica::Now;
use super::answer::Question;
use super::connection::Wait;
use super::{Frontend, Next};
use crate::config::ConnectionThrottle;

/// The token bucket of handshakes.
#[derive(Debug)]
pub struct HandshakeBucket {
    settings: ConnectionThrottle,
    tokens: u32,
    filled: Millis,
    adjusted: Millis,
    /// Share of handshakes refused although there may be tokens.
    drop_probability: f64,
}

impl HandshakeBucket {
    /// A full bucket.
    pub fn new(settings: ConnectionThrottle, now: Millis) -> HandshakeBucket {
        let tokens = settings.tokens.unwrap_or(0);
        HandshakeBucket { settings, tokens, filled: now, adjusted: now, drop_probability: 0.0 }
    }

    /// Takes what a handshake costs; `Err` with what was lacking when it is to be refused. `dice` is in 0..1.
    pub fn take(&mut self, is_renewal: bool, now: Millis, dice: f64) -> Result<(), u32> {
        let Some(size) = self.settings.tokens else { return Ok(()) };
        let cost = match (self.settings.weight_enabled, is_renewal) {
            (false, _) => 1,
            (true, false) => self.settings.global_session_weight,
            (true, true) => self.settings.renew_session_weight,
        };
        self.refill(size, now);
        self.adjust(size, now);
        if dice < self.drop_probability || self.tokens < cost {
            return Err(cost.saturating_sub(self.tokens));
        }
        self.tokens -= cost;
        Ok(())
    }

    /// Share of handshakes refused although there may be tokens.
    pub fn drop_probability(&self) -> f64 {
        self.drop_probability
    }

    fn refill(&mut self, size: u32, now: Millis) {
        let passed = now.to_i64() - self.filled.to_i64();
        let period = i64::from(self.settings.fill_time_ms.max(1));
        if passed > period {
            let refill = passed.saturating_mul(i64::from(self.settings.fill_count)) / period;
            self.tokens = u32::try_from(i64::from(self.tokens).saturating_add(refill)).unwrap_or(size).min(size);
            self.filled = now;
        }
    }

    fn adjust(&mut self, size: u32, now: Millis) {
        let Some(freeze_ms) = self.settings.freeze_time_ms else { return };
        if now.to_i64() - self.adjusted.to_i64() <= i64::from(freeze_ms) {
            return;
        }
        self.adjusted = now;
        let used = f64::from(size - self.tokens);
        if self.tokens == 0 {
            self.drop_probability = (self.drop_probability + self.settings.drop_increase).min(1.0);
        } else if used <= (f64::from(size) * self.settings.decrease_ratio).round() {
            self.drop_probability = (self.drop_probability - self.settings.drop_decrease).max(0.0);
        }
    }
}

impl Frontend {
    /// Whether a handshake is refused. The connection is then closed without an answer.
    pub(super) fn throttle_handshake(&mut self, is_renewal: bool, now: Now) -> bool {
        if self.handshakes.settings.tokens.is_none() {
            return false;
        }
        let dice = getrandom::u32().map_or(1.0, |bits| f64::from(bits) / f64::from(u32::MAX));
        let Err(lacking) = self.handshakes.take(is_renewal, now.monotonic, dice) else { return false };
        self.metrics.count(Counter::ConnectionRejected, 1);
        self.metrics.note(Summary::ConnectionTokenDeficit, u64::from(lacking));
        true
    }

    /// Whether the pipeline holds as many requests as it may.
    pub(super) fn is_pipeline_full(&self) -> bool {
        let throttle = &self.settings.config.local.request_throttle;
        throttle.max_requests.is_some_and(|max| self.in_process >= max as usize)
    }

    /// When the request that is read now began to wait, if its connection was held back.
    pub(super) fn waiting_since(&mut self, id: ConnId, now: Now) -> Instant {
        self.conn(id).and_then(|conn| conn.held_since).unwrap_or(now.instant)
    }

    /// Judges a request that has waited to be read: `Some` when it is not to be executed.
    pub(super) fn throttle_request(&mut self, question: Question, now: Now) -> Option<Option<Next>> {
        let throttle = &self.settings.config.local.request_throttle;
        let waited = now.instant.saturating_duration_since(question.received);
        let is_exempt = matches!(question.op, None | Some(OpCode::Ping | OpCode::CloseSession));
        let longest = throttle.op_wait_time_ms.map(|ms| Duration::from_millis(ms.into()));
        let drops_stale = throttle.drop_stale && throttle.stale_latency_check;
        self.metrics.time(Latency::ThrottleQueue, waited);
        let timeout_ms = self.conn(question.conn)?.timeout_ms;
        if drops_stale && waited > Duration::from_millis(timeout_ms.unsigned_abs().into()) {
            self.metrics.count(Counter::StaleRequests, 1);
            self.metrics.count(Counter::StaleRequestsDropped, 1);
            return Some(Some(Next::Close));
        }
        if !is_exempt && longest.is_some_and(|longest| waited > longest) {
            self.metrics.count(Counter::ThrottledOps, 1);
            self.enqueue(question, Wait::Refused(Code::ThrottledOp));
            self.run_queue(question.conn, now);
            return Some(None);
        }
        None
    }

    /// Whether a request is large and the large ones in process leave no room for it. Its connection is closed then.
    pub(super) fn refuse_large(&mut self, frame_len: usize) -> bool {
        let settings = &self.settings.config.local.large_requests;
        let is_large = settings.threshold_bytes.is_some_and(|threshold| frame_len > threshold as usize);
        let refused = is_large && self.large_bytes + frame_len > settings.max_bytes as usize;
        if refused {
            self.metrics.count(Counter::LargeRequestsRejected, 1);
            tracing::warn!(
                frame_len,
                in_process = self.large_bytes,
                "closing a connection: largeRequestMaxBytes reached"
            );
        }
        refused
    }

    /// What a queued request of this size counts towards `largeRequestMaxBytes`.
    pub(super) fn large_part(&self, frame_len: usize) -> u32 {
        let threshold = self.settings.config.local.large_requests.threshold_bytes;
        let is_large = threshold.is_some_and(|threshold| frame_len > threshold as usize);
        if is_large { u32::try_from(frame_len).unwrap_or(u32::MAX) } else { 0 }
    }

    /// `enableEagerACLCheck`: the code with which a write is refused before it enters the pipeline, judged by the tree
    /// as it is applied here.
    pub(super) fn eager_refusal(&mut self, question: Question, op: OpCode, body: &[u8]) -> Option<Code> {
        let is_checked =
            matches!(op, OpCode::Create | OpCode::Create2 | OpCode::Delete | OpCode::SetData | OpCode::SetAcl);
        if !self.settings.auth.eager_acl_check || !is_checked {
            return None;
        }
        let conn = self.conn(question.conn)?;
        let identities = std::sync::Arc::clone(&conn.identities);
        let decoded = net::record::Request::decode(op, body)?.ok()?;
        let request = codec::request::to_tree(&decoded)?;
        eager_check(&self.tree.borrow(), &self.settings.prep(), &identities, &request).err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> ConnectionThrottle {
        ConnectionThrottle {
            tokens: Some(4),
            fill_time_ms: 10,
            fill_count: 1,
            freeze_time_ms: None,
            drop_increase: 0.5,
            drop_decrease: 0.25,
            decrease_ratio: 0.5,
            weight_enabled: false,
            global_session_weight: 3,
            local_session_weight: 1,
            renew_session_weight: 2,
        }
    }

    #[test]
    fn an_empty_bucket_refuses_until_it_has_refilled() {
        let mut bucket = HandshakeBucket::new(settings(), Millis::new(0));
        for _ in 0..4 {
            assert_eq!(bucket.take(false, Millis::new(1), 0.5), Ok(()));
        }
        assert_eq!(bucket.take(false, Millis::new(2), 0.5), Err(1));
        assert_eq!(bucket.take(false, Millis::new(25), 0.5), Ok(()));
    }

    #[test]
    fn weights_make_new_sessions_dearer_than_renewed_ones() {
        let mut bucket =
            HandshakeBucket::new(ConnectionThrottle { weight_enabled: true, ..settings() }, Millis::new(0));
        assert_eq!(bucket.take(false, Millis::new(1), 0.5), Ok(()));
        assert_eq!(bucket.take(true, Millis::new(1), 0.5), Err(1));
    }

    #[test]
    fn a_bucket_that_stays_empty_drops_at_random_and_one_with_room_stops() {
        let with_freeze = ConnectionThrottle { freeze_time_ms: Some(5), ..settings() };
        let mut bucket = HandshakeBucket::new(with_freeze, Millis::new(0));
        for _ in 0..4 {
            assert_eq!(bucket.take(false, Millis::new(1), 0.9), Ok(()));
        }
        assert!(bucket.take(false, Millis::new(7), 0.9).is_err());
        assert!((bucket.drop_probability() - 0.5).abs() < 1e-9);
        assert!(bucket.take(false, Millis::new(12), 0.4).is_err(), "the dice are below the probability");
        assert!(bucket.take(false, Millis::new(200), 0.9).is_ok());
        assert!((bucket.drop_probability() - 0.25).abs() < 1e-9, "full again: the probability falls");
    }

    #[test]
    fn without_tokens_configured_nothing_is_refused() {
        let mut bucket = HandshakeBucket::new(ConnectionThrottle { tokens: None, ..settings() }, Millis::new(0));
        assert!((0..1000).all(|at| bucket.take(false, Millis::new(at), 0.0).is_ok()));
    }
}
