//! The tree digest (version 2, `DigestCalculator`): a sum over all nodes of a CRC-32, kept up to date with every change.
//!
//! Invariant  digest of a node = CRC-32 over path ("" for the root), data (nothing for null) and the 60 bytes of its
//!            stat; everything below /zookeeper counts 0; the tree's is the sum modulo 2^64.
//! Absent     ACLs and children: ZooKeeper does not cover them.

use crate::path;
use crate::stat::StatPersisted;

/// Version that stands beside a digest in transactions and snapshots.
pub const VERSION: i32 = 2;

/// The first part, which a change of the stat alone leaves as it is.
pub(crate) fn content_crc(node_path: &str, data: Option<&[u8]>) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    if node_path != path::ROOT {
        crc.update(node_path.as_bytes());
    }
    crc.update(data.unwrap_or_default());
    crc.finalize()
}

/// A node's whole digest.
pub(crate) fn node(content_crc: u32, stat: &StatPersisted) -> u64 {
    let mut crc = crc32fast::Hasher::new_with_initial(content_crc);
    crc.update(&stat.digest_bytes());
    u64::from(crc.finalize())
}

/// Whether the digest leaves out the node called `node_path`.
pub(crate) fn is_outside(node_path: &str) -> bool {
    node_path.starts_with("/zookeeper/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_tree_has_the_known_digest() {
        let zero = StatPersisted::default();
        let root = node(content_crc("/", Some(b"")), &zero);
        let zookeeper = node(content_crc("/zookeeper", Some(b"")), &zero);
        assert_eq!(root + zookeeper, 0x51c6_d660, "as captured from a Java server");
    }
}
