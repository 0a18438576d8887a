//! What runs the log's tasks in a simulated server: the production tasks ask it for other tasks and for time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use ringkeeper::server::pipeline::Runtime;

use crate::sim::schedule::Micros;

/// A task.
pub type Task = Pin<Box<dyn Future<Output = ()>>>;

/// What the tasks have asked for, until the process takes it.
#[derive(Clone, Default)]
pub struct Wants(Rc<RefCell<Inner>>);

#[derive(Default)]
struct Inner {
    tasks: Vec<Task>,
    timers: Vec<(u64, Micros)>,
    next_token: u64,
    /// Those who sleep.
    sleeping: BTreeMap<u64, Option<Waker>>,
}

impl Wants {
    /// Tasks to be started.
    pub fn take_tasks(&self) -> Vec<Task> {
        std::mem::take(&mut self.0.borrow_mut().tasks)
    }

    /// Timers to be set: tokens above zero, and delays.
    pub fn take_timers(&self) -> Vec<(u64, Micros)> {
        std::mem::take(&mut self.0.borrow_mut().timers)
    }

    /// A timer rings.
    pub fn ring(&self, token: u64) {
        let waker = self.0.borrow_mut().sleeping.remove(&token).flatten();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A sleep. Who drops it is not woken.
struct Sleep(Wants, u64);

impl Drop for Sleep {
    fn drop(&mut self) {
        self.0.0.borrow_mut().sleeping.remove(&self.1);
    }
}

impl Runtime for Wants {
    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.borrow_mut().tasks.push(Box::pin(task));
    }

    async fn sleep(&self, time: Duration) {
        let sleep = {
            let inner = &mut *self.0.borrow_mut();
            inner.next_token += 1;
            let token = inner.next_token;
            inner.timers.push((token, time.as_micros() as Micros));
            inner.sleeping.insert(token, None);
            Sleep(self.clone(), token)
        };
        poll_fn(|context| match self.0.borrow_mut().sleeping.get_mut(&sleep.1) {
            Some(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            None => Poll::Ready(()),
        })
        .await;
    }
}
