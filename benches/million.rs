//! A million znodes of 100 B: memory, and the time from the process's start to the first answer.
//!
//! One iteration is one filling, one stop by SIGTERM and one restart.

use std::io;

use crate::Setup;
use crate::client::Client;
use crate::report::Report;
use crate::request::Template;
use crate::server::{Program, Server};
use crate::throughput::fill;

/// One round of one program.
///
/// # Errors
/// The kernel's, or the server's code.
pub fn round(program: &Program, setup: &Setup, report: &mut Report) -> io::Result<()> {
    let mut server = Server::start(program, &setup.base, "")?;
    fill(&server, setup.million)?;
    report.add(program, "RSS after filling, MiB", mebibytes(server.resident_bytes()?));
    server.stop()?;
    let time = server.restart()?;
    report.add(program, "restart, s", time.as_secs_f64());
    report.add(program, "RSS after restart, MiB", mebibytes(server.resident_bytes()?));
    // The last node is there, or the restart was a cheap one.
    Client::connect(server.address())?.ask(&Template::read(), setup.million - 1)?;
    Ok(())
}

/// From bytes.
#[expect(clippy::cast_precision_loss, reason = "memory stays below 2^52 bytes")]
pub fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
