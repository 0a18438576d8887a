//! A register: a few bytes that survive every crash, as they were before the last save or after it.
//!
//! ```text
//! slot n at n * BLOCK, for n = 0 and 1
//!     0 magic "ringslot"    8 version u32    12 crc u32    16 number u64    24 len u32    28 zero    32 value, zeros to 512
//! ```
//! Little-endian. The crc covers bytes 8..12 and 16..512. A slot lies in one sector of 512 bytes.
//!
//! Flow       save -> the slot that doesn't hold the newest value, with the next number -> one write, one sync.
//! Invariant  the newest value that was durable is never written over; an even number is in slot 0, an odd one in slot 1.
//! Absent     more than two values. Telling a newest slot that has rotted from one that was torn: the older value counts.
//!
//! The file is made whole under another name, with number 0 for "nothing was saved", and a save changes neither its length
//! nor its name. So the directory is synced when it is opened, and never again.

use std::cell::{Cell, RefCell};
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use crate::disk::{BLOCK, Disk, DiskFile, Open, Strategy, write_padded};
use crate::error::RegisterError;
use crate::record::{u32_at, u64_at};

/// The longest value, in bytes.
pub const VALUE_LEN_MAX: usize = 256;

const MAGIC: &[u8; 8] = b"ringslot";
const VERSION: u32 = 1;
/// What a disk writes whole or not at all.
const SLOT_LEN: usize = 512;
const VALUE_AT: usize = 32;
const TMP_SUFFIX: &str = ".tmp";

/// An open register.
pub struct Register<D: Disk> {
    file: D::File,
    path: PathBuf,
    /// Of the newest value.
    number: Cell<u64>,
    saving: Cell<bool>,
    /// Also while a save is in flight.
    closed: Cell<bool>,
    /// The newest value, for who asks again.
    value: RefCell<Option<Vec<u8>>>,
}

impl<D: Disk> Register<D> {
    /// Opens the register at `path`, which is made if it doesn't exist, and returns the value that was saved last: `None` if
    /// none ever was. The directory must exist, and the caller must hold its lock.
    ///
    /// What is returned was synced before: it may have been in the page cache only.
    ///
    /// # Errors
    /// See [`RegisterError`]. A register that is damaged isn't changed.
    pub async fn open(disk: &D, path: &Path) -> Result<(Register<D>, Option<Vec<u8>>), RegisterError> {
        let found = match disk.map(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(disk, path).await?;
                disk.map(path)
            }
            found => found,
        };
        let map = found.map_err(RegisterError::io("map", path))?;
        let slot = newest(&map, path)?;
        drop(map);
        let file =
            disk.open(path, Open::Existing, Strategy::Buffered).await.map_err(RegisterError::io("open", path))?;
        file.sync().await.map_err(RegisterError::io("sync", path))?;
        // The process before may have ended between a rename and this.
        disk.sync_dir(dir_of(path)).await.map_err(RegisterError::io("sync the directory of", path))?;
        let register = Register {
            file,
            path: path.to_owned(),
            number: Cell::new(slot.number),
            saving: Cell::new(false),
            closed: Cell::new(false),
            value: RefCell::new(slot.value.clone()),
        };
        Ok((register, slot.value))
    }

    /// Makes `value` the register's, durably: one write and one sync.
    ///
    /// # Errors
    /// The register is closed for ever; opened again, it has this value or the one before.
    ///
    /// # Panics
    /// If `value` is longer than [`VALUE_LEN_MAX`], or another save is in flight.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropped before it returns, it closes the register as an error does.
    pub async fn save(&self, value: &[u8]) -> Result<(), RegisterError> {
        assert!(value.len() <= VALUE_LEN_MAX, "a value of {} bytes", value.len());
        assert!(!self.saving.replace(true), "one save at a time");
        let _guard = Saving(&self.saving);
        if self.closed.replace(true) {
            return Err(RegisterError::Closed);
        }
        // Closed until it is done: an error, or a drop in the middle, leaves it so.
        let number = self.number.get() + 1;
        let mut buffer = self.file.buffer(BLOCK);
        encode(number, Some(value), &mut buffer.as_mut()[..BLOCK]);
        let written = self.file.write_durable(buffer, BLOCK, offset_of(number)).await;
        written.map_err(RegisterError::io("write and sync", &self.path))?;
        self.number.set(number);
        self.value.replace(Some(value.to_vec()));
        self.closed.set(false);
        Ok(())
    }

    /// The value that was saved last, or `None` if none ever was.
    pub fn value(&self) -> Option<Vec<u8>> {
        self.value.borrow().clone()
    }
}

/// Takes the flag back when a save has ended or was dropped.
struct Saving<'a>(&'a Cell<bool>);

impl Drop for Saving<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// A slot that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slot {
    number: u64,
    /// `None` in number 0 only.
    value: Option<Vec<u8>>,
}

fn dir_of(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn offset_of(number: u64) -> u64 {
    number % 2 * BLOCK as u64
}

/// A register in which nothing was saved. A crash leaves it whole, or no file of its name; the caller syncs that.
async fn make<D: Disk>(disk: &D, path: &Path) -> Result<(), RegisterError> {
    let dir = dir_of(path);
    let name = path.file_name().expect("a register has a name").to_string_lossy();
    let tmp = dir.join(format!("{name}{TMP_SUFFIX}"));
    let file = disk.open(&tmp, Open::Fresh, Strategy::Buffered).await.map_err(RegisterError::io("make", &tmp))?;
    let mut bytes = vec![0; 2 * BLOCK];
    encode(0, None, &mut bytes[..BLOCK]);
    file.allocate(bytes.len() as u64).await.map_err(RegisterError::io("allocate", &tmp))?;
    write_padded(&file, &bytes, 0).await.map_err(RegisterError::io("write", &tmp))?;
    file.sync().await.map_err(RegisterError::io("sync", &tmp))?;
    drop(file);
    disk.rename(&tmp, path).await.map_err(RegisterError::io("rename", &tmp))
}

fn encode(number: u64, value: Option<&[u8]>, block: &mut [u8]) {
    block.fill(0);
    let value = value.unwrap_or_default();
    block[0..8].copy_from_slice(MAGIC);
    block[8..12].copy_from_slice(&VERSION.to_le_bytes());
    block[16..24].copy_from_slice(&number.to_le_bytes());
    block[24..28].copy_from_slice(&(value.len() as u32).to_le_bytes());
    block[VALUE_AT..VALUE_AT + value.len()].copy_from_slice(value);
    let crc = slot_crc(block);
    block[12..16].copy_from_slice(&crc.to_le_bytes());
}

fn slot_crc(slot: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&slot[8..12]);
    hasher.update(&slot[16..SLOT_LEN]);
    hasher.finalize()
}

/// What stands in a slot's place.
enum Found {
    Slot(Slot),
    Version(u32),
    Nothing,
}

fn decode(bytes: &[u8], place: usize) -> Found {
    let Some(slot) = bytes.get(place * BLOCK..place * BLOCK + SLOT_LEN) else { return Found::Nothing };
    if &slot[0..8] != MAGIC || u32_at(slot, 12) != slot_crc(slot) {
        return Found::Nothing;
    }
    if u32_at(slot, 8) != VERSION {
        return Found::Version(u32_at(slot, 8));
    }
    let (number, len) = (u64_at(slot, 16), u32_at(slot, 24) as usize);
    let Some(value) = slot.get(VALUE_AT..VALUE_AT + len).filter(|_| len <= VALUE_LEN_MAX) else {
        return Found::Nothing;
    };
    if number % 2 != place as u64 {
        return Found::Nothing;
    }
    Found::Slot(Slot { number, value: (number > 0).then(|| value.to_vec()) })
}

/// The slot that counts.
fn newest(bytes: &impl Deref<Target = [u8]>, path: &Path) -> Result<Slot, RegisterError> {
    let mut best: Option<Slot> = None;
    for place in 0..2 {
        match decode(bytes, place) {
            Found::Slot(slot) if best.as_ref().is_none_or(|best| slot.number > best.number) => best = Some(slot),
            Found::Slot(_) | Found::Nothing => {}
            Found::Version(version) => return Err(RegisterError::Version { path: path.to_owned(), version }),
        }
    }
    best.ok_or_else(|| RegisterError::Damaged { path: path.to_owned() })
}

/// Any bytes as a register, as they are and with both checksums put right: must end, must not panic.
pub fn fuzz_register(bytes: &[u8]) {
    let path = Path::new("register");
    let _ = newest(&bytes, path);
    let mut image = bytes.to_vec();
    image.resize(2 * BLOCK, 0);
    for slot in image.chunks_mut(BLOCK) {
        slot[0..8].copy_from_slice(MAGIC);
        let crc = slot_crc(slot);
        slot[12..16].copy_from_slice(&crc.to_le_bytes());
    }
    let Ok(slot) = newest(&image, path) else { return };
    let mut again = vec![0; 2 * BLOCK];
    let at = offset_of(slot.number) as usize;
    encode(slot.number, slot.value.as_deref(), &mut again[at..at + BLOCK]);
    let same = newest(&again, path).expect("what was encoded holds");
    assert_eq!(same, slot, "what was read is written again as it was");
}

#[cfg(test)]
mod tests;
