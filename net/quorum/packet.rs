//! A packet of the quorum port: its types' numbers, its parts, its bytes.
//!
//! Invariant  null data and empty data are different, and so are no identities and an empty list of them.

use bytes::Bytes;

use crate::jute::Writer;

/// The numbers of the packets. A learner is a follower or an observer.
pub mod kind {
    /// Learner to leader: a client's write, or sync.
    pub const REQUEST: i32 = 1;
    /// Leader to follower: log this.
    pub const PROPOSAL: i32 = 2;
    /// Learner to leader: logged.
    pub const ACK: i32 = 3;
    /// Leader to follower: apply.
    pub const COMMIT: i32 = 4;
    /// Leader to learner, and back with the sessions that were heard of.
    pub const PING: i32 = 5;
    /// Learner to leader: does this session live; and back.
    pub const REVALIDATE: i32 = 6;
    /// Leader to learner: a forwarded sync is through.
    pub const SYNC: i32 = 7;
    /// Leader to observer: log and apply.
    pub const INFORM: i32 = 8;
    /// Leader to follower: apply a new configuration.
    pub const COMMIT_AND_ACTIVATE: i32 = 9;
    /// Leader to learner: the history ends here.
    pub const NEW_LEADER: i32 = 10;
    /// Follower to leader: hello.
    pub const FOLLOWER_INFO: i32 = 11;
    /// Leader to learner: serve.
    pub const UP_TO_DATE: i32 = 12;
    /// Leader to learner: keep what you have, more follows.
    pub const DIFF: i32 = 13;
    /// Leader to learner: forget the end.
    pub const TRUNC: i32 = 14;
    /// Leader to learner: a whole state follows.
    pub const SNAP: i32 = 15;
    /// Observer to leader: hello.
    pub const OBSERVER_INFO: i32 = 16;
    /// Leader to learner: the new epoch.
    pub const LEADER_INFO: i32 = 17;
    /// Learner to leader: the epoch is promised.
    pub const ACK_EPOCH: i32 = 18;
    /// Leader to observer: log and apply a new configuration.
    pub const INFORM_AND_ACTIVATE: i32 = 19;

    /// ZooKeeper's word for a type.
    pub const fn name(kind: i32) -> Option<&'static str> {
        Some(match kind {
            REQUEST => "REQUEST",
            PROPOSAL => "PROPOSAL",
            ACK => "ACK",
            COMMIT => "COMMIT",
            PING => "PING",
            REVALIDATE => "REVALIDATE",
            SYNC => "SYNC",
            INFORM => "INFORM",
            COMMIT_AND_ACTIVATE => "COMMITANDACTIVATE",
            NEW_LEADER => "NEWLEADER",
            FOLLOWER_INFO => "FOLLOWERINFO",
            UP_TO_DATE => "UPTODATE",
            DIFF => "DIFF",
            TRUNC => "TRUNC",
            SNAP => "SNAP",
            OBSERVER_INFO => "OBSERVERINFO",
            LEADER_INFO => "LEADERINFO",
            ACK_EPOCH => "ACKEPOCH",
            INFORM_AND_ACTIVATE => "INFORMANDACTIVATE",
            _ => return None,
        })
    }
}

/// A packet whose parts are told apart and not yet understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawPacket {
    /// Its type, one of [`kind`] if the peer means well.
    pub kind: i32,
    /// A transaction's place, an epoch's beginning, or a number that the type gives no meaning.
    pub zxid: i64,
    /// What it carries.
    pub data: Option<Bytes>,
    /// Who the client is whose request this is: scheme and id. No other packet has any.
    pub identities: Option<Vec<(Box<str>, Box<str>)>>,
}

/// Appends a whole packet.
///
/// # Panics
/// When the data is 2 GiB or longer: the sender's own limits are far below.
pub fn encode(packet: &RawPacket, out: &mut Vec<u8>) {
    encode_head(packet.kind, packet.zxid, packet.data.as_ref().map(Bytes::len), out);
    out.extend_from_slice(packet.data.as_deref().unwrap_or_default());
    let identities = packet.identities.as_deref();
    encode_tail(identities.map(|list| list.iter().map(|(scheme, id)| (&**scheme, &**id))), out);
}

/// Appends what stands before the data; `None` for null data. The caller sends `data_len` bytes, then the tail.
///
/// # Panics
/// As [`encode`].
pub fn encode_head(kind: i32, zxid: i64, data_len: Option<usize>, out: &mut Vec<u8>) {
    let mut writer = Writer::new(out);
    writer.i32(kind);
    writer.i64(zxid);
    writer.count(data_len);
}

/// Appends what stands behind the data.
pub fn encode_tail<'i>(identities: Option<impl ExactSizeIterator<Item = (&'i str, &'i str)>>, out: &mut Vec<u8>) {
    let mut writer = Writer::new(out);
    writer.count(identities.as_ref().map(ExactSizeIterator::len));
    for (scheme, id) in identities.into_iter().flatten() {
        writer.string(Some(scheme));
        writer.string(Some(id));
    }
}
