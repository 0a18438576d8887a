//! Snapshots while serving: the tree at one zxid, encoded slice by slice between requests, and what is kept of the past.
//!
//! Flow       enough transactions -> `write` (begin, slices, finish) -> purge -> wait.
//! Invariant  a snapshot that fails costs nothing but itself: the log keeps what it would have covered, and the next
//!            one is tried when there is reason to think it will work.
//! Absent     the walk and its copy-on-write (`tree::snapshot`), the file (`storage::snapshot`).

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use glommio::timer::sleep;
use ids::Zxid;
use storage::{OsDisk, SnapshotError, SnapshotWriter};
use tree::snapshot::{SnapshotHead, SnapshotItem};
use tree::tree::Tree;

use super::clock;
use super::codec::snapshot::Encoder;

/// Nodes encoded before other tasks get their turn: some 50 us.
const SLICE_NODES: usize = 128;

/// A snapshot goes past the page cache, and every sync of the log waits for what is in the disk's own cache: so it is
/// written at 25 MB/s at most, however fast the disk is.
const REST_BYTES: usize = 256 * 1024;
const REST: Duration = Duration::from_millis(10);

/// Bytes of the metadata behind the body: zxid, digest, number of nodes.
const METADATA_LEN: usize = 24;

/// Keeps a snapshot of a state that is about to be replaced from being completed.
#[derive(Debug, Default)]
pub struct SnapshotGate {
    is_writing: std::cell::Cell<bool>,
    is_abandoned: std::cell::Cell<bool>,
}

impl SnapshotGate {
    /// Whether one is being written.
    pub fn is_writing(&self) -> bool {
        self.is_writing.get()
    }

    /// The one that is being written is not wanted any more.
    pub fn abandon(&self) {
        self.is_abandoned.set(self.is_writing.get());
    }
}

/// Encodes an item of a snapshot.
pub fn encode(item: SnapshotItem<'_>, encoder: &mut Encoder) {
    match item {
        SnapshotItem::Session { id, timeout_ms } => encoder.session(id, timeout_ms),
        SnapshotItem::Acl { key, list } => encoder.acl(key, list),
        SnapshotItem::Node { path, data, acl_key, stat } => {
            let path = if path == tree::path::ROOT { "" } else { path };
            encoder.node(path, data.as_ref().map(|data| data.as_slice()), acl_key, &stat);
        }
    }
}

/// Writes a snapshot of what `tree` holds now. Others are served meanwhile. Returns its head.
///
/// # Errors
/// There is no snapshot. The tree is as if none had been begun.
pub async fn write(tree: &Rc<RefCell<Tree>>, dir: &Path) -> Result<SnapshotHead, SnapshotError> {
    let head = tree.borrow_mut().begin_snapshot();
    let written = write_body(tree, dir, &head).await;
    if written.is_err() {
        tree.borrow_mut().cancel_snapshot();
    }
    written.map(|()| head)
}

async fn write_body(tree: &Rc<RefCell<Tree>>, dir: &Path, head: &SnapshotHead) -> Result<(), SnapshotError> {
    let mut writer = SnapshotWriter::create(OsDisk::new(), dir, head.zxid.to_u64()).await?;
    let mut encoder = Encoder::new(head.sessions);
    let mut unrested = 0;
    loop {
        let progress = tree.borrow_mut().snapshot_step(SLICE_NODES, |item| encode(item, &mut encoder));
        if progress.done {
            break;
        }
        writer.write(encoder.bytes()).await?;
        unrested += encoder.bytes().len();
        encoder.clear();
        if unrested >= REST_BYTES {
            unrested = 0;
            sleep(REST).await;
        } else {
            clock::let_others_go().await;
        }
    }
    encoder.end();
    writer.write(encoder.bytes()).await?;
    writer.finish(&metadata(head.zxid, head.digest, head.nodes)).await
}

/// What a snapshot's metadata says.
pub fn metadata(zxid: Zxid, digest: u64, nodes: usize) -> [u8; METADATA_LEN] {
    let mut metadata = [0; METADATA_LEN];
    metadata[..8].copy_from_slice(&zxid.to_u64().to_be_bytes());
    metadata[8..16].copy_from_slice(&digest.to_be_bytes());
    metadata[16..].copy_from_slice(&(nodes as u64).to_be_bytes());
    metadata
}

/// Digest and number of nodes, as the metadata has them.
pub fn parse_metadata(metadata: &[u8]) -> Option<(u64, usize)> {
    let digest = u64::from_be_bytes(metadata.get(8..16)?.try_into().ok()?);
    let nodes = u64::from_be_bytes(metadata.get(16..24)?.try_into().ok()?);
    Some((digest, usize::try_from(nodes).unwrap_or(0)))
}
