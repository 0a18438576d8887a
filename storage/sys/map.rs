//! Files as memory.
#![expect(unsafe_code, reason = "a mapped file is memory that others could change or cut")]

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::{Deref, DerefMut};
use std::path::Path;

use memmap2::{Advice, Mmap, MmapMut};

/// A whole file, for reading.
pub struct ReadMap(Mmap);

impl ReadMap {
    /// Maps the file, which the kernel is told will be read from front to back.
    pub fn open(path: &Path) -> io::Result<ReadMap> {
        let file = File::open(path)?;
        // SAFETY:
        // - no SIGBUS: the directory lock is ours, and this crate never makes a file shorter while it is mapped;
        // - no data race: recovery and the snapshot reader map before anything is appended; a log's cursor looks at what
        //   is durable only, which is never written again with other bytes while it is mapped (purged segments are pinned);
        //   and the bytes are parsed by code that bounds-checks every length, so even a foreign writer could only make a
        //   checksum fail.
        let map = unsafe { Mmap::map(&file)? };
        if !map.is_empty() {
            map.advise(Advice::Sequential)?;
        }
        Ok(ReadMap(map))
    }
}

impl Deref for ReadMap {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// A whole file, for writing: what is stored here reaches the file.
pub struct WriteMap(MmapMut);

impl WriteMap {
    /// Maps the file, whose blocks must be allocated.
    pub fn open(path: &Path) -> io::Result<WriteMap> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        // SAFETY:
        // - no SIGBUS: the file was allocated to its full length before it was mapped and is never made shorter;
        // - no aliasing: the segment's only writer is the log, which holds this map alone; readers bounds-check and checksum.
        Ok(WriteMap(unsafe { MmapMut::map_mut(&file)? }))
    }
}

impl Deref for WriteMap {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for WriteMap {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}
