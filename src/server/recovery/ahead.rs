//! Reading ahead: a thread of its own reads, checks and decodes, while the caller's makes a tree of it.
//!
//! Flow       `read` fills a batch and passes it -> `take` on the caller's thread -> back to `read`, to be filled again.
//! Invariant  batches come in the order in which they were passed, all of them, before `ahead` returns. The thread that
//!            fills a batch also empties it: what the allocator gave a thread goes back to it, and the memory of the tree
//!            comes from the thread that lives on.
//! Bound      `BATCHES` are under way, each of `BATCH_ITEMS`, or of `BATCH_BYTES` and one item more.

use std::sync::mpsc;
use std::{io, panic, thread};

/// Enough that neither side waits for the other's hiccups.
const BATCHES: usize = 8;

/// When a batch is full: its items then fit into a core's own cache, however small or large they are.
pub const BATCH_ITEMS: usize = 256;
/// See [`BATCH_ITEMS`].
pub const BATCH_BYTES: usize = 256 << 10;

/// By how many threads a state is loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Threads {
    /// The caller's alone: each batch is taken when it is full.
    One,
    /// Another one, too, which reads ahead.
    Two,
}

/// Runs `read`, on another thread if there may be `Two`. It is given `pass`, which hands a full batch over and puts a used
/// one in its place; `take` gets the full ones here. What `read` returns is returned.
///
/// # Errors
/// The kernel refused the thread: nothing was read.
pub fn ahead<B: Default + Send, R: Send>(
    threads: Threads,
    read: impl FnOnce(&mut dyn FnMut(&mut B)) -> R + Send,
    mut take: impl FnMut(&mut B),
) -> io::Result<R> {
    if threads == Threads::One {
        return Ok(read(&mut take));
    }
    let (passed, full) = mpsc::channel();
    let (returned, used) = mpsc::channel();
    for _ in 1..BATCHES {
        returned.send(B::default()).expect("the receiver is here");
    }
    thread::scope(|scope| {
        let reader = thread::Builder::new().name("read-ahead".into()).spawn_scoped(scope, move || {
            leave_pinned_cpu();
            let mut pass = |batch: &mut B| {
                let used = used.recv().expect("`take` gives every batch back");
                passed.send(std::mem::replace(batch, used)).expect("`take` goes on to the last batch");
            };
            let result = read(&mut pass);
            drop(passed);
            used.into_iter().for_each(drop);
            result
        })?;
        for mut batch in full {
            take(&mut batch);
            // The reader empties its batches to the last.
            returned.send(batch).expect("the reader waits for every batch");
        }
        drop(returned);
        Ok(reader.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked)))
    })
}

/// An executor may be pinned, and a thread inherits that from the one that starts it. The process's first thread has the
/// CPUs that were given to the process, unless it is the only executor and pinned itself. It is no harm if this fails.
fn leave_pinned_cpu() {
    let process = rustix::process::getpid();
    if let Ok(cpus) = rustix::thread::sched_getaffinity(Some(process)) {
        let _ = rustix::thread::sched_setaffinity(None, &cpus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_come_in_order_and_to_the_last() {
        let mut taken: Vec<u32> = Vec::new();
        let read = |pass: &mut dyn FnMut(&mut Vec<u32>)| {
            let mut batch: Vec<u32> = Vec::new();
            for number in 0..100 {
                batch.clear();
                batch.push(number);
                pass(&mut batch);
            }
            "done"
        };
        for threads in [Threads::One, Threads::Two] {
            let take = |batch: &mut Vec<u32>| taken.extend(batch.iter());
            assert_eq!(ahead(threads, read, take).unwrap(), "done");
            assert!(taken.drain(..).eq(0..100), "{threads:?}");
        }
    }
}
