//! Time limits of the protocol, in ms. Members need not agree on them; each enforces its own.

/// See the head of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// `tickTime`: the leader looks after its quorum once per tick, and pings Java members twice.
    pub tick_ms: i64,
    /// `initLimit` in ms: each step until a quorum has taken a history over.
    pub init_ms: i64,
    /// `syncLimit` in ms: silence, or standstill, of a member that is in step.
    pub sync_ms: i64,
    /// Pause between pings to our own kind.
    pub heartbeat_ms: i64,
    /// Silence of a leader of our own kind after which it is given up.
    pub suspect_ms: i64,
}

impl Default for Limits {
    /// ZooKeeper's sample configuration, and our own heartbeats.
    fn default() -> Limits {
        Limits { tick_ms: 2000, init_ms: 20_000, sync_ms: 10_000, heartbeat_ms: 30, suspect_ms: 500 }
    }
}
