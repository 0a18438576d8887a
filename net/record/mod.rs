//! The records of the client protocol, one file per family. Each can be encoded and decoded: the server needs one
//! direction, clients, tests and the load generator the other.
//!
//! Fields have jute's names in our spelling and stand in wire order. A `Cow<str>` or `Vec` refuses null; where null has
//! a meaning, or an error of its own that only a later stage can give, the field is an `Option`.

mod acl;
mod children;
mod connect;
mod header;
mod multi;
mod node;
mod request;
mod security;
mod server;
mod stat;
mod watch;

pub use acl::{Acl, GetAclRequest, GetAclResponse, Id, SetAclRequest, SetAclResponse};
pub use children::{
    GetAllChildrenNumberRequest, GetAllChildrenNumberResponse, GetChildren2Response, GetChildrenRequest,
    GetChildrenResponse, GetEphemeralsRequest, GetEphemeralsResponse,
};
pub use connect::{ConnectRequest, ConnectResponse, PASSWORD_LEN, fuzz_connect};
pub use header::{MultiHeader, ReplyHeader, RequestHeader, xid};
pub use multi::{
    MultiOp, MultiReadOp, MultiReadRequest, MultiRequest, MultiResponse, MultiResult, encode_multi_end, fuzz_multi,
};
pub use node::{
    CheckVersionRequest, Create2Response, CreateRequest, CreateResponse, CreateTtlRequest, DeleteRequest,
    ExistsRequest, ExistsResponse, GetDataRequest, GetDataResponse, SetDataRequest, SetDataResponse,
};
pub use request::{Request, fuzz_request};
pub use security::{AuthPacket, ClientInfo, SaslRequest, SaslResponse, WhoAmIResponse};
pub use server::{ErrorResponse, ReconfigRequest, SyncRequest, SyncResponse};
pub use stat::Stat;
pub use watch::{
    AddWatchRequest, CheckWatchesRequest, RemoveWatchesRequest, SetWatches, SetWatches2, WatchList, WatcherEvent,
    event_type,
};
