//! The host, as far as figures depend on it: CPU, kernel, load, and how long the disk takes to sync.

use std::fmt::{self, Display};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::NamedTempFile;

use crate::fleet::{histogram, record};
use crate::throughput::millis;

/// Syncs that are timed.
const SYNCS: u64 = 500;
/// What is written before each: a small transaction.
const SYNC_BYTES: usize = 512;

/// What a reader of figures wants to know.
#[derive(Clone, Debug)]
pub struct Host {
    cpu: String,
    cpus: usize,
    kernel: String,
    load: String,
    sync_us: [f64; 2],
}

impl Host {
    /// Looks at this one, syncing a file below `base`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read(base: &Path) -> io::Result<Self> {
        let info = fs::read_to_string("/proc/cpuinfo")?;
        let cpu = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
        Ok(Self {
            cpu: cpu.trim_start_matches([' ', '\t', ':']).to_owned(),
            cpus: std::thread::available_parallelism()?.get(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            load: load_average()?,
            sync_us: sync_latency(base)?,
        })
    }
}

impl Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, cpus, kernel, load, sync_us: [p50, p99] } = self;
        write!(
            f,
            "{cpus} CPUs ({cpu}), Linux {kernel}, load average {load}; \
             {SYNC_BYTES} B written over + fdatasync: p50 {p50:.0} us, p99 {p99:.0} us"
        )
    }
}

/// Of the last minute.
///
/// # Errors
/// The kernel's.
pub fn load_average() -> io::Result<String> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').next().unwrap_or_default().to_owned())
}

/// p50 and p99 in µs of a write and a sync into written space.
fn sync_latency(base: &Path) -> io::Result<[f64; 2]> {
    let file = NamedTempFile::new_in(base)?;
    let file: &File = file.as_file();
    let block = [1; SYNC_BYTES];
    let offset = |sync: u64| sync * SYNC_BYTES as u64;
    (0..SYNCS).try_for_each(|sync| file.write_all_at(&block, offset(sync)))?;
    file.sync_all()?;
    let mut latencies = histogram();
    for sync in 0..SYNCS {
        let begin = Instant::now();
        file.write_all_at(&block, offset(sync))?;
        file.sync_data()?;
        record(&mut latencies, begin.elapsed());
    }
    Ok([0.5, 0.99].map(|quantile| millis(latencies.value_at_quantile(quantile)) * 1e3))
}

/// Lets this process and its servers open so many descriptors, as far as the kernel allows it.
///
/// # Errors
/// When neither the soft nor the hard limit can be that high.
pub fn allow_descriptors(count: u64) -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= count) {
        return Ok(());
    }
    let maximum = limit.maximum.map(|maximum| maximum.max(count));
    setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum })?;
    Ok(())
}
