//! Settings of the log, of snapshots and of what is kept of both.

/// Settings of the log and of snapshots.
#[derive(Clone, Debug, PartialEq)]
pub struct Storage {
    /// `snapCount`: transactions between two snapshots; each server draws a number between half of it and all of it,
    /// so that an ensemble's members do not write theirs at once. Default 100,000, at least 2.
    pub snap_count: u32,
    /// `snapSizeLimitInKb`: bytes of log between two snapshots, drawn likewise, KiB. Default 4,194,304 (4 GiB); `None`
    /// (0 or less): no limit.
    pub snap_size_limit_kib: Option<u64>,
    /// `forceSync`: a write is acknowledged only when it is on the disk. Default true; `no` gives up durability.
    pub force_sync: bool,
    /// `fsync.warningthresholdms`: a sync that takes longer is logged, ms. Default 1000.
    pub sync_warning_ms: u32,
    /// `datadir.autocreate`: missing data directories are created. Default true.
    pub create_directories: bool,
    /// `ringkeeper.log.strategy`: how appends reach the disk.
    pub strategy: LogStrategy,
    /// `ringkeeper.log.segmentSizeKb`: size of a log segment, allocated ahead of use, KiB. Default 65,536 (64 MiB, as
    /// ZooKeeper's preAllocSize), or more if four requests of `jute.maxbuffer` need more. 1024 to 4,194,304 when given.
    pub segment_size_kib: u32,
    /// How much of the past is kept.
    pub retention: Retention,
}

/// How an append becomes durable. What is fastest depends on the device; `benches/log_append` compares them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStrategy {
    /// `auto`: `blocking` where the log has an executor to itself, else `buffered`.
    Auto,
    /// `buffered`: write into preallocated space, then fdatasync.
    Buffered,
    /// `blocking`: the same as plain system calls, which nothing else on the executor may wait for.
    Blocking,
    /// `direct`: O_DIRECT, then fdatasync.
    Direct,
    /// `direct-dsync`: O_DIRECT and O_DSYNC, no sync of its own.
    DirectDsync,
    /// `mapped`: store into a memory map, then fdatasync.
    Mapped,
}

/// What purging leaves. On by default, unlike in ZooKeeper, since a forgotten cron job fills the disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Retention {
    /// `autopurge.snapRetainCount`: newest snapshots kept, with the log from the oldest of them on. Default 3, which is
    /// also the minimum: one may be unreadable and one may be being written.
    pub snapshots: u32,
    /// `autopurge.purgeInterval`: when the rest goes.
    pub purge: Purge,
}

/// When purging happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge {
    /// 0: never.
    Never,
    /// Behind every snapshot: the default, because a fast server fills a disk within an hour.
    EverySnapshot,
    /// Behind a snapshot, at most so often, h; and at start.
    Hours(u32),
}
