//! Sessions: who is due, who is closing, and the numbers and passwords that sessions have.
//!
//! Flow       createSession prepared -> `track`; any frame -> `touch`; a tick -> `expire` -> closeSession requests;
//!            closeSession applied -> `remove`.
//! Invariant  an open session is in the bucket of its expiry, a closing one in none; a session lives at least its
//!            timeout and at most one tick more after its last touch (ZooKeeper's `ExpiryQueue`).
//! Absent     a clock: `now` is the caller's monotonic one. Connections, and who owns a session in an ensemble.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use ids::{Millis, SessionId};

use crate::code::Code;
use crate::hash::NumberMap;

/// What the tracker says about a session when one of its requests is prepared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Alive and ours.
    Open,
    /// Its end has been prepared or is due.
    Closing,
    /// Never heard of, or gone.
    Unknown,
    /// Alive on another server.
    Moved,
}

impl Standing {
    /// For requests of any session.
    ///
    /// # Errors
    /// `SessionExpired` or `SessionMoved`; on the latter the connection is closed without a reply.
    pub fn check(self) -> Result<(), Code> {
        match self {
            Standing::Open => Ok(()),
            Standing::Closing | Standing::Unknown => Err(Code::SessionExpired),
            Standing::Moved => Err(Code::SessionMoved),
        }
    }

    /// For ephemerals, which need a global session. All of a standalone server's are.
    ///
    /// # Errors
    /// As [`Standing::check`].
    pub fn check_global(self) -> Result<(), Code> {
        self.check()
    }
}

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Slot {
    id: i64,
    timeout_ms: i32,
    is_closing: bool,
    /// Key of the bucket it is in; meaningless when closing.
    expiry: i64,
    prev: u32,
    next: u32,
}

/// All sessions of a server, by expiry.
#[derive(Debug)]
pub struct SessionTracker {
    tick_ms: i64,
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_id: NumberMap<i64, u32>,
    /// First session of each bucket; keys are multiples of the tick.
    buckets: BTreeMap<i64, u32>,
}

impl SessionTracker {
    /// Without sessions. `tick_ms` is the width of a bucket.
    ///
    /// # Panics
    /// Unless the tick is positive.
    pub fn new(tick_ms: i64) -> SessionTracker {
        assert!(tick_ms > 0, "configuration refuses a tick that is not positive");
        SessionTracker {
            tick_ms,
            slots: Vec::new(),
            free: Vec::new(),
            by_id: NumberMap::default(),
            buckets: BTreeMap::new(),
        }
    }

    /// A new session, or one from disk, has its full timeout from now. One that is known is touched.
    pub fn track(&mut self, id: SessionId, timeout_ms: i32, now: Millis) {
        if !self.by_id.contains_key(&id.to_i64()) {
            let slot = Slot { id: id.to_i64(), timeout_ms, is_closing: false, expiry: 0, prev: NONE, next: NONE };
            let at = match self.free.pop() {
                Some(at) => {
                    self.slots[at as usize] = slot;
                    at
                }
                None => {
                    self.slots.push(slot);
                    u32::try_from(self.slots.len() - 1).expect("fewer sessions than memory")
                }
            };
            self.by_id.insert(id.to_i64(), at);
            self.link(at, self.expiry_after(timeout_ms, now));
            return;
        }
        self.renew(id, timeout_ms, now);
    }

    /// A sign of life; false if the session is closing or unknown, and then the frame is dropped.
    pub fn touch(&mut self, id: SessionId, now: Millis) -> bool {
        let Some(at) = self.open_slot(id) else {
            return false;
        };
        self.reschedule(at, now);
        true
    }

    /// Re-attached with a timeout negotiated anew; false if the session is closing or unknown.
    pub fn renew(&mut self, id: SessionId, timeout_ms: i32, now: Millis) -> bool {
        let Some(at) = self.open_slot(id) else {
            return false;
        };
        self.slots[at as usize].timeout_ms = timeout_ms;
        self.reschedule(at, now);
        true
    }

    /// What to tell prep.
    pub fn standing(&self, id: SessionId) -> Standing {
        match self.by_id.get(&id.to_i64()) {
            None => Standing::Unknown,
            Some(&at) if self.slots[at as usize].is_closing => Standing::Closing,
            Some(_) => Standing::Open,
        }
    }

    /// The timeout last negotiated.
    pub fn timeout_ms(&self, id: SessionId) -> Option<i32> {
        self.by_id.get(&id.to_i64()).map(|&at| self.slots[at as usize].timeout_ms)
    }

    /// Its end has been prepared: touches and requests fail from now on. Nothing if it is unknown.
    pub fn set_closing(&mut self, id: SessionId) {
        if let Some(at) = self.open_slot(id) {
            self.unlink(at);
            self.slots[at as usize].is_closing = true;
        }
    }

    /// Its end has been applied. Nothing if it is unknown.
    pub fn remove(&mut self, id: SessionId) {
        self.set_closing(id);
        if let Some(at) = self.by_id.remove(&id.to_i64()) {
            self.free.push(at);
        }
    }

    /// Marks every session that is due as closing and appends it to `due`; each gets a closeSession request now.
    pub fn expire(&mut self, now: Millis, due: &mut Vec<SessionId>) {
        while let Some((&expiry, &head)) = self.buckets.first_key_value()
            && expiry <= now.to_i64()
        {
            self.buckets.remove(&expiry);
            let mut at = head;
            while at != NONE {
                let slot = &mut self.slots[at as usize];
                assert!(!slot.is_closing && slot.expiry == expiry, "a bucket holds open sessions of its time");
                slot.is_closing = true;
                due.push(SessionId::new(slot.id));
                at = slot.next;
            }
        }
    }

    /// When [`SessionTracker::expire`] has something to do.
    pub fn next_expiry(&self) -> Option<Millis> {
        self.buckets.first_key_value().map(|(&expiry, _)| Millis::new(expiry))
    }

    /// Sessions, closing ones included.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The buckets in order of time, each with its sessions: what the `dump` command shows.
    pub fn buckets(&self) -> impl Iterator<Item = (Millis, impl Iterator<Item = SessionId>)> {
        self.buckets.iter().map(move |(&expiry, &head)| {
            let follow = move |&at: &u32| Some(self.slots[at as usize].next).filter(|&next| next != NONE);
            let chain = core::iter::successors(Some(head), follow);
            (Millis::new(expiry), chain.map(|at| SessionId::new(self.slots[at as usize].id)))
        })
    }

    fn open_slot(&self, id: SessionId) -> Option<u32> {
        let at = *self.by_id.get(&id.to_i64())?;
        (!self.slots[at as usize].is_closing).then_some(at)
    }

    /// The end of the tick in which the timeout ends.
    fn expiry_after(&self, timeout_ms: i32, now: Millis) -> i64 {
        (now.plus(i64::from(timeout_ms)).to_i64().div_euclid(self.tick_ms) + 1).saturating_mul(self.tick_ms)
    }

    fn reschedule(&mut self, at: u32, now: Millis) {
        let slot = self.slots[at as usize];
        let expiry = self.expiry_after(slot.timeout_ms, now);
        if expiry != slot.expiry {
            self.unlink(at);
            self.link(at, expiry);
        }
    }

    fn link(&mut self, at: u32, expiry: i64) {
        let head = self.buckets.insert(expiry, at).unwrap_or(NONE);
        if head != NONE {
            self.slots[head as usize].prev = at;
        }
        let slot = &mut self.slots[at as usize];
        (slot.expiry, slot.prev, slot.next) = (expiry, NONE, head);
    }

    fn unlink(&mut self, at: u32) {
        let Slot { expiry, prev, next, .. } = self.slots[at as usize];
        if next != NONE {
            self.slots[next as usize].prev = prev;
        }
        if prev != NONE {
            self.slots[prev as usize].next = next;
        } else if next != NONE {
            self.buckets.insert(expiry, next);
        } else {
            self.buckets.remove(&expiry);
        }
    }
}

/// The first id that a server gives since it started to serve: the next ones count up from it. `now_ms` needs to differ
/// from one start to the next; the server's id keeps those of other servers apart.
pub fn first_session_id(server_id: u8, now_ms: u64) -> SessionId {
    // 40 bits of the clock over 16 bits to count in.
    let clock = (now_ms << 24) >> 8;
    let base = ((u64::from(server_id) << 56) | clock) as i64;
    // The container marker is no session.
    SessionId::new(if base == i64::MIN { base + 1 } else { base })
}

/// The password of a session: no secret, but what every server of an ensemble, Java's included, computes the same.
pub fn password(id: SessionId) -> [u8; 16] {
    const SUPER_SECRET: u64 = 0xb341_5c00;
    const MULTIPLIER: u64 = 0x5_deec_e66d;
    const MASK: u64 = (1 << 48) - 1;
    let mut state = ((id.to_i64() as u64 ^ SUPER_SECRET) ^ MULTIPLIER) & MASK;
    let mut out = [0; 16];
    for word in out.chunks_exact_mut(4) {
        state = (state.wrapping_mul(MULTIPLIER).wrapping_add(0xb)) & MASK;
        word.copy_from_slice(&((state >> 16) as u32).to_le_bytes());
    }
    out
}

/// Whether `given` opens session `id`. Session 0 is nobody's.
pub fn is_password(id: SessionId, given: &[u8]) -> bool {
    id != SessionId::NONE && given == password(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Millis {
        Millis::new(ms)
    }

    #[test]
    fn a_session_lives_its_timeout_and_at_most_a_tick_more() {
        let mut tracker = SessionTracker::new(2000);
        let id = SessionId::new(7);
        tracker.track(id, 4000, at(100));
        assert_eq!(tracker.next_expiry(), Some(at(6000)));
        assert!(tracker.touch(id, at(2000)), "4000 + 2000 is in the tick that ends at 8000");
        let mut due = Vec::new();
        tracker.expire(at(7999), &mut due);
        assert!(due.is_empty());
        tracker.expire(at(8000), &mut due);
        assert_eq!(due, [id]);
        assert_eq!(tracker.standing(id), Standing::Closing);
        assert!(!tracker.touch(id, at(8001)) && !tracker.renew(id, 1, at(8001)));
        tracker.remove(id);
        assert_eq!((tracker.standing(id), tracker.len()), (Standing::Unknown, 0));
    }

    #[test]
    fn buckets_survive_any_order_of_leaving() {
        let mut tracker = SessionTracker::new(10);
        for id in 1..=5 {
            tracker.track(SessionId::new(id), 5, at(0));
        }
        tracker.set_closing(SessionId::new(3));
        tracker.set_closing(SessionId::new(5));
        tracker.renew(SessionId::new(1), 100, at(0));
        let buckets: Vec<(i64, Vec<i64>)> =
            tracker.buckets().map(|(time, ids)| (time.to_i64(), ids.map(SessionId::to_i64).collect())).collect();
        assert_eq!(buckets, [(10, Vec::from([4, 2])), (110, Vec::from([1]))]);
        tracker.remove(SessionId::new(4));
        tracker.remove(SessionId::new(2));
        tracker.remove(SessionId::new(1));
        assert_eq!((tracker.next_expiry(), tracker.len()), (None, 2));
    }

    #[test]
    fn passwords_are_javas() {
        // The first four nextInt() of java.util.Random(42), each least significant byte first.
        let id = SessionId::new(0xb341_5c00 ^ 42);
        let words: Vec<i32> =
            password(id).chunks_exact(4).map(|word| i32::from_le_bytes(word.try_into().unwrap())).collect();
        assert_eq!(words, [-1_170_105_035, 234_785_527, -1_360_544_799, 205_897_768]);
        assert!(is_password(id, &password(id)) && !is_password(id, &[0; 16]) && !is_password(id, &[]));
        assert!(!is_password(SessionId::NONE, &password(SessionId::NONE)));
    }

    #[test]
    fn session_ids_hold_server_and_clock() {
        assert_eq!(first_session_id(1, 0xffff_ff12_3456_789a).to_i64(), 0x0112_3456_789a_0000);
        assert_eq!(first_session_id(0x80, 0).to_i64(), i64::MIN + 1);
    }
}
