//! One test per row of the tables, and per fault of the disk.

use std::io;
use std::path::PathBuf;

use futures_lite::future::{block_on, poll_once};

use super::*;
use crate::disk::{BLOCK, DiskFile, Open};
use crate::error::{AppendError, PrepareError};
use crate::log::Log;
use crate::log::tests::{SEGMENT_LEN, expected, open, open_from, options, payload, write};
use crate::mem::{Call, MemDisk};
use crate::record::BATCH_HEADER_LEN;
use crate::segment::BATCHES_AT;

fn path(index: u64) -> PathBuf {
    PathBuf::from("/log").join(segment::name(index))
}

/// A log of `count` records, each its own batch, over several segments if there are many.
fn written(count: u64) -> MemDisk {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    write(&log, 1..=count);
    disk.copy()
}

fn error(disk: &MemDisk) -> OpenError {
    open_from(disk, 0).err().expect("the log must not open")
}

#[track_caller]
fn assert_corrupt(disk: &MemDisk, index: u64) {
    let before: Vec<_> = disk.paths().iter().map(|path| disk.bytes(path)).collect();
    let error = error(disk);
    assert!(matches!(&error, OpenError::Corrupt { path: found, .. } if *found == path(index)), "{error}");
    assert!(error.to_string().contains("repair"), "{error}");
    let after: Vec<_> = disk.paths().iter().map(|path| disk.bytes(path)).collect();
    assert!(before == after, "nothing may be changed before the operator decides");
}

/// Where the batches of a segment begin, and behind the last.
fn batches(disk: &MemDisk, index: u64) -> Vec<u64> {
    let bytes = disk.bytes(&path(index)).unwrap();
    let Found::Header(header) = segment::header(&bytes) else { panic!("a header") };
    let mut cursor = Cursor::start(&header);
    let mut offsets = vec![cursor.offset];
    while let Next::Batch { behind, .. } = segment::next(header.home, &bytes, &cursor, None) {
        cursor = behind;
        offsets.push(cursor.offset);
    }
    offsets
}

fn in_use(disk: &MemDisk) -> u64 {
    let used = |path: &&PathBuf| matches!(segment::header(&disk.bytes(path).unwrap()), Found::Header(_));
    disk.paths().iter().filter(used).count() as u64
}

/// A batch that was on its way when the machine stopped, with its blocks as `tear` leaves them.
fn torn(count: u64, waiting: std::ops::RangeInclusive<u64>, seed: u64) -> MemDisk {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    write(&log, 1..=count);
    for seq in waiting {
        log.append(seq, &payload(seq)).unwrap();
    }
    disk.hold_syncs();
    assert!(block_on(poll_once(log.sync())).is_none());
    disk.crash_by(seed)
}

#[test]
fn torn_tail_is_cut() {
    let mut cuts = 0;
    for seed in 0..40 {
        let disk = torn(10, 11..=30, seed);
        let (log, recovered, seen) = open(&disk);
        if seen.len() == 30 {
            continue; // All of it had arrived.
        }
        assert_eq!(seen, expected(1..=10));
        cuts += u64::from(recovered.cut.is_some());
        // The same seqs again, with other payloads: what was cut must not come back, now or after the next start.
        log.append(11, b"eleven").unwrap();
        block_on(log.sync()).unwrap();
        let (_, recovered, seen) = open(&disk.crash());
        assert_eq!(seen.len(), 11);
        assert_eq!((seen[10].1.as_slice(), recovered.cut), (b"eleven".as_slice(), None));
    }
    assert!(cuts > 5, "{cuts}");
}

#[test]
fn cut_tail_is_wiped_on_disk() {
    let disk = (0..40).map(|seed| torn(10, 11..=30, seed)).find(|disk| open(&disk.copy()).1.cut.is_some()).unwrap();
    let (_, recovered, _) = open(&disk);
    let cut = recovered.cut.unwrap();
    let bytes = disk.crash().bytes(&cut.path).unwrap();
    assert!(bytes[cut.offset as usize..(cut.offset + cut.len) as usize].iter().all(|&byte| byte == 0));
    assert_eq!(open(&disk).1.cut, None, "it is cut once");
}

#[test]
fn torn_first_batch_of_a_segment_does_not_come_back_under_the_next_header() {
    // A header that was lost leaves its batch behind, whole, and the header of the next try would adopt it.
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    block_on(log.prepare_next()).unwrap();
    for seq in 1..=13 {
        log.append(seq, &[1; 4500]).unwrap();
        block_on(log.sync()).unwrap();
    }
    let disk = disk.copy();
    let (log, ..) = open(&disk);
    log.append(14, &[b'o'; 3000]).unwrap();
    assert_eq!(block_on(log.sync()).unwrap(), 14);
    assert_eq!(in_use(&disk), 2, "it rolled");
    let mut headless = Vec::new();
    disk.images(|image| {
        let bytes = image.disk.bytes(&path(2)).unwrap();
        let is_headless = bytes[..BLOCK].iter().all(|byte| *byte == 0) && bytes[BLOCK..].contains(&b'o');
        headless.extend(is_headless.then_some(image.disk));
    });
    let mut images = 0;
    for disk in headless {
        let (log, _, seen) = open(&disk);
        assert_eq!(seen.len(), 13);
        block_on(log.prepare_next()).unwrap();
        log.append(14, &[b'n'; 3000]).unwrap();
        block_on(log.sync()).unwrap();
        disk.images(|image| {
            images += 1;
            let seen = open(&image.disk).2;
            assert!(seen.len() == 13 || seen[13].1 == [b'n'; 3000], "after {}, {}", image.ops, image.choice);
        });
    }
    assert!(images > 10, "{images}");
}

#[test]
fn name_that_a_killed_server_did_not_sync_is_made_durable_before_it_is_used() {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    write(&log, 1..=5);
    let disk = {
        let disk = disk.copy();
        disk.vanish(&path(2));
        disk.copy()
    };
    let (log, ..) = open(&disk);
    disk.fail(Call::SyncDir, 0, 1, io::ErrorKind::Other);
    assert!(block_on(log.prepare_next()).is_err());
    drop(log);
    let (log, ..) = open(&disk);
    for seq in 6..=200 {
        write(&log, [seq]);
        // At once: when the segment after it is made, the directory is synced anyway.
        assert_eq!(open(&disk.crash()).1.last_seq, seq);
    }
}

#[test]
fn purge_is_not_misled_by_a_damaged_header_below_the_snapshot() {
    // A flipped bit, the header of another segment, the header of another log.
    let salt = options().salt;
    for home in [None, Some(Home { salt, index: 1 }), Some(Home { salt: salt + 1, index: 2 })] {
        let disk = written(400);
        disk.corrupt(&path(2), |bytes| match home {
            None => bytes[20] ^= 1,
            Some(home) => {
                Header { home, segment_len: SEGMENT_LEN, prev_seq: 1, prev_end: 0, link: 0, cut: 0 }.encode(bytes)
            }
        });
        let (log, ..) = open_from(&disk, 390).unwrap();
        assert_eq!(block_on(log.purge_before(50)).unwrap(), 0, "{home:?}: the first segment has seq 50");
        assert!(block_on(log.purge_before(390)).unwrap() >= 2, "{home:?}: what is covered goes nonetheless");
    }
}

#[test]
fn lost_unsynced_writes_cost_nothing_that_was_acknowledged() {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    write(&log, 1..=10);
    log.append(11, b"waits").unwrap();
    disk.hold_syncs();
    assert!(block_on(poll_once(log.sync())).is_none());
    assert_eq!(open(&disk.crash()).2, expected(1..=10));
}

#[test]
fn what_a_killed_server_left_unsynced_is_made_durable_before_it_is_believed() {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    write(&log, 1..=10);
    log.append(11, &payload(11)).unwrap();
    disk.hold_syncs();
    let mut sync = Box::pin(log.sync());
    assert!(block_on(poll_once(&mut sync)).is_none());
    // kill -9: the write is in the page cache, and stays there for the next process.
    drop(sync);
    drop(log);
    disk.release_syncs();
    assert_eq!(open(&disk).2, expected(1..=11));
    // Power fails right after the new server has shown record 11 to its clients.
    assert_eq!(open(&disk.crash()).2, expected(1..=11));
}

#[test]
fn bit_flip_in_any_field_before_the_last_batch_is_never_cut() {
    let whole = written(6);
    let offsets = batches(&whole, 1);
    let last = offsets[offsets.len() - 2];
    for at in BATCHES_AT..last {
        let disk = whole.copy();
        disk.corrupt(&path(1), |bytes| bytes[at as usize] ^= 1 << (at % 8));
        assert_corrupt(&disk, 1);
    }
    for at in 0..64 {
        let disk = whole.copy();
        disk.corrupt(&path(1), |bytes| bytes[at] ^= 1 << (at % 8));
        assert_corrupt(&disk, 1);
    }
}

#[test]
fn damage_is_reported_where_it_is() {
    let disk = written(6);
    let offset = batches(&disk, 1)[3] as usize;
    disk.corrupt(&path(1), |bytes| bytes[offset + BATCH_HEADER_LEN + 20] ^= 4);
    let OpenError::Corrupt { offset: reported, .. } = error(&disk) else { panic!("corrupt") };
    assert_eq!(reported as usize, offset + BATCH_HEADER_LEN);
}

#[test]
fn damage_in_an_older_segment_is_never_cut() {
    let whole = written(300);
    assert!(in_use(&whole) >= 3);
    let offsets = batches(&whole, 2);
    for at in [offsets[0], offsets[1] + 30, offsets[offsets.len() - 2], offsets[offsets.len() - 2] + 50] {
        let disk = whole.copy();
        disk.corrupt(&path(2), |bytes| bytes[at as usize] ^= 8);
        assert_corrupt(&disk, 2);
    }
}

#[test]
fn mark_proves_the_last_batch() {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    write(&log, 1..=6);
    let offset = batches(&disk, 1)[6] as usize;
    let unmarked = disk.copy();
    unmarked.corrupt(&path(1), |bytes| bytes[offset + 100] ^= 1);
    // The limit: without a later batch this can't be told from a torn tail.
    assert_eq!(open(&unmarked).2, expected(1..=5));
    let restarted = disk.copy();
    block_on(open(&restarted).0.mark()).unwrap();
    block_on(log.mark()).unwrap();
    for marked in [disk.copy(), restarted] {
        assert_eq!(open(&marked).2, expected(1..=6));
        marked.corrupt(&path(1), |bytes| bytes[offset + 100] ^= 1);
        assert_corrupt(&marked, 1);
    }
    let before = disk.recorded();
    block_on(log.mark()).unwrap();
    assert_eq!(disk.recorded(), before, "there is nothing more to prove");
}

#[test]
fn snapshot_proves_the_tail() {
    let disk = written(6);
    let offset = batches(&disk, 1)[6] as usize;
    disk.corrupt(&path(1), |bytes| bytes[offset + 100] ^= 1);
    assert!(open_from(&disk.copy(), 5).is_ok());
    let error = open_from(&disk, 6).err().unwrap();
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
}

#[test]
fn missing_segment_is_named() {
    let whole = written(300);
    for index in 1..in_use(&whole) {
        let disk = whole.copy();
        disk.vanish(&path(index));
        let error = error(&disk);
        match index {
            1 => assert!(matches!(error, OpenError::Gap { from_seq: 0, .. }), "{error}"),
            _ => assert!(matches!(&error, OpenError::Missing { path: found } if *found == path(index)), "{error}"),
        }
    }
}

#[test]
fn segment_that_a_closed_one_announces_must_be_there() {
    let whole = written(300);
    let last = in_use(&whole);
    whole.vanish(&path(last + 1));
    assert!(open_from(&whole.copy(), 0).is_ok(), "a prepared segment may be missing");
    whole.vanish(&path(last));
    let error = error(&whole);
    assert!(matches!(&error, OpenError::Missing { path: found } if *found == path(last)), "{error}");
}

#[test]
fn swapped_segments_are_not_believed() {
    let disk = written(300);
    disk.swap(&path(2), &path(3));
    assert!(matches!(error(&disk), OpenError::Corrupt { .. }));
}

#[test]
fn segment_of_another_log_is_not_believed() {
    let disk = written(300);
    let other = MemDisk::new();
    let (log, ..) = open(&other);
    write(&log, 2..=310);
    let foreign = other.bytes(&path(2)).unwrap();
    disk.corrupt(&path(2), |bytes| *bytes = foreign);
    assert_corrupt(&disk, 2);
}

#[test]
fn older_copy_of_a_segment_is_not_believed() {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    write(&log, 1..=20);
    let old = disk.bytes(&path(1)).unwrap();
    write(&log, 21..=300);
    let disk = disk.copy();
    disk.corrupt(&path(1), |bytes| *bytes = old);
    assert_corrupt(&disk, 1);
}

#[test]
fn short_segments_are_not_cut_in_silence() {
    let whole = written(300);
    let last = in_use(&whole);
    for index in [1, 2, last] {
        for len in [0, 1, BLOCK - 1, BLOCK, BLOCK + 8, 20_000, SEGMENT_LEN as usize - 1] {
            let disk = whole.copy();
            disk.corrupt(&path(index), |bytes| bytes.truncate(len));
            let result = open_from(&disk, 0);
            // The limit: the newest segment, cut to less than its header, looks like one that was prepared only.
            if index == last && len < BLOCK {
                assert!(result.unwrap().1.last_seq > 0);
                continue;
            }
            let error = result.err().unwrap();
            assert!(
                matches!(&error, OpenError::Corrupt { path: found, .. } if *found == path(index)),
                "{len}: {error}"
            );
        }
    }
}

#[test]
fn only_segment_without_a_header_is_damage() {
    for len in [0, 100, SEGMENT_LEN as usize] {
        let disk = written(3);
        disk.vanish(&path(2));
        disk.corrupt(&path(1), |bytes| *bytes = vec![0; len]);
        assert_corrupt(&disk, 1);
    }
}

#[test]
fn short_prepared_segment_is_made_anew() {
    for len in [0, 5000, SEGMENT_LEN as usize] {
        let disk = written(5);
        disk.corrupt(&path(2), |bytes| *bytes = vec![0x77; len]);
        let disk = disk.copy();
        let (log, _, seen) = open(&disk);
        assert_eq!(seen, expected(1..=5));
        write(&log, 6..=200);
        assert_eq!(open(&disk.crash()).2, expected(1..=200));
    }
}

#[test]
fn header_lost_before_proven_batches_is_damage() {
    let disk = written(300);
    let last = in_use(&disk);
    assert!(batches(&disk, last).len() > 3);
    for value in [0, 0xEE] {
        let disk = disk.copy();
        disk.corrupt(&path(last), |bytes| bytes[..BLOCK].fill(value));
        assert_corrupt(&disk, last);
    }
}

#[test]
fn newer_format_is_left_alone() {
    let disk = written(3);
    disk.corrupt(&path(1), |bytes| {
        bytes[8] = 2;
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&bytes[8..12]);
        hasher.update(&bytes[16..64]);
        let crc = hasher.finalize();
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    });
    assert!(matches!(error(&disk), OpenError::Version { version: 2, .. }));
}

#[test]
fn snapshot_without_a_log_is_an_error() {
    let disk = MemDisk::new();
    let error = open_from(&disk, 77).err().unwrap();
    assert!(matches!(error, OpenError::NoLog { from_seq: 77, .. }), "{error}");
    let mut import = options();
    import.may_create_after_snapshot = true;
    let (log, recovered) = block_on(Log::open(disk.clone(), import, 77, |_, _| Ok(()), |_, _| ())).unwrap();
    assert!(recovered.created);
    log.append(78, b"first").unwrap();
    block_on(log.sync()).unwrap();
    assert_eq!(open_from(&disk, 77).unwrap().2, [(78, b"first".to_vec())]);
}

#[test]
fn damage_below_the_snapshot_does_not_matter() {
    let disk = written(400);
    disk.corrupt(&path(1), |bytes| bytes[5000] ^= 1);
    disk.vanish(&path(2));
    assert_eq!(open_from(&disk, 390).unwrap().2, expected(391..=400));
}

#[test]
fn fallback_to_an_older_snapshot_needs_the_log_from_there() {
    let disk = written(400);
    let (log, ..) = open_from(&disk, 390).unwrap();
    // Snapshots at 200 and 390 are kept: the log must reach back to the older.
    block_on(log.purge_before(200)).unwrap();
    assert_eq!(open_from(&disk, 200).unwrap().2, expected(201..=400));
}

#[test]
fn failed_sync_is_for_ever_and_never_tried_again() {
    for call in [Call::Sync, Call::Write] {
        let disk = MemDisk::new();
        let (log, ..) = open(&disk);
        write(&log, 1..=3);
        log.append(4, b"four").unwrap();
        disk.fail(call, 0, 1, io::ErrorKind::Other);
        let error = block_on(log.sync()).unwrap_err();
        assert!(error.to_string().contains(&path(1).display().to_string()), "{error}");
        let before = disk.recorded();
        assert!(block_on(log.sync()).is_err());
        assert!(block_on(log.mark()).is_err());
        assert_eq!(disk.recorded(), before, "the disk must not be asked again");
        assert_eq!(log.append(5, b"five"), Err(AppendError::Failed));
        assert!(!log.has_room());
        assert_eq!(log.durable_seq(), 3, "nothing more is acknowledged");
        assert_eq!(open(&disk.crash()).2[..3], expected(1..=3));
    }
}

#[test]
fn full_disk_refuses_writes_and_goes_on_when_there_is_room() {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    disk.set_free(Some(1000));
    let error = block_on(log.prepare_next()).unwrap_err();
    assert!(matches!(error, PrepareError::NoSpace { .. }), "{error}");
    let mut acked = 0;
    let refused = loop {
        match log.append(acked + 1, &payload(acked + 1)) {
            Ok(()) => acked = block_on(log.sync()).unwrap(),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, AppendError::NoSpace);
    assert!(acked > 50 && !log.has_room());
    assert!(block_on(log.prepare_next()).is_err());
    assert_eq!(disk.paths().len(), 1, "a segment that can't be made leaves nothing: {:?}", disk.paths());
    assert_eq!(open(&disk.crash()).2, expected(1..=acked), "nothing acknowledged is lost");
    disk.set_free(Some(3 * SEGMENT_LEN));
    block_on(log.prepare_next()).unwrap();
    assert!(log.has_room());
    write(&log, acked + 1..=acked + 50);
    assert_eq!(open(&disk.crash()).2, expected(1..=acked + 50));
}

#[test]
fn room_runs_out_before_a_longest_record_would_be_refused() {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    let longest = vec![1; options().record_len_max];
    let mut seq = 0;
    while log.has_room() {
        seq += 1;
        log.append(seq, &longest).unwrap();
        block_on(log.sync()).unwrap();
    }
    assert!(log.has_room_for(10), "short ones still fit");
    log.append(seq + 1, b"close a session").unwrap();
    block_on(log.sync()).unwrap();
}

#[test]
fn disk_that_fills_up_while_a_segment_is_made_is_found_at_each_step() {
    for call in [Call::Open, Call::Allocate, Call::Write, Call::Sync, Call::Rename, Call::SyncDir] {
        let disk = MemDisk::new();
        let (log, ..) = open(&disk);
        write(&log, 1..=2);
        let (log, ..) = {
            drop(log);
            disk.vanish(&path(2));
            open(&disk)
        };
        disk.fail(call, 0, 1, io::ErrorKind::StorageFull);
        let error = block_on(log.prepare_next()).unwrap_err();
        assert!(matches!(error, PrepareError::NoSpace { .. }), "{call:?}: {error}");
        write(&log, 3..=200);
        assert_eq!(open(&disk.crash()).2, expected(1..=200), "{call:?}");
    }
}

#[test]
fn directory_without_permission_is_named() {
    let whole = written(3);
    for call in [Call::CreateDir, Call::List, Call::Map, Call::Open] {
        let disk = whole.copy();
        disk.fail(call, 0, 1, io::ErrorKind::PermissionDenied);
        let error = error(&disk);
        assert!(matches!(error, OpenError::Io { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("/log") && text.contains("who owns it"), "{text}");
        assert_eq!(open(&disk).2, expected(1..=3), "nothing was harmed");
    }
}

#[test]
fn every_refusal_at_start_is_an_error_that_harms_nothing() {
    let whole = torn(100, 101..=110, 3);
    let calls =
        [Call::CreateDir, Call::List, Call::Map, Call::Open, Call::Write, Call::Sync, Call::SyncDir, Call::Remove];
    for call in calls {
        for skip in 0..6 {
            let disk = whole.copy();
            disk.fail(call, skip, 1, io::ErrorKind::Other);
            let _ = open_from(&disk, 0);
            disk.heal();
            assert_eq!(open(&disk.crash()).2[..100], expected(1..=100), "{call:?} after {skip}");
        }
    }
}

#[test]
fn record_the_caller_cannot_take_stops_the_start() {
    let disk = written(5);
    let visit = |seq, _: &[u8]| if seq == 4 { Err("unknown type 99".into()) } else { Ok(()) };
    let error = block_on(Log::open(disk, options(), 0, visit, |_, _| ())).err().unwrap();
    assert!(matches!(error, OpenError::Refused { seq: 4, .. }), "{error}");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "unknown type 99");
}

#[test]
fn progress_rises_to_the_total() {
    let disk = written(300);
    let mut calls = Vec::new();
    block_on(Log::open(disk, options(), 0, |_, _| Ok(()), |done, total| calls.push((done, total)))).unwrap();
    assert!(calls.len() >= 3 && calls.is_sorted(), "{calls:?}");
    let (done, total) = *calls.last().unwrap();
    assert_eq!(done, total);
}

#[test]
fn left_overs_of_a_crash_are_removed_and_other_files_are_not() {
    let disk = written(5);
    let dir = PathBuf::from("/log");
    for name in ["new.0000000000000009", "spare.0000000000000001", "spare.0000000000000002", "lock", "notes.txt"] {
        let file = block_on(disk.open(&dir.join(name), Open::Fresh, options().strategy)).unwrap();
        block_on(file.allocate(if name.starts_with("spare") { SEGMENT_LEN } else { 10 })).unwrap();
    }
    open(&disk);
    let names: Vec<String> =
        disk.paths().iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(
        names,
        ["lock", "notes.txt", "segment.0000000000000001", "segment.0000000000000002", "spare.0000000000000001"]
    );
}

#[test]
fn storage_reads_no_clock() {
    // A clock that jumps can't matter to what never asks for the time.
    let mut files = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR"))];
    let clocks = [["Instant", "::"].concat(), ["System", "Time"].concat(), ["time", "::now"].concat()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(clocks.iter().all(|clock| !text.contains(clock)), "{}", path.display());
        }
    }
}
