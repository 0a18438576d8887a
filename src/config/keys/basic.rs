//! Keys of a standalone server that ZooKeeper knows by name.

use super::Scope::File;
use super::{I32_MAX, Key, Kind, from_minus_one, int, key, natural, unset};

const NO_JVM: &str = "there is no JVM whose pauses could be watched";

/// Twenty ticks must fit 31 bits, as the default of maxSessionTimeout is that many.
const TICK_TIME_MAX_MS: i64 = I32_MAX / 20;

pub(super) const KEYS: &[Key] = &[
    unset("dataDir", File, Kind::Path),
    unset("dataLogDir", File, Kind::Path),
    unset("clientPort", File, int(0, 65_535, "0 is not set")),
    unset("clientPortAddress", File, Kind::Text),
    key("clientPortListenBacklog", File, from_minus_one("-1 is the system's"), "-1"),
    key("tickTime", File, int(1, TICK_TIME_MAX_MS, "ms"), "3000"),
    key("minSessionTimeout", File, from_minus_one("ms, -1 is 2 x tickTime"), "-1"),
    key("maxSessionTimeout", File, from_minus_one("ms, -1 is 20 x tickTime"), "-1"),
    key("maxClientCnxns", File, Kind::Raised { floor: 0, max: I32_MAX, unit: "0 is no limit" }, "60"),
    key("autopurge.snapRetainCount", File, Kind::Raised { floor: 3, max: I32_MAX, unit: "snapshots" }, "3"),
    key("autopurge.purgeInterval", File, natural("h, 0 is never"), "1"),
    key("standaloneEnabled", File, Kind::Bool, "true"),
    key("reconfigEnabled", File, Kind::Bool, "false"),
    unset("dynamicConfigFile", File, Kind::Path),
    unset("server.*", File, Kind::Text),
    key("jvm.pause.monitor", File, Kind::Bool, "false").never(NO_JVM),
    key("jvm.pause.warn-threshold.ms", File, natural("ms"), "10000").never(NO_JVM),
    key("jvm.pause.info-threshold.ms", File, natural("ms"), "1000").never(NO_JVM),
    key("jvm.pause.sleep.time.ms", File, natural("ms"), "500").never(NO_JVM),
];
