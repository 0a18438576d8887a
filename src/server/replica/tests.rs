//! The replica by itself, over a log on a real disk.

use glommio::LocalExecutor;
use storage::{Log, LogOptions, OsDisk};
use tree::tree::TreeOptions;

use super::super::mesh::near;
use super::super::messages::ConnId;
use super::super::storage::{ServerLog, Way};
use super::*;

const RECORD_LEN_MAX: usize = 64 << 10;

fn now(wall_ms: i64, monotonic_ms: i64) -> Now {
    Now { wall: Millis::new(wall_ms), monotonic: Millis::new(monotonic_ms), instant: Instant::now() }
}

async fn replica(dir: &std::path::Path) -> Replica {
    let options = LogOptions { record_len_max: RECORD_LEN_MAX, ..LogOptions::new(dir, 7) }.with_segment_len(1 << 20);
    let (log, _) = Log::open(OsDisk::new(), options, 0, |_, _| Ok(()), |_, _| ()).await.expect("a new log");
    let (serve, _) = near();
    let parts = ReplicaParts {
        tree: Rc::new(RefCell::new(Tree::new(7, TreeOptions::default()))),
        applies: true,
        log: Rc::new(LogPort::new(Way::Near(Rc::new(ServerLog::new(log))), RECORD_LEN_MAX)),
        serve: vec![serve],
        shared: Arc::new(Shared::new(1, 0)),
        settings: PrepSettings::default(),
        force_sync: true,
        behind_bytes: 1 << 20,
        sessions: SessionTracker::new(2_000),
        first_session: SessionId::new(1),
        tick_ms: 2_000,
        snapshot_dir: Rc::default(),
        snapshot_gate: Rc::default(),
        member: None,
    };
    Replica::new(parts, Millis::new(0))
}

#[test]
fn a_wall_clock_that_jumps_expires_nobody() {
    const TODAY: i64 = 1_800_000_000_000;
    const YEAR: i64 = 365 * 24 * 3_600_000;
    let dir = tempfile::tempdir().expect("a directory");
    LocalExecutor::default().run(async move {
        let mut replica = replica(dir.path()).await;
        let origin = Origin { core: 0, conn: ConnId { slot: 0, generation: 0 } };
        let asked = Asked { origin, ticket: 1 };
        replica.handle(ToReplica::Open { asked, timeout_ms: 10_000, seen: Zxid::ZERO }, now(TODAY, 1_000));
        assert_eq!(replica.outstanding(), 1, "the session's transaction");
        for (wall, monotonic) in [(TODAY + YEAR, 2_000), (TODAY - YEAR, 3_000), (0, 4_000), (TODAY, 9_000)] {
            replica.expire(now(wall, monotonic));
            assert_eq!(replica.outstanding(), 1, "expired at {wall}, {monotonic}");
        }
        replica.expire(now(TODAY - YEAR, 14_000));
        assert_eq!(replica.outstanding(), 2, "its time is up, whatever the calendar says");
    });
}
