//! Limits on what clients may cost: throttles, large requests, containers, and the four-letter commands they may send.

/// Reaping of container and TTL nodes. JVM properties without prefix in ZooKeeper, so only `-D` sets them.
#[derive(Clone, Debug, PartialEq)]
pub struct Containers {
    /// `-Dznode.container.checkIntervalMs`: time between two rounds, ms. Default 60,000, at least 1.
    pub check_interval_ms: u32,
    /// `-Dznode.container.maxPerMinute`: deletions a minute, so that reaping never crowds out clients. Default 10,000,
    /// at least 1.
    pub max_per_minute: u32,
    /// `-Dznode.container.maxNeverUsedIntervalMs`: a container that never had a child goes after this, ms. `None` (0,
    /// the default): never.
    pub never_used_interval_ms: Option<u64>,
}

/// A bound on the requests in the pipeline, off by default.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestThrottle {
    /// `request_throttle_max_requests`: requests in the pipeline. `None` (0, the default): no bound.
    pub max_requests: Option<u32>,
    /// `request_throttle_stall_time`: how long a full pipeline waits before it looks again, ms. Default 100.
    pub stall_time_ms: u32,
    /// `request_throttle_drop_stale`: requests that became stale while they waited are dropped. Default true.
    pub drop_stale: bool,
    /// `request_stale_connection_check`: a request whose connection has closed is stale. Default true.
    pub stale_connection_check: bool,
    /// `request_stale_latency_check`: a request older than its session's timeout is stale. Default false.
    pub stale_latency_check: bool,
    /// `request_throttler.shutdownTimeout`: at shutdown, how long requests in flight are waited for, ms. Default 10,000.
    pub shutdown_timeout_ms: u32,
    /// `throttled_op_wait_time`: a request that waited longer is answered THROTTLEDOP unexecuted, ms. `None` (0, the
    /// default): never.
    pub op_wait_time_ms: Option<u32>,
}

/// A bound on the memory of large requests in flight, off by default.
#[derive(Clone, Debug, PartialEq)]
pub struct LargeRequests {
    /// `largeRequestThreshold`: a request of more bytes is large. `None` (-1, the default): none is.
    pub threshold_bytes: Option<u32>,
    /// `largeRequestMaxBytes`: sum of the large requests in flight; the one over it closes its connection. Default
    /// 104,857,600 (100 MiB).
    pub max_bytes: u32,
}

/// A token bucket on ConnectRequests, with random early drop (ZooKeeper's BlueThrottle). Off by default.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectionThrottle {
    /// `connection_throttle_tokens`: size of the bucket. `None` (0, the default): off.
    pub tokens: Option<u32>,
    /// `connection_throttle_fill_time`: ms between two fills. Default 1, at least 1.
    pub fill_time_ms: u32,
    /// `connection_throttle_fill_count`: tokens a fill adds. Default 1.
    pub fill_count: u32,
    /// `connection_throttle_freeze_time`: ms between two changes of the drop probability. `None` (-1, the default): the
    /// bucket alone decides.
    pub freeze_time_ms: Option<u32>,
    /// `connection_throttle_drop_increase`: added to the drop probability when the bucket is empty. 0 to 1, default 0.02.
    pub drop_increase: f64,
    /// `connection_throttle_drop_decrease`: taken off when it has tokens to spare. 0 to 1, default 0.002.
    pub drop_decrease: f64,
    /// `connection_throttle_decrease_ratio`: "to spare" is more than this part of the bucket. 0 to 1, default 0.
    pub decrease_ratio: f64,
    /// `connection_throttle_weight_enabled`: a handshake costs the weights below instead of 1. Default false.
    pub weight_enabled: bool,
    /// `connection_throttle_global_session_weight`: tokens of a new global session. Default 3, at least 1.
    pub global_session_weight: u32,
    /// `connection_throttle_local_session_weight`: tokens of a new local session. Default 1, at least 1.
    pub local_session_weight: u32,
    /// `connection_throttle_renew_session_weight`: tokens of a re-attach. Default 2, at least 1.
    pub renew_session_weight: u32,
}

/// Four-letter commands that are answered. `srvr` always is, `isro` also when read-only mode is enabled.
#[derive(Clone, Debug, PartialEq)]
pub enum Whitelist {
    /// `*`.
    All,
    /// These, and `srvr`.
    Only(Vec<Box<str>>),
}

impl Whitelist {
    /// Whether `command` may be answered.
    pub fn allows(&self, command: &str) -> bool {
        match self {
            Whitelist::All => true,
            Whitelist::Only(commands) => command == "srvr" || commands.iter().any(|allowed| **allowed == *command),
        }
    }
}
