//! Known defects of the original: what plans must not say to it, since it would never recover.
//!
//! The numbers are those of the list in `tests/suite/defects.rs`, where each is said to Ringkeeper. Others need no
//! avoiding: the answers agree (a container flag in create), or the difference is ignored where answers are decoded
//! (the stray body of a refused multiRead).

use super::request::{Data, Op, Path, Request, Spoil};
use crate::wire::opcode;

/// Whether this request may stop the original for good.
pub fn stops_the_original(request: &Request) -> bool {
    by_op(&request.op, false) || by_spoil(request)
}

/// Whether the original may remove what this creates when the session closes behind it, though it is no ephemeral:
/// createContainer with an ephemeral flag makes a container, but while it is on its way it counts as the session's own.
pub fn outlives_its_session(op: &Op) -> bool {
    match op {
        Op::Create { opcode: opcode::CREATE_CONTAINER, flags: 1 | 3, .. } => true,
        Op::Multi { ops, .. } => ops.iter().any(outlives_its_session),
        _ => false,
    }
}

fn by_op(op: &Op, inside_multi: bool) -> bool {
    match op {
        // 1: a createTTL without a TTL is logged and can't be applied.
        Op::CreateTtl { path, flags, ttl, .. } => {
            (!inside_multi && (0..=4).contains(flags) && *ttl < 0) || root_quota(path)
        }
        // 2: a quota for the root.
        Op::Create { path, .. } => root_quota(path),
        // 3: a limits node outside the quota tree.
        Op::Delete { path, .. } => limits_outside_quota(path),
        // 4, 10: quota nodes that do not parse.
        Op::SetData { path, data, .. } => quota_node(path) && !parses(data),
        Op::Multi { ops, .. } => ops.iter().any(|op| by_op(op, true)),
        // 5, 6: internal opcodes that the original carries out for anybody.
        Op::Unknown { opcode, .. } => [opcode::DELETE_CONTAINER, opcode::CREATE_SESSION].contains(opcode),
        _ => false,
    }
}

/// A replaced byte can turn a harmless request into one of the above; those that are near one are left whole.
fn by_spoil(request: &Request) -> bool {
    matches!(request.spoil, Spoil::Replace(..)) && near(&request.op)
}

fn near(op: &Op) -> bool {
    match op {
        Op::CreateTtl { .. } => true,
        Op::Create { path, .. } | Op::Delete { path, .. } | Op::SetData { path, .. } => starts(path, b"/zookeeper"),
        Op::Multi { ops, .. } => ops.iter().any(near),
        _ => false,
    }
}

fn starts(path: &Path, start: &[u8]) -> bool {
    path.as_ref().is_some_and(|path| path.starts_with(start))
}

fn ends(path: &Path, end: &[u8]) -> bool {
    path.as_ref().is_some_and(|path| path.ends_with(end))
}

fn root_quota(path: &Path) -> bool {
    path.as_deref() == Some(b"/zookeeper/quota/zookeeper_limits")
}

fn limits_outside_quota(path: &Path) -> bool {
    starts(path, b"/zookeeper") && ends(path, b"/zookeeper_limits") && !starts(path, b"/zookeeper/quota/")
}

fn quota_node(path: &Path) -> bool {
    starts(path, b"/zookeeper/quota/") && (ends(path, b"/zookeeper_limits") || ends(path, b"/zookeeper_stats"))
}

fn parses(data: &Data) -> bool {
    let Some(text) = data.as_ref().and_then(|data| str::from_utf8(data).ok()) else { return false };
    text.split([',', ';']).filter(|part| !part.is_empty()).all(|part| {
        let mut words = part.split('=');
        words.next().is_some_and(|key| !key.is_empty())
            && words.next().is_some_and(|value| value.parse::<i64>().is_ok())
    })
}
