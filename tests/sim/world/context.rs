//! What a node sees of the world during its turn, and how it acts on it.

use super::{Node, NodeId};
use crate::random::Random;
use crate::sim::disk::SimDisk;
use crate::sim::schedule::Micros;
use crate::sim::stream::{ConnId, Streams};

/// One word of a node.
pub(super) enum Output<N: Node> {
    Timer { delay: Micros, token: u64 },
    Datagram { to: NodeId, message: N::Datagram },
    Listen { port: u16 },
    Dial { conn: ConnId, to: NodeId, port: u16, timeout: Micros },
    Send { conn: ConnId, bytes: Vec<u8> },
    Close { conn: ConnId },
    Abort { conn: ConnId },
    Report(N::Report),
    Note(String),
    Exit { why: String },
}

/// A node's own clocks, chance and disk, and its outbox.
pub struct Context<'a, N: Node> {
    pub(super) id: NodeId,
    pub(super) steady: Micros,
    pub(super) wall_ms: i64,
    pub(super) random: &'a mut Random,
    pub(super) disk: &'a SimDisk,
    pub(super) streams: &'a Streams,
    pub(super) outputs: &'a mut Vec<Output<N>>,
    pub(super) wants_notes: bool,
    pub(super) is_quiet: bool,
    /// Connections dialed in this turn.
    pub(super) dialed: u64,
}

impl<N: Node> Context<'_, N> {
    /// The number of this node.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The steady clock of this machine, in microseconds since it was switched on.
    pub fn steady(&self) -> Micros {
        self.steady
    }

    /// The calendar of this machine, in milliseconds since 1970. Somebody may set it.
    pub fn wall_ms(&self) -> i64 {
        self.wall_ms
    }

    /// Chance.
    pub fn random(&mut self) -> &mut Random {
        self.random
    }

    /// The disk of this machine. Await it in tasks; `Event::Disk` says when to run them.
    pub fn disk(&self) -> &SimDisk {
        self.disk
    }

    /// Rings after `delay` of this machine's steady clock, unless the process ends before.
    pub fn timer(&mut self, delay: Micros, token: u64) {
        self.outputs.push(Output::Timer { delay, token });
    }

    /// Sends a message that may be lost, late, doubled or overtaken. To oneself it is merely late.
    pub fn datagram(&mut self, to: NodeId, message: N::Datagram) {
        self.outputs.push(Output::Datagram { to, message });
    }

    /// Accepts connections from now on.
    pub fn listen(&mut self, port: u16) {
        self.outputs.push(Output::Listen { port });
    }

    /// Starts a connection: `Opened` or `Closed` follows, after `timeout` at the latest.
    pub fn dial(&mut self, to: NodeId, port: u16, timeout: Micros) -> ConnId {
        let conn = ConnId(self.streams.next_conn().0 + self.dialed);
        self.dialed += 1;
        self.outputs.push(Output::Dial { conn, to, port, timeout });
        conn
    }

    /// Sends bytes on a connection that is open. On one that has ended they go nowhere.
    pub fn send(&mut self, conn: ConnId, bytes: Vec<u8>) {
        self.outputs.push(Output::Send { conn, bytes });
    }

    /// Bytes that were sent in earlier turns and have not arrived.
    pub fn unsent_len(&self, conn: ConnId) -> usize {
        self.streams.unsent_len(self.id, conn)
    }

    /// Ends a connection behind what was sent on it.
    pub fn close(&mut self, conn: ConnId) {
        self.outputs.push(Output::Close { conn });
    }

    /// Ends a connection at once; what has not arrived is lost.
    pub fn abort(&mut self, conn: ConnId) {
        self.outputs.push(Output::Abort { conn });
    }

    /// Tells the judge.
    pub fn report(&mut self, report: N::Report) {
        self.outputs.push(Output::Report(report));
    }

    /// Whether somebody reads the story.
    pub fn wants_notes(&self) -> bool {
        self.wants_notes
    }

    /// Whether the plan's faults are over: who makes a load has made enough of it. No program may know that otherwise.
    pub fn is_quiet(&self) -> bool {
        self.is_quiet
    }

    /// A line for the story, made only if somebody reads it.
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        if self.wants_notes {
            self.outputs.push(Output::Note(line()));
        }
    }

    /// The process ends after this turn, and a supervisor starts it again a second later.
    pub fn exit(&mut self, why: impl Into<String>) {
        self.outputs.push(Output::Exit { why: why.into() });
    }
}
