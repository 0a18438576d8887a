//! The register: the value before a save or the one after it, whatever breaks in between.

use std::io::ErrorKind;
use std::pin::pin;

use super::*;
use crate::mem::{Call, MemDisk, block_on, poll_once};

const PATH: &str = "/data/register";

fn disk() -> MemDisk {
    let disk = MemDisk::new();
    block_on(disk.create_dir(Path::new("/data"))).unwrap();
    disk.copy()
}

fn open(disk: &MemDisk) -> Result<(Register<MemDisk>, Option<Vec<u8>>), RegisterError> {
    block_on(Register::open(disk, Path::new(PATH)))
}

/// The value that is saved as number `number`.
fn value(number: u64) -> Vec<u8> {
    vec![number as u8; (number as usize * 61) % (VALUE_LEN_MAX + 1)]
}

/// The number of the value that was found, 0 for none.
fn number(found: Option<&[u8]>, upto: u64) -> u64 {
    let Some(found) = found else { return 0 };
    (1..=upto).rev().find(|&number| value(number) == found).expect("a value that was saved")
}

#[test]
fn what_was_saved_is_there_again() {
    let disk = disk();
    let (register, found) = open(&disk).unwrap();
    assert_eq!((found, register.value()), (None, None));
    assert_eq!(open(&disk.crash()).unwrap().1, None);
    for number in 1..=20 {
        block_on(register.save(&value(number))).unwrap();
        assert_eq!(register.value(), Some(value(number)));
        let (again, found) = open(&disk.crash()).unwrap();
        assert_eq!((found, again.value()), (Some(value(number)), Some(value(number))));
    }
    let (register, _) = open(&disk).unwrap();
    block_on(register.save(&[])).unwrap();
    assert_eq!(open(&disk.crash()).unwrap().1, Some(vec![]), "an empty value is a value");
    block_on(register.save(&[7; VALUE_LEN_MAX])).unwrap();
    assert_eq!(open(&disk.crash()).unwrap().1, Some(vec![7; VALUE_LEN_MAX]));
}

#[test]
fn save_is_one_write_and_one_sync() {
    let disk = disk();
    let (register, _) = open(&disk).unwrap();
    for number in 1..=5 {
        let before = disk.recorded();
        block_on(register.save(&value(number))).unwrap();
        assert_eq!(disk.recorded() - before, 2);
    }
}

#[test]
fn every_crash_leaves_the_value_before_or_after() {
    let disk = disk();
    let (register, _) = open(&disk).unwrap();
    for number in 1..=4 {
        block_on(register.save(&value(number))).unwrap();
        disk.note(number);
    }
    let mut images = 0;
    disk.images(|image| {
        images += 1;
        let what = format!("operation {}, fates {}", image.ops, image.choice);
        let (register, found) = open(&image.disk).unwrap_or_else(|error| panic!("{what}: {error}"));
        let found = number(found.as_deref(), 4);
        assert!(found >= image.noted && found <= image.noted + 1, "{what}: {found} after {}", image.noted);
        // What it has shown once stays, and the next save doesn't write over it before it is durable.
        block_on(register.save(&value(5))).unwrap();
        image.disk.images(|second| {
            let again = number(open(&second.disk).unwrap().1.as_deref(), 5);
            let shown = second.ops > 0 || image.noted > 0;
            assert!(again == found || again == 5 || !shown && again <= found, "{what}: {found}, then {again}");
        });
    });
    assert!(images > 30, "{images}");
}

#[test]
fn value_that_was_in_the_page_cache_only_is_synced_before_it_is_shown() {
    let disk = disk();
    let (register, _) = open(&disk).unwrap();
    block_on(register.save(&value(1))).unwrap();
    disk.hold_syncs();
    assert!(poll_once(pin!(register.save(&value(2)))).is_pending());
    disk.release_syncs();
    drop(register);
    // The process was killed; the next one finds what it wrote.
    let (_, found) = open(&disk).unwrap();
    assert_eq!(found, Some(value(2)));
    assert_eq!(open(&disk.crash()).unwrap().1, Some(value(2)));
}

#[test]
fn torn_at_any_byte_is_the_value_before() {
    let disk = disk();
    let (register, _) = open(&disk).unwrap();
    for number in 1..=3 {
        let before = disk.bytes(Path::new(PATH)).unwrap();
        block_on(register.save(&value(number))).unwrap();
        let after = disk.bytes(Path::new(PATH)).unwrap();
        let at = offset_of(number) as usize;
        for len in 0..SLOT_LEN {
            let torn = disk.copy();
            torn.corrupt(Path::new(PATH), |bytes| {
                bytes[at + len..at + BLOCK].copy_from_slice(&before[at + len..at + BLOCK])
            });
            let whole = torn.bytes(Path::new(PATH)).unwrap() == after;
            let expected = if whole { Some(value(number)) } else { (number > 1).then(|| value(number - 1)) };
            assert_eq!(open(&torn).unwrap().1, expected, "{len} bytes of number {number}");
        }
    }
}

#[test]
fn no_bit_can_flip_unseen() {
    let disk = disk();
    let (register, _) = open(&disk).unwrap();
    block_on(register.save(&value(1))).unwrap();
    block_on(register.save(&value(2))).unwrap();
    for place in 0..2 {
        for bit in 0..8 * SLOT_LEN {
            let damaged = disk.copy();
            damaged.corrupt(Path::new(PATH), |bytes| bytes[place * BLOCK + bit / 8] ^= 1 << (bit % 8));
            let expected = if place == 0 { value(1) } else { value(2) };
            assert_eq!(open(&damaged).unwrap().1, Some(expected), "bit {bit} of slot {place}");
        }
    }
}

#[test]
fn both_slots_damaged_is_an_error_and_changes_nothing() {
    let disk = disk();
    let (register, _) = open(&disk).unwrap();
    block_on(register.save(&value(1))).unwrap();
    for damage in [
        |bytes: &mut Vec<u8>| bytes.fill(0),
        |bytes: &mut Vec<u8>| bytes.clear(),
        |bytes: &mut Vec<u8>| {
            bytes[40] ^= 1;
            bytes[BLOCK + 40] ^= 1;
        },
    ] {
        let damaged = disk.copy();
        damaged.corrupt(Path::new(PATH), damage);
        let error = open(&damaged).err().unwrap();
        assert!(matches!(error, RegisterError::Damaged { .. }), "{error}");
        assert_eq!(damaged.recorded(), 0);
    }
}

#[test]
fn slot_in_the_other_place_does_not_count() {
    let disk = disk();
    let (register, _) = open(&disk).unwrap();
    block_on(register.save(&value(1))).unwrap();
    disk.corrupt(Path::new(PATH), |bytes| bytes.copy_within(BLOCK.., 0));
    assert_eq!(open(&disk).unwrap().1, Some(value(1)));
    disk.corrupt(Path::new(PATH), |bytes| bytes[BLOCK] ^= 1);
    assert!(matches!(open(&disk).err().unwrap(), RegisterError::Damaged { .. }));
}

#[test]
fn newer_format_is_named() {
    let disk = disk();
    open(&disk).unwrap();
    disk.corrupt(Path::new(PATH), |bytes| {
        bytes[8] = 9;
        let crc = slot_crc(bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    });
    assert!(matches!(open(&disk).err().unwrap(), RegisterError::Version { version: 9, .. }));
}

#[test]
fn failed_or_dropped_save_closes_it() {
    for (call, dropped) in [(Call::Write, false), (Call::Sync, false), (Call::Sync, true)] {
        let disk = disk();
        let (register, _) = open(&disk).unwrap();
        block_on(register.save(&value(1))).unwrap();
        if dropped {
            disk.hold_syncs();
            assert!(poll_once(pin!(register.save(&value(2)))).is_pending());
            disk.release_syncs();
        } else {
            disk.fail(call, 0, 1, ErrorKind::Other);
            assert!(matches!(block_on(register.save(&value(2))), Err(RegisterError::Io { .. })));
        }
        assert!(matches!(block_on(register.save(&value(3))), Err(RegisterError::Closed)));
        assert_eq!(register.value(), Some(value(1)));
        for seed in 0..20 {
            let found = number(open(&disk.crash_by(seed)).unwrap().1.as_deref(), 3);
            assert!(found == 1 || found == 2, "{found}");
        }
    }
}

#[test]
fn failed_open_can_be_tried_again() {
    for call in [Call::Open, Call::Write, Call::Allocate, Call::Sync, Call::Rename, Call::SyncDir, Call::Map] {
        for skip in 0..3 {
            let disk = disk();
            disk.fail(call, skip, 1, ErrorKind::Other);
            let first = open(&disk);
            disk.heal();
            let (register, found) = match first {
                Ok(opened) => opened,
                Err(RegisterError::Io { .. }) => open(&disk).unwrap(),
                Err(error) => panic!("{error}"),
            };
            assert_eq!(found, None);
            block_on(register.save(&value(1))).unwrap();
            assert_eq!(open(&disk.crash()).unwrap().1, Some(value(1)), "{call:?} {skip}");
        }
    }
}

#[test]
fn any_bytes_can_be_read() {
    let disk = disk();
    let (register, _) = open(&disk).unwrap();
    block_on(register.save(&value(3))).unwrap();
    let bytes = disk.bytes(Path::new(PATH)).unwrap();
    fuzz_register(&bytes);
    fuzz_register(&[]);
    for at in 0..64 {
        for byte in [0, 1, 0x7F, 0xFF] {
            let mut damaged = bytes.clone();
            damaged[at] = byte;
            damaged[BLOCK + at] = byte;
            fuzz_register(&damaged);
            fuzz_register(&damaged[..BLOCK + at]);
        }
    }
}
