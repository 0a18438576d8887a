//! Captured transactions and snapshots against the tree: ZooKeeper's digests are the judge.

use tree::effects::Effects;
use tree::loader::{Source, TreeLoader};
use tree::snapshot::SnapshotItem;
use tree::tree::{Tree, TreeOptions};

use super::snapshot::{self, Decoder, Item, check_signature};
use super::{testdata, txn};
use crate::server::snapshots;

/// Of a tree with nothing but the built-in nodes.
const EMPTY_DIGEST: u64 = 0x51c6_d660;

/// Of the path hash; any will do.
const SEED: u64 = 7;

const FILE_HEADER_LEN: usize = 16;

fn replayed() -> Tree {
    let mut tree = Tree::new(SEED, TreeOptions::default());
    let mut effects = Effects::new();
    for entry in testdata::entries() {
        let txn = txn::decode(&entry, None).unwrap();
        tree.apply(&txn, &mut effects);
        assert_eq!(effects.digest_mismatch(), None, "after {txn:?}");
        effects.clear();
    }
    tree
}

fn loaded(body: &[u8]) -> Tree {
    received(body).0
}

/// Loads a body as a leader's, and says what follows it.
fn received(stream: &[u8]) -> (Tree, Vec<u8>) {
    let (mut decoder, mut loader) = (Decoder::new(), TreeLoader::of(Source::Leader, SEED, TreeOptions::default(), 0));
    decoder.push(stream);
    while let Some(item) = decoder.next_item().unwrap() {
        match item {
            Item::Session { id, timeout_ms } => loader.session(id, timeout_ms),
            Item::Acl { key, list } => loader.acl(key, &list),
            Item::Node { path, data, acl_key, stat } => loader.node(&path, data, acl_key, stat).unwrap(),
            Item::End => break,
        }
    }
    assert!(decoder.is_done());
    let body_len = usize::try_from(decoder.decoded_bytes()).unwrap();
    assert_eq!(decoder.rest(), &stream[body_len..]);
    let tree = loader.finish(ids::Zxid::from_wire(0x1_0000_0010));
    tree.check();
    assert!(!tree.lacks_acls());
    (tree, stream[body_len..].to_vec())
}

/// Path, data, ACL and stat of every node, and the sessions, by name. Without the node of the ensemble's configuration,
/// which every server of those ensembles wrote for itself.
fn contents(tree: &mut Tree) -> Vec<String> {
    let mut lists = std::collections::HashMap::new();
    let mut seen = Vec::new();
    tree.begin_snapshot();
    while !tree
        .snapshot_step(100, |item| match item {
            SnapshotItem::Session { id, timeout_ms } => seen.push(format!("{id} {timeout_ms}")),
            SnapshotItem::Acl { key, list } => drop(lists.insert(key, list.clone())),
            SnapshotItem::Node { path: "/zookeeper/config", .. } => {}
            SnapshotItem::Node { path, data, acl_key, stat } => {
                let data = data.map(|data| data.as_slice().to_vec());
                seen.push(format!("{path} {data:?} {:?} {stat:?}", lists[&acl_key]));
            }
        })
        .done
    {}
    seen.sort_unstable();
    seen
}

#[test]
fn every_captured_digest_is_reproduced() {
    assert_eq!(Tree::new(SEED, TreeOptions::default()).digest(), EMPTY_DIGEST);
    let last = txn::decode(&testdata::entries()[15], None).unwrap();
    assert_eq!(Some(replayed().digest()), last.digest);
}

#[test]
fn captured_snapshots_are_the_tree_that_replay_makes() {
    let expected = contents(&mut replayed());
    for file in testdata::snapshots() {
        let mut tree = loaded(&file[FILE_HEADER_LEN..]);
        assert_eq!(tree.digest(), replayed().digest());
        assert_eq!(contents(&mut tree), expected);
    }
}

#[test]
fn the_captured_stream_of_an_empty_server_is_an_empty_tree() {
    let (tree, rest) = received(&testdata::empty_stream());
    assert_eq!(check_signature(&rest), Ok(Some(rest.len())));
    let config = tree.get("/zookeeper/config").unwrap();
    assert!(config.data().unwrap().as_slice().starts_with(b"server.1="), "the leader wrote its configuration there");
    assert_eq!(tree.node_count(), Tree::new(SEED, TreeOptions::default()).node_count());
    assert_eq!(tree.digest(), EMPTY_DIGEST);
}

/// A snapshot of any moment and all transactions again, those before it as well, come to the same tree.
#[test]
fn all_transactions_again_over_a_captured_snapshot_change_nothing() {
    let expected = contents(&mut replayed());
    for file in testdata::snapshots() {
        for first in 0..16 {
            let mut tree = loaded(&file[FILE_HEADER_LEN..]);
            for entry in &testdata::entries()[first..] {
                tree.apply(&txn::decode(entry, None).unwrap(), &mut Effects::deaf());
                tree.check();
            }
            assert_eq!(contents(&mut tree), expected, "from transaction {first} on");
            assert_eq!(tree.digest(), replayed().digest());
        }
    }
}

/// Our own snapshot of the replayed tree, in ZooKeeper's form, loads to the same tree.
#[test]
fn what_is_encoded_loads_again() {
    let mut tree = replayed();
    let mut encoder = snapshot::Encoder::new(tree.begin_snapshot().sessions);
    let progress = tree.snapshot_step(1000, |item| snapshots::encode(item, &mut encoder));
    assert!(progress.done);
    encoder.end();
    assert_eq!(contents(&mut loaded(encoder.bytes())), contents(&mut tree));
}
