//! Stat: a znode's metadata, as kept and as shown to clients.
//!
//! Flow       `StatPersisted` rests in the tree, in snapshots and in the digest; `Stat` goes into replies.
//! Invariant  `StatPersisted::cversion` counts child creations only; clients see creations plus deletions, which is
//!            `2 * cversion - child_count` in wrapping arithmetic (ZooKeeper's `DataNode.copyStat`).
//! Absent     the meaning of `ephemeral_owner` beyond a plain session: see `owner`.

/// A znode's metadata as a client gets it. Fields in wire order, 68 bytes on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stat {
    /// Zxid of the creation.
    pub czxid: i64,
    /// Zxid of the last change of the data.
    pub mzxid: i64,
    /// Time of the creation, ms since 1970.
    pub ctime: i64,
    /// Time of the last change of the data, ms since 1970.
    pub mtime: i64,
    /// Changes of the data; wraps.
    pub version: i32,
    /// Children created plus children deleted; wraps.
    pub cversion: i32,
    /// Changes of the ACL; wraps.
    pub aversion: i32,
    /// The session that owns an ephemeral, else 0 (also for containers and TTL nodes).
    pub ephemeral_owner: i64,
    /// Bytes of data; 0 for null.
    pub data_length: i32,
    /// Children now.
    pub num_children: i32,
    /// Zxid of the last creation or deletion of a child.
    pub pzxid: i64,
}

/// A znode's metadata as it is kept, in the order of the snapshot record (60 bytes there).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StatPersisted {
    /// Zxid of the creation.
    pub czxid: i64,
    /// Zxid of the last change of the data.
    pub mzxid: i64,
    /// Time of the creation, ms since 1970.
    pub ctime: i64,
    /// Time of the last change of the data, ms since 1970.
    pub mtime: i64,
    /// Changes of the data; wraps.
    pub version: i32,
    /// Children ever created: the sequential counter. Deletions do not count.
    pub cversion: i32,
    /// Changes of the ACL; wraps.
    pub aversion: i32,
    /// 0, a session, the container marker or a TTL: see `owner`.
    pub ephemeral_owner: i64,
    /// Zxid of the last creation or deletion of a child.
    pub pzxid: i64,
}

impl StatPersisted {
    /// Bytes that one stat adds to the tree digest.
    pub const DIGEST_LEN: usize = 60;

    /// The bytes under the digest: big-endian, in an order of their own (`DigestCalculator`), `pzxid` is third.
    pub fn digest_bytes(&self) -> [u8; Self::DIGEST_LEN] {
        let mut out = [0; Self::DIGEST_LEN];
        let longs = [self.czxid, self.mzxid, self.pzxid, self.ctime, self.mtime];
        for (slot, value) in out[..40].chunks_exact_mut(8).zip(longs) {
            slot.copy_from_slice(&value.to_be_bytes());
        }
        let ints = [self.version, self.cversion, self.aversion];
        for (slot, value) in out[40..52].chunks_exact_mut(4).zip(ints) {
            slot.copy_from_slice(&value.to_be_bytes());
        }
        out[52..].copy_from_slice(&self.ephemeral_owner.to_be_bytes());
        out
    }

    /// What a client sees. `shown_owner` is the session of an ephemeral, else 0.
    pub fn to_stat(&self, shown_owner: i64, data_length: usize, child_count: u32) -> Stat {
        Stat {
            czxid: self.czxid,
            mzxid: self.mzxid,
            ctime: self.ctime,
            mtime: self.mtime,
            version: self.version,
            cversion: self.cversion.wrapping_mul(2).wrapping_sub(child_count as i32),
            aversion: self.aversion,
            ephemeral_owner: shown_owner,
            data_length: i32::try_from(data_length).expect("a frame is at most 2 GiB, so its data is"),
            num_children: child_count as i32,
            pzxid: self.pzxid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_cversion_counts_creations_and_deletions() {
        let kept = StatPersisted { cversion: 4, ..StatPersisted::default() };
        assert_eq!(kept.to_stat(0, 0, 1).cversion, 7, "three creates, three deletes, one create");
        let fresh_root = StatPersisted::default();
        assert_eq!(fresh_root.to_stat(0, 0, 1).cversion, -1, "the built-in child was never created");
    }
}
