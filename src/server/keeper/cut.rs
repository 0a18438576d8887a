//! Cutting the log, and the state with it: what a leader has told a deposed one's followers to forget.
//!
//! Flow       everything appended is durable -> is the cut possible? the tree that will be left is loaded -> snapshots that
//!            go further are removed, durably -> the log is cut.
//! Invariant  nothing is changed before it is certain what will be left. A snapshot that goes further is gone before the
//!            log is cut: it holds what is cut off, and would bring it back (ZOOKEEPER-1549).

use std::path::PathBuf;
use std::{fmt, io};

use ids::Zxid;
use storage::{Disk, LoadError, Log, ReadError, SnapshotError, SnapshotReader, TruncateError};
use tree::tree::Tree;

use super::{Keeper, KeeperError, REST};
use crate::server::recovery::load;
use crate::server::recovery::replay::{CatchUpError, catch_up};

/// A log that was cut.
#[derive(Debug)]
pub struct Cut {
    /// What it ends with.
    pub kept: Zxid,
    /// The tree at that place, if it was asked for.
    pub tree: Option<Box<Tree>>,
}

/// Why nothing was cut. The state is what it was.
#[derive(Debug)]
pub(super) enum CutError {
    /// Another state is staged, and has the log's place.
    Staged,
    /// The log has no such record, or does not reach back to one.
    NoPlace {
        /// The last one up to there.
        floor: u64,
    },
    /// No snapshot is left, and the log does not reach back to the beginning.
    NoBase,
    /// What would be left ends elsewhere.
    Elsewhere {
        /// Where.
        at: Zxid,
    },
    Read(ReadError),
    CatchUp(CatchUpError),
    Io {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    Log(TruncateError),
}

impl fmt::Display for CutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CutError::Staged => f.write_str("another state is staged"),
            CutError::NoPlace { floor } => write!(f, "the log has no such record, the one before is {floor:#x}"),
            CutError::NoBase => f.write_str("there is no snapshot before it from which the log goes on"),
            CutError::Elsewhere { at } => write!(f, "what would be left ends at {at}"),
            CutError::Read(error) => error.fmt(f),
            CutError::CatchUp(error) => error.fmt(f),
            CutError::Io { doing, path, source } => write!(f, "cannot {doing} {}: {source}", path.display()),
            CutError::Log(error) => {
                let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
                write!(f, "{error}{cause}")
            }
        }
    }
}

impl From<ReadError> for CutError {
    fn from(error: ReadError) -> CutError {
        CutError::Read(error)
    }
}

impl<D: Disk> Keeper<D>
where
    D::Map: Send,
{
    /// Cuts the log behind `last`, with every snapshot that goes further, and loads the tree at that place if `reload`. `None`
    /// if it cannot be cut exactly there: then the state is what it was.
    ///
    /// No snapshot may be written meanwhile, and none purged.
    ///
    /// # Errors
    /// What of the log is durable is unknown: the process must end.
    pub async fn truncate(&self, last: Zxid, reload: bool) -> Result<Option<Cut>, KeeperError> {
        let pass = self.log.syncing.enter().await;
        self.log.sync_within(&pass).await?;
        let _purging = self.log.purging.enter().await;
        match self.cut(last, reload).await {
            Ok(tree) => Ok(Some(Cut { kept: last, tree: tree.map(Box::new) })),
            Err(CutError::Log(TruncateError::Sync(error))) => Err(error.into()),
            Err(error) => {
                tracing::warn!(%last, "the log cannot be cut there: {error}");
                Ok(None)
            }
        }
    }

    async fn cut(&self, last: Zxid, reload: bool) -> Result<Option<Tree>, CutError> {
        if self.staged.borrow().is_some() {
            return Err(CutError::Staged);
        }
        let log = self.log.log();
        let floor = log.locate(last.to_u64())?.at_or_below;
        if floor != last.to_u64() {
            return Err(CutError::NoPlace { floor });
        }
        let snapshots = self.snapshots().await.map_err(|source| self.io("list", source))?;
        let tree = self.rehearse(&log, last, &snapshots, reload).await?;
        // Whoever wanted to purge relied on a snapshot that may go now.
        self.log.forget_purges();
        self.readers.clear();
        self.remove_above(last, &snapshots).await?;
        let truncated = log.truncate_after(last.to_u64()).await.map_err(CutError::Log)?;
        assert_eq!(truncated.last_seq, last.to_u64(), "the log was found to have a record there");
        Ok(tree)
    }

    /// What will be left, if anything is: the tree, or just the certainty that there is one.
    async fn rehearse(
        &self,
        log: &Log<D>,
        last: Zxid,
        snapshots: &[(u64, u64)],
        reload: bool,
    ) -> Result<Option<Tree>, CutError> {
        let kept = snapshots.iter().map(|(seq, _)| *seq).filter(|seq| *seq <= last.to_u64());
        let mut base = (kept.clone().next().is_none() && log.oldest() == 0)
            .then(|| reload.then(|| Tree::new(self.recipe.seed, self.recipe.tree)));
        for seq in kept.take_while(|seq| *seq >= log.oldest()) {
            match self.snapshot(seq, reload) {
                Ok(tree) => {
                    base = Some(tree);
                    break;
                }
                Err(error) => tracing::error!("{error}; going back to the snapshot before it"),
            }
        }
        let Some(mut tree) = base.ok_or(CutError::NoBase)? else { return Ok(None) };
        let rest = async || self.disk.rest(REST).await;
        catch_up(log, &mut tree, last, rest).await.map_err(CutError::CatchUp)?;
        match tree.last_zxid() {
            at if at == last => Ok(Some(tree)),
            at => Err(CutError::Elsewhere { at }),
        }
    }

    /// Loads a snapshot, or finds that it can be.
    fn snapshot(&self, seq: u64, reload: bool) -> Result<Option<Tree>, SnapshotError> {
        let path = self.places.borrow().snapshots().join(storage::snapshot::name(seq));
        let mut reader = SnapshotReader::open(&self.disk, &path)?;
        let mut tree = None;
        if reload {
            let loaded = load::load(&mut reader, self.recipe.seed, self.recipe.tree, self.recipe.threads, |_, _| ());
            tree = Some(loaded.map_err(|error| match error {
                LoadError::Read(error) => error,
                LoadError::Refused(source) => SnapshotError::Refused { path, source },
            })?);
        }
        while reader.next_chunk()?.is_some() {}
        Ok(tree)
    }

    async fn remove_above(&self, last: Zxid, snapshots: &[(u64, u64)]) -> Result<(), CutError> {
        let dir = self.places.borrow().snapshots();
        let mut is_changed = false;
        for (seq, _) in snapshots.iter().filter(|(seq, _)| *seq > last.to_u64()) {
            let removed = self.disk.remove(&dir.join(storage::snapshot::name(*seq))).await;
            removed.map_err(|source| self.io("remove a snapshot in", source))?;
            is_changed = true;
        }
        if is_changed {
            self.disk.sync_dir(&dir).await.map_err(|source| self.io("sync", source))?;
        }
        Ok(())
    }

    fn io(&self, doing: &'static str, source: io::Error) -> CutError {
        CutError::Io { doing, path: self.places.borrow().snapshots(), source }
    }
}
