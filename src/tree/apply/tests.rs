//! Applying: what each transaction does to nodes, parents and sessions.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use ids::{SessionId, Xid, Zxid};

use super::*;
use crate::acl::Acl;
use crate::fixture::{READ_ONLY, Server, create, create_as, create_data, create_with, delete, set, set_acl};
use crate::loader::TreeLoader;
use crate::owner::OwnerRules;
use crate::request::Request;
use crate::stat::StatPersisted;
use crate::tree::TreeOptions;

/// As much jute as a log of Java's needs.
struct Jute<'a>(&'a [u8]);

impl<'a> Jute<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(len);
        self.0 = rest;
        head
    }

    fn int(&mut self) -> i32 {
        i32::from_be_bytes(self.take(4).try_into().unwrap())
    }

    fn long(&mut self) -> i64 {
        i64::from_be_bytes(self.take(8).try_into().unwrap())
    }

    fn buffer(&mut self) -> Option<&'a [u8]> {
        let len = self.int();
        usize::try_from(len).ok().map(|len| self.take(len))
    }

    fn text(&mut self) -> &'a str {
        core::str::from_utf8(self.buffer().unwrap()).unwrap()
    }

    fn acl(&mut self) -> AclList {
        let count = self.int();
        let entries: Vec<Acl> = (0..count).map(|_| Acl::new(self.int(), self.text(), self.text())).collect();
        AclList::from(entries)
    }

    fn stat(&mut self) -> StatPersisted {
        StatPersisted {
            czxid: self.long(),
            mzxid: self.long(),
            ctime: self.long(),
            mtime: self.long(),
            version: self.int(),
            cversion: self.int(),
            aversion: self.int(),
            ephemeral_owner: self.long(),
            pzxid: self.long(),
        }
    }

    fn op(&mut self, kind: i32) -> TxnOp {
        match kind {
            -11 => TxnOp::CloseSession { paths: Some((0..self.int()).map(|_| self.text().into()).collect()) },
            -10 => TxnOp::CreateSession { timeout_ms: self.int() },
            -1 => TxnOp::Error(self.int()),
            1 | 15 | 19 | 21 => self.create(kind),
            2 => TxnOp::Delete { path: self.text().into() },
            5 => TxnOp::SetData(SetDataTxn {
                path: self.text().into(),
                data: self.buffer().map(Bytes::copy_from_slice),
                version: self.int(),
            }),
            7 => TxnOp::SetAcl { path: self.text().into(), acl: self.acl(), version: self.int() },
            13 => TxnOp::Check { path: self.text().into(), version: self.int() },
            14 => TxnOp::Multi((0..self.int()).map(|_| self.sub_op()).collect()),
            other => panic!("type {other}"),
        }
    }

    fn sub_op(&mut self) -> TxnOp {
        let kind = self.int();
        Jute(self.buffer().unwrap()).op(kind)
    }

    fn create(&mut self, kind: i32) -> TxnOp {
        let (path, data, acl) = (self.text().into(), self.buffer().map(Bytes::copy_from_slice), self.acl());
        let ephemeral = matches!(kind, 1 | 15) && self.take(1) == [1];
        let parent_cversion = self.int();
        let ttl = if kind == 21 { self.long() } else { -1 };
        let kind = match kind {
            1 => CreateKind::Create,
            15 => CreateKind::Create2,
            19 => CreateKind::Container,
            _ => CreateKind::Ttl,
        };
        TxnOp::Create(CreateTxn { kind, path, data, acl, ephemeral, parent_cversion, ttl })
    }

    fn txn(&mut self) -> Txn {
        let (session, cxid) = (SessionId::new(self.long()), Xid::new(self.int()));
        let (zxid, time, kind) = (Zxid::from_wire(self.long()), self.long(), self.int());
        let op = self.op(kind);
        let digest = (self.0.len() >= 12).then(|| {
            assert_eq!(self.int(), crate::digest::VERSION);
            self.long() as u64
        });
        Txn { session, cxid, zxid, time, op, digest }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

/// The entries of a log file of Java's.
fn java_log() -> Vec<Txn> {
    let bytes = unhex(include_str!("../testdata/java_380_log.hex"));
    let mut log = Jute(&bytes[16..]);
    let mut txns = Vec::new();
    while log.0.len() >= 12 {
        let _adler = log.long();
        let Some(entry) = log.buffer().filter(|entry| !entry.is_empty()) else {
            break;
        };
        txns.push(Jute(entry).txn());
        assert_eq!(log.take(1), b"B");
    }
    txns
}

fn options() -> TreeOptions {
    TreeOptions { owners: OwnerRules { extended_types: true, emulate_353: false }, digest: true }
}

/// Every node but the built-in ones' counts: path, data, ACL, stat.
fn dump(tree: &Tree) -> Vec<(String, Option<Vec<u8>>, AclList, StatPersisted)> {
    let mut nodes = Vec::new();
    let mut stack = Vec::from([tree.get("/").unwrap()]);
    while let Some(node) = stack.pop() {
        let data = node.data().map(|data| data.as_slice().to_owned());
        nodes.push((node.path(), data, node.acl().clone(), node.stat_persisted()));
        for name in node.children() {
            let parent = node.path();
            stack.push(tree.get(&format!("{}/{name}", if parent == "/" { "" } else { &parent })).unwrap());
        }
    }
    nodes.sort_by(|a, b| a.0.cmp(&b.0));
    nodes
}

#[test]
fn every_digest_of_a_java_log_is_reproduced() {
    let mut tree = Tree::new(3, options());
    let txns = java_log();
    assert_eq!(txns.len(), 16);
    for txn in &txns {
        let mut effects = Effects::new();
        tree.apply(txn, &mut effects);
        assert_eq!(effects.digest_mismatch(), None, "{txn:?}");
        assert_eq!(txn.digest.is_none(), matches!(txn.op, TxnOp::Error(_)));
        tree.check();
    }
    assert_eq!(tree.last_zxid().to_wire(), 0x1_0000_0010);
}

#[test]
fn replaying_a_java_log_makes_the_tree_of_the_java_snapshot() {
    let bytes = unhex(include_str!("../testdata/java_380_snapshot.hex"));
    let mut body = Jute(&bytes[16..]);
    let mut loader = TreeLoader::new(5, options(), 0);
    for _ in 0..body.int() {
        loader.session(SessionId::new(body.long()), body.int());
    }
    for _ in 0..body.int() {
        loader.acl(body.long(), &body.acl());
    }
    loop {
        let path = body.text();
        if path == "/" {
            break;
        }
        let (data, acl) = (body.buffer(), body.long());
        loader.node(path, data, acl, body.stat()).unwrap();
    }
    let loaded = loader.finish(Zxid::from_wire(0x1_0000_0010));
    loaded.check();

    let mut replayed = Tree::new(3, options());
    for txn in &java_log() {
        replayed.apply(txn, &mut Effects::deaf());
    }
    // Each Java server writes the ensemble's configuration into this node by itself.
    let dump = |tree: &Tree| {
        let mut nodes = dump(tree);
        nodes.retain(|node| node.0 != "/zookeeper/config");
        nodes
    };
    assert_eq!(dump(&loaded), dump(&replayed));
    assert_eq!(loaded.digest(), replayed.digest());
    assert_eq!(loaded.sessions().collect::<Vec<_>>(), replayed.sessions().collect::<Vec<_>>());
    assert_eq!((loaded.container_count(), loaded.ttl_count()), (replayed.container_count(), replayed.ttl_count()));
}

#[test]
fn replaying_twice_changes_nothing() {
    let mut tree = Tree::new(3, options());
    let txns = java_log();
    for txn in &txns {
        tree.apply(txn, &mut Effects::deaf());
    }
    let once = dump(&tree);
    // The last three again, as after a fuzzy snapshot: all of it is state, nothing counts up.
    for txn in &txns[13..] {
        tree.apply(txn, &mut Effects::deaf());
    }
    tree.check();
    assert_eq!(dump(&tree), once);
}

#[test]
fn empty_tree_is_zookeepers() {
    let tree = Tree::new(1, TreeOptions::default());
    assert_eq!((tree.node_count(), tree.approximate_data_size(), tree.digest()), (4, 44, 0x51c6_d660));
    assert_eq!(tree.get("/").unwrap().stat().cversion, -1);
    assert_eq!(tree.get("").unwrap().stat().num_children, 1);
    assert_eq!(tree.get("/zookeeper").unwrap().stat().cversion, -2);
    let config = tree.get("/zookeeper/config").unwrap();
    assert_eq!((config.stat().aversion, config.acl()[0].perms, config.data().unwrap().as_slice()), (-1, 1, &b""[..]));
    assert_eq!(tree.get("/").unwrap().descendant_count(), 3);
    tree.check();
}

#[test]
fn stats_follow_the_rules() {
    let mut server = Server::new();
    server.ok(&create("/p"));
    for name in ["/p/a", "/p/b", "/p/c"] {
        server.ok(&create(name));
    }
    for name in ["/p/a", "/p/b", "/p/c"] {
        server.ok(&delete(name, -1));
    }
    server.ok(&create("/p/d"));
    let stat = server.stat("/p");
    assert_eq!((stat.cversion, stat.num_children, stat.pzxid), (7, 1, server.zxid.to_wire()));
    assert_eq!((stat.mzxid, stat.version), (1, 0), "children do not count as changes of the node");
    let Request::Create(mut sequential) = create_with("/p/s-", 2) else { unreachable!() };
    sequential.kind = CreateKind::Create2;
    let OpResult::Created { path, stat, .. } = server.ok(&Request::Create(sequential)) else { panic!() };
    assert_eq!((path, stat.czxid), ("/p/s-0000000004", server.zxid.to_wire()));

    server.ok(&set("/p/d", "longer", 0));
    let stat = server.stat("/p/d");
    assert_eq!((stat.version, stat.data_length, stat.mzxid), (1, 6, server.zxid.to_wire()));
    assert_eq!((stat.mtime, stat.ctime), (server.time, server.time - 2));
    assert_eq!(stat.pzxid, stat.czxid);
    server.ok(&set_acl("/p/d", &[READ_ONLY], 0));
    let after = server.stat("/p/d");
    assert_eq!((after.aversion, after.mzxid, after.version), (1, stat.mzxid, 1));
    server.tree.check();
}

#[test]
fn null_and_empty_data_stay_apart() {
    let mut server = Server::new();
    server.ok(&create_data("/null", None));
    server.ok(&create_data("/empty", Some(b"")));
    assert!(server.tree.get("/null").unwrap().data().is_none());
    assert_eq!(server.text("/empty"), "");
    server.ok(&Request::SetData { path: Some("/empty"), data: None, version: -1 });
    assert!(server.tree.get("/empty").unwrap().data().is_none());
    assert_eq!(server.stat("/empty").data_length, 0);
    server.tree.check();
}

#[test]
fn owners_show_only_sessions() {
    let mut server = Server::new();
    server.ok(&create_with("/e", 1));
    server.ok(&create_as(CreateKind::Container, "/c", 0, -1));
    server.ok(&create_as(CreateKind::Ttl, "/t", 5, 1000));
    assert_eq!(server.stat("/e").ephemeral_owner, server.session.to_i64());
    assert_eq!((server.stat("/c").ephemeral_owner, server.stat("/t").ephemeral_owner), (0, 0));
    assert_eq!(server.tree.get("/t").unwrap().stat_persisted().ephemeral_owner as u64, 0xff00_0000_0000_03e8);
    let own = |prefix: &str| server.tree.ephemerals_of(server.session, prefix).collect::<Vec<_>>();
    assert_eq!((own("/"), own("/e"), own("/x")), (vec_of(&["/e"]), vec_of(&["/e"]), Vec::new()));
    assert_eq!((server.tree.ephemeral_count(), server.tree.container_count(), server.tree.ttl_count()), (1, 1, 1));
}

#[test]
fn a_prefix_that_java_trims_to_nothing_or_the_root_means_all() {
    let mut server = Server::new();
    server.ok(&create_with("/e", 1));
    let count = |prefix| server.tree.ephemerals_with_prefix(server.session, prefix).count();
    for all in [None, Some(""), Some(" \t"), Some("/"), Some("\u{1}/\u{1f}"), Some("/e")] {
        assert_eq!(count(all), 1, "{all:?}");
    }
    for none in [Some("\u{a0}"), Some("/\u{3000}"), Some(" /e"), Some("/x")] {
        assert_eq!(count(none), 0, "{none:?}");
    }
}

fn vec_of(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.into()).collect()
}

#[test]
fn large_values_are_shared_and_counted() {
    let mut server = Server::new();
    let large = alloc::vec![b'l'; 100_000];
    server.ok(&create_data("/large", Some(&large)));
    let first = match server.tree.get("/large").unwrap().data() {
        Some(crate::Data::Shared(bytes)) => bytes.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(&first[..], &large[..]);
    assert_eq!(server.tree.approximate_data_size(), 44 + 6 + 100_000);
    server.ok(&set("/large", "small", -1));
    assert_eq!(server.text("/large"), "small");
    assert_eq!(&first[..], &large[..], "who took the old value keeps it");
    server.tree.check();
}

#[test]
fn a_delete_in_replay_takes_children_that_came_too_early() {
    let mut server = Server::new();
    server.ok(&create("/a"));
    server.ok(&create("/a/b"));
    server.ok(&create("/a/b/c"));
    let txn = Txn {
        session: server.session,
        cxid: Xid::new(1),
        zxid: Zxid::from_u64(100),
        time: 1,
        op: TxnOp::Delete { path: "/a".into() },
        digest: None,
    };
    assert_eq!(server.tree.apply(&txn, &mut Effects::new()), OpResult::Deleted);
    assert_eq!(server.tree.node_count(), 4);
    server.tree.check();
}

#[test]
fn what_does_not_fit_is_a_result_and_never_a_panic() {
    let mut tree = Tree::new(1, TreeOptions::default());
    let create = |path: &str| {
        TxnOp::Create(CreateTxn {
            kind: CreateKind::Create,
            path: path.into(),
            data: None,
            acl: AclList::open(),
            ephemeral: false,
            parent_cversion: 9,
            ttl: -1,
        })
    };
    let ops = [
        create("/no/parent"),
        create("/"),
        create("noslash"),
        create(""),
        TxnOp::Delete { path: "noslash".into() },
        create("/zookeeper"),
        TxnOp::Delete { path: "/".into() },
        TxnOp::Delete { path: "/nobody".into() },
        TxnOp::SetData(SetDataTxn { path: "/nobody".into(), data: None, version: 1 }),
        TxnOp::SetAcl { path: "/nobody".into(), acl: AclList::open(), version: 1 },
        TxnOp::Multi(Vec::from([TxnOp::Multi(Vec::new())])),
        TxnOp::CloseSession { paths: Some(Vec::from(["/nobody".into()])) },
        TxnOp::Error(-9999),
    ];
    for (zxid, op) in (1..).zip(ops) {
        let txn = Txn {
            session: SessionId::new(1),
            cxid: Xid::new(0),
            zxid: Zxid::from_u64(zxid),
            time: 0,
            op,
            digest: None,
        };
        tree.apply(&txn, &mut Effects::new());
        tree.check();
    }
    assert_eq!(tree.node_count(), 4);
    assert_eq!(tree.get("/").unwrap().stat_persisted().cversion, 9, "a create of what exists raises the parent");
}
