//! What clients and servers say to each other: ZooKeeper's frames, with production's records. Of replies only as much is
//! there as the checks want to know.
//!
//! A reply's record is its own: the zxid of the write that it answers, or the data that was read.

use std::borrow::Cow;

use net::jute::{Reader, Record as _, Writer};
use net::opcode::OpCode;
use net::record::{
    Acl, CreateRequest, DeleteRequest, ExistsRequest, MultiOp, MultiRequest, ReplyHeader, Request, RequestHeader,
    SetDataRequest, SyncRequest,
};

use crate::sim::check::{Path, Write};

/// Znodes whose number a sequence gave are numbered from here.
const SEQUENTIAL: Path = 1000;

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A new znode, ephemeral or not.
    Create(Path, bool),
    /// A new znode with the next number.
    CreateNext {
        /// Whether it lives with the session.
        is_ephemeral: bool,
    },
    /// New data, if the version is this; -1 for any.
    Set(Path, i32),
    /// New data for both, or for neither.
    SetBoth(Path, Path),
    /// The end of a znode.
    Delete(Path),
    /// What is there, and a word when that changes.
    Read(Path, bool),
    /// To see what is committed.
    Sync,
    /// The end of the session.
    Close,
    /// Nothing, but it is there.
    Ping,
}

/// The name of a znode.
pub fn name(path: Path) -> String {
    if path < SEQUENTIAL { format!("/p{path}") } else { format!("/s{:010}", path - SEQUENTIAL) }
}

/// The number of a znode; `None` for ZooKeeper's own.
pub fn number(name: &str) -> Option<Path> {
    match name.split_at_checked(2)? {
        ("/p", number) => number.parse().ok(),
        ("/s", number) => Some(SEQUENTIAL + number.parse::<Path>().ok()?),
        _ => None,
    }
}

/// The data that a write leaves: its name, and a tail whose length differs from write to write.
pub fn data(write: Write) -> Vec<u8> {
    let mut data = write.session.to_be_bytes().to_vec();
    data.extend(write.xid.to_be_bytes());
    let tail = (write.xid as usize).wrapping_mul(2_654_435_761) % 200;
    data.resize(data.len() + tail, write.xid as u8);
    data
}

/// The write that left this data.
pub fn write_of(data: &[u8]) -> Option<Write> {
    let (session, rest) = data.split_first_chunk()?;
    let xid = rest.first_chunk()?;
    let write = Write { session: u64::from_be_bytes(*session), xid: u32::from_be_bytes(*xid) };
    (self::data(write) == data).then_some(write)
}

/// A wish as a frame.
pub fn ask(write: Write, wish: Wish) -> Vec<u8> {
    let data = data(write);
    let create = |path: String, flags| {
        let acl = Some(vec![Acl::open()]);
        CreateRequest { path: Some(path.into()), data: Some(&data), acl, flags }
    };
    let set = |path, version| SetDataRequest { path: Some(name(path).into()), data: Some(&data), version };
    let request = match wish {
        Wish::Create(path, is_ephemeral) => Request::Create(create(name(path), i32::from(is_ephemeral))),
        Wish::CreateNext { is_ephemeral } => Request::Create2(create("/s".to_owned(), 2 + i32::from(is_ephemeral))),
        Wish::Set(path, version) => Request::SetData(set(path, version)),
        Wish::SetBoth(one, other) => {
            let ops = [one, other].map(|path| MultiOp::SetData(set(path, -1)));
            Request::Multi(MultiRequest { ops: ops.into() })
        }
        Wish::Delete(path) => Request::Delete(DeleteRequest { path: Some(name(path).into()), version: -1 }),
        Wish::Read(path, watch) => Request::Exists(ExistsRequest { path: Cow::Owned(name(path)), watch }),
        Wish::Sync => Request::Sync(SyncRequest { path: Some("/".into()) }),
        Wish::Close => Request::CloseSession,
        Wish::Ping => Request::Ping,
    };
    let op = request.op();
    let xid = if op == OpCode::Ping { net::record::xid::PING } else { write.xid as i32 };
    frame(|writer| {
        RequestHeader { xid, op: op.to_wire() }.encode(writer);
        request.encode(writer);
    })
}

/// A reply as a frame.
pub fn reply(header: ReplyHeader, body: &[u8]) -> Vec<u8> {
    frame(|writer| {
        header.encode(writer);
        writer.raw(body);
    })
}

/// Whatever is written, with its length in front.
pub fn frame(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes);
    writer.i32(0);
    write(&mut writer);
    let len = writer.position() - 4;
    writer.patch_i32(0, len as i32);
    bytes
}

/// Takes the next whole frame off what was received.
pub fn next_frame(received: &mut Vec<u8>) -> Option<Vec<u8>> {
    let len = u32::from_be_bytes(*received.first_chunk()?) as usize;
    if received.len() < 4 + len {
        return None;
    }
    let body = received[4..4 + len].to_vec();
    received.drain(..4 + len);
    Some(body)
}

/// A record at the front of a frame, and what is behind it.
pub fn split<'a, T: net::jute::Record<'a>>(frame: &'a [u8]) -> Option<(T, &'a [u8])> {
    let mut reader = Reader::new(frame);
    let record = T::decode(&mut reader).ok()?;
    Some((record, reader.rest()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_data_lead_back_to_where_they_came_from() {
        for path in [0, 7, 999, 1000, 1_000_000] {
            assert_eq!(number(&name(path)), Some(path));
        }
        assert_eq!(number("/zookeeper"), None);
        let write = Write { session: 0x1234_5678_9abc, xid: 77 };
        assert_eq!(write_of(&data(write)), Some(write));
        assert_eq!(write_of(&data(write)[..11]), None);
    }
}
