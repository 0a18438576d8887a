//! A gate between tasks of one executor: who is inside keeps the others out.
//!
//! Invariant: of all passes of a gate one lives at a time; it is given back by dropping it, wherever its holder ends.
//! Absent: fairness. Whoever goes in and out in a loop waits for something else in between.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// The gate.
#[derive(Default)]
pub struct Gate {
    is_taken: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

/// Being inside.
#[must_use]
pub struct Pass<'g>(&'g Gate);

impl Gate {
    /// Waits until nobody is inside.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn enter(&self) -> Pass<'_> {
        poll_fn(|context| {
            if !self.is_taken.replace(true) {
                return Poll::Ready(Pass(self));
            }
            self.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.0.is_taken.set(false);
        let waiting = std::mem::take(&mut *self.0.waiting.borrow_mut());
        waiting.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future;

    #[test]
    fn one_is_inside_until_its_pass_is_dropped() {
        let gate = Gate::default();
        let inside = future::block_on(gate.enter());
        assert!(future::block_on(future::poll_once(gate.enter())).is_none());
        drop(inside);
        assert!(future::block_on(future::poll_once(gate.enter())).is_some());
    }
}
