//! The seam between this crate and a disk: the few operations that the log and the snapshots need, and what each promises.
//!
//! Implemented by [`OsDisk`](crate::os::OsDisk) (io_uring) and [`MemDisk`](crate::mem::MemDisk) (memory, with faults).
//!
//! Promises
//! - `write_durable` and `sync` cover the file's bytes, never its name; `sync_dir` covers names, never bytes.
//! - What isn't synced may survive a crash whole, in part, not at all, and in any order.
//! - A failed `write_durable` or `sync` leaves the file's unsynced bytes in an unknown state for ever.
//!
//! Absent: locking (see `lock.rs`), reads other than maps, and any policy.

use std::future::Future;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Unit of every write, in bytes: the page size, and at least the block size of every disk worth serving from.
///
/// The logical block size may be 512, but such disks mostly emulate it; a write of less than a physical block would
/// make the disk read before it writes.
pub const BLOCK: usize = 4096;

/// Zeros that are written at once, in bytes: what a sync that comes meanwhile has to wait for.
const ZEROS_LEN: u64 = 64 * 1024;

/// How a batch reaches the disk. All are correct everywhere; `benches/log_append` says which is fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Strategy {
    /// Write through the page cache, then fdatasync.
    #[default]
    Buffered,
    /// The same as plain system calls: nothing else runs on this executor until the disk has answered. For one that has
    /// nothing else to do.
    Blocking,
    /// O_DIRECT write, then fdatasync (a flush of the disk's cache, as no page is dirty).
    Direct,
    /// One O_DIRECT write to a file that was opened with O_DSYNC.
    DirectDsync,
    /// Store into a shared map of the segment, then fdatasync.
    Mapped,
}

impl Strategy {
    /// Every strategy, in the order of the docs.
    pub const ALL: [Strategy; 5] =
        [Strategy::Buffered, Strategy::Blocking, Strategy::Direct, Strategy::DirectDsync, Strategy::Mapped];

    /// The name used in settings and figures.
    pub fn name(self) -> &'static str {
        match self {
            Strategy::Buffered => "buffered",
            Strategy::Blocking => "blocking",
            Strategy::Direct => "direct",
            Strategy::DirectDsync => "direct-dsync",
            Strategy::Mapped => "mapped",
        }
    }

    /// The strategy called `name`, if there is one.
    pub fn from_name(name: &str) -> Option<Strategy> {
        Strategy::ALL.into_iter().find(|strategy| strategy.name() == name)
    }
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// It must exist.
    Existing,
    /// It is made, and made empty if it exists.
    Fresh,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The last part of the path. A name that isn't UTF-8 is none of ours and isn't listed.
    pub name: String,
    /// Length of the file, in bytes.
    pub len: u64,
}

/// A place for files. Cheap to clone: clones are the same disk.
pub trait Disk: Clone + 'static {
    /// An open file.
    type File: DiskFile;
    /// The bytes of a whole file, for reading.
    type Map: Deref<Target = [u8]>;

    /// Makes `dir` and its missing parents, durably; fine if it exists.
    fn create_dir(&self, dir: &Path) -> impl Future<Output = io::Result<()>>;
    /// Removes an empty directory. Durable after [`sync_dir`](Disk::sync_dir) of its parent.
    fn remove_dir(&self, dir: &Path) -> impl Future<Output = io::Result<()>>;
    /// The files in `dir`, without directories, sorted by name.
    fn list(&self, dir: &Path) -> impl Future<Output = io::Result<Vec<Entry>>>;
    /// Opens a file for writing by `strategy`. Where the file system can't do it the nearest that works is taken.
    fn open(&self, path: &Path, open: Open, strategy: Strategy) -> impl Future<Output = io::Result<Self::File>>;
    /// Gives the file another name, replacing what had it. Durable after [`sync_dir`](Disk::sync_dir).
    fn rename(&self, from: &Path, to: &Path) -> impl Future<Output = io::Result<()>>;
    /// Removes a name. Durable after [`sync_dir`](Disk::sync_dir).
    fn remove(&self, path: &Path) -> impl Future<Output = io::Result<()>>;
    /// Makes the names in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> impl Future<Output = io::Result<()>>;
    /// Lets others have the disk for a while.
    fn rest(&self, time: Duration) -> impl Future<Output = ()>;
    /// Maps a whole file for reading. The file must not be cut while the map lives.
    fn map(&self, path: &Path) -> io::Result<Self::Map>;
}

/// A file that is open for writing.
pub trait DiskFile: 'static {
    /// Memory that this file can be written from without a copy.
    type Buffer: AsRef<[u8]> + AsMut<[u8]>;

    /// A buffer of at least `len` bytes, a multiple of [`BLOCK`]. Its content is arbitrary.
    fn buffer(&self, len: usize) -> Self::Buffer;
    /// Writes the first `len` bytes of `buffer` at `offset` (both multiples of [`BLOCK`]), without making them durable.
    fn write(&self, buffer: Self::Buffer, len: usize, offset: u64) -> impl Future<Output = io::Result<()>>;
    /// As [`write`](DiskFile::write); when it returns, these and all earlier bytes of this file are durable.
    fn write_durable(&self, buffer: Self::Buffer, len: usize, offset: u64) -> impl Future<Output = io::Result<()>>;
    /// Reserves room for the first `len` bytes and makes the file at least that long. New bytes read as zero.
    fn allocate(&self, len: u64) -> impl Future<Output = io::Result<()>>;
    /// Makes all bytes of this file durable.
    fn sync(&self) -> impl Future<Output = io::Result<()>>;
    /// Gives the file back. Dropping it does so too, later.
    fn close(self) -> impl Future<Output = io::Result<()>>;
}

/// `len` up to the next multiple of [`BLOCK`].
pub const fn block_up(len: u64) -> u64 {
    len.next_multiple_of(BLOCK as u64)
}

/// `len` down to a multiple of [`BLOCK`].
pub const fn block_down(len: u64) -> u64 {
    len - len % BLOCK as u64
}

/// Writes `bytes` at `offset` in whole blocks, padded with zeros, through a buffer of the file's own.
///
/// # Errors
/// What the disk says.
pub async fn write_padded<F: DiskFile>(file: &F, bytes: &[u8], offset: u64) -> io::Result<()> {
    let len = block_up(bytes.len() as u64) as usize;
    if len == 0 {
        return Ok(());
    }
    let mut buffer = file.buffer(len);
    buffer.as_mut()[..bytes.len()].copy_from_slice(bytes);
    buffer.as_mut()[bytes.len()..len].fill(0);
    file.write(buffer, len, offset).await
}

/// Fills `from..to` (multiples of [`BLOCK`]) with zeros, a slice at a time so that nobody waits long behind one.
///
/// # Errors
/// What the disk says.
pub async fn write_zeros<F: DiskFile>(file: &F, from: u64, to: u64) -> io::Result<()> {
    write_zeros_while(file, from, to, async |_| true).await
}

/// As [`write_zeros`], as long as `goes_on` says so, which is asked behind each slice, with the offset reached, and may
/// rest.
///
/// # Errors
/// What the disk says.
pub async fn write_zeros_while<F: DiskFile>(
    file: &F,
    from: u64,
    to: u64,
    goes_on: impl AsyncFn(u64) -> bool,
) -> io::Result<()> {
    let mut at = from;
    while at < to {
        let len = ZEROS_LEN.min(to - at) as usize;
        let mut buffer = file.buffer(len);
        buffer.as_mut()[..len].fill(0);
        file.write(buffer, len, at).await?;
        at += len as u64;
        if !goes_on(at).await {
            break;
        }
    }
    Ok(())
}

/// `dir` and `name` as one path.
pub(crate) fn join(dir: &Path, name: &str) -> PathBuf {
    dir.join(name)
}
