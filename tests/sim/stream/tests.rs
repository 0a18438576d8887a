//! Connections: what arrives, and how they end.

use super::*;
use crate::sim::network::Quality;
use crate::sim::schedule::Schedule;

/// Two machines and the connections between them.
struct Pair {
    network: Network,
    streams: Streams,
    schedule: Schedule<StreamEvent>,
    told: Vec<(NodeId, Told)>,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let mut streams = Streams::new(2, Random::new(seed));
        for node in 0..2 {
            streams.host_mut(node).process = Some(1);
            streams.host_mut(node).ports.insert(2888);
        }
        let network = Network::new(2, Quality::LOCAL, Random::new(seed + 1));
        Self { network, streams, schedule: Schedule::new(Random::new(seed + 2)), told: Vec::new() }
    }

    fn opened(seed: u64) -> (Self, ConnId) {
        let mut pair = Self::new(seed);
        let conn = pair.streams.dial(&mut pair.network, 0, 1, 2888, SECOND);
        pair.run(SECOND / 2);
        assert_eq!(pair.told(0), [Told::Opened]);
        assert_eq!(pair.told(1), [Told::Accepted { from: 0, port: 2888 }]);
        (pair, conn)
    }

    fn run(&mut self, until: Micros) {
        loop {
            let outcome = std::mem::take(self.streams.outcome());
            outcome.later.into_iter().for_each(|(delay, event)| self.schedule.after(delay, event));
            self.told.extend(outcome.told.into_iter().map(|(node, _, told)| (node, told)));
            let Some(event) = self.schedule.pop(until) else { return };
            self.streams.on_event(&mut self.network, self.schedule.now(), event);
        }
    }

    fn send(&mut self, node: NodeId, conn: ConnId, bytes: &[u8]) {
        let now = self.schedule.now();
        self.streams.send(&mut self.network, now, node, conn, bytes.to_vec());
    }

    /// What one side has been told since the last time.
    fn told(&mut self, node: NodeId) -> Vec<Told> {
        let (ours, others) = std::mem::take(&mut self.told).into_iter().partition(|(to, _)| *to == node);
        self.told = others;
        let ours: Vec<(NodeId, Told)> = ours;
        ours.into_iter().map(|(_, told)| told).collect()
    }
}

fn bytes(told: &[Told]) -> Vec<u8> {
    let pieces = told.iter().filter_map(|told| if let Told::Bytes(bytes) = told { Some(&bytes[..]) } else { None });
    pieces.collect::<Vec<_>>().concat()
}

#[test]
fn bytes_arrive_in_order_and_in_any_pieces() {
    let mut piece_counts = BTreeSet::new();
    for seed in 0..50 {
        let (mut pair, conn) = Pair::opened(seed);
        let sent: Vec<u8> = (0..100).collect();
        sent.chunks(10).for_each(|chunk| pair.send(0, conn, chunk));
        let now = pair.schedule.now();
        pair.streams.close(&mut pair.network, now, 0, conn);
        pair.run(2 * SECOND);
        let told = pair.told(1);
        assert_eq!(bytes(&told), sent);
        assert_eq!(told.last(), Some(&Told::Closed(Close::Eof)));
        piece_counts.insert(told.len());
    }
    assert!(piece_counts.len() > 5, "pieces: {piece_counts:?}");
}

#[test]
fn who_does_not_listen_refuses() {
    let mut pair = Pair::new(1);
    pair.streams.dial(&mut pair.network, 0, 1, 99, SECOND);
    pair.run(SECOND);
    assert_eq!(pair.told(0), [Told::Closed(Close::Refused)]);
}

#[test]
fn who_is_off_or_cut_off_lets_the_dialer_wait() {
    let mut pair = Pair::new(1);
    pair.streams.process_ends(&mut pair.network, 0, 1, true);
    pair.streams.dial(&mut pair.network, 0, 1, 2888, SECOND);
    pair.run(SECOND - 1);
    assert_eq!(pair.told(0), []);
    pair.run(SECOND);
    assert_eq!(pair.told(0), [Told::Closed(Close::TimedOut)]);
}

#[test]
fn a_cut_wire_stalls_one_direction_until_it_is_healed() {
    let (mut pair, conn) = Pair::opened(4);
    pair.network.cut(0b01, 0b10);
    pair.send(0, conn, b"late");
    pair.send(1, conn, b"prompt");
    pair.run(2 * SECOND);
    assert_eq!(pair.told(1), []);
    assert_eq!(bytes(&pair.told(0)), b"prompt");
    pair.network.heal(0b01, 0b10);
    pair.streams.resume();
    pair.run(3 * SECOND);
    assert_eq!(bytes(&pair.told(1)), b"late");
}

#[test]
fn a_broken_connection_ends_in_mid_frame() {
    let (mut short, mut apart) = (0, 0);
    for seed in 0..50 {
        let (mut pair, conn) = Pair::opened(seed);
        pair.send(0, conn, &[7; 1000]);
        pair.streams.break_between(1, 0);
        pair.run(pair.schedule.now() + 400 * MILLI);
        let told = [pair.told(0), pair.told(1)];
        let ended = told.each_ref().map(|told| told.last() == Some(&Told::Closed(Close::Reset)));
        short += usize::from((1..1000).contains(&bytes(&told[1]).len()));
        apart += usize::from(ended[0] != ended[1]);
        pair.run(60 * SECOND);
        for (node, ended) in ended.into_iter().enumerate() {
            assert_eq!(pair.told(node).is_empty(), ended, "each side is told once");
        }
    }
    assert!(short > 20 && apart > 5, "{short} in mid-frame, {apart} half open for long");
}

#[test]
fn a_machine_that_goes_off_tells_nobody_until_it_is_back() {
    let (mut pair, conn) = Pair::opened(3);
    let now = pair.schedule.now();
    pair.streams.process_ends(&mut pair.network, now, 1, true);
    pair.send(0, conn, b"hello?");
    pair.run(2 * SECOND);
    assert_eq!(pair.told(0), []);
    *pair.streams.host_mut(1) = Host { process: Some(2), ..Host::default() };
    pair.streams.resume();
    pair.run(4 * SECOND);
    assert_eq!(pair.told(0), [Told::Closed(Close::Reset)]);
}

#[test]
fn a_process_that_ends_closes_its_connections() {
    for seed in 0..20 {
        let (mut pair, _) = Pair::opened(seed);
        let now = pair.schedule.now();
        pair.streams.process_ends(&mut pair.network, now, 1, false);
        pair.run(2 * SECOND);
        let told = pair.told(0);
        assert!(matches!(told[..], [Told::Closed(Close::Eof | Close::Reset)]), "{told:?}");
    }
}

#[test]
fn a_reader_that_stops_holds_the_sender_up() {
    let (mut pair, conn) = Pair::opened(1);
    pair.streams.host_mut(1).held_len = WINDOW;
    pair.send(0, conn, &[1; WINDOW]);
    pair.run(SECOND);
    assert_eq!(pair.streams.unsent_len(0, conn), WINDOW);
    pair.streams.host_mut(1).held_len = 0;
    pair.streams.resume();
    pair.run(2 * SECOND);
    assert_eq!(pair.streams.unsent_len(0, conn), 0);
    assert_eq!(pair.told(0), [Told::Drained]);
}
