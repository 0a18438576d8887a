//! For tests: random histories, and the tree as one would write it without a thought for speed.
//!
//! Claims     prep and apply agree with a map of paths, at any depth of pipelining; digest and counts are what a
//!            recomputation gives; a snapshot is the tree at its start whatever happens meanwhile; a listing likewise.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::acl::{AclEntry, AclList};
use crate::code::Code;
use crate::fixture::{OPEN, READ_ONLY, Server};
use crate::loader::TreeLoader;
use crate::owner;
use crate::request::{Create, CreateKind, Request};
use crate::snapshot::SnapshotItem;
use crate::stat::StatPersisted;
use crate::tree::Tree;
use crate::txn::{LARGE_DATA_BYTES, Txn};
use ids::SessionId;

/// A request in owned form.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Create { kind: CreateKind, path: String, flags: i32, ttl: i64, data: Option<Vec<u8>>, is_locked: bool },
    Delete { path: String, version: i32 },
    Set { path: String, data: Option<Vec<u8>>, version: i32 },
    SetAcl { path: String, is_locked: bool, version: i32 },
    Check { path: String, version: i32 },
    Multi(Vec<Op>),
    CreateSession,
    CloseSession,
    Reap { path: String },
}

/// An operation and who asks for it.
pub(crate) type Step = (i64, Op);

fn acl_entries(is_locked: bool) -> Vec<AclEntry<'static>> {
    Vec::from([if is_locked { READ_ONLY } else { OPEN }])
}

fn request(op: &Op) -> Request<'_> {
    match op {
        Op::Create { kind, path, flags, ttl, data, is_locked } => Request::Create(Create {
            kind: *kind,
            path: Some(path),
            data: data.as_deref(),
            acl: Some(acl_entries(*is_locked)),
            flags: *flags,
            ttl: *ttl,
        }),
        Op::Delete { path, version } => Request::Delete { path: Some(path), version: *version },
        Op::Set { path, data, version } => {
            Request::SetData { path: Some(path), data: data.as_deref(), version: *version }
        }
        Op::SetAcl { path, is_locked, version } => {
            Request::SetAcl { path: Some(path), acl: Some(acl_entries(*is_locked)), version: *version }
        }
        Op::Check { path, version } => Request::Check { path: Some(path), version: *version },
        Op::Multi(ops) => Request::Multi(ops.iter().map(request).collect()),
        Op::CreateSession => Request::CreateSession { timeout_ms: 4000 },
        Op::CloseSession => Request::CloseSession,
        Op::Reap { path } => Request::DeleteContainer { path },
    }
}

fn paths() -> impl Strategy<Value = String> {
    const KNOWN: [&str; 9] =
        ["/a", "/b", "/a/x", "/a/y", "/a/x/1", "/b/z", "/a/0000000001", "/a/0000000002", "/\u{e9}"];
    prop_oneof![
        12 => prop::sample::select(&KNOWN[..]).prop_map(String::from),
        1 => prop::sample::select(&["/", "/a/", "a", "", "/zookeeper", "/zookeeper/q", "/a/."][..]).prop_map(String::from),
    ]
}

fn data() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![
        2 => Just(None),
        8 => vec(any::<u8>(), 0..20).prop_map(Some),
        1 => Just(Some(alloc::vec![7; LARGE_DATA_BYTES + 1])),
    ]
}

fn versions() -> impl Strategy<Value = i32> {
    prop_oneof![4 => Just(-1), 2 => 0..3, 1 => Just(-2)]
}

fn creates() -> impl Strategy<Value = Op> {
    let kinds = prop::sample::select(
        &[CreateKind::Create, CreateKind::Create, CreateKind::Create2, CreateKind::Container, CreateKind::Ttl][..],
    );
    let flags = prop_oneof![8 => Just(0), 4 => 1..4, 2 => 4..7, 1 => Just(9)];
    let is_locked = prop::bool::weighted(0.1);
    (kinds, paths(), flags, data(), is_locked).prop_map(|(kind, path, flags, data, is_locked)| {
        let flags = if kind == CreateKind::Ttl { 5 + flags % 2 } else { flags };
        let ttl = if kind == CreateKind::Ttl { 1000 } else { -1 };
        Op::Create { kind, path, flags, ttl, data, is_locked }
    })
}

fn simple_ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => creates(),
        3 => (paths(), versions()).prop_map(|(path, version)| Op::Delete { path, version }),
        3 => (paths(), data(), versions()).prop_map(|(path, data, version)| Op::Set { path, data, version }),
        1 => (paths(), versions()).prop_map(|(path, version)| Op::Check { path, version }),
    ]
}

pub(crate) fn steps(len: usize) -> impl Strategy<Value = Vec<Step>> {
    let op = prop_oneof![
        12 => simple_ops(),
        3 => vec(simple_ops(), 0..5).prop_map(Op::Multi),
        1 => (paths(), prop::bool::weighted(0.3), versions())
            .prop_map(|(path, is_locked, version)| Op::SetAcl { path, is_locked, version }),
        1 => Just(Op::CreateSession),
        1 => Just(Op::CloseSession),
        1 => paths().prop_map(|path| Op::Reap { path }),
    ];
    vec((1i64..4, op), 1..len)
}

/// A node without a thought for speed.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Plain {
    pub(crate) data: Option<Vec<u8>>,
    is_locked: bool,
    stat: StatPersisted,
}

pub(crate) type PlainTree = BTreeMap<String, Plain>;

pub(crate) fn plain_of(tree: &Tree) -> PlainTree {
    let mut nodes = PlainTree::new();
    let mut stack = Vec::from([tree.get("/").unwrap()]);
    while let Some(node) = stack.pop() {
        let path = node.path();
        let data = node.data().map(|data| data.as_slice().to_vec());
        nodes.insert(path.clone(), Plain { data, is_locked: node.acl()[0].perms == 1, stat: node.stat_persisted() });
        for name in node.children() {
            stack.push(tree.get(&child_path(&path, name)).unwrap());
        }
    }
    nodes
}

pub(crate) fn child_path(parent: &str, name: &str) -> String {
    format!("{}/{name}", if parent == "/" { "" } else { parent })
}

/// The rules of ZooKeeper over a map of paths.
struct Model<'a> {
    nodes: &'a mut PlainTree,
    session: i64,
    zxid: i64,
    time: i64,
}

impl Model<'_> {
    fn children(&self, path: &str) -> usize {
        let is_child = |other: &&String| *other != "/" && crate::path::split(other).0 == path;
        self.nodes.keys().filter(is_child).count()
    }

    fn raise(&mut self, parent: &str) {
        let stat = &mut self.nodes.get_mut(parent).unwrap().stat;
        stat.pzxid = self.zxid;
    }

    fn run(&mut self, op: &Op, in_multi: bool) -> Result<(), Code> {
        match op {
            Op::Create { kind, path, flags, ttl, data, is_locked } => {
                let kind = match (in_multi, flags) {
                    (true, 4) => CreateKind::Container,
                    _ => *kind,
                };
                self.create(kind, path, *flags, *ttl, data, *is_locked)
            }
            Op::Delete { path, version } => self.delete(path, *version),
            Op::Set { path, data, version } => {
                let node = self.checked(path, true)?;
                if *version != -1 && node.stat.version != *version {
                    return Err(Code::BadVersion);
                }
                node.stat.version += 1;
                node.data = data.clone();
                let (zxid, time) = (self.zxid, self.time);
                let stat = &mut self.nodes.get_mut(path).unwrap().stat;
                (stat.mzxid, stat.mtime) = (zxid, time);
                Ok(())
            }
            Op::SetAcl { path, is_locked, version } => {
                let node = self.checked(path, true)?;
                if *version != -1 && node.stat.aversion != *version {
                    return Err(Code::BadVersion);
                }
                node.stat.aversion += 1;
                node.is_locked = *is_locked;
                Ok(())
            }
            Op::Check { path, version } => {
                let node = self.checked(path, false)?;
                if *version != -1 && node.stat.version != *version { Err(Code::BadVersion) } else { Ok(()) }
            }
            Op::Reap { path } => self.reap(path),
            Op::CreateSession => Ok(()),
            Op::CloseSession => {
                let session = self.session;
                let own =
                    |(path, node): (&String, &Plain)| (node.stat.ephemeral_owner == session).then(|| path.clone());
                for path in self.nodes.iter().filter_map(own).collect::<Vec<_>>() {
                    self.nodes.remove(&path);
                    self.raise(crate::path::split(&path).0);
                }
                Ok(())
            }
            Op::Multi(_) => unreachable!("handled by multi_codes"),
        }
    }

    fn checked(&mut self, path: &str, writes: bool) -> Result<&mut Plain, Code> {
        crate::path::validate(path).map_err(|_| Code::BadArguments)?;
        let node = self.nodes.get_mut(path).ok_or(Code::NoNode)?;
        if writes && node.is_locked { Err(Code::NoAuth) } else { Ok(node) }
    }

    fn create(
        &mut self,
        kind: CreateKind,
        path: &str,
        flags: i32,
        ttl: i64,
        data: &Option<Vec<u8>>,
        is_locked: bool,
    ) -> Result<(), Code> {
        if !(0..=6).contains(&flags) || (flags > 4 && kind != CreateKind::Ttl) {
            return Err(Code::BadArguments);
        }
        let slash = path.rfind('/').ok_or(Code::BadArguments)?;
        let parent_path = if slash == 0 { "/" } else { &path[..slash] };
        let parent = self.nodes.get(parent_path).ok_or(Code::NoNode)?.clone();
        if parent.is_locked {
            return Err(Code::NoAuth);
        }
        let path = match flags {
            2 | 3 | 6 => format!("{path}{:010}", parent.stat.cversion),
            _ => path.to_string(),
        };
        crate::path::validate(&path).map_err(|_| Code::BadArguments)?;
        if self.nodes.contains_key(&path) {
            return Err(Code::NodeExists);
        }
        if (1..4).contains(&parent.stat.ephemeral_owner) {
            return Err(Code::NoChildrenForEphemerals);
        }
        let ephemeral_owner = match kind {
            CreateKind::Container => owner::CONTAINER,
            CreateKind::Ttl => (0xff << 56) | ttl,
            _ if flags == 1 || flags == 3 => self.session,
            _ => 0,
        };
        let (zxid, time) = (self.zxid, self.time);
        let times = StatPersisted { czxid: zxid, mzxid: zxid, ctime: time, mtime: time, ..StatPersisted::default() };
        let stat = StatPersisted { pzxid: zxid, ephemeral_owner, ..times };
        self.nodes.insert(path, Plain { data: data.clone(), is_locked, stat });
        self.nodes.get_mut(parent_path).unwrap().stat.cversion += 1;
        self.raise(parent_path);
        Ok(())
    }

    fn delete(&mut self, path: &str, version: i32) -> Result<(), Code> {
        let parent = self.deletable_parent(path)?;
        if self.nodes.get(&parent).ok_or(Code::NoNode)?.is_locked {
            return Err(Code::NoAuth);
        }
        let node = self.nodes.get(path).ok_or(Code::NoNode)?;
        if version != -1 && node.stat.version != version {
            return Err(Code::BadVersion);
        }
        if self.children(path) > 0 {
            return Err(Code::NotEmpty);
        }
        self.nodes.remove(path);
        self.raise(&parent);
        Ok(())
    }

    fn reap(&mut self, path: &str) -> Result<(), Code> {
        let parent = self.deletable_parent(path)?;
        let node = self.nodes.get(path).ok_or(Code::NoNode)?;
        if self.children(path) > 0 {
            return Err(Code::NotEmpty);
        }
        if (1..4).contains(&node.stat.ephemeral_owner) {
            return Err(Code::BadVersion);
        }
        self.nodes.remove(path);
        self.raise(&parent);
        Ok(())
    }

    fn deletable_parent(&self, path: &str) -> Result<String, Code> {
        let slash = path.rfind('/').ok_or(Code::BadArguments)?;
        if ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"].contains(&path) {
            return Err(Code::BadArguments);
        }
        Ok(if slash == 0 { "/".into() } else { path[..slash].into() })
    }

    /// The codes of a whole step: one, or one per operation of a multi.
    fn step(&mut self, op: &Op) -> Vec<i32> {
        let Op::Multi(ops) = op else {
            let result = match op {
                Op::Check { .. } => Err(Code::Unimplemented),
                op => self.run(op, false),
            };
            return Vec::from([result.map_or_else(Code::to_i32, |()| 0)]);
        };
        let is_undecodable = |op: &Op| match op {
            Op::Create { kind, flags, .. } => *flags > 6 || (*flags > 4 && *kind != CreateKind::Ttl),
            _ => false,
        };
        if ops.iter().any(is_undecodable) {
            return Vec::from([Code::MarshallingError.to_i32()]);
        }
        let before = self.nodes.clone();
        for (at, op) in ops.iter().enumerate() {
            if let Err(code) = self.run(op, true) {
                *self.nodes = before;
                let mut codes = alloc::vec![0; at];
                codes.push(code.to_i32());
                codes.resize(ops.len(), -2);
                return codes;
            }
        }
        alloc::vec![0; ops.len()]
    }
}

fn codes_of(result: &crate::apply::OpResult<'_>) -> Vec<i32> {
    match result {
        crate::apply::OpResult::Multi(results) => results.iter().map(|result| result.header_code()).collect(),
        result => Vec::from([result.header_code()]),
    }
}

pub(crate) fn prepare(server: &mut Server, step: &Step) -> Txn {
    server.session = SessionId::new(step.0);
    server.prepare(&request(&step.1))
}

/// A snapshot in the making, read into a loader.
struct Copying {
    loader: TreeLoader,
    expected: PlainTree,
    sessions: usize,
    zxid: ids::Zxid,
}

impl Copying {
    fn begin(server: &mut Server) -> Copying {
        let expected = plain_of(&server.tree);
        let head = server.tree.begin_snapshot();
        assert_eq!((head.nodes, head.digest), (expected.len(), server.tree.digest()));
        let loader = TreeLoader::new(11, server.tree.options(), head.nodes);
        Copying { loader, expected, sessions: head.sessions, zxid: head.zxid }
    }

    /// True when done.
    fn step(&mut self, server: &mut Server, budget: usize) -> bool {
        let loader = &mut self.loader;
        let progress = server.tree.snapshot_step(budget, |item| match item {
            SnapshotItem::Session { id, timeout_ms } => loader.session(id, timeout_ms),
            SnapshotItem::Acl { key, list } => loader.acl(key, list),
            SnapshotItem::Node { path, data, acl_key, stat } => {
                let data = data.as_ref().map(|data| data.as_slice());
                loader.node(path, data, acl_key, stat).unwrap();
            }
        });
        progress.done
    }

    fn end(self) {
        let tree = self.loader.finish(self.zxid);
        tree.check();
        assert_eq!(plain_of(&tree), self.expected);
        assert_eq!(tree.sessions().len(), self.sessions);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_tree_is_what_the_rules_say(steps in steps(60)) {
        let mut server = Server::new();
        let mut nodes = plain_of(&server.tree);
        for step in &steps {
            let result = { let txn = prepare(&mut server, step); server.apply(txn) };
            let (zxid, time) = (server.zxid.to_wire(), server.time);
            let codes = Model { nodes: &mut nodes, session: step.0, zxid, time }.step(&step.1);
            prop_assert_eq!(codes_of(&result), codes, "{:?}", step);
            prop_assert_eq!(&plain_of(&server.tree), &nodes, "{:?}", step);
            server.tree.check();
        }
    }

    #[test]
    fn pipelining_changes_nothing(steps in steps(60), depths in vec(1usize..9, 60)) {
        let (mut single, mut piped) = (Server::new(), Server::new());
        let mut depths = depths.into_iter();
        let mut rest = &steps[..];
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(depths.next().unwrap_or(1).min(rest.len()));
            rest = later;
            let txns: Vec<Txn> = batch.iter().map(|step| prepare(&mut piped, step)).collect();
            for (step, txn) in batch.iter().zip(txns) {
                let alone = prepare(&mut single, step);
                prop_assert_eq!(&alone, &txn);
                prop_assert_eq!(single.apply(alone), piped.apply(txn));
            }
            prop_assert!(piped.prep.overlay.is_empty());
        }
        prop_assert_eq!(plain_of(&single.tree), plain_of(&piped.tree));
        piped.tree.check();
    }

    #[test]
    fn overlapping_windows_change_nothing(steps in steps(60), window in 1usize..12) {
        let (mut single, mut piped) = (Server::new(), Server::new());
        let mut in_flight = alloc::collections::VecDeque::new();
        for step in &steps {
            in_flight.push_back(prepare(&mut piped, step));
            let alone = prepare(&mut single, step);
            prop_assert_eq!(&alone, in_flight.back().unwrap());
            single.apply(alone);
            if in_flight.len() > window {
                let txn = in_flight.pop_front().unwrap();
                piped.apply(txn);
            }
        }
        in_flight.into_iter().for_each(|txn| _ = piped.apply(txn));
        prop_assert!(piped.prep.overlay.is_empty());
        prop_assert_eq!(plain_of(&single.tree), plain_of(&piped.tree));
    }

    #[test]
    fn a_snapshot_is_the_tree_at_its_start(
        before in steps(60),
        during in steps(60),
        budgets in vec(0usize..4, 60),
    ) {
        let mut server = Server::new();
        for step in &before {
            let txn = prepare(&mut server, step);
            server.apply(txn);
        }
        let mut copying = Copying::begin(&mut server);
        let mut is_done = false;
        for (step, budget) in during.iter().zip(budgets) {
            let txn = prepare(&mut server, step);
            server.apply(txn);
            is_done = is_done || copying.step(&mut server, budget);
        }
        while !is_done {
            is_done = copying.step(&mut server, 3);
        }
        copying.end();
        prop_assert!(!server.tree.is_snapshotting());
        server.tree.check();
    }

    #[test]
    fn a_listing_is_the_children_at_its_start(
        before in vec(0u8..40, 0..40),
        during in vec((any::<bool>(), 0u8..40, 0usize..3), 0..80),
    ) {
        let mut server = Server::new();
        server.run(&crate::fixture::create("/p"));
        let name = |number: u8| format!("/p/{number}");
        for number in before {
            server.run(&crate::fixture::create(&name(number)));
        }
        let mut expected: Vec<String> = server.tree.get("/p").unwrap().children().map(String::from).collect();
        let (listing, count) = server.tree.listing_begin("/p").unwrap();
        prop_assert_eq!(count, expected.len());
        let (mut got, mut is_on) = (Vec::new(), true);
        for (is_create, number, budget) in during {
            let path = name(number);
            let request = if is_create { crate::fixture::create(&path) } else { crate::fixture::delete(&path, -1) };
            server.run(&request);
            is_on = is_on && server.tree.listing_step(listing, budget, |name| got.push(String::from(name)));
        }
        while is_on {
            is_on = server.tree.listing_step(listing, 2, |name| got.push(String::from(name)));
        }
        got.sort();
        expected.sort();
        prop_assert_eq!(got, expected);
        server.tree.check();
    }
}

#[test]
fn loading_refuses_what_makes_no_tree() {
    use crate::loader::LoadError;
    let load = || TreeLoader::new(1, crate::tree::TreeOptions::default(), usize::MAX >> 40);
    let stat = StatPersisted::default();
    assert_eq!(load().node("/a/b", None, -1, stat), Err(LoadError::NoParent("/a/b".into())));
    assert_eq!(load().node("/a", None, 7, stat), Err(LoadError::NoAcl(7)));
    for bad in ["a", "/a/", "x/"] {
        assert_eq!(load().node(bad, None, -1, stat), Err(LoadError::BadPath(bad.into())));
    }
    let mut twice = load();
    twice.node("/a", None, -1, stat).unwrap();
    assert_eq!(twice.node("/a", None, -1, stat), Err(LoadError::Twice(Box::from("/a"))));
    let mut unused = load();
    unused.acl(5, &AclList::anyone(3));
    unused.acl(5, &AclList::anyone(4));
    unused.node("", Some(b"root"), 5, StatPersisted { cversion: 9, ..stat }).unwrap();
    let tree = unused.finish(ids::Zxid::from_u64(77));
    assert_eq!((tree.get("/").unwrap().acl()[0].perms, tree.last_zxid().to_u64()), (4, 77));
    assert_eq!(tree.get("/").unwrap().stat_persisted().cversion, 9);
    tree.check();
}

#[test]
fn a_sweep_finds_what_is_due() {
    use crate::fixture::{create, create_as, delete};
    let mut server = Server::new();
    for path in ["/used", "/busy", "/new"] {
        server.ok(&create_as(CreateKind::Container, path, 0, -1));
    }
    server.ok(&create("/used/x"));
    server.ok(&delete("/used/x", -1));
    server.ok(&create("/busy/x"));
    server.ok(&create_as(CreateKind::Ttl, "/t", 5, 1000));
    server.ok(&create_as(CreateKind::Ttl, "/t/parent", 5, 1000));
    let sweep = |now_ms: i64, never_used_ms: i64| {
        let mut due = Vec::new();
        let mut sweep = crate::reaper::Sweep::new(now_ms, never_used_ms);
        while sweep.step(&server.tree, 1, &mut due) {}
        due.sort();
        due
    };
    assert_eq!(sweep(server.time, 0), ["/used"]);
    assert_eq!(sweep(server.time + 1000, 0), ["/used"], "exactly the ttl is not past it");
    assert_eq!(sweep(server.time + 1001, 0), ["/t/parent", "/used"]);
    assert_eq!(sweep(server.time + 1001, 500), ["/new", "/t/parent", "/used"]);
}

#[test]
fn quotas_are_found_and_counted_after_a_load() {
    use crate::fixture::create_data;
    let mut server = Server::new();
    server.ok(&create_data("/a", Some(b"12345")));
    for path in ["/zookeeper/quota/a", "/zookeeper/quota/a/zookeeper_limits", "/zookeeper/quota/a/zookeeper_stats"] {
        server.ok(&create_data(path, Some(b"count=-1,bytes=-1")));
    }
    let mut copying = Copying::begin(&mut server);
    while !copying.step(&mut server, 100) {}
    server.tree = copying.loader.finish(copying.zxid);
    server.prep = crate::prep::Prep::new();
    server.ok(&create_data("/a/b", Some(b"1")));
    assert_eq!(server.text("/zookeeper/quota/a/zookeeper_stats"), "count=2,bytes=6");
}
