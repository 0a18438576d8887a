//! Generations: a whole state with its log in a directory of its own, so that another one can take its place at once.
//!
//! ```text
//! <base>/...               generation 0: the base itself
//! <base>/history-<n>/...   generation n
//! ```
//! Flow       a leader sends a whole state: prepare_generation(n + 1) -> snapshot and an empty log in it, both durable ->
//!            `Register::save` of n + 1 -> remove_generation(n)
//! Invariant  the register names a generation that is whole; only that one is ever read.
//! Absent     looking for generations: their numbers rise by one, so what a crash can leave is the one before the register's
//!            and the one behind it. Both are removed at start, before anything else.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, join};
use crate::error::GenerationError;
use crate::{segment, snapshot};

/// Where generation `number` is, below `base`.
pub fn generation_dir(base: &Path, number: u64) -> PathBuf {
    match number {
        0 => base.to_owned(),
        number => join(base, &format!("history-{number}")),
    }
}

/// Makes `dir` empty of what an earlier try left there, durably, for a generation that is to be written into it.
///
/// # Errors
/// The kernel refused; may be called again.
pub async fn prepare_generation<D: Disk>(disk: &D, dir: &Path) -> Result<(), GenerationError> {
    remove_generation(disk, dir).await?;
    disk.create_dir(dir).await.map_err(GenerationError::at("make the directory", dir))
}

/// Removes the segments and snapshots in `dir`, and `dir` itself if nothing else is in it: the lock, a register and what a
/// repair has kept stay. Fine if there is none. It may come back in part after a crash; then this is to be called again.
///
/// # Errors
/// The kernel refused; may be called again.
pub async fn remove_generation<D: Disk>(disk: &D, dir: &Path) -> Result<(), GenerationError> {
    let entries = match disk.list(dir).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(GenerationError::at("list", dir))?,
    };
    for entry in entries.iter().filter(|entry| is_state(&entry.name)) {
        let path = join(dir, &entry.name);
        disk.remove(&path).await.map_err(GenerationError::at("remove", &path))?;
    }
    // When the numbers have gone on nobody looks here any more.
    disk.sync_dir(dir).await.map_err(GenerationError::at("sync the directory", dir))?;
    match disk.remove_dir(dir).await {
        Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::ResourceBusy) => Ok(()),
        removed => removed.map_err(GenerationError::at("remove the directory", dir)),
    }
}

/// Whether a file of this name belongs to a log or to its snapshots.
fn is_state(name: &str) -> bool {
    let is_log = segment::index_of(name).or(segment::new_number_of(name)).or(segment::spare_number_of(name));
    is_log.is_some() || snapshot::seq_of(name).is_some() || snapshot::is_left_over(name)
}

#[cfg(test)]
mod tests;
