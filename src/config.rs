//! Configuration: zoo.cfg and `-D` properties in, one checked [`Config`] out. Every setting stands here once, with its
//! unit, its default, its bound and the reason.
//!
//! Flow       properties (file) + defines (-D) -> settings (key, value, origin) -> checks -> `Config`.
//! Invariant  a `Config` is consistent: nothing behind this module parses text, knows a key's name or checks a bound.
//! Absent     reloading. ZooKeeper reads its settings once at start, and so do we.
//!
//! `Ensemble` is what all servers of one ensemble must agree on, `Local` what each may choose for itself.

use std::net::IpAddr;
use std::path::PathBuf;

mod auth;
mod build;
mod keys;
mod limits;
mod load;
mod members;
mod membership;
mod origin;
mod properties;
mod settings;
mod storage;
mod value;

pub use auth::{Auth, DigestAlgorithm, Secret};
pub use limits::{ConnectionThrottle, Containers, LargeRequests, RequestThrottle, Whitelist};
pub use load::{Effective, LoadError, Loaded, fuzz_zoo_cfg, load};
pub use membership::{ElectionTimes, Member, Membership, PeerListen, Quorum};
pub use origin::{Origin, Remark};
pub use settings::Define;
pub use storage::{LogStrategy, Purge, Retention, Storage};

/// Everything that the server is told from outside, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What all servers must agree on.
    pub ensemble: Ensemble,
    /// The others, and how to deal with them; `None` for a standalone server.
    pub membership: Option<Membership>,
    /// What concerns this process alone.
    pub local: Local,
}

/// Settings on which the servers of an ensemble must agree, or they would decide the same request differently.
#[derive(Clone, Debug, PartialEq)]
pub struct Ensemble {
    /// `tickTime`: the unit of sessions' expiry and of heartbeats, ms. 2000 without a zoo.cfg (as ZooKeeper's sample
    /// file has it), 3000 when a zoo.cfg is silent (as ZooKeeper). 1 to 107,374,182, so that 20 ticks fit 31 bits.
    pub tick_time_ms: u32,
    /// `minSessionTimeout`: what a client asks for is raised to this, ms. Default 2 ticks.
    pub session_timeout_min_ms: u32,
    /// `maxSessionTimeout`: what a client asks for is cut to this, ms. Default 20 ticks, never below the minimum.
    pub session_timeout_max_ms: u32,
    /// `-Djute.maxbuffer`: the longest frame a client may send, bytes without the length prefix. Default 0xfffff
    /// (1 MiB - 1); clients have the same default, so both ends must be raised together. From 1 to 2^31 - 1.
    pub jute_max_buffer_bytes: u32,
    /// `extendedTypesEnabled`: TTL nodes exist. Default false, since an old server reads their owner as a session.
    pub extended_types: bool,
    /// `emulate353TTLNodes`: the owner encoding of 3.5.3 counts as a TTL too. Default false.
    pub emulate_353_ttl: bool,
    /// `enforceQuota`: a write over a hard quota fails with QUOTAEXCEEDED. Default false: quotas only warn.
    pub enforce_quota: bool,
    /// `digest.enabled`: every transaction carries the tree's digest, and it is compared on apply. Default true.
    pub digest_enabled: bool,
    /// `closeSessionTxn.enabled`: closeSession records the ephemerals that it deletes. Default true; false only for
    /// ensembles with members older than 3.6.
    pub close_session_txn: bool,
    /// `skipACL=yes`: every ACL check passes. Default false.
    pub skip_acl: bool,
    /// `reconfigEnabled`: reconfig is not refused at once (a standalone server answers UNIMPLEMENTED then). Default
    /// false.
    pub reconfig_enabled: bool,
    /// The reaping of container and TTL nodes, done by the leader.
    pub containers: Containers,
}

/// Settings of this process.
#[derive(Clone, Debug, PartialEq)]
pub struct Local {
    /// The zoo.cfg that was read, absolute; `None` when the server was started without one.
    pub file: Option<PathBuf>,
    /// `dataDir`: snapshots and `myid`. `ringkeeper-data` in the working directory without a zoo.cfg; always absolute
    /// here. The files live in its subdirectories, `version-2` being ZooKeeper's own.
    pub data_dir: PathBuf,
    /// `dataLogDir`: the transaction log. Default `dataDir`. A device of its own keeps syncs short.
    pub data_log_dir: PathBuf,
    /// `clientPort`: the plain client port. 2181 without a zoo.cfg; with one it must be named there or in the server
    /// list. Never 0.
    pub client_port: u16,
    /// `clientPortAddress`: `None` is every address of the host, IPv6 and IPv4.
    pub client_address: Option<IpAddr>,
    /// `clientPortListenBacklog`: connections that wait for accept. `None` (-1) leaves the choice to us: the kernel's
    /// own limit, net.core.somaxconn.
    pub listen_backlog: Option<u32>,
    /// `maxClientCnxns`: connections per client address; the one over it is closed at once. Default 60, 0 is no limit.
    pub max_client_cnxns: u32,
    /// `maxCnxns`: connections in all. Default 0, no limit but the process's descriptors.
    pub max_cnxns: u32,
    /// `clientTcpKeepAlive`: SO_KEEPALIVE on client sockets. Default false: sessions' pings find the dead sooner.
    pub client_tcp_keep_alive: bool,
    /// `nio.sessionlessCnxnTimeout`: a connection that has not asked for a session by then is closed, ms. Default
    /// 10,000, at least 1.
    pub sessionless_timeout_ms: u32,
    /// `globalOutstandingLimit`: requests in the pipeline over which connections with one of their own outstanding
    /// are not read. Default 1000, at least 1.
    pub global_outstanding_limit: u32,
    /// `request_throttle_*` and relatives.
    pub request_throttle: RequestThrottle,
    /// `largeRequest*`.
    pub large_requests: LargeRequests,
    /// `connection_throttle_*`.
    pub connection_throttle: ConnectionThrottle,
    /// `4lw.commands.whitelist`: four-letter commands that are answered.
    pub whitelist: Whitelist,
    /// `-Dreadonlymode.enabled`: default false. A standalone server only shows it by answering `isro`.
    pub read_only_mode: bool,
    /// Who may do what, beyond the ACLs.
    pub auth: Auth,
    /// The log, snapshots and their retention.
    pub storage: Storage,
    /// `ringkeeper.layout`: which roles share an executor. Default `auto`.
    pub layout: tuning::Layout,
    /// `ringkeeper.spin`: how long an idle executor polls before it sleeps, µs. `None` (`auto`) leaves it to the plan.
    /// At most 1,000,000.
    pub spin_us: Option<u32>,
}
