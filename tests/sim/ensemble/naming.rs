//! A transaction, as the checks know it.

use std::hash::Hasher;

use ringkeeper::server::codec;
use tree::txn::{CreateTxn, SetDataTxn, Txn, TxnOp};

use super::speech;
use crate::sim::check::{self, Change, Path, Write};
use crate::sim::story::Fingerprint;

/// What a transaction is to the checks. `tree` is the digest of the tree behind it.
///
/// # Errors
/// It is nothing that a client has asked for.
pub fn name(txn: &Txn, tree: u64) -> Result<check::Txn, String> {
    let mut bytes = Vec::new();
    codec::txn::encode(txn, &mut bytes);
    let mut payload = Fingerprint::default();
    payload.write(&bytes);
    let session = txn.session.to_i64() as u64;
    let is_begin = matches!(txn.op, TxnOp::CreateSession { .. });
    let cxid = txn.cxid.to_i32();
    let write = (cxid > 0 && !is_begin).then_some(Write { session, xid: cxid as u32 });
    let change = change(txn, write)?;
    // What is refused has no place in its session's order: it may come over a connection that has lost the session.
    let write = write.filter(|_| change != Change::Nothing);
    Ok(check::Txn { zxid: txn.zxid.to_u64(), payload: payload.finish(), tree, write, change })
}

fn change(txn: &Txn, write: Option<Write>) -> Result<Change, String> {
    let session = txn.session.to_i64() as u64;
    Ok(match &txn.op {
        TxnOp::Error(_) => Change::Nothing,
        TxnOp::CreateSession { .. } => Change::SessionBegins(session),
        TxnOp::CloseSession { .. } => Change::SessionEnds(session),
        TxnOp::Create(CreateTxn { path, data, ephemeral, .. }) => {
            let path = written(path, data.as_deref(), write)?;
            Change::Set { path, owner: ephemeral.then_some(session) }
        }
        TxnOp::SetData(set) => Change::Set { path: written_by(set, write)?, owner: None },
        TxnOp::Delete { path } => Change::Delete { path: known(path)? },
        TxnOp::Multi(ops) => match ops.as_slice() {
            [TxnOp::SetData(one), TxnOp::SetData(other)] => {
                Change::SetBoth { paths: [written_by(one, write)?, written_by(other, write)?] }
            }
            ops if ops.iter().any(|op| matches!(op, TxnOp::Error(_))) => Change::Nothing,
            ops => return Err(format!("nobody has asked for {ops:?}")),
        },
        op => return Err(format!("nobody has asked for {op:?}")),
    })
}

fn written_by(set: &SetDataTxn, write: Option<Write>) -> Result<Path, String> {
    written(&set.path, set.data.as_deref(), write)
}

/// The path, when the data is what the writer has sent.
fn written(path: &str, data: Option<&[u8]>, write: Option<Write>) -> Result<Path, String> {
    let found = data.and_then(speech::write_of);
    if found.is_none() || found != write {
        return Err(format!("{path} was given the data of {found:x?} by {write:x?}"));
    }
    known(path)
}

fn known(path: &str) -> Result<Path, String> {
    speech::number(path).ok_or_else(|| format!("nobody has asked for {path}"))
}
