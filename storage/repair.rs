//! Repair: cuts a damaged log where the damage begins, because the operator asked for it. Never called by the server.
//!
//! What is cut is kept beside the log as `cut.<segment>.<offset>`, whole segments included, before anything is changed. A
//! file that an earlier repair kept is never written again; a number at the end tells one from the other.
//! Later segments go first and the damaged one last, so that an interrupted repair leaves a log that still says it is
//! damaged, or one that is repaired.
//!
//! Absent: judging whether what is cut mattered. Records that were acknowledged may be lost; the caller must say so.

use std::path::{Path, PathBuf};

use crate::disk::{BLOCK, Disk, DiskFile, Open, Strategy, block_down, join, write_padded};
use crate::error::{OpenError, RepairError};
use crate::log::LogOptions;
use crate::prepare;
use crate::recover::{self, Damage, ExamError, wipe};
use crate::segment;

/// Bytes copied at a time.
const COPY_LEN: usize = 1 << 20;

/// What a repair did.
#[derive(Debug)]
pub struct Repaired {
    /// What was wrong.
    pub damage: OpenError,
    /// The log's last seq now.
    pub last_seq: u64,
    /// The files that hold what was cut.
    pub saved: Vec<PathBuf>,
}

/// Cuts the log in `options.dir` at its damage, for a state that has everything up to `from_seq`.
///
/// The caller must hold the directory's lock.
///
/// # Errors
/// There is no damage, or cutting can't help, or the kernel refused; then it may be called again.
pub async fn repair<D: Disk>(disk: &D, options: &LogOptions, from_seq: u64) -> Result<Repaired, RepairError> {
    let damage = match recover::examine(disk, options, from_seq).await {
        Ok(_) => return Err(RepairError::Sound),
        Err(ExamError::Other(error)) => return Err(RepairError::Hopeless(error)),
        Err(ExamError::Damage(damage)) => damage,
    };
    let knife = Knife { disk, options };
    let saved = knife.cut(&damage).await?;
    let last_seq = knife.finish(from_seq).await?;
    Ok(Repaired { damage: damage.error, last_seq, saved })
}

struct Knife<'a, D: Disk> {
    disk: &'a D,
    options: &'a LogOptions,
}

impl<D: Disk> Knife<'_, D> {
    async fn cut(&self, damage: &Damage) -> Result<Vec<PathBuf>, RepairError> {
        let mut saved = Vec::new();
        let names = self.indices().await?;
        for &index in
            names.iter().rev().filter(|&&index| index > damage.index || damage.keep == 0 && index == damage.index)
        {
            saved.push(self.set_aside(index).await?);
        }
        if damage.keep > 0 {
            saved.push(self.cut_within(damage.index, damage.keep).await?);
        }
        Ok(saved)
    }

    /// The log may now end with a batch that closes its segment, or there may be nothing left of it.
    async fn finish(&self, from_seq: u64) -> Result<u64, RepairError> {
        for _ in 0..2 {
            match recover::examine(self.disk, self.options, from_seq).await {
                Ok(exam) if exam.end.is_some() => return Ok(exam.recovered.last_seq),
                Ok(_) => self.begin_anew(from_seq).await?,
                Err(ExamError::Other(OpenError::NoLog { .. })) => self.begin_anew(from_seq).await?,
                Err(ExamError::Damage(Damage { index, error: OpenError::Missing { .. }, .. })) => {
                    self.add(index).await?
                }
                Err(error) => return Err(RepairError::Hopeless(error.into())),
            }
        }
        let path = self.options.dir.clone();
        let source = std::io::Error::other("the log was made but can't be read");
        Err(RepairError::Io { doing: "repair", path, source })
    }

    /// Renames a whole segment away.
    async fn set_aside(&self, index: u64) -> Result<PathBuf, RepairError> {
        let path = self.path(index);
        let saved = self.saved_path(index, 0).await?;
        self.disk.rename(&path, &saved).await.map_err(io("rename", &path))?;
        self.sync_dir().await?;
        Ok(saved)
    }

    /// Saves what stands behind `keep` in a segment, then wipes it.
    async fn cut_within(&self, index: u64, keep: u64) -> Result<PathBuf, RepairError> {
        let (path, saved) = (self.path(index), self.saved_path(index, keep).await?);
        let map = self.disk.map(&path).map_err(io("map", &path))?;
        let copy = self.disk.open(&saved, Open::Fresh, Strategy::Buffered).await.map_err(io("make", &saved))?;
        for (number, piece) in map[keep as usize..].chunks(COPY_LEN).enumerate() {
            write_padded(&copy, piece, (number * COPY_LEN) as u64).await.map_err(io("write", &saved))?;
        }
        copy.sync().await.map_err(io("sync", &saved))?;
        self.sync_dir().await?;
        let (tail, len) = (map[block_down(keep) as usize..keep as usize].to_vec(), map.len() as u64);
        drop(map);
        let file = self.disk.open(&path, Open::Existing, self.options.strategy).await.map_err(io("open", &path))?;
        wipe(&file, &tail, keep, block_down(len)).await.map_err(io("wipe", &path))?;
        file.sync().await.map_err(io("sync", &path))?;
        Ok(saved)
    }

    /// A new first segment, above every index that was ever used: what was set aside can't be taken for it.
    async fn begin_anew(&self, from_seq: u64) -> Result<(), RepairError> {
        let names = self.disk.list(&self.options.dir).await.map_err(io("list", &self.options.dir))?;
        let highest = names.iter().filter_map(|entry| saved_index(&entry.name)).max().unwrap_or(0);
        recover::create(self.disk, self.options, highest + 1, from_seq).await.map_err(RepairError::Hopeless)
    }

    /// The empty segment that a closed one announces.
    async fn add(&self, index: u64) -> Result<(), RepairError> {
        let path = self.path(index);
        let fail = |(doing, source)| RepairError::Io { doing, path: path.clone(), source };
        prepare::make(self.disk, self.options, index, &[], async |_| true).await.map_err(fail)?;
        Ok(())
    }

    async fn indices(&self) -> Result<Vec<u64>, RepairError> {
        let entries = self.disk.list(&self.options.dir).await.map_err(io("list", &self.options.dir))?;
        let mut indices: Vec<u64> = entries.iter().filter_map(|entry| segment::index_of(&entry.name)).collect();
        indices.sort_unstable();
        Ok(indices)
    }

    async fn sync_dir(&self) -> Result<(), RepairError> {
        self.disk.sync_dir(&self.options.dir).await.map_err(io("sync the directory", &self.options.dir))
    }

    fn path(&self, index: u64) -> PathBuf {
        join(&self.options.dir, &segment::name(index))
    }

    /// A name that nothing has: an interrupted repair may have wiped what only its own copy holds now.
    async fn saved_path(&self, index: u64, offset: u64) -> Result<PathBuf, RepairError> {
        let names = self.disk.list(&self.options.dir).await.map_err(io("list", &self.options.dir))?;
        let first = format!("cut.{index:016x}.{offset:08x}");
        let others = (2..).map(|number| format!("{first}.{number}"));
        let mut all = std::iter::once(first.clone()).chain(others);
        let free = all.find(|name| names.iter().all(|entry| entry.name != *name));
        Ok(join(&self.options.dir, &free.expect("one of endlessly many names is free")))
    }
}

/// The segment that a saved file comes from.
fn saved_index(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("cut.")?.split('.').next()?;
    u64::from_str_radix(digits, 16).ok()
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> RepairError {
    move |source| RepairError::Io { doing, path: path.to_owned(), source }
}

const _: () = assert!(COPY_LEN.is_multiple_of(BLOCK), "pieces but the last are whole blocks");

#[cfg(test)]
mod tests;
