//! Recovery: from directories to a tree and an open log.
//!
//! Flow       lock -> newest readable snapshot (`load`) -> the log above it (`replay`), both read ahead (`ahead`).
//! Invariant  runs on the executor of the log role: the files that it opens belong to that executor's ring. What it
//!            returns holds everything that was ever acknowledged.

mod ahead;
mod load;
mod replay;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{error, fs};

use storage::{DirLock, Log, LogOptions, OsDisk, Repaired, Snapshots, Strategy};
use tree::tree::Tree;

use super::settings::tree_options;
use super::start::RunError;
use crate::config::{Config, LogStrategy};

/// Where the files are. Below ZooKeeper's own `version-2`, in a directory that ZooKeeper does not look into.
pub struct Places {
    /// Of snapshots.
    pub base: PathBuf,
    /// Of the log.
    pub log_base: PathBuf,
}

impl Places {
    /// As configured.
    pub fn new(config: &Config) -> Places {
        let below = |dir: &Path| dir.join("version-2").join("ringkeeper");
        Places { base: below(&config.local.data_dir), log_base: below(&config.local.data_log_dir) }
    }

    /// The directory of snapshots.
    pub fn snapshots(&self) -> PathBuf {
        self.base.join("snapshots")
    }

    /// The directory of the log.
    pub fn log(&self) -> PathBuf {
        self.log_base.join("log")
    }
}

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
    let is_ours = places.snapshots().exists() || places.log().exists();
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
    /// Open behind the last entry.
    pub log: Log<OsDisk>,
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

/// Reads what is on disk. The log will be written by `strategy`.
///
/// # Errors
/// When it cannot be made a tree of.
pub async fn recover(config: &Config, places: &Places, strategy: Strategy) -> Result<Recovery, RunError> {
    let began = Instant::now();
    let fail = |error: Box<dyn error::Error + Send + Sync>| RunError::Recovery(error);
    let options = tree_options(&config.ensemble);
    let seed = random();
    let snapshots = Snapshots::open(OsDisk::new(), &places.snapshots()).await.map_err(|error| fail(error.into()))?;
    let started = Instant::now();
    let loaded = snapshots
        .load(|reader| {
            let mut progress = Progress::new("reading the snapshot");
            load::load(reader, seed, options, |done, total| progress.at(done, total))
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
    let (snapshot_took, started) = (started.elapsed(), Instant::now());
    let (log, recovered) = open_log(config, places, strategy, &mut tree).await?;
    if let Some(cut) = &recovered.cut {
        tracing::warn!(path = %cut.path.display(), offset = cut.offset, bytes = cut.len, "cut a torn tail: a write that was never acknowledged");
    }
    let cost = Cost { took: began.elapsed(), snapshot_took, log_took: started.elapsed(), records: recovered.records };
    Ok(Recovery { tree, log, cost })
}

async fn open_log(
    config: &Config,
    places: &Places,
    strategy: Strategy,
    tree: &mut Tree,
) -> Result<(Log<OsDisk>, storage::Recovered), RunError> {
    let options = LogOptions { strategy, ..log_options(config, places) };
    let from = tree.last_zxid().to_u64();
    let mut progress = Progress::new("reading the log");
    let mut mismatches = 0;
    let read = |reader| {
        let (exam, found) = replay::replay(reader, tree, |done, total| progress.at(done, total))?;
        mismatches = found;
        Ok(exam)
    };
    let opened = Log::open_by(OsDisk::new(), options, from, read).await;
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

fn log_options(config: &Config, places: &Places) -> LogOptions {
    let settings = &config.local.storage;
    let mut options = LogOptions::new(places.log(), random());
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
    let places = Places::new(config);
    let _locks = lock(&places, config)?;
    let snapshots = Snapshots::open(OsDisk::new(), &places.snapshots()).await.map_err(|error| fail(error.into()))?;
    let options = tree_options(&config.ensemble);
    let loaded = snapshots
        .load(|reader| load::load(reader, random(), options, |_, _| ()).map(|tree| tree.last_zxid().to_u64()))
        .map_err(|error| fail(error.into()))?;
    let from = loaded.map_or(0, |loaded| loaded.state);
    storage::repair(&OsDisk::new(), &log_options(config, &places), from).await.map_err(|error| {
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
