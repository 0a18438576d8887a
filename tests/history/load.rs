//! Clients that change and read a few nodes through all members, and move on with their sessions when one is lost.
//!
//! Flow       `Load::start` opens the clients, each on a thread; they go on whatever happens to the members; `finish`
//!            ends them and gives the history, with the sessions still open.
//! Invariant  a client asks one thing at a time, and writes down what it asked before it knows more.
//! Absent     watches.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Answer, Call, History, Request};
use crate::client::{Handshake, Received, Session};
use crate::random::Random;
use crate::wire::{Reader, Stat, Writer, code, opcode};

/// Nodes that all clients fight for.
const KEYS: usize = 8;
/// How long an answer may take before the client gives the member up. Both outcomes are legal, so it decides nothing.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// Long enough for any election and restart on a loaded machine.
const SESSION_TIMEOUT_MS: i32 = 90_000;
/// How long a client looks for a member that takes it. Only a hang gets near.
const SEARCH_LIMIT: Duration = Duration::from_secs(120);
/// A client breathes so long between requests, or it would take the CPU from JVMs that start.
const PAUSE: Duration = Duration::from_millis(1);

/// Running clients.
#[derive(Debug)]
pub struct Load {
    root: String,
    ending: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Client>>,
}

/// The sessions of a load that has ended, still open.
#[derive(Debug)]
pub struct Sessions(Vec<Session>);

impl Load {
    /// Makes the nodes and starts so many clients, spread over the members.
    ///
    /// # Panics
    /// If no member serves.
    pub fn start(addresses: &[SocketAddr], clients: usize, seed: u64) -> Self {
        // Each load has nodes of its own, as its judge knows nothing of another's writes.
        static LOADS: AtomicUsize = AtomicUsize::new(0);
        let root = format!("/load{}", LOADS.fetch_add(1, Ordering::Relaxed));
        let (mut first, _) = search(addresses, 0, None);
        for folder in ["", "/key", "/sequential", "/ephemeral"] {
            let path = format!("{root}{folder}");
            first.create(&path, b"", 0).unwrap_or_else(|code| panic!("create {path}: {code}"));
        }
        first.close();
        let (ending, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let origin = Instant::now();
        let spawn = |index: usize| {
            let (ending, answered) = (Arc::clone(&ending), Arc::clone(&answered));
            let (root, addresses) = (root.clone(), addresses.to_vec());
            thread::spawn(move || {
                let mut client = Client::new(index, root, addresses, seed, origin, ending);
                client.run(&answered);
                client
            })
        };
        let clients = (0..clients).map(spawn).collect();
        Self { root, ending, answered, clients }
    }

    /// Waits until so many more writes were acknowledged, by whichever client.
    ///
    /// # Panics
    /// If a client has ended, or no progress is made within a generous limit.
    pub fn wait_for_writes(&self, count: usize) {
        let goal = self.answered.load(Ordering::Relaxed) + count;
        let deadline = Instant::now() + SEARCH_LIMIT;
        while self.answered.load(Ordering::Relaxed) < goal {
            assert!(!self.clients.iter().any(JoinHandle::is_finished), "a client has ended");
            assert!(Instant::now() < deadline, "the load makes no progress");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the clients; every session that lives is open and was seen to live.
    ///
    /// # Panics
    /// If a client did.
    pub fn finish(self) -> (History, Sessions) {
        self.ending.store(true, Ordering::Relaxed);
        let mut history = History { root: self.root, ..History::default() };
        let mut sessions = Vec::new();
        for client in self.clients {
            let client = client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            history.calls.extend(client.calls);
            history.expired.extend(client.expired);
            history.alive.push(client.session.id());
            sessions.push(client.session);
        }
        (history, Sessions(sessions))
    }
}

#[derive(Debug)]
struct Client {
    index: usize,
    /// Where its load's nodes are.
    root: String,
    addresses: Vec<SocketAddr>,
    random: Random,
    origin: Instant,
    ending: Arc<AtomicBool>,
    session: Session,
    member: usize,
    next: u64,
    /// Own ephemeral nodes that were acknowledged and not removed.
    ephemerals: Vec<String>,
    calls: Vec<Call>,
    expired: Vec<i64>,
}

impl Client {
    fn new(
        index: usize,
        root: String,
        addresses: Vec<SocketAddr>,
        seed: u64,
        origin: Instant,
        ending: Arc<AtomicBool>,
    ) -> Self {
        let member = index % addresses.len();
        let (session, member) = search(&addresses, member, None);
        let random = Random::new(seed ^ (index as u64) << 32);
        let (ephemerals, calls, expired) = Default::default();
        Self { index, root, addresses, random, origin, ending, session, member, next: 0, ephemerals, calls, expired }
    }

    fn run(&mut self, answered: &AtomicUsize) {
        while !self.ending.load(Ordering::Relaxed) {
            let request = self.choose();
            let is_write = request.is_write();
            if self.call(request) && is_write {
                answered.fetch_add(1, Ordering::Relaxed);
            }
            // A client goes to another member now and then, as if its connection broke.
            if self.random.below(500) == 0 {
                self.reconnect();
            }
            thread::sleep(PAUSE);
        }
        // The session must be seen to live by those who judge its ephemeral nodes.
        let deadline = Instant::now() + SEARCH_LIMIT;
        while !self.call(Request::Get { path: format!("{}/key", self.root), is_synced: true }) {
            assert!(Instant::now() < deadline, "no read in the end: {:?}", self.calls.last());
        }
    }

    fn choose(&mut self) -> Request {
        self.next += 1;
        let data = format!("{}:{}", self.index, self.next);
        let (place, step) = (self.random.below(KEYS), 1 + self.random.below(KEYS - 1));
        let root = &self.root;
        let path = format!("{root}/key/{place}");
        match self.random.weighted(&[25, 10, 10, 12, 8, 10, 20, 10, 1]) {
            0 => Request::Set { path, data, version: -1 },
            1 => Request::Set { path: path.clone(), data, version: self.version_of(&path) },
            2 => Request::Create {
                path: format!("{root}/sequential/n-"),
                data,
                is_ephemeral: false,
                is_sequential: true,
            },
            3 => Request::Create { path, data, is_ephemeral: false, is_sequential: false },
            4 => Request::Delete { path },
            5 => Request::Both { paths: [path, format!("{root}/key/{}", (place + step) % KEYS)], data },
            6 => Request::Get { path, is_synced: false },
            7 => Request::Get { path, is_synced: true },
            _ => self.choose_ephemeral(data),
        }
    }

    /// Makes one, removes one, or ends the session that holds them.
    fn choose_ephemeral(&mut self, data: String) -> Request {
        match self.random.below(4) {
            0 if !self.ephemerals.is_empty() => {
                let place = self.random.below(self.ephemerals.len());
                Request::Delete { path: self.ephemerals.swap_remove(place) }
            }
            1 if self.ephemerals.len() > 2 => Request::Close,
            _ => {
                let path = format!("{}/ephemeral/{}-{}", self.root, self.index, self.next);
                Request::Create { path, data, is_ephemeral: true, is_sequential: false }
            }
        }
    }

    /// The version that this session has seen last, which is often still true.
    fn version_of(&self, path: &str) -> i32 {
        let seen = |call: &Call| match &call.answer {
            Answer::Done { nodes, .. } => nodes.iter().find(|(name, _)| name == path).map(|(_, stat)| stat.version),
            _ => None,
        };
        self.calls.iter().rev().take(200).find_map(seen).unwrap_or(0)
    }

    /// Asks, writes down, and finds another member if no answer comes. Whether one came that was no refusal.
    fn call(&mut self, request: Request) -> bool {
        let (session, member, invoked) = (self.session.id(), self.member, self.origin.elapsed());
        let answer = ask(&mut self.session, &request).unwrap_or(Answer::Lost);
        let returned = self.origin.elapsed();
        let (is_lost, is_done) = (answer == Answer::Lost, matches!(answer, Answer::Done { .. }));
        if let (Request::Create { path, is_ephemeral: true, .. }, true) = (&request, is_done) {
            self.ephemerals.push(path.clone());
        }
        let is_close = request == Request::Close;
        self.calls.push(Call { session, member, invoked, returned, request, answer });
        if is_close && is_done {
            self.begin_session();
        } else if is_lost {
            self.reconnect();
        }
        is_done
    }

    fn begin_session(&mut self) {
        self.ephemerals.clear();
        (self.session, self.member) = search(&self.addresses, self.member, None);
    }

    fn reconnect(&mut self) {
        let next = (self.member + 1) % self.addresses.len();
        let (session, member) = search(&self.addresses, next, Some(&self.session));
        if session.id() == 0 {
            // Or it was closed by a request whose answer was lost: the judge knows.
            self.expired.push(self.session.id());
            self.begin_session();
        } else {
            (self.session, self.member) = (session, member);
        }
    }
}

/// A session at the first member from `first` on that takes it; of an old one, the id is 0 if it is gone.
fn search(addresses: &[SocketAddr], first: usize, old: Option<&Session>) -> (Session, usize) {
    let fresh = || Handshake { timeout_ms: SESSION_TIMEOUT_MS, ..Handshake::default() };
    let (handshake, deadline) = (old.map_or_else(fresh, Session::again), Instant::now() + SEARCH_LIMIT);
    for attempt in 0.. {
        let member = (first + attempt) % addresses.len();
        match Session::handshake_within(addresses[member], &handshake, PATIENCE) {
            Ok(session) if old.is_some() || session.id() != 0 => return (session, member),
            _ => assert!(Instant::now() < deadline, "no member has taken a client for {SEARCH_LIMIT:?}"),
        }
        thread::sleep(Duration::from_millis(10));
    }
    unreachable!("the search ends by finding or by its deadline")
}

/// Sends a request and reads the answer. `Err` if none comes.
fn ask(session: &mut Session, request: &Request) -> Result<Answer, Received> {
    let (op, body) = match request {
        Request::Create { path, data, is_ephemeral, is_sequential } => {
            let flags = i32::from(*is_ephemeral) + 2 * i32::from(*is_sequential);
            let body = Writer::new().string(path).buffer(Some(data.as_bytes())).open_acl().int(flags);
            (opcode::CREATE2, body.done())
        }
        Request::Set { path, data, version } => (opcode::SET_DATA, set_data(path, data, *version)),
        Request::Delete { path } => (opcode::DELETE, Writer::new().string(path).int(-1).done()),
        Request::Both { paths, data } => {
            let mut body = Writer::new();
            for path in paths {
                body = body.int(opcode::SET_DATA).byte(0).int(-1).raw(&set_data(path, data, -1));
            }
            (opcode::MULTI, body.int(-1).byte(1).int(-1).done())
        }
        Request::Get { path, is_synced } => {
            if *is_synced {
                let reply = session.try_call(opcode::SYNC, &Writer::new().string(path).done())?;
                if reply.err != 0 {
                    return Ok(Answer::Refused { zxid: reply.zxid, code: reply.err });
                }
            }
            (opcode::GET_DATA, Writer::new().string(path).byte(0).done())
        }
        Request::Close => (opcode::CLOSE_SESSION, Vec::new()),
    };
    let reply = session.try_call(op, &body)?;
    let zxid = reply.zxid;
    if reply.err != 0 {
        return Ok(Answer::Refused { zxid, code: reply.err });
    }
    let (nodes, data) = understand(request, &reply.body).unwrap_or_else(|| panic!("the reply to {request:?}"));
    Ok(match nodes {
        Outcome::Nodes(nodes) => Answer::Done { zxid, nodes, data },
        Outcome::Refused(code) => Answer::Refused { zxid, code },
    })
}

enum Outcome {
    Nodes(Vec<(String, Stat)>),
    /// A multi tells its failure in its body.
    Refused(i32),
}

fn understand(request: &Request, body: &[u8]) -> Option<(Outcome, Option<String>)> {
    let mut reader = Reader::new(body);
    let nodes = match request {
        Request::Create { .. } => vec![(reader.string()?, Stat::read(&mut reader)?)],
        Request::Set { path, .. } => vec![(path.clone(), Stat::read(&mut reader)?)],
        Request::Delete { .. } | Request::Close => Vec::new(),
        Request::Both { paths, .. } => return both(paths, &mut reader).map(|outcome| (outcome, None)),
        Request::Get { path, .. } => {
            let data = reader.buffer()?.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            let stat = Stat::read(&mut reader)?;
            return Some((Outcome::Nodes(vec![(path.clone(), stat)]), Some(data.unwrap_or_default())));
        }
    };
    Some((Outcome::Nodes(nodes), None))
}

fn both(paths: &[String; 2], reader: &mut Reader<'_>) -> Option<Outcome> {
    let (mut nodes, mut refused) = (Vec::new(), None);
    for path in paths {
        let (op, _done, _code) = (reader.int()?, reader.byte()?, reader.int()?);
        if op == -1 {
            let code = reader.int()?;
            // The half that failed has its own code, the other says that it was rolled back or not tried.
            if code != code::OK && code != code::RUNTIME_INCONSISTENCY {
                refused = Some(code);
            }
        } else {
            nodes.push((path.clone(), Stat::read(reader)?));
        }
    }
    Some(refused.map_or(Outcome::Nodes(nodes), Outcome::Refused))
}

fn set_data(path: &str, data: &str, version: i32) -> Vec<u8> {
    Writer::new().string(path).buffer(Some(data.as_bytes())).int(version).done()
}

impl Sessions {
    /// Moves every session to the member at this address and ends it there.
    ///
    /// # Panics
    /// If one is gone, or the member does not serve.
    pub fn close(self, address: SocketAddr) {
        for session in self.0 {
            let (moved, _) = search(&[address], 0, Some(&session));
            assert_eq!(moved.id(), session.id(), "a session that lived a moment ago");
            moved.close();
        }
    }
}
