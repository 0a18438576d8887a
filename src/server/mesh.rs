//! The mesh: mailboxes between roles, written once for roles on one executor and on two.
//!
//! Flow       `Outlet::post` all through a turn -> `Outlet::dispatch` at its end -> `Inlet`.
//! Near       a queue. Its posts are taken in the turn that made them (`pop`) or by a task (`receive`), which may be slower
//!            than who posts (`near_with_relief`).
//! Far        a bounded channel of batches. A turn's posts leave as one batch, so that waking the other core is paid once.
//! Invariant  messages arrive in the order in which they were posted; none is lost while both ends live.
//! Bound      [`BATCHES_MAX`] batches of at most [`BATCH_LEN_MAX`] messages or [`BATCH_MAX_BYTES`] are under way. What is
//!            posted beyond waits at the sender, whose `is_full` then says so: the role takes nothing more in until
//!            there is room. What one turn can still post is bounded by the turn.
//! Absent     a timer: a batch leaves at the end of its turn, alone or not. Delivery to a role that has ended: dropped.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::{future::poll_fn, mem};

use glommio::channels::shared_channel::{self, ConnectedReceiver, ConnectedSender, SharedReceiver, SharedSender};
use glommio::{GlommioError, ResourceType};

use super::notify::Notify;

/// Batches under way in one mailbox.
pub const BATCHES_MAX: usize = 64;

/// Messages in one batch: some 100 us of work, after which the receiver lets others have their turn.
pub const BATCH_LEN_MAX: usize = 128;

/// Bytes in one batch beyond which it is closed. One message alone may be larger (`jute.maxbuffer`).
pub const BATCH_MAX_BYTES: usize = 256 * 1024;

/// What a message keeps in memory beside itself.
pub trait Weigh {
    /// Its payload in bytes; 0 for what has none worth counting.
    fn weight_bytes(&self) -> usize;
}

/// The sending end. Used by one role.
pub struct Outlet<T: Send + 'static>(Sending<T>);

enum Sending<T: Send + 'static> {
    Near(Rc<Near<T>>),
    Far(Rc<Far<T>>),
}

/// The receiving end.
pub enum Inlet<T: Send + 'static> {
    /// From a role on the same executor.
    Near(Rc<Near<T>>),
    /// From another executor.
    Far(ConnectedReceiver<Vec<T>>),
}

/// A mailbox within an executor.
pub struct Near<T> {
    queue: RefCell<VecDeque<T>>,
    waiting_bytes: Cell<usize>,
    bell: Notify,
    /// Rung when a task has taken what was waiting. Where posts are taken in the same turn nobody listens.
    relief: Option<Rc<Notify>>,
}

struct Far<T: Send + 'static> {
    sender: ConnectedSender<Vec<T>>,
    /// Posted and not yet in a batch under way.
    waiting: RefCell<Vec<T>>,
    waiting_bytes: Cell<usize>,
    /// The channel was found full: the task has taken over, so that order is kept.
    is_stuck: Cell<bool>,
    stuck: Notify,
    /// Rung when the channel has room again.
    relief: Rc<Notify>,
}

/// A mailbox between two roles on one executor.
pub fn near<T: Send + 'static>() -> (Outlet<T>, Inlet<T>) {
    near_with(None)
}

/// A mailbox between two roles on one executor, whose posts a task takes: with a bound, as between executors. `relief` is
/// rung whenever there is room again.
pub fn near_with_relief<T: Send + 'static>(relief: Rc<Notify>) -> (Outlet<T>, Inlet<T>) {
    near_with(Some(relief))
}

fn near_with<T: Send + 'static>(relief: Option<Rc<Notify>>) -> (Outlet<T>, Inlet<T>) {
    let (queue, waiting_bytes) = (RefCell::new(VecDeque::new()), Cell::new(0));
    let near = Rc::new(Near { queue, waiting_bytes, bell: Notify::default(), relief });
    (Outlet(Sending::Near(Rc::clone(&near))), Inlet::Near(near))
}

/// The sending end of a mailbox between executors, before it has reached its own.
pub struct FarOutlet<T: Send + 'static>(SharedSender<Vec<T>>);

/// The receiving end of a mailbox between executors, before it has reached its own.
pub struct FarInlet<T: Send + 'static>(SharedReceiver<Vec<T>>);

/// A mailbox between two executors.
pub fn far<T: Send + 'static>() -> (FarOutlet<T>, FarInlet<T>) {
    let (sender, receiver) = shared_channel::new_bounded(BATCHES_MAX);
    (FarOutlet(sender), FarInlet(receiver))
}

impl<T: Send + Weigh + 'static> FarOutlet<T> {
    /// Waits until the other end is connected, too: whoever connects several mailboxes does it in one order everywhere.
    /// `relief` is rung whenever a full mailbox has room again.
    pub async fn connect(self, relief: Rc<Notify>) -> Outlet<T> {
        let far = Rc::new(Far {
            sender: self.0.connect().await,
            waiting: RefCell::new(Vec::new()),
            waiting_bytes: Cell::new(0),
            is_stuck: Cell::new(false),
            stuck: Notify::default(),
            relief,
        });
        glommio::spawn_local(Rc::clone(&far).deliver()).detach();
        Outlet(Sending::Far(far))
    }
}

impl<T: Send + 'static> FarInlet<T> {
    /// Waits until the other end is connected, too.
    pub async fn connect(self) -> Inlet<T> {
        Inlet::Far(self.0.connect().await)
    }
}

impl<T: Send + Weigh + 'static> Outlet<T> {
    /// Hands a message over. It leaves with the next `dispatch`.
    pub fn post(&self, message: T) {
        match &self.0 {
            Sending::Near(near) => {
                near.waiting_bytes.set(near.waiting_bytes.get() + message.weight_bytes());
                near.queue.borrow_mut().push_back(message);
                near.bell.ring();
            }
            Sending::Far(far) => {
                far.waiting_bytes.set(far.waiting_bytes.get() + message.weight_bytes());
                far.waiting.borrow_mut().push(message);
            }
        }
    }

    /// Sends what was posted, as far as there is room. Waits for nothing.
    pub fn dispatch(&self) {
        if let Sending::Far(far) = &self.0 {
            far.dispatch();
        }
    }

    /// Whether so much waits here that the role should take nothing more in.
    pub fn is_full(&self) -> bool {
        match &self.0 {
            Sending::Near(near) => near.is_full(),
            Sending::Far(far) => far.is_stuck.get() && far.has_a_whole_batch(),
        }
    }
}

impl<T: Send + 'static> Outlet<T> {
    /// Whether the receiver lives on the same executor.
    pub fn is_near(&self) -> bool {
        matches!(self.0, Sending::Near(_))
    }

    /// Whether everything that was posted is under way. An executor that ended before would take the rest with it.
    pub fn is_drained(&self) -> bool {
        match &self.0 {
            Sending::Near(near) => near.queue.borrow().is_empty(),
            Sending::Far(far) => far.waiting.borrow().is_empty() && !far.is_stuck.get(),
        }
    }
}

impl<T: Send + Weigh + 'static> Far<T> {
    fn has_a_whole_batch(&self) -> bool {
        self.waiting.borrow().len() >= BATCH_LEN_MAX || self.waiting_bytes.get() >= BATCH_MAX_BYTES
    }

    fn dispatch(&self) {
        while !self.is_stuck.get() {
            let Some(batch) = self.cut_batch() else { return };
            // A receiver that has ended wants nothing more.
            if let Err(GlommioError::WouldBlock(ResourceType::Channel(batch))) = self.sender.try_send(batch) {
                self.put_back(batch);
                self.is_stuck.set(true);
                self.stuck.ring();
            }
        }
    }

    /// Takes the front of what waits: everything, unless that is more than a batch.
    fn cut_batch(&self) -> Option<Vec<T>> {
        let waiting = &mut *self.waiting.borrow_mut();
        if waiting.is_empty() {
            return None;
        }
        let (mut len, mut bytes) = (0, 0);
        while len < waiting.len().min(BATCH_LEN_MAX) && bytes < BATCH_MAX_BYTES {
            bytes += waiting[len].weight_bytes();
            len += 1;
        }
        let rest = if len == waiting.len() { Vec::new() } else { waiting.split_off(len) };
        self.waiting_bytes.set(self.waiting_bytes.get() - bytes);
        Some(mem::replace(waiting, rest))
    }

    fn put_back(&self, mut batch: Vec<T>) {
        let waiting = &mut *self.waiting.borrow_mut();
        let bytes: usize = batch.iter().map(Weigh::weight_bytes).sum();
        self.waiting_bytes.set(self.waiting_bytes.get() + bytes);
        batch.append(waiting);
        *waiting = batch;
    }

    /// Takes over when the channel is full, until everything that waits is under way.
    async fn deliver(self: Rc<Self>) {
        loop {
            self.stuck.wait().await;
            while let Some(batch) = self.cut_batch() {
                if self.sender.send(batch).await.is_err() {
                    self.waiting.borrow_mut().clear();
                    self.waiting_bytes.set(0);
                }
            }
            self.is_stuck.set(false);
            self.relief.ring();
        }
    }
}

impl<T> Near<T> {
    fn is_full(&self) -> bool {
        let has_many = || self.queue.borrow().len() >= BATCHES_MAX * BATCH_LEN_MAX;
        self.relief.is_some() && (self.waiting_bytes.get() >= BATCHES_MAX * BATCH_MAX_BYTES || has_many())
    }
}

impl<T: Send + 'static> Inlet<T> {
    /// The next message of a near mailbox, if there is one.
    ///
    /// # Panics
    /// On a far one: its messages come to a task.
    pub fn pop(&self) -> Option<T> {
        match self {
            Inlet::Near(near) => near.queue.borrow_mut().pop_front(),
            Inlet::Far(_) => unreachable!("a task receives what comes from another executor"),
        }
    }

    /// Waits for messages and takes them. `None` when no more will come.
    ///
    /// # Cancel safety
    /// Dropping the wait loses nothing.
    pub async fn receive(&self) -> Option<Vec<T>> {
        match self {
            Inlet::Near(near) => loop {
                let was_full = near.is_full();
                let queue = mem::take(&mut *near.queue.borrow_mut());
                near.waiting_bytes.set(0);
                if let Some(relief) = near.relief.as_ref().filter(|_| was_full) {
                    relief.ring();
                }
                if !queue.is_empty() {
                    return Some(queue.into());
                }
                near.bell.wait().await;
            },
            Inlet::Far(receiver) => receiver.recv().await,
        }
    }
}

/// One thing that one executor gives another, once: the sending end.
pub struct ParcelSender<T>(Arc<Mutex<ParcelState<T>>>);

/// The receiving end of a parcel.
pub struct ParcelReceiver<T>(Arc<Mutex<ParcelState<T>>>);

struct ParcelState<T> {
    content: Option<T>,
    /// The sender has sent, or has gone.
    is_over: bool,
    waiting: Option<Waker>,
}

/// A parcel.
pub fn parcel<T: Send>() -> (ParcelSender<T>, ParcelReceiver<T>) {
    let state = Arc::new(Mutex::new(ParcelState { content: None, is_over: false, waiting: None }));
    (ParcelSender(Arc::clone(&state)), ParcelReceiver(state))
}

impl<T> ParcelSender<T> {
    /// Sends it.
    pub fn send(self, content: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).content = Some(content);
    }
}

impl<T> Drop for ParcelSender<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_over = true;
        let waiting = state.waiting.take();
        drop(state);
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}

impl<T> ParcelReceiver<T> {
    /// Waits for it; `None` if it will never come.
    pub async fn receive(self) -> Option<T> {
        poll_fn(|cx| {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if state.is_over {
                return Poll::Ready(state.content.take());
            }
            state.waiting = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests;
