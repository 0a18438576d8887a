//! Snapshots while serving: the tree at one zxid, encoded slice by slice between requests, and what is kept of the past.
//!
//! Flow       enough transactions -> `write` (begin, slices, finish) -> purge -> wait.
//! Invariant  a snapshot that fails costs nothing but itself: the log keeps what it would have covered, and the next
//!            one is tried when there is reason to think it will work.
//! Absent     the walk and its copy-on-write (`tree::snapshot`), the file (`storage::snapshot`).

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ids::Zxid;
use storage::{Disk, SnapshotError, SnapshotWriter};
use tree::snapshot::{SnapshotHead, SnapshotItem};
use tree::tree::Tree;

use super::codec::snapshot::Encoder;
use super::notify::Notify;

/// Nodes encoded before other tasks get their turn: some 50 us.
const SLICE_NODES: usize = 128;

/// A snapshot goes past the page cache, and every sync of the log waits for what is in the disk's own cache: so it is
/// written at 25 MB/s at most, however fast the disk is.
const REST_BYTES: usize = 256 * 1024;
const REST: Duration = Duration::from_millis(10);

/// Between two slices: every other task and the ring have their turn.
const BREATH: Duration = Duration::from_micros(1);

/// Bytes of the metadata behind the body: zxid, digest, number of nodes.
pub const METADATA_LEN: usize = 24;

/// Whether snapshots may be written and purged, and whether that is happening. Whoever is about to replace the tree, or what
/// is on disk below it, closes the gate and waits until nobody is at work.
#[derive(Default)]
pub struct SnapshotGate {
    is_closed: Cell<bool>,
    is_busy: Cell<bool>,
    /// How far the log on disk goes, at a member: it applies what a quorum has, which its own log may not have yet.
    durable: Cell<Option<Zxid>>,
    rose: Notify,
    opened: Notify,
    /// Rung when nobody is at work any more.
    pub ended: Notify,
}

/// Being at work on snapshots.
pub struct AtWork<'g>(&'g SnapshotGate);

impl SnapshotGate {
    /// Whether a snapshot is being written, or old ones are purged.
    pub fn is_writing(&self) -> bool {
        self.is_busy.get()
    }

    /// A snapshot that is being written is dropped, soon, and none is begun or purged before [`allow`](SnapshotGate::allow).
    pub fn abandon(&self) {
        self.is_closed.set(true);
        self.rose.ring();
    }

    /// The own log on disk goes so far.
    pub fn set_durable(&self, upto: Zxid) {
        self.durable.set(Some(upto));
        self.rose.ring();
    }

    /// The end of [`abandon`](SnapshotGate::abandon).
    pub fn allow(&self) {
        self.is_closed.set(false);
        self.opened.ring();
    }

    /// Waits until it is allowed, and is at work until what is returned is dropped. For one task.
    pub async fn begin(&self) -> AtWork<'_> {
        while self.is_closed.get() {
            self.opened.wait().await;
        }
        assert!(!self.is_busy.replace(true), "one task works on snapshots");
        AtWork(self)
    }
}

impl AtWork<'_> {
    /// Waits until the log on disk has everything up to `zxid`: a snapshot that went further would look, after a crash,
    /// as if the log had lost its end. False when it was abandoned meanwhile.
    async fn wait_for_log(&self, zxid: Zxid) -> bool {
        while self.0.durable.get().is_some_and(|durable| durable < zxid) && !self.is_abandoned() {
            self.0.rose.wait().await;
        }
        !self.is_abandoned()
    }

    /// Whether to stop.
    pub fn is_abandoned(&self) -> bool {
        self.0.is_closed.get()
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.is_busy.set(false);
        self.0.ended.ring();
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

/// Writes a snapshot of what `tree` holds now. Others are served meanwhile. Returns its head, or `None` if it was abandoned.
///
/// # Errors
/// There is no snapshot. The tree is as if none had been begun.
pub async fn write<D: Disk>(
    disk: D,
    tree: &Rc<RefCell<Tree>>,
    dir: &Path,
    work: &AtWork<'_>,
) -> Result<Option<SnapshotHead>, SnapshotError> {
    let head = tree.borrow_mut().begin_snapshot();
    let written = write_body(disk, tree, dir, &head, work).await;
    if !matches!(written, Ok(true)) {
        tree.borrow_mut().cancel_snapshot();
    }
    written.map(|is_written| is_written.then_some(head))
}

async fn write_body<D: Disk>(
    disk: D,
    tree: &Rc<RefCell<Tree>>,
    dir: &Path,
    head: &SnapshotHead,
    work: &AtWork<'_>,
) -> Result<bool, SnapshotError> {
    let mut writer = SnapshotWriter::create(disk.clone(), dir, head.zxid.to_u64()).await?;
    let mut encoder = Encoder::new(head.sessions);
    let mut unrested = 0;
    loop {
        if work.is_abandoned() {
            writer.abandon().await;
            return Ok(false);
        }
        let progress = tree.borrow_mut().snapshot_step(SLICE_NODES, |item| encode(item, &mut encoder));
        if progress.done {
            break;
        }
        writer.write(encoder.bytes()).await?;
        unrested += encoder.bytes().len();
        encoder.clear();
        if unrested >= REST_BYTES {
            unrested = 0;
            disk.rest(REST).await;
        } else {
            disk.rest(BREATH).await;
        }
    }
    encoder.end();
    writer.write(encoder.bytes()).await?;
    if !work.wait_for_log(head.zxid).await {
        writer.abandon().await;
        return Ok(false);
    }
    writer.finish(&metadata(head)).await?;
    Ok(true)
}

/// What stands behind the body.
pub fn metadata(head: &SnapshotHead) -> [u8; METADATA_LEN] {
    let mut metadata = [0; METADATA_LEN];
    metadata[..8].copy_from_slice(&head.zxid.to_u64().to_be_bytes());
    metadata[8..16].copy_from_slice(&head.digest.to_be_bytes());
    metadata[16..].copy_from_slice(&(head.nodes as u64).to_be_bytes());
    metadata
}

/// Digest and number of nodes, as the metadata has them.
pub fn parse_metadata(metadata: &[u8]) -> Option<(u64, usize)> {
    let digest = u64::from_be_bytes(metadata.get(8..16)?.try_into().ok()?);
    let nodes = u64::from_be_bytes(metadata.get(16..24)?.try_into().ok()?);
    Some((digest, usize::try_from(nodes).unwrap_or(0)))
}
