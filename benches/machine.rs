//! The pure part of a server, driven directly: prep, apply and watches, without wire, log and sockets.
//!
//! Flow       request -> `Prep::prepare` -> `Tree::apply` -> `Watches::fire`, one after the other.
//! Invariant  every request succeeds: no figure counts a failure.

use ids::{SessionId, Xid, Zxid};
use tree::acl::AclEntry;
use tree::effects::Effects;
use tree::prep::{Prep, PrepContext, PrepSettings};
use tree::request::{Create, CreateKind, Request};
use tree::session::Standing;
use tree::tree::{Tree, TreeOptions};
use tree::watch::Watches;

/// Wall clock of every transaction.
const TIME: i64 = 1_700_000_000_000;
const OPEN: AclEntry<'static> = AclEntry { perms: 31, scheme: Some("world"), id: Some("anyone") };

/// One tree and what changes it.
#[derive(Debug)]
pub struct Machine {
    /// The tree.
    pub tree: Tree,
    /// Who is told.
    pub watches: Watches,
    /// Notifications so far.
    pub told: u64,
    prep: Prep,
    settings: PrepSettings,
    effects: Effects,
    zxid: Zxid,
}

impl Machine {
    /// With a new tree.
    pub fn new() -> Self {
        Self {
            tree: Tree::new(7, TreeOptions::default()),
            watches: Watches::new(9),
            told: 0,
            prep: Prep::new(),
            settings: PrepSettings::default(),
            effects: Effects::new(),
            zxid: Zxid::from_u64(0),
        }
    }

    /// Prepares, applies, tells.
    ///
    /// # Panics
    /// If the request fails.
    pub fn run(&mut self, request: &Request<'_>) {
        self.zxid = self.zxid.next().expect("a bench does not use up an epoch");
        let context = PrepContext {
            session: SessionId::new(1),
            standing: Standing::Open,
            cxid: Xid::new(1),
            zxid: self.zxid,
            time: TIME,
            identities: &[],
            frame: None,
            settings: &self.settings,
        };
        let txn = self.prep.prepare(&self.tree, &context, request);
        let code = self.tree.apply(&txn, &mut self.effects).header_code();
        assert_eq!(code, 0, "{request:?}");
        for change in self.effects.changes() {
            self.watches.fire(&change, |_| self.told += 1);
        }
        self.effects.clear();
        self.prep.applied(txn.zxid);
    }

    /// Creates a persistent node.
    pub fn create(&mut self, path: &str, data: &[u8]) {
        let acl = Some(vec![OPEN]);
        let (kind, path, data) = (CreateKind::Create, Some(path), Some(data));
        self.run(&Request::Create(Create { kind, path, data, acl, flags: 0, ttl: -1 }));
    }

    /// Replaces data.
    pub fn set(&mut self, path: &str, data: &[u8]) {
        self.run(&Request::SetData { path: Some(path), data: Some(data), version: -1 });
    }

    /// Deletes a leaf.
    pub fn delete(&mut self, path: &str) {
        self.run(&Request::Delete { path: Some(path), version: -1 });
    }

    /// Length of a node's data, with its Stat looked at as a reply would.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn read(&self, path: &str) -> usize {
        let node = self.tree.get(path).expect("the bench made it");
        std::hint::black_box(node.stat());
        node.data().map_or(0, |data| data.as_slice().len())
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}
