//! Connections: ordered bytes over wires that may be cut, ended in every way that TCP knows.
//!
//! ```text
//! dial ──> Syn ──> (listening?) ──> Accepted at the target, SynAck ──> Opened at the dialer;  else Refused, or silence
//! send ──> the flow's queue ──> Pump per piece ──> Bytes, cut anywhere;  an end: Closed at the other side, or silence
//! ```
//!
//! Flow       `on_event` and the calls of nodes change the connections; `outcome` collects what shall happen later and
//!            what nodes are told now, which the world takes.
//! Invariant  what arrives is a prefix of what was sent, in order. A side is told of an end once, and nothing after it.
//!            A cut wire stalls a flow and loses none of it; what is lost is lost with the connection.
//! Absent     windows that adapt and packets as such: a piece is whatever arrives at once.

mod flow;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use super::network::{Network, NodeId};
use super::schedule::{MILLI, Micros, SECOND};
use crate::random::Random;
use flow::Flow;

/// Number of a connection; both sides use it, and it is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// Why a connection ended, as one side sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Close {
    /// The other side said all and closed.
    Eof,
    /// The other side, or something between, broke it.
    Reset,
    /// Bytes went unacknowledged for too long.
    TimedOut,
    /// Nobody listens there.
    Refused,
}

/// Bytes that a receiver takes while it does not read, and that go unacknowledged at most.
pub const WINDOW: usize = 256 * 1024;
/// Bytes in a microsecond that a wire takes: ten gigabits.
const BANDWIDTH: u64 = 1250;
/// A lost packet is sent again after so long, and up to three times that.
const RESEND: Micros = 200 * MILLI;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// The first packet arrives.
    Syn(ConnId),
    /// Its answer arrives.
    SynAck(ConnId),
    /// The dialer waits no longer.
    DialTimeout(ConnId),
    /// A piece arrives.
    Pump(ConnId, Side),
    /// This side's kernel gives up on unacknowledged bytes, if it is still the same stall.
    GiveUp(ConnId, Side, u32),
    /// Word of an end arrives at this side, over the wire or, as a lie, out of the blue.
    End(ConnId, Side, Close, Via),
}

/// How word of an end travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// From the other side; lost when the wire is cut.
    Wire,
    /// From something between that breaks connections.
    Nowhere,
}

/// One side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// It dialed.
    Dialer,
    /// It accepted.
    Acceptor,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Dialer => Self::Acceptor,
            Self::Acceptor => Self::Dialer,
        }
    }
}

/// What a node is told of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Somebody dialed us.
    Accepted {
        /// Who.
        from: NodeId,
        /// Where we listen.
        port: u16,
    },
    /// We dialed, and they took it.
    Opened,
    /// The next bytes.
    Bytes(Vec<u8>),
    /// All we sent has arrived, after more than a window of it waited.
    Drained,
    /// It is over, and nothing follows.
    Closed(Close),
}

/// A machine, as its peers' packets find it.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// The process there, by number, while one runs.
    pub process: Option<u32>,
    /// Whether the machine is off, and silent.
    pub is_off: bool,
    /// Where the process listens.
    pub ports: BTreeSet<u16>,
    /// Bytes that wait for a process that does not read.
    pub held_len: usize,
}

/// All connections, and the machines at their ends.
#[derive(Debug)]
pub struct Streams {
    conns: Vec<Conn>,
    /// Those with a side that is open.
    live: BTreeSet<ConnId>,
    hosts: Vec<Host>,
    random: Random,
    outcome: Outcome,
}

/// What follows.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Events for the schedule, with their delays.
    pub later: Vec<(Micros, StreamEvent)>,
    /// What processes are told now, in order.
    pub told: Vec<(NodeId, ConnId, Told)>,
}

#[derive(Debug)]
struct Conn {
    ends: [End; 2],
    /// From the dialer, from the acceptor.
    flows: [Flow; 2],
    port: u16,
    is_dialing: bool,
    /// Something between broke it: what is sent goes nowhere.
    is_broken: bool,
}

#[derive(Clone, Copy, Debug)]
struct End {
    node: NodeId,
    process: u32,
    is_open: bool,
}

impl Streams {
    /// No connections among `nodes` machines.
    pub fn new(nodes: usize, random: Random) -> Self {
        let hosts = vec![Host::default(); nodes];
        Self { conns: Vec::new(), live: BTreeSet::new(), hosts, random, outcome: Outcome::default() }
    }

    /// A machine.
    pub fn host_mut(&mut self, node: NodeId) -> &mut Host {
        &mut self.hosts[node]
    }

    /// What has come of the calls since the last time.
    pub fn outcome(&mut self) -> &mut Outcome {
        &mut self.outcome
    }

    /// The number that the next dialed connection gets.
    pub fn next_conn(&self) -> ConnId {
        ConnId(self.conns.len() as u64)
    }

    /// Bytes that `node` has sent and that have not arrived. Zero for a connection that is over.
    pub fn unsent_len(&self, node: NodeId, conn: ConnId) -> usize {
        let Some(entry) = self.conns.get(conn.0 as usize) else { return 0 };
        entry.side_of(node).map_or(0, |side| entry.flows[side as usize].unsent_len())
    }

    /// Starts a connection, which is `Opened` or `Closed` later, after `timeout` at the latest.
    pub fn dial(&mut self, network: &mut Network, from: NodeId, to: NodeId, port: u16, timeout: Micros) -> ConnId {
        assert_ne!(from, to, "a node speaks to itself without a wire");
        let conn = self.next_conn();
        let process = self.hosts[from].process.expect("who dials runs");
        let ends = [
            End { node: from, process, is_open: true },
            // Whose process it will be is seen when the first packet arrives.
            End { node: to, process: 0, is_open: false },
        ];
        let flows = [Flow::default(), Flow::default()];
        self.conns.push(Conn { ends, flows, port, is_dialing: true, is_broken: false });
        self.live.insert(conn);
        let latency = network.latency(from, to);
        self.outcome.later.push((latency, StreamEvent::Syn(conn)));
        self.outcome.later.push((timeout, StreamEvent::DialTimeout(conn)));
        conn
    }

    /// Sends bytes. On a connection that is over they go nowhere.
    pub fn send(&mut self, network: &mut Network, now: Micros, node: NodeId, conn: ConnId, bytes: Vec<u8>) {
        let entry = &mut self.conns[conn.0 as usize];
        let Some(side) = entry.open_side_of(node) else { return };
        assert!(side == Side::Acceptor || !entry.is_dialing, "{conn:?} is not open yet");
        if bytes.is_empty() || entry.is_broken {
            return;
        }
        let latency = network.latency(node, entry.ends[side.other() as usize].node);
        if let Some(at) = entry.flows[side as usize].push(bytes, now + latency) {
            self.outcome.later.push((at - now, StreamEvent::Pump(conn, side)));
        }
    }

    /// Ends our side behind what we sent. What arrives later is not read.
    pub fn close(&mut self, network: &mut Network, now: Micros, node: NodeId, conn: ConnId) {
        let entry = &mut self.conns[conn.0 as usize];
        let Some(side) = entry.open_side_of(node) else { return };
        entry.ends[side as usize].is_open = false;
        entry.is_dialing &= side != Side::Dialer;
        let latency = network.latency(node, entry.ends[side.other() as usize].node);
        if let Some(at) = entry.flows[side as usize].push_end(now + latency) {
            self.outcome.later.push((at - now, StreamEvent::Pump(conn, side)));
        }
        self.tidy(conn);
    }

    /// Breaks the connection: what has not arrived is lost, and the other side is told if the wire lets it.
    pub fn abort(&mut self, network: &mut Network, node: NodeId, conn: ConnId) {
        let entry = &mut self.conns[conn.0 as usize];
        let Some(side) = entry.open_side_of(node) else { return };
        entry.ends[side as usize].is_open = false;
        entry.is_dialing &= side != Side::Dialer;
        entry.flows[side as usize].clear();
        self.reset_other(network, conn, side);
        self.tidy(conn);
    }

    /// The process of `node` ends. A machine that goes off with it tells nobody, and a part of what was under way is
    /// lost.
    pub fn process_ends(&mut self, network: &mut Network, now: Micros, node: NodeId, goes_off: bool) {
        let host = &mut self.hosts[node];
        host.process = None;
        host.is_off = goes_off;
        host.ports.clear();
        host.held_len = 0;
        for conn in self.live.clone() {
            let Some(side) = self.conns[conn.0 as usize].open_side_of(node) else { continue };
            if goes_off {
                let entry = &mut self.conns[conn.0 as usize];
                entry.ends[side as usize].is_open = false;
                entry.is_dialing &= side != Side::Dialer;
                entry.flows[side as usize].truncate(&mut self.random);
                self.tidy(conn);
            } else if self.random.chance(50) {
                self.abort(network, node, conn);
            } else {
                self.close(network, now, node, conn);
            }
        }
    }

    /// Something between breaks all connections of two nodes, in mid-frame: each side is told at a time of its own, and
    /// one of them perhaps much later.
    pub fn break_between(&mut self, one: NodeId, other: NodeId) {
        for conn in self.live.clone() {
            let entry = &mut self.conns[conn.0 as usize];
            let nodes = entry.ends.map(|end| end.node);
            if entry.is_dialing || (nodes != [one, other] && nodes != [other, one]) {
                continue;
            }
            entry.is_broken = true;
            for side in [Side::Dialer, Side::Acceptor] {
                entry.flows[side as usize].truncate(&mut self.random);
                let late = self.random.chance(20);
                let most = if late { 30 * SECOND } else { 300 * MILLI };
                let delay = self.random.bits() % most;
                self.outcome.later.push((delay, StreamEvent::End(conn, side, Close::Reset, Via::Nowhere)));
            }
        }
    }

    /// Wires were healed, or a process reads again: stalled flows go on when their last packet is sent again.
    pub fn resume(&mut self) {
        for &conn in &self.live {
            for side in [Side::Dialer, Side::Acceptor] {
                if self.conns[conn.0 as usize].flows[side as usize].resume() {
                    let delay = RESEND + self.random.bits() % (2 * RESEND);
                    self.outcome.later.push((delay, StreamEvent::Pump(conn, side)));
                }
            }
        }
    }

    /// Time for a connection to go on.
    pub fn on_event(&mut self, network: &mut Network, now: Micros, event: StreamEvent) {
        match event {
            StreamEvent::Syn(conn) => self.on_syn(network, conn),
            StreamEvent::SynAck(conn) => self.on_syn_ack(network, conn),
            StreamEvent::DialTimeout(conn) => {
                if self.conns[conn.0 as usize].is_dialing {
                    self.end(conn, Side::Dialer, Close::TimedOut);
                }
            }
            StreamEvent::Pump(conn, side) => self.on_pump(network, now, conn, side),
            StreamEvent::GiveUp(conn, side, stall) => {
                if self.conns[conn.0 as usize].flows[side as usize].is_stalled(stall) {
                    self.end(conn, side, Close::TimedOut);
                }
            }
            StreamEvent::End(conn, side, why, via) => {
                let [to, from] = self.nodes_from(conn, side);
                if via == Via::Nowhere || !network.is_cut(from, to) {
                    self.end(conn, side, why);
                }
            }
        }
    }

    /// The nodes of a connection, the one at `side` first.
    fn nodes_from(&self, conn: ConnId, side: Side) -> [NodeId; 2] {
        let ends = &self.conns[conn.0 as usize].ends;
        [ends[side as usize].node, ends[side.other() as usize].node]
    }

    fn resend_delay(&mut self) -> Micros {
        RESEND + self.random.bits() % (2 * RESEND)
    }

    fn on_syn(&mut self, network: &mut Network, conn: ConnId) {
        let entry = &self.conns[conn.0 as usize];
        if !entry.is_dialing {
            return;
        }
        let (port, [from, to]) = (entry.port, self.nodes_from(conn, Side::Dialer));
        if network.is_cut(from, to) || self.hosts[to].is_off {
            let delay = self.resend_delay();
            self.outcome.later.push((delay, StreamEvent::Syn(conn)));
            return;
        }
        let latency = network.latency(to, from);
        let host = &self.hosts[to];
        let Some(process) = host.process.filter(|_| host.ports.contains(&port)) else {
            let event = StreamEvent::End(conn, Side::Dialer, Close::Refused, Via::Wire);
            self.outcome.later.push((latency, event));
            return;
        };
        self.conns[conn.0 as usize].ends[1] = End { node: to, process, is_open: true };
        self.outcome.told.push((to, conn, Told::Accepted { from, port }));
        self.outcome.later.push((latency, StreamEvent::SynAck(conn)));
    }

    fn on_syn_ack(&mut self, network: &mut Network, conn: ConnId) {
        let [from, to] = self.nodes_from(conn, Side::Dialer);
        if network.is_cut(to, from) {
            let delay = self.resend_delay();
            self.outcome.later.push((delay, StreamEvent::SynAck(conn)));
            return;
        }
        let entry = &mut self.conns[conn.0 as usize];
        if std::mem::take(&mut entry.is_dialing) {
            self.outcome.told.push((from, conn, Told::Opened));
        } else if !entry.ends[0].is_open && !self.hosts[from].is_off {
            // The dialer has gone meanwhile, and its kernel says so.
            self.reset_other(network, conn, Side::Dialer);
        }
    }

    fn on_pump(&mut self, network: &mut Network, now: Micros, conn: ConnId, side: Side) {
        let [from, to] = self.nodes_from(conn, side);
        let is_back_cut = network.is_cut(to, from);
        let target = self.conns[conn.0 as usize].ends[side.other() as usize];
        let host = &self.hosts[to];
        let entry = &mut self.conns[conn.0 as usize];
        let is_early = entry.is_dialing;
        let flow = &mut entry.flows[side as usize];
        flow.pumped();
        if is_early {
            // The acceptor's first bytes have overtaken its answer.
            let at = flow.schedule(now + MILLI).expect("there is what is pumped");
            self.outcome.later.push((at - now, StreamEvent::Pump(conn, side)));
            return;
        }
        let reads = host.held_len < WINDOW;
        if network.is_cut(from, to) || host.is_off || !reads || (is_back_cut && flow.is_window_full()) {
            // The kernel's patience: mostly longer than a run, sometimes a few seconds.
            let patience = self.random.chance(40).then(|| 3 * SECOND + self.random.bits() % (17 * SECOND));
            let stall = flow.stall();
            if let Some(patience) = patience.filter(|_| !flow.is_empty()) {
                self.outcome.later.push((patience, StreamEvent::GiveUp(conn, side, stall)));
            }
            return;
        }
        if !target.is_open || host.process != Some(target.process) {
            flow.clear();
            self.reset_other(network, conn, side.other());
            return;
        }
        let (bytes, is_end) = flow.take(now, is_back_cut, &mut self.random);
        let was_drained = flow.unsent_len() == 0 && flow.take_was_full();
        if let Some(at) = flow.schedule(now) {
            self.outcome.later.push((at - now, StreamEvent::Pump(conn, side)));
        }
        let source_is_open = entry.ends[side as usize].is_open;
        if !bytes.is_empty() {
            self.outcome.told.push((to, conn, Told::Bytes(bytes)));
        }
        if was_drained && source_is_open {
            self.outcome.told.push((from, conn, Told::Drained));
        }
        if is_end {
            self.end(conn, side.other(), Close::Eof);
        }
    }

    /// Tells the side across from `side` that the connection is broken.
    fn reset_other(&mut self, network: &mut Network, conn: ConnId, side: Side) {
        let [from, to] = self.nodes_from(conn, side);
        let latency = network.latency(from, to);
        self.outcome.later.push((latency, StreamEvent::End(conn, side.other(), Close::Reset, Via::Wire)));
    }

    /// A side learns that it is over. What it still had to send is lost: nobody reads it any more.
    fn end(&mut self, conn: ConnId, side: Side, why: Close) {
        let entry = &mut self.conns[conn.0 as usize];
        let end = &mut entry.ends[side as usize];
        if !end.is_open {
            return;
        }
        end.is_open = false;
        entry.is_dialing &= side != Side::Dialer;
        entry.flows[side as usize].clear();
        self.outcome.told.push((end.node, conn, Told::Closed(why)));
        self.tidy(conn);
    }

    fn tidy(&mut self, conn: ConnId) {
        let entry = &self.conns[conn.0 as usize];
        let is_over = entry.ends.iter().all(|end| !end.is_open);
        if is_over && !entry.is_dialing && entry.flows.iter().all(Flow::is_empty) {
            self.live.remove(&conn);
        }
    }
}

impl Conn {
    fn side_of(&self, node: NodeId) -> Option<Side> {
        [Side::Dialer, Side::Acceptor].into_iter().find(|&side| self.ends[side as usize].node == node)
    }

    fn open_side_of(&self, node: NodeId) -> Option<Side> {
        let is_open = |side: &Side| self.ends[*side as usize].node == node && self.ends[*side as usize].is_open;
        [Side::Dialer, Side::Acceptor].into_iter().find(is_open)
    }
}
