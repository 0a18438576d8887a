//! The tasks between a prepared write and its answer: one that syncs the log, one that applies what is durable, one
//! that makes segments ahead of use.
//!
//! Flow       replica rings `log_work` -> sync -> `on_durable` -> ring `durable` -> apply, answer, notify.
//! Invariant  a failed sync is never retried: nothing more is acknowledged, and the server stops and says why.
//!
//! Group commit: while one sync is in flight everything that arrives gathers in the log's buffer; the next sync takes it
//! all. The next one begins before the results of the last are applied, so that disk and CPU work at once.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use glommio::timer::{sleep, timeout};
use ids::Zxid;

use super::clock;
use super::frontend::Frontend;
use super::metrics::{Counter, Summary};
use super::notify::Notify;
use super::replica::{Now, Replica};
use super::signals::{Reason, Stop};
use super::storage::ServerLog;

/// How long the log is quiet before it is marked as proven; see `Log::mark`.
const QUIET: Duration = Duration::from_secs(1);

/// Pause between attempts to make a segment when the disk is full.
const NO_SPACE_PAUSE: Duration = Duration::from_secs(1);

/// What the pipeline's tasks share.
#[derive(Clone)]
pub struct Pipeline {
    /// The order of writes.
    pub replica: Rc<RefCell<Replica>>,
    /// Where they go.
    pub log: Rc<ServerLog>,
    /// Who answers them.
    pub frontend: Rc<RefCell<Frontend>>,
    /// Rung when the disk has spoken.
    pub durable: Rc<Notify>,
    /// Set when it failed.
    pub stop: Stop,
    /// `forceSync=no` turns it off, and durability with it.
    pub force_sync: bool,
    /// A sync that takes longer is logged.
    pub sync_warning: Duration,
}

impl Pipeline {
    /// Syncs whenever something waits, until the disk fails.
    pub async fn sync(self) {
        let work = Rc::clone(&self.replica.borrow().log_work);
        loop {
            if self.log.log().pending() == 0 {
                if timeout(QUIET, async {
                    work.wait().await;
                    Ok(())
                })
                .await
                .is_ok()
                {
                    continue;
                }
                // Nothing came for a while: prove the last batch, then sleep until something does.
                if let Err(error) = self.log.log().mark().await {
                    return self.failed(&error);
                }
                work.wait().await;
                continue;
            }
            let batch = self.replica.borrow().outstanding();
            if !self.force_sync {
                self.replica.borrow_mut().trust_memory();
                self.durable.ring();
            }
            let started = Instant::now();
            match self.log.sync().await {
                Ok(upto) => self.on_durable(upto, batch, started),
                Err(error) => return self.failed(&error),
            }
        }
    }

    fn on_durable(&self, upto: Zxid, batch: usize, started: Instant) {
        self.replica.borrow_mut().on_durable(upto);
        self.durable.ring();
        let took = started.elapsed();
        let mut frontend = self.frontend.borrow_mut();
        frontend.metrics.note(Summary::Fsync, took.as_millis() as u64);
        frontend.metrics.note(Summary::SyncBatch, batch as u64);
        if took > self.sync_warning {
            tracing::warn!(?took, "the log's sync was slow; every write waits for it (fsync.warningthresholdms)");
        }
    }

    fn failed(&self, error: &storage::SyncError) {
        self.frontend.borrow_mut().metrics.count(Counter::UnrecoverableErrors, 1);
        self.stop.set(Reason::Fatal(format!(
            "{error}; nothing more is acknowledged, because what the disk holds is unknown"
        )));
    }

    /// Applies what is durable whenever there is more of it.
    pub async fn apply(self) {
        loop {
            self.durable.wait().await;
            loop {
                let more = self.frontend.borrow_mut().apply_durable(Now::read());
                if !more {
                    break;
                }
                clock::let_others_go().await;
            }
        }
    }

    /// Makes the next segment ahead of use; when the disk is full, waits for room and says so once.
    pub async fn prepare_segments(self) {
        let mut is_full = false;
        loop {
            self.log.log().next_wanted().await;
            match self.log.log().prepare_next().await {
                Ok(()) if is_full => {
                    is_full = false;
                    tracing::info!("the log's disk has room again; writes are taken");
                }
                Ok(()) => {}
                Err(error) => {
                    if !std::mem::replace(&mut is_full, true) {
                        tracing::error!("{error}; writes are refused when the present segment is full, reads go on");
                    }
                    sleep(NO_SPACE_PAUSE).await;
                }
            }
        }
    }
}
