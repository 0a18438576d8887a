//! Housekeeping: what happens by the clock or by count beside the requests, where the replica lives. Sessions expire, containers and TTL nodes
//! are reaped, snapshots are written, the past is purged.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use glommio::timer::sleep;
use storage::{OsDisk, Snapshots};
use tree::reaper::Sweep;
use tree::tree::Tree;

use super::clock;
use super::core::Core;
use super::metrics::{Counter, Summary};
use super::replica::Now;
use super::settings::ServeSettings;
use super::snapshots::{self, SnapshotGate};
use super::storage::LogPort;
use crate::config::Purge;

/// Pause after a snapshot that failed: the disk may be full, and trying again at once would not empty it.
const SNAPSHOT_RETRY: Duration = Duration::from_secs(30);

/// Containers and TTL nodes looked at before other tasks get their turn.
const SWEEP_NODES: usize = 256;

/// What the tasks need.
pub struct Housekeeping {
    /// How often, and how much.
    pub settings: Rc<ServeSettings>,
    /// Who ends sessions and removes nodes, as transactions.
    pub core: Rc<Core>,
    /// What snapshots are of.
    pub tree: Rc<RefCell<Tree>>,
    /// What snapshots make superfluous.
    pub log: Rc<LogPort>,
    /// Where they are: elsewhere when another state was adopted.
    pub snapshot_dir: Rc<RefCell<PathBuf>>,
    /// Whether they may be touched.
    pub snapshot_gate: Rc<SnapshotGate>,
    /// Transactions that were replayed at start: they count towards the next snapshot.
    pub recovered_records: u64,
}

impl Housekeeping {
    /// Starts the tasks. They end with the executor.
    pub fn spawn(self) {
        let this = Rc::new(self);
        glommio::spawn_local(Rc::clone(&this).expire_sessions()).detach();
        glommio::spawn_local(Rc::clone(&this).reap()).detach();
        glommio::spawn_local(this.take_snapshots()).detach();
    }

    /// Wakes at every multiple of the tick on the monotonic clock, as sessions' buckets end there.
    async fn expire_sessions(self: Rc<Self>) {
        let tick = self.settings.tick_time_ms;
        loop {
            let now = clock::monotonic().to_i64();
            sleep(Duration::from_millis((tick - now % tick).unsigned_abs())).await;
            let now = Now::read();
            self.core.order(now, |replica| replica.expire(now));
        }
    }

    /// Containers that have emptied and TTL nodes that are due, spread so that clients do not notice.
    async fn reap(self: Rc<Self>) {
        let settings = &self.settings.config.ensemble.containers;
        let interval = Duration::from_millis(settings.check_interval_ms.into());
        let spacing = Duration::from_micros(60_000_000 / u64::from(settings.max_per_minute.max(1)));
        let never_used_ms = settings.never_used_interval_ms.map_or(0, |ms| i64::try_from(ms).unwrap_or(i64::MAX));
        loop {
            sleep(interval).await;
            let mut due = Vec::new();
            let mut sweep = Sweep::new(Now::read().wall.to_i64(), never_used_ms);
            while sweep.step(&self.tree.borrow(), SWEEP_NODES, &mut due) {
                clock::let_others_go().await;
            }
            for path in due {
                let now = Now::read();
                self.core.order(now, |replica| replica.delete_container(&path, now));
                sleep(spacing).await;
            }
        }
    }

    /// After so many transactions, drawn anew each time as ZooKeeper does. What only older snapshots need goes behind
    /// one: nothing else makes anything superfluous.
    async fn take_snapshots(self: Rc<Self>) {
        let storage = &self.settings.config.local.storage;
        self.purge().await;
        let mut purged = Instant::now();
        self.core.replica().count_towards_snapshot(self.recovered_records, 0);
        loop {
            let bytes = storage.snap_size_limit_kib.map_or(u64::MAX, |kib| draw(kib.saturating_mul(1024)));
            self.core.replica().set_snapshot_at(draw(storage.snap_count.into()), bytes);
            let due = Rc::clone(&self.core.replica().snapshot_due);
            due.wait().await;
            while !self.take_snapshot().await {
                sleep(SNAPSHOT_RETRY).await;
            }
            let hours = if let Purge::Hours(hours) = storage.retention.purge { hours } else { 0 };
            if purged.elapsed() >= Duration::from_secs(3600 * u64::from(hours)) {
                self.purge().await;
                purged = Instant::now();
            }
        }
    }

    async fn take_snapshot(&self) -> bool {
        let work = self.snapshot_gate.begin().await;
        let started = Instant::now();
        self.core.replica().snapshot_begins();
        let dir = self.snapshot_dir.borrow().clone();
        let head = match snapshots::write(OsDisk::new(), &self.tree, &dir, &work).await {
            Ok(Some(head)) => head,
            Ok(None) => {
                tracing::info!("a snapshot was abandoned: the tree is about to be replaced");
                return true;
            }
            Err(error) => {
                tracing::error!(
                    "no snapshot: {error}; the log keeps everything, the next attempt is in {SNAPSHOT_RETRY:?}"
                );
                return false;
            }
        };
        let took = started.elapsed();
        tracing::info!(zxid = %head.zxid, znodes = head.nodes, ?took, "snapshot written");
        let mut replica = self.core.replica();
        replica.metrics.note(Summary::Snapshot, took.as_millis() as u64);
        replica.metrics.count(Counter::Snapshots, 1);
        true
    }

    /// Removes old snapshots and the log that only they need.
    async fn purge(&self) {
        let retention = &self.settings.config.local.storage.retention;
        if retention.purge == Purge::Never {
            return;
        }
        let _work = self.snapshot_gate.begin().await;
        let dir = self.snapshot_dir.borrow().clone();
        // What is there is looked up each time: the log role may have removed some, or begun another directory.
        let purged = match Snapshots::open(OsDisk::new(), &dir).await {
            Ok(mut snapshots) => snapshots.purge(retention.snapshots as usize).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match purged {
            Ok(Some(oldest)) => self.log.purge_before(oldest).await,
            Ok(None) => {}
            Err(error) => tracing::warn!("purging snapshots: {error}"),
        }
    }
}

/// A number between half of `most` and `most`, so that the members of an ensemble do not write snapshots at once.
fn draw(most: u64) -> u64 {
    let half = (most / 2).max(1);
    half + getrandom::u64().unwrap_or(0) % half
}
