//! Transactions in ZooKeeper's format: the same bytes in its log, in proposals and in ours.
//!
//! ```text
//! session i64, cxid i32, zxid i64, time i64 (ms since 1970), type i32     TxnHeader, 32 bytes
//! record by type                                                         absent for an old closeSession
//! version i32 = 2, digest i64                                            TxnDigest, optional
//! ```
//!
//! Nothing inside tells where a part ends; the container's length does. A reader takes a digest when 12 bytes are left.
//!
//! Invariant  `decode(encode(txn)) == txn`. The reverse holds for everything but a failed multi that was sent again from
//!            a leader's memory, whose operations carry surplus bytes behind their error code.

use std::sync::LazyLock;

use bytes::Bytes;
use ids::{SessionId, Xid, Zxid};
use net::error::DecodeError;
use net::jute::{Reader, Record, Writer};
use net::opcode::OpCode;
use net::record as wire;
use tree::acl::{Acl, AclList};
use tree::request::CreateKind;
use tree::txn::{CreateTxn, SetDataTxn, Txn, TxnOp, data_for_txn};

use super::reply::encode_acl;

/// How the digest is computed (DigestCalculator). Digests of another version mean nothing to us.
const DIGEST_VERSION: i32 = 2;

/// Version and value.
const DIGEST_LEN: usize = 12;

/// What a create record of an ancient log, which does not say the parent's cversion, stands for.
const PARENT_CVERSION_UNKNOWN: i32 = -1;

/// Appends the entry of `txn`.
pub fn encode(txn: &Txn, out: &mut Vec<u8>) {
    let mut writer = Writer::new(out);
    writer.i64(txn.session.to_i64());
    writer.i32(txn.cxid.to_i32());
    writer.i64(txn.zxid.to_wire());
    writer.i64(txn.time);
    writer.i32(txn.op.to_wire());
    encode_op(&txn.op, &mut writer);
    if let Some(digest) = txn.digest {
        writer.i32(DIGEST_VERSION);
        writer.i64(digest.cast_signed());
    }
}

/// Decodes one entry, which is all of `entry`. Small data points into `frame` when `entry` lies within it.
///
/// # Errors
/// When it is no entry: cut, of an unknown type, or with a null where the record has none.
pub fn decode(entry: &[u8], frame: Option<&Bytes>) -> Result<Txn, DecodeError> {
    let mut reader = Reader::new(entry);
    let session = SessionId::new(reader.i64()?);
    let cxid = Xid::new(reader.i32()?);
    let zxid = Zxid::from_wire(reader.i64()?);
    let time = reader.i64()?;
    let op = decode_op(reader.i32()?, &mut reader, frame)?;
    Ok(Txn { session, cxid, zxid, time, op, digest: decode_digest(&mut reader)? })
}

fn decode_digest(reader: &mut Reader<'_>) -> Result<Option<u64>, DecodeError> {
    if reader.rest().len() < DIGEST_LEN {
        return Ok(None);
    }
    let (version, digest) = (reader.i32()?, reader.i64()?);
    Ok((version == DIGEST_VERSION).then_some(digest.cast_unsigned()))
}

fn encode_op(op: &TxnOp, writer: &mut Writer<'_>) {
    match op {
        TxnOp::Error(code) => writer.i32(*code),
        TxnOp::CreateSession { timeout_ms } => writer.i32(*timeout_ms),
        TxnOp::CloseSession { paths } => encode_paths(paths.as_deref(), writer),
        TxnOp::Create(create) => encode_create(create, writer),
        TxnOp::Delete { path } | TxnOp::DeleteContainer { path } => writer.string(Some(path)),
        TxnOp::SetData(set) | TxnOp::Reconfig(set) => {
            writer.string(Some(&set.path));
            writer.buffer(set.data.as_deref());
            writer.i32(set.version);
        }
        TxnOp::SetAcl { path, acl, version } => {
            writer.string(Some(path));
            encode_acl(acl, writer);
            writer.i32(*version);
        }
        TxnOp::Check { path, version } => {
            writer.string(Some(path));
            writer.i32(*version);
        }
        TxnOp::Multi(ops) => encode_multi(ops, writer),
    }
}

/// `None` is the old format, which has no record at all.
fn encode_paths(paths: Option<&[Box<str>]>, writer: &mut Writer<'_>) {
    let Some(paths) = paths else { return };
    writer.count(Some(paths.len()));
    paths.iter().for_each(|path| writer.string(Some(path)));
}

fn encode_create(create: &CreateTxn, writer: &mut Writer<'_>) {
    writer.string(Some(&create.path));
    writer.buffer(create.data.as_deref());
    encode_acl(&create.acl, writer);
    if has_ephemeral_field(create.kind) {
        writer.bool(create.ephemeral);
    }
    writer.i32(create.parent_cversion);
    if create.kind == CreateKind::Ttl {
        writer.i64(create.ttl);
    }
}

fn has_ephemeral_field(kind: CreateKind) -> bool {
    matches!(kind, CreateKind::Create | CreateKind::Create2)
}

fn encode_multi(ops: &[TxnOp], writer: &mut Writer<'_>) {
    writer.count(Some(ops.len()));
    for op in ops {
        assert!(!matches!(op, TxnOp::Multi(_)), "a multi holds no multi");
        writer.i32(op.to_wire());
        let length_at = writer.position();
        writer.i32(0);
        encode_op(op, writer);
        let length = i32::try_from(writer.position() - length_at - 4).expect("an operation is smaller than its frame");
        writer.patch_i32(length_at, length);
    }
}

fn decode_op(raw: i32, reader: &mut Reader<'_>, frame: Option<&Bytes>) -> Result<TxnOp, DecodeError> {
    Ok(match OpCode::from_wire(raw) {
        Some(OpCode::CreateSession) => TxnOp::CreateSession { timeout_ms: reader.i32()? },
        Some(OpCode::CloseSession) => TxnOp::CloseSession { paths: decode_paths(reader)? },
        Some(OpCode::Reconfig) => TxnOp::Reconfig(decode_set_data(reader, frame)?),
        Some(OpCode::SetAcl) => {
            TxnOp::SetAcl { path: string(reader)?, acl: decode_acl(reader)?, version: reader.i32()? }
        }
        Some(OpCode::Multi) => decode_multi(reader, frame)?,
        // A check stands only inside a multi; at the top ZooKeeper takes it for damage, and so do we.
        Some(OpCode::Check) | None => return Err(DecodeError::Tag(raw)),
        Some(_) => decode_sub_op(raw, reader, frame)?,
    })
}

/// The records that may also stand in a multi.
fn decode_sub_op(raw: i32, reader: &mut Reader<'_>, frame: Option<&Bytes>) -> Result<TxnOp, DecodeError> {
    Ok(match OpCode::from_wire(raw) {
        Some(OpCode::Error) => TxnOp::Error(reader.i32()?),
        Some(OpCode::Create) => TxnOp::Create(decode_create(CreateKind::Create, reader, frame)?),
        Some(OpCode::Create2) => TxnOp::Create(decode_create(CreateKind::Create2, reader, frame)?),
        Some(OpCode::CreateContainer) => TxnOp::Create(decode_create(CreateKind::Container, reader, frame)?),
        Some(OpCode::CreateTtl) => TxnOp::Create(decode_create(CreateKind::Ttl, reader, frame)?),
        Some(OpCode::Delete) => TxnOp::Delete { path: string(reader)? },
        Some(OpCode::DeleteContainer) => TxnOp::DeleteContainer { path: string(reader)? },
        Some(OpCode::SetData) => TxnOp::SetData(decode_set_data(reader, frame)?),
        Some(OpCode::Check) => TxnOp::Check { path: string(reader)?, version: reader.i32()? },
        _ => return Err(DecodeError::Tag(raw)),
    })
}

/// Old logs, and servers with closeSessionTxn off, have no record behind a closeSession's header, but the latter may
/// have a digest. It cannot be taken for a list: two paths are longer than what is left of a digest.
fn decode_paths(reader: &mut Reader<'_>) -> Result<Option<Vec<Box<str>>>, DecodeError> {
    let rest = reader.rest();
    if rest.is_empty() || (rest.len() == DIGEST_LEN && rest.starts_with(&DIGEST_VERSION.to_be_bytes())) {
        return Ok(None);
    }
    let mut paths = Vec::new();
    for _ in 0..reader.count()?.unwrap_or(0) {
        paths.push(string(reader)?);
    }
    // The root is nobody's ephemeral; keeping an empty path would make the list look like a digest.
    paths.retain(|path| !path.is_empty());
    Ok(Some(paths))
}

fn decode_create(kind: CreateKind, reader: &mut Reader<'_>, frame: Option<&Bytes>) -> Result<CreateTxn, DecodeError> {
    let path = string(reader)?;
    let data = reader.buffer()?.map(|data| data_for_txn(frame, data));
    let acl = decode_acl(reader)?;
    let ephemeral = has_ephemeral_field(kind) && reader.bool()?;
    let parent_cversion = match reader.i32() {
        // The record ends early: CreateTxnV0, written before 3.4.
        Err(DecodeError::Short { .. }) if kind == CreateKind::Create => PARENT_CVERSION_UNKNOWN,
        parent_cversion => parent_cversion?,
    };
    let ttl = if kind == CreateKind::Ttl { reader.i64()? } else { 0 };
    Ok(CreateTxn { kind, path, data, acl, ephemeral, parent_cversion, ttl })
}

fn decode_set_data(reader: &mut Reader<'_>, frame: Option<&Bytes>) -> Result<SetDataTxn, DecodeError> {
    let path = string(reader)?;
    let data = reader.buffer()?.map(|data| data_for_txn(frame, data));
    Ok(SetDataTxn { path, data, version: reader.i32()? })
}

/// Each operation has a length of its own, so surplus bytes behind an error code do no harm.
fn decode_multi(reader: &mut Reader<'_>, frame: Option<&Bytes>) -> Result<TxnOp, DecodeError> {
    let mut ops = Vec::new();
    for _ in 0..reader.count()?.unwrap_or(0) {
        let raw = reader.i32()?;
        let record = reader.buffer()?.ok_or(DecodeError::Null)?;
        ops.push(decode_sub_op(raw, &mut Reader::new(record), frame)?);
    }
    Ok(TxnOp::Multi(ops))
}

/// Nearly every list is the open one: known by its bytes, and all of them share it.
static OPEN_ACL: LazyLock<(Vec<u8>, AclList)> = LazyLock::new(|| {
    let (mut bytes, open) = (Vec::new(), AclList::open());
    encode_acl(&open, &mut Writer::new(&mut bytes));
    (bytes, open)
});

/// A null list is what ZooKeeper writes for the open one.
pub(super) fn decode_acl(reader: &mut Reader<'_>) -> Result<AclList, DecodeError> {
    let (open_bytes, open) = &*OPEN_ACL;
    if reader.rest().starts_with(open_bytes) {
        reader.take(open_bytes.len())?;
        return Ok(open.clone());
    }
    let Some(entries) = Option::<Vec<wire::Acl<'_>>>::decode(reader)? else { return Ok(AclList::open()) };
    let entry = |acl: wire::Acl<'_>| match (acl.id.scheme, acl.id.id) {
        (Some(scheme), Some(id)) => Ok(Acl { perms: acl.perms, scheme: scheme.into(), id: id.into() }),
        _ => Err(DecodeError::Null),
    };
    entries.into_iter().map(entry).collect::<Result<Vec<Acl>, DecodeError>>().map(AclList::from)
}

fn string(reader: &mut Reader<'_>) -> Result<Box<str>, DecodeError> {
    reader.string()?.map(Box::from).ok_or(DecodeError::Null)
}

/// Decodes `bytes` as an entry; what decodes must decode again from its own encoding.
///
/// # Panics
/// When it does not, which is a bug.
pub fn fuzz_txn(bytes: &[u8]) {
    if let Ok(txn) = decode(bytes, None) {
        let mut again = Vec::new();
        encode(&txn, &mut again);
        assert_eq!(decode(&again, None), Ok(txn));
    }
}

#[cfg(test)]
mod tests;
