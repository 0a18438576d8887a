//! Latency: what one client feels alone, and what many feel at a moderate rate.
//!
//! One iteration is one request. Alone: a blocking client, one request after the other. At a rate: a Poisson process
//! over several connections, latency from the intended moment of sending.

use std::io;
use std::time::Instant;

use crate::Setup;
use crate::client::Client;
use crate::fleet::{DATA, Fleet, Mix, NODES, Requests, histogram, record};
use crate::report::Report;
use crate::request::Template;
use crate::server::{Program, Server};
use crate::throughput::{fill, millis, warm_up};

/// Connections that share the moderate rate.
const RATE_CONNECTIONS: usize = 16;

/// One round of one program.
///
/// # Errors
/// The kernel's, or the server's code.
pub fn round(program: &Program, setup: &Setup, report: &mut Report) -> io::Result<()> {
    let server = Server::start(program, &setup.base, "")?;
    let mut requests = fill(&server, NODES)?;
    warm_up(&mut Fleet::connect(server.address(), setup.connections)?, &mut requests, setup)?;
    for (template, name) in [(Template::set(&DATA), "set"), (Template::read(), "get")] {
        alone(&server, setup, report, &template, name)?;
    }
    at_rate(&server, setup, report, &mut requests)
}

fn alone(server: &Server, setup: &Setup, report: &mut Report, template: &Template, name: &str) -> io::Result<()> {
    let mut client = Client::connect(server.address())?;
    let mut latencies = histogram();
    let begin = Instant::now();
    for number in (0..NODES).cycle() {
        if begin.elapsed() >= setup.time {
            break;
        }
        record(&mut latencies, client.ask(template, number)?);
    }
    for (quantile, label) in [(0.5, "p50"), (0.99, "p99")] {
        let value = millis(latencies.value_at_quantile(quantile)) * 1e3;
        report.add(server.program(), &format!("one client, {name} {label} us"), value);
    }
    client.close();
    Ok(())
}

fn at_rate(server: &Server, setup: &Setup, report: &mut Report, requests: &mut Requests) -> io::Result<()> {
    let mut fleet = Fleet::connect(server.address(), RATE_CONNECTIONS)?;
    let outcome = fleet.open_loop(requests, Mix::Set, setup.rate, setup.time)?;
    for (quantile, label) in [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9"), (1.0, "max")] {
        let value = millis(outcome.latencies.value_at_quantile(quantile));
        report.add(server.program(), &format!("{:.0} set/s, {label} ms", setup.rate), value);
    }
    Ok(())
}
