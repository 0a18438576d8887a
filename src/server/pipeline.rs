//! The log role: the tasks that sync it, that make segments ahead of use, and that take entries from a replica on
//! another executor.
//!
//! Flow       entry appended -> `work` -> sync -> `FromLog::Durable`.
//! Invariant  a failed sync is never retried: nothing more is acknowledged, and the server stops and says why. An entry
//!            that has arrived is appended sooner or later, in order, or the server ends without acknowledging it.
//!
//! Group commit: while one sync is in flight everything that arrives gathers in the log's buffer; the next sync takes it
//! all. The next one begins before the results of the last are applied, so that disk and CPU work at once.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use glommio::timer::{sleep, timeout};
use storage::error::AppendError;

use super::mesh::{Inlet, Outlet};
use super::messages::{FromLog, ToLog};
use super::notify::Notify;
use super::shared::{Room, Shared};
use super::signals::{Reason, Stop};
use super::storage::ServerLog;

/// How long the log is quiet before it is marked as proven; see `Log::mark`.
const QUIET: Duration = Duration::from_secs(1);

/// Pause between attempts to make a segment when the disk is full.
const NO_SPACE_PAUSE: Duration = Duration::from_secs(1);

/// Pause between attempts to append an entry for which there is no room. The replica stops sending at once, so this is
/// only for what was under way.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(5);

/// What the log's tasks share.
#[derive(Clone)]
pub struct Pipeline {
    /// The log.
    pub log: Rc<ServerLog>,
    /// Whom the disk's word concerns.
    pub reports: Rc<Outlet<FromLog>>,
    /// Where others see whether there is room.
    pub shared: Arc<Shared>,
    /// Set when the disk failed.
    pub stop: Stop,
    /// A sync that takes longer is logged.
    pub sync_warning: Duration,
}

impl Pipeline {
    /// Starts the tasks that the log needs wherever it is.
    pub fn spawn(&self) {
        self.look_for_room();
        glommio::spawn_local(self.clone().sync()).detach();
        glommio::spawn_local(self.clone().prepare_segments()).detach();
    }

    /// Syncs whenever something waits, until the disk fails.
    async fn sync(self) {
        let mut before = self.log.taken();
        loop {
            if self.log.log().pending() == 0 {
                if !self.wait_for_work().await {
                    return;
                }
                continue;
            }
            let taken = self.log.taken();
            let started = Instant::now();
            let upto = match self.log.sync().await {
                Ok(upto) => upto,
                Err(error) => return self.failed(&error),
            };
            let took = started.elapsed();
            self.look_for_room();
            self.report(FromLog::Durable {
                upto,
                synced_bytes: taken.bytes,
                took,
                batch: taken.entries - before.entries,
            });
            before = taken;
            if took > self.sync_warning {
                tracing::warn!(?took, "the log's sync was slow; every write waits for it (fsync.warningthresholdms)");
            }
        }
    }

    /// Nothing waits: sleeps until something does. When that takes long, the last batch is proven meanwhile. False when
    /// the disk has failed.
    async fn wait_for_work(&self) -> bool {
        let came = timeout(QUIET, async {
            self.log.work.wait().await;
            Ok(())
        });
        if came.await.is_ok() {
            return true;
        }
        if let Err(error) = self.log.log().mark().await {
            self.failed(&error);
            return false;
        }
        self.log.work.wait().await;
        true
    }

    fn failed(&self, error: &storage::SyncError) {
        self.report(FromLog::Failed);
        self.stop.set(Reason::Fatal(format!(
            "{error}; nothing more is acknowledged, because what the disk holds is unknown"
        )));
    }

    fn report(&self, report: FromLog) {
        self.reports.post(report);
        self.reports.dispatch();
    }

    /// Tells a far replica what the log does with writes; a near one sees for itself.
    fn look_for_room(&self) {
        if self.shared.set_log_room(self.log.room()) {
            self.report(FromLog::Room);
        }
    }

    /// Takes entries from a replica on another executor, and rings `ended` behind the last.
    pub async fn take_entries(self, inlet: Inlet<ToLog>, ended: Rc<Notify>) {
        while let Some(messages) = inlet.receive().await {
            for message in messages {
                match message {
                    ToLog::Entry { zxid, bytes } => {
                        while let Err(error) = self.log.append(zxid, &bytes) {
                            assert!(error != AppendError::TooLong, "the replica has looked at the length");
                            self.shared.set_log_room(if self.log.room() == Room::Out { Room::Out } else { Room::Soon });
                            sleep(NO_ROOM_PAUSE).await;
                        }
                    }
                    ToLog::PurgeBefore(oldest) => {
                        let log = Rc::clone(&self.log);
                        glommio::spawn_local(async move { log.purge_before(oldest).await }).detach();
                    }
                    ToLog::End => ended.ring(),
                    ToLog::Save { .. }
                    | ToLog::Truncate { .. }
                    | ToLog::Locate { .. }
                    | ToLog::Read { .. }
                    | ToLog::BeginState { .. }
                    | ToLog::State(_)
                    | ToLog::EndState { .. }
                    | ToLog::Reload => unreachable!("members of ensembles say this"),
                }
            }
            self.look_for_room();
        }
    }

    /// Makes the next segment ahead of use; when the disk is full, waits for room and says so once.
    async fn prepare_segments(self) {
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
                }
            }
            self.log.set_disk_full(is_full);
            self.look_for_room();
            // Whoever waits for this segment may have come after the last look.
            self.report(FromLog::Room);
            if is_full {
                sleep(NO_SPACE_PAUSE).await;
            }
        }
    }
}
