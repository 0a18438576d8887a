//! For tests: a snapshot as ZooKeeper takes it, node by node while transactions are applied, and the replay over it.
//!
//! Flow       a random history on one tree; from zxid Z on another tree is copied as `DataTree.serialize` does: sessions,
//!            then ACL lists, then each node with its children's names at some moment, its children at later ones.
//! Claims     loading the copy and applying everything behind Z again makes the first tree, every field of every stat
//!            included, however far the copying reached and wherever within a transaction it looked.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use ids::{SessionId, Xid, Zxid};

use crate::acl::AclList;
use crate::effects::Effects;
use crate::fixture::Server;
use crate::loader::{Source, TreeLoader};
use crate::model::{Op, Step, child_path, plain_of, prepare, steps};
use crate::request::CreateKind;
use crate::tree::Tree;
use crate::txn::{CreateTxn, SetDataTxn, Txn, TxnOp};

/// Applies the parts of transactions, between which ZooKeeper may copy a node.
struct Live {
    tree: Tree,
    parts: alloc::vec::IntoIter<Txn>,
}

impl Live {
    fn advance(&mut self, count: usize) {
        for part in self.parts.by_ref().take(count) {
            self.tree.apply(&part, &mut Effects::deaf());
        }
    }
}

/// A transaction as the steps in which ZooKeeper carries it out.
fn parts(txn: &Txn) -> Vec<Txn> {
    let alone = |op: TxnOp| Txn { op, digest: None, ..txn.clone() };
    match &txn.op {
        TxnOp::Multi(ops) if !ops.iter().any(|op| matches!(op, TxnOp::Error(_))) => {
            ops.iter().cloned().map(alone).collect()
        }
        TxnOp::CloseSession { paths: Some(paths) } => {
            let deletes = paths.iter().map(|path| alone(TxnOp::Delete { path: path.clone() }));
            deletes.chain([alone(txn.op.clone())]).collect()
        }
        op => Vec::from([alone(op.clone())]),
    }
}

/// Keys as ZooKeeper gives them: each list has its own, and none is ever another's.
#[derive(Default)]
struct Keys(Vec<AclList>);

impl Keys {
    fn key(&mut self, list: &AclList) -> i64 {
        let at = self.0.iter().position(|known| known == list).unwrap_or_else(|| {
            self.0.push(list.clone());
            self.0.len() - 1
        });
        at as i64 + 1
    }
}

/// Copies `live` while it goes on, by `pace` parts between any two looks.
fn fuzzy_copy(live: &mut Live, mut pace: impl Iterator<Item = usize>, zxid: Zxid) -> Tree {
    let mut pause = |live: &mut Live| live.advance(pace.next().unwrap_or(0));
    let mut loader = TreeLoader::of(Source::Leader, 5, live.tree.options(), 0);
    pause(live);
    live.tree.sessions().for_each(|(id, timeout_ms)| loader.session(id, timeout_ms));
    pause(live);
    let mut keys = Keys::default();
    loader.acl(99, &AclList::anyone(30));
    for path in plain_of(&live.tree).keys() {
        let list = live.tree.get(path).unwrap().acl();
        loader.acl(keys.key(list), list);
    }
    let mut stack = Vec::from([String::from("/")]);
    while let Some(path) = stack.pop() {
        pause(live);
        let Some(node) = live.tree.get(&path) else { continue };
        let data = node.data().map(|data| data.as_slice().to_vec());
        loader.node(&path, data.as_deref(), keys.key(node.acl()), node.stat_persisted()).unwrap();
        stack.extend(node.children().map(|name| child_path(&path, name)));
    }
    loader.finish(zxid)
}

fn apply_all(tree: &mut Tree, txns: &[Txn]) {
    for txn in txns {
        tree.apply(txn, &mut Effects::deaf());
        tree.check();
    }
}

fn assert_same(copy: &Tree, leader: &Tree) {
    assert_eq!(plain_of(copy), plain_of(leader));
    for path in plain_of(leader).keys() {
        assert_eq!(copy.get(path).unwrap().acl(), leader.get(path).unwrap().acl(), "{path}");
    }
    let sessions = |tree: &Tree| {
        let mut sessions: Vec<_> = tree.sessions().map(|(id, timeout_ms)| (id.to_i64(), timeout_ms)).collect();
        sessions.sort_unstable();
        sessions
    };
    assert_eq!(sessions(copy), sessions(leader));
    let owned = |tree: &Tree| {
        let mut owned: Vec<_> = tree.ephemeral_owners().map(|(id, paths)| (id.to_i64(), sorted(paths))).collect();
        owned.sort_unstable();
        owned
    };
    assert_eq!(owned(copy), owned(leader));
    let sums = |tree: &Tree| {
        let sizes = (tree.node_count(), tree.approximate_data_size(), tree.ephemeral_count());
        (tree.digest(), sizes, tree.container_count(), tree.ttl_count(), tree.last_zxid(), tree.lacks_acls())
    };
    assert_eq!(sums(copy), sums(leader));
}

fn sorted(paths: impl Iterator<Item = String>) -> Vec<String> {
    let mut paths: Vec<String> = paths.collect();
    paths.sort_unstable();
    paths
}

/// What sets a quota of /a.
fn quota() -> Vec<Step> {
    let create = |path: &str| Op::Create {
        kind: CreateKind::Create,
        path: path.into(),
        flags: 0,
        ttl: -1,
        data: Some(b"count=-1,bytes=-1".to_vec()),
        is_locked: false,
    };
    let quota_of_a = ["", "/zookeeper_limits", "/zookeeper_stats"];
    quota_of_a.iter().map(|rest| (1, create(&alloc::format!("/zookeeper/quota/a{rest}")))).collect()
}

/// Operations that no sane leader sends, on paths that no client can make.
fn strange_ops() -> impl Strategy<Value = TxnOp> {
    const PATHS: [&str; 16] = [
        "",
        "/",
        "//",
        "a",
        "/a",
        "/a/",
        "/a/b",
        "/a//b",
        "/a/b/c",
        "/.",
        "/zookeeper",
        "/zookeeper/config",
        "/zookeeper/quota",
        "/zookeeper/quota/a",
        "/zookeeper/quota/a/zookeeper_limits",
        "/zookeeper/quota/a/zookeeper_stats",
    ];
    let paths = || prop::sample::select(&PATHS[..]).prop_map(Box::<str>::from);
    let data = || prop::option::of(vec(any::<u8>(), 0..9).prop_map(bytes::Bytes::from));
    let numbers = || prop_oneof![Just(-1), Just(i32::MIN), Just(i32::MAX), -2..5];
    let kinds = [CreateKind::Create, CreateKind::Create2, CreateKind::Container, CreateKind::Ttl];
    let creates = (prop::sample::select(kinds.to_vec()), paths(), data(), any::<bool>(), numbers(), any::<i64>())
        .prop_map(|(kind, path, data, ephemeral, parent_cversion, ttl)| {
            let acl = AclList::anyone(parent_cversion & 31);
            TxnOp::Create(CreateTxn { kind, path, data, acl, ephemeral, parent_cversion, ttl })
        });
    let simple = prop_oneof![
        6 => creates,
        3 => paths().prop_map(|path| TxnOp::Delete { path }),
        1 => paths().prop_map(|path| TxnOp::DeleteContainer { path }),
        2 => (paths(), data(), numbers()).prop_map(|(path, data, version)| {
            TxnOp::SetData(SetDataTxn { path, data, version })
        }),
        1 => (paths(), numbers()).prop_map(|(path, version)| TxnOp::SetAcl { path, acl: AclList::anyone(version & 31), version }),
        1 => (paths(), numbers()).prop_map(|(path, version)| TxnOp::Check { path, version }),
        1 => numbers().prop_map(|timeout_ms| TxnOp::CreateSession { timeout_ms }),
        1 => prop::option::of(vec(paths(), 0..4)).prop_map(|paths| TxnOp::CloseSession { paths }),
    ];
    simple.prop_recursive(2, 8, 4, |inner| vec(inner, 0..4).prop_map(TxnOp::Multi))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replay_over_a_fuzzy_snapshot_makes_the_leaders_tree(
        mut steps in steps(90),
        quota_at in prop::option::of(any::<prop::sample::Index>()),
        begin in any::<prop::sample::Index>(),
        overlap in 0usize..4,
        pace in vec(prop_oneof![2 => Just(0usize), 3 => 0..4usize, 1 => 4..20usize], 0..24),
    ) {
        if let Some(at) = quota_at {
            let at = at.index(steps.len());
            steps.splice(at..at, quota());
        }
        let mut leader = Server::new();
        let txns: Vec<Txn> = steps.iter().map(|step| {
            let txn = prepare(&mut leader, step);
            leader.apply(txn.clone());
            txn
        }).collect();
        let begin = begin.index(txns.len());
        let (before, behind) = txns.split_at(begin);
        let mut live = Live {
            tree: Tree::new(3, leader.tree.options()),
            parts: behind.iter().flat_map(parts).collect::<Vec<Txn>>().into_iter(),
        };
        apply_all(&mut live.tree, before);
        let zxid = live.tree.last_zxid();
        let mut copy = fuzzy_copy(&mut live, pace.into_iter(), zxid);
        copy.check();
        apply_all(&mut copy, &txns[begin.saturating_sub(overlap)..]);
        assert_same(&copy, &leader.tree);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    /// What comes out also loads again: a server that took strange transactions can be started again.
    #[test]
    fn strange_transactions_do_no_harm(
        ops in vec((prop_oneof![Just(i64::MIN), Just(-1), 0..3i64], any::<i64>(), strange_ops()), 1..60),
    ) {
        let mut tree = Server::new().tree;
        for (session, zxid, op) in ops {
            let (session, zxid) = (SessionId::new(session), Zxid::from_wire(zxid));
            tree.apply(&Txn { session, zxid, ..txn(1, op) }, &mut Effects::new());
            tree.check();
        }
        // Usage is counted afresh when loading, whatever a client wrote there.
        let nodes = |tree: &Tree| {
            let mut nodes = plain_of(tree);
            nodes.iter_mut().filter(|(path, _)| path.ends_with("_stats")).for_each(|(_, node)| node.data = None);
            nodes
        };
        let (zxid, expected) = (tree.last_zxid(), nodes(&tree));
        let mut live = Live { tree, parts: Vec::new().into_iter() };
        let copy = fuzzy_copy(&mut live, core::iter::empty(), zxid);
        copy.check();
        prop_assert_eq!(nodes(&copy), expected);
    }
}

fn txn(zxid: u64, op: TxnOp) -> Txn {
    Txn { session: SessionId::new(1), cxid: Xid::new(1), zxid: Zxid::from_u64(zxid), time: 9, op, digest: None }
}

fn create(path: &str, kind: CreateKind, parent_cversion: i32) -> TxnOp {
    let (path, acl) = (Box::from(path), AclList::anyone(3));
    TxnOp::Create(CreateTxn { kind, path, data: None, acl, ephemeral: false, parent_cversion, ttl: -1 })
}

/// A session ended without a list and its node was made again by another, behind the copy of the parent: the end deletes
/// nothing now, and the create finds the node. ZooKeeper raises the parent for type 1 only.
#[test]
fn a_create_over_a_node_raises_its_parent_whatever_its_type() {
    for kind in [CreateKind::Create, CreateKind::Create2, CreateKind::Container] {
        let mut tree = Server::new().tree;
        apply_all(&mut tree, &[txn(5, create("/a", CreateKind::Create, 1)), txn(9, create("/a", kind, 4))]);
        let root = tree.get("/").unwrap().stat_persisted();
        assert_eq!((root.cversion, root.pzxid), (4, 9), "{kind:?}");
        apply_all(&mut tree, &[txn(12, create("/a", kind, 3))]);
        assert_eq!(tree.get("/").unwrap().stat_persisted(), root, "and never lowers it");
    }
}

/// Children that came early went with their parent without being taken from the quota's count.
#[test]
fn a_delete_takes_early_children_from_the_quota() {
    let mut server = Server::new();
    for path in ["/q", "/q/a", "/q/a/b", "/zookeeper/quota/q", "/zookeeper/quota/q/zookeeper_limits"] {
        server.ok(&crate::fixture::create(path));
    }
    server.ok(&crate::fixture::create("/zookeeper/quota/q/zookeeper_stats"));
    assert_eq!(server.text("/zookeeper/quota/q/zookeeper_stats"), "count=3,bytes=3");
    server.tree.apply(&txn(50, TxnOp::Delete { path: "/q/a".into() }), &mut Effects::deaf());
    assert_eq!(server.text("/zookeeper/quota/q/zookeeper_stats"), "count=1,bytes=1");
    server.tree.apply(&txn(51, TxnOp::Delete { path: "/zookeeper/quota/q".into() }), &mut Effects::deaf());
    server.tree.check();
    assert!(server.tree.quota_check("/q/x", 1, 1).is_ok());
    assert_eq!(server.tree.quotas.deepest("/q/x"), None, "its limits went with it");
}

/// ZooKeeper writes its ACL lists before its nodes, so a list that came meanwhile is missing.
#[test]
fn a_leaders_node_without_its_acl_is_nobodys_until_the_replay() {
    let options = Server::new().tree.options();
    let mut loader = TreeLoader::of(Source::Leader, 5, options, 0);
    loader.node("", None, 1, Default::default()).unwrap();
    loader.node("/a", None, 77, Default::default()).unwrap();
    let mut tree = loader.finish(Zxid::from_u64(4));
    tree.check();
    assert!(tree.lacks_acls());
    let schemes = crate::scheme::Schemes::default();
    for who in [&[][..], &[crate::acl::Identity::new("ip", "127.0.0.1")]] {
        assert!(tree.readable("/a", who, &schemes).is_err());
    }
    apply_all(&mut tree, &[txn(5, create("/a", CreateKind::Create, 1))]);
    assert!(tree.lacks_acls(), "the root still does");
    let root = TxnOp::SetAcl { path: "/".into(), acl: AclList::open(), version: 1 };
    apply_all(&mut tree, &[txn(6, root)]);
    assert!(!tree.lacks_acls());
}
