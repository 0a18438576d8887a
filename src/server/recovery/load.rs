//! Loading a snapshot: one side reads, checks and decodes it, ahead where there are two threads; the other makes a tree of
//! its items.

use ids::SessionId;
use storage::{LoadError, SnapshotReader};
use tree::acl::AclList;
use tree::foresight::{Foreseen, Foresight};
use tree::loader::TreeLoader;
use tree::stat::StatPersisted;
use tree::tree::{Tree, TreeOptions};

use super::ahead::{BATCH_BYTES, BATCH_ITEMS, Threads, ahead};
use crate::server::codec::snapshot::{Decoder, Item};
use crate::server::snapshots::parse_metadata;

/// Decoded items in their order, with paths and data one behind the other.
#[derive(Default)]
struct Batch {
    items: Vec<BatchItem>,
    paths: String,
    data: Vec<u8>,
}

enum BatchItem {
    Session { id: SessionId, timeout_ms: i32 },
    Acl { key: i64, list: AclList },
    Node(BatchNode),
}

struct BatchNode {
    path_len: usize,
    data_len: Option<usize>,
    acl_key: i64,
    stat: StatPersisted,
    foreseen: Foreseen,
}

/// Builds the tree that a snapshot holds, and checks it against the digest that was noted when it was begun.
///
/// # Errors
/// The file is damaged, or its body is no tree.
pub fn load<M: std::ops::Deref<Target = [u8]> + Send>(
    reader: &mut SnapshotReader<M>,
    seed: u64,
    options: TreeOptions,
    threads: Threads,
    progress: impl FnMut(u64, u64) + Send,
) -> Result<Tree, LoadError> {
    let noted = parse_metadata(reader.metadata());
    let zxid = ids::Zxid::from_u64(reader.seq());
    let mut loader = TreeLoader::new(seed, options, noted.map_or(0, |(_, nodes)| nodes));
    let foresight = loader.foresight();
    let mut loaded = Ok(());
    ahead(
        threads,
        |pass| decode(reader, foresight, progress, pass),
        |batch: &mut Batch| loaded = std::mem::replace(&mut loaded, Ok(())).and_then(|()| batch.load(&mut loader)),
    )
    .map_err(|error| LoadError::Refused(error.into()))??;
    loaded.map_err(|error| LoadError::Refused(error.into()))?;
    let tree = loader.finish(zxid);
    match noted {
        Some((digest, _)) if options.digest && digest != tree.digest() => {
            let wrong = format!("the tree's digest is {:#x}, noted was {digest:#x}", tree.digest());
            Err(LoadError::Refused(wrong.into()))
        }
        _ => Ok(tree),
    }
}

/// Passes all items of the body on.
fn decode<M: std::ops::Deref<Target = [u8]>>(
    reader: &mut SnapshotReader<M>,
    foresight: Foresight,
    mut progress: impl FnMut(u64, u64),
    pass: &mut dyn FnMut(&mut Batch),
) -> Result<(), LoadError> {
    let total = reader.payload_len();
    let (mut decoder, mut batch) = (Decoder::new(), Batch::default());
    while let Some(chunk) = reader.next_chunk()? {
        decoder.push(chunk);
        while let Some(item) = decoder.next_item().map_err(|error| LoadError::Refused(error.into()))? {
            batch.push(item, foresight);
            if batch.items.len() >= BATCH_ITEMS || batch.data.len() >= BATCH_BYTES {
                pass(&mut batch);
                batch.clear();
            }
        }
        progress(reader.payload_read(), total);
    }
    pass(&mut batch);
    if decoder.is_done() { Ok(()) } else { Err(LoadError::Refused("the body ends before its end mark".into())) }
}

impl Batch {
    fn clear(&mut self) {
        self.items.clear();
        self.paths.clear();
        self.data.clear();
    }

    fn push(&mut self, item: Item<'_>, foresight: Foresight) {
        self.items.push(match item {
            Item::Session { id, timeout_ms } => BatchItem::Session { id, timeout_ms },
            Item::Acl { key, list } => BatchItem::Acl { key, list },
            Item::Node { path, data, acl_key, stat } => {
                self.paths.push_str(&path);
                self.data.extend_from_slice(data.unwrap_or_default());
                let foreseen = foresight.node(&path, data, &stat);
                let (path_len, data_len) = (path.len(), data.map(<[u8]>::len));
                BatchItem::Node(BatchNode { path_len, data_len, acl_key, stat, foreseen })
            }
            Item::End => return,
        });
    }

    fn load(&self, loader: &mut TreeLoader) -> Result<(), tree::loader::LoadError> {
        loader.warm_up(self.items.iter().filter_map(|item| match item {
            BatchItem::Node(node) => Some(node.foreseen),
            BatchItem::Session { .. } | BatchItem::Acl { .. } => None,
        }));
        let (mut paths, mut data) = (self.paths.as_str(), self.data.as_slice());
        for item in &self.items {
            match item {
                BatchItem::Session { id, timeout_ms } => loader.session(*id, *timeout_ms),
                BatchItem::Acl { key, list } => loader.acl(*key, list),
                BatchItem::Node(node) => {
                    let (path, more_paths) = paths.split_at(node.path_len);
                    let (bytes, more_data) = data.split_at(node.data_len.unwrap_or(0));
                    (paths, data) = (more_paths, more_data);
                    let bytes = node.data_len.map(|_| bytes);
                    loader.foreseen_node(path, bytes, node.acl_key, node.stat, node.foreseen)?;
                }
            }
        }
        Ok(())
    }
}
