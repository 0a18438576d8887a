//! Rules about zxids and time: one order of all txns, and it is the order in which they were acknowledged.

use std::collections::BTreeMap;

use super::{Case, Seen};
use crate::history::{Answer, Request};

/// Who asks after having seen a zxid, in whatever answer of whatever client, gets a higher one.
pub fn real_time(case: &Case<'_>) -> Vec<String> {
    let seen = Seen::new(case.history);
    let late = case.history.calls.iter().filter_map(|call| {
        let (txn, before) = (call.txn()?, seen.before(call.invoked));
        (txn <= before).then(|| format!("real time: zxid {before:#x} was seen before this was asked: {call:?}"))
    });
    late.collect()
}

/// No two writes share a zxid.
pub fn one_txn_one_zxid(case: &Case<'_>) -> Vec<String> {
    let mut taken = BTreeMap::new();
    let mut broken = Vec::new();
    for call in &case.history.calls {
        if let Some(txn) = call.txn()
            && let Some(other) = taken.insert(txn, call)
        {
            broken.push(format!("zxid {txn:#x} twice: {other:?} and {call:?}"));
        }
    }
    broken
}

/// Numbers of sequential nodes are unique and rise with the zxid.
pub fn numbers_rise(case: &Case<'_>) -> Vec<String> {
    let mut numbered: Vec<(i64, &str, i64)> = Vec::new();
    let mut broken = Vec::new();
    for call in &case.history.calls {
        if let (Request::Create { path: prefix, is_sequential: true, .. }, Answer::Done { nodes, .. }) =
            (&call.request, &call.answer)
        {
            for (path, stat) in nodes {
                match path.strip_prefix(prefix.as_str()).and_then(|digits| digits.parse().ok()) {
                    Some(number) => numbered.push((stat.czxid, path, number)),
                    None => broken.push(format!("{path} is no sequential node of {prefix}")),
                }
            }
        }
    }
    numbered.sort_unstable();
    for pair in numbered.windows(2) {
        let [(zxid, path, number), (next_zxid, next_path, next_number)] = [pair[0], pair[1]];
        if next_number <= number {
            broken.push(format!("numbers: {path} at {zxid:#x}, then {next_path} at {next_zxid:#x}"));
        }
    }
    broken
}
