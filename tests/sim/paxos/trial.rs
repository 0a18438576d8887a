//! Runs of Paxos, and what must hold in each: agreement, validity, and that it ends.

use std::collections::BTreeSet;

use super::member::{Process, Report, Setup};
use super::quorum::Rule;
use super::{Bug, Member, Value};
use crate::random::Random;
use crate::sim::faults::{Plan, Profile, Shape};
use crate::sim::network::{NodeId, Quality};
use crate::sim::run::{Outcome, Trial};
use crate::sim::schedule::{MILLI, Micros, SECOND};
use crate::sim::story::Detail;
use crate::sim::world::{Frame, Judge, World};

/// How long things go wrong.
const SPAN: Micros = 2 * SECOND;
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
    /// The ensemble of a seed: three to seven members, by majority or in groups with weights.
    fn setup(&self, random: &mut Random) -> Setup {
        let members = 3 + random.below(5);
        let rule = if self.bug == Bug::MinorityQuorum {
            Rule::AtLeast(members / 2)
        } else if random.chance(70) {
            Rule::majority(members)
        } else {
            groups(random, members)
        };
        Setup { members, rule, bug: self.bug, stubborn_for: SPAN }
    }
}

/// Up to three groups, with a weight of up to three for each member.
fn groups(random: &mut Random, members: usize) -> Rule {
    let mut groups = vec![Vec::new(); 1 + random.below(3)];
    for member in 0..members {
        let group = random.below(groups.len());
        groups[group].push((member as Member, random.below(4) as u64));
    }
    // Somebody must have a say.
    groups[0].push((0, 1));
    groups[0].dedup_by_key(|(member, _)| *member);
    groups[0].retain({
        let mut seen = BTreeSet::new();
        move |(member, _)| seen.insert(*member)
    });
    Rule::Groups(groups)
}

impl Trial for PaxosTrial {
    fn plan(&self, seed: u64) -> Plan {
        let mut random = Random::new(seed);
        let members = self.setup(&mut random).members;
        let shape = Shape { servers: members, nodes: members, span: SPAN, faults_max: 12, wipes_max: 0 };
        Plan::draw(&mut random, self.profile, &shape)
    }

    fn play(&self, seed: u64, plan: Plan, detail: Detail) -> Outcome {
        let setup = self.setup(&mut Random::new(seed));
        let mut judge = Agreement { proposed: BTreeSet::new(), decided: None, learned: vec![false; setup.members] };
        let quality = if self.profile == Profile::Calm { Quality::LOCAL } else { Quality::ROUGH };
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
