//! For tests: one server's worth of tree, prep, watches and zxids, driven one request at a time.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use ids::{SessionId, Xid, Zxid};

use crate::acl::{AclEntry, Identity};
use crate::apply::OpResult;
use crate::code::Code;
use crate::effects::Effects;
use crate::owner::OwnerRules;
use crate::prep::{Prep, PrepContext, PrepSettings};
use crate::request::{Create, CreateKind, Request};
use crate::session::Standing;
use crate::stat::Stat;
use crate::tree::{Tree, TreeOptions};
use crate::txn::Txn;
use crate::watch::Watches;
use crate::watch_fire::EventKind;

pub(crate) const OPEN: AclEntry<'static> = AclEntry { perms: 31, scheme: Some("world"), id: Some("anyone") };

/// The session that acts unless a test says otherwise.
pub(crate) const ME: SessionId = SessionId::new(0x0100_0000_0000_0001);

pub(crate) struct Server {
    pub(crate) tree: Tree,
    pub(crate) prep: Prep,
    pub(crate) settings: PrepSettings,
    pub(crate) watches: Watches,
    /// Watcher, event and path of every notification so far.
    pub(crate) told: Vec<(u32, EventKind, String)>,
    pub(crate) zxid: Zxid,
    pub(crate) time: i64,
    pub(crate) session: SessionId,
    pub(crate) standing: Standing,
    pub(crate) who: Vec<Identity>,
    effects: Effects,
}

impl Server {
    pub(crate) fn new() -> Server {
        Server::with(OwnerRules { extended_types: true, emulate_353: false })
    }

    pub(crate) fn with(owners: OwnerRules) -> Server {
        Server {
            tree: Tree::new(7, TreeOptions { owners, digest: true }),
            prep: Prep::new(),
            settings: PrepSettings::default(),
            watches: Watches::new(9),
            told: Vec::new(),
            zxid: Zxid::ZERO,
            time: 1_000_000,
            session: ME,
            standing: Standing::Open,
            who: Vec::from([Identity::new("ip", "127.0.0.1")]),
            effects: Effects::new(),
        }
    }

    /// Only prepares.
    pub(crate) fn prepare(&mut self, request: &Request<'_>) -> Txn {
        self.zxid = self.zxid.next().unwrap();
        self.time += 1;
        let cx = PrepContext {
            session: self.session,
            standing: self.standing,
            cxid: Xid::new(1),
            zxid: self.zxid,
            time: self.time,
            identities: &self.who,
            frame: None,
            settings: &self.settings,
        };
        self.prep.prepare(&self.tree, &cx, request)
    }

    /// Applies what was prepared, and fires.
    pub(crate) fn apply(&mut self, txn: Txn) -> OpResult<'static> {
        let txn: &'static Txn = Box::leak(Box::new(txn));
        let result = self.tree.apply(txn, &mut self.effects);
        assert_eq!(self.effects.digest_mismatch(), None, "prep foresaw another tree for {txn:?}");
        for change in self.effects.changes() {
            let told = &mut self.told;
            self.watches.fire(&change, |note| told.push((note.watcher.0, note.kind, note.path.into())));
        }
        self.effects.clear();
        self.prep.applied(txn.zxid);
        result
    }

    pub(crate) fn run(&mut self, request: &Request<'_>) -> OpResult<'static> {
        let txn = self.prepare(request);
        self.apply(txn)
    }

    /// The code that a request gets.
    pub(crate) fn code(&mut self, request: &Request<'_>) -> i32 {
        self.run(request).header_code()
    }

    /// Expects success.
    pub(crate) fn ok(&mut self, request: &Request<'_>) -> OpResult<'static> {
        let result = self.run(request);
        assert_eq!(result.header_code(), 0, "{request:?}");
        result
    }

    /// Expects this failure, and that it changed nothing but the zxid.
    pub(crate) fn fails(&mut self, request: &Request<'_>, code: Code) {
        let before = (self.tree.digest(), self.tree.node_count());
        assert_eq!(self.code(request), code.to_i32(), "{request:?}");
        assert_eq!((self.tree.digest(), self.tree.node_count()), before);
        assert_eq!(self.tree.last_zxid(), self.zxid, "a failed write takes a zxid");
    }

    pub(crate) fn stat(&self, path: &str) -> Stat {
        self.tree.get(path).unwrap().stat()
    }

    pub(crate) fn text(&self, path: &str) -> String {
        let data = self.tree.get(path).unwrap().data().unwrap();
        String::from_utf8(data.as_slice().into()).unwrap()
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.tree.get(path).is_some()
    }
}

pub(crate) fn create(path: &str) -> Request<'_> {
    create_with(path, 0)
}

pub(crate) fn create_with(path: &str, flags: i32) -> Request<'_> {
    create_as(CreateKind::Create, path, flags, -1)
}

pub(crate) fn create_as(kind: CreateKind, path: &str, flags: i32, ttl: i64) -> Request<'_> {
    let acl = Some(Vec::from([OPEN]));
    Request::Create(Create { kind, path: Some(path), data: Some(b"x"), acl, flags, ttl })
}

pub(crate) fn create_data<'a>(path: &'a str, data: Option<&'a [u8]>) -> Request<'a> {
    let acl = Some(Vec::from([OPEN]));
    Request::Create(Create { kind: CreateKind::Create, path: Some(path), data, acl, flags: 0, ttl: -1 })
}

pub(crate) fn create_acl<'a>(path: &'a str, acl: &[AclEntry<'a>]) -> Request<'a> {
    let acl = Some(acl.into());
    Request::Create(Create { kind: CreateKind::Create, path: Some(path), data: None, acl, flags: 0, ttl: -1 })
}

pub(crate) fn delete(path: &str, version: i32) -> Request<'_> {
    Request::Delete { path: Some(path), version }
}

pub(crate) fn set<'a>(path: &'a str, data: &'a str, version: i32) -> Request<'a> {
    Request::SetData { path: Some(path), data: Some(data.as_bytes()), version }
}

pub(crate) fn check(path: &str, version: i32) -> Request<'_> {
    Request::Check { path: Some(path), version }
}

pub(crate) fn set_acl<'a>(path: &'a str, acl: &[AclEntry<'a>], version: i32) -> Request<'a> {
    Request::SetAcl { path: Some(path), acl: Some(acl.into()), version }
}

/// Read-only for everybody.
pub(crate) const READ_ONLY: AclEntry<'static> = AclEntry { perms: 1, scheme: Some("world"), id: Some("anyone") };
