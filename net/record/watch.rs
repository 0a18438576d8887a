//! Watches: registering, asking, removing, and the notification itself.
//!
//! Absent     what null paths and lists mean: they decode, and the server answers each as ZooKeeper does.

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

/// Paths to watch. With a null list, ZooKeeper carries out the lists before it and fails there.
pub type WatchList<'a> = Option<Vec<Option<Cow<'a, str>>>>;

records! {
    /// addWatch.
    AddWatchRequest<'a> {
        /// The node, which need not exist; null is a path of its own.
        path: Option<Cow<'a, str>>,
        /// 0 persistent, 1 persistent and recursive.
        mode: i32,
    }

    /// checkWatches.
    CheckWatchesRequest<'a> {
        /// Exactly this path; null is a path of its own.
        path: Option<Cow<'a, str>>,
        /// 1 children, 2 data, 3 any, 4 persistent, 5 persistent recursive.
        watcher_type: i32,
    }

    /// removeWatches.
    RemoveWatchesRequest<'a> {
        /// Exactly this path; null is a path of its own.
        path: Option<Cow<'a, str>>,
        /// As in `CheckWatchesRequest`.
        watcher_type: i32,
    }

    /// setWatches.
    SetWatches<'a> {
        /// The last zxid the client had seen.
        relative_zxid: i64,
        /// Left by getData, and by exists on a node that was there.
        data_watches: WatchList<'a>,
        /// Left by exists on a node that was missing.
        exist_watches: WatchList<'a>,
        /// Left by the listings.
        child_watches: WatchList<'a>,
    }

    /// setWatches2.
    SetWatches2<'a> {
        /// As in `SetWatches`.
        relative_zxid: i64,
        /// As in `SetWatches`.
        data_watches: WatchList<'a>,
        /// As in `SetWatches`.
        exist_watches: WatchList<'a>,
        /// As in `SetWatches`.
        child_watches: WatchList<'a>,
        /// Left by addWatch with mode 0.
        persistent_watches: WatchList<'a>,
        /// Left by addWatch with mode 1.
        persistent_recursive_watches: WatchList<'a>,
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
