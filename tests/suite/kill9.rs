//! Writers on several sessions, the server killed at random moments and restarted on what it left.
//!
//! Flow       a round: every writer sends batches until its connection ends, the server is killed meanwhile and
//!            restarted, every session re-attaches, the data is checked.
//! Invariant  nothing acknowledged is lost, nothing deleted comes back, no multi is torn, no sequence number is given
//!            twice, sessions keep their ephemerals.
//! Absent     power cuts: SIGKILL leaves the page cache alone. The storage's own tests drop unsynced writes.
//!
//! `RINGKEEPER_ROUNDS` (5) and `RINGKEEPER_SEED` (1) make it longer and different.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::Duration;

use support::client::{Reply, Session};
use support::random::Random;
use support::server::Settings;
use support::wire::{Reader, Writer, opcode};

use crate::{number, start};

const WRITERS: usize = 4;
/// Requests that a writer sends before it waits for the answers.
const BATCH_MAX: usize = 8;
/// A round's writing ends by the kill, at the latest after so long.
const KILL_AFTER_MAX_MS: usize = 400;

/// One request of a batch, to know what its answer means.
#[derive(Clone, Debug)]
enum Sent {
    /// A sequential node with this value.
    Sequential(String),
    /// The removal of this node.
    Delete(String),
    /// The counter gets this number.
    Counter(u64),
    /// Both halves of the pair get this number.
    Pair(u64),
}

/// One session and what it knows to be durable.
struct Author {
    index: usize,
    session: Session,
    random: Random,
    next: u64,
    /// Path -> value of nodes whose creation was acknowledged, and no removal sent.
    kept: BTreeMap<String, String>,
    /// Removal acknowledged.
    removed: BTreeSet<String>,
    /// Removal sent, no answer.
    undecided: BTreeSet<String>,
    /// Values of creates without an answer.
    unanswered: BTreeSet<String>,
    counter: (u64, u64),
    pair: (u64, u64),
}

impl Author {
    fn new(index: usize, mut session: Session, seed: u64) -> Self {
        for name in ["counter", "left", "right"] {
            session.create(&format!("/{name}{index}"), b"0", 0).expect("a fresh server");
        }
        session.create(&format!("/ephemeral{index}"), b"", 1).expect("a fresh server");
        Self {
            index,
            session,
            random: Random::new(seed ^ index as u64),
            next: 1,
            kept: BTreeMap::new(),
            removed: BTreeSet::new(),
            undecided: BTreeSet::new(),
            unanswered: BTreeSet::new(),
            counter: (0, 0),
            pair: (0, 0),
        }
    }

    /// Writes until the connection ends.
    fn write(&mut self) {
        loop {
            let count = 1 + self.random.below(BATCH_MAX);
            let batch: Vec<Sent> = (0..count).map(|_| self.send()).collect();
            for (place, sent) in batch.iter().enumerate() {
                match self.session.receive_reply() {
                    Ok(reply) => self.answered(sent, &reply),
                    Err(_) => return batch[place..].iter().for_each(|sent| self.lost(sent)),
                }
            }
        }
    }

    fn send(&mut self) -> Sent {
        let number = self.next;
        self.next += 1;
        let text = number.to_string();
        match self.random.below(4) {
            0 if !self.kept.is_empty() => {
                let place = self.random.below(self.kept.len());
                let path = self.kept.keys().nth(place).expect("the place lies below the count").clone();
                // From now on it may be gone.
                self.kept.remove(&path);
                self.session.send(opcode::DELETE, &Writer::new().string(&path).int(-1).done());
                Sent::Delete(path)
            }
            1 => {
                self.counter.1 = number;
                self.session.send(opcode::SET_DATA, &set_data(&format!("/counter{}", self.index), &text));
                Sent::Counter(number)
            }
            2 => {
                self.pair.1 = number;
                let mut body = Writer::new();
                for half in ["left", "right"] {
                    body = body.int(opcode::SET_DATA).byte(0).int(-1);
                    body = body.raw(&set_data(&format!("/{half}{}", self.index), &text));
                }
                self.session.send(opcode::MULTI, &body.int(-1).byte(1).int(-1).done());
                Sent::Pair(number)
            }
            _ => {
                let value = format!("{}:{number}", self.index);
                let body = Writer::new().string("/numbers/n-").buffer(Some(value.as_bytes())).open_acl().int(2).done();
                self.session.send(opcode::CREATE, &body);
                Sent::Sequential(value)
            }
        }
    }

    fn answered(&mut self, sent: &Sent, reply: &Reply) {
        assert_eq!(reply.err, 0, "{sent:?} was refused");
        match sent {
            Sent::Sequential(value) => {
                let path = Reader::new(&reply.body).string().expect("a CreateResponse");
                assert!(!self.removed.contains(&path), "{path} was given a second time");
                let before = self.kept.insert(path.clone(), value.clone());
                assert_eq!(before, None, "{path} was given twice");
            }
            Sent::Delete(path) => {
                self.removed.insert(path.clone());
            }
            Sent::Counter(number) => self.counter.0 = *number,
            Sent::Pair(number) => self.pair.0 = *number,
        }
    }

    fn lost(&mut self, sent: &Sent) {
        match sent {
            Sent::Sequential(value) => {
                self.unanswered.insert(value.clone());
            }
            Sent::Delete(path) => {
                self.undecided.insert(path.clone());
            }
            Sent::Counter(_) | Sent::Pair(_) => {}
        }
    }

    /// Compares what the server has with what this writer knows.
    fn check(&mut self) {
        let index = self.index;
        let read = |session: &mut Session, name: &str| {
            let (data, _) = session.get(&format!("/{name}{index}"), false).expect("made before the first kill");
            String::from_utf8(data.unwrap_or_default()).ok().and_then(|text| text.parse::<u64>().ok())
        };
        let counter = read(&mut self.session, "counter").expect("a number was written");
        assert!((self.counter.0..=self.counter.1).contains(&counter), "counter {counter}, known {:?}", self.counter);
        let (left, right) = (read(&mut self.session, "left"), read(&mut self.session, "right"));
        assert_eq!(left, right, "a multi is torn");
        let pair = left.expect("a number was written");
        assert!((self.pair.0..=self.pair.1).contains(&pair), "pair {pair}, known {:?}", self.pair);
        let owner = self.session.exists(&format!("/ephemeral{index}"), false).map(|stat| stat.ephemeral_owner);
        assert_eq!(owner, Ok(self.session.id()), "the ephemeral of writer {index}");
        // What is there now was decided before this.
        self.counter = (counter, counter);
        self.pair = (pair, pair);
    }
}

fn set_data(path: &str, text: &str) -> Vec<u8> {
    Writer::new().string(path).buffer(Some(text.as_bytes())).int(-1).done()
}

/// Compares the sequential nodes of all writers with what they know.
fn check_numbers(session: &mut Session, writers: &mut [Author]) {
    let mut found = BTreeMap::new();
    for name in session.children("/numbers", false).expect("made before the first kill") {
        let path = format!("/numbers/{name}");
        let (data, _) = session.get(&path, false).expect("nobody removes now");
        found.insert(path, String::from_utf8(data.unwrap_or_default()).expect("text was written"));
    }
    let mut explained = BTreeSet::new();
    let mut given = BTreeSet::new();
    for writer in writers.iter_mut() {
        for (path, value) in &writer.kept {
            assert_eq!(found.get(path), Some(value), "{path} was acknowledged");
            assert!(given.insert(path.clone()), "{path} was given to two writers");
            explained.insert(path.clone());
        }
        for path in &writer.removed {
            assert!(!found.contains_key(path), "{path} came back");
            assert!(given.insert(path.clone()), "{path} was given to two writers");
        }
        explained.extend(writer.undecided.iter().cloned());
        // An undecided removal is decided now.
        for path in std::mem::take(&mut writer.undecided) {
            if let Some(value) = found.get(&path) {
                writer.kept.insert(path, value.clone());
            } else {
                writer.removed.insert(path);
            }
        }
        // A create without an answer that was carried out all the same is kept from now on.
        for (path, value) in &found {
            if writer.unanswered.remove(value) {
                assert!(given.insert(path.clone()), "{path} was given twice");
                explained.insert(path.clone());
                writer.kept.insert(path.clone(), value.clone());
            }
        }
        writer.unanswered.clear();
    }
    let unexplained: Vec<_> = found.keys().filter(|path| !explained.contains(*path)).collect();
    assert!(unexplained.is_empty(), "nobody made these: {unexplained:?}");
}

#[test]
fn kills_lose_nothing_that_was_acknowledged() {
    let seed = number("RINGKEEPER_SEED", 1);
    let rounds = number("RINGKEEPER_ROUNDS", 5);
    println!("seed {seed}, {rounds} rounds");
    let mut random = Random::new(seed);
    // A snapshot now and then, so that recovery meets snapshots and logs. The original needs twice as many.
    let mut server = start(Settings::new().line("snapCount", 500));
    let mut judge = Session::open(server.address());
    judge.create("/numbers", b"", 0).expect("a fresh server");
    let mut writers: Vec<Author> =
        (0..WRITERS).map(|index| Author::new(index, Session::open(server.address()), seed)).collect();
    for round in 0..rounds {
        let pause = Duration::from_millis(random.below(KILL_AFTER_MAX_MS) as u64);
        thread::scope(|scope| {
            for writer in &mut writers {
                scope.spawn(|| writer.write());
            }
            thread::sleep(pause);
            server.kill();
        });
        // Sometimes it is killed again while it recovers.
        if random.chance(30) {
            server.kill_during_start(Duration::from_millis(random.below(150) as u64));
        }
        server.restart();
        judge = judge.reattach(server.address()).expect("the judge's session lives on");
        for writer in &mut writers {
            let again = writer.session.reattach(server.address()).expect("a server that serves answers");
            assert_eq!(again.id(), writer.session.id(), "round {round}: the session of writer {}", writer.index);
            writer.session = again;
            writer.check();
        }
        check_numbers(&mut judge, &mut writers);
        let kept: usize = writers.iter().map(|writer| writer.kept.len()).sum();
        println!("round {round}: killed after {pause:?}, {kept} sequential nodes kept");
    }
}
