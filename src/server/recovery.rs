//! Recovery: from directories to a tree and an open log.
//!
//! Flow       lock -> the register of epochs and generation (`epochs`) -> what other generations left is removed -> newest
//!            readable snapshot (`load`) -> the log above it (`replay`), both read ahead (`ahead`).
//! Invariant  runs on the executor of the log role: the files that it opens belong to that executor's ring. What it
//!            returns holds everything that was ever acknowledged. Only the generation that the register names is read.

mod ahead;
pub mod epochs;
pub mod load;
mod places;
pub mod replay;

use std::path::Path;
use std::time::{Duration, Instant};
use std::{error, fs};

use storage::{DirLock, Disk, Log, LogOptions, OsDisk, Repaired, Snapshots, Strategy};
use tree::tree::{Tree, TreeOptions};
use zab::outbox::Epochs;

pub use ahead::Threads;
pub use places::Places;

use super::keeper::Keeper;
use super::settings::tree_options;
use super::start::RunError;
use crate::config::{Config, LogStrategy};

/// Keeps other servers away from the directories, for as long as the locks are held.
///
/// # Errors
/// When another server has one, or it cannot be used.
pub fn lock(places: &Places, config: &Config) -> Result<Vec<DirLock>, RunError> {
    let mut locks = Vec::new();
    let mut bases = vec![&places.base];
    if places.log_base != places.base {
        bases.push(&places.log_base);
    }
    for base in bases {
        if !config.local.storage.create_directories && !base.exists() {
            let missing = format!("{} does not exist, and datadir.autocreate=false forbids making it", base.display());
            return Err(RunError::DataDirectory(missing.into()));
        }
        locks.push(DirLock::take(base).map_err(|error| RunError::DataDirectory(error.into()))?);
    }
    Ok(locks)
}

/// A directory with a Java server's data and none of ours: starting empty would look like the loss of everything.
///
/// # Errors
/// When it is such a directory.
pub fn refuse_foreign_data(config: &Config, places: &Places) -> Result<(), RunError> {
    // Another generation than the first has the register beside it.
    let is_ours = [places.snapshots(), places.log(), places.register()].iter().any(|path| path.exists());
    let is_foreign = |dir: &Path| {
        let entries = fs::read_dir(dir.join("version-2")).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name()).find(|name| {
            let name = name.to_string_lossy();
            ["snapshot.", "log."].iter().any(|prefix| {
                name.strip_prefix(prefix).is_some_and(|zxid| u64::from_str_radix(zxid, 16).is_ok_and(|zxid| zxid > 0))
            })
        })
    };
    let dirs = [&config.local.data_dir, &config.local.data_log_dir];
    match dirs.iter().find_map(|dir| is_foreign(dir).map(|name| dir.join("version-2").join(name))) {
        Some(file) if !is_ours => Err(RunError::DataDirectory(
            format!(
                "{} was written by ZooKeeper, and this version cannot import it yet. Starting here would serve an empty \
                 tree, so it does not start: use another dataDir, and copy the data with a client",
                file.display()
            )
            .into(),
        )),
        _ => Ok(()),
    }
}

/// What was on disk.
pub struct Recovery {
    /// Everything that was acknowledged.
    pub tree: Tree,
    /// What was promised.
    pub epochs: Epochs,
    /// Who keeps log and epochs from now on.
    pub keeper: Keeper<OsDisk>,
    /// How long it took, and how much there was.
    pub cost: Cost,
}

/// What a start cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// All of it.
    pub took: Duration,
    /// Reading the snapshot.
    pub snapshot_took: Duration,
    /// Replaying the log.
    pub log_took: Duration,
    /// Transactions replayed.
    pub records: u64,
}

/// How a state is read, and its log written.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// As every log is opened, but for the directory. Its salt is the first generation's.
    pub log: LogOptions,
    /// As every tree is made.
    pub tree: TreeOptions,
    /// Of the trees' hashes.
    pub seed: u64,
    /// By how many threads.
    pub threads: Threads,
}

impl Recipe {
    /// Of a server with these settings, whose log will be written by `strategy`.
    pub fn new(config: &Config, strategy: Strategy) -> Recipe {
        let log = LogOptions { strategy, ..log_options(config) };
        Recipe { log, tree: tree_options(&config.ensemble), seed: random(), threads: Threads::Two }
    }

    /// For the log of a generation. Each has a salt of its own, as each is a log of its own.
    pub fn log_at(&self, places: &Places) -> LogOptions {
        let salt = self.log.salt ^ places.generation.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        LogOptions { dir: places.log(), salt, ..self.log.clone() }
    }
}

/// Reads what is on disk. The log will be written by `strategy`.
///
/// # Errors
/// When it cannot be made a tree of, or what was promised cannot be read.
pub async fn recover(config: &Config, places: &Places, strategy: Strategy) -> Result<Recovery, RunError> {
    let (keeper, tree, cost) = Keeper::open(OsDisk::new(), places.clone(), Recipe::new(config, strategy)).await?;
    Ok(Recovery { tree, epochs: keeper.epochs(), keeper, cost })
}

/// Reads one generation, and opens its log.
///
/// # Errors
/// When it cannot be made a tree of.
pub async fn read<D: Disk>(disk: &D, places: &Places, recipe: &Recipe) -> Result<(Tree, Log<D>, Cost), RunError>
where
    D::Map: Send,
{
    let fail = |error: Box<dyn error::Error + Send + Sync>| RunError::Recovery(error);
    let Recipe { tree: options, seed, threads, .. } = *recipe;
    let began = Instant::now();
    let snapshots = Snapshots::open(disk.clone(), &places.snapshots()).await.map_err(|error| fail(error.into()))?;
    let loaded = snapshots
        .load(|reader| {
            let mut progress = Progress::new("reading the snapshot");
            load::load(reader, seed, options, threads, |done, total| progress.at(done, total))
        })
        .map_err(|error| fail(error.into()))?;
    let mut tree = match loaded {
        Some(loaded) => {
            for error in &loaded.unreadable {
                tracing::error!("{error}; going back to the snapshot before it and to the log");
            }
            loaded.state
        }
        None => Tree::new(seed, options),
    };
    let (snapshot_took, started) = (began.elapsed(), Instant::now());
    let (log, recovered) = open_log(disk, recipe.log_at(places), threads, &mut tree).await?;
    if let Some(cut) = &recovered.cut {
        tracing::warn!(path = %cut.path.display(), offset = cut.offset, bytes = cut.len, "cut a torn tail: a write that was never acknowledged");
    }
    let cost = Cost { took: began.elapsed(), snapshot_took, log_took: started.elapsed(), records: recovered.records };
    Ok((tree, log, cost))
}

async fn open_log<D: Disk>(
    disk: &D,
    options: LogOptions,
    threads: Threads,
    tree: &mut Tree,
) -> Result<(Log<D>, storage::Recovered), RunError>
where
    D::Map: Send,
{
    let from = tree.last_zxid().to_u64();
    let mut progress = Progress::new("reading the log");
    let mut mismatches = 0;
    let read = |reader| {
        let (exam, found) = replay::replay(reader, tree, threads, |done, total| progress.at(done, total))?;
        mismatches = found;
        Ok(exam)
    };
    let opened = Log::open_by(disk.clone(), options, from, read).await;
    if mismatches > 0 {
        tracing::error!(mismatches, "transactions in the log carry another digest than the tree has after them");
    }
    opened.map_err(|error| RunError::Recovery(error.into()))
}

/// As configured, or what is best for a log that has its executor to itself, or hasn't.
pub fn strategy(configured: LogStrategy, log_is_alone: bool) -> Strategy {
    match configured {
        LogStrategy::Auto if log_is_alone => Strategy::Blocking,
        LogStrategy::Auto | LogStrategy::Buffered => Strategy::Buffered,
        LogStrategy::Blocking => Strategy::Blocking,
        LogStrategy::Direct => Strategy::Direct,
        LogStrategy::DirectDsync => Strategy::DirectDsync,
        LogStrategy::Mapped => Strategy::Mapped,
    }
}

fn log_options(config: &Config) -> LogOptions {
    let settings = &config.local.storage;
    let mut options = LogOptions::new("", random());
    // A record holds what a client may send and what preparing adds to it, which is less.
    options.record_len_max = config.ensemble.jute_max_buffer_bytes as usize * 2;
    options.with_segment_len(u64::from(settings.segment_size_kib) * 1024)
}

/// Cuts a damaged log where the damage begins, because an operator has asked for it. No server may run.
///
/// # Errors
/// When there is no damage, or cutting cannot help, or the directories cannot be used.
pub async fn repair(config: &Config) -> Result<Repaired, RunError> {
    let fail = |error: Box<dyn error::Error + Send + Sync>| RunError::Recovery(error);
    let first = Places::new(config);
    let _locks = lock(&first, config)?;
    let remembered = epochs::remember(&OsDisk::new(), &first).await.map_err(|error| fail(error.to_string().into()))?;
    let places = first.of(remembered.and_then(|(_, record)| record).map_or(0, |record| record.generation));
    let recipe = Recipe::new(config, Strategy::default());
    let snapshots = Snapshots::open(OsDisk::new(), &places.snapshots()).await.map_err(|error| fail(error.into()))?;
    let load = |reader: &mut _| load::load(reader, recipe.seed, recipe.tree, recipe.threads, |_, _| ());
    let loaded = snapshots
        .load(|reader| load(reader).map(|tree| tree.last_zxid().to_u64()))
        .map_err(|error| fail(error.into()))?;
    let from = loaded.map_or(0, |loaded| loaded.state);
    storage::repair(&OsDisk::new(), &recipe.log_at(&places), from).await.map_err(|error| {
        let cause = error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        fail(format!("{error}{cause}").into())
    })
}

/// 64 random bits. From the kernel, so that no client can foresee what hashing or session ids will do.
fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|_| Instant::now().elapsed().as_nanos() as u64 ^ u64::from(std::process::id()))
}

/// Tells the log how far a long read has come, how fast, and how long it will take.
struct Progress {
    what: &'static str,
    started: Instant,
    told: Instant,
}

impl Progress {
    const EVERY: Duration = Duration::from_secs(2);

    fn new(what: &'static str) -> Progress {
        let now = Instant::now();
        Progress { what, started: now, told: now }
    }

    fn at(&mut self, done: u64, total: u64) {
        if self.told.elapsed() < Progress::EVERY || done == 0 {
            return;
        }
        self.told = Instant::now();
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = done as f64 / seconds;
        let left_s = (total.saturating_sub(done) as f64 / rate).ceil() as u64;
        let percent = done.saturating_mul(100) / total.max(1);
        let mib_per_s = (rate / f64::from(1 << 20)).round() as u64;
        tracing::info!(percent, mib_per_s, left_s, "{}: {} of {} MiB", self.what, done >> 20, total >> 20);
    }
}
