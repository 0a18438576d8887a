//! A few members over perfect links and disks that answer when asked to: what each step of a term needs. The simulator
//! does the same with the whole server, and with faults.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::string::{String, ToString};
use std::{format, vec};

use ids::Epoch;

use super::*;

/// A link's two ends: the dialling member first.
type Ends = ((u64, LinkId), (u64, LinkId));

struct Node {
    peer: Peer,
    delivered: Zxid,
    standing: Standing,
    /// Whether its disk speaks by itself.
    disk_speaks: bool,
    unsaid: VecDeque<Action>,
    news: Vec<News>,
    log: Vec<Zxid>,
}

struct World {
    nodes: BTreeMap<u64, Node>,
    links: Vec<Ends>,
    packets: VecDeque<((u64, LinkId), Packet)>,
    notes: VecDeque<(u64, u64, Notification)>,
    now: i64,
    down: BTreeSet<u64>,
}

fn config(count: u64) -> Arc<EnsembleConfig> {
    let lines: Vec<String> = (1..=count).map(|sid| format!("server.{sid}=h{sid}:2888:3888:participant")).collect();
    Arc::new(EnsembleConfig::parse(&format!("{}\nversion=0", lines.join("\n"))).unwrap())
}

impl World {
    fn new(count: u64) -> World {
        let mut world = World {
            nodes: BTreeMap::new(),
            links: Vec::new(),
            packets: VecDeque::new(),
            notes: VecDeque::new(),
            now: 0,
            down: BTreeSet::new(),
        };
        for sid in 1..=count {
            world.add(sid, count, Epochs::default(), Vec::new());
        }
        world
    }

    fn add(&mut self, sid: u64, count: u64, epochs: Epochs, log: Vec<Zxid>) {
        let last = log.last().copied().unwrap_or_default();
        let start = Start {
            me: Sid::new(sid),
            config: config(count),
            election: ElectionSettings::default(),
            limits: Limits::default(),
            epochs,
            last,
        };
        let peer = Peer::new(start);
        let node = Node {
            peer,
            delivered: last,
            standing: Standing::Idle,
            disk_speaks: true,
            unsaid: VecDeque::new(),
            news: Vec::new(),
            log,
        };
        self.nodes.insert(sid, node);
    }

    fn act(&mut self, sid: u64, input: impl FnOnce(&mut Peer, Millis, &mut Outbox)) {
        let mut out = Outbox::new();
        let node = self.nodes.get_mut(&sid).unwrap();
        input(&mut node.peer, Millis::new(self.now), &mut out);
        for action in out {
            self.carry_out(sid, action);
        }
    }

    fn other_end(&self, end: (u64, LinkId)) -> Option<(u64, LinkId)> {
        self.links.iter().find_map(|(one, other)| match () {
            () if *one == end => Some(*other),
            () if *other == end => Some(*one),
            () => None,
        })
    }

    fn carry_out(&mut self, sid: u64, action: Action) {
        match action {
            Action::Notify { to, notification } => self.notes.push_back((sid, to.to_u64(), *notification)),
            Action::Connect { to, link } => {
                let to = to.to_u64();
                if self.down.contains(&to) {
                    return self.act(sid, |peer, now, out| peer.on_closed(link, now, out));
                }
                let accepted = self.nodes.get_mut(&to).unwrap().peer.new_link();
                self.links.push(((sid, link), (to, accepted)));
                self.act(sid, |peer, now, out| peer.on_connected(link, now, out));
            }
            Action::Send { link, packet } => {
                if let Some(end) = self.other_end((sid, link)) {
                    self.packets.push_back((end, packet));
                }
            }
            Action::Close { link, .. } => self.close((sid, link)),
            Action::Append { .. } | Action::SaveEpochs { .. } | Action::Truncate { .. } => {
                self.nodes.get_mut(&sid).unwrap().unsaid.push_back(action);
            }
            Action::Deliver { upto } => {
                let node = self.nodes.get_mut(&sid).unwrap();
                assert!(upto >= node.delivered);
                node.delivered = upto;
            }
            Action::Stand(standing) => self.nodes.get_mut(&sid).unwrap().standing = standing,
            Action::Tell(news) => self.nodes.get_mut(&sid).unwrap().news.push(news),
            Action::ConnectAll => {}
            action => panic!("not in these tests: {action:?}"),
        }
    }

    fn close(&mut self, end: (u64, LinkId)) {
        let Some(other) = self.other_end(end) else { return };
        self.links.retain(|(one, two)| *one != end && *two != end);
        self.packets.retain(|(to, _)| *to != end && *to != other);
        if !self.down.contains(&other.0) {
            self.act(other.0, |peer, now, out| peer.on_closed(other.1, now, out));
        }
    }

    fn speak(&mut self, sid: u64) -> bool {
        let Some(action) = self.nodes.get_mut(&sid).unwrap().unsaid.pop_front() else { return false };
        let node = self.nodes.get_mut(&sid).unwrap();
        match action {
            Action::Append { zxid, .. } => {
                node.log.push(zxid);
                self.act(sid, |peer, now, out| peer.on_durable(zxid, now, out));
            }
            Action::SaveEpochs { .. } => self.act(sid, |peer, now, out| peer.on_saved(now, out)),
            Action::Truncate { last } => {
                node.log.retain(|zxid| *zxid <= last);
                let kept = node.log.last().copied().unwrap_or_default();
                self.act(sid, |peer, now, out| peer.on_truncated(Some(kept), now, out));
            }
            _ => unreachable!(),
        }
        true
    }

    /// Everything that is under way happens.
    fn settle(&mut self) {
        loop {
            if let Some((from, to, note)) = self.notes.pop_front() {
                if !self.down.contains(&to) && !self.down.contains(&from) {
                    self.act(to, |peer, now, out| peer.on_notification(Sid::new(from), &note, now, out));
                }
                continue;
            }
            let ready = self.packets.iter().position(|(to, _)| self.nodes[&to.0].peer.takes_packets(to.1));
            if let Some(at) = ready {
                let ((to, link), packet) = self.packets.remove(at).unwrap();
                self.act(to, |peer, now, out| peer.on_packet(link, packet, now, out));
                continue;
            }
            let sids: Vec<u64> = self.nodes.keys().copied().filter(|sid| !self.down.contains(sid)).collect();
            let spoke = sids.iter().any(|sid| self.nodes[sid].disk_speaks && self.speak(*sid));
            if !spoke {
                return;
            }
        }
    }

    fn run(&mut self, ms: i64) {
        for _ in 0..ms / 10 {
            self.now += 10;
            let sids: Vec<u64> = self.nodes.keys().copied().filter(|sid| !self.down.contains(sid)).collect();
            for sid in sids {
                self.act(sid, |peer, now, out| peer.on_tick(now, out));
            }
            self.settle();
        }
    }

    fn kill(&mut self, sid: u64) {
        self.down.insert(sid);
        let ends: Vec<(u64, LinkId)> =
            self.links.iter().flat_map(|(one, other)| [*one, *other]).filter(|end| end.0 == sid).collect();
        ends.into_iter().for_each(|end| self.close(end));
        let others: Vec<u64> = self.nodes.keys().copied().filter(|other| !self.down.contains(other)).collect();
        for other in others {
            self.act(other, |peer, now, out| peer.on_reachable(Sid::new(sid), false, now, out));
        }
        self.settle();
    }

    fn restart(&mut self, sid: u64) {
        let node = self.nodes.remove(&sid).unwrap();
        let count = node.peer.config().members().len() as u64;
        self.down.remove(&sid);
        self.add(sid, count, node.peer.epochs(), node.log);
    }

    fn leader(&self) -> u64 {
        let leaders: Vec<u64> = self
            .nodes
            .iter()
            .filter(|(sid, node)| !self.down.contains(sid) && matches!(node.standing, Standing::Leading { .. }))
            .map(|(sid, _)| *sid)
            .collect();
        assert_eq!(leaders.len(), 1, "{leaders:?}");
        leaders[0]
    }

    fn propose(&mut self, counter: u32) -> Zxid {
        let leader = self.leader();
        let Standing::Leading { epoch } = self.nodes[&leader].standing else { unreachable!() };
        let zxid = Zxid::new(epoch, counter);
        self.act(leader, |peer, now, out| {
            peer.propose(zxid, Bytes::from(counter.to_string()), now, out);
            peer.flush(out);
        });
        zxid
    }

    fn all_have(&self, zxid: Zxid) {
        for (sid, node) in self.nodes.iter().filter(|(sid, _)| !self.down.contains(sid)) {
            assert_eq!(node.delivered, zxid, "member {sid}: {:?}", node.news);
            assert_eq!(node.log.last().copied().unwrap_or_default(), zxid, "member {sid}");
        }
    }
}

fn started(count: u64) -> World {
    let mut world = World::new(count);
    world.run(500);
    world
}

#[test]
fn the_highest_of_equals_leads_and_everybody_serves() {
    let world = started(3);
    assert_eq!(world.leader(), 3);
    for sid in [1, 2] {
        assert!(matches!(world.nodes[&sid].standing, Standing::Learning { leader, .. } if leader == Sid::new(3)));
        assert_eq!(world.nodes[&sid].peer.epochs(), Epochs { accepted: Epoch::new(1), current: Epoch::new(1) });
    }
}

#[test]
fn proposals_reach_everybody_in_order() {
    let mut world = started(5);
    (1..=20).for_each(|counter| {
        world.propose(counter);
    });
    world.settle();
    world.all_have(Zxid::new(Epoch::new(1), 20));
}

#[test]
fn nothing_is_committed_that_only_a_minority_has_on_disk() {
    let mut world = started(3);
    for sid in [1, 2] {
        world.nodes.get_mut(&sid).unwrap().disk_speaks = false;
    }
    let zxid = world.propose(1);
    world.settle();
    assert_eq!(world.nodes[&3].delivered, Zxid::ZERO);
    world.speak(1);
    world.settle();
    assert_eq!(world.nodes[&3].delivered, zxid, "a follower's disk and its own are a quorum");
    assert_eq!(world.nodes[&2].delivered, zxid, "a commit does not wait for the own disk");
}

#[test]
fn two_disks_of_followers_commit_without_the_leaders_own() {
    let mut world = started(3);
    world.nodes.get_mut(&3).unwrap().disk_speaks = false;
    let zxid = world.propose(1);
    world.settle();
    assert_eq!(world.nodes[&3].delivered, zxid);
}

#[test]
fn a_dead_leader_is_replaced_and_comes_back_as_a_follower() {
    let mut world = started(3);
    world.propose(1);
    world.settle();
    world.kill(3);
    world.run(1000);
    assert_eq!(world.leader(), 2);
    let zxid = world.propose(1);
    world.settle();
    world.restart(3);
    world.run(1000);
    assert_eq!(world.leader(), 2);
    world.all_have(zxid);
    assert_eq!(zxid.epoch(), Epoch::new(2));
}

#[test]
fn what_only_the_dead_leader_had_is_cut_when_it_comes_back() {
    let mut world = started(3);
    world.propose(1);
    world.settle();
    // Logged by the leader alone: the followers are deaf.
    for sid in [1, 2] {
        world.down.insert(sid);
    }
    world.propose(2);
    world.packets.clear();
    world.settle();
    world.down.clear();
    world.kill(3);
    world.run(1000);
    assert_eq!(world.leader(), 2);
    let zxid = world.propose(1);
    world.settle();
    assert_eq!(world.nodes[&3].log.last(), Some(&Zxid::new(Epoch::new(1), 2)));
    world.restart(3);
    world.run(1000);
    world.all_have(zxid);
    assert_eq!(world.nodes[&3].log, vec![Zxid::new(Epoch::new(1), 1), zxid]);
}

#[test]
fn what_a_quorum_has_logged_survives_though_nobody_was_told() {
    let mut world = started(3);
    world.propose(1);
    world.settle();
    // The leader dies before the acknowledgements reach it.
    world.nodes.get_mut(&3).unwrap().disk_speaks = false;
    for sid in [1, 2] {
        world.nodes.get_mut(&sid).unwrap().disk_speaks = false;
    }
    let zxid = world.propose(2);
    world.settle();
    world.kill(3);
    for sid in [1, 2] {
        world.nodes.get_mut(&sid).unwrap().disk_speaks = true;
    }
    world.settle();
    world.run(1000);
    world.all_have(zxid);
}

#[test]
fn the_epoch_is_written_down_only_behind_the_log() {
    let mut world = started(3);
    world.propose(1);
    world.settle();
    world.kill(1);
    (2..=5).for_each(|counter| {
        world.propose(counter);
    });
    world.settle();
    world.restart(1);
    world.nodes.get_mut(&1).unwrap().disk_speaks = false;
    world.run(600);
    // Nothing of a new epoch is promised (it has promised this one): what waits are the entries alone.
    let waiting: Vec<bool> =
        world.nodes[&1].unsaid.iter().map(|action| matches!(action, Action::SaveEpochs { .. })).collect();
    assert_eq!(waiting, [false; 4]);
    (0..4).for_each(|_| {
        world.speak(1);
    });
    world.settle();
    assert!(matches!(world.nodes[&1].unsaid.front(), Some(Action::SaveEpochs { .. })));
    assert_eq!(world.nodes[&1].standing, Standing::Idle, "NEWLEADER is not acknowledged before the epoch is saved");
    world.speak(1);
    world.settle();
    assert!(matches!(world.nodes[&1].standing, Standing::Learning { .. }));
}

#[test]
fn a_silent_leader_is_given_up() {
    let mut world = started(3);
    world.down.insert(3); // Its connections stay.
    world.run(500);
    assert!(matches!(world.nodes[&1].standing, Standing::Learning { .. }));
    world.run(1500);
    assert_eq!(world.leader(), 2);
}

#[test]
fn a_leader_without_followers_stops_taking_proposals() {
    let mut world = started(3);
    world.kill(1);
    world.kill(2);
    world.run(5000);
    assert_eq!(world.nodes[&3].standing, Standing::Idle);
}

#[test]
fn a_follower_that_was_brought_up_to_date_owes_nothing() {
    let mut world = started(3);
    let zxid = world.propose(1);
    world.settle();
    world.kill(3);
    world.run(60_000);
    assert_eq!(world.leader(), 2);
    world.all_have(zxid);
    let epochs = world.nodes[&2].peer.epochs();
    assert_eq!(epochs.current, Epoch::new(2), "nobody has lost its place for an acknowledgement that never comes");
}

/// A Java follower waited for ever when a later commit overtook the answer to a sync.
#[test]
fn the_answer_to_a_sync_has_its_place_among_the_commits() {
    let mut world = started(3);
    let first = world.propose(1);
    let link = world.nodes[&3].peer.handlers().find(|(_, handler)| handler.sid == Sid::new(1)).unwrap().0;
    world.act(3, |peer, _, out| peer.on_sync(link, out));
    let second = world.propose(2);
    // Both are committed by one word of the disks.
    world.packets.retain(|(to, _)| to.0 != 1);
    let mut out = Outbox::new();
    let leader = world.nodes.get_mut(&3).unwrap();
    leader.peer.on_durable(second, Millis::new(0), &mut out);
    let other = leader.peer.handlers().find(|(_, handler)| handler.sid == Sid::new(2)).unwrap().0;
    leader.peer.on_packet(other, Packet::Ack { zxid: second }, Millis::new(0), &mut out);
    let to_first = |action: &Action| match action {
        Action::Send { link: to, packet } if *to == link => Some(packet.clone()),
        _ => None,
    };
    let sent: Vec<Packet> = out.iter().filter_map(to_first).collect();
    assert_eq!(sent, [Packet::Commit { zxid: first }, Packet::Sync, Packet::Commit { zxid: second }]);
}
