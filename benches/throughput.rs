//! Saturation: how many requests per second, with a window of requests outstanding on every connection.
//!
//! One iteration is one request of a closed loop. Per round and program: a fresh server, a warm-up of all kinds of
//! requests, then get, set, mixed and create for the same time each. create is last, as it makes the tree larger.

use std::io;
use std::time::Duration;

use crate::Setup;
use crate::client::Client;
use crate::fleet::{DATA, Fleet, Mix, NODES, Outcome, Requests, Until};
use crate::report::Report;
use crate::request::{PARENT, Template};
use crate::server::{Program, Server};

/// Connections while a tree is filled.
const FILL_CONNECTIONS: usize = 16;
/// Outstanding on each of them.
const FILL_WINDOW: usize = 32;

/// Makes the load's parent and nodes 0 to `nodes`, and gives the rest of the names.
///
/// # Errors
/// The kernel's, or the server's code.
pub fn fill(server: &Server, nodes: u32) -> io::Result<Requests> {
    Client::connect(server.address())?.ask(&Template::create_at(PARENT, &DATA), 0)?;
    let mut requests = Requests::new(nodes, 0);
    let mut fleet = Fleet::connect(server.address(), FILL_CONNECTIONS)?;
    fleet.closed_loop(&mut requests, Mix::Create, FILL_WINDOW, Until::Count(nodes.into()))?;
    Ok(requests)
}

/// Lets a JVM compile what it will need, and both fill their buffers.
///
/// # Errors
/// As `fill`.
pub fn warm_up(fleet: &mut Fleet, requests: &mut Requests, setup: &Setup) -> io::Result<()> {
    for mix in [Mix::Set, Mix::Get, Mix::Create, Mix::Mixed] {
        fleet.closed_loop(requests, mix, setup.outstanding, Until::Elapsed(setup.warm_up / 4))?;
    }
    Ok(())
}

/// One round of one program.
///
/// # Errors
/// As `fill`.
pub fn round(program: &Program, setup: &Setup, report: &mut Report) -> io::Result<()> {
    let server = Server::start(program, &setup.base, "")?;
    let mut requests = fill(&server, NODES)?;
    let mut fleet = Fleet::connect(server.address(), setup.connections)?;
    warm_up(&mut fleet, &mut requests, setup)?;
    for (mix, name) in [(Mix::Get, "get"), (Mix::Set, "set"), (Mix::Mixed, "mixed 3:1"), (Mix::Create, "create")] {
        let cpu_begin = server.cpu_time()?;
        let outcome = fleet.closed_loop(&mut requests, mix, setup.outstanding, Until::Elapsed(setup.time))?;
        let cpu = server.cpu_time()? - cpu_begin;
        add(report, program, name, &outcome, cpu);
    }
    Ok(())
}

fn add(report: &mut Report, program: &Program, name: &str, outcome: &Outcome, cpu: Duration) {
    report.add(program, &format!("{name}, 1/s"), outcome.rate());
    report.add(program, &format!("{name}, p99 ms"), millis(outcome.latencies.value_at_quantile(0.99)));
    report.add(program, &format!("{name}, server's CPU us each"), cpu.as_secs_f64() * 1e6 / outcome.answered());
    report.add(program, &format!("{name}, server's CPUs"), cpu.as_secs_f64() / outcome.elapsed.as_secs_f64());
    report.add(program, &format!("{name}, generator's CPU"), outcome.generator_share);
}

/// From ns.
#[expect(clippy::cast_precision_loss, reason = "a latency in ns stays below 2^52")]
pub fn millis(ns: u64) -> f64 {
    ns as f64 / 1e6
}
