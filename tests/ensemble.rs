//! An ensemble of real processes, each of any kind: started, killed, stopped, wiped and replaced at will.
//!
//! Flow       `Ensemble::start` writes a zoo.cfg and a myid per member, spawns all, waits until all serve; a test breaks
//!            members by index; `dump` compares what they hold, `lead` chooses who leads.
//! Invariant  member `i` has the sid `i + 1`, its ports and its directory for as long as the ensemble lives. Nothing
//!            outlives the ensemble: dropping it kills every member, stopped ones too.
//! Absent     reconfiguration, TLS, more than one address per member.

pub mod digest;
pub mod dump;
pub mod lead;
pub mod sync;

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Handshake, Session};
use crate::four_letter;
use crate::server::{self, Kind, Server, free_address};

/// How long an ensemble may take for what it does by itself: elect, synchronise, grant a session. Only a hang gets near.
pub const LIMIT: Duration = Duration::from_secs(120);
/// How long one question may stay unanswered before it is asked anew.
const PROBE_LIMIT: Duration = Duration::from_millis(500);
/// Between two looks at a condition. It decides nothing.
const POLL: Duration = Duration::from_millis(10);
/// Ticks until a member gives up at its start. Generous: several JVMs may share one core.
const INIT_LIMIT_TICKS: u32 = 40;
/// Ticks of silence until a member gives another one up.
const SYNC_LIMIT_TICKS: u32 = 6;
/// What a test adds to what all members share.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    each: server::Settings,
    observers: usize,
}

impl Settings {
    /// Nothing but the shared part; every member votes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or overrides a line of every zoo.cfg.
    #[must_use]
    pub fn line(mut self, key: &str, value: impl ToString) -> Self {
        self.each = self.each.line(key, value);
        self
    }

    /// Adds a Java system property to every member.
    #[must_use]
    pub fn property(mut self, key: &str, value: impl ToString) -> Self {
        self.each = self.each.property(key, value);
        self
    }

    /// Makes the last so many members observers.
    #[must_use]
    pub fn observers(mut self, count: usize) -> Self {
        self.observers = count;
        self
    }
}

/// What a member says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It leads.
    Leader,
    /// It votes and follows.
    Follower,
    /// It follows.
    Observer,
}

/// Members by index, from 0.
#[derive(Debug)]
pub struct Ensemble {
    members: Vec<Server>,
    stopped: Vec<bool>,
    /// How long every member's log was when a member was started last, in bytes.
    logs_at_start: Vec<Vec<usize>>,
    observers: usize,
}

impl Ensemble {
    /// Starts a member of each kind and waits until all serve.
    ///
    /// # Panics
    /// If they do not; the ends of their logs are in the message.
    pub fn start(kinds: &[Kind], settings: Settings) -> Self {
        let mut ensemble = Self::prepare(kinds, settings);
        for index in 0..kinds.len() {
            ensemble.spawn(index);
        }
        ensemble.wait_until_all_serve();
        ensemble
    }

    /// As `start`, with nothing started.
    pub fn prepare(kinds: &[Kind], settings: Settings) -> Self {
        let voters = kinds.len().checked_sub(settings.observers).expect("observers are members");
        let is_observer = |index: usize| index >= voters;
        let mut each = settings.each.logged().line("initLimit", INIT_LIMIT_TICKS).line("syncLimit", SYNC_LIMIT_TICKS);
        for index in 0..kinds.len() {
            let (quorum, election) = (free_address(), free_address());
            let role = if is_observer(index) { ":observer" } else { "" };
            let value = format!("{quorum}:{}{role}", election.port());
            each = each.line(&format!("server.{}", index + 1), value);
        }
        let members = kinds.iter().enumerate().map(|(index, kind)| {
            let own = if is_observer(index) { each.clone().line("peerType", "observer") } else { each.clone() };
            Server::prepare(kind, own)
        });
        let members: Vec<Server> = members.collect();
        let count = members.len();
        let logs_at_start = vec![vec![0; count]; count];
        Self { members, stopped: vec![false; count], logs_at_start, observers: settings.observers }
    }

    /// How many members there are.
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// How many of them vote.
    pub fn voters(&self) -> usize {
        self.members.len() - self.observers
    }

    /// Where a member serves clients.
    pub fn address(&self, index: usize) -> SocketAddr {
        self.members[index].address()
    }

    /// Where all members serve clients.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.members.iter().map(Server::address).collect()
    }

    /// A member as a process.
    pub fn member(&self, index: usize) -> &Server {
        &self.members[index]
    }

    /// Whether a member has a process that is not stopped.
    pub fn runs(&self, index: usize) -> bool {
        self.members[index].process_id().is_some() && !self.stopped[index]
    }

    /// Starts a member's process and does not wait.
    ///
    /// # Panics
    /// If there is no such program.
    pub fn spawn(&mut self, index: usize) {
        self.logs_at_start[index] = self.members.iter().map(|member| member.log().len()).collect();
        let data_dir = self.members[index].data_dir();
        fs::create_dir_all(&data_dir).expect("the member's directory is ours");
        fs::write(data_dir.join("myid"), format!("{}\n", index + 1)).expect("the member's directory is ours");
        self.members[index].spawn().unwrap_or_else(|problem| panic!("{problem}"));
    }

    /// Starts a member that was killed, on the data that it left, and waits until it serves.
    ///
    /// # Panics
    /// As `wait_until_serving`.
    pub fn restart(&mut self, index: usize) {
        self.spawn(index);
        self.wait_until_serving(index);
    }

    /// SIGKILL.
    pub fn kill(&mut self, index: usize) {
        self.members[index].kill();
        self.stopped[index] = false;
    }

    /// SIGTERM, then waits for the end.
    pub fn terminate(&mut self, index: usize) {
        self.members[index].terminate();
    }

    /// SIGSTOP: it keeps its connections and says nothing. On return none of its threads runs any more.
    ///
    /// # Panics
    /// If one of them runs on.
    pub fn stop(&mut self, index: usize) {
        self.members[index].send_signal("STOP");
        self.stopped[index] = true;
        let process_id = self.members[index].process_id().expect("it got the signal");
        self.wait_for("standstill", |_| stands(process_id).then_some(()));
    }

    /// SIGCONT: it goes on, and its clock has jumped.
    pub fn cont(&mut self, index: usize) {
        self.members[index].send_signal("CONT");
        self.stopped[index] = false;
    }

    /// Removes what a killed member had on disk. It keeps its sid and its ports.
    ///
    /// # Panics
    /// If it runs.
    pub fn wipe(&mut self, index: usize) {
        assert!(self.members[index].process_id().is_none(), "a running member's data stays");
        fs::remove_dir_all(self.members[index].data_dir()).expect("it has run, so it has data");
    }

    /// Ends a member and starts one of this kind in its place, with its sid and its ports, and with its data if the kind
    /// stays. Waits until it serves.
    ///
    /// # Panics
    /// As `wait_until_serving`.
    pub fn replace(&mut self, index: usize, kind: &Kind) {
        if self.members[index].process_id().is_some() {
            self.terminate(index);
        }
        if self.members[index].kind() != kind {
            self.wipe(index);
            self.members[index].become_kind(kind);
        }
        self.restart(index);
    }

    /// Waits until a running member serves.
    ///
    /// # Panics
    /// If it ends or takes longer than a generous limit.
    pub fn wait_until_serving(&mut self, index: usize) {
        if let Err(problem) = self.members[index].wait_until_serving() {
            panic!("member {index}: {problem}\n{}", self.logs());
        }
    }

    /// Waits until all members serve; all must run.
    ///
    /// # Panics
    /// As `wait_until_serving`.
    pub fn wait_until_all_serve(&mut self) {
        for index in 0..self.size() {
            self.wait_until_serving(index);
        }
    }

    /// What a member says that it is; `None` while it does not serve.
    pub fn mode(&self, index: usize) -> Option<Mode> {
        if !self.runs(index) {
            return None;
        }
        let answer = four_letter::ask_bytes(self.address(index), b"srvr", PROBE_LIMIT).ok()?;
        match answer.lines().find_map(|line| line.strip_prefix("Mode: "))? {
            "leader" => Some(Mode::Leader),
            "follower" => Some(Mode::Follower),
            "observer" => Some(Mode::Observer),
            _ => None,
        }
    }

    /// Who leads now, if one alone says so: a leader that was stopped and goes on believes in itself for a moment.
    pub fn leader(&self) -> Option<usize> {
        let mut leaders = (0..self.size()).filter(|index| self.mode(*index) == Some(Mode::Leader));
        let leader = leaders.next()?;
        leaders.next().is_none().then_some(leader)
    }

    /// Waits for a leader among the members that run.
    ///
    /// # Panics
    /// If none comes up within a generous limit.
    pub fn wait_for_leader(&self) -> usize {
        self.wait_for("a leader", Self::leader)
    }

    /// Waits until `look` sees something.
    ///
    /// # Panics
    /// If it does not within a generous limit; the logs are in the message.
    pub fn wait_for<T>(&self, what: &str, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(seen) = look(self) {
                return seen;
            }
            assert!(Instant::now() < deadline, "no {what} within {LIMIT:?}\n{}", self.logs());
            thread::sleep(POLL);
        }
    }

    /// A new session at a member, which may still be on its way to serve.
    ///
    /// # Panics
    /// If it grants none within a generous limit.
    pub fn session(&self, index: usize) -> Session {
        self.wait_for("session", |ensemble| {
            let session = Session::handshake(ensemble.address(index), &Handshake::default()).ok()?;
            (session.id() != 0).then_some(session)
        })
    }

    /// The same session at another member, which may still be on its way to serve or behind what the session has seen.
    ///
    /// # Panics
    /// If it does not take it within a generous limit, or if the session has expired.
    pub fn moved(&self, session: &Session, index: usize) -> Session {
        self.wait_for("moved session", |ensemble| {
            let moved = session.reattach(ensemble.address(index)).ok()?;
            assert_eq!(moved.id(), session.id(), "member {index} says that the session has expired");
            Some(moved)
        })
    }

    /// The ends of all logs, for messages.
    pub fn logs(&self) -> String {
        let tail = |(index, member): (usize, &Server)| {
            format!("--- end of the log of member {index} ({})\n{}\n", member.kind(), member.log_tail(25))
        };
        self.members.iter().enumerate().map(tail).collect()
    }
}

/// Whether all threads of a process are stopped: the signal takes each when it next runs.
fn stands(process_id: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{process_id}/task")).expect("the process is ours and lives");
    threads.flatten().all(|thread| {
        // The state stands behind the name, which is in parentheses and may hold anything.
        let text = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        text.rsplit_once(") ").is_some_and(|(_, behind)| behind.starts_with('T'))
    })
}
