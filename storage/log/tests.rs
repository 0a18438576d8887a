//! The log by its own interface: what is appended comes back, what has no room is refused.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use futures_lite::future::{block_on, poll_once};

use super::*;
use crate::mem::{Call, MemDisk};

pub(crate) const SEGMENT_LEN: u64 = 64 * 1024;

/// Small segments, so that a test rolls quickly.
pub(crate) fn options() -> LogOptions {
    let mut options = LogOptions::new("/log", 0x5A17);
    options.segment_len = SEGMENT_LEN;
    options.record_len_max = 16 * 1024;
    options.pending_len_max = 32 * 1024;
    options
}

type Seen = Vec<(u64, Vec<u8>)>;

fn open_with(disk: &MemDisk, options: LogOptions, from_seq: u64) -> Result<(Log<MemDisk>, Recovered, Seen), OpenError> {
    let mut seen = Seen::new();
    let visit = |seq, payload: &[u8]| {
        seen.push((seq, payload.to_vec()));
        Ok(())
    };
    let (log, recovered) = block_on(Log::open(disk.clone(), options, from_seq, visit, |_, _| ()))?;
    Ok((log, recovered, seen))
}

pub(crate) fn open_from(disk: &MemDisk, from_seq: u64) -> Result<(Log<MemDisk>, Recovered, Seen), OpenError> {
    open_with(disk, options(), from_seq)
}

/// Opens it with segments of another length than those that are there.
fn open_with_segment_len(disk: &MemDisk, segment_len: u64, from_seq: u64) -> (Log<MemDisk>, Seen) {
    let (log, _, seen) = open_with(disk, LogOptions { segment_len, ..options() }, from_seq).unwrap();
    (log, seen)
}

fn spares(disk: &MemDisk) -> usize {
    disk.paths().iter().filter(|path| path.to_string_lossy().contains("/spare.")).count()
}

pub(crate) fn open(disk: &MemDisk) -> (Log<MemDisk>, Recovered, Seen) {
    open_from(disk, 0).unwrap()
}

/// A payload that tells its seq and has a length of its own.
pub(crate) fn payload(seq: u64) -> Vec<u8> {
    let mut bytes = seq.to_le_bytes().to_vec();
    bytes.resize(8 + (seq as usize * 37) % 900, seq as u8);
    bytes
}

pub(crate) fn expected(seqs: impl IntoIterator<Item = u64>) -> Seen {
    seqs.into_iter().map(|seq| (seq, payload(seq))).collect()
}

/// Appends and syncs each, with the next segment always prepared.
pub(crate) fn write(log: &Log<MemDisk>, seqs: impl IntoIterator<Item = u64>) {
    for seq in seqs {
        block_on(log.prepare_next()).unwrap();
        log.append(seq, &payload(seq)).unwrap();
        assert_eq!(block_on(log.sync()).unwrap(), seq);
    }
}

#[test]
fn what_was_synced_is_read_back_in_order() {
    let disk = MemDisk::new();
    let (log, recovered, _) = open(&disk);
    assert!(recovered.created);
    write(&log, 1..=50);
    drop(log);
    let (log, recovered, seen) = open(&disk);
    assert_eq!(seen, expected(1..=50));
    assert_eq!((recovered.last_seq, recovered.created, recovered.cut), (50, false, None));
    assert_eq!((log.last_seq(), log.durable_seq()), (50, 50));
}

#[test]
fn many_records_go_in_one_batch_and_across_segments() {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    let mut seq = 0;
    for _ in 0..40 {
        block_on(log.prepare_next()).unwrap();
        for _ in 0..20 {
            seq += 3;
            log.append(seq, &payload(seq)).unwrap();
        }
        assert_eq!(block_on(log.sync()).unwrap(), seq);
        assert_eq!(log.pending(), 0);
    }
    drop(log);
    let (_, _, seen) = open(&disk);
    assert_eq!(seen, expected((1..=800).map(|n| n * 3)));
    assert!(disk.paths().len() > 4, "{:?}", disk.paths());
}

#[test]
fn only_what_is_above_the_snapshot_is_shown() {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    write(&log, 1..=400);
    let (_, recovered, seen) = open_from(&disk, 390).unwrap();
    assert_eq!(seen, expected(391..=400));
    assert!(recovered.bytes < 2 * SEGMENT_LEN, "segments below are not read: {}", recovered.bytes);
}

#[test]
fn append_during_a_sync_goes_with_the_next() {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    log.append(1, b"one").unwrap();
    disk.hold_syncs();
    let mut sync = Box::pin(log.sync());
    assert!(block_on(poll_once(&mut sync)).is_none());
    log.append(2, b"two").unwrap();
    assert_eq!((log.last_seq(), log.durable_seq()), (2, 0));
    disk.release_syncs();
    assert_eq!(block_on(sync).unwrap(), 1);
    assert_eq!(log.durable_seq(), 1);
    assert!(log.pending() > 0);
    assert_eq!(block_on(log.sync()).unwrap(), 2);
}

#[test]
fn sync_with_nothing_waiting_writes_nothing() {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    write(&log, [7]);
    let before = disk.recorded();
    assert_eq!(block_on(log.sync()).unwrap(), 7);
    assert_eq!(disk.recorded(), before);
}

#[test]
fn parts_are_one_payload() {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    log.append_parts(1, &[b"head", b"", b"body"]).unwrap();
    block_on(log.sync()).unwrap();
    assert_eq!(open(&disk).2, vec![(1, b"headbody".to_vec())]);
}

#[test]
fn longest_record_and_longer_than_that() {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    block_on(log.prepare_next()).unwrap();
    let longest = vec![9; options().record_len_max];
    assert_eq!(log.append(1, &[longest.as_slice(), b"x"].concat()), Err(AppendError::TooLong));
    log.append(1, &longest).unwrap();
    block_on(log.sync()).unwrap();
    log.append(2, b"").unwrap();
    block_on(log.sync()).unwrap();
    assert_eq!(open(&disk).2, vec![(1, longest), (2, vec![])]);
}

#[test]
fn too_much_waiting_is_refused_until_a_sync() {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    block_on(log.prepare_next()).unwrap();
    let mut seq = 0;
    let refused = loop {
        seq += 1;
        if let Err(error) = log.append(seq, &[0; 4000]) {
            break error;
        }
    };
    assert_eq!(refused, AppendError::Busy);
    assert!(log.pending() <= options().pending_len_max, "{}", log.pending());
    assert!(!log.has_room());
    block_on(log.sync()).unwrap();
    log.append(seq, &[0; 4000]).unwrap();
}

#[test]
#[should_panic(expected = "seq 0x5 after 0x5")]
fn seqs_must_rise() {
    let (log, ..) = open(&MemDisk::new());
    log.append(5, b"a").unwrap();
    let _ = log.append(5, b"b");
}

#[test]
fn dropped_sync_closes_the_log() {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    log.append(1, b"one").unwrap();
    disk.hold_syncs();
    let mut sync = Box::pin(log.sync());
    assert!(block_on(poll_once(&mut sync)).is_none());
    drop(sync);
    disk.release_syncs();
    assert_eq!(log.append(2, b"two"), Err(AppendError::Failed));
    assert!(block_on(log.sync()).is_err());
}

#[test]
fn next_wanted_wakes_when_the_segment_is_taken() {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    assert!(block_on(poll_once(log.next_wanted())).is_some());
    block_on(log.prepare_next()).unwrap();
    let mut wanted = Box::pin(log.next_wanted());
    assert!(block_on(poll_once(&mut wanted)).is_none());
    for seq in 1..=10 {
        log.append(seq, &[0; 12_000]).unwrap();
        block_on(log.sync()).unwrap();
        if block_on(poll_once(&mut wanted)).is_some() {
            assert!(seq > 4, "taken when the first was full");
            return;
        }
    }
    panic!("nobody was woken");
}

/// A waker that remembers that it was used.
#[derive(Default)]
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn who_waits_for_the_next_segment_is_woken() {
    let (log, ..) = open(&MemDisk::new());
    block_on(log.prepare_next()).unwrap();
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let mut wanted = pin!(log.next_wanted());
    assert!(wanted.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    while log.state.borrow().active.home.index == 1 {
        assert!(!bell.0.load(Ordering::Relaxed), "there is one still");
        log.append(log.last_seq() + 1, &[0; 12_000]).unwrap();
        block_on(log.sync()).unwrap();
    }
    assert!(bell.0.load(Ordering::Relaxed));
}

#[test]
fn wrong_options_are_named() {
    let disk = MemDisk::new();
    let mut wrong = options();
    wrong.segment_len = 5000;
    let error = block_on(Log::open(disk, wrong, 0, |_, _| Ok(()), |_, _| ())).err().unwrap();
    assert!(matches!(error, OpenError::Options { .. }), "{error}");
    let mapped = LogOptions::new("/log", 1).with_segment_len(1);
    assert!(mapped.check().is_ok(), "{mapped:?}");
    assert!(LogOptions::new("/log", 1).with_segment_len(u64::MAX).check().is_ok());
    let huge = LogOptions { record_len_max: usize::MAX, ..LogOptions::new("/log", 1) }.with_segment_len(0);
    assert!(huge.check().is_ok() && huge.segment_len == SEGMENT_LEN_MAX, "{huge:?}");
}

#[test]
fn purged_segments_are_used_again() {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    write(&log, 1..=600);
    let before = disk.paths().len();
    assert!(before > 5);
    let purged = block_on(log.purge_before(500)).unwrap();
    assert!(purged > 2, "{purged}");
    assert_eq!(spares(&disk), 1, "one is kept");
    write(&log, 601..=900);
    assert_eq!(spares(&disk), 0, "and is a segment again");
    block_on(log.purge_before(880)).unwrap();
    let (_, _, seen) = open_from(&disk, 880).unwrap();
    assert_eq!(seen, expected(881..=900));
    let error = open_from(&disk, 100).err().unwrap();
    assert!(matches!(error, OpenError::Gap { from_seq: 100, .. }), "{error}");
}

#[test]
fn segments_of_another_length_are_not_used_again() {
    // A segment that is shorter than its header says is damage.
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    write(&log, 1..=400);
    assert!(block_on(log.purge_before(150)).unwrap() > 0);
    assert_eq!(spares(&disk), 1);
    drop(log);
    let (log, _) = open_with_segment_len(&disk, 2 * SEGMENT_LEN, 390);
    assert_eq!(spares(&disk), 0);
    write(&log, 401..=450);
    assert!(block_on(log.purge_before(390)).unwrap() > 0);
    assert_eq!(spares(&disk), 0);
    write(&log, 451..=800);
    let (_, seen) = open_with_segment_len(&disk, 2 * SEGMENT_LEN, 390);
    assert_eq!(seen, expected(391..=800));
}

#[test]
fn announced_segment_of_another_length_stays_until_there_is_another() {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    write(&log, 1..=150);
    let path = |index| log.segment_path(index);
    // As if its first batch had been lost; the one before says that it is there.
    disk.corrupt(&path(2), |bytes| bytes.fill(0));
    disk.vanish(&path(3));
    let disk = disk.copy();
    let (longer, seen) = open_with_segment_len(&disk, 2 * SEGMENT_LEN, 0);
    let last_seq = seen.len() as u64;
    assert_eq!(seen, expected(1..=last_seq));
    drop(longer);
    let disk = disk.crash();
    let (longer, seen) = open_with_segment_len(&disk, 2 * SEGMENT_LEN, 0);
    assert_eq!(seen, expected(1..=last_seq));
    write(&longer, last_seq + 1..=200);
    assert_eq!(open_with_segment_len(&disk.crash(), 2 * SEGMENT_LEN, 0).1, expected(1..=200));
}

#[test]
fn no_segment_goes_before_the_one_after_it_is_durable() {
    let (log, ..) = open(&MemDisk::new());
    block_on(log.prepare_next()).unwrap();
    for seq in 1.. {
        log.append(seq, &[0; 12_000]).unwrap();
        if log.state.borrow().active.home.index == 2 {
            break;
        }
        block_on(log.sync()).unwrap();
    }
    assert_eq!(block_on(log.purge_before(u64::MAX)).unwrap(), 0);
    block_on(log.sync()).unwrap();
    assert_eq!(block_on(log.purge_before(u64::MAX)).unwrap(), 1);
}

#[test]
fn filling_stops_when_the_segment_is_needed_soon() {
    const LONG: u64 = 1 << 20;
    let operations = |used_len: u64| {
        let disk = MemDisk::new();
        let (log, _) = open_with_segment_len(&disk, LONG, 0);
        while log.state.borrow().active.cursor.offset < used_len {
            log.append(log.last_seq() + 1, &[0; 16_000]).unwrap();
            block_on(log.sync()).unwrap();
        }
        let before = disk.recorded();
        block_on(log.prepare_next()).unwrap();
        disk.recorded() - before
    };
    let whole = operations(0);
    assert_eq!(operations(LONG / 2 - 20_000), whole);
    assert_eq!(operations(LONG / 2 + 20_000), whole - 15, "only the first of the sixteen slices");
}

#[test]
fn purge_keeps_what_is_asked_for() {
    for keep in [1, 77, 250, 399, 400, 401] {
        let disk = MemDisk::new();
        let (log, ..) = open(&disk);
        write(&log, 1..=400);
        block_on(log.purge_before(keep)).unwrap();
        let (_, _, seen) = open_from(&disk, keep.min(400)).unwrap();
        assert_eq!(seen, expected(keep.min(400) + 1..=400), "from {keep}");
    }
}

#[test]
fn failed_purge_can_be_called_again() {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    write(&log, 1..=400);
    disk.fail(Call::Rename, 0, 1, io::ErrorKind::PermissionDenied);
    assert!(block_on(log.purge_before(400)).is_err());
    block_on(log.purge_before(400)).unwrap();
    assert_eq!(open_from(&disk, 399).unwrap().2, expected([400]));
}

#[test]
fn log_goes_on_after_each_restart() {
    let disk = MemDisk::new();
    for round in 0..60 {
        let (log, _, seen) = open(&disk);
        assert_eq!(seen, expected(1..=round * 7));
        if round % 3 == 0 {
            block_on(log.mark()).unwrap();
        }
        write(&log, round * 7 + 1..=round * 7 + 7);
    }
}
