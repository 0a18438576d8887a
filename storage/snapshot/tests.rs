//! Snapshots: every length, every flipped bit, every fault of the disk, every crash.

use std::io;
use std::path::{Path, PathBuf};

use futures_lite::future::block_on;

use super::*;
use crate::disk::Disk;
use crate::error::SnapshotError;
use crate::mem::{Call, MemDisk};
use crate::record::u32_at;

fn dir() -> PathBuf {
    PathBuf::from("/snap")
}

fn disk() -> MemDisk {
    let disk = MemDisk::new();
    block_on(disk.create_dir(&dir())).unwrap();
    disk
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 7 + at) as u8).collect()
}

async fn write(disk: &MemDisk, seq: u64, payload: &[u8]) -> Result<(), SnapshotError> {
    let mut writer = SnapshotWriter::create(disk.clone(), &dir(), seq).await?;
    for piece in payload.chunks(100_000) {
        if let Err(error) = writer.write(piece).await {
            writer.abandon().await;
            return Err(error);
        }
    }
    writer.finish(&seq.to_le_bytes()).await
}

fn read<M: std::ops::Deref<Target = [u8]>>(reader: &mut SnapshotReader<M>) -> Result<Vec<u8>, SnapshotError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.next_chunk()? {
        bytes.extend_from_slice(chunk);
    }
    Ok(bytes)
}

fn load(disk: &MemDisk) -> Result<Option<Loaded<Vec<u8>>>, SnapshotError> {
    let snapshots = block_on(Snapshots::open(disk.clone(), &dir()))?;
    snapshots.load(|reader| Ok(read(reader)?))
}

#[test]
fn every_length_comes_back_with_its_metadata() {
    let chunk = CHUNK_LEN - CHUNK_HEADER_LEN;
    for len in [0, 1, BLOCK, chunk - 1, chunk, chunk + 1, 3 * chunk, 3 * chunk + 4096, 5 * chunk - 16] {
        let disk = disk();
        block_on(write(&disk, 9, &payload(len))).unwrap();
        let mut reader = SnapshotReader::open(&disk, &dir().join(name(9))).unwrap();
        assert_eq!((reader.seq(), reader.payload_len()), (9, len as u64));
        assert_eq!(reader.metadata(), 9u64.to_le_bytes());
        assert!(read(&mut reader).unwrap() == payload(len), "length {len}");
        assert_eq!(reader.payload_read(), len as u64);
        assert!(reader.next_chunk().unwrap().is_none());
    }
}

#[test]
fn no_bit_can_flip_unseen() {
    let disk = disk();
    block_on(write(&disk, 9, &payload(CHUNK_LEN + 5000))).unwrap();
    let path = dir().join(name(9));
    let image = disk.bytes(&path).unwrap();
    // Every byte of the frames, and a sample of the payload, whose checksum treats all bytes alike.
    let interesting = (0..image.len()).filter(|at| at % 997 == 0 || at % BLOCK < 40 || at % BLOCK >= BLOCK - 20);
    for at in interesting {
        let mut damaged = image.clone();
        damaged[at] ^= 1 << (at % 8);
        let result = SnapshotReader::new(damaged.as_slice(), &path).and_then(|mut reader| read(&mut reader));
        assert!(matches!(result, Err(SnapshotError::Damaged { .. })), "byte {at}");
    }
}

#[test]
fn no_length_but_its_own_is_accepted() {
    let disk = disk();
    block_on(write(&disk, 9, &payload(CHUNK_LEN + 5000))).unwrap();
    let path = dir().join(name(9));
    let image = disk.bytes(&path).unwrap();
    for len in (0..image.len()).filter(|len| len % 512 < 3) {
        let result = SnapshotReader::new(&image[..len], &path).and_then(|mut reader| read(&mut reader));
        assert!(result.is_err(), "cut to {len}");
    }
    let longer = [image.as_slice(), &[0; BLOCK]].concat();
    assert!(SnapshotReader::new(longer.as_slice(), &path).is_err());
}

#[test]
fn unreadable_snapshot_falls_back_to_the_one_before() {
    let disk = disk();
    for seq in [10, 20, 30] {
        block_on(write(&disk, seq, &payload(seq as usize * 1000))).unwrap();
    }
    disk.corrupt(&dir().join(name(30)), |bytes| bytes[BLOCK + 100] ^= 1);
    disk.corrupt(&dir().join(name(20)), |bytes| bytes.truncate(0));
    let loaded = load(&disk).unwrap().unwrap();
    assert_eq!((loaded.seq, loaded.state), (10, payload(10_000)));
    assert_eq!(loaded.unreadable.len(), 2);
    assert!(loaded.unreadable[0].to_string().contains(&name(30)), "{}", loaded.unreadable[0]);
}

#[test]
fn damage_behind_what_the_caller_reads_counts_too() {
    let disk = disk();
    block_on(write(&disk, 10, b"ten")).unwrap();
    block_on(write(&disk, 20, &payload(2 * CHUNK_LEN))).unwrap();
    disk.corrupt(&dir().join(name(20)), |bytes| bytes[BLOCK + CHUNK_LEN + 100] ^= 1);
    let snapshots = block_on(Snapshots::open(disk.clone(), &dir())).unwrap();
    let loaded = snapshots.load(|reader| Ok(reader.next_chunk()?.is_some())).unwrap().unwrap();
    assert_eq!((loaded.seq, loaded.state), (10, true));
}

#[test]
fn no_readable_snapshot_is_an_error_and_none_at_all_is_not() {
    let disk = disk();
    assert!(load(&disk).unwrap().is_none());
    block_on(write(&disk, 10, b"state")).unwrap();
    disk.corrupt(&dir().join(name(10)), |bytes| bytes[BLOCK] ^= 1);
    let error = load(&disk).unwrap_err();
    assert!(matches!(&error, SnapshotError::NoneReadable { causes, .. } if causes.len() == 1), "{error}");
}

#[test]
fn snapshot_the_caller_cannot_take_is_passed_over() {
    let disk = disk();
    block_on(write(&disk, 10, b"old")).unwrap();
    block_on(write(&disk, 20, b"new")).unwrap();
    let snapshots = block_on(Snapshots::open(disk.clone(), &dir())).unwrap();
    let loaded = snapshots.load(|reader| match reader.seq() {
        20 => Err(LoadError::Refused("a node without a parent".into())),
        _ => Ok(()),
    });
    let loaded = loaded.unwrap().unwrap();
    assert_eq!(loaded.seq, 10);
    assert!(matches!(loaded.unreadable[0], SnapshotError::Refused { .. }));
}

#[test]
fn renamed_snapshot_is_not_believed() {
    let disk = disk();
    block_on(write(&disk, 10, b"ten")).unwrap();
    block_on(write(&disk, 20, b"twenty")).unwrap();
    disk.swap(&dir().join(name(10)), &dir().join(name(20)));
    assert!(matches!(load(&disk), Err(SnapshotError::NoneReadable { .. })));
}

#[test]
fn trailer_of_another_snapshot_is_not_believed() {
    let image = |payload: &[u8]| {
        let disk = disk();
        block_on(write(&disk, 9, payload)).unwrap();
        disk.bytes(&dir().join(name(9))).unwrap()
    };
    let mut bytes = image(&[1; 5000]);
    let trailer_at = bytes.len() - BLOCK;
    bytes[trailer_at..].copy_from_slice(&image(&[2; 5000])[trailer_at..]);
    let read_all = |bytes: &[u8]| read(&mut SnapshotReader::new(bytes, Path::new("image")).unwrap());
    assert!(matches!(read_all(&bytes), Err(SnapshotError::Damaged { .. })));

    // Its own trailer, but with another length and a crc that holds.
    let mut bytes = image(&[1; 5000]);
    let trailer = &mut bytes[trailer_at..];
    trailer[16..24].copy_from_slice(&5001_u64.to_le_bytes());
    let end = TRAILER_HEADER_LEN + u32_at(trailer, 32) as usize;
    let crc = crc32fast::hash(&trailer[12..end]);
    trailer[8..12].copy_from_slice(&crc.to_le_bytes());
    assert!(matches!(read_all(&bytes), Err(SnapshotError::Damaged { .. })));
}

#[test]
fn interrupted_write_is_removed_at_start() {
    let disk = disk();
    block_on(write(&disk, 10, b"ten")).unwrap();
    let mut writer = block_on(SnapshotWriter::create(disk.clone(), &dir(), 20)).unwrap();
    block_on(writer.write(&payload(2 * CHUNK_LEN))).unwrap();
    drop(writer);
    assert_eq!(disk.paths().len(), 2);
    assert_eq!(load(&disk).unwrap().unwrap().seq, 10);
    assert_eq!(disk.paths(), [dir().join(name(10))]);
}

#[test]
fn full_disk_gives_the_snapshot_up_and_leaves_nothing() {
    let disk = disk();
    block_on(write(&disk, 10, b"ten")).unwrap();
    for free in [0, 1, BLOCK as u64, CHUNK_LEN as u64, 3 * CHUNK_LEN as u64] {
        disk.set_free(Some(free));
        let error = block_on(write(&disk, 20, &payload(4 * CHUNK_LEN))).unwrap_err();
        assert!(matches!(error, SnapshotError::NoSpace { .. }), "{error}");
        assert_eq!(disk.paths(), [dir().join(name(10))], "with {free} bytes free");
    }
    disk.set_free(Some(100 * CHUNK_LEN as u64));
    block_on(write(&disk, 20, &payload(4 * CHUNK_LEN))).unwrap();
    assert_eq!(load(&disk).unwrap().unwrap().seq, 20);
}

#[test]
fn failed_sync_leaves_no_snapshot() {
    let disk = disk();
    for call in [Call::Write, Call::Sync, Call::Rename] {
        disk.fail(call, 0, 1, io::ErrorKind::Other);
        let error = block_on(write(&disk, 20, b"state")).unwrap_err();
        assert!(matches!(error, SnapshotError::Io { .. }), "{call:?}: {error}");
        assert!(disk.paths().is_empty(), "{call:?}");
    }
}

#[test]
fn retention_keeps_the_newest_and_says_what_the_log_must_keep() {
    let disk = disk();
    let mut snapshots = block_on(Snapshots::open(disk.clone(), &dir())).unwrap();
    assert_eq!(block_on(snapshots.purge(3)).unwrap(), None);
    for seq in [10, 20, 30, 40, 50] {
        block_on(write(&disk, seq, b"state")).unwrap();
        snapshots.add(seq);
    }
    assert_eq!(block_on(snapshots.purge(3)).unwrap(), Some(30));
    assert_eq!(snapshots.seqs(), [30, 40, 50]);
    let kept = [30, 40, 50].map(|seq| dir().join(name(seq)));
    assert_eq!(disk.crash().paths(), kept, "the log may go now, so none that needs it may come back");
    assert_eq!(block_on(snapshots.purge(0)).unwrap(), Some(50));
    assert_eq!(disk.paths(), [dir().join(name(50))]);
}

#[test]
fn crash_images_hold_the_snapshot_whole_or_the_one_before() {
    let disk = disk();
    block_on(write(&disk, 10, b"ten")).unwrap();
    disk.note(10);
    block_on(write(&disk, 20, &payload(2 * CHUNK_LEN))).unwrap();
    disk.note(20);
    let mut images = 0;
    disk.images(|image| {
        images += 1;
        let loaded = load(&image.disk).unwrap_or_else(|error| panic!("op {}, {}: {error}", image.ops, image.choice));
        let seq = loaded.as_ref().map_or(0, |loaded| loaded.seq);
        assert!(seq >= image.noted, "op {}, {}: {seq}", image.ops, image.choice);
        match loaded {
            Some(loaded) if seq == 20 => assert!(loaded.state == payload(2 * CHUNK_LEN)),
            Some(loaded) => assert_eq!(loaded.state, b"ten"),
            None => {}
        }
        assert!(image.disk.paths().iter().all(|path| path.extension().is_none_or(|ext| ext != "tmp")));
    });
    assert!(images > 50, "{images}");
}

#[test]
fn any_bytes_are_read_without_harm() {
    let disk = disk();
    block_on(write(&disk, 9, &payload(5000))).unwrap();
    let image = disk.bytes(&dir().join(name(9))).unwrap();
    for at in 0..image.len() {
        let mut damaged = image.clone();
        damaged[at] = 0xFF;
        fuzz_snapshot(&damaged);
        fuzz_snapshot(&image[..at]);
    }
}
