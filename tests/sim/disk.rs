//! The simulated disk: storage's disk in memory behind a queue, so that every operation takes time and can be the last.
//!
//! Flow       an operation waits for its turn -> its write is applied, unsynced -> the world lets time pass -> `finish`
//!            -> the future goes on; a sync counts from then on. One operation is served at a time, in the order asked.
//! Invariant  a crash while an operation is served finds its write unsynced: whole, lost or torn, as the seed says.
//!            What waits in the queue never reached the disk.
//! Absent     damage to what was durable; a test that wants it has `MemDisk::corrupt`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use storage::MemDisk;
use storage::disk::{Disk, DiskFile, Entry, Open, Strategy};
use storage::mem::MemFile;

use super::schedule::Micros;
use crate::random::Random;

/// What an operation that makes something durable takes on a good day, in microseconds: least and spread.
const SYNC_US: (Micros, Micros) = (60, 240);
/// The same for any other operation.
const TOUCH_US: (Micros, Micros) = (4, 16);

/// What any operation takes at most: disks that hang for longer are given up by their kernels.
const STUCK_US: Micros = 3_000_000;

/// A node's disk. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk {
    mem: MemDisk,
    queue: Rc<RefCell<Queue>>,
}

struct Queue {
    random: Random,
    /// How many times slower than on a good day.
    slowness: u64,
    next_ticket: u64,
    waiting: VecDeque<(u64, Waker)>,
    served: Option<Served>,
    /// The ticket of the operation whose service has begun, and how long it takes; for the world to take.
    begun: Option<(u64, Micros)>,
    operations: u64,
}

struct Served {
    ticket: u64,
    is_done: bool,
    waker: Option<Waker>,
}

/// A place in the queue, then at the disk; dropping it gives it back.
struct Turn {
    queue: Rc<RefCell<Queue>>,
    ticket: u64,
}

impl SimDisk {
    /// A disk with these files.
    pub fn new(mem: MemDisk, random: Random) -> Self {
        let queue = Queue {
            random,
            slowness: 1,
            next_ticket: 0,
            waiting: VecDeque::new(),
            served: None,
            begun: None,
            operations: 0,
        };
        Self { mem, queue: Rc::new(RefCell::new(queue)) }
    }

    /// The files, and the faults that can be planned there.
    pub fn mem(&self) -> &MemDisk {
        &self.mem
    }

    /// Operations from now on take so many times longer.
    pub fn set_slowness(&self, times: u64) {
        self.queue.borrow_mut().slowness = times;
    }

    /// How many times longer operations take than on a good day.
    pub fn slowness(&self) -> u64 {
        self.queue.borrow().slowness
    }

    /// Operations whose service has begun so far.
    pub fn operations(&self) -> u64 {
        self.queue.borrow().operations
    }

    /// For the world: the ticket of the operation whose service has begun since the last call, and the time it takes.
    pub(crate) fn take_begun(&self) -> Option<(u64, Micros)> {
        self.queue.borrow_mut().begun.take()
    }

    /// For the world: that operation's time is over.
    pub(crate) fn finish(&self, ticket: u64) {
        let queue = &mut *self.queue.borrow_mut();
        // Whoever asked may have gone meanwhile.
        if let Some(served) = queue.served.as_mut().filter(|served| served.ticket == ticket) {
            served.is_done = true;
            if let Some(waker) = served.waker.take() {
                waker.wake();
            }
        }
    }

    async fn turn(&self) -> Turn {
        let turn = {
            let queue = &mut *self.queue.borrow_mut();
            queue.next_ticket += 1;
            Turn { queue: Rc::clone(&self.queue), ticket: queue.next_ticket }
        };
        poll_fn(|context| turn.queue.borrow_mut().poll_turn(turn.ticket, context)).await;
        turn
    }
}

impl Queue {
    fn poll_turn(&mut self, ticket: u64, context: &Context<'_>) -> Poll<()> {
        let is_first = self.waiting.front().is_none_or(|(first, _)| *first == ticket);
        if self.served.is_none() && is_first {
            self.waiting.retain(|(waiting, _)| *waiting != ticket);
            self.served = Some(Served { ticket, is_done: false, waker: None });
            return Poll::Ready(());
        }
        match self.waiting.iter_mut().find(|(waiting, _)| *waiting == ticket) {
            Some((_, waker)) => waker.clone_from(context.waker()),
            None => self.waiting.push_back((ticket, context.waker().clone())),
        }
        Poll::Pending
    }
}

impl Turn {
    /// Lets the time of the operation pass.
    async fn served(&self, (least, spread): (Micros, Micros)) {
        {
            let queue = &mut *self.queue.borrow_mut();
            queue.operations += 1;
            let time = least + queue.random.bits() % spread;
            // One in a hundred meets the disk's housekeeping.
            let hiccup = if queue.random.chance(1) { 50 } else { 1 };
            // Nothing that begins while a disk is slow takes much longer than that.
            queue.begun = Some((self.ticket, (time * queue.slowness * hiccup).min(STUCK_US)));
        }
        poll_fn(|context| {
            let served = &mut self.queue.borrow_mut().served;
            let served = served.as_mut().filter(|served| served.ticket == self.ticket).expect("it is our turn");
            if served.is_done {
                return Poll::Ready(());
            }
            served.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let queue = &mut *self.queue.borrow_mut();
        queue.waiting.retain(|(waiting, _)| *waiting != self.ticket);
        if queue.served.as_ref().is_some_and(|served| served.ticket == self.ticket) {
            queue.served = None;
        }
        if queue.served.is_none()
            && let Some((_, waker)) = queue.waiting.front()
        {
            waker.wake_by_ref();
        }
    }
}

/// What the disk in memory says, which never waits.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => unreachable!("nobody holds the syncs of a simulated disk"),
    }
}

impl Disk for SimDisk {
    type File = SimFile;
    type Map = Vec<u8>;

    async fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let turn = self.turn().await;
        let result = at_once(self.mem.create_dir(dir));
        turn.served(TOUCH_US).await;
        result
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let turn = self.turn().await;
        turn.served(TOUCH_US).await;
        at_once(self.mem.list(dir))
    }

    async fn open(&self, path: &Path, open: Open, strategy: Strategy) -> io::Result<SimFile> {
        let turn = self.turn().await;
        let result = at_once(self.mem.open(path, open, strategy));
        turn.served(TOUCH_US).await;
        Ok(SimFile { disk: self.clone(), file: result? })
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let turn = self.turn().await;
        let result = at_once(self.mem.rename(from, to));
        turn.served(TOUCH_US).await;
        result
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        let turn = self.turn().await;
        let result = at_once(self.mem.remove(path));
        turn.served(TOUCH_US).await;
        result
    }

    async fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        let turn = self.turn().await;
        let result = at_once(self.mem.remove_dir(dir));
        turn.served(TOUCH_US).await;
        result
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let turn = self.turn().await;
        turn.served(SYNC_US).await;
        at_once(self.mem.sync_dir(dir))
    }

    /// Others have it anyway.
    async fn rest(&self, _time: Duration) {}

    fn map(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.mem.map(path)
    }
}

/// A file of a [`SimDisk`].
pub struct SimFile {
    disk: SimDisk,
    file: MemFile,
}

impl DiskFile for SimFile {
    type Buffer = Vec<u8>;

    fn buffer(&self, len: usize) -> Vec<u8> {
        self.file.buffer(len)
    }

    async fn write(&self, buffer: Vec<u8>, len: usize, offset: u64) -> io::Result<()> {
        let turn = self.disk.turn().await;
        let result = at_once(self.file.write(buffer, len, offset));
        turn.served(TOUCH_US).await;
        result
    }

    async fn write_durable(&self, buffer: Vec<u8>, len: usize, offset: u64) -> io::Result<()> {
        let turn = self.disk.turn().await;
        let result = at_once(self.file.write(buffer, len, offset));
        turn.served(SYNC_US).await;
        result?;
        at_once(self.file.sync())
    }

    async fn allocate(&self, len: u64) -> io::Result<()> {
        let turn = self.disk.turn().await;
        let result = at_once(self.file.allocate(len));
        turn.served(TOUCH_US).await;
        result
    }

    async fn sync(&self) -> io::Result<()> {
        let turn = self.disk.turn().await;
        turn.served(SYNC_US).await;
        at_once(self.file.sync())
    }

    async fn close(self) -> io::Result<()> {
        Ok(())
    }
}
