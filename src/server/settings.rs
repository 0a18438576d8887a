//! What a serving core needs of the configuration, in the form in which it needs it.

use std::path::{Path, PathBuf};

use super::replica::member::Mode;
use crate::config::{Auth, Config, Ensemble, Whitelist};
use ids::Millis;
use tree::owner::OwnerRules;
use tree::prep::PrepSettings;
use tree::scheme::Schemes;
use tree::tree::TreeOptions;

/// Settings and fixed facts of a serving core.
pub struct ServeSettings {
    /// Longest frame a client may send, bytes.
    pub frame_len_max_bytes: usize,
    /// What a client's wish for a timeout is raised to, ms.
    pub session_timeout_min_ms: i32,
    /// What a client's wish for a timeout is cut to, ms.
    pub session_timeout_max_ms: i32,
    /// Unit of expiry, ms.
    pub tick_time_ms: i64,
    /// Connections per client address; 0 for no limit.
    pub max_client_cnxns: u32,
    /// Connections in all; 0 for no limit.
    pub max_cnxns: u32,
    /// Requests in process over which connections with one of their own are not read.
    pub global_outstanding_limit: usize,
    /// Four-letter words that are answered.
    pub whitelist: Whitelist,
    /// Who may be whom.
    pub auth: Auth,
    /// Keys the hash of watched paths.
    pub hash_seed: u64,
    /// The ACL schemes.
    pub schemes: Schemes,
    /// Monotonic clock at the start, for `uptime`.
    pub started: Millis,
    /// Which executor holds which roles, for `conf`.
    pub layout: String,
    /// For `conf`.
    pub config: Config,
    /// What this server is to clients before it says otherwise.
    pub first_mode: Mode,
    /// Where snapshots are.
    pub snapshot_dir: PathBuf,
    /// Where the log is.
    pub log_dir: PathBuf,
}

impl ServeSettings {
    /// From the configuration, with the directories that the server uses and the time it starts at.
    pub fn new(config: Config, layout: String, snapshot_dir: &Path, log_dir: &Path, started: Millis) -> ServeSettings {
        let (ensemble, local) = (&config.ensemble, &config.local);
        let timeout = |ms: u32| i32::try_from(ms).unwrap_or(i32::MAX);
        ServeSettings {
            frame_len_max_bytes: ensemble.jute_max_buffer_bytes as usize,
            session_timeout_min_ms: timeout(ensemble.session_timeout_min_ms),
            session_timeout_max_ms: timeout(ensemble.session_timeout_max_ms),
            tick_time_ms: i64::from(ensemble.tick_time_ms),
            max_client_cnxns: local.max_client_cnxns,
            max_cnxns: local.max_cnxns,
            global_outstanding_limit: local.global_outstanding_limit as usize,
            whitelist: local.whitelist.clone(),
            auth: local.auth.clone(),
            hash_seed: getrandom::u64().unwrap_or_default(),
            schemes: Schemes { digest: local.auth.digest_enabled, skip_acl: ensemble.skip_acl },
            started,
            layout: layout.replace('\n', "; "),
            first_mode: if config.membership.is_some() { Mode::Idle } else { Mode::Standalone },
            snapshot_dir: snapshot_dir.to_owned(),
            log_dir: log_dir.to_owned(),
            config,
        }
    }

    /// What preparing needs.
    pub fn prep(&self) -> PrepSettings {
        let ensemble = &self.config.ensemble;
        PrepSettings {
            schemes: self.schemes,
            enforce_quota: ensemble.enforce_quota,
            close_session_txn: ensemble.close_session_txn,
            reconfig_enabled: ensemble.reconfig_enabled,
            // Members of an ensemble may be as old as 3.8.0.
            create2_in_multi_as_create: self.config.membership.is_some(),
        }
    }
}

/// What the tree needs.
pub fn tree_options(ensemble: &Ensemble) -> TreeOptions {
    let owners = OwnerRules { extended_types: ensemble.extended_types, emulate_353: ensemble.emulate_353_ttl };
    TreeOptions { owners, digest: ensemble.digest_enabled }
}
