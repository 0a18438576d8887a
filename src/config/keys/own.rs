//! Keys of ours, which ZooKeeper does not have.

use super::Scope::Own;
use super::{Key, Kind, int, key, unset};

/// What every one of our names begins with; an unknown name that does is an error.
pub(in crate::config) const PREFIX: &str = "ringkeeper.";

pub(super) const KEYS: &[Key] = &[
    key("ringkeeper.layout", Own, Kind::Layout, "auto"),
    key("ringkeeper.spin", Own, Kind::IntOrAuto { max: 1_000_000, unit: "µs" }, "auto"),
    key(
        "ringkeeper.log.strategy",
        Own,
        Kind::Word(&["auto", "buffered", "blocking", "direct", "direct-dsync", "mapped"], false),
        "auto",
    ),
    unset("ringkeeper.log.segmentSizeKb", Own, int(1024, 4_194_304, "KiB")),
    key("ringkeeper.heartbeatMs", Own, int(1, 60_000, "ms"), "30").among_members(),
    key("ringkeeper.suspectAfterMs", Own, int(3, 600_000, "ms"), "500").among_members(),
];
