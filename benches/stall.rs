//! Stalls: the longest wait of a client that gets a node a thousand times a second while another asks for much.
//!
//! One iteration is one get, due every millisecond whether the last was answered or not. The disturbances: nothing,
//! children of a node with a million of them, a change that ten thousand watchers are told, a snapshot of a million
//! nodes under a steady load of sets.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use crate::Setup;
use crate::client::{Client, SESSION_TIMEOUT_MS};
use crate::fleet::{DATA, Fleet, Mix, Requests, histogram, record, wake_in_time};
use crate::report::Report;
use crate::request::{PARENT, Template};
use crate::server::{Program, Server};
use crate::throughput::{fill, millis};

/// Between two gets.
const GET_EVERY: Duration = Duration::from_millis(1);
/// The node that is watched.
const WATCHED: &str = "/watched";
/// Watchers per loopback source address: well below the number of ephemeral ports.
const PER_ADDRESS: usize = 20_000;
/// Repetitions of a listing and of a change.
const TIMES: u32 = 5;
/// Sets per second while a snapshot is due.
const SETS_PER_SECOND: f64 = 5_000.0;
/// ZooKeeper's default snapCount is 100,000: after so many sets a snapshot has begun.
const SNAPSHOT_SETS: f64 = 105_000.0;

/// One round of one program.
///
/// # Errors
/// The kernel's, or the server's code.
pub fn round(program: &Program, setup: &Setup, report: &mut Report) -> io::Result<()> {
    let server = Server::start(program, &setup.base, "")?;
    let mut requests = fill(&server, setup.million)?;
    let mut disturb = |name: &str, disturbance: &mut dyn FnMut(&mut Report) -> io::Result<()>| {
        let latencies = while_getting(server.address(), || disturbance(report))?;
        report.add(program, &format!("{name}: longest get ms"), millis(latencies.max()));
        report.add(program, &format!("{name}: get p99 ms"), millis(latencies.value_at_quantile(0.99)));
        io::Result::Ok(())
    };
    disturb("quiet", &mut |_| {
        thread::sleep(setup.time);
        Ok(())
    })?;
    disturb("listing", &mut |report| list(&server, report))?;
    let mut watchers = Watchers::connect(&server, setup.watchers)?;
    disturb("watchers", &mut |report| watchers.change(report))?;
    drop(watchers);
    disturb("snapshot", &mut |report| snapshot(&server, setup, &mut requests, report))
}

/// Gets in a thread of its own while `disturbance` runs, and gives their latencies.
fn while_getting(address: SocketAddr, disturbance: impl FnOnce() -> io::Result<()>) -> io::Result<Histogram<u64>> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let getting = scope.spawn(|| gets(address, &is_over));
        let outcome = disturbance();
        is_over.store(true, Ordering::Relaxed);
        let latencies = getting.join().expect("it panics only if the server's replies are wrong");
        outcome.and(latencies)
    })
}

fn gets(address: SocketAddr, is_over: &AtomicBool) -> io::Result<Histogram<u64>> {
    wake_in_time()?;
    let mut client = Client::connect(address)?;
    let (template, mut latencies) = (Template::read(), histogram());
    let mut due = Instant::now();
    while !is_over.load(Ordering::Relaxed) {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        client.ask(&template, 0)?;
        record(&mut latencies, due.elapsed());
        due += GET_EVERY;
    }
    Ok(latencies)
}

fn list(server: &Server, report: &mut Report) -> io::Result<()> {
    let mut client = Client::connect(server.address())?;
    for _ in 0..TIMES {
        let took = client.ask(&Template::children_of(PARENT), 0)?;
        report.add(server.program(), "listing: took ms", took.as_secs_f64() * 1e3);
    }
    Ok(())
}

/// Sessions that watch one node, and the one that changes it.
struct Watchers<'s> {
    server: &'s Server,
    fleet: Fleet,
    count: usize,
    writer: Client,
}

impl<'s> Watchers<'s> {
    fn connect(server: &'s Server, count: usize) -> io::Result<Self> {
        let mut writer = Client::connect(server.address())?;
        writer.ask(&Template::create_at(WATCHED, &DATA), 0)?;
        let sessions = (0..count).map(|index| connect_from(index / PER_ADDRESS, server.address()));
        let fleet = Fleet::of(sessions.collect::<io::Result<_>>()?)?;
        Ok(Self { server, fleet, count, writer })
    }

    fn change(&mut self, report: &mut Report) -> io::Result<()> {
        for _ in 0..TIMES {
            self.fleet.each(&Template::exists_at(WATCHED, true))?;
            let begin = Instant::now();
            self.writer.ask(&Template::set_at(WATCHED, &DATA), 0)?;
            self.fleet.await_notifications(self.count)?;
            report.add(self.server.program(), "watchers: all told after ms", begin.elapsed().as_secs_f64() * 1e3);
        }
        Ok(())
    }
}

/// A session from 127.0.0.1, .2 and so on, as one address has only so many ports.
fn connect_from(address: usize, to: SocketAddr) -> io::Result<Client> {
    let last = u8::try_from(address + 1).expect("a few loopback addresses are enough");
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)))?;
    connect(&socket, &to)?;
    Client::over(TcpStream::from(socket), Duration::from_millis(SESSION_TIMEOUT_MS.unsigned_abs().into()))
}

fn snapshot(server: &Server, setup: &Setup, requests: &mut Requests, report: &mut Report) -> io::Result<()> {
    let before = server.snapshots()?;
    let mut fleet = Fleet::connect(server.address(), 16)?;
    let sets = SNAPSHOT_SETS.min(f64::from(setup.million));
    let time = Duration::from_secs_f64(sets / SETS_PER_SECOND);
    let outcome = fleet.open_loop(requests, Mix::Set, SETS_PER_SECOND, time)?;
    let new = server.snapshots()?.iter().filter(|name| !before.contains(name)).count();
    report.add(server.program(), "snapshot: begun", f64::from(u32::try_from(new).expect("few")));
    for (quantile, label) in [(0.5, "p50"), (0.99, "p99"), (1.0, "max")] {
        let value = millis(outcome.latencies.value_at_quantile(quantile));
        report.add(server.program(), &format!("snapshot: set {label} ms"), value);
    }
    Ok(())
}
