//! Virtual time: what will happen, in the order in which it does.
//!
//! Flow       `after` puts an event in; `pop` moves the clock to the next one and hands it over.
//! Invariant  time never goes back. Events of one instant come in an order that the seed chooses, because code must not
//!            lean on one; events of one instant and one draw come as they were put in.
//! Absent     cancelling. Who no longer wants an event ignores it when it comes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::random::Random;

/// Microseconds of virtual time, from the start of the run.
pub type Micros = u64;

/// One second.
pub const SECOND: Micros = 1_000_000;
/// One millisecond.
pub const MILLI: Micros = 1_000;

/// The queue of events.
#[derive(Debug)]
pub struct Schedule<E> {
    now: Micros,
    queue: BinaryHeap<Reverse<Entry<E>>>,
    random: Random,
    serial: u64,
}

#[derive(Debug)]
struct Entry<E> {
    /// When, then the seed's draw, then the order of arrival.
    key: (Micros, u16, u64),
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

impl<E> Schedule<E> {
    /// An empty one at time zero.
    pub fn new(random: Random) -> Self {
        Self { now: 0, queue: BinaryHeap::new(), random, serial: 0 }
    }

    /// The instant of the event that was handed out last.
    pub fn now(&self) -> Micros {
        self.now
    }

    /// Lets `event` happen so much later.
    pub fn after(&mut self, delay: Micros, event: E) {
        self.serial += 1;
        let draw = (self.random.bits() >> 48) as u16;
        let at = self.now.saturating_add(delay);
        self.queue.push(Reverse(Entry { key: (at, draw, self.serial), event }));
    }

    /// The next event that is due by `until`, and the clock with it. Without one the clock goes to `until`.
    pub fn pop(&mut self, until: Micros) -> Option<E> {
        if self.queue.peek().is_none_or(|Reverse(entry)| entry.key.0 > until) {
            self.now = self.now.max(until);
            return None;
        }
        let Reverse(entry) = self.queue.pop().expect("it was peeked at");
        assert!(entry.key.0 >= self.now, "time goes back from {} to {}", self.now, entry.key.0);
        self.now = entry.key.0;
        Some(entry.event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_the_order_of_time() {
        let mut schedule = Schedule::new(Random::new(1));
        for delay in [5, 3, 9, 1] {
            schedule.after(delay, delay);
        }
        let mut seen = Vec::new();
        while let Some(event) = schedule.pop(6) {
            assert_eq!(schedule.now(), event);
            seen.push(event);
        }
        assert_eq!(seen, [1, 3, 5]);
        assert_eq!(schedule.now(), 6, "the clock goes on without events");
    }

    #[test]
    fn the_seed_orders_what_happens_at_once() {
        let order = |seed| {
            let mut schedule = Schedule::new(Random::new(seed));
            (0..8).for_each(|number| schedule.after(7, number));
            std::iter::from_fn(|| schedule.pop(7)).collect::<Vec<_>>()
        };
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }
}
