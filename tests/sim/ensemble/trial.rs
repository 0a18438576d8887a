//! Ensembles and faults of a seed, and what must hold when a run is over.

use std::collections::BTreeMap;
use std::sync::Arc;

use tree::tree::Tree;
use zab::config::EnsembleConfig;
use zab::election::ElectionSettings;
use zab::settings::Limits;

use super::judge::Chronicle;
use super::{ELECTION_PORT, Process, QUORUM_PORT, Setup, host, speech};
use crate::random::Random;
use crate::sim::check::{Path, Seen, Session};
use crate::sim::faults::{Crash, Fault, Plan, Planned, Profile, Shape, When};
use crate::sim::network::{NodeId, Quality};
use crate::sim::run::{Outcome, Trial};
use crate::sim::schedule::{MILLI, Micros, SECOND};
use crate::sim::story::Detail;
use crate::sim::world::{Frame, World};

/// How long things go wrong at least, and how much longer at most.
const SPAN: (Micros, Micros) = (1500 * MILLI, 4500 * MILLI);
/// By when there must be a leader, after that. A process that has exited comes back after 1.5 s, a dial that went into the
/// void takes half a second, a try that fails for want of learners two.
const LEADER_BOUND: Micros = 10 * SECOND;
/// By when every client must have been served, and every member be in step.
const BOUND: Micros = 30 * SECOND;

/// Runs of one profile.
#[derive(Clone, Copy, Debug)]
pub struct EnsembleTrial {
    /// How rough.
    pub profile: Profile,
}

/// What a seed draws.
struct Draw {
    setup: Setup,
    nodes: usize,
    observers: usize,
    has_groups: bool,
    span: Micros,
    quality: Quality,
}

impl EnsembleTrial {
    fn draw(&self, random: &mut Random) -> Draw {
        let voters = random.pick(&[1, 2, 3, 3, 3, 3, 3, 3, 3, 4, 5, 5, 5, 5, 7]);
        let observers = if random.chance(25) { 1 + random.below(2) } else { 0 };
        let servers = voters + observers;
        let clients = 2 + random.below(3);
        let text = text(random, voters, servers);
        let config = EnsembleConfig::parse(&text).expect("it is written as servers write it");
        let limits = Limits { tick_ms: 200, init_ms: 2000, sync_ms: 1000, heartbeat_ms: 50, suspect_ms: 300 };
        let election = ElectionSettings {
            settle_ms: 50 + random.below(100) as i64,
            resend_min_ms: 100,
            resend_max_ms: 1000,
            ..ElectionSettings::default()
        };
        let setup = Setup {
            servers,
            config: Arc::new(config),
            limits,
            election,
            segment_len: 64 << (10 + random.below(3)),
            snapshot_every: random.pick(&[20, 60, 200, 1000]),
            think: random.pick(&[20, 60, 60, 150]) * MILLI,
            restless: random.pick(&[0, 0, 1, 4]),
            paths: random.pick(&[3, 8, 20]),
        };
        let span = SPAN.0 + random.bits() % SPAN.1;
        let quality = if self.profile != Profile::Calm && random.chance(25) { Quality::ROUGH } else { Quality::LOCAL };
        Draw { setup, nodes: servers + clients, observers, has_groups: text.contains("group"), span, quality }
    }
}

/// A server list: majorities mostly, groups sometimes.
fn text(random: &mut Random, voters: usize, servers: usize) -> String {
    let mut text = String::new();
    for node in 0..servers {
        let kind = if node < voters { "participant" } else { "observer" };
        text += &format!("server.{}={}:{QUORUM_PORT}:{ELECTION_PORT}:{kind}\n", node + 1, host(node));
    }
    if voters >= 3 && random.chance(12) {
        let groups = if voters >= 5 { 1 + 2 * random.below(2) } else { 1 };
        for group in 0..groups {
            let members: Vec<String> =
                (0..voters).filter(|node| node % groups == group).map(|node| (node + 1).to_string()).collect();
            text += &format!("group.{}={}\n", group + 1, members.join(":"));
        }
        for node in 0..voters {
            text += &format!("weight.{}={}\n", node + 1, if node == 0 { 1 } else { random.below(3) });
        }
    }
    text + "version=0"
}

/// A voter or an observer whose disk is replaced, when everybody else is in step and stays so.
fn wipe(random: &mut Random, plan: &mut Plan, draw: &Draw) {
    let servers = draw.setup.servers;
    let is_voter = draw.observers == 0 || random.chance(60);
    // With weights one member may be a quorum.
    if is_voter && (servers - draw.observers < 3 || draw.has_groups) {
        return;
    }
    let node = if is_voter { random.below(servers - draw.observers) } else { servers - 1 };
    let begin = plan.quiet_from + 4 * SECOND;
    let end = begin + 1500 * MILLI;
    plan.faults.push(Planned { begin, end, fault: Fault::Crash { node, how: Crash::Wiped, when: When::Now } });
    plan.quiet_from = end;
}

impl Trial for EnsembleTrial {
    fn plan(&self, seed: u64) -> Plan {
        let mut random = Random::new(seed);
        let draw = self.draw(&mut random);
        let servers = draw.setup.servers;
        let shape = Shape { servers, nodes: draw.nodes, span: draw.span, faults_max: 12, wipes_max: 0 };
        let mut plan = Plan::draw(&mut random, self.profile, &shape);
        let is_rough = matches!(self.profile, Profile::Disks | Profile::Crashes | Profile::Chaos);
        if is_rough && random.chance(10) {
            wipe(&mut random, &mut plan, &draw);
        }
        plan
    }

    fn play(&self, seed: u64, plan: Plan, detail: Detail) -> Outcome {
        let Draw { setup, nodes, quality, .. } = self.draw(&mut Random::new(seed));
        let servers = setup.servers;
        let mut judge = Chronicle::new(servers, nodes, plan.quiet_from);
        let mut world = World::<Process>::new(Frame { seed, setup, nodes, quality, plan, detail });
        let verdict = world.run(&mut judge, BOUND);
        let verdict = verdict.and_then(|()| judge.check_leadership(LEADER_BOUND));
        let verdict = verdict.and_then(|()| check_end(&world, &mut judge, servers));
        Outcome { verdict, story: world.into_story() }
    }
}

/// The run is over: every member holds the same, and that is what the history says.
fn check_end(world: &World<Process>, judge: &mut Chronicle, servers: usize) -> Result<(), String> {
    let mut first = None;
    for node in 0..servers {
        let server = world.node(node).and_then(Process::server).ok_or("a server is gone at the end")?;
        let held = server.look(|tree, _| {
            tree.check();
            hold(node, tree)
        });
        let (inventory, znodes) = held.ok_or("a server has no tree at the end")?;
        judge.checks().see(world.now(), inventory)?;
        let znodes_first = first.get_or_insert_with(|| znodes.clone());
        if *znodes_first != znodes {
            return Err(format!("identical trees: n0 has {znodes_first:?}, n{node} {znodes:?}"));
        }
    }
    judge.checks().finish()
}

/// Everything that a tree holds: sessions and ephemerals for the checks, and every znode as text.
fn hold(member: NodeId, tree: &Tree) -> (Seen, BTreeMap<String, String>) {
    let mut sessions: Vec<Session> = tree.sessions().map(|(session, _)| session.to_i64() as u64).collect();
    sessions.sort_unstable();
    let mut ephemerals: Vec<(Path, Session)> = Vec::new();
    for (owner, paths) in tree.ephemeral_owners() {
        ephemerals.extend(paths.filter_map(|path| Some((speech::number(&path)?, owner.to_i64() as u64))));
    }
    ephemerals.sort_unstable();
    let mut znodes = BTreeMap::new();
    let mut waiting = vec!["/".to_owned()];
    while let Some(path) = waiting.pop() {
        let Some(node) = tree.get(&path) else { continue };
        let data = node.data().map(|data| data.as_slice().to_vec());
        let base = if path == "/" { "" } else { &path };
        waiting.extend(node.children().map(|child| format!("{base}/{child}")));
        znodes.insert(path, format!("{:?} {:x?} {:?}", node.stat(), data, node.acl()));
    }
    (Seen::Inventory { member, zxid: tree.last_zxid().to_u64(), sessions, ephemerals }, znodes)
}
