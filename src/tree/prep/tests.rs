//! Preparing: the order of checks, and writes prepared ahead of the tree.

use super::*;
use crate::acl::AclEntry;
use crate::apply::OpResult;
use crate::fixture::{
    OPEN, READ_ONLY, Server, check, create, create_acl, create_as, create_data, create_with, delete, set, set_acl,
};
use crate::owner::OwnerRules;
use crate::request::{Create, CreateKind};
use crate::session::Standing;
use crate::txn::SetDataTxn;

const NOTHING: AclEntry<'static> = AclEntry { perms: 0, scheme: Some("world"), id: Some("anyone") };

fn created(result: OpResult<'_>) -> (CreateKind, String) {
    match result {
        OpResult::Created { kind, path, .. } => (kind, path.into()),
        other => panic!("{other:?}"),
    }
}

fn multi_codes(result: &OpResult<'_>) -> Vec<i32> {
    let OpResult::Multi(results) = result else { panic!("{result:?}") };
    results.iter().map(OpResult::header_code).collect()
}

#[test]
fn flags_and_ttl_are_checked_before_anything_else() {
    let mut server = Server::new();
    for flags in [-1, 7, i32::MAX] {
        server.fails(&create_with("no slash", flags), Code::BadArguments);
    }
    for kind in [CreateKind::Create, CreateKind::Create2, CreateKind::Container] {
        server.fails(&create_as(kind, "/t", 5, -1), Code::BadArguments);
        server.fails(&create_as(kind, "/t", 6, -1), Code::BadArguments);
    }
    for ttl in [-1, 0, 0x100_0000_0000] {
        server.fails(&create_as(CreateKind::Ttl, "/t", 5, ttl), Code::BadArguments);
    }
    server.ok(&create_as(CreateKind::Ttl, "/t", 5, 0xff_ffff_ffff));
    server.fails(&create_as(CreateKind::Ttl, "/u", 0, 100), Code::BadArguments);
    let mut without = Server::with(OwnerRules::default());
    without.fails(&create_as(CreateKind::Ttl, "/t", 5, 0), Code::Unimplemented);
    without.fails(&create_as(CreateKind::Create, "/t", 6, -1), Code::Unimplemented);
}

/// ZooKeeper logs such a request, and dies of it at each start.
#[test]
fn create_ttl_without_a_ttl_mode_is_refused() {
    let mut server = Server::new();
    for flags in 0..=4 {
        server.fails(&create_as(CreateKind::Ttl, "/t", flags, -1), Code::BadArguments);
    }
}

#[test]
fn outside_a_multi_the_opcode_decides_the_kind() {
    let mut server = Server::new();
    server.ok(&create_with("/plain", 4));
    server.ok(&create_as(CreateKind::Create2, "/plain2", 4, -1));
    for (path, flags) in [("/c0", 0), ("/c1", 1), ("/c4", 4)] {
        server.ok(&create_as(CreateKind::Container, path, flags, -1));
    }
    assert_eq!(created(server.ok(&create_as(CreateKind::Container, "/c-", 2, -1))).1, "/c-0000000005");
    assert_eq!((server.tree.container_count(), server.tree.ephemeral_count()), (4, 0));
    let mine = server.tree.get("/c1").unwrap().stat_persisted();
    assert_eq!(mine.ephemeral_owner, owner_of_container());
}

fn owner_of_container() -> i64 {
    crate::owner::CONTAINER
}

#[test]
fn inside_a_multi_the_flags_decide_the_kind() {
    let mut server = Server::new();
    let result = server.ok(&Request::Multi(Vec::from([
        create_with("/c", 4),
        create_as(CreateKind::Create2, "/d", 0, -1),
        create_as(CreateKind::Ttl, "/plain", 0, 5000),
        create_as(CreateKind::Ttl, "/cont", 4, 5000),
        create_as(CreateKind::Container, "/cont2", 0, -1),
        create_as(CreateKind::Ttl, "/ttl", 5, 5000),
    ])));
    let OpResult::Multi(results) = result else { panic!() };
    let kinds: Vec<CreateKind> = results.into_iter().map(|result| created(result).0).collect();
    let (plain, container) = (CreateKind::Create, CreateKind::Container);
    assert_eq!(kinds, [container, CreateKind::Create2, plain, container, container, CreateKind::Ttl]);
    assert_eq!((server.tree.container_count(), server.tree.ttl_count()), (3, 1));
    for bad in [create_with("/x", 7), create_with("/x", 5), create_as(CreateKind::Container, "/x", 6, -1)] {
        server.fails(&Request::Multi(Vec::from([create("/y"), bad])), Code::MarshallingError);
    }
    let odd_ttl = Request::Multi(Vec::from([create("/y"), create_as(CreateKind::Ttl, "/x", 7, 5)]));
    assert_eq!(multi_codes(&server.run(&odd_ttl)), [0, -8], "opcode 21 is decoded whatever its flags");
}

#[test]
fn create_checks_in_zookeepers_order() {
    let mut server = Server::new();
    server.fails(&create("nopath"), Code::BadArguments);
    server.fails(&create("/a\0"), Code::BadArguments);
    server.fails(&create_acl("/missing/x", &[]), Code::InvalidAcl);
    server.fails(&create("/missing/x"), Code::NoNode);
    server.fails(&create("/a/"), Code::NoNode);
    server.fails(&create("/"), Code::NodeExists);
    server.ok(&create("/a"));
    server.fails(&create("/a"), Code::NodeExists);
    server.fails(&create("/a/"), Code::BadArguments);
    server.fails(&create("/a/."), Code::BadArguments);
    assert_eq!(created(server.ok(&create_with("/a/.", 2))).1, "/a/.0000000000");
    assert_eq!(created(server.ok(&create_with("/a/", 2))).1, "/a/0000000001");
    server.ok(&create_acl("/locked", &[READ_ONLY]));
    server.fails(&create("/locked/."), Code::NoAuth);
    server.ok(&create_with("/e", 1));
    server.fails(&create("/e/x"), Code::NoChildrenForEphemerals);
    server.ok(&create_as(CreateKind::Ttl, "/ttl", 5, 9));
    server.ok(&create("/ttl/x"));
    server.fails(&Request::Create(Create { path: None, ..plain_create("/") }), Code::MarshallingError);
    server.fails(&Request::Create(Create { acl: None, ..plain_create("/n") }), Code::InvalidAcl);
    let null_id = AclEntry { id: None, ..OPEN };
    server.fails(&create_acl("/n", &[null_id]), Code::MarshallingError);
}

fn plain_create(path: &str) -> Create<'_> {
    match create(path) {
        Request::Create(create) => create,
        _ => unreachable!(),
    }
}

#[test]
fn sequential_suffix_counts_creates_only() {
    let mut server = Server::new();
    server.ok(&create("/q"));
    assert_eq!(created(server.ok(&create_with("/q/a-", 2))).1, "/q/a-0000000000");
    server.ok(&create("/q/plain"));
    server.ok(&delete("/q/plain", -1));
    server.fails(&create("/q/a-0000000000"), Code::NodeExists);
    assert_eq!(created(server.ok(&create_with("/q/b-", 3))).1, "/q/b-0000000002");
    server.ok(&create("/q/c-0000000004"));
    server.fails(&create_with("/q/c-", 2), Code::NodeExists);
    server.fails(&create_with("/q/c-", 2), Code::NodeExists);
    server.ok(&create("/q/other"));
    assert_eq!(created(server.ok(&create_with("/q/c-", 2))).1, "/q/c-0000000005");
}

#[test]
fn the_sequential_counter_sticks_at_its_maximum() {
    let mut server = Server::new();
    server.ok(&create("/q"));
    let id = server.tree.find("/q").unwrap();
    server.tree.change(id, |tree| tree.slab[id].inner_mut().cversion = i32::MAX);
    assert_eq!(created(server.ok(&create_with("/q/a", 2))).1, "/q/a2147483647");
    server.fails(&create_with("/q/a", 2), Code::NodeExists);
    let pzxid = server.stat("/q").pzxid;
    assert_eq!(created(server.ok(&create_with("/q/b", 2))).1, "/q/b2147483647");
    assert_eq!(server.stat("/q").pzxid, pzxid, "neither counter nor pzxid move any more");
    server.tree.change(id, |tree| tree.slab[id].inner_mut().cversion = -7);
    assert_eq!(created(server.ok(&create_with("/q/n", 2))).1, "/q/n-000000007");
    server.tree.check();
}

#[test]
fn delete_checks_in_zookeepers_order() {
    let mut server = Server::new();
    for special in ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", "nopath", "/a\0"] {
        server.fails(&delete(special, -1), Code::BadArguments);
    }
    server.fails(&delete("/x/y", -1), Code::NoNode);
    server.ok(&create_acl("/locked", &[READ_ONLY]));
    server.fails(&delete("/locked/missing", -1), Code::NoAuth);
    server.ok(&create("/a"));
    server.fails(&delete("/a/", -1), Code::NoNode);
    server.ok(&create("/a/b"));
    server.fails(&delete("/a", 5), Code::BadVersion);
    server.fails(&delete("/a", -2), Code::BadVersion);
    server.fails(&delete("/a", 0), Code::NotEmpty);
    server.ok(&delete("/a/b", 0));
    server.ok(&delete("/a", -1));
    server.ok(&delete("/locked", -1));
    server.fails(&Request::Delete { path: None, version: -1 }, Code::MarshallingError);
}

#[test]
fn set_data_and_set_acl_check_in_zookeepers_order() {
    let mut server = Server::new();
    server.fails(&set("/a/", "x", -1), Code::BadArguments);
    server.fails(&set("/a", "x", -1), Code::NoNode);
    server.fails(&Request::SetData { path: None, data: None, version: -1 }, Code::BadArguments);
    server.ok(&create_acl("/locked", &[READ_ONLY]));
    server.fails(&set("/locked", "x", 7), Code::NoAuth);
    server.fails(&set_acl("/locked", &[OPEN], 7), Code::NoAuth);
    server.fails(&set_acl("/missing", &[], -1), Code::InvalidAcl);
    server.fails(&set_acl("/missing", &[OPEN], -1), Code::NoNode);
    server.ok(&set("/", "root", 0));
    server.fails(&set("/", "root", 0), Code::BadVersion);
    server.ok(&create("/a"));
    server.fails(&set_acl("/a", &[OPEN], 1), Code::BadVersion);
    server.ok(&set_acl("/a", &[AclEntry { perms: 2, ..OPEN }], 0));
    server.ok(&set("/a", "still writable", 0));
    server.fails(&set_acl("/a", &[OPEN], 1), Code::NoAuth);
    server.fails(&set("/zookeeper/config", "x", -1), Code::NoAuth);
    server.who.push(Identity::new("super", ""));
    server.ok(&set("/zookeeper/config", "x", -1));
}

#[test]
fn a_node_at_version_minus_one_cannot_be_named_by_version() {
    let mut server = Server::new();
    server.ok(&create("/a"));
    let id = server.tree.find("/a").unwrap();
    server.tree.change(id, |tree| tree.slab[id].version = i32::MAX);
    server.ok(&set("/a", "x", i32::MAX));
    assert_eq!(server.stat("/a").version, i32::MIN);
}

#[test]
fn sessions_that_end_write_nothing() {
    let mut server = Server::new();
    server.standing = Standing::Closing;
    server.fails(&create_with("/e", 1), Code::SessionExpired);
    server.fails(&create("/p"), Code::SessionExpired);
    server.fails(&create_with("/p", 9), Code::BadArguments);
    server.standing = Standing::Unknown;
    server.fails(&set("/", "x", -1), Code::SessionExpired);
    server.fails(&delete("/x", -1), Code::SessionExpired);
    server.standing = Standing::Moved;
    server.fails(&delete("/", -1), Code::SessionMoved);
}

#[test]
fn a_multi_sees_its_own_effects_and_takes_one_zxid() {
    let mut server = Server::new();
    let before = server.zxid;
    let result = server.ok(&Request::Multi(Vec::from([
        create("/a"),
        create_with("/a/s-", 2),
        create_with("/a/s-", 2),
        check("/a", 0),
        set("/a", "new", 0),
        check("/a", 1),
        delete("/a/s-0000000000", 0),
    ])));
    assert_eq!(multi_codes(&result), [0; 7]);
    assert_eq!(Some(server.zxid), before.next());
    assert!(server.exists("/a/s-0000000001") && !server.exists("/a/s-0000000000"));
    let stat = server.stat("/a");
    assert_eq!((stat.cversion, stat.czxid, stat.mzxid, stat.pzxid), (3, 1, 1, 1));
    assert_eq!(server.ok(&Request::Multi(Vec::new())), OpResult::Multi(Vec::new()));
    server.tree.check();
}

/// ZooKeeper 3.8.0 stops at a create2 in the middle of a multi, and has another tree from then on.
#[test]
fn create2_in_a_multi_is_a_create_where_old_members_may_be() {
    let mut server = Server::new();
    let multi = |path| Request::Multi(Vec::from([create_as(CreateKind::Create2, path, 0, -1)]));
    let kinds = |txn: &Txn| match &txn.op {
        TxnOp::Multi(ops) => ops.iter().map(TxnOp::to_wire).collect::<Vec<i32>>(),
        other => panic!("{other:?}"),
    };
    let txn = server.prepare(&multi("/a"));
    assert_eq!(kinds(&txn), [15]);
    server.apply(txn);
    server.settings.create2_in_multi_as_create = true;
    let txn = server.prepare(&multi("/b"));
    assert_eq!(kinds(&txn), [1]);
    server.apply(txn);
    let txn = server.prepare(&create_as(CreateKind::Create2, "/c", 0, -1));
    assert_eq!(txn.op.to_wire(), 15, "alone it is known to all");
    server.apply(txn);
    server.tree.check();
}

#[test]
fn a_failed_multi_changes_nothing_and_tells_who_failed() {
    let mut server = Server::new();
    server.ok(&create("/a"));
    let digest = server.tree.digest();
    let ops = [create("/a/b"), set("/a", "x", -1), check("/a", 9), create("/a/c"), delete("/a", -1)];
    let txn = server.prepare(&Request::Multi(ops.to_vec()));
    let TxnOp::Multi(records) = &txn.op else { panic!() };
    assert!(matches!(records[0], TxnOp::Create(_)), "what came before the failure stays in the record");
    assert_eq!(txn.digest, Some(digest));
    let result = server.apply(txn);
    assert_eq!((result.header_code(), multi_codes(&result)), (0, Vec::from([0, 0, -103, -2, -2])));
    assert_eq!(server.tree.digest(), digest);
    assert!(server.prep.overlay.is_empty(), "nothing of it stays outstanding");
    // What the failed multi touched is as it was: the next sequence number too.
    assert_eq!(created(server.ok(&create_with("/a/s-", 2))).1, "/a/s-0000000000");
    for bad in [set_acl("/a", &[OPEN], -1), Request::CloseSession, Request::Multi(Vec::new())] {
        server.fails(&Request::Multi(Vec::from([create("/z"), bad])), Code::MarshallingError);
    }
    server.fails(&Request::Multi(Vec::from([Request::Delete { path: None, version: 0 }])), Code::MarshallingError);
    server.fails(
        &Request::Multi(Vec::from([create_acl("/n", &[AclEntry { id: None, ..OPEN }])])),
        Code::MarshallingError,
    );
    server.fails(&Request::MultiUndecodable, Code::MarshallingError);
    server.fails(&check("/a", -1), Code::Unimplemented);
    server.tree.check();
}

#[test]
fn a_failed_multi_restores_what_was_outstanding_before_it() {
    let mut server = Server::new();
    let first = server.prepare(&create("/a"));
    let failed = server.prepare(&Request::Multi(Vec::from([
        create("/a/b"),
        set("/a", "x", 0),
        delete("/a/b", -1),
        delete("/a", -1),
        check("/a", 0),
    ])));
    let third = server.prepare(&set("/a", "y", 0));
    assert!(matches!(third.op, TxnOp::SetData(SetDataTxn { version: 1, .. })));
    for txn in [first, failed, third] {
        server.apply(txn);
    }
    assert_eq!((server.text("/a"), server.tree.node_count()), ("y".into(), 5));
    assert!(server.prep.overlay.is_empty());
}

#[test]
fn writes_in_flight_are_seen() {
    let mut server = Server::new();
    let txns = [
        server.prepare(&create("/a")),
        server.prepare(&create_with("/a/s", 2)),
        server.prepare(&create_with("/a/s", 2)),
        server.prepare(&create("/a")),
        server.prepare(&set("/a", "x", 0)),
        server.prepare(&set("/a", "x", 0)),
        server.prepare(&delete("/a", -1)),
        server.prepare(&delete("/a/s0000000000", -1)),
        server.prepare(&create_acl("/locked", &[READ_ONLY])),
        server.prepare(&set("/locked", "x", -1)),
        server.prepare(&delete("/locked", -1)),
        server.prepare(&create("/locked")),
        server.prepare(&set("/locked", "x", 0)),
    ];
    assert_eq!(server.tree.node_count(), 4, "nothing is applied yet");
    let codes: Vec<i32> = txns.into_iter().map(|txn| server.apply(txn).header_code()).collect();
    assert_eq!(codes, [0, 0, 0, -110, 0, -103, -111, 0, 0, -102, 0, 0, 0]);
    assert!(server.prep.overlay.is_empty());
    server.tree.check();
}

#[test]
fn the_end_of_a_session_lists_what_it_will_own() {
    let mut server = Server::new();
    for path in ["/old", "/gone", "/taken"] {
        server.ok(&create_with(path, 1));
    }
    server.ok(&create("/p"));
    let mut txns = Vec::from([
        server.prepare(&delete("/gone", -1)),
        server.prepare(&delete("/taken", -1)),
        server.prepare(&create("/taken")),
        server.prepare(&create_with("/p/new", 1)),
    ]);
    let close = server.prepare(&Request::CloseSession);
    let TxnOp::CloseSession { paths: Some(paths) } = &close.op else { panic!() };
    assert_eq!(paths.iter().map(|path| &**path).collect::<Vec<_>>(), ["/old", "/p/new"]);
    // Nothing of them is there for whoever comes next.
    server.session = SessionId::new(2);
    let next = server.prepare(&create("/old"));
    let parent_gone = server.prepare(&delete("/p", -1));
    txns.extend([close, next, parent_gone]);
    for txn in txns {
        assert_eq!(server.apply(txn).header_code(), 0);
    }
    assert!(server.exists("/old") && server.exists("/taken") && !server.exists("/p"));
    assert_eq!(server.tree.ephemeral_count(), 0);
    server.tree.check();
}

#[test]
fn a_close_without_a_list_finds_the_ephemerals_itself() {
    let mut server = Server::new();
    server.settings.close_session_txn = false;
    server.ok(&Request::CreateSession { timeout_ms: 4000 });
    assert_eq!(server.tree.sessions().collect::<Vec<_>>(), [(server.session, 4000)]);
    server.ok(&create_with("/a", 1));
    server.ok(&create_with("/b", 1));
    let pzxid_before = server.stat("/").pzxid;
    let txn = server.prepare(&Request::CloseSession);
    assert_eq!(txn.op, TxnOp::CloseSession { paths: None });
    server.apply(txn);
    assert_eq!((server.tree.ephemeral_count(), server.tree.sessions().len()), (0, 0));
    assert!(server.stat("/").pzxid > pzxid_before);
    server.tree.check();
}

#[test]
fn the_reaper_takes_only_what_is_empty_and_no_ephemeral() {
    let mut server = Server::new();
    server.ok(&create_as(CreateKind::Container, "/c", 0, -1));
    server.ok(&create("/c/x"));
    server.ok(&create_with("/e", 1));
    server.session = SessionId::NONE;
    server.standing = Standing::Unknown;
    server.who.clear();
    for (path, code) in [
        ("/c", Code::NotEmpty),
        ("/e", Code::BadVersion),
        ("/missing", Code::NoNode),
        ("/", Code::BadArguments),
        ("/zookeeper/config", Code::BadArguments),
    ] {
        server.fails(&Request::DeleteContainer { path }, code);
    }
    server.ok(&Request::DeleteContainer { path: "/c/x" });
    server.ok(&Request::DeleteContainer { path: "/c" });
    assert!(!server.exists("/c"));
}

#[test]
fn a_standalone_server_refuses_reconfiguration() {
    let mut server = Server::new();
    server.fails(&Request::Reconfig, Code::ReconfigDisabled);
    server.settings.reconfig_enabled = true;
    server.fails(&Request::Reconfig, Code::Unimplemented);
    server.standing = Standing::Closing;
    server.fails(&Request::Reconfig, Code::SessionExpired);
}

#[test]
fn identities_decide_as_they_were_when_the_request_came() {
    let mut server = Server::new();
    server.who.push(Identity::new("digest", "bob:hash"));
    let creator = AclEntry { perms: 31, scheme: Some("auth"), id: Some("") };
    server.ok(&create_acl("/bobs", &[creator]));
    let acl = server.tree.get("/bobs").unwrap().acl();
    assert_eq!((acl.len(), &*acl[0].scheme, &*acl[0].id), (1, "digest", "bob:hash"));
    server.who.pop();
    server.fails(&set("/bobs", "x", -1), Code::NoAuth);
    server.fails(&create_acl("/nobodys", &[creator]), Code::InvalidAcl);
    let schemes = server.settings.schemes;
    assert_eq!(server.tree.readable("/bobs", &server.who, &schemes).err(), Some(Code::NoAuth));
    assert_eq!(server.tree.exists("/a\0", &server.who, &schemes).err(), Some(Code::BadArguments));
    assert_eq!(server.tree.exists("nopath", &server.who, &schemes).err(), Some(Code::NoNode));
    server
        .ok(&create_acl("/masked", &[READ_ONLY, AclEntry { perms: 16, scheme: Some("digest"), id: Some("bob:hash") }]));
    let bob = [Identity::new("digest", "bob:hash")];
    let (masked, _) = server.tree.read_acl("/masked", &server.who, &schemes).unwrap();
    assert_eq!(&*masked[1].id, "bob:x");
    assert_eq!(&*server.tree.read_acl("/masked", &bob, &schemes).unwrap().0[1].id, "bob:hash");
    assert_eq!(server.tree.read_acl("/bobs", &server.who, &schemes).err(), Some(Code::NoAuth));
    server.ok(&create_acl("/nothing", &[NOTHING]));
    assert_eq!(server.tree.readable("/nothing", &server.who, &schemes).err(), Some(Code::NoAuth));
}

fn with_quota(server: &mut Server, covered: &str, limits: &str) {
    let mut path = String::from(crate::quota::ROOT);
    for name in covered[1..].split('/') {
        path.push('/');
        path.push_str(name);
        server.run(&create(&path));
    }
    server.ok(&create_data(&alloc::format!("{path}/zookeeper_limits"), Some(limits.as_bytes())));
    server.ok(&create_data(&alloc::format!("{path}/zookeeper_stats"), Some(b"count=0,bytes=0")));
}

#[test]
fn usage_is_kept_without_transactions() {
    let mut server = Server::new();
    server.ok(&create_data("/a", Some(b"12345")));
    with_quota(&mut server, "/a", "count=-1,bytes=-1");
    let stats = "/zookeeper/quota/a/zookeeper_stats";
    assert_eq!(server.text(stats), "count=1,bytes=5");
    let before = server.stat(stats);
    server.ok(&create_data("/a/b", Some(b"123")));
    server.ok(&set("/a/b", "1", -1));
    server.ok(&set("/a", "", -1));
    assert_eq!(server.text(stats), "count=2,bytes=1");
    let after = server.stat(stats);
    assert_eq!((after.mzxid, after.version, after.mtime), (before.mzxid, before.version, before.mtime));
    with_quota(&mut server, "/a/b", "count=-1,bytes=-1");
    server.ok(&create_data("/a/b/c", Some(b"22")));
    assert_eq!(server.text("/zookeeper/quota/a/b/zookeeper_stats"), "count=2,bytes=3");
    assert_eq!(server.text(stats), "count=2,bytes=1", "only the deepest quota counts");
    server.ok(&delete("/zookeeper/quota/a/b/zookeeper_limits", -1));
    server.ok(&delete("/a/b/c", -1));
    assert_eq!(server.text(stats), "count=1,bytes=-1");
    server.tree.check();
}

#[test]
fn hard_limits_refuse_only_when_enforced() {
    let mut server = Server::new();
    server.ok(&create_data("/a", None));
    with_quota(&mut server, "/a", "count=1,bytes=-1=;byteHardLimit=10;countHardLimit=3");
    server.ok(&create_data("/a/1", Some(b"1234567890A")));
    server.settings.enforce_quota = true;
    server.fails(&set("/a/1", "12345678901", 99), Code::BadVersion);
    server.fails(&set("/a/1", "123456789012", 99), Code::QuotaExceeded);
    server.ok(&set("/a/1", "", -1));
    server.ok(&create_data("/a/2", None));
    server.fails(&create_data("/a/3", None), Code::QuotaExceeded);
    let result = server.run(&Request::Multi(Vec::from([set("/a/1", "12345", -1), create_data("/a/3", None)])));
    assert_eq!(multi_codes(&result), [0, -125]);
    server.ok(&delete("/a/2", -1));
    server.fails(&create_data("/a/3", Some(b"12345678901")), Code::QuotaExceeded);
    server.ok(&create_data("/a/3", Some(b"1234567890")));
}

/// Each of these stops ZooKeeper for good, or fails every write below.
#[test]
fn odd_quota_nodes_do_no_harm() {
    let mut server = Server::new();
    server.settings.enforce_quota = true;
    server.ok(&create("/zookeeper/quota/zookeeper_limits"));
    server.ok(&create("/zookeeper/quota/zookeeper_stats"));
    server.ok(&create("/zookeeper/f"));
    server.ok(&create("/zookeeper/f/zookeeper_limits"));
    server.ok(&delete("/zookeeper/f/zookeeper_limits", -1));
    server.ok(&create("/a"));
    with_quota(&mut server, "/a", "no limits at all");
    server.ok(&Request::SetData { path: Some("/zookeeper/quota/a/zookeeper_stats"), data: None, version: -1 });
    server.ok(&create_data("/a/1", Some(b"12")));
    assert_eq!(server.text("/zookeeper/quota/a/zookeeper_stats"), "count=1,bytes=2");
    server.ok(&set("/zookeeper/quota/a/zookeeper_stats", "nonsense", -1));
    server.ok(&delete("/a/1", -1));
    assert_eq!(server.text("/zookeeper/quota/a/zookeeper_stats"), "count=-1,bytes=-2");
    server.ok(&Request::SetData { path: Some("/zookeeper/quota/a/zookeeper_limits"), data: None, version: -1 });
    server.ok(&create("/a/2"));
    server.tree.check();
}
