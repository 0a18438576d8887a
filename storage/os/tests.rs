//! Every strategy with real files, in an executor of its own.

use std::path::Path;

use glommio::LocalExecutor;

use super::*;
use crate::log::{Log, LogOptions};
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
