//! What goes wrong in a run, and when: drawn from the seed before the run begins.
//!
//! Flow       profile + seed -> `Plan` -> the world begins and ends each fault at its time.
//! Invariant  every fault is over by `quiet_from`: whatever is still wrong later is a bug of the code under test. The
//!            plan does not depend on the run, so one fault can be left out and the others stay (`without`).
//! Absent     changes of membership, which a client asks for like anything else.

mod draw;

use std::fmt;

use super::network::{NodeId, NodeSet, contains};
use super::schedule::{MILLI, Micros};

pub use draw::Shape;

/// How rough a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Nothing goes wrong.
    Calm,
    /// Processes are killed and machines go off.
    Crashes,
    /// Wires are cut in every shape.
    Partitions,
    /// Disks are slow, full, failing, or gone.
    Disks,
    /// Clocks drift and jump, processes pause.
    Clocks,
    /// All of it.
    Chaos,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Profile; 6] = [Self::Calm, Self::Crashes, Self::Partitions, Self::Disks, Self::Clocks, Self::Chaos];

    /// The name used in arguments and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Crashes => "crashes",
            Self::Partitions => "partitions",
            Self::Disks => "disks",
            Self::Clocks => "clocks",
            Self::Chaos => "chaos",
        }
    }

    /// The profile called `name`, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }
}

/// What a crash leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Crash {
    /// kill -9: the kernel closes the connections and still writes what it took.
    Process,
    /// The machine goes off: peers hear nothing, and what was not synced is lost, torn or there.
    Power,
    /// The machine goes off and comes back with an empty disk.
    Wiped,
}

/// When exactly a planned crash strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    /// At the fault's begin.
    Now,
    /// When so many more disk operations have begun, while the last of them is served.
    AtOperation(u64),
    /// In the next turn that has something to say, after so many of its words.
    MidTurn(usize),
}

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A node ends, and starts again at the fault's end.
    Crash {
        /// Which.
        node: NodeId,
        /// What it leaves.
        how: Crash,
        /// When.
        when: When,
    },
    /// A process stands still while its connections stay open (SIGSTOP).
    Pause {
        /// Which.
        node: NodeId,
    },
    /// Nothing gets from one set to the other.
    OneWay {
        /// From these.
        from: NodeSet,
        /// To these.
        to: NodeSet,
    },
    /// Nothing gets from one set to the other or back. Nodes in neither set see both.
    Partition {
        /// These.
        one: NodeSet,
        /// And these.
        other: NodeSet,
    },
    /// So many more datagrams are lost, in a hundred.
    Loss {
        /// How many.
        percent: usize,
    },
    /// One direction is slow.
    SlowLink {
        /// From here.
        from: NodeId,
        /// To there.
        to: NodeId,
        /// What a packet takes longer.
        extra_us: Micros,
    },
    /// All connections of two nodes are broken, in mid-frame.
    Break {
        /// One.
        one: NodeId,
        /// The other.
        other: NodeId,
    },
    /// Every disk operation takes so many times longer.
    SlowDisk {
        /// Whose.
        node: NodeId,
        /// How many times.
        times: u64,
    },
    /// After so many more syncs one fails, and what it should have made durable is lost.
    FailingSync {
        /// Whose disk.
        node: NodeId,
        /// Syncs that still work.
        skip: usize,
    },
    /// After so many more writes one fails.
    FailingWrite {
        /// Whose disk.
        node: NodeId,
        /// Writes that still work.
        skip: usize,
    },
    /// There is no room.
    FullDisk {
        /// Whose disk.
        node: NodeId,
    },
    /// Somebody sets the calendar, and back at the end.
    WallJump {
        /// Whose.
        node: NodeId,
        /// By how much.
        by_ms: i64,
    },
    /// The steady clock runs fast or slow.
    Drift {
        /// Whose.
        node: NodeId,
        /// By so many millionths.
        ppm: i64,
    },
}

impl Fault {
    /// Whether all is said at its begin, and its end means nothing.
    pub fn is_instant(&self) -> bool {
        matches!(self, Self::Break { .. })
    }
}

struct Nodes(NodeSet);

impl fmt::Display for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (place, node) in (0..NodeSet::BITS as usize).filter(|&node| contains(self.0, node)).enumerate() {
            write!(f, "{}n{node}", if place > 0 { " " } else { "" })?;
        }
        f.write_str("}")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash { node, how, when } => {
                let how = match how {
                    Crash::Process => "kill -9",
                    Crash::Power => "power off",
                    Crash::Wiped => "power off and an empty disk",
                };
                match when {
                    When::Now => write!(f, "n{node}: {how}"),
                    When::AtOperation(count) => write!(f, "n{node}: {how} {count} disk operations from now"),
                    When::MidTurn(count) => write!(f, "n{node}: {how} in mid-turn, after {count} words"),
                }
            }
            Self::Pause { node } => write!(f, "n{node}: stands still"),
            Self::OneWay { from, to } => write!(f, "cut {} -> {}", Nodes(*from), Nodes(*to)),
            Self::Partition { one, other } => write!(f, "cut {} <-> {}", Nodes(*one), Nodes(*other)),
            Self::Loss { percent } => write!(f, "{percent} % of datagrams lost"),
            Self::SlowLink { from, to, extra_us } => write!(f, "n{from} -> n{to} takes {} ms more", extra_us / MILLI),
            Self::Break { one, other } => write!(f, "connections n{one} - n{other} broken"),
            Self::SlowDisk { node, times } => write!(f, "n{node}: disk {times} times slower"),
            Self::FailingSync { node, skip } => write!(f, "n{node}: a sync fails after {skip}"),
            Self::FailingWrite { node, skip } => write!(f, "n{node}: a write fails after {skip}"),
            Self::FullDisk { node } => write!(f, "n{node}: disk full"),
            Self::WallJump { node, by_ms } => write!(f, "n{node}: calendar jumps by {by_ms} ms"),
            Self::Drift { node, ppm } => write!(f, "n{node}: clock drifts by {ppm} ppm"),
        }
    }
}

/// A fault with its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// When it begins.
    pub begin: Micros,
    /// When it is over.
    pub end: Micros,
    /// What it is.
    pub fault: Fault,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |at: Micros| format!("{}.{:03}", at / MILLI, at % MILLI);
        write!(f, "{:>10} .. {:>10}  {}", ms(self.begin), ms(self.end), self.fault)
    }
}

/// Everything that goes wrong in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The faults, by their begin.
    pub faults: Vec<Planned>,
    /// From here on all is well.
    pub quiet_from: Micros,
}

impl Plan {
    /// The same without one fault; the world is quiet from the same instant.
    #[must_use]
    pub fn without(&self, index: usize) -> Self {
        let mut plan = self.clone();
        plan.faults.remove(index);
        plan
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.faults.iter().try_for_each(|planned| writeln!(f, "{planned}"))
    }
}
