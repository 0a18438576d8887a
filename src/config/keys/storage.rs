//! Keys of the log and of snapshots.

use super::Scope::{File, Property, PropertyOrBare};
use super::{I32_MAX, Key, Kind, SYNC, int, key, natural, unset};

const SEGMENTS: &str = "the log is made of segments of one size, ringkeeper.log.segmentSizeKb";
const NO_TIMER: &str = "writes gather while a sync is in flight, without a timer or a batch size";

pub(super) const KEYS: &[Key] = &[
    key("snapCount", Property, Kind::Raised { floor: 2, max: I32_MAX, unit: "transactions" }, "100000"),
    key("snapSizeLimitInKb", Property, int(i64::MIN, i64::MAX / 1024, "KiB, 0 or less is off"), "4194304"),
    key("forceSync", Property, Kind::Word(&["yes", "no"], false), "yes"),
    key("fsync.warningthresholdms", PropertyOrBare, natural("ms"), "1000"),
    key("digest.enabled", Property, Kind::Bool, "true"),
    key("closeSessionTxn.enabled", Property, Kind::Bool, "true"),
    key("datadir.autocreate", Property, Kind::Bool, "true"),
    key("txnLogSizeLimitInKb", Property, int(i64::MIN, i64::MAX / 1024, "KiB, 0 or less is off"), "-1").never(SEGMENTS),
    key("preAllocSize", Property, int(i64::MIN, i64::MAX / 1024, "KiB"), "65536").never(SEGMENTS),
    key("flushDelay", Property, natural("ms"), "0").never(NO_TIMER),
    unset("maxWriteQueuePollTime", Property, natural("ms")).never(NO_TIMER),
    key("maxBatchSize", Property, natural("requests"), "1000").never(NO_TIMER),
    key("snapshot.compression.method", Property, Kind::Word(&["", "gz", "snappy"], true), "")
        .not_yet("snapshots are not compressed yet"),
    key("snapshot.trust.empty", Property, Kind::Bool, "false").not_yet("ZooKeeper's own files are not imported yet"),
    key("snapshotSizeFactor", Property, Kind::Decimal { min: f64::MIN, max: f64::MAX }, "0.33").not_yet(SYNC),
    key("commitLogCount", Property, natural("proposals"), "500").not_yet(SYNC),
    key("serializeLastProcessedZxid.enabled", Property, Kind::Bool, "true")
        .never("every snapshot carries the zxid at which it was taken"),
    key("db.autocreate", Property, Kind::Bool, "true").not_yet("an empty data directory is always a new server's"),
    key("syncEnabled", File, Kind::Bool, "true").not_yet(SYNC),
    key("observer.syncEnabled", Property, Kind::Bool, "true").not_yet(SYNC),
    key("forceSnapshotSync", Property, Kind::Bool, "false").not_yet(SYNC),
];
