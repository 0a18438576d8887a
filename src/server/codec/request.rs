//! A client's write as the tree's request.
//!
//! Flow       frame -> `net::record::Request` (owns what is not valid UTF-8) -> `to_tree`, which borrows from it.
//! Invariant  outside a multi nothing is judged here; flags and nulls reach `prep` as they were sent. Inside a multi
//!            bad flags mean that the whole request does not decode (ZooKeeper's MultiOperationRecord), so they do.

use std::borrow::Cow;

use net::record::{self as wire, CreateRequest, CreateTtlRequest, MultiOp, MultiRequest};
use tree::acl::AclEntry;
use tree::request::{Create, CreateKind, Request};

/// The create modes (CreateMode.fromFlag).
mod flags {
    /// Makes a container, whatever the opcode, in a multi.
    pub const CONTAINER: i32 = 4;
    /// These carry a TTL.
    pub const TTL: std::ops::RangeInclusive<i32> = 5..=6;
    /// All there are.
    pub const KNOWN: std::ops::RangeInclusive<i32> = 0..=6;
}

/// TTL of the creates that have no such field.
const NO_TTL: i64 = -1;

/// The request for the tree, or `None` for one that changes nothing there.
pub fn to_tree<'r>(request: &'r wire::Request<'_>) -> Option<Request<'r>> {
    Some(match request {
        wire::Request::Create(request) => Request::Create(create(CreateKind::Create, request)),
        wire::Request::Create2(request) => Request::Create(create(CreateKind::Create2, request)),
        wire::Request::CreateContainer(request) => Request::Create(create(CreateKind::Container, request)),
        wire::Request::CreateTtl(request) => Request::Create(create_ttl(request)),
        wire::Request::Delete(request) => delete(request),
        wire::Request::SetData(request) => set_data(request),
        wire::Request::SetAcl(request) => {
            Request::SetAcl { path: request.path.as_deref(), acl: entries(&request.acl), version: request.version }
        }
        wire::Request::Multi(request) => multi(request),
        wire::Request::CloseSession => Request::CloseSession,
        wire::Request::Reconfig(_) => Request::Reconfig,
        _ => return None,
    })
}

fn create<'r>(kind: CreateKind, request: &'r CreateRequest<'_>) -> Create<'r> {
    let CreateRequest { path, data, acl, flags } = request;
    Create { kind, path: path.as_deref(), data: *data, acl: entries(acl), flags: *flags, ttl: NO_TTL }
}

fn create_ttl<'r>(request: &'r CreateTtlRequest<'_>) -> Create<'r> {
    let CreateTtlRequest { path, data, acl, flags, ttl_ms } = request;
    let kind = CreateKind::Ttl;
    Create { kind, path: path.as_deref(), data: *data, acl: entries(acl), flags: *flags, ttl: *ttl_ms }
}

fn delete<'r>(request: &'r wire::DeleteRequest<'_>) -> Request<'r> {
    Request::Delete { path: request.path.as_deref(), version: request.version }
}

fn set_data<'r>(request: &'r wire::SetDataRequest<'_>) -> Request<'r> {
    Request::SetData { path: request.path.as_deref(), data: request.data, version: request.version }
}

fn multi<'r>(request: &'r MultiRequest<'_>) -> Request<'r> {
    let ops = request.ops.iter().map(multi_op).collect::<Option<Vec<_>>>();
    ops.map_or(Request::MultiUndecodable, Request::Multi)
}

/// `None` when its flags break the whole multi.
fn multi_op<'r>(op: &'r MultiOp<'_>) -> Option<Request<'r>> {
    Some(Request::Create(match op {
        MultiOp::Create(request) => multi_create(create(CreateKind::Create, request))?,
        MultiOp::Create2(request) => multi_create(create(CreateKind::Create2, request))?,
        MultiOp::CreateContainer(request) => multi_create(create(CreateKind::Container, request))?,
        MultiOp::CreateTtl(request) => multi_create(create_ttl(request))?,
        MultiOp::Delete(request) => return Some(delete(request)),
        MultiOp::SetData(request) => return Some(set_data(request)),
        MultiOp::Check(request) => {
            return Some(Request::Check { path: request.path.as_deref(), version: request.version });
        }
    }))
}

/// In a multi the flags decide what is made; the opcode only tells a plain create from a create2.
fn multi_create(create: Create<'_>) -> Option<Create<'_>> {
    let (has_ttl_flags, has_ttl_field) = (flags::TTL.contains(&create.flags), create.kind == CreateKind::Ttl);
    if !flags::KNOWN.contains(&create.flags) || (has_ttl_flags && !has_ttl_field) {
        return None;
    }
    Some(match create.flags {
        flags::CONTAINER => Create { kind: CreateKind::Container, ttl: NO_TTL, ..create },
        _ if has_ttl_field && !has_ttl_flags => Create { kind: CreateKind::Create, ttl: NO_TTL, ..create },
        _ => create,
    })
}

fn entries<'r>(acl: &'r Option<Vec<wire::Acl<'_>>>) -> Option<Vec<AclEntry<'r>>> {
    fn text<'r>(text: &'r Option<Cow<'_, str>>) -> Option<&'r str> {
        text.as_deref()
    }
    let entry =
        |acl: &'r wire::Acl<'_>| AclEntry { perms: acl.perms, scheme: text(&acl.id.scheme), id: text(&acl.id.id) };
    acl.as_ref().map(|entries| entries.iter().map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(flags: i32) -> CreateRequest<'static> {
        CreateRequest { path: Some("/a".into()), data: None, acl: Some(vec![wire::Acl::open()]), flags }
    }

    fn ttl_request(flags: i32) -> CreateTtlRequest<'static> {
        CreateTtlRequest { path: Some("/a".into()), data: None, acl: None, flags, ttl_ms: 9 }
    }

    /// Kind, flags and TTL of the only operation of a multi.
    fn in_multi(op: MultiOp<'static>) -> Option<(CreateKind, i32, i64)> {
        match multi(&MultiRequest { ops: vec![op] }) {
            Request::MultiUndecodable => None,
            Request::Multi(ops) => match &ops[..] {
                [Request::Create(create)] => Some((create.kind, create.flags, create.ttl)),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn outside_a_multi_flags_and_nulls_pass_as_sent() {
        let wire = wire::Request::CreateTtl(CreateTtlRequest { path: None, ..ttl_request(99) });
        let Some(Request::Create(create)) = to_tree(&wire) else { panic!("no create") };
        assert_eq!((create.kind, create.path, create.flags, create.ttl), (CreateKind::Ttl, None, 99, 9));
        assert_eq!(create.acl, None);
        let wire = wire::Request::Create2(request(5));
        let Some(Request::Create(create)) = to_tree(&wire) else { panic!("no create") };
        assert_eq!((create.kind, create.flags, create.ttl), (CreateKind::Create2, 5, -1));
        let anyone = AclEntry { perms: 31, scheme: Some("world"), id: Some("anyone") };
        assert_eq!(create.acl, Some(vec![anyone]));
    }

    #[test]
    fn in_a_multi_flag_4_makes_a_container_whatever_the_opcode() {
        assert_eq!(in_multi(MultiOp::Create(request(4))), Some((CreateKind::Container, 4, -1)));
        assert_eq!(in_multi(MultiOp::Create2(request(4))), Some((CreateKind::Container, 4, -1)));
        assert_eq!(in_multi(MultiOp::CreateTtl(ttl_request(4))), Some((CreateKind::Container, 4, -1)));
        assert_eq!(in_multi(MultiOp::CreateContainer(request(0))), Some((CreateKind::Container, 0, -1)));
    }

    #[test]
    fn in_a_multi_create_ttl_without_ttl_flags_is_a_plain_create() {
        assert_eq!(in_multi(MultiOp::CreateTtl(ttl_request(2))), Some((CreateKind::Create, 2, -1)));
        assert_eq!(in_multi(MultiOp::CreateTtl(ttl_request(6))), Some((CreateKind::Ttl, 6, 9)));
    }

    #[test]
    fn in_a_multi_bad_flags_break_the_whole_request() {
        for flags in [-1, 7, 5, 6] {
            assert_eq!(in_multi(MultiOp::Create(request(flags))), None, "{flags}");
            assert_eq!(in_multi(MultiOp::CreateContainer(request(flags))), None, "{flags}");
        }
        assert_eq!(in_multi(MultiOp::CreateTtl(ttl_request(7))), None);
    }

    #[test]
    fn reads_are_no_requests_for_the_tree() {
        assert_eq!(to_tree(&wire::Request::Ping), None);
    }
}
