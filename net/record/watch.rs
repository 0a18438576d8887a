//! Watches: registering, asking, removing, and the notification itself.

use std::borrow::Cow;

use crate::jute::records;

/// What happened, in a `WatcherEvent`. Clients make more of them for themselves (-1 and 5 to 7).
pub mod event_type {
    /// The path has come into being.
    pub const NODE_CREATED: i32 = 1;
    /// The path has gone.
    pub const NODE_DELETED: i32 = 2;
    /// The data has been set.
    pub const NODE_DATA_CHANGED: i32 = 3;
    /// A child has come or gone.
    pub const NODE_CHILDREN_CHANGED: i32 = 4;
}

records! {
    /// addWatch.
    AddWatchRequest<'a> {
        /// The node, which need not exist.
        path: Cow<'a, str>,
        /// 0 persistent, 1 persistent and recursive.
        mode: i32,
    }

    /// checkWatches.
    CheckWatchesRequest<'a> {
        /// Exactly this path.
        path: Cow<'a, str>,
        /// 1 children, 2 data, 3 any, 4 persistent, 5 persistent recursive.
        watcher_type: i32,
    }

    /// removeWatches.
    RemoveWatchesRequest<'a> {
        /// Exactly this path.
        path: Cow<'a, str>,
        /// As in `CheckWatchesRequest`.
        watcher_type: i32,
    }

    /// setWatches.
    SetWatches<'a> {
        /// The last zxid the client had seen.
        relative_zxid: i64,
        /// Left by getData, and by exists on a node that was there.
        data_watches: Vec<Cow<'a, str>>,
        /// Left by exists on a node that was missing.
        exist_watches: Vec<Cow<'a, str>>,
        /// Left by the listings.
        child_watches: Vec<Cow<'a, str>>,
    }

    /// setWatches2.
    SetWatches2<'a> {
        /// As in `SetWatches`.
        relative_zxid: i64,
        /// As in `SetWatches`.
        data_watches: Vec<Cow<'a, str>>,
        /// As in `SetWatches`.
        exist_watches: Vec<Cow<'a, str>>,
        /// As in `SetWatches`.
        child_watches: Vec<Cow<'a, str>>,
        /// Left by addWatch with mode 0.
        persistent_watches: Vec<Cow<'a, str>>,
        /// Left by addWatch with mode 1.
        persistent_recursive_watches: Vec<Cow<'a, str>>,
    }

    /// A watch has fired. Follows a reply header with `xid::NOTIFICATION`.
    WatcherEvent<'a> {
        /// One of `event_type`.
        event: i32,
        /// Always `STATE_SYNC_CONNECTED` from a server.
        state: i32,
        /// The changed path.
        path: Cow<'a, str>,
    }
}

impl<'a> WatcherEvent<'a> {
    /// The only connection state a server reports.
    pub const STATE_SYNC_CONNECTED: i32 = 3;

    /// The event of `event_type` on `path`.
    pub fn new(event: i32, path: &'a str) -> WatcherEvent<'a> {
        WatcherEvent { event, state: WatcherEvent::STATE_SYNC_CONNECTED, path: Cow::Borrowed(path) }
    }
}
