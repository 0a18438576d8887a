//! A znode's metadata as clients see it.

use crate::jute::records;

records! {
    /// 68 bytes. Times are milliseconds since 1970 on the leader's clock.
    #[derive(Default)]
    Stat {
        /// Zxid of the creation.
        czxid: i64,
        /// Zxid of the last change of the data.
        mzxid: i64,
        /// Time of the creation.
        ctime: i64,
        /// Time of the last change of the data.
        mtime: i64,
        /// Changes of the data.
        version: i32,
        /// Children created plus children deleted.
        cversion: i32,
        /// Changes of the ACL.
        aversion: i32,
        /// The owning session of an ephemeral node, else 0; also 0 for containers and nodes with a TTL.
        ephemeral_owner: i64,
        /// Length of the data, 0 for null.
        data_length: i32,
        /// Children now.
        num_children: i32,
        /// Zxid of the last child created or deleted.
        pzxid: i64,
    }
}
