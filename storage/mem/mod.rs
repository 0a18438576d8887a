//! A disk in memory that does what disks do at their worst: it tears, loses and refuses. Runs on any executor.
//!
//! Every operation is recorded. [`MemDisk::images`] replays a recorded run up to each operation and gives every disk that a
//! crash there could have left (`image.rs`). Faults are planned with [`MemDisk::fail`], a full disk with
//! [`MemDisk::set_free`], damage with [`MemDisk::corrupt`], a slow disk with [`MemDisk::hold_syncs`].
//!
//! Nothing here needs an executor: every future is ready when it is first polled, but for syncs that are held back
//! (`drive.rs` runs them). A power cut with a caller's own luck is [`MemDisk::crash_with`].
//!
//! A sync that fails loses what it should have made durable, and the next sync succeeds without it: that is what Linux
//! does, and why a failed sync must never be tried again.

mod drive;
mod image;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::disk::{BLOCK, Disk, DiskFile, Entry, Open, Strategy};

pub use drive::{block_on, poll_once};
use image::Durable;
pub use image::{Image, SECTOR};

/// Number of a file, which keeps it whatever its name.
type FileId = usize;

/// A recorded operation.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Create {
        file: FileId,
        path: PathBuf,
    },
    Write {
        file: FileId,
        offset: u64,
        data: Rc<[u8]>,
    },
    Allocate {
        file: FileId,
        len: u64,
    },
    Sync {
        file: FileId,
    },
    /// What of this file was not durable never will be.
    Lose {
        file: FileId,
    },
    Rename {
        file: FileId,
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    /// Durable at once, as the seam has it.
    CreateDir {
        dir: PathBuf,
    },
    RemoveDir {
        dir: PathBuf,
    },
    SyncDir {
        dir: PathBuf,
    },
    /// The test's own word: this much was acknowledged.
    Note(u64),
}

/// What a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Making a directory.
    CreateDir,
    /// Removing one.
    RemoveDir,
    /// Listing one.
    List,
    /// Opening or making a file.
    Open,
    /// A write, also the one of a durable write.
    Write,
    /// Reserving room.
    Allocate,
    /// A sync of a file, also the one of a durable write.
    Sync,
    /// Another name.
    Rename,
    /// Removing a name.
    Remove,
    /// A sync of a directory.
    SyncDir,
    /// Mapping a file.
    Map,
}

/// A planned fault.
#[derive(Clone, Copy, Debug)]
struct Fault {
    call: Call,
    skip: usize,
    error: io::ErrorKind,
    times: usize,
}

/// The disk. Clones are the same disk.
#[derive(Clone, Default)]
pub struct MemDisk {
    inner: Rc<RefCell<Inner>>,
}

#[derive(Default)]
struct Inner {
    dirs: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, FileId>,
    files: Vec<Vec<u8>>,
    /// What was durable when this disk was switched on, by the same numbers; `history` comes on top.
    base: Durable,
    history: Vec<Op>,
    /// Whether `base` follows what becomes durable, and `history` stays empty.
    forgetful: bool,
    faults: Vec<Fault>,
    /// Bytes that may still be allocated, or `None` for no limit.
    free: Option<u64>,
    /// Syncs that still return, or `None` if all do.
    held: Option<usize>,
    waiting: Vec<Waker>,
}

impl MemDisk {
    /// An empty disk.
    pub fn new() -> MemDisk {
        MemDisk::default()
    }

    /// An empty disk that doesn't record its run, so that it can be used for long: for a simulation. It can crash at any
    /// time, but has no [`images`](MemDisk::images). A disk that a crash left is of the same kind as the one before.
    pub fn forgetful() -> MemDisk {
        let disk = MemDisk::new();
        disk.inner.borrow_mut().forgetful = true;
        disk
    }

    /// After `skip` more calls of this kind, the next `times` fail with `error`.
    pub fn fail(&self, call: Call, skip: usize, times: usize, error: io::ErrorKind) {
        self.inner.borrow_mut().faults.push(Fault { call, skip, error, times });
    }

    /// Forgets planned faults.
    pub fn heal(&self) {
        self.inner.borrow_mut().faults.clear();
    }

    /// Bytes that may still be allocated; `None` for no limit. Removing files gives back.
    pub fn set_free(&self, free: Option<u64>) {
        self.inner.borrow_mut().free = free;
    }

    /// Syncs of files don't return until [`release_syncs`](MemDisk::release_syncs).
    pub fn hold_syncs(&self) {
        self.hold_syncs_after(0);
    }

    /// The same, after the next `count` of them.
    pub fn hold_syncs_after(&self, count: usize) {
        self.inner.borrow_mut().held = Some(count);
    }

    /// The end of [`hold_syncs`](MemDisk::hold_syncs).
    pub fn release_syncs(&self) {
        let inner = &mut *self.inner.borrow_mut();
        inner.held = None;
        inner.waiting.drain(..).for_each(Waker::wake);
    }

    /// Changes the bytes of a file behind everybody's back.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn corrupt(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let inner = &mut *self.inner.borrow_mut();
        let file = inner.names[path];
        change(&mut inner.files[file]);
    }

    /// The bytes of a file, or `None` if there is none of that name.
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let inner = self.inner.borrow();
        inner.names.get(path).map(|&file| inner.files[file].clone())
    }

    /// Every file's path, sorted.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.inner.borrow().names.keys().cloned().collect()
    }

    /// Swaps the contents of two names.
    ///
    /// # Panics
    /// If one doesn't exist.
    pub fn swap(&self, one: &Path, other: &Path) {
        let inner = &mut *self.inner.borrow_mut();
        let (first, second) = (inner.names[one], inner.names[other]);
        inner.names.insert(one.to_owned(), second);
        inner.names.insert(other.to_owned(), first);
    }

    /// Removes a name behind everybody's back.
    ///
    /// # Panics
    /// If it doesn't exist.
    pub fn vanish(&self, path: &Path) {
        self.inner.borrow_mut().names.remove(path).expect("a file to remove");
    }

    /// Number of operations recorded so far.
    pub fn recorded(&self) -> usize {
        self.inner.borrow().history.len()
    }

    /// Records that the test has seen `value` acknowledged.
    pub fn note(&self, value: u64) {
        self.record(Op::Note(value));
    }

    /// An independent disk with the same files, all of them durable: a machine that was stopped cleanly.
    #[must_use]
    pub fn copy(&self) -> MemDisk {
        let inner = self.inner.borrow();
        let (dirs, names) = (inner.dirs.clone(), inner.names.clone());
        MemDisk::switched_on(dirs, names, inner.files.clone(), inner.forgetful)
    }

    fn switched_on(
        dirs: BTreeSet<PathBuf>,
        names: BTreeMap<PathBuf, FileId>,
        files: Vec<Vec<u8>>,
        forgetful: bool,
    ) -> MemDisk {
        let base = Durable::all(&dirs, &names, &files);
        let inner = Inner { dirs, names, files, base, forgetful, ..Inner::default() };
        MemDisk { inner: Rc::new(RefCell::new(inner)) }
    }

    fn begin(&self, call: Call) -> io::Result<()> {
        let inner = &mut *self.inner.borrow_mut();
        for (at, fault) in inner.faults.iter_mut().enumerate().filter(|(_, fault)| fault.call == call) {
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            let error = fault.error;
            fault.times -= 1;
            if fault.times == 0 {
                inner.faults.remove(at);
            }
            return Err(error.into());
        }
        Ok(())
    }

    fn record(&self, op: Op) {
        self.inner.borrow_mut().record(op);
    }

    /// Makes a file longer, if there is room.
    fn grow(&self, file: FileId, len: u64) -> io::Result<()> {
        let inner = &mut *self.inner.borrow_mut();
        let more = len.saturating_sub(inner.files[file].len() as u64);
        if let Some(free) = &mut inner.free {
            *free = free.checked_sub(more).ok_or(io::ErrorKind::StorageFull)?;
        }
        let len = usize::try_from(len).expect("a test's file fits into memory");
        if more > 0 {
            inner.files[file].resize(len, 0);
        }
        Ok(())
    }

    async fn wait_if_held(&self) {
        poll_fn(|context| {
            let inner = &mut *self.inner.borrow_mut();
            match &mut inner.held {
                Some(0) => {
                    inner.waiting.push(context.waker().clone());
                    return Poll::Pending;
                }
                Some(left) => *left -= 1,
                None => {}
            }
            Poll::Ready(())
        })
        .await;
    }
}

impl Inner {
    fn record(&mut self, op: Op) {
        match self.forgetful {
            true => self.base.take(&op),
            false => self.history.push(op),
        }
    }

    fn is_used(&self, dir: &Path) -> bool {
        self.names.keys().chain(&self.dirs).any(|path| path != dir && path.starts_with(dir))
    }
}

impl Disk for MemDisk {
    type File = MemFile;
    type Map = Vec<u8>;

    async fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.begin(Call::CreateDir)?;
        let inner = &mut *self.inner.borrow_mut();
        for dir in dir.ancestors() {
            if inner.dirs.insert(dir.to_owned()) {
                inner.record(Op::CreateDir { dir: dir.to_owned() });
            }
        }
        Ok(())
    }

    async fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.begin(Call::RemoveDir)?;
        let inner = &mut *self.inner.borrow_mut();
        if !inner.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if inner.is_used(dir) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        inner.dirs.remove(dir);
        inner.record(Op::RemoveDir { dir: dir.to_owned() });
        Ok(())
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.begin(Call::List)?;
        let inner = self.inner.borrow();
        if !inner.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = inner.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        Ok(inside
            .map(|(path, &file)| {
                let name = path.file_name().expect("files have names").to_string_lossy().into_owned();
                Entry { name, len: inner.files[file].len() as u64 }
            })
            .collect())
    }

    async fn open(&self, path: &Path, open: Open, _strategy: Strategy) -> io::Result<MemFile> {
        self.begin(Call::Open)?;
        let known = self.inner.borrow().names.get(path).copied();
        let file = match (open, known) {
            (Open::Existing, known) => known.ok_or(io::ErrorKind::NotFound)?,
            (Open::Fresh, _) => {
                let inner = &mut *self.inner.borrow_mut();
                if path.parent().is_none_or(|dir| !inner.dirs.contains(dir)) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                if inner.free == Some(0) {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                inner.files.push(Vec::new());
                let file = inner.files.len() - 1;
                inner.names.insert(path.to_owned(), file);
                inner.record(Op::Create { file, path: path.to_owned() });
                file
            }
        };
        Ok(MemFile { disk: self.clone(), file })
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.begin(Call::Rename)?;
        let inner = &mut *self.inner.borrow_mut();
        let file = inner.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        inner.names.insert(to.to_owned(), file);
        inner.record(Op::Rename { file, from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        self.begin(Call::Remove)?;
        let inner = &mut *self.inner.borrow_mut();
        let file = inner.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        let len = inner.files[file].len() as u64;
        inner.free = inner.free.map(|free| free + len);
        inner.record(Op::Remove { path: path.to_owned() });
        Ok(())
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.begin(Call::SyncDir)?;
        self.record(Op::SyncDir { dir: dir.to_owned() });
        Ok(())
    }

    /// Nobody else is there.
    async fn rest(&self, _time: Duration) {}

    fn map(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.begin(Call::Map)?;
        self.bytes(path).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// A file of a [`MemDisk`].
pub struct MemFile {
    disk: MemDisk,
    file: FileId,
}

impl DiskFile for MemFile {
    type Buffer = Vec<u8>;

    fn buffer(&self, len: usize) -> Vec<u8> {
        // Not zero: what isn't filled must not be written.
        vec![0xA5; len.next_multiple_of(BLOCK)]
    }

    async fn write(&self, buffer: Vec<u8>, len: usize, offset: u64) -> io::Result<()> {
        assert!(len.is_multiple_of(BLOCK) && offset.is_multiple_of(BLOCK as u64), "writes are whole blocks");
        self.disk.begin(Call::Write)?;
        self.disk.grow(self.file, offset + len as u64)?;
        let inner = &mut *self.disk.inner.borrow_mut();
        let at = usize::try_from(offset).expect("it has grown to hold it");
        inner.files[self.file][at..at + len].copy_from_slice(&buffer[..len]);
        inner.record(Op::Write { file: self.file, offset, data: Rc::from(&buffer[..len]) });
        Ok(())
    }

    async fn write_durable(&self, buffer: Vec<u8>, len: usize, offset: u64) -> io::Result<()> {
        self.write(buffer, len, offset).await?;
        self.sync().await
    }

    async fn allocate(&self, len: u64) -> io::Result<()> {
        self.disk.begin(Call::Allocate)?;
        self.disk.grow(self.file, len)?;
        self.disk.record(Op::Allocate { file: self.file, len });
        Ok(())
    }

    async fn sync(&self) -> io::Result<()> {
        self.disk.wait_if_held().await;
        if let Err(error) = self.disk.begin(Call::Sync) {
            self.disk.record(Op::Lose { file: self.file });
            return Err(error);
        }
        self.disk.record(Op::Sync { file: self.file });
        Ok(())
    }

    async fn close(self) -> io::Result<()> {
        Ok(())
    }
}
