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
use net::jute::{Record as _, Writer};
use storage::{OsDisk, SnapshotError, SnapshotWriter};
use tree::snapshot::{SnapshotHead, SnapshotItem};
use tree::tree::Tree;

use super::clock;
use super::codec::snapshot as body;

/// Nodes encoded before other tasks get their turn: some 50 us.
const SLICE_NODES: usize = 128;

/// A snapshot goes past the page cache, and every sync of the log waits for what is in the disk's own cache: so it is
/// written at 25 MB/s at most, however fast the disk is.
const REST_BYTES: usize = 256 * 1024;
const REST: Duration = Duration::from_millis(10);

/// Bytes of the metadata behind the body: zxid, digest, number of nodes.
const METADATA_LEN: usize = 24;

/// Encodes the items of a snapshot as ZooKeeper's snapshot body: counts, sessions, ACL table, nodes, end.
struct BodyEncoder {
    out: Vec<u8>,
    /// The table's count stands before its entries and is known behind them, so they wait here for the first node.
    acl_table: Option<(i32, Vec<u8>)>,
}

impl BodyEncoder {
    fn new(head: &SnapshotHead) -> BodyEncoder {
        let mut out = Vec::new();
        Writer::new(&mut out).count(Some(head.sessions));
        BodyEncoder { out, acl_table: Some((0, Vec::new())) }
    }

    fn item(&mut self, item: SnapshotItem<'_>) {
        match item {
            SnapshotItem::Session { id, timeout_ms } => {
                let mut writer = Writer::new(&mut self.out);
                writer.i64(id.to_i64());
                timeout_ms.encode(&mut writer);
            }
            SnapshotItem::Acl { key, list } => {
                let (count, entries) = self.acl_table.as_mut().expect("ACL lists come before the first node");
                *count += 1;
                let mut writer = Writer::new(entries);
                writer.i64(key);
                super::codec::reply::encode_acl(list, &mut writer);
            }
            SnapshotItem::Node { path, data, acl_key, stat } => {
                self.end_acl_table();
                let path = if path == tree::path::ROOT { "" } else { path };
                body::encode_node(path, data.as_ref().map(|data| data.as_slice()), acl_key, &stat, &mut self.out);
            }
        }
    }

    fn end_acl_table(&mut self) {
        if let Some((count, entries)) = self.acl_table.take() {
            let mut writer = Writer::new(&mut self.out);
            writer.i32(count);
            writer.raw(&entries);
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
    let mut encoder = BodyEncoder::new(head);
    let mut unrested = 0;
    loop {
        let progress = tree.borrow_mut().snapshot_step(SLICE_NODES, |item| encoder.item(item));
        if progress.done {
            break;
        }
        writer.write(&encoder.out).await?;
        unrested += encoder.out.len();
        encoder.out.clear();
        if unrested >= REST_BYTES {
            unrested = 0;
            sleep(REST).await;
        } else {
            clock::let_others_go().await;
        }
    }
    encoder.end_acl_table();
    body::encode_end(&mut encoder.out);
    writer.write(&encoder.out).await?;
    let mut metadata = [0; METADATA_LEN];
    metadata[..8].copy_from_slice(&head.zxid.to_u64().to_be_bytes());
    metadata[8..16].copy_from_slice(&head.digest.to_be_bytes());
    metadata[16..].copy_from_slice(&(head.nodes as u64).to_be_bytes());
    writer.finish(&metadata).await
}

/// Digest and number of nodes, as the metadata has them.
pub fn parse_metadata(metadata: &[u8]) -> Option<(u64, usize)> {
    let digest = u64::from_be_bytes(metadata.get(8..16)?.try_into().ok()?);
    let nodes = u64::from_be_bytes(metadata.get(16..24)?.try_into().ok()?);
    Some((digest, usize::try_from(nodes).unwrap_or(0)))
}
