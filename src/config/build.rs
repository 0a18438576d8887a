//! Settings to [`Config`]: the checks between keys, and the defaults that follow from other settings.
//!
//! The order of checks is that of ZooKeeper's QuorumPeerConfig, except that all problems are reported, not the first.

use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use super::limits::{ConnectionThrottle, Containers, LargeRequests, RequestThrottle, Whitelist};
use super::members;
use super::membership::Member;
use super::settings::Settings;
use super::storage::{LogStrategy, Purge, Retention, Storage};
use super::{Config, Ensemble, Local};

mod auth;
mod membership;

/// Where a server without a zoo.cfg listens.
const CLIENT_PORT_DEFAULT: u16 = 2181;
/// Where a server without a zoo.cfg keeps its data.
const DATA_DIR_DEFAULT: &str = "ringkeeper-data";
/// ZooKeeper's sample file has this; what a file that is silent gets stands in the key table.
const TICK_TIME_WITHOUT_FILE_MS: u32 = 2000;

/// Four-letter commands of 3.9, to find misspelt ones in the whitelist.
const COMMANDS: [&str; 19] = [
    "ruok", "srvr", "stat", "mntr", "conf", "cons", "crst", "srst", "dump", "envi", "wchs", "wchc", "wchp", "dirs",
    "isro", "gtmk", "stmk", "hash", "*",
];

/// Builds the configuration. What is wrong is added to the settings' problems; the result counts only without any.
pub(super) fn build(settings: &mut Settings, file: Option<&Path>) -> Config {
    check_sasl_between_servers(settings);
    let (members, groups) = members::read(settings);
    check_tls(settings);
    let (data_dir, data_log_dir) = directories(settings, file);
    let my_id = membership::read_my_id(settings, &data_dir);
    let ours = membership::ours(&members, &my_id);
    let (client_address, client_port) = client_port(settings, file, ours);
    let ensemble = ensemble(settings, file);
    Config {
        membership: membership::build(settings, &members, groups, &my_id, ensemble.tick_time_ms),
        ensemble,
        local: Local {
            file: file.map(absolute),
            data_dir,
            data_log_dir,
            client_port,
            client_address,
            listen_backlog: settings.u32_over_zero("clientPortListenBacklog"),
            max_client_cnxns: settings.u32("maxClientCnxns"),
            max_cnxns: settings.u32("maxCnxns"),
            client_tcp_keep_alive: settings.bool("clientTcpKeepAlive"),
            sessionless_timeout_ms: settings.u32("nio.sessionlessCnxnTimeout"),
            global_outstanding_limit: settings.u32("globalOutstandingLimit"),
            request_throttle: request_throttle(settings),
            large_requests: LargeRequests {
                threshold_bytes: settings.u32_over_zero("largeRequestThreshold"),
                max_bytes: settings.u32("largeRequestMaxBytes"),
            },
            connection_throttle: connection_throttle(settings),
            whitelist: whitelist(settings),
            read_only_mode: settings.bool("readonlymode.enabled"),
            auth: auth::build(settings),
            storage: storage(settings),
            layout: settings.text("ringkeeper.layout").parse().expect("checked as a layout when it was merged"),
            spin_us: settings.int_if_set("ringkeeper.spin").map(|us| u32::try_from(us).expect("bounded by its key")),
        },
    }
}

fn ensemble(settings: &mut Settings, file: Option<&Path>) -> Ensemble {
    let tick_time_ms = match file {
        None if !settings.is_set("tickTime") => TICK_TIME_WITHOUT_FILE_MS,
        _ => settings.u32("tickTime"),
    };
    let or_ticks = |ms: i64, ticks: u32| match u32::try_from(ms) {
        Ok(ms) => ms,
        Err(_) => ticks * tick_time_ms,
    };
    let session_timeout_min_ms = or_ticks(settings.int("minSessionTimeout"), 2);
    let session_timeout_max_ms = or_ticks(settings.int("maxSessionTimeout"), 20);
    if session_timeout_min_ms > session_timeout_max_ms {
        let text =
            format!("found {session_timeout_min_ms}; allowed: at most maxSessionTimeout, {session_timeout_max_ms}");
        settings.problem("minSessionTimeout", text);
    }
    if session_timeout_max_ms == 0 {
        settings
            .problem("maxSessionTimeout", "found 0; allowed: at least 1, as a timeout of 0 tells a client to give up");
    }
    settings.resolve("tickTime", tick_time_ms);
    settings.resolve("minSessionTimeout", session_timeout_min_ms);
    settings.resolve("maxSessionTimeout", session_timeout_max_ms);
    let never_used = settings.int("znode.container.maxNeverUsedIntervalMs");
    Ensemble {
        tick_time_ms,
        session_timeout_min_ms,
        session_timeout_max_ms,
        jute_max_buffer_bytes: settings.u32("jute.maxbuffer"),
        extended_types: settings.bool("extendedTypesEnabled"),
        emulate_353_ttl: settings.bool("emulate353TTLNodes"),
        enforce_quota: settings.bool("enforceQuota"),
        digest_enabled: settings.bool("digest.enabled"),
        close_session_txn: settings.bool("closeSessionTxn.enabled"),
        skip_acl: &*settings.text("skipACL") == "yes",
        reconfig_enabled: settings.bool("reconfigEnabled"),
        containers: Containers {
            check_interval_ms: settings.u32("znode.container.checkIntervalMs"),
            max_per_minute: settings.u32("znode.container.maxPerMinute"),
            never_used_interval_ms: u64::try_from(never_used).ok().filter(|ms| *ms > 0),
        },
    }
}

fn check_sasl_between_servers(settings: &mut Settings) {
    let enabled = settings.bool("quorum.auth.enableSasl");
    let learner = settings.bool("quorum.auth.learnerRequireSasl");
    let server = settings.bool("quorum.auth.serverRequireSasl");
    if server && !(enabled && learner) {
        let text = "needs quorum.auth.enableSasl=true and quorum.auth.learnerRequireSasl=true";
        settings.problem("quorum.auth.serverRequireSasl", text);
    } else if learner && !enabled {
        settings.problem("quorum.auth.learnerRequireSasl", "needs quorum.auth.enableSasl=true");
    }
}

fn check_tls(settings: &mut Settings) {
    let port = settings.int_if_set("secureClientPort").unwrap_or(0);
    if port != 0 {
        let text = format!(
            "found {port}; TLS is not supported yet, so clients of this port would find nobody; allowed: 0 or no such line"
        );
        settings.problem("secureClientPort", text);
    } else if settings.is_set("secureClientPortAddress") {
        settings.problem("secureClientPortAddress", "is set, but secureClientPort is not");
    }
}

/// dataDir and dataLogDir, absolute.
fn directories(settings: &mut Settings, file: Option<&Path>) -> (PathBuf, PathBuf) {
    let data_dir = match settings.text_if_set("dataDir") {
        Some(given) => given,
        None => {
            if let Some(file) = file {
                let text = format!("is not set in {}; allowed: a directory, as in dataDir=/data", file.display());
                settings.problem("dataDir", text);
            }
            DATA_DIR_DEFAULT.into()
        }
    };
    let data_log_dir = settings.text_if_set("dataLogDir").unwrap_or_else(|| data_dir.clone());
    for (key, path) in [("dataDir", &data_dir), ("dataLogDir", &data_log_dir)] {
        let resolved = absolute(Path::new(&**path));
        if settings.is_set(key) && Path::new(&**path).is_relative() {
            settings.warning(key, format!("is relative to where the server was started; it is {}", resolved.display()));
        }
        settings.resolve(key, resolved.display());
    }
    (absolute(Path::new(&*data_dir)), absolute(Path::new(&*data_log_dir)))
}

/// The path from the root on. A process without a working directory has no absolute one; the path as given then fails
/// where it is opened, with its name.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Address and port from clientPort*, or from our line of the server list if that names them.
fn client_port(settings: &mut Settings, file: Option<&Path>, ours: Option<&Member>) -> (Option<IpAddr>, u16) {
    let port = settings.int_if_set("clientPort").unwrap_or(0);
    let port = u16::try_from(port).expect("the key's bounds are those of ports");
    let host = settings.text_if_set("clientPortAddress");
    let address = host.as_deref().and_then(|host| resolve_host(settings, "clientPortAddress", host));
    let listed = ours.and_then(|member| member.client.clone());
    let (address, port) = match (port, listed) {
        (0, None) if file.is_none() => (address, CLIENT_PORT_DEFAULT),
        (0, None) if host.is_some() => {
            settings.problem("clientPortAddress", "is set, but clientPort is not");
            (address, CLIENT_PORT_DEFAULT)
        }
        (0, None) => {
            let place = file.map_or_else(String::new, |file| format!(" in {}", file.display()));
            let text = format!("is not set{place}, so no client could connect; allowed: a port, as in clientPort=2181");
            settings.problem("clientPort", text);
            (address, CLIENT_PORT_DEFAULT)
        }
        (port, None) => (address, port),
        (port, Some((listed_host, listed_port))) => {
            let listed_address = listed_host.as_deref().and_then(|host| resolve_host(settings, "server list", host));
            if port != 0 && (port != listed_port || (address.is_some() && address != listed_address)) {
                let text = format!("found {port}; the server list has another client address, with port {listed_port}");
                settings.problem("clientPort", text);
            }
            (listed_address, listed_port)
        }
    };
    settings.resolve("clientPort", port);
    settings.resolve("clientPortAddress", address.map_or("all".to_owned(), |address| address.to_string()));
    (address, port)
}

/// `None` for every address of the host, which is what an unspecified one means too.
fn resolve_host(settings: &mut Settings, key: &str, host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let parsed = bare.parse().ok();
    let found = parsed.or_else(|| Some((bare, 0).to_socket_addrs().ok()?.next()?.ip()));
    if found.is_none() {
        settings.problem(key, format!("found {host:?}; allowed: an address or name of this host"));
    }
    // 0.0.0.0 is how ZooKeeper writes "all addresses", IPv6 included.
    found.filter(|address| !address.is_unspecified())
}

fn request_throttle(settings: &Settings) -> RequestThrottle {
    RequestThrottle {
        max_requests: settings.u32_over_zero("request_throttle_max_requests"),
        stall_time_ms: settings.u32("request_throttle_stall_time"),
        drop_stale: settings.bool("request_throttle_drop_stale"),
        stale_connection_check: settings.bool("request_stale_connection_check"),
        stale_latency_check: settings.bool("request_stale_latency_check"),
        shutdown_timeout_ms: settings.u32("request_throttler.shutdownTimeout"),
        op_wait_time_ms: settings.u32_over_zero("throttled_op_wait_time"),
    }
}

fn connection_throttle(settings: &Settings) -> ConnectionThrottle {
    ConnectionThrottle {
        tokens: settings.u32_over_zero("connection_throttle_tokens"),
        fill_time_ms: settings.u32("connection_throttle_fill_time"),
        fill_count: settings.u32("connection_throttle_fill_count"),
        freeze_time_ms: settings.u32_over_zero("connection_throttle_freeze_time"),
        drop_increase: settings.decimal("connection_throttle_drop_increase"),
        drop_decrease: settings.decimal("connection_throttle_drop_decrease"),
        decrease_ratio: settings.decimal("connection_throttle_decrease_ratio"),
        weight_enabled: settings.bool("connection_throttle_weight_enabled"),
        global_session_weight: settings.u32("connection_throttle_global_session_weight"),
        local_session_weight: settings.u32("connection_throttle_local_session_weight"),
        renew_session_weight: settings.u32("connection_throttle_renew_session_weight"),
    }
}

/// Parts of a comma list, without white space and empty ones.
fn comma_list(text: &str) -> Vec<Box<str>> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(Into::into).collect()
}

fn whitelist(settings: &mut Settings) -> Whitelist {
    let mut commands = comma_list(&settings.text("4lw.commands.whitelist"));
    for unknown in commands.iter().filter(|command| !COMMANDS.contains(&&***command)) {
        settings.warning("4lw.commands.whitelist", format!("names {unknown:?}, which is no command"));
    }
    if commands.iter().any(|command| &**command == "*") {
        return Whitelist::All;
    }
    if settings.bool("readonlymode.enabled") {
        commands.push("isro".into());
    }
    Whitelist::Only(commands)
}

/// A record must fit a quarter of a segment, or a batch would not fit it; a record is a frame and a little more.
fn segment_size_kib(settings: &mut Settings) -> u32 {
    const DEFAULT_KIB: u64 = 64 * 1024;
    let frame_kib = u64::from(settings.u32("jute.maxbuffer")).div_ceil(1024);
    // What waits for the log, one more request, and the longest record have to fit into half a segment.
    let least_kib = 16 * (frame_kib + 64);
    let given = settings.int_if_set("ringkeeper.log.segmentSizeKb");
    let size_kib = given.map_or(DEFAULT_KIB.max(least_kib.next_multiple_of(1024)), |kib| kib.unsigned_abs());
    if size_kib < least_kib {
        let text = format!("found {size_kib}; allowed: at least {least_kib}, sixteen requests of jute.maxbuffer");
        settings.problem("ringkeeper.log.segmentSizeKb", text);
    }
    settings.resolve("ringkeeper.log.segmentSizeKb", size_kib);
    u32::try_from(size_kib).expect("sixteen times 2 GiB are 2^25 KiB")
}

fn storage(settings: &mut Settings) -> Storage {
    let limit_kib = settings.int("snapSizeLimitInKb");
    Storage {
        snap_count: settings.u32("snapCount"),
        snap_size_limit_kib: u64::try_from(limit_kib).ok().filter(|kib| *kib > 0),
        force_sync: &*settings.text("forceSync") == "yes",
        sync_warning_ms: settings.u32("fsync.warningthresholdms"),
        create_directories: settings.bool("datadir.autocreate"),
        strategy: match &*settings.text("ringkeeper.log.strategy") {
            "auto" => LogStrategy::Auto,
            "buffered" => LogStrategy::Buffered,
            "blocking" => LogStrategy::Blocking,
            "direct" => LogStrategy::Direct,
            "direct-dsync" => LogStrategy::DirectDsync,
            "mapped" => LogStrategy::Mapped,
            other => unreachable!("the key's words do not include {other}"),
        },
        segment_size_kib: segment_size_kib(settings),
        retention: Retention {
            snapshots: settings.u32("autopurge.snapRetainCount"),
            purge: match settings.u32_over_zero("autopurge.purgeInterval") {
                None => Purge::Never,
                Some(hours) if settings.is_set("autopurge.purgeInterval") => Purge::Hours(hours),
                Some(_) => Purge::EverySnapshot,
            },
        },
    }
}
