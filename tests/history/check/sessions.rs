//! Rules about sessions: what one has seen it never unsees, whichever member it asks, and its ephemeral nodes are its life.

use std::collections::{BTreeMap, BTreeSet};

use super::{Case, Seen};
use crate::history::{Answer, Call, Request};
use crate::wire::code;

/// The calls of each session, in their order.
fn by_session<'a>(case: &Case<'a>) -> BTreeMap<i64, Vec<&'a Call>> {
    let mut sessions = BTreeMap::<i64, Vec<&Call>>::new();
    for call in &case.history.calls {
        sessions.entry(call.session).or_default().push(call);
    }
    sessions
}

/// The zxid of replies never falls within a session, and no reply tells of a zxid above its own.
pub fn replies_rise(case: &Case<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    for (session, calls) in by_session(case) {
        let mut highest = 0;
        for call in calls {
            let Some(zxid) = call.zxid() else { continue };
            if zxid < highest {
                broken.push(format!("session {session:#x} had seen {highest:#x}: {call:?}"));
            }
            highest = highest.max(zxid);
            if let Answer::Done { nodes, .. } = &call.answer
                && nodes.iter().any(|(_, stat)| stat.mzxid.max(stat.czxid).max(stat.pzxid) > zxid)
            {
                broken.push(format!("the reply is older than what it tells: {call:?}"));
            }
        }
    }
    broken
}

/// A read sees every acknowledged write up to the zxid that its session had seen, and no node that was removed by then.
pub fn reads_keep_up(case: &Case<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    for calls in by_session(case).into_values() {
        let mut seen = 0;
        for call in calls {
            broken.extend(stale(case, call, seen).map(|why| format!("session had seen {seen:#x}, {why}: {call:?}")));
            seen = seen.max(call.zxid().unwrap_or(0));
        }
    }
    broken
}

/// A read behind a sync sees every write that anybody saw acknowledged before.
pub fn syncs_catch_up(case: &Case<'_>) -> Vec<String> {
    let seen = Seen::new(case.history);
    let synced = case.history.calls.iter().filter(|call| matches!(call.request, Request::Get { is_synced: true, .. }));
    let broken = synced.filter_map(|call| {
        let before = seen.before(call.invoked);
        stale(case, call, before).map(|why| format!("{before:#x} was seen before this sync, {why}: {call:?}"))
    });
    broken.collect()
}

/// Why a read is older than the state at `seen`, if it is.
fn stale(case: &Case<'_>, call: &Call, seen: i64) -> Option<String> {
    let Request::Get { path, .. } = &call.request else { return None };
    let written = case.last_put(path, seen);
    match (&call.answer, written) {
        (Answer::Refused { code: code::NO_NODE, .. }, Some(txn)) if !case.may_be_removed_after(path, txn) => {
            Some(format!("{path} was there at {txn:#x}"))
        }
        (Answer::Done { nodes, .. }, written) => {
            let stat = nodes.first().map(|(_, stat)| stat)?;
            let removed = case.removed_upto(path, seen);
            if written.is_some_and(|txn| stat.mzxid < txn) {
                written.map(|txn| format!("{path} was written at {txn:#x}"))
            } else if removed.is_some_and(|zxid| stat.czxid <= zxid) {
                removed.map(|zxid| format!("{path} was removed behind {zxid:#x}"))
            } else {
                None
            }
        }
        _ => None,
    }
}

/// Ephemeral nodes of a session that lives are there, those of a session that has ended are gone; and no session ended
/// that nobody closed.
pub fn ephemerals_live_as_sessions(case: &Case<'_>) -> Vec<String> {
    let closes = |call: &&Call| call.request == Request::Close;
    let closed: BTreeSet<i64> = case
        .history
        .calls
        .iter()
        .filter(closes)
        .filter(|call| matches!(call.answer, Answer::Done { .. }))
        .map(|call| call.session)
        .collect();
    let undecided: BTreeSet<i64> = case
        .history
        .calls
        .iter()
        .filter(closes)
        .filter(|call| call.answer == Answer::Lost)
        .map(|call| call.session)
        .collect();
    let lives = |session: &i64| case.history.alive.contains(session) && !undecided.contains(session);
    let mut broken = Vec::new();
    for session in case.history.expired.iter().filter(|session| !undecided.contains(session)) {
        broken.push(format!("session {session:#x} was lost"));
    }
    for call in &case.history.calls {
        let (Request::Create { path, is_ephemeral: true, .. }, Answer::Done { nodes, .. }) =
            (&call.request, &call.answer)
        else {
            continue;
        };
        if nodes.iter().any(|(_, stat)| stat.ephemeral_owner != call.session) {
            broken.push(format!("an ephemeral node has another owner: {call:?}"));
        }
        let is_there = case.end.nodes.contains_key(path);
        if !is_there && lives(&call.session) && !case.removals.contains_key(path.as_str()) {
            broken.push(format!("the session lives, and {path} is gone: {call:?}"));
        }
    }
    for (owner, paths) in case.end.owned() {
        if closed.contains(&owner) || case.history.expired.contains(&owner) {
            broken.push(format!("session {owner:#x} has ended and left {paths:?}"));
        }
    }
    broken
}
