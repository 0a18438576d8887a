//! Several switchboards on a network in memory, where dials, bytes and hang-ups take their time, from seeds.
//!
//! Invariant  on one connection everything arrives in order; the end of it after everything else.

use std::collections::{BTreeMap, VecDeque};
use std::vec::Vec;

use super::*;

/// The two ends of connection `n` are numbered `2n` and `2n + 1`; the first is the dialler's.
fn other_end(conn: ConnId) -> ConnId {
    ConnId(conn.0 ^ 1)
}

#[derive(Clone, Debug)]
enum Sent {
    Introduction(Sid),
    Notification(i64),
    End,
}

#[derive(Clone, Debug)]
enum Event {
    Dial { from: Sid, to: Sid },
    Arrival { conn: ConnId },
    Written { conn: ConnId },
}

struct Wires {
    seed: u64,
    now: Millis,
    boards: BTreeMap<Sid, Switchboard>,
    down: Option<Sid>,
    events: BTreeMap<(Millis, u64), Event>,
    count: u64,
    /// What is under way to an end.
    under_way: BTreeMap<ConnId, VecDeque<Sent>>,
    /// Whose an end is, while it is open.
    owners: BTreeMap<ConnId, Sid>,
    /// The last round that one heard of another.
    heard: BTreeMap<(Sid, Sid), i64>,
    dials: u64,
}

impl Wires {
    fn new(seed: u64, count: u64) -> Wires {
        let boards = (1..=count).map(|raw| (sid(raw), Switchboard::new(sid(raw), DialTiming::default()))).collect();
        let (now, down, events, under_way) = (Millis::new(0), None, BTreeMap::new(), BTreeMap::new());
        let (owners, heard) = (BTreeMap::new(), BTreeMap::new());
        let mut wires = Wires { seed, now, boards, down, events, count: 0, under_way, owners, heard, dials: 0 };
        for me in wires.everybody() {
            wires.does(me, |board, now, out| board.on_config(&config(count), None, now, out));
        }
        wires
    }

    fn everybody(&self) -> Vec<Sid> {
        self.boards.keys().copied().collect()
    }

    fn schedule(&mut self, event: Event) {
        self.seed = self.seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let at = self.now.plus(1 + ((self.seed >> 33) % 20) as i64);
        self.count += 1;
        self.events.insert((at, self.count), event);
    }

    fn send(&mut self, from: ConnId, sent: Sent) {
        let to = other_end(from);
        self.under_way.entry(to).or_default().push_back(sent);
        self.schedule(Event::Arrival { conn: to });
    }

    fn does(&mut self, me: Sid, input: impl FnOnce(&mut Switchboard, Millis, &mut Vec<SwitchboardAction>)) {
        let mut out = Vec::new();
        input(self.boards.get_mut(&me).unwrap(), self.now, &mut out);
        for action in out {
            match action {
                SwitchboardAction::Dial { sid, .. } => {
                    self.dials += 1;
                    self.schedule(Event::Dial { from: me, to: sid });
                }
                SwitchboardAction::Introduce { conn } => self.send(conn, Sent::Introduction(me)),
                SwitchboardAction::Write { conn, notification } => {
                    self.send(conn, Sent::Notification(notification.round));
                    self.schedule(Event::Written { conn });
                }
                SwitchboardAction::Close { conn } => {
                    self.owners.remove(&conn);
                    self.send(conn, Sent::End);
                }
                SwitchboardAction::Reachability { .. } => {}
            }
        }
    }

    fn run_for(&mut self, ms: i64) {
        let end = self.now.plus(ms);
        loop {
            let event = self.events.keys().next().map(|(at, _)| *at);
            let deadlines = self.boards.iter().filter(|(sid, _)| self.down != Some(**sid));
            let deadline = deadlines.filter_map(|(sid, board)| Some((board.next_deadline()?, *sid))).min();
            let next = event.into_iter().chain(deadline.map(|(at, _)| at)).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            if event == Some(next) {
                let (_, event) = self.events.pop_first().unwrap();
                self.happens(event);
            } else if let Some((_, me)) = deadline {
                self.does(me, |board, now, out| board.on_tick(now, out));
            }
        }
        self.now = end;
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Dial { from, .. } if self.down == Some(from) => {}
            Event::Dial { from, to } if self.down == Some(to) => {
                self.does(from, |board, now, out| board.on_dial_failed(to, now, out));
            }
            Event::Dial { from, to } => {
                self.count += 1;
                let conn = ConnId(2 * self.count);
                self.owners.extend([(conn, from), (other_end(conn), to)]);
                self.does(from, |board, now, out| board.on_dialled(to, conn, now, out));
            }
            Event::Written { conn } => {
                if let Some(me) = self.owners.get(&conn).copied() {
                    self.does(me, |board, _, out| board.on_written(conn, out));
                }
            }
            Event::Arrival { conn } => {
                let sent = self.under_way.get_mut(&conn).and_then(VecDeque::pop_front).unwrap();
                if let Some(me) = self.owners.get(&conn).copied() {
                    self.arrives(me, conn, sent);
                }
            }
        }
    }

    fn arrives(&mut self, me: Sid, conn: ConnId, sent: Sent) {
        match sent {
            Sent::Introduction(from) => {
                self.does(me, |board, now, out| board.on_accepted(conn, from, Vec::new(), now, out));
            }
            Sent::Notification(round) => {
                if let Some(from) = self.boards[&me].sid_of(conn) {
                    self.heard.insert((from, me), round);
                    self.does(me, |board, _, _| board.on_heard(conn));
                }
            }
            Sent::End => {
                self.owners.remove(&conn);
                self.does(me, |board, now, out| board.on_closed(conn, now, out));
            }
        }
    }

    fn all_send(&mut self, round: i64) {
        for me in self.everybody().into_iter().filter(|me| self.down != Some(*me)).collect::<Vec<_>>() {
            for to in self.everybody().into_iter().filter(|to| *to != me) {
                self.does(me, |board, now, out| board.on_send(to, message(round), now, out));
            }
        }
    }

    fn all_look(&mut self) {
        for me in self.everybody() {
            self.does(me, |board, now, out| board.on_looking(true, now, out));
        }
    }

    /// Its process dies: all its connections end, and dials are refused.
    fn kill(&mut self, gone: Sid) {
        self.down = Some(gone);
        let ends: Vec<ConnId> =
            self.owners.iter().filter(|(_, owner)| **owner == gone).map(|(conn, _)| *conn).collect();
        for conn in ends {
            self.owners.remove(&conn);
            self.send(conn, Sent::End);
        }
    }

    fn revive(&mut self) {
        let back = self.down.take().unwrap();
        let count = self.boards.len() as u64;
        self.boards.insert(back, Switchboard::new(back, DialTiming::default()));
        self.does(back, |board, now, out| board.on_config(&config(count), None, now, out));
        self.does(back, |board, now, out| board.on_looking(true, now, out));
    }

    /// Every two have one connection, dialled by the larger sid, and heard the last of each other.
    fn assert_connected(&self, seed: u64, round: i64) {
        let up: Vec<Sid> = self.everybody().into_iter().filter(|sid| self.down != Some(*sid)).collect();
        let link = |me: &Sid, of: &Sid| self.boards[me].peers[of].link.as_ref().map(|link| link.conn);
        for larger in &up {
            for smaller in up.iter().filter(|smaller| *smaller < larger) {
                let (ours, theirs) = (link(larger, smaller), link(smaller, larger));
                assert!(ours.is_some_and(|conn| conn.0 % 2 == 0), "seed {seed}: the larger sid dials");
                assert_eq!(ours.map(other_end), theirs, "seed {seed}: {larger:?} and {smaller:?} have the same one");
                for pair in [(*larger, *smaller), (*smaller, *larger)] {
                    assert_eq!(self.heard.get(&pair), Some(&round), "seed {seed}: {pair:?}");
                }
            }
        }
    }
}

#[test]
fn every_two_come_to_one_connection_and_hear_the_last_of_each_other() {
    for seed in 0..300 {
        let mut wires = Wires::new(seed, 4);
        wires.all_look();
        wires.all_send(1);
        wires.run_for(15);
        wires.all_send(2);
        wires.run_for(3000);
        wires.assert_connected(seed, 2);
        assert!(wires.dials < 60, "seed {seed}: {} dials", wires.dials);
    }
}

#[test]
fn who_comes_back_is_found_within_a_second_and_a_bit() {
    for seed in 0..300 {
        let mut wires = Wires::new(seed, 3);
        wires.all_look();
        wires.all_send(1);
        wires.run_for(2000 + seed as i64);
        let gone = sid(1 + seed % 3);
        wires.kill(gone);
        wires.run_for(10_000);
        let dials = wires.dials;
        wires.run_for(10_000);
        // And once or twice each other, who have nothing more to say: for all they know the connection is dead.
        assert!(wires.dials - dials <= 2 * 11 + 4, "seed {seed}: each of two dials once in a second");
        wires.all_send(2);
        wires.revive();
        wires.all_send(3);
        wires.run_for(1500);
        wires.assert_connected(seed, 3);
    }
}
