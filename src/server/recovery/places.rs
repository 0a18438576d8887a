//! Where the files are, generation by generation.
//!
//! ```text
//! <base>/epochs                     the register, once this server has been a member of an ensemble
//! <base>/snapshots <log base>/log   generation 0
//! <base>/history-<n>                generation n: snapshots, and the log if both bases are one
//! <log base>/history-<n>            its log, if they are not
//! ```

use std::path::{Path, PathBuf};

use storage::generation_dir;

use crate::config::Config;

/// Below ZooKeeper's own `version-2`, in a directory that ZooKeeper does not look into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Of snapshots.
    pub base: PathBuf,
    /// Of the log. Maybe another disk.
    pub log_base: PathBuf,
    /// Which state: another one begins whenever this server takes over a leader's.
    pub generation: u64,
}

impl Places {
    /// As configured, of the first generation.
    pub fn new(config: &Config) -> Places {
        let below = |dir: &Path| dir.join("version-2").join("ringkeeper");
        let (base, log_base) = (below(&config.local.data_dir), below(&config.local.data_log_dir));
        Places { base, log_base, generation: 0 }
    }

    /// The same of another generation.
    #[must_use]
    pub fn of(&self, generation: u64) -> Places {
        Places { generation, ..self.clone() }
    }

    /// The directory of snapshots.
    pub fn snapshots(&self) -> PathBuf {
        match self.generation {
            0 => self.base.join("snapshots"),
            number => generation_dir(&self.base, number),
        }
    }

    /// The directory of the log.
    pub fn log(&self) -> PathBuf {
        match self.generation {
            0 => self.log_base.join("log"),
            number => generation_dir(&self.log_base, number),
        }
    }

    /// The file of epochs and generation, which all generations have in common.
    pub fn register(&self) -> PathBuf {
        self.base.join("epochs")
    }
}
