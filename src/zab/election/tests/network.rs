//! Many elections over a network in memory that delays, reorders, loses and repeats, from seeds.
//!
//! Flow       the earliest of all messages and deadlines happens next; a failure names its seed, which replays it.
//! Absent     what follows an election, but for its outcome: a leader without a quorum, and a follower whose leader does
//!            not lead, look again after a while, as they would when discovery fails or pings end.

use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use super::*;

/// How long a leader and its followers try to find each other, and then are content with having done so, ms.
const DISCOVERY_MS: i64 = 1500;

/// A sequence of numbers that a seed fixes (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

struct Node {
    election: Election,
    candidacy: Candidacy,
    is_java: bool,
    start_at: Option<Millis>,
    elected: Option<(Sid, Millis)>,
    /// Whether it leads, and a quorum has found it.
    is_established: bool,
    /// When it checks that its leader leads, or that a quorum follows it.
    discovery_at: Option<Millis>,
}

struct Weather {
    delay_max_ms: u64,
    lost_percent: u64,
    repeated_percent: u64,
    /// Whether a message may overtake another of the same two servers, as over two connections.
    overtakes: bool,
}

/// Nothing is lost, and everything arrives well before the wait for better votes is over.
const FAIR: Weather = Weather { delay_max_ms: 40, lost_percent: 0, repeated_percent: 0, overtakes: false };
const FOUL: Weather = Weather { delay_max_ms: 300, lost_percent: 25, repeated_percent: 20, overtakes: true };

struct Network {
    config: Arc<EnsembleConfig>,
    chance: Chance,
    weather: Weather,
    now: Millis,
    nodes: BTreeMap<Sid, Node>,
    /// By arrival; the number keeps those of one moment apart.
    flying: BTreeMap<(Millis, u64), (Sid, Sid, Notification)>,
    sent: u64,
    /// When the last message of one to another arrives.
    last_arrival: BTreeMap<(Sid, Sid), Millis>,
    cut_off: BTreeSet<Sid>,
}

impl Network {
    fn new(seed: u64, config: Arc<EnsembleConfig>, weather: Weather) -> Network {
        let (chance, now) = (Chance(seed), Millis::new(0));
        let (nodes, flying, last_arrival) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Network { config, chance, weather, now, nodes, flying, sent: 0, last_arrival, cut_off: BTreeSet::new() }
    }

    /// Adds a node that starts within `spread_ms`.
    fn add(&mut self, raw: u64, candidacy: Candidacy, is_java: bool, spread_ms: u64) {
        let election = Election::new(sid(raw), self.config.clone(), None, candidacy, ElectionSettings::default());
        let start_at = Some(self.now.plus(self.chance.below(spread_ms + 1) as i64));
        let node =
            Node { election, candidacy, is_java, start_at, elected: None, is_established: false, discovery_at: None };
        self.nodes.insert(sid(raw), node);
    }

    fn cut_off(&mut self, raw: u64) {
        self.cut_off.insert(sid(raw));
    }

    /// What the switchboards find out sooner or later.
    fn tell_who_is_cut_off(&mut self) {
        for me in self.nodes.keys().copied().collect::<Vec<_>>() {
            for gone in self.cut_off.clone() {
                self.act(me, |node, now, out| node.election.on_reachable(gone, false, now, out));
            }
        }
    }

    fn act(&mut self, me: Sid, input: impl FnOnce(&mut Node, Millis, &mut Vec<ElectionAction>)) {
        let mut out = Vec::new();
        let node = self.nodes.get_mut(&me).unwrap();
        input(node, self.now, &mut out);
        let is_java = node.is_java;
        for action in out {
            match action {
                ElectionAction::Send { to, notification } => {
                    self.send(me, to, Notification { is_ringkeeper: !is_java, ..notification });
                }
                ElectionAction::Elected { leader, .. } => {
                    let node = self.nodes.get_mut(&me).unwrap();
                    node.elected = Some((leader, self.now));
                    node.discovery_at = Some(self.now.plus(DISCOVERY_MS));
                }
                ElectionAction::ConnectAll => {}
                ElectionAction::NewerConfig(_) => panic!("nobody has a newer configuration"),
            }
        }
    }

    fn send(&mut self, from: Sid, to: Sid, notification: Notification) {
        if self.cut_off.contains(&from) || self.cut_off.contains(&to) || !self.nodes.contains_key(&to) {
            return;
        }
        let copies = 1 + u64::from(self.chance.percent(self.weather.repeated_percent));
        for _ in 0..copies {
            if !self.chance.percent(self.weather.lost_percent) {
                let mut at = self.now.plus(1 + self.chance.below(self.weather.delay_max_ms) as i64);
                let last = self.last_arrival.entry((from, to)).or_default();
                if !self.weather.overtakes {
                    at = at.max(*last);
                }
                *last = at;
                self.sent += 1;
                self.flying.insert((at, self.sent), (from, to, notification.clone()));
            }
        }
    }

    /// Runs until `end`, or until nothing can happen any more.
    fn run_until(&mut self, end: Millis) {
        loop {
            let wakes = self.nodes.values().flat_map(|node| {
                [node.start_at, node.discovery_at, node.election.next_deadline()].into_iter().flatten()
            });
            let arrival = self.flying.keys().next().map(|(at, _)| *at);
            let Some(next) = wakes.chain(arrival).min().filter(|next| *next <= end) else { break };
            assert!(next >= self.now, "time goes on");
            self.now = next;
            if arrival == Some(next) {
                let (_, (from, to, notification)) = self.flying.pop_first().unwrap();
                self.deliver(from, to, notification);
            } else {
                self.wake();
            }
        }
        self.now = end;
    }

    fn deliver(&mut self, from: Sid, to: Sid, notification: Notification) {
        let is_java = self.nodes[&to].is_java;
        // Java does not read who is one of us.
        let heard = Notification { is_ringkeeper: notification.is_ringkeeper && !is_java, ..notification };
        self.act(to, |node, now, out| node.election.on_notification(from, &heard, now, out));
    }

    fn wake(&mut self) {
        for me in self.nodes.keys().copied().collect::<Vec<_>>() {
            let node = &self.nodes[&me];
            let is_due = |at: Option<Millis>| at.is_some_and(|at| at <= self.now);
            let (starts, checks, ticks) =
                (is_due(node.start_at), is_due(node.discovery_at), is_due(node.election.next_deadline()));
            if ticks {
                self.act(me, |node, now, out| node.election.on_tick(now, out));
            }
            if checks {
                self.nodes.get_mut(&me).unwrap().discovery_at = None;
                if !self.discovery_succeeds(me) {
                    self.restart(me);
                } else {
                    let node = self.nodes.get_mut(&me).unwrap();
                    node.is_established = node.election.state() == PeerState::Leading;
                    node.discovery_at = Some(self.now.plus(DISCOVERY_MS));
                    node.election.refresh_epoch(Epoch::new(100));
                }
            }
            if starts {
                self.restart(me);
            }
        }
    }

    fn restart(&mut self, me: Sid) {
        self.act(me, |node, now, out| {
            (node.start_at, node.elected, node.discovery_at) = (None, None, None);
            node.is_established = false;
            node.election.start(node.candidacy, now, out);
        });
    }

    fn discovery_succeeds(&self, me: Sid) -> bool {
        let Some((leader, _)) = self.nodes[&me].elected else { return false };
        let Some(leading) = self.nodes.get(&leader).filter(|_| !self.cut_off.contains(&leader)) else { return false };
        let follows = |sid: Sid| {
            self.nodes.get(&sid).is_some_and(|node| node.elected.is_some_and(|(its, _)| its == leader))
                && !self.cut_off.contains(&sid)
        };
        // Those that come once it has a quorum take over its history, whatever theirs was.
        let is_behind = |sid: &Sid| follows(*sid) && history(&self.nodes[sid]) > history(leading);
        let can_lead = leading.is_established || !self.config.voters().iter().any(is_behind);
        leading.election.state() == PeerState::Leading && can_lead && self.config.verifier().is_quorum(follows)
    }

    /// The one leader of everybody who is not cut off.
    fn leader(&self) -> Option<Sid> {
        let mut leaders =
            self.nodes.iter().filter(|(sid, _)| !self.cut_off.contains(sid)).map(|(_, node)| node.elected);
        let (leader, _) = leaders.next()??;
        leaders.all(|elected| elected.is_some_and(|(its, _)| its == leader)).then_some(leader)
    }

    /// When the last of those came to it.
    fn elected_at(&self) -> Millis {
        self.nodes.values().filter_map(|node| node.elected).map(|(_, at)| at).max().unwrap()
    }
}

/// Epoch and end of a node's history.
fn history(node: &Node) -> (Epoch, Option<Zxid>) {
    (node.candidacy.current_epoch, node.candidacy.last)
}

/// Histories that are equal often enough for sids to matter.
fn some_candidacy(chance: &mut Chance) -> Candidacy {
    candidacy(1 + chance.below(2) as u32, chance.below(3) as u32)
}

/// The best of the voters that are not cut off.
fn best(network: &Network) -> Sid {
    let voters = network.nodes.iter().filter(|(sid, _)| network.config.verifier().is_voter(**sid));
    let reached = voters.filter(|(sid, _)| !network.cut_off.contains(sid));
    reached.max_by_key(|(sid, node)| (history(node), **sid)).map(|(sid, _)| *sid).unwrap()
}

/// A network of voters, some of which are cut off from the start, and an observer.
fn ensemble(seed: u64, weather: Weather, java_percent: u64) -> Network {
    let mut chance = Chance(!seed);
    let voters = [3, 4, 5, 7][chance.below(4) as usize];
    let mut network = Network::new(seed, config(voters, 1, 0), weather);
    for raw in 1..=voters + 1 {
        let (candidacy, is_java) = (some_candidacy(&mut chance), chance.percent(java_percent));
        network.add(raw, candidacy, is_java, 100);
    }
    for _ in 0..chance.below(voters.div_ceil(2)) {
        network.cut_off(1 + chance.below(voters));
    }
    network
}

#[test]
fn a_quorum_that_can_talk_elects_its_best() {
    for seed in 0..400 {
        let mut network = ensemble(seed, FAIR, [0, 0, 50, 100][seed as usize % 4]);
        if seed % 3 == 0 {
            network.tell_who_is_cut_off();
        }
        let best = best(&network);
        network.run_until(Millis::new(1400));
        assert_eq!(network.leader(), Some(best), "seed {seed}");
        network.run_until(Millis::new(20_000));
        assert_eq!(network.leader(), Some(best), "seed {seed}: it stays");
        for (sid, node) in network.nodes.iter().filter(|(sid, _)| !network.cut_off.contains(sid)) {
            let expected = match () {
                () if *sid == best => PeerState::Leading,
                () if network.config.verifier().is_voter(*sid) => PeerState::Following,
                () => PeerState::Observing,
            };
            assert_eq!(node.election.state(), expected, "seed {seed}, server {sid:?}");
        }
    }
}

#[test]
fn without_a_quorum_nobody_is_elected() {
    for seed in 0..50 {
        let mut network = Network::new(seed, config(4, 1, 0), FAIR);
        for raw in 1..=5 {
            network.add(raw, candidacy(1, raw as u32), false, 100);
        }
        network.cut_off(3);
        network.cut_off(4);
        network.tell_who_is_cut_off();
        network.run_until(Millis::new(100_000));
        assert!(network.nodes.values().all(|node| node.elected.is_none()), "seed {seed}");
    }
}

#[test]
fn loss_repetition_and_disorder_only_take_time() {
    for seed in 0..200 {
        let mut network = ensemble(seed, FOUL, [0, 50, 100][seed as usize % 3]);
        network.run_until(Millis::new(600_000));
        let leader = network.leader().unwrap_or_else(|| panic!("seed {seed}: no leader after ten minutes"));
        let leading = &network.nodes[&leader];
        assert_eq!(leading.election.state(), PeerState::Leading, "seed {seed}");
        let is_not_ahead = |sid: Sid| network.nodes.get(&sid).is_some_and(|node| history(node) <= history(leading));
        assert!(network.config.verifier().is_quorum(is_not_ahead), "seed {seed}: a quorum elected it");
    }
}

#[test]
fn who_comes_late_joins_the_leader_there_is() {
    for seed in 0..100 {
        let mut network = Network::new(seed, config(5, 2, 0), FAIR);
        for raw in 1..=3 {
            network.add(raw, candidacy(2, raw as u32), seed % 2 == 0, 50);
        }
        network.run_until(Millis::new(5000));
        assert_eq!(network.leader(), Some(sid(3)), "seed {seed}");
        // One that has more to show than the leader, one that has less, and an observer.
        for (raw, epoch) in [(5, 9), (4, 1), (6, 1)] {
            network.add(raw, candidacy(epoch, 0), seed % 3 == 0, 50);
        }
        network.run_until(Millis::new(6000));
        assert_eq!(network.leader(), Some(sid(3)), "seed {seed}");
        assert_eq!(network.nodes[&sid(6)].election.state(), PeerState::Observing);
    }
}

#[test]
fn when_the_leader_goes_the_rest_elect_another() {
    for seed in 0..100 {
        let mut network = Network::new(seed, config(3, 1, 0), FAIR);
        for raw in 1..=4 {
            network.add(raw, candidacy(2, 5), false, 50);
        }
        network.run_until(Millis::new(5000));
        assert_eq!(network.leader(), Some(sid(3)));
        network.cut_off(3);
        network.tell_who_is_cut_off();
        let began = network.now;
        for raw in [1, 2, 4] {
            network.restart(sid(raw));
        }
        network.run_until(began.plus(1000));
        assert_eq!(network.leader(), Some(sid(2)), "seed {seed}");
        let voters_at = [1, 2].map(|raw| network.nodes[&sid(raw)].elected.unwrap().1);
        let longest = *voters_at.iter().max().unwrap();
        assert!(longest <= began.plus(2 * 40), "seed {seed}: {longest:?}, two messages take as long");
    }
}

#[test]
fn only_with_a_java_voter_there_is_a_wait() {
    for seed in 0..100 {
        for javas in [0, 1, 3] {
            let weather = Weather { delay_max_ms: 5, ..FAIR };
            let mut network = Network::new(seed, config(3, 0, 0), weather);
            for raw in 1..=3 {
                network.add(raw, candidacy(1, 5), raw <= javas, 0);
            }
            network.run_until(Millis::new(1000));
            assert_eq!(network.leader(), Some(sid(3)));
            let (at, fast) = (network.elected_at(), Millis::new(3 * 5));
            if javas == 0 {
                assert!(at <= fast, "seed {seed}: {at:?}");
            } else {
                assert!(at >= Millis::new(200) && at <= fast.plus(200), "seed {seed}: {at:?}");
            }
        }
    }
}

#[test]
fn old_messages_do_not_move_who_has_a_leader() {
    for seed in 0..50 {
        let mut network = Network::new(seed, config(3, 1, 0), FAIR);
        let mut chance = Chance(seed);
        for raw in 1..=4 {
            network.add(raw, some_candidacy(&mut chance), false, 50);
        }
        network.run_until(Millis::new(100));
        let old: Vec<_> = network.flying.values().cloned().collect();
        network.run_until(Millis::new(5000));
        let leader = network.leader().unwrap();
        for (from, to, notification) in old {
            network.deliver(from, to, notification);
        }
        network.run_until(Millis::new(10_000));
        assert_eq!(network.leader(), Some(leader), "seed {seed}");
    }
}
