//! Any client request, by its opcode.

use super::{
    AddWatchRequest, AuthPacket, CheckWatchesRequest, CreateRequest, CreateTtlRequest, DeleteRequest, ExistsRequest,
    GetAclRequest, GetAllChildrenNumberRequest, GetChildrenRequest, GetDataRequest, GetEphemeralsRequest,
    MultiReadRequest, MultiRequest, ReconfigRequest, RemoveWatchesRequest, SaslRequest, SetAclRequest, SetDataRequest,
    SetWatches, SetWatches2, SyncRequest,
};
use crate::{
    error::DecodeError,
    jute::{Reader, Record, Writer},
    opcode::OpCode,
};

/// Names every request a client may send once and derives the dispatch in both directions from that list.
macro_rules! requests {
    ($($(#[$doc:meta])* $name:ident $(($record:ident $(<$lifetime:lifetime>)?))?,)*) => {
        /// A client's request, borrowing from its frame.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Request<'a> {
            $($(#[$doc])* $name $(($record $(<$lifetime>)?))?,)*
        }

        impl<'a> Request<'a> {
            /// Its number.
            pub fn op(&self) -> OpCode {
                match self {
                    $(requests!(@pattern $name $($record)?) => OpCode::$name,)*
                }
            }

            /// Decodes the record behind a request header. `None` when `op` is nothing a client may ask.
            ///
            /// # Errors
            /// When `body` is no such record; the client gets MARSHALLINGERROR and keeps its connection.
            pub fn decode(op: OpCode, body: &'a [u8]) -> Option<Result<Request<'a>, DecodeError>> {
                #[allow(unused_mut)]
                let mut reader = Reader::new(body);
                match op {
                    $(OpCode::$name => Some(requests!(@decode reader $name $($record)?)),)*
                    OpCode::CreateSession
                    | OpCode::Error
                    | OpCode::Notification
                    | OpCode::Check
                    | OpCode::DeleteContainer => None,
                }
            }

            /// Appends the record, without the request header.
            pub fn encode(&self, writer: &mut Writer<'_>) {
                match self {
                    $(requests!(@bind $name record $($record)?) => requests!(@encode writer record $($record)?),)*
                }
            }
        }
    };
    (@pattern $name:ident) => { Request::$name };
    (@pattern $name:ident $record:ident) => { Request::$name(_) };
    (@bind $name:ident $bound:ident) => { Request::$name };
    (@bind $name:ident $bound:ident $record:ident) => { Request::$name($bound) };
    (@decode $reader:ident $name:ident) => { Ok(Request::$name) };
    (@decode $reader:ident $name:ident $record:ident) => { Record::decode(&mut $reader).map(Request::$name) };
    (@encode $writer:ident $bound:ident) => { {} };
    (@encode $writer:ident $bound:ident $record:ident) => { $bound.encode($writer) };
}

requests! {
    /// Ends the session.
    CloseSession,
    /// Creates a node; its type follows from the flags.
    Create(CreateRequest<'a>),
    /// The same, answered with a Stat.
    Create2(CreateRequest<'a>),
    /// Creates a container.
    CreateContainer(CreateRequest<'a>),
    /// Creates a node with a TTL.
    CreateTtl(CreateTtlRequest<'a>),
    /// Deletes a node.
    Delete(DeleteRequest<'a>),
    /// Stat of a node that may be missing.
    Exists(ExistsRequest<'a>),
    /// Data and Stat.
    GetData(GetDataRequest<'a>),
    /// Replaces the data.
    SetData(SetDataRequest<'a>),
    /// ACL and Stat.
    GetAcl(GetAclRequest<'a>),
    /// Replaces the ACL.
    SetAcl(SetAclRequest<'a>),
    /// Names of the children.
    GetChildren(GetChildrenRequest<'a>),
    /// Names of the children, and Stat.
    GetChildren2(GetChildrenRequest<'a>),
    /// Number of all descendants.
    GetAllChildrenNumber(GetAllChildrenNumberRequest<'a>),
    /// Paths of this session's ephemeral nodes.
    GetEphemerals(GetEphemeralsRequest<'a>),
    /// Reads behind it see everything committed before it.
    Sync(SyncRequest<'a>),
    /// Keeps the session alive.
    Ping,
    /// Several writes as one transaction.
    Multi(MultiRequest<'a>),
    /// Several reads in one request.
    MultiRead(MultiReadRequest<'a>),
    /// Changes the ensemble.
    Reconfig(ReconfigRequest<'a>),
    /// Asks whether a watch is there.
    CheckWatches(CheckWatchesRequest<'a>),
    /// Takes watches away.
    RemoveWatches(RemoveWatchesRequest<'a>),
    /// Registers watches again after a reconnect.
    SetWatches(SetWatches<'a>),
    /// As `SetWatches`, with the persistent ones.
    SetWatches2(SetWatches2<'a>),
    /// Registers a persistent watch.
    AddWatch(AddWatchRequest<'a>),
    /// Adds an identity.
    Auth(AuthPacket<'a>),
    /// A step of a SASL exchange.
    Sasl(SaslRequest<'a>),
    /// The connection's identities.
    WhoAmI,
}

/// Takes the first byte as an opcode and decodes the rest; what decodes must decode again from its own encoding.
///
/// # Panics
/// When it does not, which is a bug.
pub fn fuzz_request(bytes: &[u8]) {
    let Some((selector, body)) = bytes.split_first() else { return };
    let op = OpCode::ALL[usize::from(*selector) % OpCode::ALL.len()];
    if let Some(Ok(request)) = Request::decode(op, body) {
        assert_eq!(request.op(), op);
        let mut again = Vec::new();
        request.encode(&mut Writer::new(&mut again));
        assert_eq!(Request::decode(op, &again), Some(Ok(request)));
    }
}

#[cfg(test)]
mod tests;
