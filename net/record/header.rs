//! What precedes every record: the headers of requests, replies and the parts of a multi.

use crate::jute::records;

/// Request numbers with a meaning of their own.
pub mod xid {
    /// A watch notification, from the server only.
    pub const NOTIFICATION: i32 = -1;
    /// A ping and its answer. The answer carries it whatever the request carried.
    pub const PING: i32 = -2;
    /// An auth packet, as the Java client sends it. Echoed.
    pub const AUTH: i32 = -4;
    /// setWatches, as the Java client sends it. Echoed.
    pub const SET_WATCHES: i32 = -8;
}

records! {
    /// Precedes a request's record.
    RequestHeader {
        /// The client's number for this request; the server echoes it and checks nothing about it.
        xid: i32,
        /// An `OpCode`'s number.
        op: i32,
    }

    /// Precedes a reply's record, which is there only when `err` is 0.
    ReplyHeader {
        /// The request's, or one of `xid`.
        xid: i32,
        /// The last zxid this server had applied when it built the reply.
        zxid: i64,
        /// 0, or an error code.
        err: i32,
    }

    /// Precedes each operation or result of a multi, and ends it.
    MultiHeader {
        /// An `OpCode`'s number; -1 for an error result and for the end.
        op: i32,
        /// Nothing follows.
        done: bool,
        /// 0 or an error code in results; -1 and without meaning in requests.
        err: i32,
    }
}

impl MultiHeader {
    /// Ends every multi, request or response.
    pub const END: MultiHeader = MultiHeader { op: -1, done: true, err: -1 };
}
