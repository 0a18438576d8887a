//! One request as a value: printable, shrinkable, and encoded only when it is sent.

use crate::wire::{Writer, length, opcode};

/// A path as bytes: null, empty, not UTF-8, anything.
pub type Path = Option<Vec<u8>>;
/// A value, or null.
pub type Data = Option<Vec<u8>>;

/// One entry of an ACL list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    /// Bits; also ones without meaning.
    pub perms: i32,
    /// The scheme, or null.
    pub scheme: Option<String>,
    /// The id, or null.
    pub id: Option<String>,
}

/// A list, or null.
pub type AclList = Option<Vec<Acl>>;

/// Where a setWatches says that the client was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relative {
    /// The last zxid this session has seen, less so many.
    Seen(i64),
    /// This number.
    Exactly(i64),
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the records' of the protocol")]
pub enum Op {
    /// create, create2 or createContainer, by opcode.
    Create {
        opcode: i32,
        path: Path,
        data: Data,
        acl: AclList,
        flags: i32,
    },
    CreateTtl {
        path: Path,
        data: Data,
        acl: AclList,
        flags: i32,
        ttl: i64,
    },
    Delete {
        path: Path,
        version: i32,
    },
    Exists {
        path: Path,
        watch: u8,
    },
    GetData {
        path: Path,
        watch: u8,
    },
    SetData {
        path: Path,
        data: Data,
        version: i32,
    },
    GetAcl {
        path: Path,
    },
    SetAcl {
        path: Path,
        acl: AclList,
        version: i32,
    },
    /// getChildren or getChildren2, by opcode.
    GetChildren {
        opcode: i32,
        path: Path,
        watch: u8,
    },
    Sync {
        path: Path,
    },
    Ping,
    Check {
        path: Path,
        version: i32,
    },
    /// multi or multiRead, by opcode.
    Multi {
        opcode: i32,
        ops: Vec<Op>,
    },
    Auth {
        kind: i32,
        scheme: Option<String>,
        data: Data,
    },
    /// setWatches (three lists) or setWatches2 (five).
    SetWatches {
        relative: Relative,
        lists: Vec<Option<Vec<Path>>>,
    },
    Sasl {
        token: Data,
    },
    GetEphemerals {
        path: Path,
    },
    GetAllChildrenNumber {
        path: Path,
    },
    AddWatch {
        path: Path,
        mode: i32,
    },
    CheckWatches {
        path: Path,
        kind: i32,
    },
    RemoveWatches {
        path: Path,
        kind: i32,
    },
    WhoAmI,
    CloseSession,
    Reconfig {
        joining: Option<String>,
        leaving: Option<String>,
        members: Option<String>,
        config: i64,
    },
    /// An opcode that is none, with some body.
    Unknown {
        opcode: i32,
        body: Vec<u8>,
    },
}

/// How the body is spoilt on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spoil {
    /// Not at all.
    No,
    /// So many bytes are missing at the end.
    Truncate(usize),
    /// More bytes follow.
    Append(Vec<u8>),
    /// The byte at this place (modulo the length) is replaced.
    Replace(usize, u8),
}

/// A request with its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Any but -1, which would make the reply look like a notification.
    pub xid: i32,
    /// What is asked.
    pub op: Op,
    /// How it is spoilt.
    pub spoil: Spoil,
}

impl Request {
    /// The frame's content. `last_zxid` is what `Relative::Seen` counts from.
    pub fn encode(&self, last_zxid: i64) -> Vec<u8> {
        Writer::new().int(self.xid).int(self.op.opcode()).raw(&self.body(last_zxid)).done()
    }

    /// The record behind the header, spoilt.
    pub fn body(&self, last_zxid: i64) -> Vec<u8> {
        let mut body = self.op.encode(last_zxid);
        match &self.spoil {
            Spoil::No => {}
            Spoil::Truncate(count) => body.truncate(body.len().saturating_sub(*count)),
            Spoil::Append(more) => body.extend_from_slice(more),
            Spoil::Replace(place, byte) => {
                let count = body.len();
                if count > 0 {
                    body[place % count] = *byte;
                }
            }
        }
        body
    }
}

impl Op {
    /// Its number.
    pub fn opcode(&self) -> i32 {
        match self {
            Self::Create { opcode, .. }
            | Self::GetChildren { opcode, .. }
            | Self::Multi { opcode, .. }
            | Self::Unknown { opcode, .. } => *opcode,
            Self::CreateTtl { .. } => opcode::CREATE_TTL,
            Self::Delete { .. } => opcode::DELETE,
            Self::Exists { .. } => opcode::EXISTS,
            Self::GetData { .. } => opcode::GET_DATA,
            Self::SetData { .. } => opcode::SET_DATA,
            Self::GetAcl { .. } => opcode::GET_ACL,
            Self::SetAcl { .. } => opcode::SET_ACL,
            Self::Sync { .. } => opcode::SYNC,
            Self::Ping => opcode::PING,
            Self::Check { .. } => opcode::CHECK,
            Self::Auth { .. } => opcode::AUTH,
            Self::SetWatches { lists, .. } => match lists.len() {
                3 => opcode::SET_WATCHES,
                _ => opcode::SET_WATCHES2,
            },
            Self::Sasl { .. } => opcode::SASL,
            Self::GetEphemerals { .. } => opcode::GET_EPHEMERALS,
            Self::GetAllChildrenNumber { .. } => opcode::GET_ALL_CHILDREN_NUMBER,
            Self::AddWatch { .. } => opcode::ADD_WATCH,
            Self::CheckWatches { .. } => opcode::CHECK_WATCHES,
            Self::RemoveWatches { .. } => opcode::REMOVE_WATCHES,
            Self::WhoAmI => opcode::WHO_AM_I,
            Self::CloseSession => opcode::CLOSE_SESSION,
            Self::Reconfig { .. } => opcode::RECONFIG,
        }
    }

    /// Its path, if it has one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Create { path, .. }
            | Self::CreateTtl { path, .. }
            | Self::Delete { path, .. }
            | Self::Exists { path, .. }
            | Self::GetData { path, .. }
            | Self::SetData { path, .. }
            | Self::GetAcl { path }
            | Self::SetAcl { path, .. }
            | Self::GetChildren { path, .. }
            | Self::Sync { path }
            | Self::Check { path, .. }
            | Self::GetEphemerals { path }
            | Self::GetAllChildrenNumber { path }
            | Self::AddWatch { path, .. }
            | Self::CheckWatches { path, .. }
            | Self::RemoveWatches { path, .. } => Some(path),
            _ => None,
        }
    }

    /// Whether it goes through the log. Undecodable ones count too.
    pub fn is_write(&self) -> bool {
        matches!(
            self,
            Self::Create { .. }
                | Self::CreateTtl { .. }
                | Self::Delete { .. }
                | Self::SetData { .. }
                | Self::SetAcl { .. }
                | Self::CloseSession
                | Self::Reconfig { .. }
                | Self::Multi { opcode: opcode::MULTI, .. }
        )
    }

    /// Whether a server may close the connection behind the answer, or answer ahead of others.
    pub fn stands_alone(&self) -> bool {
        matches!(
            self,
            Self::Auth { .. } | Self::Sasl { .. } | Self::CloseSession | Self::Unknown { .. } | Self::Check { .. }
        )
    }

    fn encode(&self, last_zxid: i64) -> Vec<u8> {
        let w = Writer::new();
        match self {
            Self::Create { path, data, acl, flags, .. } => put_acl(put(put(w, path), data), acl).int(*flags).done(),
            Self::CreateTtl { path, data, acl, flags, ttl } => {
                put_acl(put(put(w, path), data), acl).int(*flags).long(*ttl).done()
            }
            Self::Delete { path, version } | Self::Check { path, version } => put(w, path).int(*version).done(),
            Self::Exists { path, watch } | Self::GetData { path, watch } | Self::GetChildren { path, watch, .. } => {
                put(w, path).byte(*watch).done()
            }
            Self::SetData { path, data, version } => put(put(w, path), data).int(*version).done(),
            Self::GetAcl { path }
            | Self::Sync { path }
            | Self::GetEphemerals { path }
            | Self::GetAllChildrenNumber { path } => put(w, path).done(),
            Self::SetAcl { path, acl, version } => put_acl(put(w, path), acl).int(*version).done(),
            Self::Ping | Self::WhoAmI | Self::CloseSession => w.done(),
            Self::Multi { ops, .. } => ops
                .iter()
                .fold(w, |w, op| w.int(op.opcode()).byte(0).int(-1).raw(&op.encode(last_zxid)))
                .int(-1)
                .byte(1)
                .int(-1)
                .done(),
            Self::Auth { kind, scheme, data } => put(text(w.int(*kind), scheme), data).done(),
            Self::SetWatches { relative, lists } => {
                let zxid = match relative {
                    Relative::Seen(less) => last_zxid.saturating_sub(*less),
                    Relative::Exactly(zxid) => *zxid,
                };
                lists.iter().fold(w.long(zxid), put_paths).done()
            }
            Self::Sasl { token } => put(w, token).done(),
            Self::AddWatch { path, mode: number }
            | Self::CheckWatches { path, kind: number }
            | Self::RemoveWatches { path, kind: number } => put(w, path).int(*number).done(),
            Self::Reconfig { joining, leaving, members, config } => {
                text(text(text(w, joining), leaving), members).long(*config).done()
            }
            Self::Unknown { body, .. } => w.raw(body).done(),
        }
    }
}

fn put(writer: Writer, value: &Option<Vec<u8>>) -> Writer {
    writer.buffer(value.as_deref())
}

fn text(writer: Writer, value: &Option<String>) -> Writer {
    writer.buffer(value.as_ref().map(String::as_bytes))
}

fn put_acl(writer: Writer, list: &AclList) -> Writer {
    let Some(list) = list else { return writer.int(-1) };
    let writer = writer.int(length(list.len()));
    list.iter().fold(writer, |w, entry| text(text(w.int(entry.perms), &entry.scheme), &entry.id))
}

fn put_paths(writer: Writer, list: &Option<Vec<Path>>) -> Writer {
    let Some(list) = list else { return writer.int(-1) };
    list.iter().fold(writer.int(length(list.len())), put)
}
