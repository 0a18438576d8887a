//! Crash images of recorded runs, all of them, and random runs with random crashes.
//!
//! The claim: after any crash the log opens, shows everything that was acknowledged, and nothing that wasn't appended.

use futures_lite::future::{block_on, poll_once};
use proptest::prelude::*;

use crate::log::Log;
use crate::log::tests::{expected, open, open_from, payload, write};
use crate::mem::MemDisk;
use crate::recover::Recovered;

/// Opens every image of the run, and every image of what opening did where `twice` says so.
fn check_images(disk: &MemDisk, oldest_snapshot: impl Fn(u64) -> u64, twice: bool) -> usize {
    let mut images = 0;
    disk.images(|image| {
        images += 1;
        let from_seq = oldest_snapshot(image.noted);
        if image.noted < from_seq {
            return; // The log didn't exist yet, or not up to the snapshot.
        }
        let what = format!("operation {}, fates {}", image.ops, image.choice);
        let seen = match open_from(&image.disk, from_seq) {
            Ok((log, _, seen)) => {
                check_seen(&seen, from_seq, image.noted, &what);
                drop(log);
                seen
            }
            Err(error) => panic!("{what}: {error}"),
        };
        if twice {
            // What one recovery has shown stays, though the next crash comes while it is at work.
            let shown = from_seq + seen.len() as u64;
            image.disk.note(shown);
            image.disk.images(|second| {
                let (_, _, again) = open_from(&second.disk, from_seq).unwrap_or_else(|error| panic!("{what}: {error}"));
                check_seen(&again, from_seq, if second.noted > 0 { shown } else { image.noted }, &what);
            });
        }
    });
    images
}

fn check_seen(seen: &[(u64, Vec<u8>)], from_seq: u64, acked: u64, what: &str) {
    let last = from_seq + seen.len() as u64;
    assert_eq!(seen, expected(from_seq + 1..=last), "{what}: only what was appended, in order");
    assert!(last >= acked, "{what}: acknowledged up to {acked}, found up to {last}");
}

/// Appends `batches` of `size` records; each acknowledged seq is noted.
fn run(disk: &MemDisk, log: &Log<MemDisk>, batches: u64, size: u64) {
    for _ in 0..batches {
        for _ in 0..size {
            let seq = log.last_seq() + 1;
            log.append(seq, &payload(seq)).unwrap();
        }
        disk.note(block_on(log.sync()).unwrap());
    }
}

#[test]
fn every_crash_of_a_small_log_recovers() {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    run(&disk, &log, 6, 1);
    run(&disk, &log, 4, 9);
    assert!(check_images(&disk, |_| 0, true) > 100);
}

#[test]
fn every_crash_around_a_new_segment_recovers() {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    write(&log, 1..=115);
    let disk = disk.copy();
    let (log, ..) = open(&disk);
    disk.note(115);
    block_on(log.prepare_next()).unwrap();
    // Rolls in the middle: once with a batch open, once between batches.
    run(&disk, &log, 6, 4);
    block_on(log.prepare_next()).unwrap();
    run(&disk, &log, 2, 30);
    assert!(disk.paths().len() >= 3);
    assert!(check_images(&disk, |_| 0, false) > 100);
}

/// Purges twice, with a purged segment in use again behind the second.
fn run_with_purges() -> MemDisk {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    write(&log, 1..=500);
    let disk = disk.copy();
    let (log, ..) = open(&disk);
    disk.note(500);
    assert!(block_on(log.purge_before(480)).unwrap() >= 3);
    block_on(log.prepare_next()).unwrap();
    run(&disk, &log, 8, 20);
    assert!(block_on(log.purge_before(600)).unwrap() > 0);
    block_on(log.prepare_next()).unwrap();
    run(&disk, &log, 3, 20);
    disk
}

/// The seq of the oldest snapshot that `run_with_purges` kept by then.
fn kept_snapshot(acked: u64) -> u64 {
    if acked > 600 { 600 } else { 480 }
}

#[test]
fn every_crash_around_a_purge_recovers() {
    assert!(check_images(&run_with_purges(), kept_snapshot, false) > 100);
}

#[test]
fn log_goes_on_after_every_crash_around_a_purge() {
    // A purged segment that was used again may have come back under its first name too.
    let mut images = 0;
    run_with_purges().images(|image| {
        let from_seq = kept_snapshot(image.noted);
        if image.noted < from_seq {
            return;
        }
        images += 1;
        let (log, ..) = open_from(&image.disk, from_seq).unwrap();
        for _ in 0..3 {
            block_on(log.prepare_next()).unwrap();
            run(&image.disk, &log, 4, 20);
            block_on(log.purge_before(from_seq)).unwrap();
        }
        let (_, recovered, seen) = open_from(&image.disk, from_seq)
            .unwrap_or_else(|error| panic!("operation {}, fates {}: {error}", image.ops, image.choice));
        assert_eq!(recovered.last_seq, log.last_seq());
        assert_eq!(seen, expected(from_seq + 1..=log.last_seq()));
    });
    assert!(images > 100, "{images}");
}

#[test]
fn every_crash_while_it_opens_recovers() {
    // The server is killed in the middle of a batch, starts again on the same page cache, and then power fails.
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    write(&log, 1..=5);
    for seq in 6..=12 {
        log.append(seq, &payload(seq)).unwrap();
    }
    disk.hold_syncs();
    assert!(block_on(poll_once(log.sync())).is_none());
    drop(log);
    disk.release_syncs();
    let (log, recovered, _) = open(&disk);
    disk.note(recovered.last_seq);
    run(&disk, &log, 3, 2);
    block_on(log.mark()).unwrap();
    assert!(check_images(&disk, |_| 0, true) > 50);
}

/// One step of a random run.
#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    Sync,
    Mark,
    Prepare,
    /// The snapshot at a fraction of the log is kept, what is below goes.
    Purge(u8),
    /// What is above a fraction of what is above the snapshot goes.
    Truncate(u8),
    /// Power fails in the middle of that, behind some syncs.
    CrashTruncating {
        part: u8,
        syncs: usize,
        seed: u64,
    },
    /// The process is killed, with a sync under way or not; the page cache stays.
    Kill {
        syncing: bool,
    },
    /// Power fails, with a sync under way or not; the seed decides what of it arrives.
    Crash {
        syncing: bool,
        seed: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1u8..30).prop_map(Step::Append),
        5 => Just(Step::Sync),
        1 => Just(Step::Mark),
        3 => Just(Step::Prepare),
        1 => any::<u8>().prop_map(Step::Purge),
        1 => any::<u8>().prop_map(Step::Truncate),
        1 => (any::<u8>(), 0usize..6, any::<u64>())
            .prop_map(|(part, syncs, seed)| Step::CrashTruncating { part, syncs, seed }),
        1 => any::<bool>().prop_map(|syncing| Step::Kill { syncing }),
        3 => (any::<bool>(), any::<u64>()).prop_map(|(syncing, seed)| Step::Crash { syncing, seed }),
    ]
}

/// The log and what is known about it.
struct World {
    disk: MemDisk,
    log: Option<Log<MemDisk>>,
    /// Everything that is or may be in the log, from seq 1 on. The payload tells the life it was appended in.
    model: Vec<Vec<u8>>,
    acked: usize,
    snapshot: usize,
    life: u32,
}

impl World {
    fn new() -> World {
        let disk = MemDisk::new();
        let (log, ..) = open(&disk);
        World { disk, log: Some(log), model: Vec::new(), acked: 0, snapshot: 0, life: 0 }
    }

    fn log(&self) -> &Log<MemDisk> {
        self.log.as_ref().expect("open between steps")
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Append(count) => self.append(count),
            Step::Sync => self.acked = block_on(self.log().sync()).unwrap() as usize,
            Step::Mark => block_on(self.log().mark()).unwrap(),
            Step::Prepare => block_on(self.log().prepare_next()).unwrap(),
            Step::Purge(part) => {
                self.snapshot = self.snapshot.max(self.acked * usize::from(part) / 256);
                block_on(self.log().purge_before(self.snapshot as u64)).unwrap();
            }
            Step::Truncate(part) => {
                let target = self.target(part);
                assert_eq!(block_on(self.log().truncate_after(target as u64)).unwrap().last_seq as usize, target);
                self.model.truncate(target);
                self.acked = target;
                // The same seqs get other payloads from now on.
                self.life += 1;
            }
            Step::CrashTruncating { part, syncs, seed } => self.crash_truncating(part, syncs, seed),
            Step::Kill { syncing } => {
                self.stop(syncing);
                self.restart();
            }
            Step::Crash { syncing, seed } => {
                self.stop(syncing);
                self.disk = self.disk.crash_by(seed);
                self.restart();
            }
        }
    }

    fn append(&mut self, count: u8) {
        for _ in 0..count {
            let seq = self.model.len() as u64 + 1;
            let mut bytes = payload(seq);
            bytes.extend_from_slice(&self.life.to_le_bytes());
            match self.log().append(seq, &bytes) {
                Ok(()) => self.model.push(bytes),
                Err(_) => return, // No room, or too much waits: both end with a later step.
            }
        }
    }

    fn target(&self, part: u8) -> usize {
        self.snapshot + (self.model.len() - self.snapshot) * usize::from(part) / 255
    }

    /// The old log or the truncated one: with all that was acknowledged, or up to the target.
    fn crash_truncating(&mut self, part: u8, syncs: usize, seed: u64) {
        let target = self.target(part);
        let log = self.log.take().expect("open between steps");
        self.disk.hold_syncs_after(syncs);
        let done = block_on(poll_once(log.truncate_after(target as u64))).is_some();
        drop(log);
        self.disk.release_syncs();
        self.disk = self.disk.crash_by(seed);
        let (log, recovered, _) = open_from(&self.disk, self.snapshot as u64).expect("a crash is no damage");
        drop(log);
        if done || recovered.last_seq as usize == target {
            self.model.truncate(target);
            self.acked = target;
        }
        self.restart();
    }

    fn stop(&mut self, syncing: bool) {
        let log = self.log.take().expect("open between steps");
        if syncing {
            self.disk.hold_syncs();
            let _ = block_on(poll_once(log.sync()));
        }
        drop(log);
        self.disk.release_syncs();
    }

    fn restart(&mut self) {
        let (log, recovered, seen) = open_from(&self.disk, self.snapshot as u64).expect("a crash is no damage");
        let Recovered { last_seq, .. } = recovered;
        let last = last_seq as usize;
        assert!(last >= self.acked && last <= self.model.len(), "{last} of {} to {}", self.acked, self.model.len());
        self.model.truncate(last);
        let payloads: Vec<&Vec<u8>> = seen.iter().map(|(_, payload)| payload).collect();
        assert_eq!(payloads, self.model[self.snapshot..].iter().collect::<Vec<_>>());
        // What it has shown must stay from now on.
        self.acked = last;
        self.life += 1;
        self.log = Some(log);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_run_of_crashes_loses_or_revives_anything(steps in proptest::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        world.take(&Step::Crash { syncing: true, seed: 1 });
    }
}
