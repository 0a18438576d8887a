//! What concerns the server rather than a znode: sync, reconfig, bare error codes.

use std::borrow::Cow;

use crate::jute::records;

records! {
    /// sync.
    SyncRequest<'a> {
        /// Not used; echoed, null too.
        path: Option<Cow<'a, str>>,
    }

    /// Answers sync.
    SyncResponse<'a> {
        /// The request's.
        path: Option<Cow<'a, str>>,
    }

    /// reconfig.
    ReconfigRequest<'a> {
        /// Servers to add or change, separated by commas.
        joining_servers: Option<Cow<'a, str>>,
        /// Ids of servers to take out, separated by commas.
        leaving_servers: Option<Cow<'a, str>>,
        /// The whole new membership instead.
        new_members: Option<Cow<'a, str>>,
        /// The configuration this change is meant for; -1 for any.
        cur_config_id: i64,
    }

    /// A code as a record: an error among multi's results, or 0 to answer addWatch.
    ErrorResponse {
        /// The code.
        err: i32,
    }
}
