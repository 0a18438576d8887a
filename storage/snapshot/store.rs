//! A directory of snapshots: which one to start from, which ones to keep.
//!
//! What happens at start, newest first:
//! ```text
//! the file                                  then
//! <name>.tmp                                removed: an interrupted write
//! can't be read, or can't be understood     noted, the one before is tried; the log must reach back to it
//! can be read                               the state to start from
//! none there                                no state: the log is read from its beginning
//! none can be read                          an error: starting empty would lose everything in silence
//! ```

use std::path::{Path, PathBuf};

use super::{SnapshotReader, is_left_over, name, seq_of};
use crate::disk::{Disk, join};
use crate::error::{PurgeError, SnapshotError, VisitError};

/// The snapshots in one directory.
#[derive(Debug)]
pub struct Snapshots<D: Disk> {
    disk: D,
    dir: PathBuf,
    /// Oldest first.
    seqs: Vec<u64>,
}

/// The newest state that could be read.
#[derive(Debug)]
pub struct Loaded<T> {
    /// Its seq.
    pub seq: u64,
    /// What the caller made of it.
    pub state: T,
    /// The newer ones that couldn't be read, newest first: to be told to the operator.
    pub unreadable: Vec<SnapshotError>,
}

impl<D: Disk> Snapshots<D> {
    /// Looks into `dir`, which is made if it isn't there, and removes what interrupted writes left.
    ///
    /// # Errors
    /// The kernel refused.
    pub async fn open(disk: D, dir: &Path) -> Result<Snapshots<D>, SnapshotError> {
        disk.create_dir(dir).await.map_err(SnapshotError::io("make the directory", dir))?;
        let mut seqs = Vec::new();
        for entry in disk.list(dir).await.map_err(SnapshotError::io("list", dir))? {
            if is_left_over(&entry.name) {
                let path = join(dir, &entry.name);
                disk.remove(&path).await.map_err(SnapshotError::io("remove", &path))?;
            }
            seqs.extend(seq_of(&entry.name));
        }
        seqs.sort_unstable();
        Ok(Snapshots { disk, dir: dir.to_owned(), seqs })
    }

    /// Their seqs, oldest first.
    pub fn seqs(&self) -> &[u64] {
        &self.seqs
    }

    /// Where the snapshot at `seq` is.
    pub fn path(&self, seq: u64) -> PathBuf {
        join(&self.dir, &name(seq))
    }

    /// Loads the newest snapshot that can be read: `load` is tried with each, newest first, and must read to the end.
    /// `None` if there is no snapshot at all.
    ///
    /// # Errors
    /// There are some, and none can be read.
    pub fn load<T>(
        &self,
        mut load: impl FnMut(&mut SnapshotReader<D::Map>) -> Result<T, LoadError>,
    ) -> Result<Option<Loaded<T>>, SnapshotError> {
        let mut unreadable = Vec::new();
        for &seq in self.seqs.iter().rev() {
            match self.load_one(seq, &mut load) {
                Ok(state) => return Ok(Some(Loaded { seq, state, unreadable })),
                Err(error) => unreadable.push(error),
            }
        }
        match unreadable.is_empty() {
            true => Ok(None),
            false => Err(SnapshotError::NoneReadable { dir: self.dir.clone(), causes: unreadable }),
        }
    }

    fn load_one<T>(
        &self,
        seq: u64,
        load: &mut impl FnMut(&mut SnapshotReader<D::Map>) -> Result<T, LoadError>,
    ) -> Result<T, SnapshotError> {
        let path = self.path(seq);
        let mut reader = SnapshotReader::open(&self.disk, &path)?;
        if reader.seq() != seq {
            let reason = "its header has another seq than its name: files were swapped or renamed";
            return Err(SnapshotError::Damaged { path, offset: 16, reason });
        }
        let state = load(&mut reader).map_err(|error| match error {
            LoadError::Read(error) => error,
            LoadError::Refused(source) => SnapshotError::Refused { path: path.clone(), source },
        })?;
        // What the caller didn't need must hold too, or the state may be half of one.
        while reader.next_chunk()?.is_some() {}
        Ok(state)
    }

    /// Counts a snapshot that was finished after this was opened.
    pub fn add(&mut self, seq: u64) {
        if let Err(place) = self.seqs.binary_search(&seq) {
            self.seqs.insert(place, seq);
        }
    }

    /// Removes all above `seq`, newest first and durably, and returns the seq of the newest that is kept. To be called before
    /// a log is truncated: a state that begins with one of them has what is cut off.
    ///
    /// # Errors
    /// Some may be gone; call again, and don't truncate.
    pub async fn truncate_after(&mut self, seq: u64) -> Result<Option<u64>, PurgeError> {
        while let Some(&newest) = self.seqs.last().filter(|&&newest| newest > seq) {
            let path = self.path(newest);
            let removed = self.disk.remove(&path).await;
            removed.map_err(|source| PurgeError { doing: "remove", path, source })?;
            self.seqs.pop();
        }
        self.sync_dir().await?;
        Ok(self.seqs.last().copied())
    }

    /// Removes all but the `keep` newest (at least one stays), oldest first, and returns the seq of the oldest that is
    /// kept: what the log holds below it isn't needed any more.
    ///
    /// # Errors
    /// Some may be gone, none that is to be kept.
    pub async fn purge(&mut self, keep: usize) -> Result<Option<u64>, PurgeError> {
        while self.seqs.len() > keep.max(1) {
            let path = self.path(self.seqs[0]);
            let removed = self.disk.remove(&path).await;
            removed.map_err(|source| PurgeError { doing: "remove", path, source })?;
            self.seqs.remove(0);
        }
        self.sync_dir().await?;
        Ok(self.seqs.first().copied())
    }

    async fn sync_dir(&self) -> Result<(), PurgeError> {
        let synced = self.disk.sync_dir(&self.dir).await;
        synced.map_err(|source| PurgeError { doing: "sync the directory", path: self.dir.clone(), source })
    }
}

/// Why a caller could not load a snapshot.
#[derive(Debug)]
pub enum LoadError {
    /// The reader said so.
    Read(SnapshotError),
    /// The bytes hold, but mean nothing to the caller.
    Refused(VisitError),
}

impl From<SnapshotError> for LoadError {
    fn from(error: SnapshotError) -> LoadError {
        LoadError::Read(error)
    }
}
