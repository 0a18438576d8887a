//! Idle sessions: what each costs the server, and whether the others slow down one that works.
//!
//! One iteration is one fleet of sessions that only exist. Kernel memory of sockets is not in a process's RSS.

use std::io;
use std::time::Instant;

use crate::Setup;
use crate::client::Client;
use crate::fleet::{NODES, histogram, record};
use crate::million::mebibytes;
use crate::report::Report;
use crate::request::Template;
use crate::server::{Program, Server};
use crate::throughput::{fill, millis};

/// Gets of the session that works, each time.
const GETS: u32 = 20_000;

/// One round of one program.
///
/// # Errors
/// The kernel's, or the server's code.
pub fn round(program: &Program, setup: &Setup, report: &mut Report) -> io::Result<()> {
    let server = Server::start(program, &setup.base, "")?;
    fill(&server, NODES)?;
    let mut worker = Client::connect(server.address())?;
    gets(&mut worker, program, "get p99 us without idle sessions", report)?;
    let before = server.resident_bytes()?;
    let begin = Instant::now();
    let sessions = (0..setup.sessions).map(|_| Client::connect(server.address())).collect::<io::Result<Vec<_>>>()?;
    let connecting = begin.elapsed();
    let after = server.resident_bytes()?;
    report.add(program, "sessions made, 1/s", count(setup.sessions) / connecting.as_secs_f64());
    report.add(program, "RSS before, MiB", mebibytes(before));
    report.add(program, "RSS with idle sessions, MiB", mebibytes(after));
    let per_session = mebibytes(after.saturating_sub(before)) * 1024.0 / count(setup.sessions);
    report.add(program, "RSS per idle session, KiB", per_session);
    gets(&mut worker, program, "get p99 us with idle sessions", report)?;
    drop(sessions);
    Ok(())
}

fn gets(worker: &mut Client, program: &Program, row: &str, report: &mut Report) -> io::Result<()> {
    let mut latencies = histogram();
    for number in 0..GETS {
        record(&mut latencies, worker.ask(&Template::read(), number % NODES)?);
    }
    report.add(program, row, millis(latencies.value_at_quantile(0.99)) * 1e3);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "sessions are thousands")]
fn count(sessions: usize) -> f64 {
    sessions as f64
}
