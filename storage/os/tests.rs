//! Every strategy with real files, in an executor of its own.

use std::path::Path;

use glommio::LocalExecutor;

use super::*;
use crate::generation::{generation_dir, prepare_generation, remove_generation};
use crate::log::{Log, LogOptions};
use crate::register::Register;
use crate::snapshot::{SnapshotReader, SnapshotWriter, Snapshots};

fn options(dir: &Path, strategy: Strategy) -> LogOptions {
    let mut options = LogOptions::new(dir.join("log"), 1);
    options.record_len_max = 64 * 1024;
    options.strategy = strategy;
    options.with_segment_len(512 * 1024)
}

/// Writes across segments, purges, and starts again, with real files.
async fn run(dir: &Path, strategy: Strategy) {
    let mut last = 0;
    for round in 0..3 {
        let mut seen = Vec::new();
        let visit = |seq, payload: &[u8]| {
            seen.push((seq, payload.len()));
            Ok(())
        };
        let from = if round == 2 { last - 5 } else { 0 };
        let (log, recovered) =
            Log::open(OsDisk::new(), options(dir, strategy), from, visit, |_, _| ()).await.expect("open");
        assert_eq!(recovered.last_seq, last);
        assert_eq!(seen, (from + 1..=last).map(|seq| (seq, seq as usize * 83 % 9000)).collect::<Vec<_>>());
        for seq in last + 1..=last + 200 {
            log.append(seq, &vec![seq as u8; seq as usize * 83 % 9000]).expect("append");
            if seq % 3 == 0 {
                assert_eq!(log.sync().await.expect("sync"), seq);
                log.prepare_next().await.expect("prepare");
            }
        }
        last = log.sync().await.expect("sync");
        log.mark().await.expect("mark");
        if round == 1 {
            assert!(log.purge_before(last - 5).await.expect("purge") > 0);
        }
    }
}

/// What only a member of an ensemble does, with real files: a cursor lives on while its segment is purged, the log is
/// truncated and goes on.
async fn run_member(dir: &Path, strategy: Strategy) {
    let payload = |seq: u64| vec![seq as u8; seq as usize * 83 % 9000];
    let (log, _) = Log::open(OsDisk::new(), options(dir, strategy), 0, |_, _| Ok(()), |_, _| ()).await.expect("open");
    let write = async |from: u64, to: u64| {
        for seq in from..=to {
            log.prepare_next().await.expect("prepare");
            log.append(seq, &payload(seq)).expect("append");
            log.sync().await.expect("sync");
        }
    };
    write(1, 400).await;
    let mut cursor = log.read_after(20).expect("a cursor");
    let mut tail = log.read_after(400).expect("a cursor");
    assert!(log.purge_before(300).await.expect("purge") > 1);
    // What was purged is used again now, but for what the cursor has mapped.
    write(401, 700).await;
    let mut next = 21;
    while let Ok(Some((seq, bytes))) = cursor.next() {
        assert_eq!((seq, bytes), (next, payload(next).as_slice()), "{strategy:?}");
        next += 1;
    }
    assert!((100..300).contains(&next), "to the end of its segment, not beyond: {next}");
    for seq in 401..=700 {
        assert_eq!(tail.next().expect("readable"), Some((seq, payload(seq).as_slice())), "{strategy:?}");
    }
    assert!(tail.next().expect("readable").is_none());
    assert_eq!(log.truncate_after(555).await.expect("truncate").last_seq, 555);
    assert!(tail.next().is_err());
    write(556, 560).await;
    let oldest = log.oldest();
    drop(log);
    let (log, recovered) =
        Log::open(OsDisk::new(), options(dir, strategy), oldest, |_, _| Ok(()), |_, _| ()).await.expect("open");
    assert_eq!((recovered.last_seq, recovered.records), (560, 560 - oldest));
    let mut cursor = log.read_after(550).expect("a cursor");
    for seq in 551..=560 {
        assert_eq!(cursor.next().expect("readable"), Some((seq, payload(seq).as_slice())), "{strategy:?}");
    }
}

#[test]
fn every_strategy_reads_back_and_truncates() {
    for strategy in Strategy::ALL {
        let dir = tempfile::tempdir().unwrap();
        LocalExecutor::default().run(run_member(dir.path(), strategy));
    }
}

#[test]
fn register_and_generations_on_real_files() {
    let dir = tempfile::tempdir().unwrap();
    LocalExecutor::default().run(async {
        let disk = OsDisk::new();
        let path = dir.path().join("register");
        let (register, found) = Register::open(&disk, &path).await.expect("a register");
        assert_eq!(found, None);
        register.save(b"one").await.expect("save");
        register.save(b"two").await.expect("save");
        drop(register);
        assert_eq!(Register::open(&disk, &path).await.expect("a register").1, Some(b"two".to_vec()));
        let next = generation_dir(dir.path(), 1);
        prepare_generation(&disk, &next).await.expect("make");
        let made =
            LogOptions { may_create_after_snapshot: true, dir: next.clone(), ..options(&next, Strategy::Buffered) };
        Log::open(disk.clone(), made, 9, |_, _| Ok(()), |_, _| ()).await.expect("a log");
        remove_generation(&disk, dir.path()).await.expect("nothing of it here");
        assert!(next.exists() && path.exists());
        remove_generation(&disk, &next).await.expect("remove");
        assert!(!next.exists());
        remove_generation(&disk, &next).await.expect("again");
    });
}

#[test]
fn every_strategy_keeps_what_it_acknowledged() {
    for strategy in Strategy::ALL {
        let dir = tempfile::tempdir().unwrap();
        LocalExecutor::default().run(run(dir.path(), strategy));
    }
}

#[test]
fn strategy_may_change_between_starts() {
    let dir = tempfile::tempdir().unwrap();
    LocalExecutor::default().run(async {
        for (at, strategy) in Strategy::ALL.into_iter().cycle().take(9).enumerate() {
            let (log, recovered) =
                Log::open(OsDisk::new(), options(dir.path(), strategy), 0, |_, _| Ok(()), |_, _| ()).await.unwrap();
            assert_eq!(recovered.last_seq, at as u64);
            log.append(at as u64 + 1, b"payload").unwrap();
            log.sync().await.unwrap();
        }
    });
}

#[test]
fn snapshot_is_written_and_read_with_real_files() {
    let dir = tempfile::tempdir().unwrap();
    LocalExecutor::default().run(async {
        let disk = OsDisk::new();
        let mut writer = SnapshotWriter::create(disk.clone(), dir.path(), 5).await.unwrap();
        let bytes: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
        writer.write(&bytes).await.unwrap();
        writer.finish(b"meta").await.unwrap();
        let snapshots = Snapshots::open(disk.clone(), dir.path()).await.unwrap();
        let mut reader = SnapshotReader::open(&disk, &snapshots.path(5)).unwrap();
        let mut back = Vec::new();
        while let Some(chunk) = reader.next_chunk().unwrap() {
            back.extend_from_slice(chunk);
        }
        assert_eq!((back == bytes, reader.metadata()), (true, b"meta".as_slice()));
    });
}

#[test]
fn kernel_errors_keep_their_kind() {
    let dir = tempfile::tempdir().unwrap();
    LocalExecutor::default().run(async {
        let missing = dir.path().join("missing");
        for strategy in Strategy::ALL {
            let error = OsDisk::new().open(&missing, Open::Existing, strategy).await.err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{strategy:?}: {error}");
        }
    });
}

#[test]
fn file_system_without_direct_io_is_served_through_the_page_cache() {
    // tmpfs, where O_DIRECT is refused by some kernels and ignored by others.
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else { return };
    LocalExecutor::default().run(run(dir.path(), Strategy::DirectDsync));
}
