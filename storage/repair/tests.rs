//! Repairs of every damage that can be cut, and what they keep.

use std::collections::HashSet;

use futures_lite::future::block_on;

use super::*;
use crate::log::tests::{expected, open, open_from, options, write};
use crate::mem::MemDisk;

fn path(index: u64) -> PathBuf {
    PathBuf::from("/log").join(segment::name(index))
}

fn written(count: u64) -> MemDisk {
    let disk = MemDisk::new();
    let (log, ..) = open(&disk);
    write(&log, 1..=count);
    disk.copy()
}

/// Repairs, and checks that the log then opens, holds a true prefix, can be appended to, and that the cut bytes are there.
fn repaired(disk: &MemDisk, from_seq: u64) -> (Repaired, u64) {
    assert!(open_from(disk, from_seq).is_err());
    let report = block_on(repair(disk, &options(), from_seq)).unwrap();
    assert!(!report.saved.is_empty());
    for saved in &report.saved {
        assert!(disk.bytes(saved).is_some(), "{}", saved.display());
    }
    let disk = disk.crash();
    let (log, recovered, seen) = open_from(&disk, from_seq).unwrap();
    assert_eq!(seen, expected(from_seq + 1..=recovered.last_seq));
    assert_eq!(recovered.last_seq, report.last_seq);
    write(&log, recovered.last_seq + 1..=recovered.last_seq + 200);
    assert_eq!(open_from(&disk.crash(), from_seq).unwrap().2, expected(from_seq + 1..=recovered.last_seq + 200));
    (report, recovered.last_seq)
}

#[test]
fn sound_log_is_left_alone() {
    let disk = written(10);
    let before = disk.recorded();
    assert!(matches!(block_on(repair(&disk, &options(), 0)), Err(RepairError::Sound)));
    assert_eq!(disk.recorded(), before);
}

#[test]
fn damage_in_the_last_segment_is_cut_and_kept_beside() {
    let disk = written(10);
    let whole = disk.bytes(&path(1)).unwrap();
    disk.corrupt(&path(1), |bytes| bytes[6000] ^= 1);
    let (report, last_seq) = repaired(&disk, 0);
    assert!((1..10).contains(&last_seq), "{last_seq}");
    let saved = disk.bytes(report.saved.last().unwrap()).unwrap();
    assert!(saved.len() > 50_000 && saved[..] != whole[whole.len() - saved.len()..]);
    assert!(saved.windows(100).any(|part| part == &whole[6100..6200]), "the bytes behind the damage are kept");
}

#[test]
fn damage_in_an_older_segment_takes_the_later_ones_aside() {
    let disk = written(400);
    disk.corrupt(&path(2), |bytes| bytes[30_000] ^= 1);
    let (report, last_seq) = repaired(&disk, 0);
    assert!((100..300).contains(&last_seq), "{last_seq}");
    assert!(report.saved.len() >= 3, "{:?}", report.saved);
}

#[test]
fn missing_segment_ends_the_log_before_it() {
    let disk = written(400);
    disk.vanish(&path(2));
    let (_, last_seq) = repaired(&disk, 0);
    assert!((50..200).contains(&last_seq), "{last_seq}");
}

#[test]
fn lost_header_takes_its_segment_aside() {
    for index in [1, 2] {
        let disk = written(400);
        disk.corrupt(&path(index), |bytes| bytes[20] ^= 1);
        let (_, last_seq) = repaired(&disk, 0);
        assert_eq!(last_seq == 0, index == 1);
    }
}

#[test]
fn log_behind_the_snapshot_begins_anew_after_it() {
    let disk = written(10);
    let (report, last_seq) = repaired(&disk, 10_000);
    assert_eq!(last_seq, 10_000);
    assert!(matches!(report.damage, OpenError::Corrupt { .. }));
}

#[test]
fn missing_log_is_not_repaired_by_guessing() {
    let error = {
        let disk = MemDisk::new();
        block_on(disk.create_dir(Path::new("/log"))).unwrap();
        block_on(repair(&disk, &options(), 5)).unwrap_err()
    };
    assert!(matches!(error, RepairError::Hopeless(OpenError::NoLog { .. })), "{error}");
}

#[test]
fn interrupted_repair_is_still_damaged_or_done() {
    let disk = written(400);
    disk.corrupt(&path(2), |bytes| bytes[30_000] ^= 1);
    let disk = disk.copy();
    let report = block_on(repair(&disk, &options(), 0)).unwrap();
    disk.note(1);
    let mut images = 0;
    disk.images(|image| {
        images += 1;
        match open_from(&image.disk, 0) {
            Ok((_, recovered, seen)) => {
                assert_eq!(seen, expected(1..=recovered.last_seq));
                assert_eq!(recovered.last_seq, report.last_seq);
            }
            Err(_) => {
                assert_eq!(image.noted, 0, "after it has returned it is done");
                let again = block_on(repair(&image.disk, &options(), 0)).unwrap();
                assert_eq!(again.last_seq, report.last_seq);
            }
        }
    });
    assert!(images > 10, "{images}");
}

#[test]
fn nothing_that_is_cut_is_lost_whenever_power_fails() {
    let disk = written(400);
    disk.corrupt(&path(2), |bytes| bytes[30_000] ^= 1);
    let disk = disk.copy();
    // Behind the damage; with several records' headers, so that there is nothing like it elsewhere.
    let samples =
        (2..=disk.paths().len() as u64).map(|index| disk.bytes(&path(index)).unwrap()[31_000..33_000].to_vec());
    let samples: Vec<Vec<u8>> = samples.filter(|sample| sample.iter().any(|byte| *byte != 0)).collect();
    assert!(samples.len() >= 2);
    block_on(repair(&disk, &options(), 0)).unwrap();
    let check = |disk: &MemDisk, what: &str| {
        let files: Vec<Vec<u8>> = disk.paths().iter().map(|path| disk.bytes(path).unwrap()).collect();
        for (number, sample) in samples.iter().enumerate() {
            let is_kept = files.iter().any(|bytes| bytes.windows(sample.len()).any(|part| part == sample));
            assert!(is_kept, "{what}: of segment {}", number + 2);
        }
    };
    disk.images(|image| {
        let what = format!("operation {}, fates {}", image.ops, image.choice);
        check(&image.disk, &what);
        // Half of it may be wiped: what the next repair cuts there must not replace what the first one kept.
        if open_from(&image.disk, 0).is_err() {
            block_on(repair(&image.disk, &options(), 0)).unwrap();
            check(&image.disk, &what);
        }
    });
}

#[test]
fn second_repair_keeps_what_the_first_one_kept() {
    let disk = written(10);
    let mut kept: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    let mut begun = HashSet::new();
    for _ in 0..3 {
        let newest = disk.paths().into_iter().rfind(|path| path.to_string_lossy().contains("/segment.")).unwrap();
        let used = disk.paths().into_iter().find(|path| path.to_string_lossy().contains("/segment.")).unwrap();
        if newest != used {
            disk.vanish(&newest);
        }
        disk.corrupt(&used, |bytes| bytes[20] ^= 1);
        assert!(begun.insert(used), "an index is used once: nobody can put an old segment in a new one's place");
        let report = block_on(repair(&disk, &options(), 0)).unwrap();
        kept.extend(report.saved.iter().map(|path| (path.clone(), disk.bytes(path).unwrap())));
        write(&open(&disk).0, 1..=10);
    }
    assert!(kept.len() >= 3, "{kept:?}");
    assert!(kept.iter().all(|(path, bytes)| disk.bytes(path).as_ref() == Some(bytes)), "nothing was overwritten");
}
