//! Which program a server is, and how it is called.
//!
//! Invariant  every kind takes the same zoo.cfg, the same `-Dkey=value` and the same data directory layout from outside:
//!            a test that names no kind runs with any.
//! Absent     a JVM tuned for speed: most of a test's time is its start, so that is what the flags are for.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::disk::SmallDisk;
use crate::peers;

/// Heap of a real ZooKeeper. Its trees are small here and many run side by side.
const ZOOKEEPER_HEAP_MIB: u32 = 256;
/// What a logged Java server says: every warning, and how it elects and synchronises.
const LOGGERS: [&str; 7] = [
    "defaultLogLevel=warn",
    "showDateTime=true",
    "dateTimeFormat=HH:mm:ss.SSS",
    "log.org.apache.zookeeper.server.quorum.Leader=info",
    "log.org.apache.zookeeper.server.quorum.LearnerHandler=info",
    "log.org.apache.zookeeper.server.quorum.Learner=info",
    "log.org.apache.zookeeper.server.quorum.Follower=info",
];

/// Which program serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ours, at this path.
    Ringkeeper(PathBuf),
    /// The original, from the jars that `tests/setup` fetched.
    ZooKeeper395,
    /// The oldest that we share an ensemble with, as Debian 12 has it.
    ZooKeeper380,
}

impl Kind {
    /// The kind of this name, as `Display` writes it; ours is at the path that `ringkeeper` gives.
    ///
    /// # Errors
    /// Which names there are.
    pub fn parse(name: &str, ringkeeper: impl FnOnce() -> PathBuf) -> Result<Self, String> {
        match name {
            "ringkeeper" => Ok(Self::Ringkeeper(ringkeeper())),
            "zookeeper395" => Ok(Self::ZooKeeper395),
            "zookeeper380" => Ok(Self::ZooKeeper380),
            other => Err(format!("{other:?} is none of ringkeeper, zookeeper395, zookeeper380")),
        }
    }

    /// Kinds of these names with commas between them.
    ///
    /// # Errors
    /// As `parse`.
    pub fn parse_list(names: &str, ringkeeper: &Path) -> Result<Vec<Self>, String> {
        names.split(',').map(|name| Self::parse(name.trim(), || ringkeeper.to_owned())).collect()
    }

    /// Whether it is an original.
    pub fn is_java(&self) -> bool {
        !matches!(self, Self::Ringkeeper(_))
    }

    /// The program with everything but the configuration file, which is the last argument of each.
    pub fn command(
        &self,
        properties: impl Iterator<Item = String>,
        is_logged: bool,
        disk: Option<&SmallDisk>,
    ) -> Command {
        let jars = match self {
            Self::Ringkeeper(binary) => {
                let mut command = disk.map_or_else(|| Command::new(binary), |disk| disk.inside(binary));
                // Segments are filled with zeros ahead of use, and hundreds of servers start here.
                command.args(["server", "-Dringkeeper.log.segmentSizeKb=17408"]).args(properties);
                return command;
            }
            Self::ZooKeeper395 => "jars",
            Self::ZooKeeper380 => "jars-3.8.0",
        };
        let mut command = peers::java_of(ZOOKEEPER_HEAP_MIB, &peers::server_class_path(jars, is_logged));
        if is_logged {
            command.args(LOGGERS.map(|setting| format!("-Dorg.slf4j.simpleLogger.{setting}")));
        }
        command.args(properties).arg("org.apache.zookeeper.server.quorum.QuorumPeerMain");
        command
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ringkeeper(_) => "ringkeeper",
            Self::ZooKeeper395 => "zookeeper395",
            Self::ZooKeeper380 => "zookeeper380",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let path = Path::new("here");
        let kinds = Kind::parse_list("zookeeper395, ringkeeper,zookeeper380", path).expect("known names");
        assert_eq!(kinds, [Kind::ZooKeeper395, Kind::Ringkeeper(path.to_owned()), Kind::ZooKeeper380]);
        for kind in kinds {
            assert_eq!(Kind::parse(&kind.to_string(), || path.to_owned()), Ok(kind));
        }
        assert!(Kind::parse_list("zookeeper", path).is_err());
    }
}
