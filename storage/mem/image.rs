//! Crash images: the disks that a crash at any point of a recorded run could have left.
//!
//! At a point of the run, an operation is durable if a sync of its file (or directory, for names) came after it. Each of
//! the others may have reached the disk or not, independently, so also in another order; a write may also have reached it
//! in part, by sectors. An image is one choice for each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{FileId, Inner, MemDisk, Op};

/// What a disk writes whole or not at all, in bytes.
pub const SECTOR: usize = 512;

/// The most images of one point; beyond, writes are whole or lost but not torn, and then the point is skipped loudly.
const IMAGES_MAX: usize = 1024;

/// A disk as a crash could have left it.
pub struct Image {
    /// Operations that had been issued.
    pub ops: usize,
    /// The last value that the test had noted by then.
    pub noted: u64,
    /// The disk, with nothing recorded.
    pub disk: MemDisk,
    /// What became of the operations that weren't durable, for messages.
    pub choice: String,
}

/// What becomes of one operation that isn't durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Whole,
    Lost,
    FirstHalf,
    LastHalf,
    EverySecond,
}

impl Fate {
    /// Whether a sector of a write with `count` of them reaches the disk.
    fn keeps(self, sector: usize, count: usize) -> bool {
        match self {
            Fate::Whole => true,
            Fate::Lost => false,
            Fate::FirstHalf => sector < count.div_ceil(2),
            Fate::LastHalf => sector >= count.div_ceil(2),
            Fate::EverySecond => sector % 2 == 1,
        }
    }
}

/// The disk's durable part, and what isn't.
#[derive(Clone, Default)]
pub(super) struct Durable {
    dirs: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, FileId>,
    files: BTreeMap<FileId, Vec<u8>>,
    unsynced: Vec<Op>,
}

impl Durable {
    /// Of a disk on which everything is.
    pub(super) fn all(dirs: &BTreeSet<PathBuf>, names: &BTreeMap<PathBuf, FileId>, files: &[Vec<u8>]) -> Durable {
        let files = files.iter().cloned().enumerate().collect();
        Durable { dirs: dirs.clone(), names: names.clone(), files, unsynced: Vec::new() }
    }

    pub(super) fn take(&mut self, op: &Op) {
        match op {
            Op::CreateDir { dir } => {
                self.settle(|op| dir_of(op) == dir.parent());
                self.dirs.insert(dir.clone());
            }
            Op::Sync { file } => self.settle(|op| file_of(op) == Some(*file)),
            Op::SyncDir { dir } => self.settle(|op| dir_of(op) == Some(dir.as_path())),
            Op::Lose { file } => self.unsynced.retain(|op| file_of(op) != Some(*file)),
            Op::Note(_) => {}
            op => self.unsynced.push(op.clone()),
        }
    }

    fn settle(&mut self, covered: impl Fn(&Op) -> bool) {
        let (settled, open) = std::mem::take(&mut self.unsynced).into_iter().partition(covered);
        self.unsynced = open;
        let settled: Vec<Op> = settled;
        settled.iter().for_each(|op| self.apply(op, Fate::Whole));
    }

    fn apply(&mut self, op: &Op, fate: Fate) {
        if fate == Fate::Lost {
            return;
        }
        match op {
            Op::Create { file, path } => {
                self.names.insert(path.clone(), *file);
                self.files.entry(*file).or_default();
            }
            Op::Write { file, offset, data } => self.write(*file, *offset, data, fate),
            Op::Allocate { file, len } => {
                let bytes = self.files.entry(*file).or_default();
                bytes.resize(bytes.len().max(*len as usize), 0);
            }
            Op::Rename { file, from, to } => {
                self.names.remove(from);
                self.names.insert(to.clone(), *file);
            }
            Op::Remove { path } => {
                self.names.remove(path);
            }
            Op::RemoveDir { dir } => {
                self.names.retain(|path, _| !path.starts_with(dir));
                self.dirs.remove(dir);
            }
            Op::CreateDir { .. } | Op::Sync { .. } | Op::SyncDir { .. } | Op::Lose { .. } | Op::Note(_) => {
                unreachable!("never unsynced")
            }
        }
    }

    fn write(&mut self, file: FileId, offset: u64, data: &[u8], fate: Fate) {
        let bytes = self.files.entry(file).or_default();
        let count = data.len().div_ceil(SECTOR);
        for (number, sector) in data.chunks(SECTOR).enumerate() {
            if fate.keeps(number, count) {
                let at = offset as usize + number * SECTOR;
                bytes.resize(bytes.len().max(at + sector.len()), 0);
                bytes[at..at + sector.len()].copy_from_slice(sector);
            }
        }
    }

    /// After everything that was recorded.
    fn now(inner: &Inner) -> Durable {
        let mut durable = inner.base.clone();
        inner.history.iter().for_each(|op| durable.take(op));
        durable
    }

    /// A file that lost one change of its name and kept the next has two names from then on.
    fn disk(&self, inner: &Inner) -> MemDisk {
        let (mut names, mut files, mut numbers) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        for (path, file) in &self.names {
            let number = *numbers.entry(file).or_insert_with(|| {
                files.push(self.files.get(file).cloned().unwrap_or_default());
                files.len() - 1
            });
            names.insert(path.clone(), number);
        }
        MemDisk::switched_on(self.dirs.clone(), names, files, inner.forgetful)
    }
}

fn file_of(op: &Op) -> Option<FileId> {
    match op {
        Op::Write { file, .. } | Op::Allocate { file, .. } => Some(*file),
        _ => None,
    }
}

fn dir_of(op: &Op) -> Option<&Path> {
    match op {
        Op::Create { path, .. } | Op::Remove { path } => path.parent(),
        Op::Rename { to, .. } => to.parent(),
        Op::RemoveDir { dir } => dir.parent(),
        _ => None,
    }
}

/// The fates that an operation can have.
fn fates(op: &Op, torn: bool) -> &'static [Fate] {
    match op {
        Op::Write { data, .. } if torn && data.len() > SECTOR => {
            &[Fate::Whole, Fate::Lost, Fate::FirstHalf, Fate::LastHalf, Fate::EverySecond]
        }
        _ => &[Fate::Whole, Fate::Lost],
    }
}

/// Every choice of a fate for each operation.
fn choices(ops: &[Op]) -> Vec<Vec<Fate>> {
    let size = |torn| ops.iter().map(|op| fates(op, torn).len()).product::<usize>();
    let torn = size(true) <= IMAGES_MAX;
    assert!(size(torn) <= IMAGES_MAX, "too many operations without a sync: {}", ops.len());
    let mut all = vec![Vec::new()];
    for op in ops {
        let longer = |choice: Vec<Fate>| {
            fates(op, torn).iter().map(move |&fate| {
                let mut choice = choice.clone();
                choice.push(fate);
                choice
            })
        };
        all = all.into_iter().flat_map(longer).collect();
    }
    all
}

impl MemDisk {
    /// Shows `look` every disk that a crash at any point of the recorded run could have left. A forgetful disk has recorded
    /// nothing, and shows only what a crash now could leave.
    pub fn images(&self, mut look: impl FnMut(Image)) {
        let inner = self.inner.borrow();
        let (mut durable, mut noted) = (inner.base.clone(), 0);
        for ops in 0..=inner.history.len() {
            for choice in choices(&durable.unsynced) {
                let mut image = durable.clone();
                let unsynced = std::mem::take(&mut image.unsynced);
                unsynced.iter().zip(&choice).for_each(|(op, &fate)| image.apply(op, fate));
                look(Image { ops, noted, disk: image.disk(&inner), choice: format!("{choice:?}") });
            }
            match inner.history.get(ops) {
                Some(Op::Note(value)) => noted = *value,
                Some(op) => durable.take(op),
                None => {}
            }
        }
    }

    /// The disk after a crash now, in which everything that wasn't durable is lost.
    #[must_use]
    pub fn crash(&self) -> MemDisk {
        let inner = self.inner.borrow();
        Durable::now(&inner).disk(&inner)
    }

    /// The disk after a crash now, with a fate for each operation that wasn't durable which depends on `seed`.
    #[must_use]
    pub fn crash_by(&self, seed: u64) -> MemDisk {
        let mut random = seed;
        self.crash_with(|count| {
            // Knuth's multiplicative generator; its high bits are good enough to choose among five.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % count
        })
    }

    /// The disk after a power cut now. Each operation that wasn't durable has arrived, was lost or, if it is a write of
    /// several sectors, was torn: `choose(n)` says which, by a number below `n`. The same choices make the same disk.
    ///
    /// This disk isn't changed, and what is still open on it can't reach the new one.
    ///
    /// # Panics
    /// If `choose(n)` isn't below `n`.
    #[must_use]
    pub fn crash_with(&self, mut choose: impl FnMut(usize) -> usize) -> MemDisk {
        let inner = self.inner.borrow();
        let mut durable = Durable::now(&inner);
        for op in std::mem::take(&mut durable.unsynced) {
            let fates = fates(&op, true);
            durable.apply(&op, fates[choose(fates.len())]);
        }
        durable.disk(&inner)
    }
}
