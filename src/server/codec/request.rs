//! A client's write as the tree's request.
//!
//! Flow       frame -> `net::record::Request` (owns what is not valid UTF-8) -> `to_tree`, which borrows from it.
//! Invariant  nothing is judged here: flags, nulls and versions reach `prep` as they were sent, also those that make a
//!            multi one that does not decode in ZooKeeper.

use std::borrow::Cow;

use net::record::{self as wire, CreateRequest, CreateTtlRequest, MultiOp, MultiRequest};
use tree::acl::AclEntry;
use tree::request::{Create, CreateKind, Request};

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
    let op = |op: &'r MultiOp<'_>| match op {
        MultiOp::Create(request) => Request::Create(create(CreateKind::Create, request)),
        MultiOp::Create2(request) => Request::Create(create(CreateKind::Create2, request)),
        MultiOp::CreateContainer(request) => Request::Create(create(CreateKind::Container, request)),
        MultiOp::CreateTtl(request) => Request::Create(create_ttl(request)),
        MultiOp::Delete(request) => delete(request),
        MultiOp::SetData(request) => set_data(request),
        MultiOp::Check(request) => Request::Check { path: request.path.as_deref(), version: request.version },
    };
    Request::Multi(request.ops.iter().map(op).collect())
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

    #[test]
    fn flags_and_nulls_pass_as_sent() {
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
    fn operations_of_a_multi_keep_their_order_opcode_and_flags() {
        let delete = wire::DeleteRequest { path: None, version: 3 };
        let ops = vec![
            MultiOp::Create(request(7)),
            MultiOp::CreateTtl(ttl_request(0)),
            MultiOp::CreateContainer(request(4)),
            MultiOp::Delete(delete),
        ];
        let wire = wire::Request::Multi(MultiRequest { ops });
        let Some(Request::Multi(ops)) = to_tree(&wire) else { panic!("no multi") };
        let seen = ops.iter().map(|op| match op {
            Request::Create(create) => (create.kind.to_wire(), create.flags),
            Request::Delete { path: None, version } => (2, *version),
            other => panic!("{other:?}"),
        });
        assert_eq!(seen.collect::<Vec<_>>(), [(1, 7), (21, 0), (19, 4), (2, 3)]);
    }

    #[test]
    fn reads_are_no_requests_for_the_tree() {
        assert_eq!(to_tree(&wire::Request::Ping), None);
    }
}
