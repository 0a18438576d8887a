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
use storage::{OsDisk, SnapshotError, SnapshotReader, SnapshotWriter};
use tree::loader::TreeLoader;
use tree::snapshot::{SnapshotHead, SnapshotItem};
use tree::tree::{Tree, TreeOptions};

use super::clock;
use super::codec::snapshot::{self as body, Decoder, Item};

/// Nodes encoded before other tasks get their turn: some 50 us.
const SLICE_NODES: usize = 128;

/// A snapshot goes past the page cache, and every sync of the log waits for what is in the disk's own cache: so it is
/// written at 25 MB/s at most, however fast the disk is.
const REST_BYTES: usize = 256 * 1024;
const REST: Duration = Duration::from_millis(10);

/// Bytes of the metadata behind the body: zxid, digest, number of nodes.
const METADATA_LEN: usize = 24;

/// Progress of a load is logged for each so many bytes.
pub const PROGRESS_BYTES: u64 = 256 << 20;

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

/// Builds the tree that a snapshot holds, and checks it against the digest that was noted when it was begun.
///
/// # Errors
/// The file is damaged, or its body is no tree.
pub fn load<M: std::ops::Deref<Target = [u8]>>(
    reader: &mut SnapshotReader<M>,
    seed: u64,
    options: TreeOptions,
    mut progress: impl FnMut(u64, u64),
) -> Result<Tree, storage::LoadError> {
    let (digest, nodes) = parse_metadata(reader.metadata()).unwrap_or((None, 0));
    let zxid = ids::Zxid::from_u64(reader.seq());
    let total = reader.payload_len();
    let mut loader = TreeLoader::new(seed, options, nodes);
    let mut decoder = Decoder::new();
    while let Some(chunk) = reader.next_chunk()? {
        decoder.push(chunk);
        take_items(&mut decoder, &mut loader).map_err(storage::LoadError::Refused)?;
        progress(reader.payload_read(), total);
    }
    if !decoder.is_done() {
        return Err(storage::LoadError::Refused("the body ends before its end mark".into()));
    }
    let tree = loader.finish(zxid);
    match digest {
        Some(noted) if options.digest && noted != tree.digest() => {
            let wrong = format!("the tree's digest is {:#x}, noted was {noted:#x}", tree.digest());
            Err(storage::LoadError::Refused(wrong.into()))
        }
        _ => Ok(tree),
    }
}

fn take_items(decoder: &mut Decoder, loader: &mut TreeLoader) -> Result<(), storage::error::VisitError> {
    while let Some(item) = decoder.next_item()? {
        match item {
            Item::Session { id, timeout_ms } => loader.session(id, timeout_ms),
            Item::Acl { key, list } => loader.acl(key, &list),
            Item::Node { path, data, acl_key, stat } => {
                let large = data.filter(|data| data.len() >= tree::txn::LARGE_DATA_BYTES);
                let shared = large.map(bytes::Bytes::copy_from_slice);
                loader.node(&path, data, shared.as_ref(), acl_key, stat)?;
            }
            Item::End => {}
        }
    }
    Ok(())
}

fn parse_metadata(metadata: &[u8]) -> Option<(Option<u64>, usize)> {
    let digest = u64::from_be_bytes(metadata.get(8..16)?.try_into().ok()?);
    let nodes = u64::from_be_bytes(metadata.get(16..24)?.try_into().ok()?);
    Some((Some(digest), usize::try_from(nodes).unwrap_or(0)))
}
