//! Four-letter words: what this core knows by itself is answered at once, the rest from a survey of all cores.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ids::{Millis, SessionId};
use net::buffer::ReceiveBuffer;
use tree::quota::QuotaText;
use tree::tree::Tree;

use super::super::admin::Word;
use super::super::admin::dates::java_date;
use super::super::admin::host;
use super::super::admin::report::{self, Bucket, ConnFacts, SessionFacts, Summary, VERSION_TEXT};
use super::super::messages::{ConnId, EnsembleFacts, MemberState, ServeFacts};
use super::super::metrics::{decimal_text, line};
use super::super::replica::Now;
use super::super::replica::member::Mode;
use super::connection::{Conn, Phase};
use super::survey::Survey;
use super::{Frontend, Next};

/// ZooKeeper's default trace mask.
pub const TRACE_MASK_DEFAULT: i64 = 306;

/// What a member without a leader answers where a tool asks about its service.
const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests\n";

/// Where quotas are kept.
const QUOTA_ROOT: &str = "/zookeeper/quota";

/// Bytes of a word, and of a word with the mask behind it.
const WORD_LEN: usize = 4;
const STMK_LEN: usize = 12;

impl Frontend {
    /// Answers if the connection starts with a word. `None` when it does not, or not yet.
    pub(super) fn four_letter_word(&mut self, id: ConnId, inbox: &mut ReceiveBuffer, now: Now) -> Option<Next> {
        let word = Word::from_bytes(*inbox.bytes().first_chunk::<WORD_LEN>()?)?;
        let mask = inbox.bytes().get(WORD_LEN..STMK_LEN).map(|bytes| bytes.try_into().map(i64::from_be_bytes));
        if word == Word::Stmk && mask.is_none() {
            return Some(Next::Receive);
        }
        inbox.skip(inbox.bytes().len());
        self.metrics.packets_received += 1;
        if let Some(conn) = self.conn(id) {
            conn.stats.received += 1;
        }
        let text = match word.refusal(&self.settings.whitelist) {
            Some(refusal) => refusal,
            None if self.mode == Mode::Idle && word.needs_a_leader() => NOT_SERVING.to_owned(),
            None => match self.text_of_own(word, mask.and_then(Result::ok)) {
                Some(text) => text,
                None => {
                    self.begin_survey(id, word, now);
                    return Some(Next::Wait);
                }
            },
        };
        self.answer_word(id, &text);
        Some(Next::Finish)
    }

    /// Gives a connection the text that it asked for, which is its last.
    pub(super) fn answer_word(&mut self, id: ConnId, text: &str) {
        self.metrics.packets_sent += 1;
        if let Some(conn) = self.conn(id) {
            conn.link.outbox().raw(text.as_bytes());
        }
        self.mark_dirty(id);
        self.finish(id);
    }

    /// The text of a word for which this core needs nobody else.
    fn text_of_own(&self, word: Word, mask: Option<i64>) -> Option<String> {
        Some(match word {
            Word::Ruok => "imok".to_owned(),
            Word::Conf => self.conf(),
            Word::Envi => envi(),
            Word::Dirs => {
                let (data, log) = self.directory_sizes();
                format!("datadir_size: {data}\nlogdir_size: {log}\n")
            }
            Word::Isro if self.mode == Mode::Idle => "null".to_owned(),
            Word::Isro => "rw".to_owned(),
            Word::Gtmk => self.shared.trace_mask().to_string(),
            Word::Stmk => {
                let mask = mask.unwrap_or(self.shared.trace_mask());
                self.shared.set_trace_mask(mask);
                mask.to_string()
            }
            Word::Hash => self.hash(),
            Word::TelnetClose => String::new(),
            Word::Srvr | Word::Stat | Word::Cons | Word::Crst | Word::Srst | Word::Mntr | Word::Dump => return None,
            Word::Wchs | Word::Wchc | Word::Wchp => return None,
        })
    }

    /// The text of a word to which everybody has said his part.
    pub(super) fn survey_text(&self, survey: &Survey, now: Now) -> String {
        match survey.word {
            Word::Srvr => report::srvr(&self.summary(survey)),
            Word::Stat => report::stat(&self.summary(survey), &connections(survey)),
            Word::Cons => report::cons(&connections(survey)),
            Word::Crst => "Connection stats reset.\n".to_owned(),
            Word::Srst => "Server stats reset.\n".to_owned(),
            Word::Mntr => self.mntr(survey, now),
            Word::Dump => self.dump(survey, now),
            Word::Wchs => wchs(survey),
            Word::Wchc => wchc(survey),
            Word::Wchp => wchp(survey),
            word => unreachable!("{word:?} needs no survey"),
        }
    }

    fn summary(&self, survey: &Survey) -> Summary {
        let tree = self.tree.borrow();
        Summary {
            latency: survey.metrics.requests,
            received: survey.metrics.packets_received,
            sent: survey.metrics.packets_sent,
            connections: sum(survey, |core| core.connections),
            outstanding: sum(survey, |core| core.in_process),
            zxid: tree.last_zxid(),
            mode: self.mode.name(),
            node_count: tree.node_count() as u64 + 1,
        }
    }

    /// For `cons` and `stat`: this core's connections.
    pub(super) fn connections(&self) -> Vec<ConnFacts> {
        self.all().map(facts).collect()
    }

    fn directory_sizes(&self) -> (u64, u64) {
        let snapshots = host::directory_bytes(&self.settings.snapshot_dir.join("snapshots"));
        (snapshots, host::directory_bytes(&self.settings.log_dir.join("log")))
    }

    fn conf(&self) -> String {
        let (local, (data_size, log_size)) = (&self.settings.config.local, self.directory_sizes());
        let dir = |dir: &std::path::Path| dir.join("version-2").display().to_string();
        let pairs: [(&str, String); 13] = [
            ("clientPort", local.client_port.to_string()),
            ("secureClientPort", "-1".to_owned()),
            ("dataDir", dir(&local.data_dir)),
            ("dataDirSize", data_size.to_string()),
            ("dataLogDir", dir(&local.data_log_dir)),
            ("dataLogSize", log_size.to_string()),
            ("tickTime", self.settings.tick_time_ms.to_string()),
            ("maxClientCnxns", self.settings.max_client_cnxns.to_string()),
            ("minSessionTimeout", self.settings.session_timeout_min_ms.to_string()),
            ("maxSessionTimeout", self.settings.session_timeout_max_ms.to_string()),
            (
                "clientPortListenBacklog",
                local.listen_backlog.map_or_else(|| "-1".to_owned(), |backlog| backlog.to_string()),
            ),
            ("serverId", "0".to_owned()),
            ("ringkeeper.layout", self.settings.layout.clone()),
        ];
        pairs.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
    }

    fn dump(&self, survey: &Survey, now: Now) -> String {
        let wall_at = |due: Millis| java_date(now.wall.to_i64() + due.to_i64() - now.monotonic.to_i64());
        let expiries = survey.replica.expiries.iter();
        let sessions: Vec<Bucket> = expiries
            .map(|(due, ids)| Bucket {
                due: wall_at(*due),
                lines: ids.iter().map(|id| format!("0x{:x}", id.to_i64())).collect(),
            })
            .collect();
        let tree = self.tree.borrow();
        let ephemerals: Vec<(SessionId, Vec<String>)> =
            tree.ephemeral_owners().map(|(session, paths)| (session, paths.collect())).collect();
        let mut by_due: BTreeMap<i64, Vec<String>> = BTreeMap::new();
        let idle_ms = i64::from(self.settings.config.local.sessionless_timeout_ms);
        for (peer, session, timeout_ms) in survey.serve.iter().flat_map(|core| &core.timeouts) {
            let due = now.monotonic.to_i64() + i64::from(*timeout_ms).max(idle_ms);
            let line = format!("ip: {} sessionId: 0x{:x}", report::java_socket(*peer), session.to_i64());
            by_due.entry(due / idle_ms * idle_ms).or_default().push(line);
        }
        let connections: Vec<Bucket> =
            by_due.into_iter().map(|(due, lines)| Bucket { due: wall_at(Millis::new(due)), lines }).collect();
        report::dump(&sessions, &ephemerals, &connections)
    }

    fn hash(&self) -> String {
        let mut out = String::new();
        for (zxid, digest) in &self.digests {
            let _ = writeln!(out, "{:x}: {}", zxid.to_wire(), *digest as i64);
        }
        out
    }

    fn mntr(&self, survey: &Survey, now: Now) -> String {
        let mut out = String::new();
        line(&mut out, "", "version", VERSION_TEXT);
        line(&mut out, "", "server_state", self.mode.name());
        let tree = self.tree.borrow();
        let (metrics, replica) = (&survey.metrics, &survey.replica);
        let requests = &metrics.requests;
        let size = |pick: fn((u32, u32, u32)) -> u32| metrics.response_size.map_or(-1, |sizes| i64::from(pick(sizes)));
        let gauges: [(&str, i64); 24] = [
            ("min_latency", requests.min_ms as i64),
            ("max_latency", requests.max_ms as i64),
            ("packets_received", metrics.packets_received as i64),
            ("packets_sent", metrics.packets_sent as i64),
            ("num_alive_connections", sum(survey, |core| core.connections) as i64),
            ("outstanding_requests", sum(survey, |core| core.in_process) as i64),
            ("uptime", now.monotonic.to_i64() - self.settings.started.to_i64()),
            ("znode_count", tree.node_count() as i64 + 1),
            ("watch_count", sum(survey, |core| core.watch_count) as i64),
            ("ephemerals_count", tree.ephemeral_count() as i64),
            ("approximate_data_size", tree.approximate_data_size() as i64),
            ("global_sessions", replica.sessions as i64),
            ("local_sessions", 0),
            ("open_file_descriptor_count", host::open_descriptors()),
            ("max_file_descriptor_count", host::descriptors_max()),
            ("last_client_response_size", size(|(last, _, _)| last)),
            ("max_client_response_size", size(|(_, _, max)| max)),
            ("min_client_response_size", size(|(_, min, _)| min)),
            // TLS, of which there is none yet.
            ("auth_failed_count", 0),
            ("non_mtls_remote_conn_count", 0),
            ("non_mtls_local_conn_count", 0),
            ("outstanding_tls_handshake", 0),
            ("log_has_room", i64::from(replica.has_room)),
            ("outstanding_txns", replica.outstanding as i64),
        ];
        line(&mut out, "", "avg_latency", requests.average_text());
        for (name, value) in gauges {
            line(&mut out, "", name, value);
        }
        let drop_probability = survey.serve.iter().map(|core| core.drop_probability).fold(0.0, f64::max);
        line(&mut out, "", "connection_drop_probability", decimal_text(drop_probability));
        if let Some(ensemble) = &replica.ensemble {
            write_ensemble(&mut out, ensemble);
        }
        write_quotas(&mut out, &tree);
        metrics.write_mntr(&mut out);
        out
    }
}

/// ZooKeeper's gauges of a member, and the leader's record of each other one.
fn write_ensemble(out: &mut String, ensemble: &EnsembleFacts) {
    let count = |is_observer: bool| {
        let in_step = ensemble.members.iter().filter(|member| member.state != MemberState::Down);
        in_step.filter(|member| member.is_observer == is_observer).count()
    };
    line(out, "", "peer_state", ensemble.peer_state);
    line(out, "", "quorum_size", ensemble.quorum_size);
    line(out, "", "current_epoch", ensemble.epoch);
    line(out, "", "leader_id", ensemble.leader.map_or(-1, |leader| leader.to_u64().cast_signed()));
    line(out, "", "looking_count", ensemble.elections);
    line(out, "", "pending_syncs", ensemble.pending_syncs);
    if ensemble.members.is_empty() {
        return;
    }
    line(out, "", "learners", count(false) + count(true));
    line(out, "", "followers", count(false));
    line(out, "", "synced_followers", count(false));
    line(out, "", "synced_observers", count(true));
    line(out, "", "synced_non_voting_followers", 0);
    for member in &ensemble.members {
        let name = |what: &str| format!("member_{}_{what}", member.sid.to_u64());
        line(out, "", &name("state"), member.state.name());
        line(out, "", &name("last_zxid"), member.last);
        line(out, "", &name("lag_zxids"), member.lag_zxids);
        line(out, "", &name("lag_ms"), member.lag_ms);
        line(out, "", &name("last_seen_ms"), member.seen_ms);
    }
}

fn sum(survey: &Survey, of: impl Fn(&ServeFacts) -> usize) -> usize {
    survey.serve.iter().map(of).sum()
}

fn connections(survey: &Survey) -> Vec<ConnFacts> {
    survey.serve.iter().flat_map(|core| core.conns.iter().cloned()).collect()
}

/// Sessions by path, of all cores.
fn by_path(survey: &Survey) -> BTreeMap<&str, Vec<SessionId>> {
    let mut out: BTreeMap<&str, Vec<SessionId>> = BTreeMap::new();
    for (path, sessions) in survey.serve.iter().flat_map(|core| &core.by_path) {
        out.entry(path).or_default().extend(sessions);
    }
    out
}

fn wchs(survey: &Survey) -> String {
    let paths = match survey.serve.as_slice() {
        [only] => only.watches.paths,
        _ => by_path(survey).len(),
    };
    let connections = sum(survey, |core| core.watches.connections);
    let watches = sum(survey, |core| core.watches.watches);
    format!("{connections} connections watching {paths} paths\nTotal watches:{watches}\n")
}

fn wchc(survey: &Survey) -> String {
    let mut out = String::new();
    for (session, paths) in survey.serve.iter().flat_map(|core| &core.by_session) {
        let _ = writeln!(out, "0x{:x}", session.to_i64());
        for path in paths {
            let _ = writeln!(out, "\t{path}");
        }
    }
    out.push('\n');
    out
}

fn wchp(survey: &Survey) -> String {
    let mut out = String::new();
    for (path, sessions) in by_path(survey) {
        let _ = writeln!(out, "{path}");
        for session in sessions {
            let _ = writeln!(out, "\t0x{:x}", session.to_i64());
        }
    }
    out.push('\n');
    out
}

/// Limits and usage of all quotas, summed up by first path component, hard limits before soft ones.
fn write_quotas(out: &mut String, tree: &Tree) {
    let mut sums: BTreeMap<String, [i64; 4]> = BTreeMap::new();
    let mut unseen = vec![QUOTA_ROOT.to_owned()];
    while let Some(path) = unseen.pop() {
        let Some(node) = tree.get(&path) else { continue };
        let names = node.children().filter(|name| !name.starts_with("zookeeper_"));
        unseen.extend(names.map(|name| format!("{path}/{name}")));
        let read = |name: &str| {
            tree.get(&format!("{path}/{name}"))
                .map(|node| node.data().map_or(Vec::new(), |data| data.as_slice().to_vec()))
        };
        let Some(limits) = read("zookeeper_limits") else { continue };
        let usage = read("zookeeper_stats").unwrap_or_default();
        let limits = QuotaText::parse(&limits).unwrap_or_default();
        let usage = QuotaText::parse(&usage).unwrap_or_default();
        let pick = |hard: i64, soft: i64| if hard > -1 { hard } else { soft };
        let values = [
            pick(limits.count_hard_limit(), limits.count()),
            pick(limits.byte_hard_limit(), limits.bytes()),
            usage.count(),
            usage.bytes(),
        ];
        let namespace = path[QUOTA_ROOT.len()..].split('/').nth(1).unwrap_or_default();
        let sum = sums.entry(namespace.to_owned()).or_default();
        sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value.max(0));
    }
    let names = ["quota_count_limit", "quota_bytes_limit", "quota_count_usage", "quota_bytes_usage"];
    for (namespace, sum) in &sums {
        for (name, value) in names.iter().zip(sum) {
            line(out, &format!("{namespace}_"), &format!("{name}_per_namespace"), value);
        }
    }
}

fn envi() -> String {
    let (free, max, total) = host::memory_mb();
    let directory = std::env::current_dir().map_or_else(|_| "<NA>".to_owned(), |dir| dir.display().to_string());
    let pairs: [(&str, String); 11] = [
        ("zookeeper.version", VERSION_TEXT.to_owned()),
        ("host.name", host::host_name()),
        ("os.name", "Linux".to_owned()),
        ("os.arch", host::java_arch().to_owned()),
        ("os.version", host::kernel_release()),
        ("user.name", host::variable("USER")),
        ("user.home", host::variable("HOME")),
        ("user.dir", directory),
        ("os.memory.free", free),
        ("os.memory.max", max),
        ("os.memory.total", total),
    ];
    let lines: String = pairs.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    format!("Environment:\n{lines}")
}

fn facts(conn: &Conn) -> ConnFacts {
    let stats = &conn.stats;
    let session = (conn.session != SessionId::NONE && conn.phase != Phase::Establishing).then(|| SessionFacts {
        id: conn.session,
        last_op: stats.last_op,
        established_ms: stats.established.to_i64(),
        timeout_ms: conn.timeout_ms,
        last_cxid: stats.last_cxid,
        last_zxid: stats.last_zxid,
        last_response_ms: stats.last_response.to_i64(),
        last_latency_ms: stats.last_latency_ms,
        latency: stats.latency,
    });
    ConnFacts {
        peer: conn.link.peer_addr(),
        reading: conn.phase != Phase::Closing && conn.phase != Phase::Finished,
        writing: conn.link.pending_bytes() > 0,
        queued: conn.outstanding,
        received: stats.received,
        sent: stats.sent,
        session,
    }
}
