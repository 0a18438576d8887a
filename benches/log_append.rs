//! How long an acknowledged append takes, by each way to the disk.
//!
//! One iteration: append 1 or 64 records of 128 to 512 bytes and sync, through the log and the executor that the server
//! uses. The strategies take turns in short rounds of one run, so that a change of the machine's mood hits all of them;
//! each round reports its median, and the table shows min, median and max of those, and the 99th percentile of all.
//!
//! Three situations, as they rank the strategies differently: back to back; paced, when everything has gone to sleep
//! between two writes; and crowded, with a busy thread per CPU, as on a machine that clients share.
//!
//! `cargo bench --bench log_append [-- <directory>]`. Under `cargo test` it runs a few iterations only.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use criterion::Criterion;
use glommio::timer::sleep;
use glommio::{LocalExecutorBuilder, Placement};
use storage::{Log, LogOptions, OsDisk, Strategy};

/// How much of it to do.
#[derive(Clone, Copy)]
struct Size {
    rounds: usize,
    iterations: usize,
}

const SMALL: Size = Size { rounds: 1, iterations: 3 };
const FULL: Size = Size { rounds: 9, iterations: 150 };

/// Long enough that a round seldom goes on to another segment, short enough that making one isn't most of the run.
fn segment_len(batch: usize) -> u64 {
    if batch == 1 { 1 << 20 } else { 8 << 20 }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Situation {
    BackToBack,
    Paced,
    Crowded,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let size = if arguments.iter().any(|argument| argument == "--bench") { FULL } else { SMALL };
    let directory = arguments.iter().find(|argument| !argument.starts_with('-'));
    let base = directory.map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(base).expect("a directory to write in");
    print_host(dir.path());
    for situation in [Situation::BackToBack, Situation::Paced, Situation::Crowded] {
        for batch in [1, 64] {
            compare(dir.path(), situation, batch, size);
        }
    }
    if size.rounds == FULL.rounds {
        track(dir.path());
    }
}

/// All strategies, in turns.
fn compare(dir: &Path, situation: Situation, batch: usize, size: Size) {
    let crowd = Crowd::gather(situation);
    let mut rounds: Vec<Vec<Vec<u64>>> = vec![Vec::new(); Strategy::ALL.len()];
    for _ in 0..size.rounds {
        for (of_strategy, strategy) in rounds.iter_mut().zip(Strategy::ALL) {
            of_strategy.push(round(dir, strategy, situation, batch, size));
        }
    }
    crowd.disperse();
    println!("\n{situation:?}, {batch} records a batch, {} rounds of {}, us:", size.rounds, size.iterations);
    println!("{:>14} {:>9} {:>9} {:>9} {:>9}", "strategy", "min", "median", "max", "p99");
    for (of_strategy, strategy) in rounds.iter().zip(Strategy::ALL) {
        let mut medians: Vec<u64> = of_strategy.iter().map(|round| quantile(round, 50)).collect();
        medians.sort_unstable();
        let all: Vec<u64> = of_strategy.concat();
        let figures = [medians[0], quantile(&medians, 50), medians[medians.len() - 1], quantile(&all, 99)];
        let [min, median, max, p99] = figures.map(|nanos| nanos as f64 / 1000.0);
        println!("{:>14} {min:9.1} {median:9.1} {max:9.1} {p99:9.1}", strategy.name());
    }
}

/// One round: a new log, some iterations to warm up, then the measured ones. Nanoseconds of each.
fn round(dir: &Path, strategy: Strategy, situation: Situation, batch: usize, size: Size) -> Vec<u64> {
    let dir = dir.join(strategy.name());
    let (times, dir) = on_executor(move || async move {
        let log = open(&dir, strategy, segment_len(batch)).await;
        let mut times = Vec::with_capacity(size.iterations);
        for number in 0..size.iterations + size.iterations / 5 {
            if situation == Situation::Paced {
                sleep(Duration::from_micros(700 + 613 * (number as u64 % 5))).await;
            }
            log.prepare_next().await.expect("room for the next segment");
            let begin = Instant::now();
            append(&log, batch);
            log.sync().await.expect("a sync");
            times.push(begin.elapsed().as_nanos() as u64);
        }
        (times.split_off(size.iterations / 5), dir)
    });
    std::fs::remove_dir_all(dir).expect("the round's log to be removed");
    times
}

async fn open(dir: &Path, strategy: Strategy, segment_len: u64) -> Log<OsDisk> {
    let mut options = LogOptions::new(dir, 1);
    options.record_len_max = 64 * 1024;
    options.strategy = strategy;
    let options = options.with_segment_len(segment_len);
    let opened = Log::open(OsDisk::new(), options, 0, |_, _| Ok(()), |_, _| ()).await;
    opened.expect("a log to append to").0
}

fn append(log: &Log<OsDisk>, batch: usize) {
    let payload = [0x5A; 512];
    for _ in 0..batch {
        let seq = log.last_seq() + 1;
        let len = 128 + (seq as usize * 89) % 385;
        log.append(seq, &payload[..len]).expect("room in the log");
    }
}

/// Criterion's history of the default, for comparison between commits.
fn track(dir: &Path) {
    let mut criterion = Criterion::default().sample_size(20).without_plots();
    for batch in [1usize, 64] {
        criterion.bench_function(&format!("log_append/{batch}"), |bencher| {
            bencher.iter_custom(|iterations| {
                let dir = dir.join("tracked");
                let (elapsed, dir) = on_executor(move || async move {
                    let log = open(&dir, Strategy::default(), segment_len(64)).await;
                    let mut elapsed = Duration::ZERO;
                    for _ in 0..iterations {
                        log.prepare_next().await.expect("room for the next segment");
                        log.purge_before(log.durable_seq()).await.expect("a purge");
                        let begin = Instant::now();
                        append(&log, batch);
                        log.sync().await.expect("a sync");
                        elapsed += begin.elapsed();
                    }
                    (elapsed, dir)
                });
                std::fs::remove_dir_all(dir).expect("the log to be removed");
                elapsed
            });
        });
    }
}

fn on_executor<T, F, R>(run: F) -> T
where
    T: Send + 'static,
    F: FnOnce() -> R + Send + 'static,
    R: Future<Output = T> + 'static,
{
    let executor = LocalExecutorBuilder::new(Placement::Unbound).spawn(run).expect("an executor");
    executor.join().expect("the run to end")
}

/// Threads that use up the machine.
struct Crowd {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Crowd {
    fn gather(situation: Situation) -> Crowd {
        let stop = Arc::new(AtomicBool::new(false));
        let cpus = thread::available_parallelism().map_or(1, |cpus| cpus.get());
        let count = if situation == Situation::Crowded { cpus } else { 0 };
        let busy = |_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        };
        let threads = (0..count).map(busy).collect();
        Crowd { stop, threads }
    }

    fn disperse(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a busy thread ends");
        }
    }
}

fn quantile(values: &[u64], percent: usize) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() - 1) * percent / 100]
}

fn print_host(dir: &Path) {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let model = read("/proc/cpuinfo").lines().find_map(|line| line.strip_prefix("model name").map(str::to_owned));
    let cpus = thread::available_parallelism().map_or(0, |cpus| cpus.get());
    println!("host    {} CPUs{}", cpus, model.map_or_else(String::new, |model| model.replace("\t:", ",")));
    println!("kernel  {}", read("/proc/sys/kernel/osrelease"));
    println!("load    {}", read("/proc/loadavg"));
    println!("target  {}", dir.display());
}
