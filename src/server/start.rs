//! Start and stop: from directories and a configuration to a serving executor, and back to a quiet disk.
//!
//! Flow       lock -> newest readable snapshot -> replay the log above it -> listen -> serve -> (signal) -> drain -> exit.
//! Invariant  nothing is served before everything that was ever acknowledged is in the tree; on a signal nothing new is
//!            taken, what is in flight is made durable and answered, and the process ends with 0.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};
use std::{error, fmt, fs, io};

use glommio::timer::sleep;
use glommio::{CpuSet, LocalExecutor, LocalExecutorBuilder, Placement};
use net::buffer::Pool;
use net::conn::ConnectionOptions;
use net::listener::{ListenAddress, ListenOptions, Listener};
use storage::{DirLock, Log, LogOptions, OsDisk, Snapshots, Strategy};
use tree::effects::Effects;
use tree::session::SessionTracker;
use tree::tree::Tree;
use tuning::{Pin, Plan};

use super::clock;
use super::codec;
use super::connections;
use super::frontend::Frontend;
use super::housekeeping::Housekeeping;
use super::metrics::Summary;
use super::notify::Notify;
use super::pipeline::Pipeline;
use super::replica::{Now, Replica};
use super::settings::{ServeSettings, tree_options};
use super::signals::{Reason, Stop};
use super::snapshots;
use super::storage::ServerLog;
use crate::config::{Config, LogStrategy};

/// Memory for direct I/O, registered with the ring. glommio's default of 10 MiB is above the usual limit of locked
/// memory (8 MiB), and a log batch needs little.
const IO_MEMORY_BYTES: usize = 4 << 20;

/// glommio 0.9 loses a turn: when its preemption timer fires, or its count of completions is reached, between looking at
/// the ring and running tasks, `run_task_queues` runs none and says there were none, and the executor sleeps beside
/// runnable tasks until the next event. So the timer never fires (nothing here runs long without giving way, see
/// `clock::let_others_go`), the count is out of reach of all but thousands of completions at once, and a pulse bounds
/// what is left. With a timer of 500 us, 7 of 12 runs of 768 direct writes hung on a busy host; so, none of 12.
const PREEMPT: Duration = Duration::from_secs(3600);
const RING_DEPTH: usize = 1024;
const PULSE: Duration = Duration::from_millis(10);

/// The id that a standalone server puts into its sessions' top byte, as ZooKeeper's does.
const STANDALONE_SID: u8 = 1;

/// Why the server did not start, or stopped.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// A data directory cannot be used.
    DataDirectory(Box<dyn error::Error>),
    /// What is on disk cannot be made a tree of.
    Recovery(Box<dyn error::Error>),
    /// The client port cannot be listened on.
    Listen {
        /// Where.
        address: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The runtime did not start.
    Runtime(Box<dyn error::Error>),
    /// Going on would have broken a promise.
    Fatal(String),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::DataDirectory(error) | RunError::Recovery(error) => error.fmt(f),
            RunError::Listen { address, source } => write!(f, "cannot listen on {address}: {source}"),
            RunError::Runtime(error) => write!(f, "the io_uring runtime did not start: {error}"),
            RunError::Fatal(reason) => f.write_str(reason),
        }
    }
}

impl error::Error for RunError {}

/// Where the files are. Below ZooKeeper's own `version-2`, in a directory that ZooKeeper does not look into.
struct Places {
    base: PathBuf,
    log_base: PathBuf,
}

impl Places {
    fn new(config: &Config) -> Places {
        let below = |dir: &Path| dir.join("version-2").join("ringkeeper");
        Places { base: below(&config.local.data_dir), log_base: below(&config.local.data_log_dir) }
    }

    fn snapshots(&self) -> PathBuf {
        self.base.join("snapshots")
    }

    fn log(&self) -> PathBuf {
        self.log_base.join("log")
    }
}

/// Runs a standalone server until it is told to stop. `greeting` is printed once it listens.
///
/// # Errors
/// When it cannot start, or had to stop by itself.
pub fn run(config: Config, plan: &Plan, greeting: Option<String>) -> Result<(), RunError> {
    let stop = Stop::on_signals().map_err(|source| RunError::Runtime(source.into()))?;
    let executor = &plan.executors[0];
    let executor = build(executor).map_err(|error| RunError::Runtime(error.to_string().into()))?;
    executor.run(serve(config, plan.to_string(), stop, greeting))
}

/// An executor as the plan has it.
fn build(planned: &tuning::Executor) -> Result<LocalExecutor, glommio::GlommioError<()>> {
    let placement = match &planned.pin {
        Pin::To(cpu) => Placement::Fixed(*cpu),
        Pin::Anywhere => Placement::Unbound,
        Pin::Among(cpus) => Placement::Fenced(CpuSet::online()?.filter(|location| cpus.contains(&location.cpu))),
    };
    let mut builder = LocalExecutorBuilder::new(placement)
        .name("ringkeeper")
        .io_memory(IO_MEMORY_BYTES)
        .ring_depth(RING_DEPTH)
        .preempt_timer(PREEMPT);
    if planned.spin_us > 0 {
        builder = builder.spin_before_park(Duration::from_micros(planned.spin_us.into()));
    }
    builder.make()
}

async fn serve(config: Config, layout: String, stop: Stop, greeting: Option<String>) -> Result<(), RunError> {
    glommio::spawn_local(pulse()).detach();
    let places = Places::new(&config);
    let _locks = lock(&places, &config)?;
    refuse_foreign_data(&config, &places)?;
    let started = Instant::now();
    let recovered = recover(&config, &places).await?;
    let took = started.elapsed();
    tracing::info!(zxid = %recovered.tree.last_zxid(), znodes = recovered.tree.node_count(), sessions = recovered.tree.sessions().len(), ?took, "data loaded");
    let server = Server::new(config, layout, places, recovered, stop.clone(), took)?;
    if let Some(greeting) = greeting {
        println!("{greeting}");
    }
    let reason = stop.wait().await;
    server.end(reason).await
}

fn lock(places: &Places, config: &Config) -> Result<Vec<DirLock>, RunError> {
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
fn refuse_foreign_data(config: &Config, places: &Places) -> Result<(), RunError> {
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
struct Recovery {
    tree: Tree,
    log: Log<OsDisk>,
    snapshots: Snapshots<OsDisk>,
    snapshot_took: Duration,
    log_took: Duration,
    records: u64,
}

async fn recover(config: &Config, places: &Places) -> Result<Recovery, RunError> {
    let fail = |error: Box<dyn error::Error>| RunError::Recovery(error);
    let options = tree_options(&config.ensemble);
    let seed = random();
    let snapshots = Snapshots::open(OsDisk::new(), &places.snapshots()).await.map_err(|error| fail(error.into()))?;
    let started = Instant::now();
    let loaded = snapshots
        .load(|reader| {
            let mut progress = Progress::new("reading the snapshot");
            snapshots::load(reader, seed, options, |done, total| progress.at(done, total))
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
    let (log, recovered) = open_log(config, places, &mut tree).await?;
    if let Some(cut) = &recovered.cut {
        tracing::warn!(path = %cut.path.display(), offset = cut.offset, bytes = cut.len, "cut a torn tail: a write that was never acknowledged");
    }
    Ok(Recovery { tree, log, snapshots, snapshot_took, log_took: started.elapsed(), records: recovered.records })
}

async fn open_log(
    config: &Config,
    places: &Places,
    tree: &mut Tree,
) -> Result<(Log<OsDisk>, storage::Recovered), RunError> {
    let settings = &config.local.storage;
    let mut options = LogOptions::new(places.log(), random());
    // A record holds what a client may send and what preparing adds to it.
    let limits = &config.ensemble;
    let record_max = limits.jute_max_buffer_bytes as usize * 2;
    options.record_len_max = options.record_len_max.max(record_max);
    options.strategy = match settings.strategy {
        LogStrategy::Auto => Strategy::default(),
        LogStrategy::Buffered => Strategy::Buffered,
        LogStrategy::Direct => Strategy::Direct,
        LogStrategy::DirectDsync => Strategy::DirectDsync,
        LogStrategy::Mapped => Strategy::Mapped,
    };
    let options = options.with_segment_len(u64::from(settings.segment_size_kib) * 1024);
    let from = tree.last_zxid().to_u64();
    let mut effects = Effects::deaf();
    let mut mismatches = 0_u64;
    let mut progress = Progress::new("reading the log");
    let opened = Log::open(
        OsDisk::new(),
        options,
        from,
        |_, entry| {
            let txn = codec::txn::decode(entry, None)?;
            tree.apply(&txn, &mut effects);
            mismatches += u64::from(effects.digest_mismatch().is_some());
            effects.clear();
            Ok(())
        },
        |done, total| progress.at(done, total),
    )
    .await;
    if mismatches > 0 {
        tracing::error!(mismatches, "transactions in the log carry another digest than the tree has after them");
    }
    opened.map_err(|error| RunError::Recovery(error.into()))
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

/// A serving standalone server.
struct Server {
    frontend: Rc<RefCell<Frontend>>,
    replica: Rc<RefCell<Replica>>,
    log: Rc<ServerLog>,
    stop: Stop,
    drain_max: Duration,
    accepting: glommio::task::JoinHandle<io::Result<()>>,
}

impl Server {
    fn new(
        config: Config,
        layout: String,
        places: Places,
        recovered: Recovery,
        stop: Stop,
        took: Duration,
    ) -> Result<Server, RunError> {
        let now = Now::read();
        let settings = Rc::new(ServeSettings::new(config, layout, &places.base, &places.log_base, now.monotonic));
        let config = &settings.config;
        let tree = Rc::new(RefCell::new(recovered.tree));
        let log = Rc::new(ServerLog::new(recovered.log));
        let sessions = SessionTracker::new(settings.tick_time_ms);
        let first_session = tree::session::first_session_id(STANDALONE_SID, now.wall.to_i64().unsigned_abs());
        let replica =
            Replica::new(Rc::clone(&tree), Rc::clone(&log), settings.prep(), sessions, first_session, now.monotonic);
        let replica = Rc::new(RefCell::new(replica));
        let frontend = Frontend::new(0, Rc::clone(&settings), Rc::clone(&tree), Rc::clone(&replica));
        let frontend = Rc::new(RefCell::new(frontend));
        note_start(&frontend, took, recovered.snapshot_took, recovered.log_took, recovered.records);
        let pool = Pool::new();
        let listener = listen(config, &pool)?;
        let pipeline = Pipeline {
            replica: Rc::clone(&replica),
            log: Rc::clone(&log),
            frontend: Rc::clone(&frontend),
            durable: Rc::new(Notify::default()),
            stop: stop.clone(),
            force_sync: config.local.storage.force_sync,
            sync_warning: Duration::from_millis(config.local.storage.sync_warning_ms.into()),
        };
        glommio::spawn_local(pipeline.clone().sync()).detach();
        glommio::spawn_local(pipeline.clone().apply()).detach();
        glommio::spawn_local(pipeline.prepare_segments()).detach();
        glommio::spawn_local(step_listings(Rc::clone(&frontend))).detach();
        Housekeeping {
            settings: Rc::clone(&settings),
            frontend: Rc::clone(&frontend),
            replica: Rc::clone(&replica),
            tree,
            log: Rc::clone(&log),
            snapshots: RefCell::new(recovered.snapshots),
            snapshot_dir: places.snapshots(),
            recovered_records: recovered.records,
        }
        .spawn();
        let handshaking = connections::Handshaking::default();
        let timeout_ms = i64::from(config.local.sessionless_timeout_ms);
        glommio::spawn_local(connections::expire_handshakes(Rc::clone(&frontend), Rc::clone(&handshaking), timeout_ms))
            .detach();
        let accepting =
            glommio::spawn_local(connections::accept(Rc::clone(&frontend), listener, pool, handshaking)).detach();
        let drain_max = Duration::from_millis(config.local.request_throttle.shutdown_timeout_ms.into());
        Ok(Server { frontend, replica, log, stop, drain_max, accepting })
    }

    /// Stops accepting, lets what is in flight become durable and answered, closes every connection.
    async fn end(self, reason: Reason) -> Result<(), RunError> {
        self.accepting.cancel();
        let signal = match reason {
            Reason::Fatal(reason) => return Err(RunError::Fatal(reason)),
            Reason::Signal(name) => name,
        };
        let in_flight = self.replica.borrow().outstanding();
        tracing::info!(signal, in_flight, "stopping: nothing new is taken");
        self.replica.borrow_mut().stop_accepting();
        let deadline = Instant::now() + self.drain_max;
        while self.replica.borrow().outstanding() > 0 && Instant::now() < deadline {
            if let Some(Reason::Fatal(reason)) = self.stop.reason() {
                return Err(RunError::Fatal(reason));
            }
            sleep(Duration::from_millis(1)).await;
        }
        // The last answers have been handed to the kernel; a moment for clients that read slowly.
        self.frontend.borrow_mut().flush_dirty();
        sleep(Duration::from_millis(10)).await;
        self.frontend.borrow_mut().finish_all();
        if self.log.log().pending() > 0 {
            return Err(RunError::Fatal(
                "stopped before the log was synced: the disk did not answer in time".to_owned(),
            ));
        }
        tracing::info!("stopped");
        Ok(())
    }
}

fn note_start(frontend: &Rc<RefCell<Frontend>>, all: Duration, snapshot: Duration, log: Duration, records: u64) {
    let metrics = &mut frontend.borrow_mut().metrics;
    metrics.note(Summary::DbInit, all.as_millis() as u64);
    metrics.note(Summary::SnapLoad, snapshot.as_millis() as u64);
    metrics.note(Summary::TxnsLoad, log.as_millis() as u64);
    metrics.note(Summary::TxnsLoaded, records);
}

fn listen(config: &Config, pool: &Rc<Pool>) -> Result<Listener, RunError> {
    let local = &config.local;
    let address = match local.client_address {
        Some(address) => ListenAddress::At(SocketAddr::new(address, local.client_port)),
        None => ListenAddress::Any { port: local.client_port },
    };
    let mut options = ListenOptions {
        connection: ConnectionOptions { keepalive: local.client_tcp_keep_alive },
        ..ListenOptions::default()
    };
    if let Some(backlog) = local.listen_backlog {
        options.backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    }
    Listener::bind(address, &options, pool).map_err(|source| {
        let address = local.client_address.map_or_else(|| "every address".to_owned(), |address| address.to_string());
        RunError::Listen { address: format!("{address}, port {}", local.client_port), source }
    })
}

/// An event every now and then; see [`PREEMPT`].
async fn pulse() {
    loop {
        sleep(PULSE).await;
    }
}

async fn step_listings(frontend: Rc<RefCell<Frontend>>) {
    let work = Rc::clone(&frontend.borrow().listing_work);
    loop {
        work.wait().await;
        while frontend.borrow_mut().step_listings(Now::read()) {
            clock::let_others_go().await;
        }
    }
}
