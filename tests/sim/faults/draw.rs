//! Draws a plan: which faults a profile has, how often, and for how long.

use super::{Crash, Fault, Plan, Planned, Profile, When};
use crate::random::Random;
use crate::sim::network::{NodeId, NodeSet};
use crate::sim::schedule::{MILLI, Micros};

/// What a plan has to fit.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Nodes that keep something on a disk: the first ones. Most faults are theirs.
    pub servers: usize,
    /// All nodes.
    pub nodes: usize,
    /// How long things go wrong.
    pub span: Micros,
    /// The most faults.
    pub faults_max: usize,
    /// Disks that may be wiped. A quorum that forgets is beyond what any protocol promises.
    pub wipes_max: usize,
}

/// What a fault is about; the columns of [`weights`].
#[derive(Clone, Copy, Debug)]
enum Kind {
    Crash,
    Pause,
    OneWay,
    Partition,
    Loss,
    SlowLink,
    Break,
    SlowDisk,
    FailingDisk,
    FullDisk,
    WallJump,
    Drift,
}

const KINDS: [Kind; 12] = [
    Kind::Crash,
    Kind::Pause,
    Kind::OneWay,
    Kind::Partition,
    Kind::Loss,
    Kind::SlowLink,
    Kind::Break,
    Kind::SlowDisk,
    Kind::FailingDisk,
    Kind::FullDisk,
    Kind::WallJump,
    Kind::Drift,
];

/// How often a profile draws each kind, in the order of [`KINDS`].
fn weights(profile: Profile) -> [u32; 12] {
    match profile {
        Profile::Calm => [0; 12],
        Profile::Crashes => [10, 1, 0, 0, 1, 0, 1, 1, 0, 0, 0, 0],
        Profile::Partitions => [1, 0, 5, 6, 2, 3, 4, 0, 0, 0, 0, 0],
        Profile::Disks => [3, 0, 0, 0, 0, 0, 0, 4, 4, 2, 0, 0],
        Profile::Clocks => [1, 6, 0, 1, 0, 1, 0, 0, 0, 0, 4, 5],
        Profile::Chaos => [10, 4, 4, 5, 2, 3, 3, 3, 2, 1, 2, 2],
    }
}

impl Plan {
    /// The plan of a seed.
    pub fn draw(random: &mut Random, profile: Profile, shape: &Shape) -> Self {
        let weights = weights(profile);
        if weights.iter().sum::<u32>() == 0 {
            return Self { faults: Vec::new(), quiet_from: shape.span };
        }
        let count = 1 + random.below(shape.faults_max);
        let mut wipes = shape.wipes_max;
        let mut faults = Vec::new();
        for _ in 0..count {
            let kind = KINDS[random.weighted(&weights)];
            let fault = draw(random, kind, shape, &mut wipes);
            let begin = random.bits() % shape.span;
            // Mostly short, so that faults meet; a few as long as they can be.
            let longest = if random.chance(15) { shape.span } else { shape.span / 5 };
            let end = (begin + 1 + random.bits() % longest).min(shape.span);
            if let Fault::Crash { node, .. } = fault {
                match random.below(10) {
                    0 | 1 => faults.extend(outage(random, shape, begin, end)),
                    2 | 3 => faults.extend(crash_loop(random, shape, node, end)),
                    _ => {}
                }
            }
            faults.push(Planned { begin, end, fault });
        }
        faults.sort_by_key(|planned| planned.begin);
        Self { faults, quiet_from: shape.span }
    }
}

fn draw(random: &mut Random, kind: Kind, shape: &Shape, wipes: &mut usize) -> Fault {
    let server = random.below(shape.servers);
    // Clients crash and pause too, though less: what they lose is theirs.
    let anyone = if random.chance(15) { random.below(shape.nodes) } else { server };
    match kind {
        Kind::Crash if anyone < shape.servers => crash(random, anyone, wipes),
        Kind::Crash => Fault::Crash { node: anyone, how: Crash::Process, when: When::Now },
        Kind::Pause => Fault::Pause { node: anyone },
        Kind::OneWay => {
            let (from, to) = sets(random, shape.nodes);
            Fault::OneWay { from, to }
        }
        Kind::Partition => {
            let (one, other) = sets(random, shape.nodes);
            Fault::Partition { one, other }
        }
        Kind::Loss => Fault::Loss { percent: 5 + random.below(60) },
        Kind::SlowLink => {
            let (from, to) = pair(random, shape.nodes);
            Fault::SlowLink { from, to, extra_us: MILLI << random.below(9) }
        }
        Kind::Break => {
            let (one, other) = pair(random, shape.nodes);
            Fault::Break { one, other }
        }
        Kind::SlowDisk => Fault::SlowDisk { node: server, times: 4 << random.below(9) },
        Kind::FailingDisk if random.chance(60) => Fault::FailingSync { node: server, skip: random.below(10) },
        Kind::FailingDisk => Fault::FailingWrite { node: server, skip: random.below(10) },
        Kind::FullDisk => Fault::FullDisk { node: server },
        Kind::WallJump => {
            let size = 1_i64 << random.below(32);
            Fault::WallJump { node: anyone, by_ms: if random.chance(50) { size } else { -size } }
        }
        Kind::Drift => {
            // A bad crystal is off by 200 in a million; a virtual machine's clock can be far worse for a while.
            let most: i64 = if random.chance(30) { 100_000 } else { 500 };
            Fault::Drift { node: anyone, ppm: random.below(2 * most as usize) as i64 - most }
        }
    }
}

fn crash(random: &mut Random, node: NodeId, wipes: &mut usize) -> Fault {
    let how = match random.below(10) {
        0 | 1 if *wipes > 0 => {
            *wipes -= 1;
            Crash::Wiped
        }
        0..6 => Crash::Power,
        _ => Crash::Process,
    };
    let when = match random.below(4) {
        0 => When::Now,
        1 => When::MidTurn(random.below(4)),
        _ => When::AtOperation(1 + random.below(12) as u64),
    };
    Fault::Crash { node, how, when }
}

/// The power fails for some of the servers at once.
fn outage(random: &mut Random, shape: &Shape, begin: Micros, end: Micros) -> Vec<Planned> {
    let hit: Vec<NodeId> = (0..shape.servers).filter(|_| random.chance(50)).collect();
    let fault = |node| Fault::Crash { node, how: Crash::Power, when: When::Now };
    hit.into_iter().map(|node| Planned { begin, end, fault: fault(node) }).collect()
}

/// A process that is killed again and again, soon after each start.
fn crash_loop(random: &mut Random, shape: &Shape, node: NodeId, from: Micros) -> Vec<Planned> {
    let period = shape.span / 80 + random.bits() % (shape.span / 10);
    let begins = (0..2 + random.below(6) as u64).map(|round| from + period * round);
    let fault = Fault::Crash { node, how: Crash::Process, when: When::Now };
    let planned = |begin| Planned { begin, end: begin + 1 + period / 8, fault: fault.clone() };
    begins.map(planned).filter(|planned| planned.end <= shape.span).collect()
}

fn pair(random: &mut Random, nodes: usize) -> (NodeId, NodeId) {
    if nodes == 1 {
        return (0, 0);
    }
    let one = random.below(nodes);
    (one, (one + 1 + random.below(nodes - 1)) % nodes)
}

/// Two sets that share nobody: one node against the rest, two halves, or any shape, with some that see both.
fn sets(random: &mut Random, nodes: usize) -> (NodeSet, NodeSet) {
    let all: NodeSet = (1 << nodes) - 1;
    let mut one: NodeSet = if random.chance(40) { 1 << random.below(nodes) } else { random.bits() & all };
    let mut other = all & !one;
    if random.chance(30) {
        other &= random.bits();
    }
    if random.chance(50) {
        std::mem::swap(&mut one, &mut other);
    }
    (one, other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::schedule::SECOND;

    const SHAPE: Shape = Shape { servers: 5, nodes: 8, span: 10 * SECOND, faults_max: 12, wipes_max: 1 };

    #[test]
    fn every_fault_is_over_when_all_is_quiet() {
        for profile in Profile::ALL {
            for seed in 0..200 {
                let plan = Plan::draw(&mut Random::new(seed), profile, &SHAPE);
                assert_eq!(plan, Plan::draw(&mut Random::new(seed), profile, &SHAPE));
                assert_eq!(plan.faults.is_empty(), profile == Profile::Calm);
                let wiped = |planned: &&Planned| matches!(planned.fault, Fault::Crash { how: Crash::Wiped, .. });
                assert!(plan.faults.iter().filter(wiped).count() <= 1);
                for planned in &plan.faults {
                    assert!(planned.begin < planned.end && planned.end <= plan.quiet_from, "{planned}");
                }
            }
        }
    }
}
