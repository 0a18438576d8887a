//! Three members on one machine: how much they take together, and what one client feels.
//!
//! One iteration is one request. Connections are spread over the members, as clients would be; the single client asks each
//! member in turn, and its figure is the mean of the three medians, as nobody chooses whom a client gets.

use std::io;
use std::time::{Duration, Instant};

use crate::Setup;
use crate::client::Client;
use crate::fleet::{DATA, Fleet, Mix, NODES, Requests, Until, histogram, record};
use crate::report::Report;
use crate::request::{PARENT, Template};
use crate::server::{Program, Server};
use crate::throughput::{millis, warm_up};

/// Members.
const MEMBERS: usize = 3;
/// Connections while the tree is filled, and requests on each.
const FILL: (usize, usize) = (15, 32);

/// One round of one program.
///
/// # Errors
/// The kernel's, or the server's code.
pub fn round(program: &Program, setup: &Setup, report: &mut Report) -> io::Result<()> {
    let members = Server::start_members(program, &setup.base, MEMBERS)?;
    Client::connect(members[0].address())?.ask(&Template::create_at(PARENT, &DATA), 0)?;
    let mut requests = Requests::new(NODES, 0);
    fleet(&members, FILL.0)?.closed_loop(&mut requests, Mix::Create, FILL.1, Until::Count(NODES.into()))?;
    let mut fleet = fleet(&members, setup.connections)?;
    warm_up(&mut fleet, &mut requests, setup)?;
    for (mix, name) in [(Mix::Get, "get"), (Mix::Set, "set"), (Mix::Create, "create")] {
        let outcome = fleet.closed_loop(&mut requests, mix, setup.outstanding, Until::Elapsed(setup.time))?;
        report.add(program, &format!("three: {name}, 1/s"), outcome.rate());
        report.add(program, &format!("three: {name}, p99 ms"), millis(outcome.latencies.value_at_quantile(0.99)));
        report.add(program, &format!("three: {name}, generator's CPU"), outcome.generator_share);
    }
    drop(fleet);
    for (template, name) in [(Template::set(&DATA), "set"), (Template::read(), "get")] {
        let mut medians = Vec::new();
        for member in &members {
            medians.push(alone(member, &template, setup.time / 3)?);
        }
        report.add(program, &format!("three: one client, {name} p50 us"), medians.iter().sum::<f64>() / 3.0);
    }
    Ok(())
}

fn fleet(members: &[Server], count: usize) -> io::Result<Fleet> {
    let clients = (0..count).map(|at| Client::connect(members[at % members.len()].address()));
    Fleet::of(clients.collect::<io::Result<_>>()?)
}

/// The median of a client that is alone, us.
fn alone(member: &Server, template: &Template, time: Duration) -> io::Result<f64> {
    let mut client = Client::connect(member.address())?;
    let mut latencies = histogram();
    let begin = Instant::now();
    for number in (0..NODES).cycle() {
        if begin.elapsed() >= time {
            break;
        }
        record(&mut latencies, client.ask(template, number)?);
    }
    client.close();
    Ok(millis(latencies.value_at_quantile(0.5)) * 1e3)
}
