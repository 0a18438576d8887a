//! A node's own futures, polled in a fixed order: what lets code that awaits a disk run in the simulator.
//!
//! Flow       `spawn`; then, when the world says that something is done, `run` polls whoever was woken until nobody is.
//! Invariant  the order of polls depends only on the order of spawns and wakes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Futures with a result of one type.
pub struct Tasks<T> {
    tasks: Vec<Task<T>>,
}

struct Task<T> {
    future: Pin<Box<dyn Future<Output = T>>>,
    woken: Arc<Flag>,
    waker: Waker,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<T> Default for Tasks<T> {
    fn default() -> Self {
        Self { tasks: Vec::new() }
    }
}

impl<T> Tasks<T> {
    /// Takes a future, which is polled first with the next [`run`](Tasks::run).
    pub fn spawn(&mut self, future: impl Future<Output = T> + 'static) {
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        self.tasks.push(Task { future: Box::pin(future), woken, waker });
    }

    /// Polls until nobody can go on, and gives the results of those that have ended.
    pub fn run(&mut self) -> Vec<T> {
        let mut results = Vec::new();
        let mut went_on = true;
        while went_on {
            went_on = false;
            let mut index = 0;
            while index < self.tasks.len() {
                let task = &mut self.tasks[index];
                if task.woken.0.swap(false, Ordering::Relaxed) {
                    went_on = true;
                    if let Poll::Ready(result) = task.future.as_mut().poll(&mut Context::from_waker(&task.waker)) {
                        results.push(result);
                        self.tasks.remove(index);
                        continue;
                    }
                }
                index += 1;
            }
        }
        results
    }

    /// Whether somebody could go on.
    pub fn is_woken(&self) -> bool {
        self.tasks.iter().any(|task| task.woken.0.load(Ordering::Relaxed))
    }

    /// Futures that have not ended.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether all have ended.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }
}
