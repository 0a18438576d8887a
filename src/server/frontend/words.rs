//! Four-letter words: gathers the facts and has them written.

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
use super::super::metrics::{decimal_text, line};
use super::super::replica::{ConnId, Now};
use super::connection::{Conn, Phase};
use super::{Frontend, Next};

/// ZooKeeper's default trace mask.
pub const TRACE_MASK_DEFAULT: i64 = 306;

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
            None => self.answer_word(word, mask.and_then(Result::ok), now),
        };
        self.metrics.packets_sent += 1;
        if let Some(conn) = self.conn(id) {
            conn.link.outbox().raw(text.as_bytes());
        }
        self.mark_dirty(id);
        self.finish(id);
        Some(Next::Finish)
    }

    fn answer_word(&mut self, word: Word, mask: Option<i64>, now: Now) -> String {
        match word {
            Word::Ruok => "imok".to_owned(),
            Word::Srvr => report::srvr(&self.summary()),
            Word::Stat => report::stat(&self.summary(), &self.connections()),
            Word::Cons => report::cons(&self.connections()),
            Word::Crst => {
                self.slots.iter_mut().filter_map(|slot| slot.conn.as_mut()).for_each(|conn| conn.stats.reset());
                "Connection stats reset.\n".to_owned()
            }
            Word::Srst => {
                self.metrics.reset();
                "Server stats reset.\n".to_owned()
            }
            Word::Mntr => self.mntr(now),
            Word::Conf => self.conf(),
            Word::Dump => self.dump(now),
            Word::Envi => envi(),
            Word::Dirs => {
                let (data, log) = self.directory_sizes();
                format!("datadir_size: {data}\nlogdir_size: {log}\n")
            }
            Word::Isro => "rw".to_owned(),
            Word::Gtmk => self.trace_mask.to_string(),
            Word::Stmk => {
                self.trace_mask = mask.unwrap_or(self.trace_mask);
                self.trace_mask.to_string()
            }
            Word::Hash => self.hash(),
            Word::Wchs => self.wchs(),
            Word::Wchc => self.wchc(),
            Word::Wchp => self.wchp(),
            Word::TelnetClose => String::new(),
        }
    }

    fn summary(&self) -> Summary {
        let tree = self.tree.borrow();
        Summary {
            latency: self.metrics.requests,
            received: self.metrics.packets_received,
            sent: self.metrics.packets_sent,
            connections: self.connections,
            outstanding: self.in_process,
            zxid: tree.last_zxid(),
            mode: "standalone",
            node_count: tree.node_count() as u64 + 1,
        }
    }

    fn connections(&self) -> Vec<ConnFacts> {
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

    fn dump(&self, now: Now) -> String {
        let replica = self.replica.borrow();
        let wall_at = |due: Millis| java_date(now.wall.to_i64() + due.to_i64() - now.monotonic.to_i64());
        let sessions: Vec<Bucket> = replica
            .sessions()
            .buckets()
            .map(|(due, ids)| Bucket {
                due: wall_at(due),
                lines: ids.map(|id| format!("0x{:x}", id.to_i64())).collect(),
            })
            .collect();
        let tree = self.tree.borrow();
        let ephemerals: Vec<(SessionId, Vec<String>)> =
            tree.ephemeral_owners().map(|(session, paths)| (session, paths.collect())).collect();
        let mut by_due: BTreeMap<i64, Vec<String>> = BTreeMap::new();
        for conn in self.all() {
            let idle_ms = i64::from(self.settings.config.local.sessionless_timeout_ms);
            let due = now.monotonic.to_i64() + i64::from(conn.timeout_ms).max(idle_ms);
            let line =
                format!("ip: {} sessionId: 0x{:x}", report::java_socket(conn.link.peer_addr()), conn.session.to_i64());
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

    fn wchs(&self) -> String {
        let totals = self.watches.totals();
        format!(
            "{} connections watching {} paths\nTotal watches:{}\n\n",
            totals.connections, totals.paths, totals.watches
        )
    }

    fn wchc(&self) -> String {
        let mut out = String::new();
        self.watches.by_watcher(|watcher, paths| {
            let _ = writeln!(out, "0x{:x}", self.session_of(watcher.0).to_i64());
            for path in paths {
                let _ = writeln!(out, "\t{path}");
            }
        });
        out.push('\n');
        out
    }

    fn wchp(&self) -> String {
        let mut out = String::new();
        self.watches.by_path(|path, watchers| {
            let _ = writeln!(out, "{path}");
            for watcher in watchers {
                let _ = writeln!(out, "\t0x{:x}", self.session_of(watcher.0).to_i64());
            }
        });
        out.push('\n');
        out
    }

    fn session_of(&self, slot: u32) -> SessionId {
        self.slots.get(slot as usize).and_then(|place| place.conn.as_ref()).map_or(SessionId::NONE, |conn| conn.session)
    }

    fn mntr(&self, now: Now) -> String {
        let mut out = String::new();
        line(&mut out, "", "version", VERSION_TEXT);
        line(&mut out, "", "server_state", "standalone");
        let tree = self.tree.borrow();
        let replica = self.replica.borrow();
        let requests = &self.metrics.requests;
        let size =
            |pick: fn((u32, u32, u32)) -> u32| self.metrics.response_size.map_or(-1, |sizes| i64::from(pick(sizes)));
        let gauges: [(&str, i64); 21] = [
            ("min_latency", requests.min_ms as i64),
            ("max_latency", requests.max_ms as i64),
            ("packets_received", self.metrics.packets_received as i64),
            ("packets_sent", self.metrics.packets_sent as i64),
            ("num_alive_connections", self.connections as i64),
            ("outstanding_requests", self.in_process as i64),
            ("uptime", now.monotonic.to_i64() - self.settings.started.to_i64()),
            ("znode_count", tree.node_count() as i64 + 1),
            ("watch_count", self.watches.len() as i64),
            ("ephemerals_count", tree.ephemeral_count() as i64),
            ("approximate_data_size", tree.approximate_data_size() as i64),
            ("global_sessions", replica.sessions().len() as i64),
            ("local_sessions", 0),
            ("open_file_descriptor_count", host::open_descriptors()),
            ("max_file_descriptor_count", host::descriptors_max()),
            ("last_client_response_size", size(|(last, _, _)| last)),
            ("max_client_response_size", size(|(_, _, max)| max)),
            ("min_client_response_size", size(|(_, min, _)| min)),
            ("auth_failed_count", 0),
            ("log_has_room", i64::from(replica.has_room())),
            ("outstanding_txns", replica.outstanding() as i64),
        ];
        line(&mut out, "", "avg_latency", requests.average_text());
        for (name, value) in gauges {
            line(&mut out, "", name, value);
        }
        line(&mut out, "", "connection_drop_probability", decimal_text(self.handshakes.drop_probability()));
        write_quotas(&mut out, &tree);
        self.metrics.write_mntr(&mut out);
        out
    }
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
