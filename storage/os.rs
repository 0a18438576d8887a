//! The kernel's disk: every call that may wait goes through the executor's io_uring, so that nobody else waits with it.
//!
//! Two exceptions. The buffered strategy writes with a plain call: ext4 hands a buffered write from the ring to a worker
//! thread, which costs more than the copy into the page cache; it may wait for the journal now and then. The blocking
//! strategy syncs with one, too, because nobody is there who would wait: a worker and its two wake-ups cost a third of
//! a sync.
//!
//! Must run inside a glommio executor. Making, listing and removing a directory and mapping a file are plain calls: they
//! happen at start, once per snapshot, and when a member catches up.
//!
//! O_DIRECT isn't everywhere (some network and overlay file systems refuse it), and glommio panics where sysfs has no
//! queue for the device. Both are found when a file is opened, and the page cache is taken instead, with one warning.

use std::cell::{Cell, RefCell};
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use glommio::GlommioError;
use glommio::io::{BufferedFile, Directory, DmaBuffer, DmaFile, OpenOptions};

use crate::disk::{BLOCK, Disk, DiskFile, Entry, Open, Strategy};
use crate::sys::map::{ReadMap, WriteMap};

/// The kernel's disk.
#[derive(Clone, Default)]
pub struct OsDisk {
    warned: Rc<Cell<bool>>,
}

impl OsDisk {
    /// The disk of this executor.
    pub fn new() -> OsDisk {
        OsDisk::default()
    }

    async fn open_direct(&self, path: &Path, open: Open, flags: i32) -> io::Result<Option<DmaFile>> {
        if !sysfs_knows_queue(path) {
            return Ok(None);
        }
        match options(open).custom_flags(flags).dma_open(path).await.map_err(plain) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn warn_indirect(&self, path: &Path) {
        if !self.warned.replace(true) {
            tracing::warn!(path = %path.display(), "no O_DIRECT here: writing through the page cache, which is slower");
        }
    }
}

impl Disk for OsDisk {
    type File = OsFile;
    type Map = ReadMap;

    async fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = dir.ancestors().take_while(|dir| !dir.exists()).collect();
        fs::create_dir_all(dir)?;
        missing.iter().try_for_each(|made| sync_parent(made))?;
        match sync_parent(dir) {
            // It isn't ours, so whoever made `dir` there has to answer for it.
            Err(error) if missing.is_empty() && error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            synced => synced,
        }
    }

    async fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir)
    }

    async fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                entries.push(Entry { name, len: metadata.len() });
            }
        }
        entries.sort();
        Ok(entries)
    }

    async fn open(&self, path: &Path, open: Open, strategy: Strategy) -> io::Result<OsFile> {
        let flags = match strategy {
            Strategy::Direct => Some(0),
            Strategy::DirectDsync => Some(rustix::fs::OFlags::DSYNC.bits() as i32),
            Strategy::Buffered | Strategy::Blocking | Strategy::Mapped => None,
        };
        if let Some(flags) = flags {
            if let Some(file) = self.open_direct(path, open, flags).await? {
                return Ok(OsFile::Direct { file, dsync: strategy == Strategy::DirectDsync });
            }
            self.warn_indirect(path);
        }
        let file = options(open).buffered_open(path).await.map_err(plain)?;
        Ok(match strategy {
            Strategy::Mapped => OsFile::Mapped { file, path: path.to_owned(), map: RefCell::new(None) },
            _ => OsFile::Buffered {
                file,
                direct: fs::OpenOptions::new().write(true).open(path)?,
                blocks: strategy == Strategy::Blocking,
                spare: RefCell::new(None),
            },
        })
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        glommio::io::rename(from, to).await.map_err(plain)
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        glommio::io::remove(path).await.map_err(plain)
    }

    async fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = Directory::open(dir).await.map_err(plain)?;
        dir.sync().await.map_err(plain)?;
        dir.close().await.map_err(plain)
    }

    async fn rest(&self, time: Duration) {
        glommio::timer::sleep(time).await;
    }

    fn map(&self, path: &Path) -> io::Result<ReadMap> {
        ReadMap::open(path)
    }
}

/// An open file, by the strategy that it was opened with.
pub enum OsFile {
    /// Through the page cache.
    Buffered {
        /// For what waits.
        file: BufferedFile,
        /// For writes, see [`write`](DiskFile::write).
        direct: fs::File,
        /// Whether syncs are plain calls, too.
        blocks: bool,
        /// The buffer of the last write, to be used again.
        spare: RefCell<Option<Vec<u8>>>,
    },
    /// Past the page cache.
    Direct {
        /// The file.
        file: DmaFile,
        /// Whether a write is durable when it completes.
        dsync: bool,
    },
    /// By stores into memory.
    Mapped {
        /// The file.
        file: BufferedFile,
        /// Where it is, as a map is made from a descriptor of its own.
        path: PathBuf,
        /// Made with the first write, when the file has its length.
        map: RefCell<Option<WriteMap>>,
    },
}

/// Memory to write from. Direct memory comes from the part that is registered with the ring, and goes back to it.
pub enum OsBuffer {
    /// Anywhere.
    Heap(Vec<u8>),
    /// Aligned, and registered if there was room.
    Direct(DmaBuffer),
}

impl AsRef<[u8]> for OsBuffer {
    fn as_ref(&self) -> &[u8] {
        match self {
            OsBuffer::Heap(bytes) => bytes,
            OsBuffer::Direct(buffer) => buffer.as_bytes(),
        }
    }
}

impl AsMut<[u8]> for OsBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        match self {
            OsBuffer::Heap(bytes) => bytes,
            OsBuffer::Direct(buffer) => buffer.as_bytes_mut(),
        }
    }
}

impl DiskFile for OsFile {
    type Buffer = OsBuffer;

    fn buffer(&self, len: usize) -> OsBuffer {
        let len = len.next_multiple_of(BLOCK);
        match self {
            OsFile::Direct { file, .. } => OsBuffer::Direct(file.alloc_dma_buffer(len)),
            OsFile::Buffered { spare, .. } => match spare.take().filter(|bytes| bytes.len() >= len) {
                Some(bytes) => OsBuffer::Heap(bytes),
                None => OsBuffer::Heap(vec![0; len]),
            },
            OsFile::Mapped { .. } => OsBuffer::Heap(vec![0; len]),
        }
    }

    async fn write(&self, buffer: OsBuffer, len: usize, offset: u64) -> io::Result<()> {
        let written = match (self, buffer) {
            (OsFile::Direct { file, .. }, OsBuffer::Direct(mut buffer)) => {
                buffer.trim_to_size(len);
                file.write_at(buffer, offset).await.map_err(plain)?
            }
            (OsFile::Buffered { direct, spare, .. }, OsBuffer::Heap(bytes)) => {
                let written = direct.write_at(&bytes[..len], offset)?;
                spare.replace(Some(bytes));
                written
            }
            (OsFile::Mapped { path, map, .. }, OsBuffer::Heap(bytes)) => store(path, map, &bytes[..len], offset)?,
            (_, OsBuffer::Heap(_) | OsBuffer::Direct(_)) => unreachable!("a file is written from its own buffers"),
        };
        // The kernel writes less than it was given when the disk fills up in the middle.
        if written == len { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    async fn write_durable(&self, buffer: OsBuffer, len: usize, offset: u64) -> io::Result<()> {
        self.write(buffer, len, offset).await?;
        match self {
            OsFile::Direct { dsync: true, .. } => Ok(()),
            _ => self.sync().await,
        }
    }

    async fn allocate(&self, len: u64) -> io::Result<()> {
        match self {
            OsFile::Direct { file, .. } => file.pre_allocate(len, false).await.map_err(plain),
            OsFile::Buffered { file, .. } | OsFile::Mapped { file, .. } => {
                file.pre_allocate(len, false).await.map_err(plain)
            }
        }
    }

    async fn sync(&self) -> io::Result<()> {
        match self {
            OsFile::Direct { file, .. } => file.fdatasync().await.map_err(plain),
            OsFile::Buffered { direct, blocks: true, .. } => direct.sync_data(),
            OsFile::Buffered { file, .. } | OsFile::Mapped { file, .. } => file.fdatasync().await.map_err(plain),
        }
    }

    async fn close(self) -> io::Result<()> {
        match self {
            OsFile::Direct { file, .. } => file.close().await.map_err(plain),
            OsFile::Buffered { file, .. } | OsFile::Mapped { file, .. } => file.close().await.map_err(plain),
        }
    }
}

/// Makes the name of `dir` durable, also one that a process before has made and not synced.
fn sync_parent(dir: &Path) -> io::Result<()> {
    match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => fs::File::open(".")?.sync_all(),
        Some(parent) => fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Stores `bytes` into the file's map, which is made now if this is the first write.
fn store(path: &Path, map: &RefCell<Option<WriteMap>>, bytes: &[u8], offset: u64) -> io::Result<usize> {
    let mut slot = map.borrow_mut();
    if slot.is_none() {
        *slot = Some(WriteMap::open(path)?);
    }
    let map = slot.as_mut().expect("made above");
    let at = usize::try_from(offset).map_err(io::Error::other)?;
    let target = map.get_mut(at..at + bytes.len()).ok_or_else(|| io::Error::from(io::ErrorKind::WriteZero))?;
    target.copy_from_slice(bytes);
    Ok(bytes.len())
}

fn options(open: Open) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o640);
    if open == Open::Fresh {
        options.create(true).truncate(true);
    }
    options
}

/// The io error inside glommio's, with the kernel's number where there is one.
fn plain<T>(error: GlommioError<T>) -> io::Error {
    match error {
        GlommioError::IoError(source) | GlommioError::EnhancedIoError { source, .. } => source,
        other => other.into(),
    }
}

/// Whether sysfs has the request queue where glommio 0.9 looks for it: it takes minor 0 of the device's major for the
/// whole disk, and panics if that is a partition. Absent altogether is fine, then it takes defaults.
fn sysfs_knows_queue(path: &Path) -> bool {
    let Some(dir) = path.parent() else { return false };
    let Ok(stat) = rustix::fs::stat(dir) else { return true };
    let device = PathBuf::from(format!("/sys/dev/block/{}:0", rustix::fs::major(stat.st_dev)));
    !device.exists() || (device.join("queue/rotational").exists() && device.join("slaves").exists())
}

#[cfg(test)]
mod tests;
