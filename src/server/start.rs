//! Start and stop: from a plan to executors that serve, and back to a quiet disk.
//!
//! Flow       wire -> one thread per executor (`executor::live`) -> (signal) -> every executor ends -> exit.
//! Invariant  nothing is served before everything that was ever acknowledged is in every tree; on a signal nothing new is
//!            taken, what is in flight is made durable and answered, and the process ends with 0.

use std::sync::Arc;
use std::time::Duration;
use std::{error, fmt, io, process, thread};

use glommio::timer::sleep;
use glommio::{CpuSet, LocalExecutor, LocalExecutorBuilder, Placement};
use tuning::{Pin, Plan, Role};

use super::berth::{self, Berth};
use super::executor::{Common, live};
use super::frontend::words::TRACE_MASK_DEFAULT;
use super::link::{ACCEPTED_MAX, Endpoint, LinkSettings};
use super::shared::Shared;
use super::signals::{Reason, Stop};
use crate::config::{Config, Membership};

/// Memory for direct I/O, registered with the ring. glommio's default of 10 MiB is above the usual limit of locked
/// memory (8 MiB), and a log batch needs little.
const IO_MEMORY_BYTES: usize = 4 << 20;

/// The same where neither the log nor the replica, which writes snapshots, lives: only sockets, which need none.
const IO_MEMORY_SERVE_BYTES: usize = 64 << 10;

/// glommio 0.9 loses a turn: when its preemption timer fires, or its count of completions is reached, between looking at
/// the ring and running tasks, `run_task_queues` runs none and says there were none, and the executor sleeps beside
/// runnable tasks until the next event. So the timer never fires (nothing here runs long without giving way, see
/// `clock::let_others_go`), the count is out of reach of all but thousands of completions at once, and a pulse bounds
/// what is left. With a timer of 500 us, 7 of 12 runs of 768 direct writes hung on a busy host; so, none of 12.
const PREEMPT: Duration = Duration::from_secs(3600);
const RING_DEPTH: usize = 1024;
const PULSE: Duration = Duration::from_millis(25);

/// Exit code of a thread that panicked, as of a process whose main thread does.
const PANIC_EXIT: i32 = 101;

/// Why the server did not start, or stopped.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError {
    /// A data directory cannot be used.
    DataDirectory(Box<dyn error::Error + Send + Sync>),
    /// What is on disk cannot be made a tree of.
    Recovery(Box<dyn error::Error + Send + Sync>),
    /// The client port cannot be listened on.
    Listen {
        /// Where.
        address: String,
        /// The kernel's reason.
        source: io::Error,
    },
    /// The runtime did not start.
    Runtime(Box<dyn error::Error + Send + Sync>),
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

/// Runs a server until it is told to stop. `greeting` is printed once it listens.
///
/// # Errors
/// When it cannot start, or had to stop by itself.
pub fn run(config: Config, plan: &Plan, greeting: Option<String>) -> Result<(), RunError> {
    let stop = Stop::on_signals().map_err(|source| RunError::Runtime(source.into()))?;
    let serve_cores = plan.holders(Role::Serve).count();
    let link = config.membership.as_ref().map(link_settings);
    let has_peers = config.membership.is_some();
    let common = Common {
        config,
        layout: plan.to_string(),
        greeting,
        stop,
        shared: Arc::new(Shared::new(serve_cores, TRACE_MASK_DEFAULT)),
        serve_cores,
        link,
        has_peers,
    };
    follow(plan, common)
}

/// Starts the executors of a plan, and waits until all have ended.
fn follow(plan: &Plan, common: Common) -> Result<(), RunError> {
    let mut berths = berth::wire(plan);
    if let ([executor], 1) = (plan.executors.as_slice(), berths.len()) {
        let berth = berths.remove(0);
        let executor = builder(executor)?.make().map_err(|error| RunError::Runtime(error.to_string().into()))?;
        return finish(vec![executor_run(&executor, common, berth)]);
    }
    let mut threads = Vec::new();
    for (executor, berth) in plan.executors.iter().zip(berths) {
        let (builder, common) = (builder(executor)?, common.clone());
        let thread = thread::Builder::new().name(thread_name(executor)).spawn(move || {
            let _guard = EndProcessOnPanic;
            let stop = common.stop.clone();
            let ended = builder
                .make()
                .map_err(|error| RunError::Runtime(error.to_string().into()))
                .and_then(|executor| executor_run(&executor, common, berth));
            if let Err(error) = &ended {
                stop.set(Reason::Fatal(error.to_string()));
            }
            ended
        });
        threads.push(thread.map_err(|source| RunError::Runtime(source.into()))?);
    }
    finish(threads.into_iter().map(|thread| thread.join().expect("a panic has ended the process")).collect())
}

/// Where a member listens for the others.
fn link_settings(membership: &Membership) -> LinkSettings {
    let me = membership.me();
    let host = (!membership.listen.on_all_addresses).then(|| me.host.clone());
    let endpoint = |port| vec![Endpoint { host: host.clone(), port }];
    LinkSettings {
        election: endpoint(me.election_port),
        quorum: endpoint(me.quorum_port),
        bind_retries: membership.listen.bind_retries,
        keepalive: membership.listen.keep_alive,
        accepted_max: ACCEPTED_MAX,
    }
}

fn executor_run(executor: &LocalExecutor, common: Common, berth: Berth) -> Result<(), RunError> {
    executor.run(async {
        glommio::spawn_local(pulse()).detach();
        live(common, berth).await
    })
}

/// An event every now and then; see [`PREEMPT`].
async fn pulse() {
    loop {
        sleep(PULSE).await;
    }
}

/// What all executors came to. An executor that stops because another has failed says so as `Fatal`: the other knows why.
fn finish(ended: Vec<Result<(), RunError>>) -> Result<(), RunError> {
    let (fatal, others): (Vec<_>, Vec<_>) =
        ended.into_iter().filter_map(Result::err).partition(|error| matches!(error, RunError::Fatal(_)));
    match others.into_iter().chain(fatal).next() {
        Some(error) => Err(error),
        None => {
            tracing::info!("stopped");
            Ok(())
        }
    }
}

/// A role that is gone would leave the others waiting for it: the process ends as if its only thread had panicked.
struct EndProcessOnPanic;

impl Drop for EndProcessOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            process::exit(PANIC_EXIT);
        }
    }
}

/// As the kernel shows it, which takes 15 bytes.
fn thread_name(executor: &tuning::Executor) -> String {
    let roles: Vec<&str> = executor.roles.iter().map(|role| role.name()).collect();
    let mut name = roles.join("+");
    name.truncate(15);
    name
}

/// An executor as the plan has it.
fn builder(planned: &tuning::Executor) -> Result<LocalExecutorBuilder, RunError> {
    let online = || CpuSet::online().map_err(|error| RunError::Runtime(error.to_string().into()));
    let placement = match &planned.pin {
        Pin::To(cpu) => Placement::Fixed(*cpu),
        Pin::Anywhere => Placement::Unbound,
        Pin::Among(cpus) => Placement::Fenced(online()?.filter(|location| cpus.contains(&location.cpu))),
    };
    let has_files = planned.holds(Role::Log) || planned.holds(Role::Replica);
    let io_memory = if has_files { IO_MEMORY_BYTES } else { IO_MEMORY_SERVE_BYTES };
    let mut builder = LocalExecutorBuilder::new(placement)
        .name("ringkeeper")
        .io_memory(io_memory)
        .ring_depth(RING_DEPTH)
        .preempt_timer(PREEMPT);
    if planned.spin_us > 0 {
        builder = builder.spin_before_park(Duration::from_micros(planned.spin_us.into()));
    }
    Ok(builder)
}

#[cfg(test)]
mod tests;
