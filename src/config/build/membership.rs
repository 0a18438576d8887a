//! Checks on the server list and its relatives: whether this is an ensemble, and if so, a whole one.
//!
//! Flow       lines and `myid` -> standalone (one voter, the default) or the checks of ZooKeeper's QuorumPeerConfig ->
//!            `Membership`.
//! Invariant  what an ensemble cannot have yet is refused by name, never ignored: members would disagree.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use ids::Sid;

use super::super::members::{Groups, Listed};
use super::super::membership::{ElectionTimes, Member, Membership, PeerListen, Quorum};
use super::super::origin::{Origin, Remark};
use super::super::settings::Settings;

/// Ids above this have no byte of their own in session ids.
const ID_OF_A_BYTE_MAX: u64 = 255;
/// With extended types the byte 255 marks a TTL.
const ID_EXTENDED_MAX: u64 = 254;
/// A leader that misses one heartbeat is not gone.
const HEARTBEATS_MIN: u32 = 3;

/// What an ensemble cannot have yet: the setting that asks for it when it is true, and its name.
const NOT_YET: [(&str, &str); 6] = [
    ("reconfigEnabled", "reconfiguration"),
    ("localSessionsEnabled", "local sessions"),
    ("localSessionsUpgradingEnabled", "local sessions"),
    ("quorum.auth.enableSasl", "SASL between servers"),
    ("sslQuorum", "TLS between servers"),
    ("portUnification", "TLS between servers"),
];

/// The file with our number.
#[derive(Clone, Debug)]
pub(super) struct MyId {
    path: PathBuf,
    /// `None` when there is no such file.
    id: Option<u64>,
}

/// Reads `myid`. That it is missing is a problem only of an ensemble.
pub(super) fn read_my_id(settings: &mut Settings, data_dir: &Path) -> MyId {
    let path = data_dir.join("myid");
    let wrong = |found: &str| format!("found {found} in {}; allowed: a number up to 2^63-1", path.display());
    let id = match fs::read_to_string(&path) {
        Ok(text) => {
            let first_line = text.lines().next().unwrap_or_default().trim();
            let id = first_line.parse::<u64>().ok().filter(|id| i64::try_from(*id).is_ok());
            if id.is_none() {
                settings.problem("myid", wrong(&format!("{first_line:?}")));
            }
            id
        }
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            settings.problem("myid", wrong("what is no text"));
            None
        }
        Err(error) => {
            settings.problem("myid", format!("cannot read {}: {error}", path.display()));
            None
        }
    };
    if let Some(id) = id {
        settings.note("myid", id, Origin::File { path: path.clone().into(), line: 1 });
    }
    MyId { path, id }
}

/// Our line of the list: the one that `myid` names, or the only one.
pub(super) fn ours<'a>(members: &'a [Listed], my_id: &MyId) -> Option<&'a Member> {
    let listed = match my_id.id {
        Some(id) => members.iter().find(|listed| listed.member.sid == Sid::new(id)),
        None => members.first().filter(|_| members.len() == 1),
    };
    Some(&listed?.member)
}

/// The ensemble that this server is a member of; `None` for a standalone one. What is wrong is added to the problems.
pub(super) fn build(
    settings: &mut Settings,
    listed: &[Listed],
    groups: Groups,
    my_id: &MyId,
    tick_time_ms: u32,
) -> Option<Membership> {
    if !is_ensemble(settings, listed) {
        return None;
    }
    refuse_what_is_not_yet(settings);
    check_lines(settings, listed);
    check_my_id(settings, listed, my_id);
    let quorum = quorum(settings, listed, groups);
    let init_limit_ms = limit(settings, "initLimit", tick_time_ms);
    let sync_limit_ms = limit(settings, "syncLimit", tick_time_ms);
    let connect_limit = settings.u32_over_zero("connectToLearnerMasterLimit");
    let epoch_limit = u64::try_from(settings.int("leader.maxTimeToWaitForEpoch"));
    let mut members: Vec<Member> = listed.iter().map(|listed| listed.member.clone()).collect();
    members.sort_by_key(|member| member.sid);
    Some(Membership {
        my_id: Sid::new(my_id.id.unwrap_or_default()),
        members,
        quorum,
        version: version(settings),
        tick_time_ms,
        init_limit_ms,
        sync_limit_ms,
        connect_limit_ms: connect_limit.map_or(init_limit_ms, |ticks| u64::from(ticks) * u64::from(tick_time_ms)),
        connect_retry_ms: settings.u32("leaderConnectDelayDuringRetryMs"),
        epoch_limit_ms: epoch_limit.unwrap_or(init_limit_ms),
        listen: PeerListen {
            on_all_addresses: settings.bool("quorumListenOnAllIPs"),
            bind_retries: settings.u32_over_zero("electionPortBindRetry"),
            keep_alive: settings.bool("tcpKeepAlive"),
        },
        election: election(settings, sync_limit_ms),
        leader_serves: &*settings.text("leaderServes") == "yes",
        snap_syncs_max: settings.u32("leader.maxConcurrentSnapSyncs"),
        diff_syncs_max: settings.u32("leader.maxConcurrentDiffSyncs"),
        observer_reconnect_ms: settings.u32("observer.reconnectDelayMs"),
        packet_data_max_bytes: packet_data_max(settings),
        heartbeat_ms: settings.u32("ringkeeper.heartbeatMs"),
        suspect_after_ms: suspect_after(settings),
    })
}

/// One voter is a standalone server, as some tools write such a line, unless `standaloneEnabled=false`.
fn is_ensemble(settings: &mut Settings, listed: &[Listed]) -> bool {
    let alone_allowed = settings.bool("standaloneEnabled");
    let voters = listed.iter().filter(|listed| !listed.member.is_observer).count();
    let observers = listed.len() - voters;
    let wrong = match voters {
        0 if !alone_allowed => {
            settings.problem("standaloneEnabled", "found false, but no server.N line that votes");
            return false;
        }
        0 if observers > 0 => "found only observers; an ensemble needs a participant",
        0 => return false,
        1 if alone_allowed && observers == 0 => return false,
        1 if alone_allowed => "found observers beside one participant; allowed: with standaloneEnabled=false",
        _ => return true,
    };
    let last = listed.last().expect("somebody votes or observes");
    settings.problems.push(last.remark(wrong));
    false
}

fn refuse_what_is_not_yet(settings: &mut Settings) {
    for (key, what) in NOT_YET {
        if settings.bool(key) {
            settings.problem(key, format!("found true; {what} of an ensemble is not supported yet; allowed: false"));
        }
    }
    if settings.is_set("oraclePath") {
        settings.problem("oraclePath", "is set; quorums by an oracle are not supported; allowed: no such line");
    }
}

/// What is wrong with single lines, and with two of them together; then what is merely unwise.
fn check_lines(settings: &mut Settings, listed: &[Listed]) {
    let (mut sids, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    for line in listed {
        let member = &line.member;
        if line.has_more_addresses {
            settings.problems.push(line.remark("has several addresses, which is not supported yet; allowed: one"));
        }
        if !sids.insert(member.sid) {
            settings.problems.push(line.remark("stands twice, once with another spelling of the number"));
        }
        for port in [member.quorum_port, member.election_port] {
            if !addresses.insert((&*member.host, port)) {
                settings.problems.push(line.remark(&format!("{}:{port} is another server's already", member.host)));
            }
        }
        if member.sid.to_u64() > ID_OF_A_BYTE_MAX {
            settings
                .warnings
                .push(line.remark("is above 255: sessions of members with the same last byte may collide"));
        }
    }
    let voters = listed.iter().filter(|listed| !listed.member.is_observer).count();
    let unwise = match voters {
        1 | 2 => format!("is one of {voters} voters: none of them may fail; three are the least that may lose one"),
        _ if voters % 2 == 0 => format!("is one of {voters} voters, of which no more may fail than of {}", voters - 1),
        _ => return,
    };
    let last = listed.iter().rfind(|listed| !listed.member.is_observer).expect("there are voters");
    settings.warnings.push(last.remark(&unwise));
}

fn check_my_id(settings: &mut Settings, listed: &[Listed], my_id: &MyId) {
    let path = my_id.path.display();
    let Some(id) = my_id.id else {
        if !settings.problems.iter().any(|problem| &*problem.key == "myid") {
            let text = format!("{path} is missing; allowed: a file with the number of this server's line, server.N");
            settings.problem("myid", text);
        }
        return;
    };
    if settings.bool("extendedTypesEnabled") && id > ID_EXTENDED_MAX {
        settings.problem("myid", format!("found {id} in {path}; allowed: at most 254 with extendedTypesEnabled"));
    }
    let Some(ours) = ours(listed, my_id) else {
        let known: Vec<String> = listed.iter().map(|listed| listed.member.sid.to_u64().to_string()).collect();
        let text = format!("found {id} in {path}, which has no line in the server list; allowed: {}", known.join(", "));
        settings.problem("myid", text);
        return;
    };
    let listed_type = if ours.is_observer { "observer" } else { "participant" };
    if settings.is_set("peerType") && !settings.text("peerType").eq_ignore_ascii_case(listed_type) {
        settings.warning("peerType", format!("has no effect: the server list says {listed_type}"));
    }
}

/// A limit in ticks, which ZooKeeper's members insist on too.
fn limit(settings: &mut Settings, key: &str, tick_time_ms: u32) -> u64 {
    let ticks = settings.u32(key);
    if ticks == 0 {
        settings.problem(key, format!("is not set, which an ensemble needs; allowed: ticks from 1, as in {key}=10"));
    }
    u64::from(ticks) * u64::from(tick_time_ms)
}

fn election(settings: &mut Settings, sync_limit_ms: u64) -> ElectionTimes {
    let notification_min_ms = settings.u32("fastleader.minNotificationInterval");
    let notification_max_ms = settings.u32("fastleader.maxNotificationInterval");
    if notification_min_ms > notification_max_ms {
        let text = format!("found {notification_min_ms}; allowed: at most fastleader.maxNotificationInterval");
        settings.problem("fastleader.minNotificationInterval", text);
    }
    ElectionTimes {
        connect_timeout_ms: settings.u32("cnxTimeout"),
        hello_timeout_ms: settings.u32_over_zero("quorumCnxnTimeoutMs").map_or(sync_limit_ms, u64::from),
        notification_min_ms,
        notification_max_ms,
        observer_delay_ms: settings.u32("observer.election.DelayMs"),
    }
}

/// As [`net::quorum::Limits`] has it.
fn packet_data_max(settings: &Settings) -> usize {
    let extra = settings.is_set("jute.maxbuffer.extrasize").then(|| settings.u32("jute.maxbuffer.extrasize") as usize);
    net::quorum::Limits::from_settings(settings.u32("jute.maxbuffer") as usize, extra).data_len_max
}

fn suspect_after(settings: &mut Settings) -> u32 {
    let (heartbeat_ms, suspect_ms) =
        (settings.u32("ringkeeper.heartbeatMs"), settings.u32("ringkeeper.suspectAfterMs"));
    if suspect_ms < heartbeat_ms.saturating_mul(HEARTBEATS_MIN) {
        let text = format!("found {suspect_ms}; allowed: at least three times ringkeeper.heartbeatMs, {heartbeat_ms}");
        settings.problem("ringkeeper.suspectAfterMs", text);
    }
    suspect_ms
}

/// The version of a server list is the last part of its file's name, where that is a number.
fn version(settings: &Settings) -> u64 {
    let path = settings.text_if_set("dynamicConfigFile");
    let part = path.as_deref().and_then(|path| Some(path.rsplit_once('.')?.1));
    let version = part.and_then(|part| i64::from_str_radix(part, 16).ok());
    version.and_then(|version| u64::try_from(version).ok()).unwrap_or(0)
}

/// Any `group.N` or `weight.N` makes it a hierarchy, in which every voter has a group.
fn quorum(settings: &mut Settings, listed: &[Listed], given: Groups) -> Quorum {
    if given.groups.is_empty() && given.weights.is_empty() {
        return Quorum::Majority;
    }
    let mut homes: BTreeMap<Sid, u64> = BTreeMap::new();
    for (group, sids, origin) in &given.groups {
        for sid in sids {
            if homes.insert(*sid, *group).is_some() {
                let text = format!("server {} is in another group too", sid.to_u64());
                settings.problems.push(Remark::new(origin, &format!("group.{group}"), text));
            }
        }
    }
    let mut weights: BTreeMap<Sid, u64> = given.weights.iter().map(|(sid, weight, _)| (*sid, *weight)).collect();
    let voters = listed.iter().filter(|listed| !listed.member.is_observer);
    for line in voters {
        weights.entry(line.member.sid).or_insert(1);
        if !homes.contains_key(&line.member.sid) {
            settings
                .problems
                .push(line.remark("is in no group; with group.N or weight.N lines every participant is in one"));
        }
    }
    let has_weight = |sid| weights.get(sid).is_some_and(|weight| *weight > 0);
    if !homes.keys().any(has_weight)
        && let Some(last) = listed.last()
    {
        settings.problems.push(last.remark("ends a list in which no group has any weight: nobody could decide"));
    }
    let mut groups: BTreeMap<u64, Vec<Sid>> = BTreeMap::new();
    homes.iter().for_each(|(sid, group)| groups.entry(*group).or_default().push(*sid));
    Quorum::Groups { groups: groups.into_iter().collect(), weights: weights.into_iter().collect() }
}
