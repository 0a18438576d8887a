//! Good histories pass, and each kind of bad one is named.

use super::*;

const PATH: Path = 1;
const ALICE: Session = 0xA;
const BOB: Session = 0xB;

/// A transaction whose digests follow from its place.
fn txn(zxid: Zxid, write: Option<Write>, change: Change) -> Txn {
    Txn { zxid, payload: zxid * 31, tree: zxid * 7, write, change }
}

fn set(zxid: Zxid, session: Session, xid: Xid) -> Txn {
    txn(zxid, Some(Write { session, xid }), Change::Set { path: PATH, owner: None })
}

fn applied(member: NodeId, txn: Txn) -> Seen {
    Seen::Applied { member, txn }
}

fn write(session: Session, xid: Xid) -> Seen {
    Seen::Invoked { session, xid, call: Call::Write }
}

fn written(session: Session, xid: Xid, zxid: Zxid) -> Seen {
    Seen::Replied { session, xid, zxid, answer: Answer::Written }
}

fn read(session: Session, xid: Xid, watches: bool) -> Seen {
    Seen::Invoked { session, xid, call: Call::Read { path: PATH, watches } }
}

fn value(session: Session, xid: Xid, zxid: Zxid, value: Option<(Session, Xid)>) -> Seen {
    let value = value.map(|(session, xid)| Write { session, xid });
    Seen::Replied { session, xid, zxid, answer: Answer::Value(value) }
}

/// What is said of a history in the end, or on the way.
fn verdict(history: impl IntoIterator<Item = Seen>) -> Result<(), String> {
    let mut checks = Checks::default();
    for (at, seen) in history.into_iter().enumerate() {
        checks.see(at as Micros, seen)?;
    }
    checks.finish()
}

#[track_caller]
fn good(history: impl IntoIterator<Item = Seen>) {
    assert_eq!(verdict(history), Ok(()));
}

#[track_caller]
fn bad(what: &str, history: impl IntoIterator<Item = Seen>) {
    let error = verdict(history).expect_err("it must be seen");
    assert!(error.starts_with(what), "{error}");
}

#[test]
fn an_epoch_has_one_leader() {
    let leads = |member, epoch| Seen::Leads { member, epoch };
    good([leads(1, 1), leads(2, 2), leads(2, 2)]);
    bad("one leader per epoch", [leads(1, 1), leads(2, 1)]);
}

#[test]
fn a_quorum_that_can_talk_has_a_leader_in_time() {
    let mut leadership = Leadership::default();
    leadership.expect_within(100);
    assert_eq!(leadership.quorum_can_talk(10, true), Ok(()));
    assert_eq!(leadership.leads(110, 1, 1), Ok(()));
    assert_eq!(leadership.at(5000), Ok(()), "it has one");
    leadership.leader_is_gone(5000);
    assert_eq!(leadership.quorum_can_talk(5050, false), Ok(()));
    assert_eq!(leadership.at(9000), Ok(()), "it can't talk");
    assert_eq!(leadership.quorum_can_talk(9000, true), Ok(()));
    assert_eq!(leadership.at(9100), Ok(()));
    assert!(leadership.at(9101).is_err());
}

#[test]
fn members_have_one_history() {
    let (one, two) = (set(1, ALICE, 1), set(2, ALICE, 2));
    good([applied(0, one), applied(0, two), applied(1, one), applied(1, two)]);
    let other = Txn { tree: 5, ..two };
    bad("identical history", [applied(0, one), applied(0, two), applied(1, one), applied(1, other)]);
    let other = Txn { payload: 5, ..two };
    bad("identical history", [applied(0, one), applied(0, two), applied(1, one), applied(1, other)]);
}

#[test]
fn nobody_leaves_out_a_transaction() {
    let txns = [1, 2, 3].map(|zxid| set(zxid, ALICE, zxid as Xid));
    let all = txns.map(|txn| applied(0, txn));
    bad("identical history", all.clone().into_iter().chain([applied(1, txns[0]), applied(1, txns[2])]));
    bad("identical history", [applied(0, txns[0]), applied(0, txns[2]), applied(1, txns[0]), applied(1, txns[1])]);
    bad("identical history", all.clone().into_iter().chain([applied(0, txns[1])]));
    good(all.clone().into_iter().chain([Seen::Restarted { member: 0 }, applied(0, txns[1]), applied(0, txns[2])]));
    let installed = |tree| Seen::Installed { member: 1, zxid: 2, tree };
    good(all.clone().into_iter().chain([installed(txns[1].tree), applied(1, txns[2])]));
    bad("identical history", all.into_iter().chain([installed(9)]));
}

#[test]
fn an_acknowledged_write_is_there_once() {
    good([write(ALICE, 1), applied(0, set(1, ALICE, 1)), written(ALICE, 1, 1)]);
    bad("lost write", [write(ALICE, 1), written(ALICE, 1, 1)]);
    bad("lost write", [write(ALICE, 1), written(ALICE, 1, 1), applied(0, set(1, BOB, 1))]);
    bad("lost write", [write(ALICE, 1), written(ALICE, 1, 2), applied(0, set(1, ALICE, 1))]);
    bad("session order", [applied(0, set(1, ALICE, 1)), applied(0, set(2, ALICE, 1))]);
}

#[test]
fn a_write_without_a_reply_may_be_done_or_not() {
    let lost = [write(ALICE, 1), Seen::Disconnected { session: ALICE }, write(ALICE, 2)];
    let done = |xid, zxid| [applied(0, set(zxid, ALICE, xid)), written(ALICE, xid, zxid)];
    good(lost.clone().into_iter().chain(done(2, 1)));
    good(lost.into_iter().chain([applied(0, set(1, ALICE, 1))]).chain(done(2, 2)));
}

#[test]
fn a_session_is_served_in_order() {
    let (one, two) = (set(1, ALICE, 1), set(2, ALICE, 2));
    let asked = [write(ALICE, 1), write(ALICE, 2), applied(0, one), applied(0, two)];
    good(asked.clone().into_iter().chain([written(ALICE, 1, 1), written(ALICE, 2, 2)]));
    bad("session order", asked.into_iter().chain([written(ALICE, 2, 2), written(ALICE, 1, 1)]));
    bad(
        "session order",
        [write(ALICE, 1), write(ALICE, 2), applied(0, set(1, ALICE, 2)), applied(0, set(2, ALICE, 1))],
    );
}

#[test]
fn writes_are_in_the_order_of_real_time() {
    let (first, second) = (set(2, ALICE, 1), set(1, BOB, 1));
    let history = [applied(0, second), applied(0, first)];
    let at_once = [write(ALICE, 1), write(BOB, 1), written(ALICE, 1, 2), written(BOB, 1, 1)];
    good(history.clone().into_iter().chain(at_once));
    let in_turns = [write(ALICE, 1), written(ALICE, 1, 2), write(BOB, 1), written(BOB, 1, 1)];
    bad("real time", history.into_iter().chain(in_turns));
}

#[test]
fn a_session_never_goes_back() {
    let history = [applied(0, set(1, BOB, 1)), applied(0, set(2, BOB, 2))];
    let reads = [read(ALICE, 1, false), read(ALICE, 2, false)];
    let history = history.into_iter().chain(reads);
    good(history.clone().chain([value(ALICE, 1, 1, Some((BOB, 1))), value(ALICE, 2, 2, Some((BOB, 2)))]));
    bad("going back", history.chain([value(ALICE, 1, 2, Some((BOB, 2))), value(ALICE, 2, 1, Some((BOB, 1)))]));
}

#[test]
fn reads_fit_the_history() {
    let history =
        [applied(0, set(2, BOB, 1)), applied(0, txn(4, None, Change::Delete { path: PATH })), read(ALICE, 1, false)];
    for (zxid, found) in [(1, None), (2, Some((BOB, 1))), (3, Some((BOB, 1))), (4, None)] {
        good(history.clone().into_iter().chain([value(ALICE, 1, zxid, found)]));
        let other = if found.is_none() { Some((BOB, 1)) } else { None };
        bad("reads", history.clone().into_iter().chain([value(ALICE, 1, zxid, other)]));
    }
}

#[test]
fn news_of_a_change_comes_before_what_reflects_it() {
    let news = Seen::Notified { session: ALICE, path: PATH };
    let watch = [applied(0, set(1, BOB, 1)), read(ALICE, 1, true), value(ALICE, 1, 1, Some((BOB, 1)))];
    let change = [applied(0, set(2, BOB, 2)), read(ALICE, 2, false)];
    let begin = watch.into_iter().chain(change);
    good(begin.clone().chain([news.clone(), value(ALICE, 2, 2, Some((BOB, 2)))]));
    good(begin.clone().chain([value(ALICE, 2, 1, Some((BOB, 1))), news.clone()]));
    bad("watches", begin.clone().chain([value(ALICE, 2, 2, Some((BOB, 2)))]));
    bad("watches", begin.chain([news.clone(), news.clone()]));
    bad("watches", [news]);
}

#[test]
fn ephemerals_live_as_long_as_their_session() {
    let begins = txn(1, None, Change::SessionBegins(ALICE));
    let made = txn(2, Some(Write { session: ALICE, xid: 1 }), Change::Set { path: PATH, owner: Some(ALICE) });
    let changed = set(3, BOB, 1);
    let ends = txn(4, None, Change::SessionEnds(ALICE));
    let history = [begins, made, changed, ends].map(|txn| applied(0, txn)).into_iter();
    let inventory = |zxid, sessions: &[Session], ephemerals: &[(Path, Session)]| {
        let (sessions, ephemerals) = (sessions.to_vec(), ephemerals.to_vec());
        [Seen::Inventory { member: 0, zxid, sessions, ephemerals }]
    };
    good(history.clone().chain(inventory(2, &[ALICE], &[(PATH, ALICE)])));
    good(history.clone().chain(inventory(3, &[ALICE], &[(PATH, ALICE)])));
    good(history.clone().chain(inventory(4, &[], &[])));
    bad("ephemerals", history.clone().chain(inventory(4, &[], &[(PATH, ALICE)])));
    bad("ephemerals", history.clone().chain(inventory(3, &[ALICE], &[])));
    bad("sessions", history.clone().chain(inventory(4, &[ALICE], &[])));
    good(history.clone().chain([read(BOB, 9, false), value(BOB, 9, 4, None)]));
    bad("reads", history.chain([read(BOB, 9, false), value(BOB, 9, 4, Some((BOB, 1)))]));
    bad("ephemerals", [begins, Txn { zxid: 3, ..ends }, Txn { zxid: 4, ..made }].map(|txn| applied(0, txn)));
}
