//! The log role: the tasks that sync it, that make segments ahead of use, and that take entries and orders (`orders`) from
//! the replica's mailbox.
//!
//! Flow       entry appended -> `work` -> sync -> `FromLog::Durable`.
//! Invariant  a failed sync is never retried: nothing more is acknowledged, and the server stops and says why. An entry
//!            that has arrived is appended sooner or later, in order, or the server ends without acknowledging it. What is
//!            durable is reported before whatever was done because it is.
//!
//! Group commit: while one sync is in flight everything that arrives gathers in the log's buffer; the next sync takes it
//! all. The next one begins before the results of the last are applied, so that disk and CPU work at once.

mod orders;

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::future;
use glommio::timer::sleep;
use ids::Zxid;
use storage::{AppendError, Disk, OsDisk};

use super::keeper::Keeper;
use super::mesh::{Inlet, Outlet};
use super::messages::{FromLog, ToLog};
use super::notify::Notify;
use super::shared::{Room, Shared};
use super::signals::{Reason, Stop};
use super::storage::{ServerLog, Synced};

/// How long the log is quiet before it is marked as proven; see `Log::mark`.
const QUIET: Duration = Duration::from_secs(1);

/// Pause between attempts to make a segment when the disk is full.
const NO_SPACE_PAUSE: Duration = Duration::from_secs(1);

/// Pause between attempts to append an entry for which there is no room. The replica stops sending at once, so this is
/// only for what was under way.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(5);

/// What runs the tasks, and lets time pass for them.
pub trait Runtime: Clone + 'static {
    /// Starts a task that nobody waits for.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);

    /// Lets time pass.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()>;
}

/// The executor of this thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Local;

impl Runtime for Local {
    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        glommio::spawn_local(task).detach();
    }

    async fn sleep(&self, time: Duration) {
        sleep(time).await;
    }
}

/// What the log's tasks share.
pub struct Pipeline<D: Disk = OsDisk, R = Local> {
    /// The log.
    pub log: Rc<ServerLog<D>>,
    /// Who does with it, and with the epochs, what a member is asked for.
    pub keeper: Rc<Keeper<D>>,
    /// What they run on.
    pub runtime: R,
    /// What of the log's syncs was reported.
    pub reported: Rc<Cell<Synced>>,
    /// Whom the disk's word concerns.
    pub reports: Rc<Outlet<FromLog>>,
    /// Where others see whether there is room.
    pub shared: Arc<Shared>,
    /// Set when the disk failed.
    pub stop: Stop,
    /// A sync that takes longer is logged.
    pub sync_warning: Duration,
}

impl<D: Disk, R: Clone> Clone for Pipeline<D, R> {
    fn clone(&self) -> Pipeline<D, R> {
        Pipeline {
            log: Rc::clone(&self.log),
            keeper: Rc::clone(&self.keeper),
            runtime: self.runtime.clone(),
            reported: Rc::clone(&self.reported),
            reports: Rc::clone(&self.reports),
            shared: Arc::clone(&self.shared),
            stop: self.stop.clone(),
            sync_warning: self.sync_warning,
        }
    }
}

impl<D: Disk + 'static, R: Runtime> Pipeline<D, R>
where
    D::Map: Send,
{
    /// Starts the tasks that the log needs wherever it is.
    pub fn spawn(&self) {
        self.look_for_room();
        self.runtime.spawn(self.clone().sync());
        self.runtime.spawn(self.clone().prepare_segments());
    }

    /// Syncs whenever something waits, until the disk fails.
    async fn sync(self) {
        loop {
            if self.log.log().pending() == 0 {
                // An order, or the proof of the last batch, may have had it synced.
                self.report_synced(Duration::ZERO);
                if !self.wait_for_work().await {
                    return;
                }
                continue;
            }
            let started = Instant::now();
            if let Err(error) = self.log.sync().await {
                return self.failed(&error);
            }
            let took = started.elapsed();
            self.look_for_room();
            self.report_synced(took);
            if took > self.sync_warning {
                tracing::warn!(?took, "the log's sync was slow; every write waits for it (fsync.warningthresholdms)");
            }
        }
    }

    /// Tells what syncs have made durable since the last time, whoever they were for.
    fn report_synced(&self, took: Duration) {
        let synced = self.log.synced();
        let before = self.reported.replace(synced);
        let batch = synced.taken.entries - before.taken.entries;
        if batch > 0 {
            self.report(FromLog::Durable { upto: synced.upto, synced_bytes: synced.taken.bytes, took, batch });
        }
    }

    /// Nothing waits: sleeps until something does. When that takes long, the last batch is proven meanwhile. False when
    /// the disk has failed.
    async fn wait_for_work(&self) -> bool {
        let work = async {
            self.log.work.wait().await;
            true
        };
        let quiet = async {
            self.runtime.sleep(QUIET).await;
            false
        };
        if future::or(work, quiet).await {
            return true;
        }
        if let Err(error) = self.log.mark().await {
            self.failed(&error);
            return false;
        }
        self.log.work.wait().await;
        true
    }

    fn failed(&self, error: &dyn fmt::Display) {
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

    /// Takes entries and orders from the replica's mailbox, and rings `ended` behind the last. Ends when the disk fails.
    pub async fn take_entries(self, inlet: Inlet<ToLog>, ended: Rc<Notify>) {
        while let Some(messages) = inlet.receive().await {
            for message in messages {
                match message {
                    ToLog::Entry { zxid, bytes } => self.append(zxid, &bytes).await,
                    ToLog::PurgeBefore(oldest) => {
                        self.log.want_purge(oldest);
                        let log = Rc::clone(&self.log);
                        self.runtime.spawn(async move { log.purge().await });
                    }
                    ToLog::End => ended.ring(),
                    order => {
                        if let Err(error) = self.carry_out(order).await {
                            return self.failed(&error);
                        }
                    }
                }
            }
            self.look_for_room();
        }
    }

    /// Appends, as soon as there is room.
    async fn append(&self, zxid: Zxid, entry: &[u8]) {
        while let Err(error) = self.log.append(zxid, entry) {
            assert!(error != AppendError::TooLong, "the replica has looked at the length");
            self.shared.set_log_room(if self.log.room() == Room::Out { Room::Out } else { Room::Soon });
            self.runtime.sleep(NO_ROOM_PAUSE).await;
        }
    }

    /// Makes the next segment ahead of use; when the disk is full, waits for room and says so once.
    async fn prepare_segments(self) {
        let mut is_full = false;
        loop {
            let Some(made) = self.log.prepare_next().await else { continue };
            match made {
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
                self.runtime.sleep(NO_SPACE_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
