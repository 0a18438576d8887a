//! SIGTERM and SIGINT, and the server's own reasons to stop, as one thing a task can wait for.
//!
//! A thread of its own sleeps in the kernel until a signal comes, so that an idle server is not woken to look.
//! Invariant: the first reason wins; a second signal of the same kind ends the process at once, as an operator who
//! presses Ctrl-C twice expects.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::{future::poll_fn, io, thread};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Why the server stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// An operator asked by signal: finish what is in flight, exit 0.
    Signal(&'static str),
    /// Going on would break a promise: the disk failed. Nothing more is acknowledged.
    Fatal(String),
}

#[derive(Default)]
struct State {
    reason: Option<Reason>,
    waiting: Vec<Waker>,
}

/// A handle that any core may clone, wait on and set.
#[derive(Clone, Default)]
pub struct Stop(Arc<Mutex<State>>);

impl Stop {
    /// A stop that SIGTERM and SIGINT set.
    ///
    /// # Errors
    /// When the handlers cannot be installed or no thread can be started.
    pub fn on_signals() -> io::Result<Stop> {
        let stop = Stop::default();
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let setter = stop.clone();
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in signals.forever() {
                let name = if signal == SIGTERM { "SIGTERM" } else { "SIGINT" };
                if !setter.set(Reason::Signal(name)) {
                    // Asked twice: do not wait for what is in flight. Nothing acknowledged is lost by it.
                    std::process::exit(128 + signal);
                }
            }
        })?;
        Ok(stop)
    }

    /// Sets the reason and wakes everyone who waits. Says whether it was the first.
    pub fn set(&self, reason: Reason) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.reason.is_some() {
            return false;
        }
        state.reason = Some(reason);
        for waker in state.waiting.drain(..) {
            waker.wake();
        }
        true
    }

    /// The reason, once there is one.
    pub fn reason(&self) -> Option<Reason> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).reason.clone()
    }

    /// Waits until there is a reason to stop.
    ///
    /// # Cancel safety
    /// Dropping the wait loses nothing.
    pub async fn wait(&self) -> Reason {
        poll_fn(|cx| {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(reason) = &state.reason {
                return Poll::Ready(reason.clone());
            }
            if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                state.waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future;

    #[test]
    fn the_first_reason_wins_and_wakes_a_waiter_on_another_thread() {
        let stop = Stop::default();
        let waiter = stop.clone();
        let thread = thread::spawn(move || future::block_on(waiter.wait()));
        assert!(stop.set(Reason::Fatal("disk".to_owned())));
        assert!(!stop.set(Reason::Signal("SIGTERM")));
        assert_eq!(thread.join().unwrap(), Reason::Fatal("disk".to_owned()));
    }
}
