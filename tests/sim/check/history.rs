//! One history on all members: each applies the same transactions in the same order, and every acknowledged write is
//! there.
//!
//! Invariant  the first member that applies a transaction says what it is and which comes before it; all others must
//!            agree.

use std::collections::{BTreeMap, BTreeSet};

use super::{Session, Txn, Write, Xid, Zxid};
use crate::sim::network::NodeId;

/// What was applied.
#[derive(Debug, Default)]
pub struct History {
    txns: BTreeMap<Zxid, Txn>,
    /// The last transaction of each member; none when it has not said yet what it starts from.
    last: BTreeMap<NodeId, Zxid>,
    /// The last write of each session, for its order.
    writes: BTreeMap<Session, (Xid, Zxid)>,
}

impl History {
    /// A member applied a transaction.
    ///
    /// # Errors
    /// It is another than elsewhere, or one was left out, or a session's writes are out of order.
    pub fn applied(&mut self, member: NodeId, txn: Txn) -> Result<(), String> {
        let zxid = txn.zxid;
        self.committed(member, txn)?;
        if let Some(last) = self.last.insert(member, zxid) {
            if zxid <= last {
                return Err(format!("identical history: n{member} applied {zxid:#x} after {last:#x}"));
            }
            if let Some((skipped, _)) = self.txns.range(last + 1..zxid).next() {
                return Err(format!("identical history: n{member} applied {zxid:#x} without {skipped:#x}"));
            }
        }
        Ok(())
    }

    /// Whether it has this transaction.
    pub fn has(&self, zxid: Zxid) -> bool {
        self.txns.contains_key(&zxid)
    }

    /// The transaction at this place.
    pub fn at(&self, zxid: Zxid) -> Option<&Txn> {
        self.txns.get(&zxid)
    }

    /// A member knows that a transaction is committed.
    ///
    /// # Errors
    /// It is another than elsewhere, or one was left out, or a session's writes are out of order.
    pub fn committed(&mut self, member: NodeId, txn: Txn) -> Result<(), String> {
        let zxid = txn.zxid;
        if let Some(known) = self.txns.get(&zxid) {
            if *known != txn {
                return Err(format!("identical history: n{member} applied {txn:x?}, another {known:x?}"));
            }
        } else if let Some((newest, _)) = self.txns.last_key_value().filter(|(newest, _)| **newest > zxid) {
            return Err(format!(
                "identical history: n{member} applied {zxid:#x}, which others left out before {newest:#x}"
            ));
        } else {
            self.check_order(&txn)?;
            self.txns.insert(zxid, txn);
        }
        Ok(())
    }

    fn check_order(&mut self, txn: &Txn) -> Result<(), String> {
        let Some(Write { session, xid }) = txn.write else { return Ok(()) };
        if let Some((last, at)) = self.writes.insert(session, (xid, txn.zxid))
            && xid <= last
        {
            let zxid = txn.zxid;
            return Err(format!("session order: {session:#x}'s {xid} at {zxid:#x} follows its {last} at {at:#x}"));
        }
        Ok(())
    }

    /// A member took a whole state over.
    ///
    /// # Errors
    /// The state is another than the one that others have at that place.
    pub fn installed(&mut self, member: NodeId, zxid: Zxid, tree: u64) -> Result<(), String> {
        self.last.insert(member, zxid);
        match self.txns.get(&zxid).filter(|txn| txn.tree != tree) {
            Some(txn) => {
                Err(format!("identical history: n{member} installed tree {tree:x} at {zxid:#x}, others {:x}", txn.tree))
            }
            None => Ok(()),
        }
    }

    /// A member begins anew with what its disk holds.
    pub fn restarted(&mut self, member: NodeId) {
        self.last.remove(&member);
    }

    /// All transactions in order.
    pub fn txns(&self) -> impl Iterator<Item = &Txn> {
        self.txns.values()
    }

    /// The run is over.
    ///
    /// # Errors
    /// A write that was acknowledged at a zxid is not there, or is there twice.
    pub fn finish(&self, acknowledged: impl Iterator<Item = (Write, Zxid)>) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        if let Some(twice) = self.txns.values().find(|txn| txn.write.is_some_and(|write| !seen.insert(write))) {
            return Err(format!("a write was applied twice, again as {twice:x?}"));
        }
        for (write, zxid) in acknowledged {
            if self.txns.get(&zxid).is_none_or(|txn| txn.write != Some(write)) {
                return Err(format!(
                    "lost write: {write:x?} was acknowledged at {zxid:#x}; {:x?} is there",
                    self.txns.get(&zxid)
                ));
            }
        }
        Ok(())
    }
}
