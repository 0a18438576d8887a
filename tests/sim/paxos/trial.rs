//! Runs of Paxos, and what must hold in each: agreement, validity, and that it ends.

use std::collections::BTreeSet;

use super::member::{Process, Report, Setup};
use super::quorum::Rule;
use super::{Bug, Member, Value};
use crate::random::Random;
use crate::sim::faults::{Crash, Fault, Plan, Planned, Profile, Shape, When};
use crate::sim::network::{NodeId, Quality};
use crate::sim::run::{Outcome, Trial};
use crate::sim::schedule::{MILLI, Micros, SECOND};
use crate::sim::story::Detail;
use crate::sim::world::{Frame, Judge, World};

/// How long things go wrong at least. A decision takes some ten milliseconds, and what matters happens around it.
const SPAN_MIN: Micros = 30 * MILLI;
/// Doublings of that, at most.
const SPAN_DOUBLINGS: usize = 4;
/// By when all must have learned, after that: rivals who wait up to two seconds between tries need a few of them.
const BOUND: Micros = 60 * SECOND;

/// Runs of one profile.
#[derive(Clone, Copy, Debug)]
pub struct PaxosTrial {
    /// How rough.
    pub profile: Profile,
    /// What is wrong with the members.
    pub bug: Bug,
}

impl PaxosTrial {
    /// The ensemble of a seed: three to seven members, who decide by majority, by three of them, or in groups with
    /// weights.
    fn setup(&self, random: &mut Random) -> Setup {
        let members = random.pick(&[3, 4, 4, 4, 5, 5, 6, 7]);
        let rule = match random.below(10) {
            _ if self.bug == Bug::MinorityQuorum => Rule::AtLeast(members / 2),
            0..3 => Rule::majority(members),
            3..8 => three(members),
            _ => groups(random, members),
        };
        let span = SPAN_MIN << random.below(SPAN_DOUBLINGS);
        let eager = if random.chance(30) { 1 } else { members };
        Setup { members, rule, bug: self.bug, stubborn_for: span, eager }
    }
}

impl PaxosTrial {
    /// What else goes wrong, all the time: the first decision is the one that matters, and this makes it take many
    /// tries, whose messages, writes and crashes meet.
    fn weather(&self, random: &mut Random, members: usize, span: Micros, eager: usize) -> Vec<Planned> {
        let mut faults = Vec::new();
        if self.profile != Profile::Calm && random.chance(50) {
            faults.push(Planned { begin: 0, end: span, fault: Fault::Loss { percent: 20 + random.below(30) } });
        }
        if !matches!(self.profile, Profile::Crashes | Profile::Chaos) {
            return faults;
        }
        for node in 0..members {
            if random.chance(30) {
                // As slow as the network.
                let fault = Fault::SlowDisk { node, times: 8 << random.below(5) };
                faults.push(Planned { begin: 0, end: span, fault });
            }
        }
        if eager == 1 && random.chance(50) {
            // The only proposer is a restless one.
            let fault = Fault::Crash { node: members - 1, how: Crash::Process, when: When::Now };
            let mut begin = 0;
            loop {
                begin += 2 * MILLI + random.bits() % ((2 * MILLI) << random.below(6));
                let end = begin + 1 + random.bits() % MILLI;
                if end > span {
                    break;
                }
                faults.push(Planned { begin, end, fault: fault.clone() });
            }
        }
        faults
    }
}

/// Three have a say. The others only propose, and with no acceptor of their own beside them much less goes well by
/// luck.
fn three(members: usize) -> Rule {
    Rule::Groups(vec![(0..members).map(|member| (member as Member, u64::from(member < 3))).collect()])
}

/// Up to three groups, with a weight of up to three for each member.
fn groups(random: &mut Random, members: usize) -> Rule {
    let mut groups = vec![Vec::new(); 1 + random.below(3)];
    // The first member has a say, or perhaps nobody would.
    groups[0].push((0, 1 + random.below(3) as u64));
    for member in 1..members {
        let group = random.below(groups.len());
        groups[group].push((member as Member, random.below(4) as u64));
    }
    Rule::Groups(groups)
}

impl Trial for PaxosTrial {
    fn plan(&self, seed: u64) -> Plan {
        let mut random = Random::new(seed);
        let Setup { members, stubborn_for: span, eager, .. } = self.setup(&mut random);
        let shape = Shape { servers: members, nodes: members, span, faults_max: 16, wipes_max: 0 };
        let mut plan = Plan::draw(&mut random, self.profile, &shape);
        plan.faults.extend(self.weather(&mut random, members, span, eager));
        plan.faults.sort_by_key(|planned| planned.begin);
        plan
    }

    fn play(&self, seed: u64, plan: Plan, detail: Detail) -> Outcome {
        let setup = self.setup(&mut Random::new(seed));
        let mut judge = Agreement { proposed: BTreeSet::new(), decided: None, learned: vec![false; setup.members] };
        let quality = match self.profile {
            Profile::Calm => Quality::LOCAL,
            _ if seed.is_multiple_of(2) => Quality::ROUGH,
            _ => Quality::WILD,
        };
        let frame = Frame { seed, nodes: setup.members, setup, quality, plan, detail };
        let mut world = World::<Process>::new(frame);
        let verdict = world.run(&mut judge, BOUND);
        Outcome { verdict, story: world.into_story() }
    }
}

/// One value, which somebody proposed, learned by all.
struct Agreement {
    proposed: BTreeSet<Value>,
    decided: Option<(Value, NodeId)>,
    learned: Vec<bool>,
}

impl Judge<Process> for Agreement {
    fn on_report(&mut self, at: Micros, node: NodeId, report: Report) -> Result<(), String> {
        match report {
            Report::Proposed(value) => {
                self.proposed.insert(value);
            }
            Report::Decided(value) => {
                if !self.proposed.contains(&value) {
                    return Err(format!("validity: n{node} learned {value:#x}, which nobody proposed"));
                }
                let (first, by) = *self.decided.get_or_insert((value, node));
                if first != value {
                    let ms = at / MILLI;
                    return Err(format!("agreement: n{node} learned {value:#x} at {ms} ms, n{by} {first:#x} before"));
                }
                self.learned[node] = true;
            }
        }
        Ok(())
    }

    fn on_crash(&mut self, _: Micros, node: NodeId) {
        self.learned[node] = false;
    }

    fn is_done(&self) -> bool {
        self.learned.iter().all(|learned| *learned)
    }

    fn missing(&self) -> String {
        let waiting: Vec<NodeId> = (0..self.learned.len()).filter(|&node| !self.learned[node]).collect();
        format!("liveness: {waiting:?} have not learned within {} s of quiet", BOUND / SECOND)
    }
}
