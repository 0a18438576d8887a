//! Measures how long nobody can write when a leader is lost:
//! `failover [--ensemble K,K,K]... [--fault kill|stop] [--rounds N] [--clients N] [--tick-ms N] [--sync-limit N]
//! [--ringkeeper PATH]`.
//!
//! Flow       for each ensemble: start, then rounds: all clients write without a pause, the leader gets SIGKILL or SIGSTOP,
//!            all clients write again, the member comes back. The ensembles have their rounds in one run.
//! Invariant  a gap is measured between two acknowledged writes: of any clients, and of the one with the longest.
//! Absent     a threshold: figures are for people.
//!
//! Clients are pinned to a member each, in turn, and go to the next as soon as theirs is lost. Connects have 10 ms; the
//! handshake and a write have longer limits, which matter for members that accept and then say nothing.

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use support::client::{Connection, Handshake, Session};
use support::ensemble::{Ensemble, LIMIT, Mode, Settings};
use support::server::Kind;
use support::wire::{Writer, opcode};

/// How long a connect may take.
const CONNECT_LIMIT: Duration = Duration::from_millis(10);
/// How long a member may take for a handshake: it asks the leader about the session.
const HANDSHAKE_LIMIT: Duration = Duration::from_millis(250);
/// How long a write may take before the client goes elsewhere.
const WRITE_LIMIT: Duration = Duration::from_millis(1_000);
/// Between two attempts of a client that nobody takes: six clients in a hot loop would take the CPU from the election.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(2);
/// Writing before the first fault, for JVMs to get warm.
const WARM_UP: Duration = Duration::from_secs(5);
/// Each client must have written so often since the fault for a round to end.
const WRITES_AFTER: usize = 50;

struct Plan {
    ensembles: Vec<Vec<Kind>>,
    faults: Vec<Fault>,
    rounds: usize,
    clients: usize,
    tick_ms: u32,
    sync_limit: u32,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    Stop,
}

fn main() -> ExitCode {
    match parse(env::args().skip(1)) {
        Ok(plan) => {
            plan.run();
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("{problem}; see the head of tests/bin/failover.rs");
            ExitCode::from(2)
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Plan, String> {
    let (mut ensembles, mut ringkeeper) = (Vec::new(), PathBuf::from("ringkeeper"));
    let mut plan = Plan {
        ensembles: Vec::new(),
        faults: Vec::new(),
        rounds: 5,
        clients: 6,
        // Those of ZooKeeper's own sample configuration.
        tick_ms: 2_000,
        sync_limit: 5,
    };
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} wants a value"))?;
        let number = || value.parse::<u32>().map_err(|error| format!("{name} {value}: {error}"));
        match (name.as_str(), value.as_str()) {
            ("--ensemble", _) => ensembles.push(value),
            ("--ringkeeper", _) => ringkeeper = PathBuf::from(value),
            ("--fault", "kill") => plan.faults.push(Fault::Kill),
            ("--fault", "stop") => plan.faults.push(Fault::Stop),
            ("--rounds", _) => plan.rounds = number()?.max(1) as usize,
            ("--clients", _) => plan.clients = number()?.max(1) as usize,
            ("--tick-ms", _) => plan.tick_ms = number()?,
            ("--sync-limit", _) => plan.sync_limit = number()?,
            _ => return Err(format!("unknown: {name} {value}")),
        }
    }
    if ensembles.is_empty() {
        ensembles.push("zookeeper395,zookeeper395,zookeeper395".to_owned());
    }
    if plan.faults.is_empty() {
        plan.faults = vec![Fault::Kill, Fault::Stop];
    }
    plan.ensembles = ensembles.iter().map(|names| Kind::parse_list(names, &ringkeeper)).collect::<Result<_, _>>()?;
    Ok(plan)
}

impl Plan {
    fn run(&self) {
        println!(
            "{} rounds, {} clients, tickTime {} ms, syncLimit {}; gaps in ms as min / median / max",
            self.rounds, self.clients, self.tick_ms, self.sync_limit
        );
        for kinds in &self.ensembles {
            let names: Vec<String> = kinds.iter().map(Kind::to_string).collect();
            let settings = Settings::new().line("tickTime", self.tick_ms).line("syncLimit", self.sync_limit);
            let mut ensemble = Ensemble::start(kinds, settings);
            let fleet = Fleet::start(&ensemble.addresses(), self.clients);
            thread::sleep(WARM_UP);
            for fault in &self.faults {
                let gaps: Vec<Gap> = (0..self.rounds).map(|_| round(&mut ensemble, &fleet, *fault)).collect();
                let of = |which: fn(&Gap) -> Duration| spread(gaps.iter().map(which).collect());
                let (any, slowest) = (of(|gap| gap.of_all), of(|gap| gap.of_one));
                println!("{}, {fault:?}: all clients {any}, the slowest client {slowest}", names.join(","));
            }
            fleet.finish();
        }
    }
}

/// The longest times without an acknowledged write around a fault.
struct Gap {
    of_all: Duration,
    of_one: Duration,
}

fn round(ensemble: &mut Ensemble, fleet: &Fleet, fault: Fault) -> Gap {
    let leader = ensemble.wait_for_leader();
    fleet.forget();
    fleet.wait(WRITES_AFTER);
    match fault {
        Fault::Kill => ensemble.kill(leader),
        Fault::Stop => ensemble.stop(leader),
    }
    // What was on its way at the fault counts too: one write per client, of many.
    fleet.wait(WRITES_AFTER);
    let gap = fleet.gap();
    eprintln!("{fault:?} of member {leader}: {} ms, {} ms", gap.of_all.as_millis(), gap.of_one.as_millis());
    match fault {
        Fault::Kill => ensemble.restart(leader),
        Fault::Stop => ensemble.cont(leader),
    }
    // One that was stopped serves on for a moment, and then follows.
    ensemble.wait_for("agreement", |ensemble| {
        let modes: Vec<_> = (0..ensemble.size()).map(|index| ensemble.mode(index)).collect();
        let leads = |mode: &&Option<Mode>| **mode == Some(Mode::Leader);
        (!modes.contains(&None) && modes.iter().filter(leads).count() == 1).then_some(())
    });
    gap
}

fn spread(mut gaps: Vec<Duration>) -> String {
    gaps.sort_unstable();
    let [least, median, most] = [gaps[0], gaps[gaps.len() / 2], gaps[gaps.len() - 1]].map(|gap| gap.as_millis());
    format!("{least} / {median} / {most}")
}

/// Clients that write without a pause.
struct Fleet {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

struct Shared {
    addresses: Vec<SocketAddr>,
    ending: AtomicBool,
    /// Acknowledged writes of each client.
    written: Vec<AtomicUsize>,
    /// When each client's writes were acknowledged, since the last `forget`.
    times: Vec<Mutex<Vec<Instant>>>,
}

impl Fleet {
    fn start(addresses: &[SocketAddr], clients: usize) -> Self {
        let shared = Arc::new(Shared {
            addresses: addresses.to_vec(),
            ending: AtomicBool::new(false),
            written: (0..clients).map(|_| AtomicUsize::new(0)).collect(),
            times: (0..clients).map(|_| Mutex::default()).collect(),
        });
        let spawn = |index: usize| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.write(index))
        };
        let clients = (0..clients).map(spawn).collect();
        Self { shared, clients }
    }

    /// Waits until each client has so many more writes.
    fn wait(&self, writes: usize) {
        let goals: Vec<usize> =
            self.shared.written.iter().map(|count| count.load(Ordering::Relaxed) + writes).collect();
        let deadline = Instant::now() + LIMIT;
        for (count, goal) in self.shared.written.iter().zip(goals) {
            while count.load(Ordering::Relaxed) < goal {
                assert!(Instant::now() < deadline, "a client can't write");
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    fn forget(&self) {
        self.shared.times.iter().for_each(|times| times.lock().expect("no client panics with it").clear());
    }

    fn gap(&self) -> Gap {
        let longest = |times: &[Instant]| times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
        let each: Vec<Vec<Instant>> =
            self.shared.times.iter().map(|times| times.lock().expect("no client panics with it").clone()).collect();
        let mut all: Vec<Instant> = each.iter().flatten().copied().collect();
        all.sort_unstable();
        Gap { of_all: longest(&all), of_one: each.iter().map(|times| longest(times)).max().unwrap_or_default() }
    }

    fn finish(self) {
        self.shared.ending.store(true, Ordering::Relaxed);
        self.clients.into_iter().for_each(|client| client.join().expect("clients do not panic"));
    }
}

impl Shared {
    fn write(&self, index: usize) {
        let path = format!("/client{index}");
        let mut member = index % self.addresses.len();
        let mut session = None;
        while session.is_none() && !self.ending.load(Ordering::Relaxed) {
            session = self.connect(member, None);
        }
        let Some(mut session) = session else { return };
        session.create(&path, b"", 0).expect("a fresh ensemble");
        let body = Writer::new().string(&path).buffer(Some(&[7; 100])).int(-1).done();
        while !self.ending.load(Ordering::Relaxed) {
            if session.try_call(opcode::SET_DATA, &body).is_ok_and(|reply| reply.err == 0) {
                self.times[index].lock().expect("no client panics with it").push(Instant::now());
                self.written[index].fetch_add(1, Ordering::Relaxed);
                continue;
            }
            member = (member + 1) % self.addresses.len();
            match self.connect(member, Some(&session)) {
                Some(found) => session = found,
                None => thread::sleep(ATTEMPT_PAUSE),
            }
        }
        session.close();
    }

    fn connect(&self, member: usize, old: Option<&Session>) -> Option<Session> {
        let connection = Connection::try_open_within(self.addresses[member], CONNECT_LIMIT).ok()?;
        connection.set_limit(HANDSHAKE_LIMIT);
        let handshake = old.map_or_else(Handshake::default, Session::again);
        let mut session = Session::handshake_on(connection, &handshake).ok()?;
        // A session that a fault outlived would make all writes fail: that is worth a stop.
        assert!(session.id() != 0, "a session expired");
        session.connection().set_limit(WRITE_LIMIT);
        Some(session)
    }
}
