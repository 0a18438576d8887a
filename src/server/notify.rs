//! A bell between tasks of one executor: many may ring it, one waits for it.
//!
//! Invariant: a ring that comes before the wait is not lost; several rings before it count as one.
//! Absent: fairness and a count. Whoever waits looks at the state it guards.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// The bell. Shared by `Rc`.
#[derive(Default)]
pub struct Notify {
    rung: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl Notify {
    /// Wakes the waiting task, or lets the next wait return at once.
    pub fn ring(&self) {
        self.rung.set(true);
        let waiting = self.waiting.borrow_mut().take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    /// Waits for a ring.
    ///
    /// # Cancel safety
    /// Dropping the wait loses nothing: the next one sees the ring.
    pub async fn wait(&self) {
        poll_fn(|cx| {
            if self.rung.replace(false) {
                return Poll::Ready(());
            }
            *self.waiting.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future;
    use std::rc::Rc;

    #[test]
    fn a_ring_before_the_wait_is_kept_and_counts_once() {
        let bell = Rc::new(Notify::default());
        bell.ring();
        bell.ring();
        future::block_on(bell.wait());
        let pending = future::block_on(future::poll_once(bell.wait()));
        assert!(pending.is_none(), "two rings before a wait are one");
    }
}
