//! One switchboard event by event; `wires` has several, connected to each other.

mod wires;

use alloc::format;
use alloc::string::String;
use alloc::vec;

use super::*;
use crate::vote::{PeerState, Vote};

fn sid(raw: u64) -> Sid {
    Sid::new(raw)
}

/// Servers 1 to `count`, of which server n listens at `hn:3000+n`.
fn config(count: u64) -> EnsembleConfig {
    let lines: String = (1..=count).map(|raw| format!("server.{raw}=h{raw}:2:{}\n", 3000 + raw)).collect();
    EnsembleConfig::parse(&lines).unwrap()
}

fn address(host: &str, port: u16) -> DialAddress {
    DialAddress { host: host.into(), port }
}

/// A notification that its round tells from others.
fn message(round: i64) -> Notification {
    Notification { state: PeerState::Looking, vote: Vote::NONE, round, version: 2, config: None, is_ringkeeper: true }
}

/// Server 2 of three, which looks for a leader unless said otherwise.
struct Probe {
    board: Switchboard,
    now: Millis,
    out: Vec<SwitchboardAction>,
}

impl Probe {
    fn new() -> Probe {
        let board = Switchboard::new(sid(2), DialTiming::default());
        let mut probe = Probe { board, now: Millis::new(5000), out: Vec::new() };
        probe.does(|board, now, out| board.on_config(&config(3), None, now, out));
        probe
    }

    /// Everything that one input makes it do.
    fn does(
        &mut self,
        input: impl FnOnce(&mut Switchboard, Millis, &mut Vec<SwitchboardAction>),
    ) -> Vec<SwitchboardAction> {
        input(&mut self.board, self.now, &mut self.out);
        core::mem::take(&mut self.out)
    }

    fn sends(&mut self, to: u64, round: i64) -> Vec<SwitchboardAction> {
        self.does(|board, now, out| board.on_send(sid(to), message(round), now, out))
    }

    fn dialled(&mut self, to: u64, conn: u64) -> Vec<SwitchboardAction> {
        self.does(|board, now, out| board.on_dialled(sid(to), ConnId(conn), now, out))
    }

    fn fails(&mut self, to: u64) -> Vec<SwitchboardAction> {
        self.does(|board, now, out| board.on_dial_failed(sid(to), now, out))
    }

    fn accepts(&mut self, from: u64, conn: u64, advertised: &[DialAddress]) -> Vec<SwitchboardAction> {
        self.does(|board, now, out| board.on_accepted(ConnId(conn), sid(from), advertised.to_vec(), now, out))
    }

    fn loses(&mut self, conn: u64) -> Vec<SwitchboardAction> {
        self.does(|board, now, out| board.on_closed(ConnId(conn), now, out))
    }

    fn wrote(&mut self, conn: u64) -> Vec<SwitchboardAction> {
        self.does(|board, _, out| board.on_written(ConnId(conn), out))
    }

    fn looks(&mut self, is_looking: bool) -> Vec<SwitchboardAction> {
        self.does(|board, now, out| board.on_looking(is_looking, now, out))
    }

    fn after(&mut self, ms: i64) -> Vec<SwitchboardAction> {
        self.now = self.now.plus(ms);
        self.does(|board, now, out| board.on_tick(now, out))
    }

    /// Time until it wants to do something by itself.
    fn waits(&self) -> Option<i64> {
        self.board.next_deadline().map(|at| at.to_i64() - self.now.to_i64())
    }
}

fn dial(to: u64) -> SwitchboardAction {
    SwitchboardAction::Dial { sid: sid(to), address: address(&format!("h{to}"), 3000 + to as u16) }
}

fn introduce(conn: u64) -> SwitchboardAction {
    SwitchboardAction::Introduce { conn: ConnId(conn) }
}

fn write(conn: u64, round: i64) -> SwitchboardAction {
    SwitchboardAction::Write { conn: ConnId(conn), notification: message(round) }
}

fn close(conn: u64) -> SwitchboardAction {
    SwitchboardAction::Close { conn: ConnId(conn) }
}

fn reachability(of: u64, is_reachable: bool) -> SwitchboardAction {
    SwitchboardAction::Reachability { sid: sid(of), is_reachable }
}

#[test]
fn a_message_for_a_smaller_sid_dials_it_and_stays_on() {
    let mut probe = Probe::new();
    assert_eq!(probe.sends(1, 1), [dial(1)]);
    assert_eq!(probe.sends(1, 2), [], "one dial at a time");
    assert_eq!(probe.dialled(1, 7), [introduce(7), write(7, 2)], "of two unsent messages only the newest is sent");
    assert_eq!(probe.board.sid_of(ConnId(7)), Some(sid(1)));
    assert_eq!((probe.wrote(7), probe.sends(1, 3)), (vec![], vec![write(7, 3)]));
}

#[test]
fn a_larger_sid_is_knocked_at_and_dials_back() {
    let mut probe = Probe::new();
    assert_eq!(probe.sends(3, 1), [dial(3)]);
    assert_eq!(probe.dialled(3, 7), [introduce(7), close(7)]);
    assert_eq!(probe.board.sid_of(ConnId(7)), None);
    assert_eq!(probe.accepts(3, 8, &[]), [write(8, 1)]);
}

#[test]
fn a_knock_of_a_smaller_sid_is_hung_up_on_and_dialled_back_where_it_says_it_is() {
    let mut probe = Probe::new();
    let wildcard = address("0.0.0.0", 9);
    let moved = SwitchboardAction::Dial { sid: sid(1), address: address("new", 9) };
    assert_eq!(probe.accepts(1, 7, &[wildcard.clone(), address("new", 9)]), [close(7), moved]);
    assert_eq!(probe.dialled(1, 8), [introduce(8)]);
    assert_eq!(
        probe.accepts(1, 9, &[wildcard]),
        [close(8), close(9), dial(1)],
        "a knock says that it has no connection"
    );
}

#[test]
fn a_knock_while_dialling_is_remembered() {
    let mut probe = Probe::new();
    probe.sends(1, 1);
    assert_eq!(probe.accepts(1, 7, &[address("new", 9)]), [close(7)]);
    let moved = SwitchboardAction::Dial { sid: sid(1), address: address("new", 9) };
    assert_eq!(probe.fails(1), [moved], "the dial under way went to where it was before");
    assert_eq!(probe.dialled(1, 8), [introduce(8), write(8, 1)]);
}

#[test]
fn a_new_connection_replaces_the_old_one() {
    let mut probe = Probe::new();
    assert_eq!(probe.accepts(3, 7, &[]), []);
    assert_eq!(probe.accepts(3, 8, &[]), [close(7)]);
    assert_eq!((probe.board.sid_of(ConnId(7)), probe.board.sid_of(ConnId(8))), (None, Some(sid(3))));
    assert_eq!(probe.loses(7), [], "the end of the old one says nothing about the new");
    assert_eq!(probe.sends(3, 1), [write(8, 1)]);
}

#[test]
fn nobody_is_knocked_at_who_has_come_meanwhile() {
    let mut probe = Probe::new();
    probe.sends(3, 1);
    assert_eq!(probe.accepts(3, 8, &[]), [write(8, 1)]);
    assert_eq!(probe.dialled(3, 7), [close(7)], "a knock would make it drop what we have");
}

#[test]
fn the_newest_unsent_message_waits_for_the_one_under_way() {
    let mut probe = Probe::new();
    probe.accepts(3, 7, &[]);
    assert_eq!(probe.sends(3, 1), [write(7, 1)]);
    assert_eq!((probe.sends(3, 2), probe.sends(3, 3)), (vec![], vec![]));
    assert_eq!((probe.wrote(7), probe.wrote(7)), (vec![write(7, 3)], vec![]));
}

#[test]
fn a_new_connection_begins_with_what_was_said_last() {
    let mut probe = Probe::new();
    probe.accepts(3, 7, &[]);
    probe.sends(3, 1);
    probe.wrote(7);
    assert_eq!(probe.loses(7), [reachability(3, false)]);
    assert_eq!(probe.accepts(3, 8, &[]), [reachability(3, true), write(8, 1)]);
    probe.sends(3, 2);
    assert_eq!(probe.accepts(3, 9, &[]), [close(8), write(9, 2)], "or with what was waiting");
}

#[test]
fn failures_are_repeated_ever_more_rarely_while_we_look() {
    let mut probe = Probe::new();
    assert_eq!(probe.looks(true), [dial(1), dial(3)]);
    assert_eq!(probe.fails(1), [reachability(1, false)]);
    let mut waits = vec![];
    for _ in 0..7 {
        let wait = probe.waits().unwrap();
        assert_eq!(probe.sends(1, 9), [], "a message does not make it any faster");
        assert_eq!(probe.after(wait - 1), []);
        assert_eq!(probe.after(1), [dial(1)]);
        assert_eq!(probe.fails(1), [], "it is known to be unreachable");
        waits.push(wait);
    }
    assert_eq!(waits, [50, 100, 200, 400, 800, 1000, 1000]);
    assert_eq!(probe.looks(false), []);
    assert_eq!(probe.waits(), None, "with a leader nobody is looked for");
    assert_eq!(probe.after(5000), []);
    assert_eq!(probe.sends(1, 10), [dial(1)], "but what is to be sent is sent");
    assert_eq!((probe.fails(1), probe.waits()), (vec![], None));
}

#[test]
fn who_can_be_reached_is_told_when_it_changes() {
    let mut probe = Probe::new();
    probe.looks(true);
    assert_eq!((probe.fails(1), probe.fails(3)), (vec![reachability(1, false)], vec![reachability(3, false)]));
    assert_eq!(probe.accepts(3, 7, &[]), [reachability(3, true)]);
    probe.after(50);
    assert_eq!(probe.dialled(1, 8), [reachability(1, true), introduce(8)]);
    assert_eq!(probe.loses(8), [reachability(1, false), dial(1)], "a dying process may still accept what follows");
    assert_eq!(probe.fails(1), []);
}

#[test]
fn a_lost_connection_is_made_again_only_while_we_look() {
    let mut probe = Probe::new();
    probe.accepts(3, 7, &[]);
    assert_eq!((probe.loses(7), probe.waits()), (vec![reachability(3, false)], None));
    probe.accepts(3, 8, &[]);
    assert_eq!(probe.looks(true), [dial(1)]);
    probe.after(SETTLED_AGE_MS);
    assert_eq!(probe.loses(8), [reachability(3, false), dial(3)], "one that has stood for long is not being replaced");
    probe.dialled(3, 9);
    probe.accepts(3, 10, &[]);
    assert_eq!((probe.loses(10), probe.waits()), (vec![reachability(3, false)], Some(50)), "a young one may be");
    assert_eq!(probe.after(50), [dial(3)]);
}

#[test]
fn whoever_was_knocked_at_has_a_second_to_dial_back() {
    let mut probe = Probe::new();
    probe.looks(true);
    probe.dialled(3, 7);
    assert_eq!((probe.sends(3, 1), probe.waits()), (vec![], Some(1000)));
    assert_eq!(probe.after(999), []);
    assert_eq!(probe.after(1), [dial(3)]);
}

#[test]
fn all_addresses_are_tried_in_turn() {
    let mut probe = Probe::new();
    let moved = EnsembleConfig::parse("server.1=h1:2:3999\nserver.2=h2:2:3002\nversion=1").unwrap();
    probe.does(|board, now, out| board.on_config(&config(3), Some(&moved), now, out));
    let second = SwitchboardAction::Dial { sid: sid(1), address: address("h1", 3999) };
    for round in 0..2 {
        assert_eq!(probe.sends(1, round), [dial(1)]);
        probe.fails(1);
        probe.now = probe.now.plus(1000);
        assert_eq!(probe.sends(1, round), core::slice::from_ref(&second));
        probe.fails(1);
        probe.now = probe.now.plus(1000);
    }
}

#[test]
fn members_of_a_proposed_configuration_are_dialled_and_removed_ones_hung_up_on() {
    let mut probe = Probe::new();
    probe.accepts(3, 7, &[]);
    assert_eq!(probe.does(|board, now, out| board.on_config(&config(3), Some(&config(4)), now, out)), [dial(4)]);
    let two = config(2);
    assert_eq!(probe.does(|board, now, out| board.on_config(&two, None, now, out)), [close(7)]);
    assert_eq!(probe.dialled(4, 8), [close(8)], "it is not a member any more");
    assert_eq!(probe.sends(3, 1), [], "nor is this one");
}

#[test]
fn strangers_are_served_and_forgotten() {
    let mut probe = Probe::new();
    let its = address("s", 1);
    let dial = SwitchboardAction::Dial { sid: sid(0), address: its.clone() };
    assert_eq!(probe.accepts(0, 7, &[its]), [close(7), dial]);
    assert_eq!(probe.dialled(0, 8), [introduce(8)]);
    assert_eq!(probe.sends(0, 1), [write(8, 1)]);
    assert_eq!((probe.loses(8), probe.sends(0, 2)), (vec![], vec![]));
    assert_eq!(probe.accepts(9, 10, &[]), []);
    assert_eq!(probe.sends(9, 1), [write(10, 1)], "larger ones keep their connection");
    probe.loses(10);
    assert_eq!(probe.board.peers.len(), 2, "only the members are left");
    assert_eq!(probe.accepts(0, 11, &[]), [close(11)], "nobody can dial back whose address is unknown");
    assert_eq!(probe.board.peers.len(), 2);
}

#[test]
fn strangers_are_bounded() {
    let mut probe = Probe::new();
    for raw in 0..STRANGERS_MAX as u64 {
        assert_eq!(probe.accepts(100 + raw, raw, &[]), []);
    }
    assert_eq!(probe.accepts(5000, 5000, &[]), [close(5000)]);
    assert_eq!(probe.accepts(3, 5001, &[]), [], "members always have their place");
    assert_eq!(probe.accepts(100, 5002, &[]), [close(0)], "and those that are known");
}

#[test]
fn our_own_number_is_hung_up_on() {
    assert_eq!(Probe::new().accepts(2, 7, &[address("h", 1)]), [close(7)]);
}

#[test]
fn results_of_dials_that_nobody_waits_for_are_dropped() {
    let mut probe = Probe::new();
    assert_eq!(probe.dialled(1, 7), [close(7)]);
    assert_eq!(probe.fails(1), []);
    assert_eq!((probe.loses(99), probe.wrote(99)), (vec![], vec![]));
}

/// A middlebox had forgotten the connection: what was sent went nowhere, and a member that looked for its leader was not
/// heard until TCP gave up. Found by the simulator (zab, chaos, seed 2310).
#[test]
fn a_connection_on_which_nobody_answers_is_made_anew() {
    let mut probe = Probe::new();
    probe.looks(true);
    probe.dialled(1, 10);
    probe.sends(1, 1);
    assert_eq!(probe.after(1), []);
    assert_eq!(probe.after(SILENCE_MIN_MS - 1), []);
    assert_eq!(probe.after(1), [close(10), dial(1)]);
    assert_eq!(probe.dialled(1, 11), [introduce(11), write(11, 1)]);
    probe.after(1);
    assert_eq!(probe.after(SILENCE_MIN_MS), [], "it is more patient the second time");
    probe.does(|board, _, _| board.on_heard(ConnId(11)));
    assert_eq!(probe.after(SILENCE_MAX_MS), [], "it was answered");
    probe.wrote(11);
    probe.sends(1, 2);
    probe.looks(false);
    probe.after(1);
    assert_eq!(probe.after(SILENCE_MAX_MS), [], "nobody looks for a leader");
}
