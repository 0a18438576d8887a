//! The wires between machines: who can reach whom, how long it takes, and what becomes of a datagram.
//!
//! Flow       faults cut and heal directions; whoever sends asks `is_cut`, `latency` and `fates`.
//! Invariant  a direction is open when nobody cuts it: cuts are counted, since partitions overlap.
//! Absent     connections, which `stream.rs` lays over these wires.

use super::schedule::{MILLI, Micros};
use crate::random::Random;

/// Number of a node: its place in the world.
pub type NodeId = usize;

/// A set of nodes, a bit for each.
pub type NodeSet = u64;

/// Whether a set has a node.
pub fn contains(set: NodeSet, node: NodeId) -> bool {
    set & (1 << node) != 0
}

/// How good the network is when nothing is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quality {
    /// The least time that a packet takes.
    pub latency_min_us: Micros,
    /// What comes on top at most, on most days.
    pub jitter_us: Micros,
    /// Packets that are held up, in a hundred.
    pub spike_percent: usize,
    /// Their jitter is doubled up to so many times, each number as likely: latencies of every size meet.
    pub spike_doublings: usize,
    /// Datagrams lost, in a hundred.
    pub loss_percent: usize,
    /// Datagrams that arrive twice, in a hundred.
    pub twice_percent: usize,
}

impl Quality {
    /// A room full of good switches.
    pub const LOCAL: Self = Self {
        latency_min_us: 40,
        jitter_us: 200,
        spike_percent: 1,
        spike_doublings: 5,
        loss_percent: 0,
        twice_percent: 0,
    };
    /// A network that loses, repeats and reorders.
    pub const ROUGH: Self = Self {
        latency_min_us: 100,
        jitter_us: 5 * MILLI,
        spike_percent: 2,
        spike_doublings: 6,
        loss_percent: 5,
        twice_percent: 5,
    };
    /// The same at its worst, as a protocol of single messages must bear it.
    pub const WILD: Self = Self {
        latency_min_us: 50,
        jitter_us: 2 * MILLI,
        spike_percent: 70,
        spike_doublings: 6,
        loss_percent: 10,
        twice_percent: 25,
    };
}

/// The wires.
#[derive(Debug)]
pub struct Network {
    nodes: usize,
    quality: Quality,
    /// How many faults cut each direction, by `from * nodes + to`.
    cuts: Vec<u16>,
    /// What each direction takes longer, in the same order.
    extra_us: Vec<Micros>,
    /// More datagrams lost, in a hundred, while a fault says so.
    extra_loss_percent: usize,
    random: Random,
}

impl Network {
    /// All can reach all.
    pub fn new(nodes: usize, quality: Quality, random: Random) -> Self {
        let pairs = nodes * nodes;
        Self { nodes, quality, cuts: vec![0; pairs], extra_us: vec![0; pairs], extra_loss_percent: 0, random }
    }

    fn pair(&self, from: NodeId, to: NodeId) -> usize {
        assert!(from < self.nodes && to < self.nodes, "no wire from {from} to {to}");
        from * self.nodes + to
    }

    fn pairs(&self, from: NodeSet, to: NodeSet) -> impl Iterator<Item = (NodeId, NodeId)> + use<> {
        let nodes = self.nodes;
        let sources = (0..nodes).filter(move |&node| contains(from, node));
        sources.flat_map(move |source| (0..nodes).filter(move |&node| contains(to, node)).map(move |to| (source, to)))
    }

    /// Cuts every direction from one of `from` to one of `to`. A node always reaches itself.
    pub fn cut(&mut self, from: NodeSet, to: NodeSet) {
        for (from, to) in self.pairs(from, to).filter(|(from, to)| from != to) {
            let pair = self.pair(from, to);
            self.cuts[pair] += 1;
        }
    }

    /// Takes one such cut back.
    pub fn heal(&mut self, from: NodeSet, to: NodeSet) {
        for (from, to) in self.pairs(from, to).filter(|(from, to)| from != to) {
            let pair = self.pair(from, to);
            self.cuts[pair] = self.cuts[pair].checked_sub(1).expect("healed what was cut");
        }
    }

    /// Whether nothing gets from one to the other now.
    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.cuts[self.pair(from, to)] > 0
    }

    /// What this direction takes longer from now on.
    pub fn set_extra(&mut self, from: NodeId, to: NodeId, extra_us: Micros) {
        let pair = self.pair(from, to);
        self.extra_us[pair] = extra_us;
    }

    /// How many more datagrams are lost from now on, in a hundred.
    pub fn set_extra_loss(&mut self, percent: usize) {
        self.extra_loss_percent = percent;
    }

    /// What a packet takes that leaves now.
    pub fn latency(&mut self, from: NodeId, to: NodeId) -> Micros {
        if from == to {
            return 1 + self.random.bits() % 10;
        }
        let jitter = self.random.bits() % (self.quality.jitter_us + 1);
        let spike = if self.random.chance(self.quality.spike_percent) {
            1 << self.random.below(self.quality.spike_doublings + 1)
        } else {
            1
        };
        self.quality.latency_min_us + jitter * spike + self.extra_us[self.pair(from, to)]
    }

    /// When the copies of a datagram that leaves now arrive: none, one or two.
    pub fn fates(&mut self, from: NodeId, to: NodeId) -> [Option<Micros>; 2] {
        if self.is_cut(from, to) {
            return [None, None];
        }
        if from == to {
            return [Some(self.latency(from, to)), None];
        }
        let loss = (self.quality.loss_percent + self.extra_loss_percent).min(100);
        let first = (!self.random.chance(loss)).then(|| self.latency(from, to));
        let second = self.random.chance(self.quality.twice_percent).then(|| self.latency(from, to));
        [first, second]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_cuts_are_healed_one_by_one() {
        let mut network = Network::new(3, Quality::LOCAL, Random::new(1));
        network.cut(0b001, 0b111);
        network.cut(0b011, 0b100);
        assert!(network.is_cut(0, 1) && !network.is_cut(1, 0) && network.is_cut(1, 2));
        network.heal(0b001, 0b111);
        assert!(!network.is_cut(0, 1) && network.is_cut(0, 2));
        network.heal(0b011, 0b100);
        assert!(!network.is_cut(0, 2) && !network.is_cut(0, 0));
    }

    #[test]
    fn a_datagram_may_be_lost_or_come_twice() {
        let mut network = Network::new(2, Quality::ROUGH, Random::new(7));
        let arrived: Vec<usize> = (0..2000).map(|_| network.fates(0, 1).iter().flatten().count()).collect();
        for count in 0..3 {
            assert!(arrived.contains(&count), "never {count} copies");
        }
        network.cut(1, 2);
        assert_eq!(network.fates(0, 1), [None, None]);
    }
}
