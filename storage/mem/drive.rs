//! Running futures of this crate without an executor: over a [`MemDisk`](super::MemDisk) nothing waits for anybody else.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

/// Runs a future to its end, which it must reach at once.
///
/// # Panics
/// If it waits: for a sync that is held back, or for another future of the same log. Use [`poll_once`] for these.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    match poll_once(pin!(future)) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the future waits for something, and there is nobody who would do it"),
    }
}

/// Polls a future once. Nobody is woken when it could go on: poll again after what it waits for, as
/// [`release_syncs`](super::MemDisk::release_syncs).
pub fn poll_once<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::tests::{expected, open, payload};
    use crate::mem::MemDisk;

    #[test]
    fn held_sync_is_pending_until_it_is_released() {
        let disk = MemDisk::forgetful();
        let (log, ..) = open(&disk);
        log.append(1, &payload(1)).unwrap();
        disk.hold_syncs();
        let mut sync = pin!(log.sync());
        assert!(poll_once(sync.as_mut()).is_pending());
        assert!(poll_once(sync.as_mut()).is_pending());
        disk.release_syncs();
        assert_eq!(block_on(sync).unwrap(), 1);
    }

    #[test]
    #[should_panic(expected = "nobody who would do it")]
    fn future_that_waits_is_no_value() {
        block_on(std::future::pending::<()>());
    }

    #[test]
    fn forgetful_disk_crashes_like_any_other() {
        let mut disk = MemDisk::forgetful();
        let mut last = 0;
        for round in 0..50 {
            let (log, recovered, seen) = open(&disk);
            assert!(recovered.last_seq >= last, "round {round}");
            assert_eq!(seen, expected(1..=recovered.last_seq));
            for seq in recovered.last_seq + 1..=recovered.last_seq + 9 {
                block_on(log.prepare_next()).unwrap();
                log.append(seq, &payload(seq)).unwrap();
            }
            last = block_on(log.sync()).unwrap();
            log.append(last + 1, &payload(last + 1)).unwrap();
            disk.hold_syncs();
            assert!(poll_once(pin!(log.sync())).is_pending());
            assert_eq!(disk.recorded(), 0);
            let mut turn = round;
            disk = disk.crash_with(|count| {
                turn += 1;
                turn % count
            });
        }
    }
}
