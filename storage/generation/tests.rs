//! The whole switch to another state, as a member that is given one does it, with a crash at every operation.

use std::io::ErrorKind;

use super::*;
use crate::log::tests::{expected, payload, write};
use crate::log::{Log, LogOptions};
use crate::mem::{Call, Image, MemDisk, block_on};
use crate::register::Register;
use crate::snapshot::{SnapshotWriter, Snapshots};

const BASE: &str = "/data";
/// The old log ends here; the snapshot that comes is older.
const OLD_LAST: u64 = 160;
const FOREIGN: u64 = 90;

fn options(dir: &Path, may_create: bool) -> LogOptions {
    LogOptions {
        dir: dir.to_owned(),
        may_create_after_snapshot: may_create,
        salt: dir.as_os_str().len() as u64,
        ..crate::log::tests::options()
    }
}

type Seen = Vec<(u64, Vec<u8>)>;

/// What a member finds when it starts: the state's snapshot (0 if none) with its bytes, and the log above it.
struct Member {
    register: Register<MemDisk>,
    number: u64,
    state: (u64, Vec<u8>),
    log: Log<MemDisk>,
    seen: Seen,
}

fn read_snapshot(snapshots: &Snapshots<MemDisk>) -> (u64, Vec<u8>) {
    let loaded = snapshots.load(|reader| {
        let mut bytes = Vec::new();
        while let Some(chunk) = reader.next_chunk()? {
            bytes.extend_from_slice(chunk);
        }
        Ok(bytes)
    });
    loaded.unwrap().map(|loaded| (loaded.seq, loaded.state)).unwrap_or_default()
}

fn start(disk: &MemDisk) -> Member {
    block_on(async {
        let base = Path::new(BASE);
        disk.create_dir(base).await.unwrap();
        let (register, value) = Register::open(disk, &base.join("register")).await.unwrap();
        let number = value.map_or(0, |bytes| u64::from(bytes[0]));
        for other in [number.checked_sub(1), Some(number + 1)].into_iter().flatten() {
            remove_generation(disk, &generation_dir(base, other)).await.unwrap();
        }
        let dir = generation_dir(base, number);
        let snapshots = Snapshots::open(disk.clone(), &dir).await.unwrap();
        let state = read_snapshot(&snapshots);
        let mut seen = Seen::new();
        let visit = |seq, payload: &[u8]| {
            seen.push((seq, payload.to_vec()));
            Ok(())
        };
        // A snapshot without a log is an error again: the switch came after the log.
        let opened = Log::open(disk.clone(), options(&dir, false), state.0, visit, |_, _| ()).await;
        let (log, _) = opened.unwrap();
        Member { register, number, state, log, seen }
    })
}

async fn write_snapshot(disk: &MemDisk, dir: &Path, seq: u64, bytes: &[u8]) {
    let mut writer = SnapshotWriter::create(disk.clone(), dir, seq).await.unwrap();
    writer.write(bytes).await.unwrap();
    writer.finish(b"").await.unwrap();
}

/// Takes over a state at `seq`.
async fn switch(disk: &MemDisk, member: Member, seq: u64) -> Result<(), GenerationError> {
    let dir = generation_dir(Path::new(BASE), member.number + 1);
    prepare_generation(disk, &dir).await?;
    write_snapshot(disk, &dir, seq, b"the leader's").await;
    Log::open(disk.clone(), options(&dir, true), seq, |_, _| Ok(()), |_, _| ()).await.unwrap();
    member.register.save(&[member.number as u8 + 1]).await.unwrap();
    drop(member.log);
    remove_generation(disk, &generation_dir(Path::new(BASE), member.number)).await
}

/// A member with a state of its own, in generation 0.
fn old_member() -> MemDisk {
    let disk = MemDisk::new();
    let member = start(&disk);
    write(&member.log, 1..=40);
    block_on(write_snapshot(&disk, Path::new(BASE), 40, b"own"));
    write(&member.log, 41..=OLD_LAST);
    disk.copy()
}

fn is_old(member: &Member) -> bool {
    let same = member.state == (40, b"own".to_vec()) && member.seen == expected(41..=OLD_LAST);
    assert!(!same || member.number == 0);
    same
}

fn is_new(member: &Member, upto: u64) -> bool {
    member.number == 1
        && member.state == (FOREIGN, b"the leader's".to_vec())
        && member.seen == expected(FOREIGN + 1..=upto)
}

fn what(image: &Image) -> String {
    format!("operation {}, fates {}", image.ops, image.choice)
}

#[test]
fn every_crash_of_a_switch_leaves_one_state_or_the_other() {
    let disk = old_member();
    let member = start(&disk);
    let disk_before = disk.recorded();
    block_on(switch(&disk, member, FOREIGN)).unwrap();
    disk.note(1);
    let member = start(&disk);
    assert!(is_new(&member, FOREIGN));
    write(&member.log, FOREIGN + 1..=FOREIGN + 2);
    disk.note(2);
    let (mut olds, mut news, mut twice) = (0, 0, 0);
    disk.images(|image| {
        let member = start(&image.disk);
        if is_old(&member) {
            assert!(image.noted == 0, "{}", what(&image));
            olds += 1;
        } else {
            let upto = if image.noted == 2 { FOREIGN + 2 } else { member.log.last_seq() };
            assert!(is_new(&member, upto) && upto <= FOREIGN + 2, "{}", what(&image));
            news += 1;
        }
        // A crash in the middle of that start, and the switch once more from whatever it found.
        if image.noted == 0 && image.ops >= disk_before && image.ops % 3 == 0 {
            let was_old = is_old(&member);
            image.disk.images(|second| {
                let member = start(&second.disk);
                assert!(if was_old { is_old(&member) } else { is_new(&member, FOREIGN) }, "{}", what(&image));
                twice += 1;
            });
            if was_old {
                block_on(switch(&image.disk, member, FOREIGN)).unwrap();
                assert!(is_new(&start(&image.disk.crash()), FOREIGN), "{}", what(&image));
            }
        }
    });
    assert!(olds > 20 && news > 20 && twice > 50, "{olds} {news} {twice}");
}

#[test]
fn old_state_is_gone_and_others_files_stay() {
    let disk = old_member();
    block_on(async {
        for name in ["lock", "cut.0000000000000001.00001000"] {
            let path = Path::new(BASE).join(name);
            disk.open(&path, crate::disk::Open::Fresh, crate::disk::Strategy::Buffered).await.unwrap();
        }
    });
    block_on(switch(&disk, start(&disk), FOREIGN)).unwrap();
    let disk = disk.crash();
    let base = |path: &PathBuf| path.parent() == Some(Path::new(BASE));
    let left: Vec<PathBuf> = disk.paths().into_iter().filter(base).collect();
    let names = ["cut.0000000000000001.00001000", "lock", "register"];
    assert_eq!(left, names.map(|name| Path::new(BASE).join(name)));
    // And a generation that is nobody's home goes with its directory.
    block_on(switch(&disk, start(&disk), 200)).unwrap();
    let error = block_on(disk.list(&generation_dir(Path::new(BASE), 1))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let member = start(&disk);
    assert_eq!((member.number, member.state.0, member.log.last_seq()), (2, 200, 200));
}

#[test]
fn what_an_earlier_try_left_is_no_part_of_the_new_state() {
    // Its snapshot may be newer than the one that comes now.
    let disk = old_member();
    let member = start(&disk);
    block_on(async {
        let dir = generation_dir(Path::new(BASE), 1);
        prepare_generation(&disk, &dir).await.unwrap();
        write_snapshot(&disk, &dir, FOREIGN + 50, b"of the first try").await;
        Log::open(disk.clone(), options(&dir, true), FOREIGN + 50, |_, _| Ok(()), |_, _| ()).await.unwrap();
    });
    let disk_before = disk.recorded();
    block_on(switch(&disk, member, FOREIGN)).unwrap();
    disk.note(1);
    disk.images(|image| {
        if image.ops >= disk_before {
            let member = start(&image.disk);
            assert!(is_old(&member) && image.noted == 0 || is_new(&member, FOREIGN), "{}", what(&image));
        }
    });
}

#[test]
fn removal_can_be_repeated_after_every_failure() {
    for call in [Call::List, Call::Remove, Call::SyncDir, Call::RemoveDir] {
        for skip in 0..6 {
            let disk = old_member();
            block_on(switch(&disk, start(&disk), FOREIGN)).unwrap();
            let member = start(&disk);
            assert_eq!(member.number, 1);
            block_on(async {
                let next = generation_dir(Path::new(BASE), 2);
                prepare_generation(&disk, &next).await.unwrap();
                write_snapshot(&disk, &next, 7, b"").await;
                disk.fail(call, skip, 1, ErrorKind::PermissionDenied);
                let first = remove_generation(&disk, &next).await;
                disk.heal();
                assert!(first.is_ok() || first.unwrap_err().source.kind() == ErrorKind::PermissionDenied);
                remove_generation(&disk, &next).await.unwrap();
                assert_eq!(disk.list(&next).await.unwrap_err().kind(), ErrorKind::NotFound);
            });
        }
    }
}

#[test]
fn new_log_behind_a_snapshot_takes_what_follows_it() {
    // Created, reopened, appended to: with a crash at every operation.
    let disk = MemDisk::new();
    let dir = Path::new("/new");
    let open = |disk: &MemDisk| {
        let mut seen = Seen::new();
        let visit = |seq, payload: &[u8]| {
            seen.push((seq, payload.to_vec()));
            Ok(())
        };
        let opened = block_on(Log::open(disk.clone(), options(dir, true), 500, visit, |_, _| ())).unwrap();
        (opened.0, seen)
    };
    let (log, _) = open(&disk);
    assert_eq!((log.oldest(), log.last_seq(), log.durable_seq()), (500, 500, 500));
    write(&log, 501..=503);
    disk.note(503);
    drop(log);
    let (log, seen) = open(&disk);
    assert_eq!(seen, expected(501..=503));
    write(&log, 504..=505);
    disk.note(505);
    disk.images(|image| {
        let (log, seen) = open(&image.disk);
        let last = log.last_seq();
        assert!(last >= image.noted && seen == expected(501..=last), "{}", what(&image));
        block_on(log.prepare_next()).unwrap();
        log.append(last + 1, &payload(last + 1)).unwrap();
        assert_eq!(block_on(log.sync()).unwrap(), last + 1);
    });
}
