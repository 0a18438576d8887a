//! End to end: Ringkeeper and ZooKeeper 3.9.5 under the same load, in turns, in one run.
//!
//! Flow       for each experiment and each round: one program, then the other -> a table of medians.
//!            `cargo bench -p ringkeeper-benches --bench cluster -- saturate latency --rounds 5`
//! Invariant  without `--bench` (as `cargo test` runs it) everything happens once, small, against Ringkeeper only, so
//!            that this cannot rot.
//! Absent     a threshold: figures are for people, and depend on the host that is printed with them.
//!
//! Called with `server` it *is* the server: what is measured is what was compiled, never a stale binary. `--server`
//! names another.

use std::env;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use benches::host::{self, Host};
use benches::report::Report;
use benches::server::Program;
use benches::{Setup, idle, latency, million, stall, three, throughput};
use clap::{Parser, ValueEnum};

/// Compares Ringkeeper with ZooKeeper 3.9.5, end to end.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure; all if nothing is named.
    experiments: Vec<Experiment>,
    /// Rounds of each experiment; the programs take turns.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds per measurement.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Seconds of warm-up of each fresh server.
    #[arg(long, default_value_t = 12.0)]
    warm_up: f64,
    /// Connections at saturation.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Requests outstanding on each of them.
    #[arg(long, default_value_t = 16)]
    outstanding: usize,
    /// Sets per second of the moderate rate.
    #[arg(long, default_value_t = 4_000.0)]
    rate: f64,
    /// Idle sessions.
    #[arg(long, default_value_t = 10_000)]
    sessions: usize,
    /// Watchers of one node.
    #[arg(long, default_value_t = 10_000)]
    watchers: usize,
    /// Measures only one of them.
    #[arg(long)]
    only: Option<Only>,
    /// A Ringkeeper binary; by default the server that was compiled into this one.
    #[arg(long)]
    server: Option<PathBuf>,
    /// Where the servers' directories are made.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Experiment {
    Saturate,
    Latency,
    Million,
    Idle,
    Stall,
    Three,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Only {
    Ringkeeper,
    Zookeeper,
}

fn main() -> ExitCode {
    if env::args().nth(1).is_some_and(|argument| argument == "server") {
        return ringkeeper::command::run();
    }
    match measure(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> io::Result<()> {
    let setup = if arguments.bench { setup(arguments) } else { Setup::small() };
    let descriptors = arguments.sessions.max(arguments.watchers) + 1_000;
    host::allow_descriptors(descriptors as u64)?;
    println!("{}", Host::read(&setup.base)?);
    let programs = programs(arguments)?;
    for experiment in Experiment::value_variants() {
        if arguments.experiments.is_empty() || arguments.experiments.contains(experiment) {
            println!("\n{}", compare(*experiment, &programs, &setup)?);
        }
    }
    println!("load average at the end: {}", host::load_average()?);
    Ok(())
}

fn compare(experiment: Experiment, programs: &[Program], setup: &Setup) -> io::Result<Report> {
    let mut report = Report::default();
    for round in 1..=setup.rounds {
        eprintln!("{experiment:?}, round {round}");
        for program in programs {
            match experiment {
                Experiment::Saturate => throughput::round(program, setup, &mut report)?,
                Experiment::Latency => latency::round(program, setup, &mut report)?,
                Experiment::Million => million::round(program, setup, &mut report)?,
                Experiment::Idle => idle::round(program, setup, &mut report)?,
                Experiment::Stall => stall::round(program, setup, &mut report)?,
                Experiment::Three => three::round(program, setup, &mut report)?,
            }
        }
    }
    Ok(report)
}

fn setup(arguments: &Arguments) -> Setup {
    Setup {
        base: arguments.directory.clone().unwrap_or_else(env::temp_dir),
        rounds: arguments.rounds,
        time: Duration::from_secs_f64(arguments.seconds),
        warm_up: Duration::from_secs_f64(arguments.warm_up),
        connections: arguments.connections,
        outstanding: arguments.outstanding,
        rate: arguments.rate,
        million: 1_000_000,
        sessions: arguments.sessions,
        watchers: arguments.watchers,
    }
}

fn programs(arguments: &Arguments) -> io::Result<Vec<Program>> {
    let ours = Program::Ringkeeper(match &arguments.server {
        Some(path) => path.clone(),
        None => env::current_exe()?,
    });
    Ok(match arguments.only {
        None if arguments.bench => vec![ours, Program::ZooKeeper],
        None | Some(Only::Ringkeeper) => vec![ours],
        Some(Only::Zookeeper) => vec![Program::ZooKeeper],
    })
}
