//! Truncations: what is cut off is gone for good, what is kept is there, whatever breaks in between.

use std::io::ErrorKind;
use std::path::Path;
use std::pin::pin;

use super::*;
use crate::error::AppendError;
use crate::log::tests::{expected, open, open_from, payload, write};
use crate::mem::{Call, MemDisk, block_on, poll_once};
use crate::snapshot::{SnapshotWriter, Snapshots};

type Seen = Vec<(u64, Vec<u8>)>;

/// What is appended after a truncation: with the seqs of what was cut off, but not its bytes.
fn newer(seq: u64) -> Vec<u8> {
    [payload(seq).as_slice(), b"newer"].concat()
}

fn newly(seqs: impl IntoIterator<Item = u64>) -> Seen {
    seqs.into_iter().map(|seq| (seq, newer(seq))).collect()
}

/// Appends `1..=last` in batches of three, and leaves no segment ready to go on in.
fn written(last: u64) -> MemDisk {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    for seq in 1..=last {
        block_on(log.prepare_next()).unwrap();
        log.append(seq, &payload(seq)).unwrap();
        if seq % 3 == 0 || seq == last {
            block_on(log.sync()).unwrap();
        }
    }
    if let Some(next) = log.state.borrow_mut().next.take() {
        disk.vanish(&log.segment_path(next.index));
    }
    disk.copy()
}

fn segments(disk: &MemDisk) -> usize {
    disk.paths().iter().filter(|path| path.to_string_lossy().contains("/segment.")).count()
}

fn write_newer(log: &Log<MemDisk>, seqs: impl IntoIterator<Item = u64>) {
    for seq in seqs {
        block_on(log.prepare_next()).unwrap();
        log.append(seq, &newer(seq)).unwrap();
        assert_eq!(block_on(log.sync()).unwrap(), seq);
    }
}

#[test]
fn what_is_above_is_gone_and_the_log_goes_on() {
    let before = written(400);
    for seq in [0, 1, 2, 3, 4, 100, 125, 126, 127, 200, 250, 398, 399] {
        let disk = before.copy();
        let (log, ..) = open(&disk);
        let truncated = block_on(log.truncate_after(seq)).unwrap();
        assert_eq!(truncated, Truncated { last_seq: seq, removed: true });
        assert_eq!((log.last_seq(), log.durable_seq(), log.pending()), (seq, seq, 0));
        assert_eq!(open(&disk.crash()).2, expected(1..=seq), "after {seq}");
        write_newer(&log, seq + 1..=seq + 150);
        let seen = [expected(1..=seq), newly(seq + 1..=seq + 150)].concat();
        assert_eq!(open(&disk.crash()).2, seen, "after {seq}");
    }
}

#[test]
fn same_records_again_do_not_revive_what_stood_behind_them() {
    // What was cut off continues the chain of what is appended now, if that is the same as before.
    for (last, seq) in [(40, 10), (400, 250), (400, 20)] {
        for added in 0..9 {
            let disk = written(last);
            let (log, ..) = open(&disk);
            block_on(log.truncate_after(seq)).unwrap();
            write(&log, seq + 1..=seq + added);
            assert_eq!(open(&disk.crash()).2, expected(1..=seq + added));
            let (log, ..) = open(&disk.crash());
            assert_eq!(log.last_seq(), seq + added);
        }
    }
}

#[test]
fn truncated_again_and_again() {
    let disk = written(400);
    let (log, ..) = open(&disk);
    for seq in [390, 389, 250, 240, 3, 2] {
        block_on(log.truncate_after(seq)).unwrap();
        assert_eq!(open(&disk.crash()).2, expected(1..=seq));
    }
    write_newer(&log, 3..=200);
    block_on(log.truncate_after(150)).unwrap();
    write(&log, 151..=300);
    drop(log);
    let seen = [expected(1..=2), newly(3..=150), expected(151..=300)].concat();
    let (log, _, found) = open(&disk);
    assert_eq!(found, seen);
    assert!(block_on(log.purge_before(290)).unwrap() > 1);
    assert_eq!(open_from(&disk.crash(), 290).unwrap().2, expected(291..=300));
}

#[test]
fn seq_between_two_records_keeps_the_lower_one() {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    write(&log, [10, 20, 30, 40]);
    assert_eq!(block_on(log.truncate_after(25)).unwrap(), Truncated { last_seq: 20, removed: true });
    write(&log, [21, 25]);
    assert_eq!(block_on(log.truncate_after(9)).unwrap(), Truncated { last_seq: 0, removed: true });
    assert_eq!(open(&disk.crash()).2, expected([]));
}

#[test]
fn nothing_above_changes_nothing() {
    let disk = written(40);
    let (log, ..) = open(&disk);
    let before = disk.recorded();
    for seq in [40, 41, u64::MAX] {
        assert_eq!(block_on(log.truncate_after(seq)).unwrap(), Truncated { last_seq: 40, removed: false });
    }
    assert_eq!(disk.recorded(), before);
}

#[test]
fn what_waits_is_removed_too() {
    for (seq, rolls) in [(43, false), (40, false), (39, false), (125, true), (150, true)] {
        let disk = written(if rolls { 120 } else { 40 });
        let (log, ..) = open(&disk);
        block_on(log.prepare_next()).unwrap();
        for _ in 0..if rolls { 40 } else { 5 } {
            log.append(log.last_seq() + 1, &payload(log.last_seq() + 1)).unwrap();
        }
        assert_eq!(block_on(log.truncate_after(seq)).unwrap().last_seq, seq);
        assert_eq!((log.last_seq(), log.pending()), (seq, 0));
        write_newer(&log, [seq + 1]);
        assert_eq!(open(&disk.crash()).2, [expected(1..=seq), newly([seq + 1])].concat());
    }
}

#[test]
fn below_the_oldest_record_nothing_is_changed() {
    let disk = written(400);
    let (log, ..) = open(&disk);
    block_on(log.purge_before(300)).unwrap();
    let (oldest, before) = (log.oldest(), disk.recorded());
    assert!(oldest > 100);
    let error = block_on(log.truncate_after(oldest - 1)).unwrap_err();
    assert!(
        matches!(error, TruncateError::Unreachable(ReadError::Purged { oldest: found }) if found == oldest),
        "{error}"
    );
    assert_eq!((disk.recorded(), log.last_seq()), (before, 400));
    assert_eq!(block_on(log.truncate_after(oldest)).unwrap(), Truncated { last_seq: oldest, removed: true });
    write_newer(&log, oldest + 1..=oldest + 9);
    assert_eq!(open_from(&disk.crash(), oldest).unwrap().2, newly(oldest + 1..=oldest + 9));
}

#[test]
fn damaged_log_is_not_truncated() {
    let disk = written(400);
    let (log, ..) = open(&disk);
    let path = log.segment_path(2);
    disk.corrupt(&path, |bytes| bytes[20_000] ^= 1);
    let before = disk.recorded();
    let error = block_on(log.truncate_after(230)).unwrap_err();
    assert!(matches!(error, TruncateError::Unreachable(ReadError::Damaged { .. })), "{error}");
    assert_eq!(disk.recorded(), before);
    write(&log, [401]);
}

#[test]
fn what_was_cut_off_takes_no_room_and_its_damage_does_not_matter() {
    let disk = written(400);
    let (log, ..) = open(&disk);
    block_on(log.truncate_after(50)).unwrap();
    assert_eq!(segments(&disk), 2, "{:?}", disk.paths());
    let path = log.segment_path(1);
    let end = disk.bytes(&path).unwrap().len();
    disk.corrupt(&path, |bytes| bytes[end / 2..].fill(0xEE));
    write_newer(&log, [51]);
    assert_eq!(open(&disk.crash()).2, [expected(1..=50), newly([51])].concat());
}

#[test]
fn loss_of_the_header_behind_the_cut_is_noticed() {
    // Else the old log would be back, in silence.
    let disk = written(400);
    let (log, ..) = open(&disk);
    block_on(log.truncate_after(50)).unwrap();
    let path = log.segment_path(log.state.borrow().active.home.index);
    disk.corrupt(&path, |bytes| bytes[..4096].fill(0));
    let error = open_from(&disk.copy(), 0).err().unwrap();
    assert!(matches!(error, crate::error::OpenError::Corrupt { .. }), "{error}");
}

#[test]
fn other_records_before_the_cut_are_noticed() {
    // A segment of the same index, salt, seqs and lengths, as from an older copy.
    let disk = written(400);
    let (log, ..) = open(&disk);
    block_on(log.truncate_after(50)).unwrap();
    let path = log.segment_path(1);
    let foreign = MemDisk::new();
    let (other, ..) = open(&foreign);
    for seq in 1..=60 {
        let mut bytes = payload(seq);
        bytes[0] ^= 1;
        other.append(seq, &bytes).unwrap();
        if seq % 3 == 0 {
            block_on(other.sync()).unwrap();
        }
    }
    disk.corrupt(&path, |bytes| *bytes = foreign.bytes(&path).unwrap());
    let error = open_from(&disk, 0).err().unwrap();
    assert!(matches!(error, crate::error::OpenError::Corrupt { .. }), "{error}");
}

#[test]
fn damage_before_the_cut_is_noticed() {
    let disk = written(400);
    let (log, ..) = open(&disk);
    block_on(log.truncate_after(50)).unwrap();
    write_newer(&log, 51..=60);
    let path = log.segment_path(1);
    for at in [5000, 8000, 12_000, 20_000] {
        let disk = disk.copy();
        disk.corrupt(&path, |bytes| bytes[at] ^= 4);
        let error = open_from(&disk, 0).err().unwrap();
        assert!(matches!(error, crate::error::OpenError::Corrupt { .. }), "byte {at}: {error}");
    }
}

/// Truncates to `seq`, goes on, and looks at every crash: the old log, or the truncated one; once it has returned only
/// that, with all that was acknowledged since.
fn check_crashes(before: &MemDisk, last: u64, seq: u64, prepared: bool) -> usize {
    let disk = before.copy();
    let (log, ..) = open(&disk);
    if prepared {
        block_on(log.prepare_next()).unwrap();
    }
    let disk = &disk.clone();
    block_on(log.truncate_after(seq)).unwrap();
    disk.note(seq);
    for number in 1..=3 {
        block_on(log.prepare_next()).unwrap();
        log.append(seq + number, &newer(seq + number)).unwrap();
        disk.note(block_on(log.sync()).unwrap());
    }
    let mut images = 0;
    disk.images(|image| {
        images += 1;
        let what = format!("after {seq} of {last}, operation {}, fates {}", image.ops, image.choice);
        let (log, recovered, seen) = open_from(&image.disk, 0).unwrap_or_else(|error| panic!("{what}: {error}"));
        if image.noted == 0 && recovered.last_seq == last {
            assert_eq!(seen, expected(1..=last), "{what}: the old log");
        } else {
            let found = recovered.last_seq;
            assert!(found >= seq.max(image.noted) && found <= seq + 3, "{what}: {found}");
            assert_eq!(seen, [expected(1..=seq), newly(seq + 1..=found)].concat(), "{what}: the truncated log");
        }
        write_newer(&log, [recovered.last_seq + 1]);
        // What one recovery has shown stays, though the next crash comes while it is at work or goes on.
        image.disk.images(|second| {
            let what = format!("{what}, then operation {}, fates {}", second.ops, second.choice);
            let (.., again) = open_from(&second.disk, 0).unwrap_or_else(|error| panic!("{what}: {error}"));
            let gone_on = [seen.clone(), newly([recovered.last_seq + 1])].concat();
            let still_old = second.ops < image.disk.recorded() && image.noted == 0 && recovered.last_seq == seq;
            assert!(again == seen || again == gone_on || still_old && again == expected(1..=last), "{what}");
        });
    });
    images
}

#[test]
fn every_crash_of_a_truncation_leaves_one_log_or_the_other() {
    let (short, long) = (written(31), written(300));
    let mut images = 0;
    for seq in [0, 1, 3, 14, 30] {
        images += check_crashes(&short, 31, seq, false) + check_crashes(&short, 31, seq, true);
    }
    for seq in [0, 40, 126, 200, 299] {
        images += check_crashes(&long, 300, seq, seq % 2 == 0);
    }
    assert!(images > 500, "{images}");
}

#[test]
fn every_crash_of_a_truncation_into_a_recycled_segment_recovers() {
    // The segment that it goes on in held other records of this log.
    let disk = written(500);
    let (log, ..) = open(&disk);
    assert!(block_on(log.purge_before(300)).unwrap() > 0);
    block_on(log.prepare_next()).unwrap();
    let disk = disk.copy();
    let oldest = log.oldest();
    let (log, ..) = open_from(&disk, oldest).unwrap();
    block_on(log.truncate_after(450)).unwrap();
    disk.note(450);
    write_newer(&log, 451..=453);
    disk.note(453);
    disk.images(|image| {
        let (_, recovered, seen) = open_from(&image.disk, oldest).unwrap();
        let last = recovered.last_seq;
        let truncated = [expected(oldest + 1..=450), newly(451..=last)].concat();
        let old = image.noted == 0 && seen == expected(oldest + 1..=500);
        assert!(old || seen == truncated && last >= image.noted, "operation {}: {last}", image.ops);
    });
}

#[test]
fn snapshots_above_go_first_and_every_crash_finds_a_state_with_its_log() {
    let disk = written(300);
    // In a directory of their own: the log's syncs of its directory must not be what makes their removal durable.
    let dir = Path::new("/snapshots");
    block_on(Snapshots::open(disk.clone(), dir)).unwrap();
    let snapshot = async |seq| SnapshotWriter::create(disk.clone(), dir, seq).await.unwrap().finish(b"").await.unwrap();
    block_on(snapshot(50));
    block_on(snapshot(150));
    block_on(snapshot(250));
    let disk = disk.copy();
    let newest = |disk: &MemDisk| block_on(Snapshots::open(disk.clone(), dir)).unwrap().seqs().last().copied().unwrap();
    let (log, ..) = open_from(&disk, 250).unwrap();
    let mut snapshots = block_on(Snapshots::open(disk.clone(), dir)).unwrap();
    assert_eq!(block_on(snapshots.truncate_after(100)).unwrap(), Some(50));
    assert_eq!(snapshots.seqs(), [50]);
    block_on(log.truncate_after(100)).unwrap();
    disk.note(100);
    // Beyond what the snapshots were at: with one of them the start would find it all, and be wrong.
    for seq in 101..=260 {
        block_on(log.prepare_next()).unwrap();
        log.append(seq, &newer(seq)).unwrap();
        if seq % 20 == 0 {
            disk.note(block_on(log.sync()).unwrap());
        }
    }
    disk.images(|image| {
        let from = newest(&image.disk);
        let (.., seen) = open_from(&image.disk, from).unwrap();
        let last = from + seen.len() as u64;
        let old = image.noted == 0 && seen == expected(from + 1..=300);
        let truncated = || from == 50 && seen == [expected(51..=100), newly(101..=last)].concat();
        assert!(old || truncated() && last >= image.noted, "operation {}: {from} to {last}", image.ops);
    });
}

#[test]
fn every_failing_call_leaves_one_log_or_the_other() {
    let before = written(300);
    let mut failed = 0;
    for call in
        [Call::Open, Call::Write, Call::Allocate, Call::Sync, Call::Rename, Call::Remove, Call::SyncDir, Call::Map]
    {
        for skip in 0..8 {
            for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
                let disk = before.copy();
                let (log, ..) = open(&disk);
                disk.fail(call, skip, 1, kind);
                let result = block_on(log.truncate_after(100));
                disk.heal();
                let what = format!("{call:?} {skip}: {result:?}");
                match &result {
                    Ok(truncated) => assert_eq!(truncated.last_seq, 100, "{what}"),
                    Err(TruncateError::Sync(_)) => assert_eq!(log.append(500, b""), Err(AppendError::Failed), "{what}"),
                    Err(_) => {
                        assert_eq!(log.last_seq(), 300, "{what}");
                        assert_eq!(open(&disk.crash()).2, expected(1..=300), "{what}");
                        assert_eq!(block_on(log.truncate_after(100)).unwrap().last_seq, 100, "{what}: again");
                    }
                }
                failed += usize::from(result.is_err());
                drop(log);
                for disk in [disk.crash(), disk.copy()] {
                    let (log, recovered, seen) = open(&disk);
                    assert!(recovered.last_seq == 100 || result.is_err() && recovered.last_seq == 300, "{what}");
                    assert_eq!(seen, expected(1..=recovered.last_seq), "{what}");
                    write_newer(&log, [recovered.last_seq + 1]);
                }
            }
        }
    }
    assert!(failed > 15, "{failed}");
}

#[test]
fn what_could_not_be_removed_is_removed_later() {
    let disk = written(400);
    let (log, ..) = open(&disk);
    disk.fail(Call::Remove, 0, 1, ErrorKind::PermissionDenied);
    assert!(block_on(log.truncate_after(10)).unwrap().removed);
    assert!(segments(&disk) > 3);
    let copy = disk.copy();
    open(&copy);
    assert_eq!(segments(&copy), 2, "by the next start");
    block_on(log.purge_before(0)).unwrap();
    assert_eq!(segments(&disk), 2, "by the next purge");
}

#[test]
fn it_waits_for_the_segment_that_is_being_made() {
    let disk = written(40);
    let (log, ..) = open(&disk);
    disk.hold_syncs();
    let mut preparing = pin!(log.prepare_next());
    assert!(poll_once(preparing.as_mut()).is_pending());
    let mut truncating = pin!(log.truncate_after(5));
    assert!(poll_once(truncating.as_mut()).is_pending());
    disk.release_syncs();
    assert!(poll_once(truncating.as_mut()).is_pending());
    block_on(preparing).unwrap();
    assert_eq!(block_on(truncating).unwrap().last_seq, 5);
    assert_eq!(open(&disk.crash()).2, expected(1..=5));
}

#[test]
fn no_purge_while_it_truncates() {
    let disk = written(400);
    let (log, ..) = open(&disk);
    disk.hold_syncs();
    {
        let mut truncating = pin!(log.truncate_after(200));
        assert!(poll_once(truncating.as_mut()).is_pending());
        assert_eq!(block_on(log.purge_before(150)).unwrap(), 0);
        disk.release_syncs();
        assert_eq!(block_on(truncating).unwrap().last_seq, 200);
    }
    assert!(block_on(log.purge_before(150)).unwrap() > 0);
}

#[test]
fn dropped_truncation_leaves_one_log_or_the_other() {
    for syncs in 0..3 {
        let disk = written(300);
        let (log, ..) = open(&disk);
        disk.hold_syncs_after(syncs);
        assert!(poll_once(pin!(log.truncate_after(100))).is_pending());
        disk.release_syncs();
        if let Ok(truncated) = block_on(log.truncate_after(100)) {
            assert_eq!(truncated.last_seq, 100);
            write_newer(&log, [101]);
        }
        for disk in [disk.crash(), disk.copy()] {
            let seen = open(&disk).2;
            let newer = [expected(1..=100), newly([101])].concat();
            assert!(seen == newer || seen == expected(1..=100) || seen == expected(1..=300), "{syncs}");
        }
    }
}

#[test]
#[should_panic(expected = "nothing is appended while the log is truncated")]
fn append_during_a_truncation_is_a_mistake() {
    let disk = written(40);
    let (log, ..) = open(&disk);
    disk.hold_syncs();
    let mut truncating = pin!(log.truncate_after(5));
    assert!(poll_once(truncating.as_mut()).is_pending());
    let _ = log.append(41, b"");
}
