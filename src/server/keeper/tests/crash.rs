//! Every disk that a crash could have left.

use super::*;

/// What a start finds on a disk.
struct Found {
    sessions: Vec<Zxid>,
    epochs: Epochs,
    generation: u64,
}

fn start(disk: &MemDisk, is_one_disk: bool) -> Found {
    let (keeper, tree) = open_at(disk, is_one_disk);
    let found = sessions(&tree);
    assert_eq!(tree.last_zxid(), *found.last().expect("there is a state"));
    // It also goes on from there.
    append_synced(&keeper, [zxid(9, 1)]);
    Found { sessions: found, epochs: keeper.epochs(), generation: keeper.places().generation }
}

/// Everything that is there is durable, and what comes is recorded.
fn recorded(disk: &MemDisk) -> MemDisk {
    let recorded = MemDisk::default();
    block_on(async {
        for path in disk.paths() {
            recorded.create_dir(path.parent().unwrap()).await.unwrap();
            let file = recorded.open(&path, storage::disk::Open::Fresh, storage::Strategy::Buffered).await.unwrap();
            let bytes = disk.bytes(&path).unwrap();
            storage::disk::write_padded(&file, &bytes, 0).await.unwrap();
        }
    });
    recorded.copy()
}

#[test]
fn a_crash_leaves_the_old_state_or_the_adopted_one_with_its_epochs() {
    for is_one_disk in [false, true] {
        let disk = new_disk();
        let (keeper, _) = open_at(&disk, is_one_disk);
        append_synced(&keeper, first(1..=3));
        write_snapshot(&disk, &keeper, &mut tree_of(first(1..=2)));
        block_on(keeper.save(epochs(1, 1), false)).unwrap();
        let disk = recorded(&disk);
        let (keeper, _) = open_at(&disk, is_one_disk);
        block_on(keeper.save(epochs(2, 1), false)).unwrap();
        disk.note(1);
        assert!(stage(&keeper, &mut tree_of([zxid(1, 2), zxid(1, 7)])));
        append_synced(&keeper, [zxid(2, 1)]);
        block_on(keeper.save(epochs(2, 2), true)).unwrap();
        disk.note(2);
        block_on(keeper.remove_stale());
        append_synced(&keeper, [zxid(2, 2)]);
        disk.note(3);
        let (mut images, mut adopted) = (0, 0);
        disk.images(|image| {
            images += 1;
            let found = start(&image.disk, is_one_disk);
            let at = format!("{} operations, {}", image.ops, image.choice);
            match found.generation {
                0 => {
                    assert!(image.noted < 2, "adopted, and lost: {at}");
                    assert!(found.sessions.iter().copied().eq(first(1..=3)), "{at}");
                    assert_eq!(found.epochs.current, Epoch::new(1), "{at}");
                    assert!(image.noted < 1 || found.epochs == epochs(2, 1), "{at}");
                }
                1 => {
                    adopted += 1;
                    assert!(image.noted >= 1, "{at}");
                    let last = if found.sessions.len() == 4 { 2 } else { 1 };
                    assert!(last == 2 || image.noted < 3, "{at}");
                    let expected =
                        [zxid(1, 2), zxid(1, 7)].into_iter().chain((1..=last).map(|counter| zxid(2, counter)));
                    assert!(found.sessions.iter().copied().eq(expected), "{:?} {at}", found.sessions);
                    assert_eq!(found.epochs, epochs(2, 2), "{at}");
                }
                other => panic!("generation {other}: {at}"),
            }
        });
        assert!(images > 50 && adopted > 5, "{images} {adopted}");
    }
}

#[test]
fn a_crash_leaves_the_log_whole_or_cut_and_no_snapshot_brings_back_what_was_cut_off() {
    let disk = new_disk();
    let (keeper, _) = open(&disk);
    append_synced(&keeper, first(1..=8));
    for last in [2, 6, 8] {
        write_snapshot(&disk, &keeper, &mut tree_of(first(1..=last)));
    }
    block_on(keeper.save(epochs(1, 1), false)).unwrap();
    let disk = recorded(&disk);
    let (keeper, _) = open(&disk);
    assert!(truncate(&keeper, zxid(1, 4)).is_some());
    disk.note(1);
    append_synced(&keeper, [zxid(2, 1)]);
    disk.note(2);
    let (mut whole, mut cut) = (0, 0);
    disk.images(|image| {
        let found = start(&image.disk, false).sessions;
        let at = format!("{} operations, {}: {found:?}", image.ops, image.choice);
        if found.iter().copied().eq(first(1..=8)) {
            assert_eq!(image.noted, 0, "{at}");
            whole += 1;
        } else {
            let is_longer = found.iter().copied().eq(first(1..=4).chain([zxid(2, 1)]));
            assert!(is_longer || found.iter().copied().eq(first(1..=4)), "{at}");
            assert!(is_longer || image.noted < 2, "{at}");
            cut += 1;
        }
    });
    assert!(whole > 5 && cut > 5, "{whole} {cut}");
}

/// A crash while left-overs of another crash are removed.
#[test]
fn a_start_that_crashes_can_be_started_again() {
    let disk = new_disk();
    let (keeper, _) = open(&disk);
    append_synced(&keeper, first(1..=3));
    block_on(keeper.save(epochs(1, 1), false)).unwrap();
    assert!(stage(&keeper, &mut tree_of([zxid(2, 7)])));
    let staged = recorded(&disk);
    block_on(keeper.save(epochs(2, 2), true)).unwrap();
    let adopted = recorded(&disk);
    for (disk, expected, epochs) in
        [(staged, first(1..=3).collect(), epochs(1, 1)), (adopted, vec![zxid(2, 7)], epochs(2, 2))]
    {
        drop(open(&disk));
        disk.images(|image| {
            let found = start(&image.disk, false);
            assert_eq!((found.sessions, found.epochs), (expected.clone(), epochs), "{}", image.choice);
        });
    }
}
