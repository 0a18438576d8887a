//! Rules about nodes: versions count the writes, data is what somebody wrote, and the end is what the writes leave.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Case, data_of, written};
use crate::history::{Answer, Call, Request};
use crate::wire::Stat;

/// One look at a node: in an answer, or in the end.
struct Look<'a> {
    path: &'a str,
    stat: &'a Stat,
    data: Option<&'a str>,
    /// The write that says so itself.
    by: Option<&'a Call>,
    returned: Duration,
}

/// Every look there is at nodes that hold the load's data.
fn looks<'a>(case: &'a Case<'_>) -> Vec<Look<'a>> {
    let mut looks = Vec::new();
    for call in &case.history.calls {
        let Answer::Done { nodes, data, .. } = &call.answer else { continue };
        let by = call.request.is_write().then_some(call);
        let data = data_of(&call.request).or(data.as_deref());
        looks.extend(nodes.iter().map(|(path, stat)| Look { path, stat, data, by, returned: call.returned }));
    }
    for (path, node) in &case.end.nodes {
        let data = node.data.as_deref().and_then(|data| std::str::from_utf8(data).ok());
        looks.push(Look { path, stat: &node.stat, data, by: None, returned: Duration::MAX });
    }
    // The load's folders have no data, and what is outside is not its own.
    looks.retain(|look| look.data.is_some_and(|data| !data.is_empty()) && look.path.starts_with(&case.history.root));
    looks
}

/// In each life of a node, a version belongs to one zxid, rising with it; a life begins behind the end of the one before.
pub fn versions_count(case: &Case<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    // By path and czxid: the looks by version.
    let mut lives = BTreeMap::<(&str, i64), BTreeMap<i32, Look<'_>>>::new();
    for look in looks(case) {
        let Stat { czxid, mzxid, version, .. } = *look.stat;
        if (version == 0) != (czxid == mzxid) {
            broken.push(format!("version {version} of {} with czxid {czxid:#x}, mzxid {mzxid:#x}", look.path));
        }
        if let Some(Call { request: Request::Set { version: asked, .. }, .. }) = look.by
            && *asked >= 0
            && version != asked + 1
        {
            broken.push(format!("{} was to be at version {asked} and is at {version} behind it", look.path));
        }
        let life = lives.entry((look.path, czxid)).or_default();
        match life.get(&version) {
            Some(other) if other.stat.mzxid != mzxid => {
                let pair = (other.stat.mzxid, mzxid);
                broken.push(format!("version {version} of {} twice: {:#x}, {:#x}", look.path, pair.0, pair.1));
            }
            Some(Look { by: Some(_), .. }) => {}
            _ => drop(life.insert(version, look)),
        }
    }
    let mut before: Option<(&str, i64)> = None;
    let mut unexplained = BTreeMap::<&str, usize>::new();
    for ((path, czxid), life) in &lives {
        if let Some((other, last)) = before
            && other == *path
            && last >= *czxid
        {
            broken.push(format!("{path} was written at {last:#x} in a life before {czxid:#x}"));
        }
        let mut last = 0;
        for (version, look) in life {
            if look.stat.mzxid <= last {
                broken.push(format!("version {version} of {path} at {:#x}, behind {last:#x}", look.stat.mzxid));
            }
            last = look.stat.mzxid;
        }
        before = Some((path, last));
        let versions = 1 + life.last_key_value().map_or(0, |(version, _)| version.unsigned_abs() as usize);
        let known = life.values().filter(|look| look.by.is_some()).count();
        *unexplained.entry(path).or_default() += versions - known.min(versions);
    }
    for (path, count) in unexplained {
        let lost =
            [path, without_number(path)].into_iter().filter_map(|path| case.lost.get(path)).max().copied().unwrap_or(0);
        if count > lost {
            broken.push(format!("{path}: {count} writes without an acknowledgement, and {lost} lost answers"));
        }
    }
    broken
}

/// A sequential node's path as it was asked for: what number it got is known from its answer only.
fn without_number(path: &str) -> &str {
    path.trim_end_matches(|letter: char| letter.is_ascii_digit())
}

/// Data comes from one write that was asked for and not refused, and sits at that write's zxid.
pub fn data_has_one_origin(case: &Case<'_>) -> Vec<String> {
    let origins: BTreeMap<&str, &Call> =
        case.history.calls.iter().filter_map(|call| data_of(&call.request).map(|data| (data, call))).collect();
    let mut broken = Vec::new();
    let mut places = BTreeMap::<&str, i64>::new();
    for look in looks(case) {
        let data = look.data.unwrap_or_default();
        let mzxid = look.stat.mzxid;
        match origins.get(data) {
            None => broken.push(format!("nobody wrote {data:?}, found at {}", look.path)),
            Some(origin) => {
                let reaches = |path: &&str| *path == look.path || *path == without_number(look.path);
                let is_reached = written(&origin.request).iter().any(reaches);
                let is_early = origin.invoked > look.returned;
                if matches!(origin.answer, Answer::Refused { .. }) || is_early || !is_reached {
                    broken.push(format!("{data:?} is at {} at {mzxid:#x}, but: {origin:?}", look.path));
                }
                let place = origin.txn().unwrap_or_else(|| *places.entry(data).or_insert(mzxid));
                if place != mzxid {
                    broken.push(format!("{data:?} at {} was written at {place:#x} and at {mzxid:#x}", look.path));
                }
            }
        }
    }
    broken
}

/// Each path in the end is what its last write left: no acknowledged write is lost, no acknowledged removal undone.
pub fn end_is_explained(case: &Case<'_>) -> Vec<String> {
    let mut broken = Vec::new();
    for (path, puts) in &case.puts {
        let Some((last, call)) = puts.last() else { continue };
        let is_ephemeral = matches!(call.request, Request::Create { is_ephemeral: true, .. });
        match case.end.nodes.get(*path) {
            Some(node) if node.stat.mzxid < *last => {
                broken.push(format!("{path} ends at {:#x}, but: {call:?}", node.stat.mzxid));
            }
            Some(_) => {}
            // Ephemeral nodes have a rule of their own.
            None if is_ephemeral || case.may_be_removed_after(path, *last) => {}
            None => broken.push(format!("{path} is lost: {call:?}")),
        }
    }
    for path in case.removals.keys() {
        if let (Some(node), Some(removed)) = (case.end.nodes.get(*path), case.removed_upto(path, i64::MAX - 1))
            && node.stat.czxid <= removed
        {
            broken.push(format!("{path} of {:#x} came back: removed behind {removed:#x}", node.stat.czxid));
        }
    }
    broken
}
