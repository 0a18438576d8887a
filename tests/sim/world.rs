//! The world: nodes, and everything between them, driven from one queue of events.
//!
//! Flow       the next event -> the node it concerns -> its outbox, carried out -> what follows goes into the queue.
//! Invariant  a node learns of time, chance, disk and peers from its `Context` only. What it says takes effect after
//!            its turn, in order, up to the word in which it crashes. A crash drops the node's value: all that is left
//!            of it is on its disk.
//! Absent     any protocol, and any judgement: a `Judge` hears what nodes report.

mod context;
#[cfg(test)]
mod tests;
mod weather;

use std::collections::VecDeque;
use std::fmt::Debug;
use std::hash::Hash;

use storage::MemDisk;

use super::disk::SimDisk;
use super::faults::{Crash, Plan};
use super::network::{Network, NodeId, Quality};
use super::schedule::{MILLI, Micros, SECOND, Schedule};
use super::story::{Detail, Story};
use super::stream::{Close, ConnId, Host, StreamEvent, Streams, Told};
use super::time::Clock;
use crate::random::Random;

pub use context::Context;
use context::Output;

/// A program that runs on a machine of the world: a server, a client, or one or the other.
pub trait Node: Sized {
    /// What all nodes of a run are told at their start.
    type Setup;
    /// What nodes send without a connection.
    type Datagram: Clone + Debug + Hash;
    /// What nodes tell the judge.
    type Report: Debug + Hash;

    /// The process starts, for the first time or on what a crash has left on its disk.
    fn boot(setup: &Self::Setup, context: &mut Context<'_, Self>) -> Self;

    /// Something happened. The node may meet events of connections that it has closed itself a moment before.
    fn on_event(&mut self, event: Event<Self::Datagram>, context: &mut Context<'_, Self>);
}

/// What happens to a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event<M> {
    /// A timer of this boot rings.
    Timer {
        /// As it was set.
        token: u64,
    },
    /// A message without a connection: perhaps late, twice, or out of order.
    Datagram {
        /// Who sent it.
        from: NodeId,
        /// What.
        message: M,
    },
    /// Somebody has connected to us.
    Accepted {
        /// The connection.
        conn: ConnId,
        /// Who.
        from: NodeId,
        /// Where we listen.
        port: u16,
    },
    /// We have connected to somebody.
    Opened {
        /// The connection.
        conn: ConnId,
    },
    /// The next bytes of a connection.
    Bytes {
        /// The connection.
        conn: ConnId,
        /// Any number, cut anywhere.
        bytes: Vec<u8>,
    },
    /// All that we sent has arrived, after more than a window had been waiting.
    Drained {
        /// The connection.
        conn: ConnId,
    },
    /// A connection is over, or never came to be.
    Closed {
        /// The connection.
        conn: ConnId,
        /// Why.
        why: Close,
    },
    /// A disk operation is done: run your tasks.
    Disk,
}

/// Hears what nodes report, and says what must not be.
pub trait Judge<N: Node> {
    /// A node's word.
    ///
    /// # Errors
    /// What must never happen has happened.
    fn on_report(&mut self, at: Micros, node: NodeId, report: N::Report) -> Result<(), String>;

    /// A node's memory is gone.
    fn on_crash(&mut self, _at: Micros, _node: NodeId) {}

    /// Whether all that a run is for has been seen. Asked only when all is quiet.
    fn is_done(&self) -> bool;

    /// What has not, for the message when it took too long.
    fn missing(&self) -> String;
}

/// What a world is made of.
#[derive(Debug)]
pub struct Frame<S> {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// For the nodes.
    pub setup: S,
    /// How many nodes.
    pub nodes: usize,
    /// How good their network is.
    pub quality: Quality,
    /// What goes wrong.
    pub plan: Plan,
    /// How much of the story is kept.
    pub detail: Detail,
}

/// What happens next.
#[derive(Debug)]
enum Happening<M> {
    Boot(NodeId),
    Timer { node: NodeId, process: u32, token: u64 },
    Datagram { from: NodeId, to: NodeId, message: M },
    Stream(StreamEvent),
    Disk { node: NodeId, process: u32, ticket: u64 },
    FaultBegins(usize),
    FaultEnds(usize),
}

/// A machine.
struct Slot<N: Node> {
    /// The process, while one runs.
    node: Option<N>,
    /// Its number.
    process: u32,
    /// Faults that keep it down.
    down: u32,
    /// Faults that make it stand still.
    paused: u32,
    /// Faults that keep its disk full.
    full: u32,
    /// What happened while it stood still.
    held: VecDeque<Event<N::Datagram>>,
    disk: SimDisk,
    clock: Clock,
    random: Random,
    /// A crash that waits for its moment: the number of the fault, and the operation or word.
    at_operation: Option<(usize, u64)>,
    mid_turn: Option<(usize, usize)>,
}

/// The world. See the module's head.
pub struct World<N: Node> {
    setup: N::Setup,
    schedule: Schedule<Happening<N::Datagram>>,
    network: Network,
    streams: Streams,
    slots: Vec<Slot<N>>,
    plan: Plan,
    /// Which faults of the plan keep a node down: crashes from their moment to their end.
    felled: Vec<bool>,
    story: Story,
    random: Random,
    outputs: Vec<Output<N>>,
    reports: VecDeque<(NodeId, Word<N>)>,
}

/// What a judge is told.
enum Word<N: Node> {
    Report(N::Report),
    Crash,
}

impl<N: Node> World<N> {
    /// A world in which nothing has happened: nodes boot within the first milliseconds.
    pub fn new(frame: Frame<N::Setup>) -> Self {
        let mut root = Random::new(frame.seed);
        let mut split = || Random::new(root.bits());
        let mut random = split();
        let mut schedule = Schedule::new(split());
        let network = Network::new(frame.nodes, frame.quality, split());
        let streams = Streams::new(frame.nodes, split());
        for (index, planned) in frame.plan.faults.iter().enumerate() {
            schedule.after(planned.begin, Happening::FaultBegins(index));
            if !planned.fault.is_instant() {
                schedule.after(planned.end, Happening::FaultEnds(index));
            }
        }
        let slots = (0..frame.nodes)
            .map(|node| {
                schedule.after(random.bits() % (5 * MILLI), Happening::Boot(node));
                let drift_ppm = random.below(401) as i64 - 200;
                Slot {
                    node: None,
                    process: 0,
                    down: 0,
                    paused: 0,
                    full: 0,
                    held: VecDeque::new(),
                    disk: SimDisk::new(MemDisk::new(), split()),
                    clock: Clock::new(0, random.bits() % (1000 * SECOND), drift_ppm),
                    random: split(),
                    at_operation: None,
                    mid_turn: None,
                }
            })
            .collect();
        Self {
            setup: frame.setup,
            schedule,
            network,
            streams,
            slots,
            felled: vec![false; frame.plan.faults.len()],
            plan: frame.plan,
            story: Story::new(frame.detail),
            random,
            outputs: Vec::new(),
            reports: VecDeque::new(),
        }
    }

    /// Lets things happen until the judge has seen everything, after the plan's faults are over.
    ///
    /// # Errors
    /// What the judge objects to, or what it has not seen `bound` after the last fault.
    pub fn run(&mut self, judge: &mut impl Judge<N>, bound: Micros) -> Result<(), String> {
        let quiet_from = self.plan.quiet_from;
        while let Some(happening) = self.schedule.pop(quiet_from + bound) {
            self.happen(happening);
            self.settle();
            while let Some((node, word)) = self.reports.pop_front() {
                match word {
                    Word::Report(report) => judge.on_report(self.schedule.now(), node, report)?,
                    Word::Crash => judge.on_crash(self.schedule.now(), node),
                }
            }
            if self.schedule.now() >= quiet_from && judge.is_done() {
                return Ok(());
            }
        }
        if judge.is_done() { Ok(()) } else { Err(judge.missing()) }
    }

    /// The story so far.
    pub fn story(&self) -> &Story {
        &self.story
    }

    /// The story, when the run is over.
    pub fn into_story(self) -> Story {
        self.story
    }

    /// The process on a machine, while one runs.
    pub fn node(&self, node: NodeId) -> Option<&N> {
        self.slots[node].node.as_ref()
    }

    /// True time since the start.
    pub fn now(&self) -> Micros {
        self.schedule.now()
    }

    fn happen(&mut self, happening: Happening<N::Datagram>) {
        match happening {
            Happening::Boot(node) => self.boot(node),
            Happening::Timer { node, process, token } => {
                if self.slots[node].process == process {
                    self.tell(node, Event::Timer { token });
                }
            }
            Happening::Datagram { from, to, message } => {
                // A wire that was cut meanwhile loses what was on it.
                if !self.network.is_cut(from, to) {
                    self.tell(to, Event::Datagram { from, message });
                }
            }
            Happening::Stream(event) => self.streams.on_event(&mut self.network, self.schedule.now(), event),
            Happening::Disk { node, process, ticket } => {
                if self.slots[node].process == process {
                    self.slots[node].disk.finish(ticket);
                    self.tell(node, Event::Disk);
                }
            }
            Happening::FaultBegins(index) => self.fault_begins(index),
            Happening::FaultEnds(index) => self.fault_ends(index),
        }
    }

    /// Hands on what has come of connections, until nothing more does.
    fn settle(&mut self) {
        loop {
            let outcome = self.streams.outcome();
            if outcome.later.is_empty() && outcome.told.is_empty() {
                return;
            }
            let outcome = std::mem::take(outcome);
            for (delay, event) in outcome.later {
                self.schedule.after(delay, Happening::Stream(event));
            }
            for (node, conn, told) in outcome.told {
                let event = match told {
                    Told::Accepted { from, port } => Event::Accepted { conn, from, port },
                    Told::Opened => Event::Opened { conn },
                    Told::Bytes(bytes) => Event::Bytes { conn, bytes },
                    Told::Drained => Event::Drained { conn },
                    Told::Closed(why) => Event::Closed { conn, why },
                };
                self.tell(node, event);
            }
        }
    }

    /// Something happens to a node, now or when it goes on.
    fn tell(&mut self, node: NodeId, event: Event<N::Datagram>) {
        let slot = &mut self.slots[node];
        if slot.node.is_none() {
            return;
        }
        if slot.paused > 0 {
            if let Event::Bytes { bytes, .. } = &event {
                self.streams.host_mut(node).held_len += bytes.len();
            }
            slot.held.push_back(event);
            return;
        }
        self.turn(node, event);
    }

    fn turn(&mut self, node: NodeId, event: Event<N::Datagram>) {
        let now = self.schedule.now();
        self.story.mark(now, &(node, &event));
        self.story.note(Detail::Messages, now, Some(node), || describe(&event));
        self.in_context(node, |process, _, context| {
            process.as_mut().expect("who is told something runs").on_event(event, context);
        });
    }

    /// Lets a node have its turn, and carries out what it said.
    fn in_context(&mut self, node: NodeId, turn: impl FnOnce(&mut Option<N>, &N::Setup, &mut Context<'_, N>)) {
        assert!(self.outputs.is_empty(), "one turn at a time");
        let slot = &mut self.slots[node];
        let now = self.schedule.now();
        let mut context = Context {
            id: node,
            steady: slot.clock.steady(now),
            wall_ms: slot.clock.wall_ms(now),
            random: &mut slot.random,
            disk: &slot.disk,
            streams: &self.streams,
            outputs: &mut self.outputs,
            wants_notes: self.story.wants(Detail::Notes),
            is_quiet: now >= self.plan.quiet_from,
            dialed: 0,
        };
        turn(&mut slot.node, &self.setup, &mut context);
        self.carry_out(node);
    }

    fn boot(&mut self, node: NodeId) {
        let slot = &mut self.slots[node];
        if slot.node.is_some() || slot.down > 0 {
            return;
        }
        slot.process += 1;
        let process = slot.process;
        *self.streams.host_mut(node) = Host { process: Some(process), ..Host::default() };
        self.streams.resume();
        self.story.mark(self.schedule.now(), &(node, process));
        self.story.note(Detail::Notes, self.schedule.now(), Some(node), || format!("boots ({process})"));
        self.in_context(node, |place, setup, context| *place = Some(N::boot(setup, context)));
    }

    /// Carries out what a node said in its turn, and crashes it where that is planned.
    fn carry_out(&mut self, node: NodeId) {
        let mut outputs = std::mem::take(&mut self.outputs);
        let mut crash = None;
        if let Some((fault, words)) = self.slots[node].mid_turn.filter(|_| !outputs.is_empty()) {
            // What has happened in memory, and perhaps on the disk, is reported all the same.
            let mut place = 0;
            outputs.retain(|output| {
                place += 1;
                place <= words || matches!(output, Output::Report(_))
            });
            crash = Some(fault);
        }
        let mut exits = false;
        for output in outputs.drain(..) {
            exits |= self.carry_out_one(node, output);
        }
        self.outputs = outputs;
        let slot = &mut self.slots[node];
        if let Some((ticket, delay)) = slot.disk.take_begun() {
            self.schedule.after(delay, Happening::Disk { node, process: slot.process, ticket });
        }
        if let Some((fault, _)) = slot.at_operation.filter(|(_, operation)| slot.disk.operations() >= *operation) {
            crash = Some(fault);
        }
        if let Some(fault) = crash {
            self.strike(fault);
        } else if exits {
            self.crash(node, Crash::Process);
            // A supervisor starts it again.
            let pause = 500 * MILLI + self.random.bits() % SECOND;
            self.schedule.after(pause, Happening::Boot(node));
        }
    }

    /// One word of a node. True if it wants to end.
    fn carry_out_one(&mut self, node: NodeId, output: Output<N>) -> bool {
        let now = self.schedule.now();
        match output {
            Output::Timer { delay, token } => {
                let delay = self.slots[node].clock.true_time(delay);
                self.schedule.after(delay, Happening::Timer { node, process: self.slots[node].process, token });
            }
            Output::Datagram { to, message } => {
                let [first, second] = self.network.fates(node, to);
                if let Some(delay) = second {
                    self.schedule.after(delay, Happening::Datagram { from: node, to, message: message.clone() });
                }
                if let Some(delay) = first {
                    self.schedule.after(delay, Happening::Datagram { from: node, to, message });
                }
            }
            Output::Listen { port } => {
                self.streams.host_mut(node).ports.insert(port);
            }
            Output::Dial { conn, to, port, timeout } => {
                let timeout = self.slots[node].clock.true_time(timeout);
                let dialed = self.streams.dial(&mut self.network, node, to, port, timeout);
                assert_eq!(dialed, conn, "connections are numbered in the order of dialing");
            }
            Output::Send { conn, bytes } => self.streams.send(&mut self.network, now, node, conn, bytes),
            Output::Close { conn } => self.streams.close(&mut self.network, now, node, conn),
            Output::Abort { conn } => self.streams.abort(&mut self.network, node, conn),
            Output::Report(report) => {
                self.story.mark(now, &(node, &report));
                self.story.note(Detail::Notes, now, Some(node), || format!("{report:?}"));
                self.reports.push_back((node, Word::Report(report)));
            }
            Output::Note(line) => self.story.note(Detail::Notes, now, Some(node), || line),
            Output::Exit { why } => {
                self.story.note(Detail::Notes, now, Some(node), || format!("exits: {why}"));
                return true;
            }
        }
        false
    }
}

fn describe<M: Debug>(event: &Event<M>) -> String {
    match event {
        Event::Datagram { from, message } => format!("<- n{from}  {message:?}"),
        Event::Bytes { conn, bytes } => format!("<- c{}  {} bytes", conn.0, bytes.len()),
        other => format!("{other:?}"),
    }
}
