//! Keeper: what a member of an ensemble does with its disk: promises epochs, reads its log back, cuts it, takes over a
//! leader's state. Plain async code over any [`Disk`]: `pipeline` drives it for a server, and a simulation can.
//!
//! Flow       `open` -> `save`, `truncate` (`cut`), `begin_state` .. `end_state` (`stage`), `reload`, one at a time and in
//!            the order in which they were asked for; `locate` and `read` (`reading`) beside everything else.
//! Invariant  one write to the register changes epochs and generation, and never before what they speak of is durable: so
//!            a crash leaves the old ones with the old state, or the new ones with the new state.
//! Absent     appending and syncing (`ServerLog`), which go on between these; whoever may not be disturbed takes its gates.

mod cut;
mod reading;
mod stage;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use std::{fmt, io};

use storage::{Disk, Log, Register, RegisterError, SyncError, remove_generation};
use tree::tree::Tree;
use zab::outbox::Epochs;

use super::gate::{Gate, Pass};
use super::recovery::epochs::{EpochRecord, remember};
use super::recovery::{self, Cost, Places, Recipe};
use super::start::RunError;
use super::storage::ServerLog;
use reading::Readers;
use stage::Staged;

pub use cut::Cut;

/// What lets others go on in the middle of long work.
const REST: Duration = Duration::from_micros(1);

/// The log role's hands. One operation at a time, but for reading.
pub struct Keeper<D: Disk> {
    disk: D,
    /// Of the generation that counts.
    places: RefCell<Places>,
    recipe: Recipe,
    log: Rc<ServerLog<D>>,
    /// `None` until there is something to promise.
    register: RefCell<Option<Rc<Register<D>>>>,
    record: Cell<EpochRecord>,
    /// Another member's state, beside the present one.
    staged: RefCell<Option<Staged<D>>>,
    /// The present state's log, while entries go to what was staged. Nobody writes to it.
    parked: RefCell<Option<Rc<Log<D>>>>,
    /// Generations that are to be removed: at most one, unless removing fails.
    stale: RefCell<Vec<u64>>,
    /// Around their removal.
    removing: Gate,
    readers: Readers<D>,
}

/// Why the server cannot go on.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeeperError {
    /// What of the log is durable is unknown.
    Sync(SyncError),
    /// Which promise is durable is unknown.
    Register(RegisterError),
    /// What is on disk cannot be read again.
    Reload(RunError),
}

impl fmt::Display for KeeperError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeeperError::Sync(error) => error.fmt(f),
            KeeperError::Register(error) => error.fmt(f),
            KeeperError::Reload(error) => write!(f, "the disk's state cannot be loaded: {error}"),
        }
    }
}

impl std::error::Error for KeeperError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            KeeperError::Sync(error) => error.source(),
            KeeperError::Register(error) => error.source(),
            KeeperError::Reload(error) => error.source(),
        }
    }
}

impl From<SyncError> for KeeperError {
    fn from(error: SyncError) -> KeeperError {
        KeeperError::Sync(error)
    }
}

impl<D: Disk> Keeper<D>
where
    D::Map: Send,
{
    /// Reads what is on disk. The directories' locks are the caller's.
    ///
    /// # Errors
    /// When no tree can be made of it, or what was promised cannot be read.
    pub async fn open(disk: D, places: Places, recipe: Recipe) -> Result<(Keeper<D>, Tree, Cost), RunError> {
        let remembered = remember(&disk, &places).await.map_err(|error| RunError::Recovery(error.into()))?;
        let (register, record) = remembered.unzip();
        let record = record.flatten();
        let places = places.of(record.map_or(0, |record| record.generation));
        let mut stale = Vec::new();
        for generation in places.generation.checked_sub(1).into_iter().chain([places.generation + 1]) {
            if let Err(error) = remove(&disk, &places.of(generation)).await {
                tracing::warn!(generation, "removing what is left of another state: {error}");
                stale.push(generation);
            }
        }
        let (tree, log, cost) = recovery::read(&disk, &places, &recipe).await?;
        let record = record.unwrap_or(EpochRecord::first(tree.last_zxid()));
        let keeper = Keeper {
            disk,
            places: RefCell::new(places),
            recipe,
            log: Rc::new(ServerLog::new(log)),
            register: RefCell::new(register.map(Rc::new)),
            record: Cell::new(record),
            staged: RefCell::default(),
            parked: RefCell::default(),
            stale: RefCell::new(stale),
            removing: Gate::default(),
            readers: Readers::default(),
        };
        Ok((keeper, tree, cost))
    }

    /// The log, which is another one after a state was staged, adopted or reloaded.
    pub fn log(&self) -> &Rc<ServerLog<D>> {
        &self.log
    }

    /// What is promised.
    pub fn epochs(&self) -> Epochs {
        self.record.get().epochs
    }

    /// Where the present state is.
    pub fn places(&self) -> Places {
        self.places.borrow().clone()
    }

    /// Writes the epochs down, behind everything that was appended. If `adopt`, what is staged becomes the state by the same
    /// write: then says where snapshots belong from now on. [`remove_stale`](Keeper::remove_stale) is due afterwards.
    ///
    /// # Errors
    /// What was promised, and which state is this server's, is unknown: the process must end.
    ///
    /// # Panics
    /// If nothing is there to adopt.
    pub async fn save(&self, epochs: Epochs, adopt: bool) -> Result<Option<PathBuf>, KeeperError> {
        self.log.sync().await?;
        let before = self.record.get().generation;
        assert!(!adopt || self.is_staged(), "what is adopted was staged, and is ready");
        let record = EpochRecord { epochs, generation: before + u64::from(adopt) };
        self.register().await?.save(&record.encode()).await.map_err(KeeperError::Register)?;
        self.record.set(record);
        if !adopt {
            return Ok(None);
        }
        self.staged.take();
        self.parked.take();
        self.stale.borrow_mut().push(before);
        self.places.borrow_mut().generation = record.generation;
        tracing::info!(generation = record.generation, "the leader's state is this server's now");
        Ok(Some(self.places.borrow().snapshots()))
    }

    async fn register(&self) -> Result<Rc<Register<D>>, KeeperError> {
        let open = self.register.borrow().clone();
        if let Some(register) = open {
            return Ok(register);
        }
        let path = self.places.borrow().register();
        let (register, _) = Register::open(&self.disk, &path).await.map_err(KeeperError::Register)?;
        let register = Rc::new(register);
        self.register.replace(Some(Rc::clone(&register)));
        Ok(register)
    }

    /// Drops what is staged and loads the present state from disk, as at start.
    ///
    /// # Errors
    /// It cannot be loaded, or a sync has failed: the process must end.
    pub async fn reload(&self) -> Result<Tree, KeeperError> {
        let pass = self.log.syncing.enter().await;
        self.log.sync_within(&pass).await?;
        let _purging = self.log.purging.enter().await;
        self.drop_staged(&pass).await;
        // Of one directory there is one log that makes segments.
        let _preparing = self.log.stop_preparing().await;
        self.readers.clear();
        let places = self.places();
        let (tree, log, _) = recovery::read(&self.disk, &places, &self.recipe).await.map_err(KeeperError::Reload)?;
        self.log.switch(Rc::new(log), &pass);
        Ok(tree)
    }

    /// Removes the states that others have replaced. What cannot be removed is tried again before another is staged, and
    /// at the next start.
    pub async fn remove_stale(&self) {
        let _removing = self.removing.enter().await;
        let stale = self.stale.borrow().clone();
        for generation in stale {
            match remove(&self.disk, &self.places().of(generation)).await {
                Ok(()) => self.stale.borrow_mut().retain(|&other| other != generation),
                Err(error) => tracing::warn!(generation, "removing a state that was replaced: {error}"),
            }
        }
    }

    /// Seq and length of each snapshot of the present state, newest first.
    async fn snapshots(&self) -> io::Result<Vec<(u64, u64)>> {
        let dir = self.places.borrow().snapshots();
        let entries = self.disk.list(&dir).await?;
        let found = entries.iter().filter_map(|entry| Some((storage::snapshot::seq_of(&entry.name)?, entry.len)));
        let mut snapshots: Vec<(u64, u64)> = found.collect();
        snapshots.sort_unstable_by(|one, other| other.cmp(one));
        Ok(snapshots)
    }

    fn switch(&self, log: Rc<Log<D>>, pass: &Pass<'_>) -> Rc<Log<D>> {
        self.readers.clear();
        self.log.switch(log, pass)
    }
}

/// Removes a generation, durably. Fine if there is none.
async fn remove<D: Disk>(disk: &D, places: &Places) -> Result<(), storage::GenerationError> {
    let (snapshots, log) = (places.snapshots(), places.log());
    for dir in [Some(&snapshots), (log != snapshots).then_some(&log)].into_iter().flatten() {
        if disk.list(dir).await.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            continue;
        }
        remove_generation(disk, dir).await?;
        let parent = dir.parent().unwrap_or(Path::new("/"));
        let fail = |source| storage::GenerationError { doing: "sync the directory", path: parent.to_owned(), source };
        disk.sync_dir(parent).await.map_err(fail)?;
    }
    Ok(())
}
