//! A server's frames as values that say which numbers are zxids, times and session ids.
//!
//! Invariant  decoding loses nothing: bytes behind the last field stand in the value, a body that is no record at all
//!            stands there as it is.

use crate::wire::{Reader, Stat, opcode};

/// What one connection brought in one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The answer to a handshake.
    Granted(Value),
    /// A notification.
    Event {
        /// Of the transaction.
        zxid: i64,
        /// Kind, state, path.
        body: Value,
    },
    /// A reply.
    Reply {
        /// To this opcode, by the order of requests.
        opcode: i32,
        /// Echoed.
        xid: i32,
        /// The server's.
        zxid: i64,
        /// 0 or an error code.
        err: i32,
        /// The record.
        body: Value,
    },
    /// The server closed.
    Closed,
    /// The server said nothing for a long time, and did not close.
    Silent,
}

/// A decoded field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// Compared as it is.
    Number(i64),
    /// Compared as it is.
    Bytes(Option<Vec<u8>>),
    /// Mapped between the servers.
    Zxid(i64),
    /// A time in ms, and the zxid of the transaction that set it.
    Time(i64, i64),
    /// Mapped between the servers.
    Session(i64),
    /// A session's password, and its session.
    Password(Vec<u8>, i64),
    /// In this order.
    List(Vec<Value>),
    /// In any order.
    Set(Vec<Value>),
    /// Named fields.
    Record(Vec<(&'static str, Value)>),
    /// What could not be read.
    Rest(Vec<u8>),
}

impl Value {
    /// A field of a record.
    pub fn field(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Record(fields) => fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// A field that is a plain number.
    pub fn number(&self, name: &str) -> Option<i64> {
        match self.field(name)? {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// A field that is text.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.field(name)? {
            Self::Bytes(Some(bytes)) => String::from_utf8(bytes.clone()).ok(),
            _ => None,
        }
    }

    /// The elements of a list or set.
    pub fn elements(&self) -> &[Value] {
        match self {
            Self::List(values) | Self::Set(values) => values,
            _ => &[],
        }
    }
}

type Field = (&'static str, Value);

/// The record behind a reply header, or `Rest` when it is not that record.
pub fn decode(op: i32, err: i32, body: &[u8]) -> Value {
    // A refused multiRead carries a stray end marker, which is a defect of the original and ignored by clients.
    if err != 0 && op == opcode::MULTI_READ {
        return Value::Record(Vec::new());
    }
    if err != 0 {
        return whole(body, |_| Some(Vec::new()));
    }
    whole(body, |reader| record(op, reader))
}

fn whole<'a>(body: &'a [u8], read: impl FnOnce(&mut Reader<'a>) -> Option<Vec<Field>>) -> Value {
    let mut reader = Reader::new(body);
    match read(&mut reader) {
        None => Value::Rest(body.to_vec()),
        Some(mut fields) => {
            if !reader.rest().is_empty() {
                fields.push(("rest", Value::Rest(reader.rest().to_vec())));
            }
            Value::Record(fields)
        }
    }
}

fn record(op: i32, reader: &mut Reader<'_>) -> Option<Vec<Field>> {
    Some(match op {
        opcode::CREATE | opcode::SYNC => vec![("path", bytes(reader)?)],
        opcode::CREATE2 | opcode::CREATE_CONTAINER | opcode::CREATE_TTL => {
            vec![("path", bytes(reader)?), ("stat", stat(reader)?)]
        }
        opcode::EXISTS | opcode::SET_DATA | opcode::SET_ACL => vec![("stat", stat(reader)?)],
        opcode::GET_DATA | opcode::RECONFIG => vec![("data", bytes(reader)?), ("stat", stat(reader)?)],
        opcode::GET_ACL => vec![("acl", acl(reader)?), ("stat", stat(reader)?)],
        opcode::GET_CHILDREN => vec![("children", set(reader, bytes)?)],
        opcode::GET_CHILDREN2 => vec![("children", set(reader, bytes)?), ("stat", stat(reader)?)],
        opcode::MULTI | opcode::MULTI_READ => vec![("results", results(reader)?)],
        opcode::SASL => vec![("token", bytes(reader)?)],
        opcode::GET_EPHEMERALS => vec![("ephemerals", set(reader, bytes)?)],
        opcode::GET_ALL_CHILDREN_NUMBER => vec![("number", Value::Number(reader.int()?.into()))],
        opcode::ADD_WATCH => vec![("err", Value::Number(reader.int()?.into()))],
        opcode::WHO_AM_I => vec![("identities", set(reader, identity)?)],
        _ => Vec::new(),
    })
}

/// The body of a notification.
pub fn event(body: &[u8]) -> Value {
    whole(body, |reader| {
        Some(vec![
            ("kind", Value::Number(reader.int()?.into())),
            ("state", Value::Number(reader.int()?.into())),
            ("path", bytes(reader)?),
        ])
    })
}

/// A ConnectResponse.
pub fn granted(body: &[u8]) -> Value {
    whole(body, |reader| {
        let version = reader.int()?;
        let timeout = reader.int()?;
        let session = reader.long()?;
        let mut fields = vec![
            ("protocol_version", Value::Number(version.into())),
            ("timeout", Value::Number(timeout.into())),
            ("session", Value::Session(session)),
            ("password", Value::Password(reader.buffer()??.to_vec(), session)),
        ];
        if !reader.rest().is_empty() {
            fields.push(("read_only", Value::Number(reader.byte()?.into())));
        }
        Some(fields)
    })
}

fn bytes(reader: &mut Reader<'_>) -> Option<Value> {
    Some(Value::Bytes(reader.buffer()?.map(utf8)))
}

/// The original writes a character above U+FFFF as two surrogates of three bytes each, which is no UTF-8. It can only
/// be seen where a path is echoed that no node can have; there we read it as the character that was asked for.
fn utf8(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(&first) = rest.first() {
        let (taken, character) = match rest {
            [0xed, a @ 0xa0..=0xaf, b, 0xed, c @ 0xb0..=0xbf, d, ..] => {
                let high = (u32::from(a & 0x0f) << 6) | u32::from(b & 0x3f);
                let low = (u32::from(c & 0x0f) << 6) | u32::from(d & 0x3f);
                (6, char::from_u32(0x1_0000 + (high << 10) + low))
            }
            _ => (1, None),
        };
        match character {
            Some(character) => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            None => out.extend_from_slice(if taken == 1 { std::slice::from_ref(&first) } else { &rest[..taken] }),
        }
        rest = &rest[taken..];
    }
    out
}

fn stat(reader: &mut Reader<'_>) -> Option<Value> {
    let stat = Stat::read(reader)?;
    Some(Value::Record(vec![
        ("czxid", Value::Zxid(stat.czxid)),
        ("mzxid", Value::Zxid(stat.mzxid)),
        ("ctime", Value::Time(stat.ctime, stat.czxid)),
        ("mtime", Value::Time(stat.mtime, stat.mzxid)),
        ("version", Value::Number(stat.version.into())),
        ("cversion", Value::Number(stat.cversion.into())),
        ("aversion", Value::Number(stat.aversion.into())),
        ("ephemeral_owner", Value::Session(stat.ephemeral_owner)),
        ("data_length", Value::Number(stat.data_length.into())),
        ("num_children", Value::Number(stat.num_children.into())),
        ("pzxid", Value::Zxid(stat.pzxid)),
    ]))
}

fn set<'a>(reader: &mut Reader<'a>, element: impl FnMut(&mut Reader<'a>) -> Option<Value>) -> Option<Value> {
    Some(match reader.vector(element)? {
        None => Value::Bytes(None),
        Some(mut values) => {
            values.sort();
            Value::Set(values)
        }
    })
}

fn identity(reader: &mut Reader<'_>) -> Option<Value> {
    Some(Value::Record(vec![("scheme", bytes(reader)?), ("user", bytes(reader)?)]))
}

/// An ACL list in its order, but for neighbouring digest entries with the same permissions: the expansion of scheme
/// `auth` writes one per identity in an undefined order.
fn acl(reader: &mut Reader<'_>) -> Option<Value> {
    let entries = reader.vector(|reader| {
        let perms = Value::Number(reader.int()?.into());
        Some((perms, bytes(reader)?, bytes(reader)?))
    })?;
    let Some(mut entries) = entries else { return Some(Value::Bytes(None)) };
    let digest = Value::Bytes(Some(b"digest".to_vec()));
    entries.chunk_by_mut(|a, b| a.0 == b.0 && a.1 == digest && b.1 == digest).for_each(<[_]>::sort);
    Some(Value::List(
        entries
            .into_iter()
            .map(|(perms, scheme, id)| Value::Record(vec![("perms", perms), ("scheme", scheme), ("id", id)]))
            .collect(),
    ))
}

fn results(reader: &mut Reader<'_>) -> Option<Value> {
    let mut results = Vec::new();
    loop {
        let (kind, done, err) = (reader.int()?, reader.byte()?, reader.int()?);
        let mut fields = vec![("type", Value::Number(kind.into())), ("err", Value::Number(err.into()))];
        if done != 0 {
            results.push(Value::Record(fields));
            return Some(Value::List(results));
        }
        match kind {
            -1 => fields.push(("code", Value::Number(reader.int()?.into()))),
            kind => fields.extend(record(kind, reader)?),
        }
        results.push(Value::Record(fields));
    }
}
