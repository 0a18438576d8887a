//! Another member's state, written beside the present one until it is adopted: a snapshot and the log behind it.
//!
//! Flow       `begin_state` -> the next generation's directories, empty -> `add_state` .. -> `end_state`: the snapshot
//!            durable, an empty log behind it, which entries go to from then on -> `Keeper::save` with `adopt`.
//! Invariant  nothing of the present state is changed, and its log is not written, while another one is staged.

use std::fmt;
use std::rc::Rc;

use ids::Zxid;
use storage::{Disk, GenerationError, Log, LogOptions, OpenError, SnapshotError, SnapshotWriter, prepare_generation};

use super::{Keeper, KeeperError, remove};
use crate::server::gate::Pass;
use crate::server::recovery::Places;

/// A state that is not this server's yet.
pub(super) enum Staged<D: Disk> {
    /// Its snapshot is being written.
    Writing { zxid: Zxid, writer: Box<SnapshotWriter<D>> },
    /// Everything of it that was said before is on disk, and entries go to its log.
    Ready,
}

/// Why a state was not staged.
#[derive(Debug)]
pub(super) enum StageError {
    Generation(GenerationError),
    /// What the state before the present one left is still there.
    Stale,
    Snapshot(SnapshotError),
    Open(OpenError),
}

impl fmt::Display for StageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StageError::Generation(error) => error.fmt(f),
            StageError::Stale => f.write_str("an older state cannot be removed"),
            StageError::Snapshot(error) => error.fmt(f),
            StageError::Open(error) => error.fmt(f),
        }
    }
}

impl From<GenerationError> for StageError {
    fn from(error: GenerationError) -> StageError {
        StageError::Generation(error)
    }
}

impl From<SnapshotError> for StageError {
    fn from(error: SnapshotError) -> StageError {
        StageError::Snapshot(error)
    }
}

impl<D: Disk> Keeper<D>
where
    D::Map: Send,
{
    /// Begins a snapshot of a state up to `zxid` that another member has. What was staged before is dropped. When this
    /// fails, `end_state` says so.
    ///
    /// # Errors
    /// A sync has failed: the process must end.
    pub async fn begin_state(&self, zxid: Zxid) -> Result<(), KeeperError> {
        let pass = self.log.syncing.enter().await;
        self.log.sync_within(&pass).await?;
        self.drop_staged(&pass).await;
        drop(pass);
        match self.begin_stage(zxid).await {
            Ok(writer) => drop(self.staged.replace(Some(Staged::Writing { zxid, writer: Box::new(writer) }))),
            Err(error) => tracing::error!("a leader's state cannot be written: {error}"),
        }
        Ok(())
    }

    async fn begin_stage(&self, zxid: Zxid) -> Result<SnapshotWriter<D>, StageError> {
        self.remove_stale().await;
        if !self.stale.borrow().is_empty() {
            return Err(StageError::Stale);
        }
        let next = self.next_places();
        prepare_generation(&self.disk, &next.snapshots()).await?;
        if next.log() != next.snapshots() {
            prepare_generation(&self.disk, &next.log()).await?;
        }
        Ok(SnapshotWriter::create(self.disk.clone(), &next.snapshots(), zxid.to_u64()).await?)
    }

    /// Adds a piece of the snapshot's body. When this fails, or nothing was begun, `end_state` says so.
    pub async fn add_state(&self, bytes: &[u8]) {
        let Some(Staged::Writing { zxid, mut writer }) = self.staged.take() else { return };
        match writer.write(bytes).await {
            Ok(()) => drop(self.staged.replace(Some(Staged::Writing { zxid, writer }))),
            Err(error) => {
                tracing::error!("a leader's state cannot be written: {error}");
                writer.abandon().await;
                self.remove_next().await;
            }
        }
    }

    /// Completes the snapshot, and has entries go to an empty log behind it. Whether that worked; if not, nothing is staged.
    ///
    /// # Errors
    /// A sync has failed: the process must end.
    pub async fn end_state(&self, metadata: &[u8]) -> Result<bool, KeeperError> {
        let Some(Staged::Writing { zxid, writer }) = self.staged.take() else { return Ok(false) };
        let log = match self.end_stage(zxid, *writer, metadata).await {
            Ok(log) => log,
            Err(error) => {
                tracing::error!("a leader's state cannot be written: {error}");
                self.remove_next().await;
                return Ok(false);
            }
        };
        let pass = self.log.syncing.enter().await;
        self.log.sync_within(&pass).await?;
        let _purging = self.log.purging.enter().await;
        let before = self.switch(Rc::new(log), &pass);
        self.parked.replace(Some(before));
        self.staged.replace(Some(Staged::Ready));
        Ok(true)
    }

    async fn end_stage(&self, zxid: Zxid, writer: SnapshotWriter<D>, metadata: &[u8]) -> Result<Log<D>, StageError> {
        writer.finish(metadata).await?;
        let options = LogOptions { may_create_after_snapshot: true, ..self.recipe.log_at(&self.next_places()) };
        let opened = Log::open(self.disk.clone(), options, zxid.to_u64(), |_, _| Ok(()), |_, _| ()).await;
        let (log, _) = opened.map_err(StageError::Open)?;
        Ok(log)
    }

    /// Whether there is a state to be adopted.
    pub(super) fn is_staged(&self) -> bool {
        matches!(*self.staged.borrow(), Some(Staged::Ready))
    }

    /// Forgets what is staged, if anything is: entries go to the present state's log again.
    pub(super) async fn drop_staged(&self, pass: &Pass<'_>) {
        let Some(staged) = self.staged.take() else { return };
        if let Staged::Writing { writer, .. } = staged {
            writer.abandon().await;
        }
        if let Some(log) = self.parked.take() {
            drop(self.switch(log, pass));
        }
        self.remove_next().await;
    }

    fn next_places(&self) -> Places {
        let places = self.places();
        places.of(places.generation + 1)
    }

    /// Removes what was staged. What is left is removed when something is staged again, or at the next start.
    async fn remove_next(&self) {
        if let Err(error) = remove(&self.disk, &self.next_places()).await {
            tracing::warn!("removing a state that was not adopted: {error}");
        }
    }
}
