//! Many sessions driven by one thread: closed loop (a fixed window per connection) or open loop (a fixed rate).
//!
//! Flow       epoll -> `Link::receive` -> as many new requests as replies came -> one write per connection and turn.
//! Invariant  the generator is not the limit: no allocation, no formatting and no clock per request. Its share of a CPU
//!            is part of every outcome; near 1 the figure is the generator's, not the server's.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::event::{Timespec, epoll};
use rustix::thread::set_current_timer_slack;
use rustix::time::{ClockId, clock_gettime};

use crate::client::Client;
use crate::link::{Link, Received};
use crate::request::Template;

/// Data of every node of a load.
pub const DATA: [u8; 100] = [b'x'; 100];
/// Nodes that sets and gets choose from, unless an experiment says otherwise.
pub const NODES: u32 = 10_000;
/// Of the mixed load's requests, one in so many is a set; the others are gets.
const MIXED_SET_EVERY: u64 = 4;
/// Events taken from one wait.
const EVENTS: usize = 256;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// setData of 100 B on a random node.
    Set,
    /// create with 100 B, of a new node each.
    Create,
    /// getData of a random node.
    Get,
    /// Three gets to one set.
    Mixed,
}

/// Chooses requests. The same seed asks the same things of both servers.
#[derive(Clone, Debug)]
pub struct Requests {
    set: Template,
    create: Template,
    get: Template,
    nodes: u32,
    next_new: u32,
    random: u64,
}

impl Requests {
    /// About nodes 0 to `nodes`; creates go on behind `existing`.
    pub fn new(nodes: u32, existing: u32) -> Self {
        let (set, create, get) = (Template::set(&DATA), Template::create(&DATA), Template::read());
        Self { set, create, get, nodes, next_new: existing, random: 0x9e37_79b9_7f4a_7c15 }
    }

    /// How many nodes there are, if every create has succeeded.
    pub fn existing(&self) -> u32 {
        self.next_new
    }

    /// xorshift64.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// Time to the next request of a Poisson process.
    #[expect(clippy::cast_precision_loss, reason = "53 random bits are as many as an f64 has")]
    fn gap(&mut self, rate: f64) -> Duration {
        let uniform = ((self.random() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        Duration::from_secs_f64(-uniform.ln() / rate)
    }

    fn push(&mut self, mix: Mix, link: &mut Link, since: Instant) {
        let random = self.random();
        // The high half times the bound, shifted down, is even enough over a bound this small.
        let number = ((random >> 32) * u64::from(self.nodes)) >> 32;
        let number = u32::try_from(number).expect("below a bound of 32 bits");
        match mix {
            Mix::Create => {
                link.push(&self.create, self.next_new, since);
                self.next_new += 1;
            }
            Mix::Set => link.push(&self.set, number, since),
            Mix::Mixed if random.is_multiple_of(MIXED_SET_EVERY) => link.push(&self.set, number, since),
            Mix::Get | Mix::Mixed => link.push(&self.get, number, since),
        }
    }
}

/// When a load ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After so long.
    Elapsed(Duration),
    /// After so many requests.
    Count(u64),
}

/// What a load has seen.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Answers within the time.
    pub operations: u64,
    /// The time.
    pub elapsed: Duration,
    /// Of each answer, in ns; those that came behind the end are here too.
    pub latencies: Histogram<u64>,
    /// The generator's share of one CPU.
    pub generator_share: f64,
}

impl Outcome {
    /// Answers, as a number to divide by.
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    pub fn answered(&self) -> f64 {
        self.operations as f64
    }

    /// Answers per second.
    pub fn rate(&self) -> f64 {
        self.answered() / self.elapsed.as_secs_f64()
    }
}

/// An empty histogram of ns, from 1 µs to 10 min with an error of 0.1 %.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 600_000_000_000, 3).expect("constant bounds are legal")
}

/// Adds a latency to a histogram of ns.
pub fn record(latencies: &mut Histogram<u64>, latency: Duration) {
    latencies.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
}

/// Lets this thread's timed waits end when they should, not up to 50 µs later.
///
/// # Errors
/// The kernel's.
pub fn wake_in_time() -> io::Result<()> {
    set_current_timer_slack(NonZeroU64::new(1))?;
    Ok(())
}

/// Connections of one generator.
pub struct Fleet {
    epoll: OwnedFd,
    links: Vec<Link>,
    events: Vec<epoll::Event>,
    /// Of the answers since the last outcome.
    latencies: Histogram<u64>,
}

impl Fleet {
    /// Sessions over as many connections.
    ///
    /// # Errors
    /// The kernel's, or the server's refusal.
    pub fn connect(address: SocketAddr, count: usize) -> io::Result<Self> {
        Self::of((0..count).map(|_| Client::connect(address)).collect::<io::Result<_>>()?)
    }

    /// Of sessions that exist.
    ///
    /// # Errors
    /// The kernel's.
    pub fn of(clients: Vec<Client>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut links = Vec::with_capacity(clients.len());
        for (index, client) in clients.into_iter().enumerate() {
            let link = Link::new(client.into_stream())?;
            epoll::add(&epoll, link.stream(), epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
            links.push(link);
        }
        Ok(Self { epoll, links, events: Vec::with_capacity(EVENTS), latencies: histogram() })
    }

    /// Keeps `window` requests on their way on every connection until the end, then waits for the last answers.
    ///
    /// # Errors
    /// The kernel's; the server must not close a connection.
    pub fn closed_loop(
        &mut self,
        requests: &mut Requests,
        mix: Mix,
        window: usize,
        until: Until,
    ) -> io::Result<Outcome> {
        let (limit, mut left) = match until {
            Until::Elapsed(limit) => (limit, u64::MAX),
            Until::Count(count) => (Duration::MAX, count),
        };
        let mut refill = |link: &mut Link, count: usize, now: Instant| {
            for _ in 0..count.min(usize::try_from(left).unwrap_or(usize::MAX)) {
                requests.push(mix, link, now);
                left -= 1;
            }
        };
        let run = Run::begin();
        for index in 0..self.links.len() {
            refill(&mut self.links[index], window, run.begin);
            self.flush(index)?;
        }
        let mut operations = 0;
        while run.begin.elapsed() < limit && self.outstanding() > 0 {
            operations += self.turn(None, |link, received, now| refill(link, received.replies, now))?.replies;
        }
        self.finish(&run, operations)
    }

    /// Sends `rate` requests per second for so long, at random moments (a Poisson process), over the connections in
    /// turn. Latency counts from the moment a request was meant to be sent, so that a stall cannot hide the requests
    /// that it kept from being sent.
    ///
    /// # Errors
    /// As `closed_loop`.
    pub fn open_loop(&mut self, requests: &mut Requests, mix: Mix, rate: f64, time: Duration) -> io::Result<Outcome> {
        wake_in_time()?;
        let run = Run::begin();
        let (mut due, mut next_link, mut operations) = (run.begin, 0, 0);
        while due < run.begin + time {
            let now = Instant::now();
            while due <= now {
                requests.push(mix, &mut self.links[next_link], due);
                self.flush(next_link)?;
                next_link = (next_link + 1) % self.links.len();
                due += requests.gap(rate);
            }
            let wait = due.saturating_duration_since(Instant::now());
            operations += self.turn(Some(wait), |_, _, _| {})?.replies;
        }
        self.finish(&run, operations)
    }

    /// Pushes one request on every connection and waits for all answers.
    ///
    /// # Errors
    /// As `closed_loop`.
    pub fn each(&mut self, template: &Template) -> io::Result<()> {
        let now = Instant::now();
        for index in 0..self.links.len() {
            self.links[index].push(template, 0, now);
            self.flush(index)?;
            // One at a time: ten thousand requests at once would measure queues where none was asked for.
            while self.links[index].outstanding() > 0 {
                self.turn(None, |_, _, _| {})?;
            }
        }
        Ok(())
    }

    /// Waits for so many notifications.
    ///
    /// # Errors
    /// As `closed_loop`.
    pub fn await_notifications(&mut self, count: usize) -> io::Result<()> {
        let mut seen = 0;
        while seen < count {
            seen += self.turn(None, |_, _, _| {})?.notifications;
        }
        Ok(())
    }

    fn outstanding(&self) -> usize {
        self.links.iter().map(Link::outstanding).sum()
    }

    /// Ends a measurement, and then waits for what is on its way.
    fn finish(&mut self, run: &Run, operations: usize) -> io::Result<Outcome> {
        let elapsed = run.begin.elapsed();
        let generator_share = (thread_cpu() - run.cpu_begin).as_secs_f64() / elapsed.as_secs_f64();
        while self.outstanding() > 0 {
            self.turn(None, |_, _, _| {})?;
        }
        let latencies = std::mem::replace(&mut self.latencies, histogram());
        Ok(Outcome { operations: operations as u64, elapsed, latencies, generator_share })
    }

    /// Waits for events and handles them: reads, lets `then` push more, writes.
    fn turn(
        &mut self,
        timeout: Option<Duration>,
        mut then: impl FnMut(&mut Link, Received, Instant),
    ) -> io::Result<Received> {
        let timeout = timeout.map(|time| Timespec::try_from(time).expect("waits are short"));
        self.events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut total = Received::default();
        let now = Instant::now();
        for at in 0..self.events.len() {
            let index = usize::try_from(self.events[at].data.u64()).expect("we gave it an index");
            let (link, latencies) = (&mut self.links[index], &mut self.latencies);
            let received = link.receive(|since| record(latencies, now.saturating_duration_since(since)))?;
            then(link, received, now);
            total.replies += received.replies;
            total.notifications += received.notifications;
            self.flush(index)?;
        }
        Ok(total)
    }

    /// Writes what a connection has to say; if not all goes, epoll reports it when more can.
    fn flush(&mut self, index: usize) -> io::Result<()> {
        let link = &mut self.links[index];
        let was_blocked = link.is_blocked();
        let is_blocked = !link.flush()?;
        if is_blocked != was_blocked {
            let flags = if is_blocked { epoll::EventFlags::IN | epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
            epoll::modify(&self.epoll, link.stream(), epoll::EventData::new_u64(index as u64), flags)?;
        }
        Ok(())
    }
}

/// A measurement's start.
#[derive(Debug)]
struct Run {
    begin: Instant,
    cpu_begin: Duration,
}

impl Run {
    fn begin() -> Self {
        Self { begin: Instant::now(), cpu_begin: thread_cpu() }
    }
}

/// CPU time of this thread.
///
/// # Panics
/// Never: the kernel's nanoseconds are below a second.
pub fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("below a second"))
}
