//! The body of a snapshot, the same bytes in a file and in a stream to another server.
//!
//! ```text
//! count i32, count x (session i64, timeout i32 ms)
//! count i32, count x (key i64, vector of ACL entries)
//! any number of (path ustring, data buffer, ACL key i64, StatPersisted 60 bytes), parents before their children
//! path "/"        the end; the root's own path is ""
//! ```
//!
//! Flow       `Encoder`, in that order;  chunks of any size -> `Decoder::push` -> `Decoder::next_item` until `End`.
//! Invariant  the decoder holds at most what has been pushed and not yet decoded. What comes out does not depend on how
//!            the bytes were cut.
//! Absent     what is around the body in a file (magic, checksums, digest), and whether the items make a tree: the loader's
//!            part. In a stream ZooKeeper's signature follows, which is not the body's.

use std::borrow::Cow;
use std::fmt;

use ids::SessionId;
use net::error::DecodeError;
use net::jute::{Reader, Writer};
use tree::acl::AclList;
use tree::stat::StatPersisted;

use super::reply::encode_acl;
use super::txn::decode_acl;

/// Stands for [`AclList::open`] without an entry in the table: the built-in nodes, and ZooKeeper's null list.
pub const ACL_KEY_OPEN: i64 = -1;

/// What stands behind the body in a stream, as a ustring.
const SIGNATURE: &[u8] = b"\0\0\0\x0aBenWasHere";

/// Path of the item that ends the body.
const END_PATH: &str = "/";

/// An item that is still cut after this much is damage, not a znode: ZooKeeper's readers stop at twice jute.maxbuffer,
/// 2 MiB unless set higher.
const ITEM_LEN_MAX: usize = 128 << 20;

/// Builds a body: sessions, then ACL lists, then nodes, then the end. What is encoded may be taken away at any time.
#[derive(Debug)]
pub struct Encoder {
    out: Vec<u8>,
    /// The table's count stands before its entries and is known behind them, so they wait here for the first node.
    acl_table: Option<(i32, Vec<u8>)>,
}

impl Encoder {
    /// For a body with so many sessions.
    pub fn new(sessions: usize) -> Encoder {
        let mut out = Vec::new();
        Writer::new(&mut out).count(Some(sessions));
        Encoder { out, acl_table: Some((0, Vec::new())) }
    }

    /// Appends a session.
    pub fn session(&mut self, id: SessionId, timeout_ms: i32) {
        let mut writer = Writer::new(&mut self.out);
        writer.i64(id.to_i64());
        writer.i32(timeout_ms);
    }

    /// Appends an entry of the ACL table.
    ///
    /// # Panics
    /// Behind a node.
    pub fn acl(&mut self, key: i64, list: &AclList) {
        let (count, entries) = self.acl_table.as_mut().expect("ACL lists come before the first node");
        *count += 1;
        let mut writer = Writer::new(entries);
        writer.i64(key);
        encode_acl(list, &mut writer);
    }

    /// Appends a node. The root's path is "".
    ///
    /// # Panics
    /// When the path is "/", which marks the end.
    pub fn node(&mut self, path: &str, data: Option<&[u8]>, acl_key: i64, stat: &StatPersisted) {
        assert_ne!(path, END_PATH, "the root goes by the empty path");
        self.end_acl_table();
        let mut writer = Writer::new(&mut self.out);
        writer.string(Some(path));
        writer.buffer(data);
        writer.i64(acl_key);
        encode_stat(stat, &mut writer);
    }

    /// Appends the mark that no more nodes follow.
    pub fn end(&mut self) {
        self.end_acl_table();
        Writer::new(&mut self.out).string(Some(END_PATH));
    }

    /// Appends what follows the end in a stream.
    pub fn sign(&mut self) {
        self.out.extend_from_slice(SIGNATURE);
    }

    /// What is encoded and was not taken away.
    pub fn bytes(&self) -> &[u8] {
        &self.out
    }

    /// Takes it away.
    pub fn clear(&mut self) {
        self.out.clear();
    }

    fn end_acl_table(&mut self) {
        if let Some((count, entries)) = self.acl_table.take() {
            let mut writer = Writer::new(&mut self.out);
            writer.i32(count);
            writer.raw(&entries);
        }
    }
}

fn encode_stat(stat: &StatPersisted, writer: &mut Writer<'_>) {
    [stat.czxid, stat.mzxid, stat.ctime, stat.mtime].into_iter().for_each(|value| writer.i64(value));
    [stat.version, stat.cversion, stat.aversion].into_iter().for_each(|value| writer.i32(value));
    [stat.ephemeral_owner, stat.pzxid].into_iter().for_each(|value| writer.i64(value));
}

fn decode_stat(reader: &mut Reader<'_>) -> Result<StatPersisted, DecodeError> {
    Ok(StatPersisted {
        czxid: reader.i64()?,
        mzxid: reader.i64()?,
        ctime: reader.i64()?,
        mtime: reader.i64()?,
        version: reader.i32()?,
        cversion: reader.i32()?,
        aversion: reader.i32()?,
        ephemeral_owner: reader.i64()?,
        pzxid: reader.i64()?,
    })
}

/// One part of a body.
#[derive(Clone, Debug, PartialEq)]
pub enum Item<'a> {
    /// A session that is alive.
    Session {
        /// Its id.
        id: SessionId,
        /// Its negotiated timeout.
        timeout_ms: i32,
    },
    /// An entry of the ACL table.
    Acl {
        /// The number that nodes refer to.
        key: i64,
        /// The list.
        list: AclList,
    },
    /// A znode.
    Node {
        /// Its path, "" for the root.
        path: Cow<'a, str>,
        /// Null and empty are different.
        data: Option<&'a [u8]>,
        /// A key of the table, or [`ACL_KEY_OPEN`].
        acl_key: i64,
        /// As kept in the tree.
        stat: StatPersisted,
    },
    /// The body is complete.
    End,
}

/// Why a body cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The bytes from this place on are no item.
    Damaged {
        /// Where the item starts, counted from the start of the body.
        offset_bytes: u64,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// An item claims to be larger than any can be.
    TooLarge {
        /// Where it starts.
        offset_bytes: u64,
    },
    /// A stream goes on behind its body with something else than the signature.
    Unsigned,
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SnapshotError::Damaged { offset_bytes, .. } => write!(f, "no snapshot item at byte {offset_bytes}"),
            SnapshotError::TooLarge { offset_bytes } => {
                write!(f, "the snapshot item at byte {offset_bytes} claims more than {ITEM_LEN_MAX} bytes")
            }
            SnapshotError::Unsigned => write!(f, "the snapshot's stream does not end with BenWasHere"),
        }
    }
}

impl std::error::Error for SnapshotError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SnapshotError::Damaged { source, .. } => Some(source),
            SnapshotError::TooLarge { .. } | SnapshotError::Unsigned => None,
        }
    }
}

/// Looks for the signature at the start of what follows a stream's body. Returns its length, and `None` while it is cut:
/// behind it come packets again.
///
/// # Errors
/// `Unsigned`, as soon as a byte differs.
pub fn check_signature(bytes: &[u8]) -> Result<Option<usize>, SnapshotError> {
    let seen = &bytes[..bytes.len().min(SIGNATURE.len())];
    if !SIGNATURE.starts_with(seen) {
        return Err(SnapshotError::Unsigned);
    }
    Ok((seen.len() == SIGNATURE.len()).then_some(SIGNATURE.len()))
}

/// What is expected next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    SessionCount,
    Sessions { left: usize },
    AclCount,
    Acls { left: usize },
    Nodes,
    Done,
}

/// Decodes a body from chunks.
#[derive(Debug)]
pub struct Decoder {
    section: Section,
    /// Pushed bytes; the first `head` are decoded.
    buffer: Vec<u8>,
    head: usize,
    /// The next item cannot be complete before the buffer is this long.
    wanted_len: usize,
    /// Place in the body of the buffer's first byte.
    offset_bytes: u64,
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder::new()
    }
}

impl Decoder {
    /// At the start of a body.
    pub fn new() -> Decoder {
        Decoder { section: Section::SessionCount, buffer: Vec::new(), head: 0, wanted_len: 0, offset_bytes: 0 }
    }

    /// Adds the next bytes. Decode what is complete before the next push, or they pile up.
    pub fn push(&mut self, chunk: &[u8]) {
        self.buffer.drain(..self.head);
        self.offset_bytes += self.head as u64;
        self.wanted_len = self.wanted_len.saturating_sub(self.head);
        self.head = 0;
        self.buffer.extend_from_slice(chunk);
    }

    /// The next item, or `None` until more bytes have been pushed. After `End` always `None`.
    ///
    /// # Errors
    /// When the bytes are no body. It stays that way.
    pub fn next_item(&mut self) -> Result<Option<Item<'_>>, SnapshotError> {
        if self.buffer.len() < self.wanted_len {
            return Ok(None);
        }
        let pending = &self.buffer[self.head..];
        let mut reader = Reader::new(pending);
        let offset_bytes = self.decoded_bytes();
        match decode_item(self.section, &mut reader) {
            Ok((item, section)) => {
                self.head = self.buffer.len() - reader.rest().len();
                self.section = section;
                Ok(item)
            }
            Err(DecodeError::Short { needed_bytes, left_bytes }) => {
                // How the item goes on is not known yet, only that this many bytes are missing at least.
                let missing = needed_bytes - left_bytes;
                if pending.len().saturating_add(missing) > ITEM_LEN_MAX {
                    return Err(SnapshotError::TooLarge { offset_bytes });
                }
                self.wanted_len = self.buffer.len() + missing;
                Ok(None)
            }
            Err(source) => Err(SnapshotError::Damaged { offset_bytes, source }),
        }
    }

    /// Whether `End` has been reached.
    pub fn is_done(&self) -> bool {
        self.section == Section::Done
    }

    /// Bytes of the body that are decoded. After `End`: how long the body is.
    pub fn decoded_bytes(&self) -> u64 {
        self.offset_bytes + self.head as u64
    }

    /// What has been pushed and not decoded. After `End`: what follows the body.
    pub fn rest(&self) -> &[u8] {
        &self.buffer[self.head..]
    }
}

/// Decodes one item and says what follows it.
fn decode_item<'a>(section: Section, reader: &mut Reader<'a>) -> Result<(Option<Item<'a>>, Section), DecodeError> {
    // Counts are no items; with a count of zero the next section starts in the same call.
    let section = match section {
        Section::SessionCount => Section::Sessions { left: reader.count()?.unwrap_or(0) },
        Section::AclCount => Section::Acls { left: reader.count()?.unwrap_or(0) },
        section => section,
    };
    match section {
        Section::Sessions { left: 0 } => decode_item(Section::AclCount, reader),
        Section::Acls { left: 0 } => decode_item(Section::Nodes, reader),
        Section::Sessions { left } => {
            let item = Item::Session { id: SessionId::new(reader.i64()?), timeout_ms: reader.i32()? };
            Ok((Some(item), Section::Sessions { left: left - 1 }))
        }
        Section::Acls { left } => {
            let item = Item::Acl { key: reader.i64()?, list: decode_acl(reader)? };
            Ok((Some(item), Section::Acls { left: left - 1 }))
        }
        Section::Nodes => match reader.string()?.ok_or(DecodeError::Null)? {
            path if path == END_PATH => Ok((Some(Item::End), Section::Done)),
            path => {
                let (data, acl_key) = (reader.buffer()?, reader.i64()?);
                let item = Item::Node { path, data, acl_key, stat: decode_stat(reader)? };
                Ok((Some(item), Section::Nodes))
            }
        },
        Section::Done => Ok((None, Section::Done)),
        Section::SessionCount | Section::AclCount => unreachable!("counts were replaced above"),
    }
}

/// Decodes `bytes` at once and in small pieces; both must come to the same items.
///
/// # Panics
/// When they do not, which is a bug.
pub fn fuzz_snapshot(bytes: &[u8]) {
    /// Encodes again what comes out, so that it can be compared whoever owns the bytes.
    fn items(bytes: &[u8], step: usize) -> (Vec<u8>, Option<SnapshotError>) {
        let (mut decoder, mut seen) = (Decoder::new(), Encoder::new(0));
        for piece in bytes.chunks(step) {
            decoder.push(piece);
            loop {
                match decoder.next_item() {
                    Ok(None) => break,
                    Ok(Some(Item::Session { id, timeout_ms })) => seen.session(id, timeout_ms),
                    Ok(Some(Item::Acl { key, list })) => seen.acl(key, &list),
                    Ok(Some(Item::Node { path, data, acl_key, stat })) => seen.node(&path, data, acl_key, &stat),
                    Ok(Some(Item::End)) => seen.end(),
                    Err(error) => {
                        seen.end_acl_table();
                        return (seen.out, Some(error));
                    }
                }
            }
        }
        seen.end_acl_table();
        (seen.out, None)
    }
    assert_eq!(items(bytes, bytes.len().max(1)), items(bytes, 7));
    if let Ok(Some(len)) = check_signature(bytes) {
        assert!(bytes.starts_with(SIGNATURE) && len == SIGNATURE.len());
    }
}

#[cfg(test)]
mod tests;
