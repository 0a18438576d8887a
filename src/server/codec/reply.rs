//! Tree types as parts of replies. The tree has its own `Stat` and `Acl`, because it must not know the wire.

use net::jute::{Record, Writer};
use net::record as wire;
use tree::acl::Acl;
use tree::stat::Stat;

/// The Stat of a reply.
pub fn stat(stat: &Stat) -> wire::Stat {
    wire::Stat {
        czxid: stat.czxid,
        mzxid: stat.mzxid,
        ctime: stat.ctime,
        mtime: stat.mtime,
        version: stat.version,
        cversion: stat.cversion,
        aversion: stat.aversion,
        ephemeral_owner: stat.ephemeral_owner,
        data_length: stat.data_length,
        num_children: stat.num_children,
        pzxid: stat.pzxid,
    }
}

/// Appends a Stat.
pub fn encode_stat(source: &Stat, writer: &mut Writer<'_>) {
    stat(source).encode(writer);
}

/// Appends an ACL list.
pub fn encode_acl(list: &[Acl], writer: &mut Writer<'_>) {
    writer.count(Some(list.len()));
    for entry in list {
        encode_acl_entry(entry.perms, &entry.scheme, &entry.id, writer);
    }
}

/// Appends one entry of an ACL list, for a caller that shows some of them masked.
pub fn encode_acl_entry(perms: i32, scheme: &str, id: &str, writer: &mut Writer<'_>) {
    writer.i32(perms);
    writer.string(Some(scheme));
    writer.string(Some(id));
}
