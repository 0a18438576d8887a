//! The bounds of mailboxes between executors, their order, and their end.

use std::time::Duration;

use glommio::timer::sleep;
use glommio::{LocalExecutorBuilder, Placement};

use super::*;

#[derive(Debug, PartialEq, Eq)]
struct Weighed(usize, usize);

impl Weigh for Weighed {
    fn weight_bytes(&self) -> usize {
        self.1
    }
}

/// Runs one task on each of two executors.
fn on_two<A, B>(left: impl FnOnce() -> A + Send + 'static, right: impl FnOnce() -> B + Send + 'static)
where
    A: Future<Output = ()> + 'static,
    B: Future<Output = ()> + 'static,
{
    let builder = || LocalExecutorBuilder::new(Placement::Unbound).io_memory(64 << 10);
    let left = builder().spawn(left).unwrap();
    let right = builder().spawn(right).unwrap();
    left.join().unwrap();
    right.join().unwrap();
}

async fn until_drained(outlet: &Outlet<Weighed>) {
    while !outlet.is_drained() {
        sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn a_near_mailbox_gives_back_in_order_within_the_turn() {
    let (outlet, inlet) = near();
    (0..5).for_each(|number| outlet.post(Weighed(number, 1 << 30)));
    assert!(!outlet.is_full(), "what is taken in the same turn never waits");
    let taken: Vec<usize> = std::iter::from_fn(|| inlet.pop()).map(|message| message.0).collect();
    assert_eq!(taken, [0, 1, 2, 3, 4]);
}

/// The receiver takes nothing until the sender says that it is full: that must happen at the named bound, and everything
/// must arrive in order all the same.
fn fills_up(weight_bytes: usize, per_batch: usize) {
    let (outlet, inlet) = far::<Weighed>();
    let (filled, until_filled) = parcel();
    on_two(
        move || async move {
            let relief = Rc::new(Notify::default());
            let outlet = outlet.connect(Rc::clone(&relief)).await;
            let mut posted = 0;
            while !outlet.is_full() {
                outlet.post(Weighed(posted, weight_bytes));
                posted += 1;
                if posted % per_batch == 0 {
                    outlet.dispatch();
                }
                assert!(posted <= (BATCHES_MAX + 2) * per_batch, "the bound does not hold");
            }
            assert!(posted >= BATCHES_MAX * per_batch, "full with {posted} messages already");
            filled.send(posted);
            relief.wait().await;
            assert!(!outlet.is_full());
            outlet.post(Weighed(posted, 0));
            outlet.dispatch();
            until_drained(&outlet).await;
        },
        move || async move {
            let inlet = inlet.connect().await;
            let posted = until_filled.receive().await.unwrap();
            let mut taken = 0;
            while taken <= posted {
                let batch = inlet.receive().await.unwrap();
                assert!(batch.len() <= BATCH_LEN_MAX);
                for message in batch {
                    assert_eq!(message.0, taken, "out of order");
                    taken += 1;
                }
            }
        },
    );
}

#[test]
fn a_far_mailbox_is_full_at_its_bound_of_messages_and_recovers() {
    fills_up(0, BATCH_LEN_MAX);
}

#[test]
fn a_far_mailbox_is_full_at_its_bound_of_bytes_and_recovers() {
    fills_up(BATCH_MAX_BYTES / 4, 4);
}

#[test]
fn one_turn_of_any_size_leaves_in_bounded_batches() {
    let (outlet, inlet) = far::<Weighed>();
    on_two(
        move || async move {
            let outlet = outlet.connect(Rc::new(Notify::default())).await;
            (0..1000).for_each(|number| outlet.post(Weighed(number, 1000)));
            outlet.dispatch();
            until_drained(&outlet).await;
        },
        move || async move {
            let inlet = inlet.connect().await;
            let mut taken = 0;
            while taken < 1000 {
                let batch = inlet.receive().await.unwrap();
                assert!(batch.len() <= BATCH_LEN_MAX);
                assert!(batch.iter().map(|message| message.1).sum::<usize>() < BATCH_MAX_BYTES + 1000);
                taken += batch.len();
            }
        },
    );
}

#[test]
fn a_mailbox_whose_receiver_has_ended_takes_everything_and_keeps_nothing() {
    let (outlet, inlet) = far::<Weighed>();
    let (ended, until_ended) = parcel();
    on_two(
        move || async move {
            let outlet = outlet.connect(Rc::new(Notify::default())).await;
            until_ended.receive().await.unwrap();
            for number in 0..10 * BATCHES_MAX {
                outlet.post(Weighed(number, BATCH_MAX_BYTES));
                outlet.dispatch();
            }
            assert!(!outlet.is_full());
        },
        move || async move {
            drop(inlet.connect().await);
            ended.send(());
        },
    );
}

#[test]
fn a_parcel_arrives_and_an_abandoned_one_ends_the_wait() {
    let (sender, receiver) = parcel();
    sender.send(7);
    assert_eq!(futures_lite::future::block_on(receiver.receive()), Some(7));
    let (sender, receiver) = parcel::<u8>();
    drop(sender);
    assert_eq!(futures_lite::future::block_on(receiver.receive()), None);
}
