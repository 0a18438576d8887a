//! The keeper over a disk in memory: what it decides, and what is left of it at any crash.
//!
//! A state is told by its sessions: transaction z makes session z.

mod crash;

use std::io;
use std::path::PathBuf;

use futures_lite::future::{block_on, poll_once, zip};
use ids::{Epoch, SessionId, Xid, Zxid};
use storage::mem::Call;
use storage::{LogOptions, MemDisk, SnapshotWriter};
use tree::tree::TreeOptions;
use tree::txn::{Txn, TxnOp};
use zab::message::LinkId;
use zab::sync::Located;

use super::*;
use crate::server::codec;
use crate::server::codec::snapshot::Encoder;
use crate::server::recovery::Threads;
use crate::server::snapshots;

const SEGMENT_LEN: u64 = 64 << 10;

fn places(is_one_disk: bool) -> Places {
    let log_base = if is_one_disk { "/data" } else { "/log" };
    Places { base: "/data".into(), log_base: log_base.into(), generation: 0 }
}

fn recipe(segment_len: u64) -> Recipe {
    let options = LogOptions { record_len_max: 12 << 10, ..LogOptions::new("", 7) };
    let log = options.with_segment_len(segment_len);
    Recipe { log, tree: TreeOptions::default(), seed: 7, threads: Threads::One }
}

/// A disk with the directories that a server's lock makes.
fn new_disk() -> MemDisk {
    let disk = MemDisk::forgetful();
    block_on(async {
        for dir in ["/data", "/log"] {
            disk.create_dir(Path::new(dir)).await.unwrap();
        }
    });
    disk
}

fn open_at(disk: &MemDisk, is_one_disk: bool) -> (Keeper<MemDisk>, Tree) {
    let opened = block_on(Keeper::open(disk.clone(), places(is_one_disk), recipe(SEGMENT_LEN)));
    let (keeper, tree, _) = opened.unwrap_or_else(|error| panic!("it starts: {error}"));
    (keeper, tree)
}

fn open(disk: &MemDisk) -> (Keeper<MemDisk>, Tree) {
    open_at(disk, false)
}

fn zxid(epoch: u32, counter: u32) -> Zxid {
    Zxid::new(Epoch::new(epoch), counter)
}

fn epochs(accepted: u32, current: u32) -> Epochs {
    Epochs { accepted: Epoch::new(accepted), current: Epoch::new(current) }
}

fn txn(zxid: Zxid) -> Txn {
    let op = TxnOp::CreateSession { timeout_ms: 1000 };
    Txn { session: SessionId::new(zxid.to_u64() as i64), cxid: Xid::new(0), zxid, time: 0, op, digest: None }
}

fn append(keeper: &Keeper<MemDisk>, zxids: impl IntoIterator<Item = Zxid>) {
    for zxid in zxids {
        let mut entry = Vec::new();
        codec::txn::encode(&txn(zxid), &mut entry);
        keeper.log().append(zxid, &entry).unwrap();
    }
}

fn append_synced(keeper: &Keeper<MemDisk>, zxids: impl IntoIterator<Item = Zxid>) {
    append(keeper, zxids);
    block_on(keeper.log().sync()).unwrap();
}

/// First epoch, these counters.
fn first(counters: std::ops::RangeInclusive<u32>) -> impl Iterator<Item = Zxid> {
    counters.map(|counter| zxid(1, counter))
}

fn sessions(tree: &Tree) -> Vec<Zxid> {
    let mut found: Vec<Zxid> =
        tree.sessions().map(|(session, _)| Zxid::from_u64(session.to_i64().unsigned_abs())).collect();
    found.sort_unstable();
    found
}

/// The tree that these transactions make.
fn tree_of(zxids: impl IntoIterator<Item = Zxid>) -> Tree {
    let mut tree = Tree::new(7, TreeOptions::default());
    for zxid in zxids {
        tree.apply(&txn(zxid), &mut tree::effects::Effects::deaf());
    }
    tree
}

/// A snapshot's body and metadata.
fn snapshot_of(tree: &mut Tree) -> (Vec<u8>, Vec<u8>) {
    let head = tree.begin_snapshot();
    let mut encoder = Encoder::new(head.sessions);
    assert!(tree.snapshot_step(10_000, |item| snapshots::encode(item, &mut encoder)).done);
    encoder.end();
    (encoder.bytes().to_vec(), snapshots::metadata(&head).to_vec())
}

/// A snapshot of its own state, as housekeeping writes it.
fn write_snapshot(disk: &MemDisk, keeper: &Keeper<MemDisk>, tree: &mut Tree) {
    let (body, metadata) = snapshot_of(tree);
    block_on(async {
        let dir = keeper.places().snapshots();
        let mut writer = SnapshotWriter::create(disk.clone(), &dir, tree.last_zxid().to_u64()).await.unwrap();
        writer.write(&body).await.unwrap();
        writer.finish(&metadata).await.unwrap();
    });
}

/// Stages a leader's state; whether that worked.
fn stage(keeper: &Keeper<MemDisk>, tree: &mut Tree) -> bool {
    let (body, metadata) = snapshot_of(tree);
    block_on(async {
        keeper.begin_state(tree.last_zxid()).await.unwrap();
        for piece in body.chunks(7) {
            keeper.add_state(piece).await;
        }
        keeper.end_state(&metadata).await.unwrap()
    })
}

fn truncate(keeper: &Keeper<MemDisk>, last: Zxid) -> Option<Tree> {
    let cut = block_on(keeper.truncate(last, true)).unwrap()?;
    assert_eq!(cut.kept, last);
    Some(*cut.tree.expect("it was asked for"))
}

fn snapshot_path(last: Zxid) -> PathBuf {
    places(false).snapshots().join(storage::snapshot::name(last.to_u64()))
}

#[test]
fn a_server_without_a_register_has_promised_what_its_log_shows() {
    let disk = new_disk();
    let (keeper, _) = open(&disk);
    assert_eq!(keeper.epochs(), epochs(0, 0));
    append_synced(&keeper, [zxid(4, 1)]);
    let (keeper, _) = open(&disk);
    assert_eq!(keeper.epochs(), epochs(4, 4));
    assert!(disk.bytes(&keeper.places().register()).is_none(), "nothing was promised yet");
}

#[test]
fn epochs_are_there_at_the_next_start() {
    let disk = new_disk();
    let (keeper, _) = open(&disk);
    append(&keeper, first(1..=3));
    assert_eq!(block_on(keeper.save(epochs(5, 1), false)).unwrap(), None);
    let (keeper, tree) = open(&disk.crash());
    assert_eq!(keeper.epochs(), epochs(5, 1));
    assert!(sessions(&tree).into_iter().eq(first(1..=3)), "what was appended before is durable, too");
}

#[test]
fn a_promise_that_cannot_be_written_ends_the_server() {
    let disk = new_disk();
    let (keeper, _) = open(&disk);
    block_on(keeper.save(epochs(1, 1), false)).unwrap();
    disk.fail(Call::Sync, 0, 1, io::ErrorKind::Other);
    assert!(matches!(block_on(keeper.save(epochs(2, 1), false)), Err(KeeperError::Register(_))));
    assert!(block_on(keeper.save(epochs(2, 1), false)).is_err(), "it stays closed");
    assert_eq!(open(&disk.crash()).0.epochs(), epochs(1, 1));
}

#[test]
fn a_record_of_another_format_is_refused() {
    let disk = new_disk();
    let (keeper, _) = open(&disk);
    block_on(async {
        let register = keeper.register().await.unwrap();
        register.save(&[9; 17]).await.unwrap();
    });
    let refused = block_on(Keeper::open(disk, places(false), recipe(SEGMENT_LEN))).map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("format 9"), "{refused}");
}

#[test]
fn a_state_is_staged_adopted_and_the_old_one_goes() {
    for is_one_disk in [false, true] {
        let disk = new_disk();
        let (keeper, _) = open_at(&disk, is_one_disk);
        append_synced(&keeper, first(1..=3));
        assert!(stage(&keeper, &mut tree_of([zxid(2, 8), zxid(2, 9)])));
        append_synced(&keeper, [zxid(2, 10)]);
        let snapshot_dir = block_on(keeper.save(epochs(2, 2), true)).unwrap();
        assert_eq!(snapshot_dir, Some("/data/history-1".into()));
        block_on(keeper.remove_stale());
        append_synced(&keeper, [zxid(2, 11)]);
        let (again, tree) = open_at(&disk.crash(), is_one_disk);
        assert!(sessions(&tree).into_iter().eq((8..=11).map(|counter| zxid(2, counter))));
        assert_eq!((again.epochs(), again.places().generation), (epochs(2, 2), 1));
        let is_left =
            disk.paths().iter().any(|path| path.starts_with("/data/snapshots") || path.starts_with("/log/log"));
        assert!(!is_left, "{:?}", disk.paths());
    }
}

#[test]
fn another_state_is_staged_over_one_that_was_not_adopted() {
    let disk = new_disk();
    let (keeper, _) = open(&disk);
    append_synced(&keeper, first(1..=3));
    assert!(stage(&keeper, &mut tree_of([zxid(2, 1)])));
    append_synced(&keeper, [zxid(2, 2)]);
    assert!(stage(&keeper, &mut tree_of([zxid(3, 1)])));
    block_on(keeper.save(epochs(3, 3), true)).unwrap();
    let (again, tree) = open(&disk.crash());
    assert_eq!(sessions(&tree), [zxid(3, 1)]);
    assert_eq!(again.places().generation, 1);
}

#[test]
fn what_was_staged_is_forgotten_by_a_reload() {
    let disk = new_disk();
    let (keeper, _) = open(&disk);
    append_synced(&keeper, first(1..=3));
    assert!(stage(&keeper, &mut tree_of([zxid(2, 1)])));
    append(&keeper, [zxid(2, 2)]);
    let tree = block_on(keeper.reload()).unwrap();
    assert!(sessions(&tree).into_iter().eq(first(1..=3)));
    append_synced(&keeper, first(4..=4));
    let (keeper, tree) = open(&disk.crash());
    assert!(sessions(&tree).into_iter().eq(first(1..=4)));
    assert_eq!(keeper.places().generation, 0);
    assert!(!disk.paths().iter().any(|path| path.to_string_lossy().contains("history")), "{:?}", disk.paths());
}

#[test]
fn a_state_that_cannot_be_written_changes_nothing() {
    for (call, skips) in [(Call::Write, 0..3), (Call::Rename, 0..2), (Call::Allocate, 0..1), (Call::Open, 0..3)] {
        for skip in skips {
            let disk = new_disk();
            let (keeper, _) = open(&disk);
            append_synced(&keeper, first(1..=3));
            disk.fail(call, skip, 1, io::ErrorKind::StorageFull);
            assert!(!stage(&keeper, &mut tree_of([zxid(2, 1)])), "{call:?} {skip}");
            append_synced(&keeper, first(4..=4));
            let (_, tree) = open(&disk.crash());
            assert!(sessions(&tree).into_iter().eq(first(1..=4)), "{call:?} {skip}");
            assert!(stage(&keeper, &mut tree_of([zxid(2, 1)])), "another try works");
        }
    }
}

#[test]
fn the_log_is_cut_and_the_tree_is_the_one_at_that_place() {
    let disk = new_disk();
    let (keeper, _) = open(&disk);
    append_synced(&keeper, first(1..=9));
    for last in [2, 4, 7] {
        write_snapshot(&disk, &keeper, &mut tree_of(first(1..=last)));
    }
    let tree_at_5 = truncate(&keeper, zxid(1, 5)).expect("there is a way");
    assert!(sessions(&tree_at_5).into_iter().eq(first(1..=5)));
    assert_eq!(tree_at_5.last_zxid(), zxid(1, 5));
    assert!(disk.bytes(&snapshot_path(zxid(1, 7))).is_none(), "it holds what was cut off");
    assert!(disk.bytes(&snapshot_path(zxid(1, 4))).is_some());
    append_synced(&keeper, [zxid(2, 1)]);
    let (_, tree) = open(&disk.crash());
    assert!(sessions(&tree).into_iter().eq(first(1..=5).chain([zxid(2, 1)])));
}

#[test]
fn the_log_is_cut_to_where_a_snapshot_ends_and_it_begins() {
    let disk = new_disk();
    let (keeper, _) = open(&disk);
    assert!(stage(&keeper, &mut tree_of([zxid(1, 5)])));
    block_on(keeper.save(epochs(1, 1), true)).unwrap();
    append_synced(&keeper, first(6..=8));
    assert_eq!(sessions(&truncate(&keeper, zxid(1, 5)).unwrap()), [zxid(1, 5)]);
    assert!(truncate(&keeper, zxid(1, 4)).is_none(), "nothing knows that state");
}

#[test]
fn without_a_reload_no_tree_is_made() {
    let disk = new_disk();
    let (keeper, _) = open(&disk);
    append_synced(&keeper, first(1..=3));
    let cut = block_on(keeper.truncate(zxid(1, 2), false)).unwrap().unwrap();
    assert!(cut.tree.is_none());
    assert!(sessions(&open(&disk).1).into_iter().eq(first(1..=2)));
}

#[test]
fn what_cannot_be_cut_is_left_as_it_is() {
    let disk = new_disk();
    let (keeper, _) = open(&disk);
    append_synced(&keeper, first(1..=3).chain(first(5..=6)));
    write_snapshot(&disk, &keeper, &mut tree_of(first(1..=2)));
    let before = disk.paths();
    assert!(truncate(&keeper, zxid(1, 4)).is_none(), "no such record");
    assert!(truncate(&keeper, zxid(1, 7)).is_none(), "beyond the end");
    disk.corrupt(&snapshot_path(zxid(1, 2)), |bytes| bytes[4200] ^= 1);
    assert!(truncate(&keeper, zxid(1, 3)).is_none(), "the only snapshot is damaged: the next start would refuse");
    assert_eq!(disk.paths(), before);
    disk.corrupt(&snapshot_path(zxid(1, 2)), |bytes| bytes[4200] ^= 1);
    let (_, tree) = open(&disk);
    assert!(sessions(&tree).into_iter().eq(first(1..=3).chain(first(5..=6))));
}

/// A full log of which the beginning was purged.
fn purged() -> (MemDisk, Keeper<MemDisk>) {
    let disk = new_disk();
    let (keeper, _) = open(&disk);
    for counter in 1..=30 {
        // So that a segment holds only some.
        keeper.log().append(zxid(1, counter), &[7; 10_000]).unwrap();
        block_on(keeper.log().sync()).unwrap();
        block_on(keeper.log().log().prepare_next()).unwrap();
    }
    keeper.log().want_purge(zxid(1, 20).to_u64());
    block_on(keeper.log().purge());
    assert!(keeper.log().log().oldest() > 0);
    (disk, keeper)
}

#[test]
fn a_log_that_begins_later_is_not_cut_without_a_snapshot() {
    let (_disk, keeper) = purged();
    assert!(truncate(&keeper, zxid(1, 25)).is_none());
}

#[test]
fn a_purge_that_relied_on_a_snapshot_goes_with_it() {
    let disk = new_disk();
    let (keeper, _) = open(&disk);
    append_synced(&keeper, first(1..=3));
    block_on(keeper.log().log().prepare_next()).unwrap();
    write_snapshot(&disk, &keeper, &mut tree_of(first(1..=3)));
    keeper.log().want_purge(zxid(1, 3).to_u64());
    // The cut goes on in another segment: the first would be purged, and with it everything.
    assert!(truncate(&keeper, zxid(1, 2)).is_some());
    append_synced(&keeper, [zxid(2, 1)]);
    block_on(keeper.log().purge());
    let (_, tree) = open(&disk);
    assert!(sessions(&tree).into_iter().eq(first(1..=2).chain([zxid(2, 1)])));
}

#[test]
fn a_cut_waits_for_the_sync_that_is_in_flight() {
    let disk = new_disk();
    let (keeper, _) = open(&disk);
    append_synced(&keeper, first(1..=3));
    append(&keeper, first(4..=4));
    disk.hold_syncs();
    let mut sync = Box::pin(keeper.log().sync());
    let mut cut = Box::pin(keeper.truncate(zxid(1, 2), true));
    block_on(async {
        assert!(poll_once(&mut sync).await.is_none());
        assert!(poll_once(&mut cut).await.is_none());
        disk.release_syncs();
        let (synced, cut) = zip(sync, cut).await;
        assert_eq!(synced.unwrap().upto, zxid(1, 4));
        assert_eq!(cut.unwrap().unwrap().kept, zxid(1, 2));
    });
    assert_eq!(keeper.log().log().last_seq(), zxid(1, 2).to_u64());
}

#[test]
fn a_place_in_the_log_is_found_with_its_neighbours() {
    let (_disk, keeper) = purged();
    let located = |at| block_on(keeper.locate(at));
    let oldest = Zxid::from_u64(keeper.log().log().oldest());
    let found = |floor, next| Located { floor: Some(floor), next, is_long: false };
    assert_eq!(located(zxid(1, 25)), found(zxid(1, 25), Some(zxid(1, 26))));
    assert_eq!(located(oldest), found(oldest, Some(zxid(1, oldest.counter() + 1))), "behind it everything is there");
    assert_eq!(located(zxid(1, oldest.counter() - 1)).floor, None);
    assert_eq!(located(zxid(1, 99)), found(zxid(1, 30), None));
}

/// Six MiB of log.
fn long() -> (MemDisk, Keeper<MemDisk>) {
    let disk = new_disk();
    let opened = block_on(Keeper::open(disk.clone(), places(false), recipe(16 << 20)));
    let (keeper, ..) = opened.unwrap_or_else(|error| panic!("it starts: {error}"));
    for counter in 1..=600 {
        keeper.log().append(zxid(1, counter), &[7; 10_240]).unwrap();
    }
    block_on(keeper.log().sync()).unwrap();
    (disk, keeper)
}

#[test]
fn a_log_is_long_when_a_snapshot_is_the_shorter_way() {
    let (disk, keeper) = long();
    let is_long = |counter| block_on(keeper.locate(zxid(1, counter))).is_long;
    assert!(!is_long(1), "there is no other way");
    write_snapshot(&disk, &keeper, &mut tree_of(first(1..=2)));
    assert!(is_long(1));
    assert!(!is_long(300), "three MiB are always sent");
    let path = snapshot_path(zxid(1, 2));
    disk.corrupt(&path, |bytes| bytes.resize(20 << 20, 0));
    assert!(!is_long(1), "a snapshot of 20 MiB is longer");
}

#[test]
fn the_log_is_read_part_by_part() {
    let (_disk, keeper) = long();
    let (mut after, mut reads) = (zxid(1, 10), 0);
    while after < zxid(1, 590) {
        let entries = block_on(keeper.read(LinkId(1), after, zxid(1, 590))).unwrap();
        assert!(entries.iter().map(|(_, entry)| entry.len()).sum::<usize>() <= crate::server::messages::READ_MAX_BYTES);
        for (zxid, _) in &entries {
            assert_eq!(zxid.counter(), after.counter() + 1);
            after = *zxid;
        }
        reads += 1;
        assert_eq!(keeper.readers.len(), usize::from(after < zxid(1, 590)), "a reader rests until its end is reached");
    }
    assert_eq!((after, reads), (zxid(1, 590), 6));
    assert_eq!(block_on(keeper.read(LinkId(1), zxid(1, 600), zxid(1, 700))), Some(Vec::new()));
}

#[test]
fn readers_are_few_and_none_outlives_its_log() {
    let (_disk, keeper) = long();
    for link in 0..20 {
        block_on(keeper.read(LinkId(link), zxid(1, 1), zxid(1, 600))).unwrap();
    }
    assert_eq!(keeper.readers.len(), 8);
    let entries = block_on(keeper.read(LinkId(19), zxid(1, 7), zxid(1, 600))).unwrap();
    assert_eq!(entries[0].0, zxid(1, 8), "not continued: begun anew");
    assert!(stage(&keeper, &mut tree_of([zxid(2, 1)])));
    assert_eq!(keeper.readers.len(), 0);
    assert_eq!(block_on(keeper.read(LinkId(19), zxid(1, 7), zxid(1, 600))), None, "the new log does not reach back");
}

#[test]
fn what_was_purged_cannot_be_read() {
    let (_disk, keeper) = purged();
    assert_eq!(block_on(keeper.read(LinkId(1), zxid(1, 1), zxid(1, 30))), None);
    let entries = block_on(keeper.read(LinkId(1), zxid(1, 28), zxid(1, 30))).unwrap();
    assert_eq!(entries.iter().map(|(zxid, _)| *zxid).collect::<Vec<_>>(), [zxid(1, 29), zxid(1, 30)]);
}
