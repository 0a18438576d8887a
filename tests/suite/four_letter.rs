//! Four-letter commands: the same history on Ringkeeper and on a real ZooKeeper 3.9.5, every answer compared field by
//! field. What may differ (times, latencies, sizes, paths, session ids) is masked, and where its form matters, checked.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use support::client::Session;
use support::four_letter::{ask, ask_bytes};
use support::server::{Kind, Server, Settings};
use support::wire::{Writer, opcode};

use crate::{start, under_test};

/// How long answers may take to agree: well below the sessions' timeout, and only a bug gets near it.
const LIMIT: Duration = Duration::from_secs(15);

/// Two servers with one history, and the sessions that made it.
struct Pair {
    original: Server,
    ours: Server,
    sessions: [Vec<Session>; 2],
}

impl Pair {
    fn start() -> Self {
        let settings = Settings::new().line("maxSessionTimeout", 60_000);
        let original = Server::start(&Kind::ZooKeeper395, settings.clone());
        let ours = Server::start(&under_test(), settings);
        let sessions = [history(&original), history(&ours)];
        Self { original, ours, sessions }
    }

    /// Both answers to a command, with session ids named by their order and ports masked.
    fn ask(&self, command: &str) -> [String; 2] {
        let one = |server: &Server, sessions: &[Session]| {
            let mut text = ask(server.address(), command).unwrap_or_else(|error| panic!("{command}: {error}"));
            for (index, session) in sessions.iter().enumerate() {
                text = text.replace(&format!("{:x}", session.id()), &format!("<session {index}>"));
            }
            text
        };
        [one(&self.original, &self.sessions[0]), one(&self.ours, &self.sessions[1])]
    }

    /// Asks until both answers agree once `mask` has hidden what may differ: servers notice closed connections on
    /// their own time.
    fn agree(&self, command: &str, mask: impl Fn(&str) -> String) -> [String; 2] {
        let deadline = Instant::now() + LIMIT;
        loop {
            let answers = self.ask(command);
            let [original, ours] = [mask(&answers[0]), mask(&answers[1])];
            if original == ours {
                return answers;
            }
            assert!(
                Instant::now() < deadline,
                "{command}: masked, ZooKeeper says\n{original}\nand the server under test\n{ours}\nunmasked:\n{answers:#?}"
            );
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Nodes, an ephemeral, watches in both tables, a failed request: something for every report.
fn history(server: &Server) -> Vec<Session> {
    let mut first = Session::open(server.address());
    let mut second = Session::open(server.address());
    first.create("/a", b"value", 0).expect("a fresh server");
    first.create("/a/e", b"", 1).expect("a fresh server");
    second.create("/b", b"", 0).expect("a fresh server");
    second.get("/a", true).expect("just created");
    second.exists("/nothing", true).expect_err("never created");
    second.children("/", true).expect("always there");
    first.get("/b", true).expect("just created");
    first.create("/a", b"", 0).expect_err("it is there");
    let watch = Writer::new().string("/b").int(1).done();
    second.call(opcode::ADD_WATCH, &watch).expect("always possible");
    vec![first, second]
}

/// Every run of digits becomes one `#`, also behind a point or as hexadecimal digits behind `0x`.
fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let hex =
            rest.strip_prefix("0x").map(|tail| tail.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(tail.len()) + 2);
        let decimal = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let length = match hex {
            Some(length) if length > 2 => length,
            _ if first.is_ascii_digit() => decimal,
            _ => 0,
        };
        if length > 0 {
            out.push('#');
            rest = &rest[length..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

/// The lines between their keys and their values.
fn keys(text: &str, separator: char) -> Vec<&str> {
    text.lines().filter_map(|line| line.split_once(separator).map(|(key, _)| key)).collect()
}

#[test]
fn fixed_answers_are_the_same() {
    let pair = Pair::start();
    for command in ["ruok", "isro", "gtmk", "crst", "srst"] {
        pair.agree(command, str::to_owned);
    }
    assert_eq!(pair.ask("ruok")[1], "imok");
    for server in [&pair.original, &pair.ours] {
        let mut command = b"stmk".to_vec();
        command.extend(2_i64.to_be_bytes());
        assert_eq!(ask_bytes(server.address(), &command, LIMIT).expect("an answer"), "2");
        assert_eq!(ask(server.address(), "gtmk").expect("an answer"), "2");
        // A newline behind a command, and half of one before a pause, make no difference.
        assert_eq!(ask(server.address(), "ruok\n").expect("an answer"), "imok");
        let mut slow = TcpStream::connect(server.address()).expect("it listens");
        slow.set_read_timeout(Some(LIMIT)).expect("a limit above zero");
        slow.write_all(b"ru").expect("a small write");
        thread::sleep(Duration::from_millis(20));
        slow.write_all(b"ok").expect("a small write");
        let mut answer = String::new();
        slow.read_to_string(&mut answer).expect("an answer");
        assert_eq!(answer, "imok");
    }
}

#[test]
fn srvr_and_stat_have_the_same_form_and_counts() {
    let pair = Pair::start();
    let exact = ["Zxid", "Mode", "Node count", "Connections", "Outstanding"];
    for command in ["srvr", "stat"] {
        let answers = pair.agree(command, |text| {
            let lines = text.lines().filter(|line| !line.starts_with("Zookeeper version:"));
            let lines = lines.map(|line| match line.split_once(':') {
                Some((key, _)) if exact.contains(&key) => line.to_owned(),
                _ => masked(line),
            });
            sorted_clients(lines.collect())
        });
        let version = answers[1].lines().next().unwrap_or_default();
        let number = version.strip_prefix("Zookeeper version: ").unwrap_or_default();
        assert!(number.starts_with("3.9.") && number.contains(", built on "), "{version}");
        assert!(answers[1].ends_with('\n'));
    }
}

/// The clients of `stat` and `cons` come in no order.
fn sorted_clients(mut lines: Vec<String>) -> String {
    let is_client = |line: &String| line.starts_with(" /");
    if let Some(first) = lines.iter().position(is_client) {
        let count = lines[first..].iter().take_while(|line| is_client(line)).count();
        lines[first..first + count].sort();
    }
    lines.join("\n")
}

#[test]
fn conf_has_the_same_lines() {
    let pair = Pair::start();
    let ports = [pair.original.address().port().to_string(), pair.ours.address().port().to_string()];
    let directories = [pair.original.data_dir(), pair.ours.data_dir()];
    let answers = pair.ask("conf");
    let mut masked = Vec::new();
    for ((text, port), directory) in answers.iter().zip(ports).zip(directories) {
        let text = text.replace(&directory.display().to_string(), "<data>").replace(&port, "<port>");
        let lines = text.lines().map(|line| match line.split_once('=') {
            Some((key @ ("dataDirSize" | "dataLogSize"), size)) => {
                assert!(size.parse::<u64>().is_ok(), "{line}");
                format!("{key}=<size>")
            }
            _ => line.to_owned(),
        });
        masked.push(lines.collect::<Vec<_>>());
    }
    // Behind the original's lines stand our own, which tell the layout.
    let (common, own) = masked[1].split_at(masked[0].len().min(masked[1].len()));
    assert_eq!(common, masked[0], "conf");
    assert!(own.iter().all(|line| line.starts_with("ringkeeper.")), "{own:?}");
}

#[test]
fn cons_has_the_same_fields() {
    let pair = Pair::start();
    let exact = ["queued", "recved", "sent", "sid", "lop", "to", "lcxid", "lzxid"];
    let answers = pair.agree("cons", |text| {
        let lines = text.lines().map(|line| {
            let Some((head, fields)) = line.split_once('(') else { return line.to_owned() };
            let fields: Vec<String> = fields
                .trim_end_matches(')')
                .split(',')
                .map(|field| match field.split_once('=') {
                    Some((key, _)) if exact.contains(&key) => field.to_owned(),
                    _ => masked(field),
                })
                .collect();
            format!("{}({})", masked(head), fields.join(","))
        });
        sorted_clients(lines.collect())
    });
    assert!(answers[1].ends_with("\n\n"), "an empty line ends the report");
}

#[test]
fn dump_lists_sessions_and_ephemerals() {
    let pair = Pair::start();
    // Buckets depend on the moment: what is compared is which lines there are, with their indentation.
    let answers = pair.agree("dump", |text| {
        let mut section = String::new();
        let mut lines = Vec::new();
        for line in text.lines() {
            if let Some((_, date)) = line.split_once(" expire at ") {
                check_date(date.trim_end_matches(':'));
                continue;
            }
            if line.ends_with("dump:") {
                section = line.to_owned();
            }
            // The connection block holds the connection that asks, and late ones that are closing.
            let counted = line.contains(" Sets (") || line.starts_with("Session Sets");
            lines.push(if counted { masked(line) } else { format!("{section} {}", masked(line)) });
        }
        let connections = |line: &String| line.contains("ip: /");
        let kept: BTreeSet<String> = lines.into_iter().filter(|line| !connections(line)).collect();
        kept.into_iter().collect::<Vec<_>>().join("\n")
    });
    assert!(answers[1].contains("\t/a/e\n"), "{}", answers[1]);
    assert!(answers[1].contains("Session Sets ("), "{}", answers[1]);
    assert!(answers[1].contains("\tip: /127.0.0.1:"), "{}", answers[1]);
}

/// `EEE MMM dd HH:mm:ss zzz yyyy`.
fn check_date(date: &str) {
    let words: Vec<&str> = date.split(' ').collect();
    let [day, month, number, time, zone, year] = words[..] else { panic!("no date: {date}") };
    assert!(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].contains(&day), "{date}");
    assert!("JanFebMarAprMayJunJulAugSepOctNovDec".contains(month) && month.len() == 3, "{date}");
    assert!(number.len() == 2 && time.len() == 8 && !zone.is_empty() && year.len() == 4, "{date}");
}

#[test]
fn watch_reports_name_the_same_watches() {
    let pair = Pair::start();
    pair.agree("wchs", str::to_owned);
    for command in ["wchc", "wchp"] {
        // Both levels come in no order.
        pair.agree(command, |text| {
            let mut blocks: Vec<Vec<&str>> = Vec::new();
            for line in text.lines() {
                match line.strip_prefix('\t') {
                    Some(_) => blocks.last_mut().expect("a block opens before its lines").push(line),
                    None => blocks.push(vec![line]),
                }
            }
            blocks.iter_mut().for_each(|block| block[1..].sort_unstable());
            blocks.sort();
            let lines: Vec<&str> = blocks.into_iter().flatten().collect();
            lines.join("\n")
        });
    }
    assert!(pair.ask("wchc")[1].ends_with("\n\n"));
}

/// Parts of names of metrics of the original about parts that we do not have (yet).
const ABSENT: [&str; 43] = [
    // An ensemble.
    "diff_count",
    "election_time",
    "follower_sync_time",
    "inflight_",
    "learner",
    "looking_count",
    "observer_sync_time",
    "_om_",
    "propagation_latency",
    "proposal",
    "quit_leading",
    "quorum_ack_latency",
    "revalidate_count",
    "unavailable_time",
    // The threads of its pipeline and the queues between them.
    "commit_process_time",
    "commit_proc",
    "commit_queued",
    "commitproc",
    "committed_time_ms",
    "final_proc_time_ms",
    "forwarded_to_commit_processor",
    "pending_session_queue_size",
    "prep_process_time",
    "prep_processor_queue_",
    "session_queue",
    "sync_process_time",
    "sync_processor_queue_",
    // Netty, TLS and the admin server.
    "netty_queued",
    "tls_handshake_exceeded",
    "unsuccessful_handshake",
    "cnxn_closed_without_zk_server_running",
    "insecure_admin_count",
    "restore_",
    "snapshot_error_count",
    "snapshot_rate_limited_count",
    // The JVM, its sockets, its caches, its other watch manager.
    "jvm_",
    "socket_closing_time",
    "response_packet",
    "dead_watcher",
    "outstanding_changes_",
    "close_session_prep_time",
    // Bytes by first path component: a table that every request would have to touch.
    "read_per_namespace",
    "write_per_namespace",
];

#[test]
fn mntr_has_every_metric_of_the_original() {
    let pair = Pair::start();
    let exact = [
        "zk_server_state",
        "zk_znode_count",
        "zk_watch_count",
        "zk_ephemerals_count",
        "zk_approximate_data_size",
        "zk_global_sessions",
        "zk_local_sessions",
        "zk_outstanding_requests",
        "zk_num_alive_connections",
    ];
    let answers = pair.agree("mntr", |text| {
        let lines = text.lines().filter(|line| exact.contains(&line.split('\t').next().unwrap_or_default()));
        let mut lines: Vec<&str> = lines.collect();
        lines.sort_unstable();
        lines.join("\n")
    });
    let [original, ours] = [keys(&answers[0], '\t'), keys(&answers[1], '\t')];
    let absent = |key: &str| ABSENT.iter().any(|part| key.contains(part));
    let missing: Vec<_> = original.iter().filter(|key| !ours.contains(key) && !absent(key)).collect();
    assert!(missing.is_empty(), "missing: {missing:?}");
    assert_eq!(ours[..2], ["zk_version", "zk_server_state"]);
    for line in answers[1].lines().skip(2) {
        let (key, value) = line.split_once('\t').unwrap_or_else(|| panic!("no tab: {line}"));
        assert!(key.starts_with("zk_") && value.parse::<f64>().is_ok(), "{line}");
    }
}

#[test]
fn envi_keeps_what_tools_read() {
    let pair = Pair::start();
    let answers = pair.ask("envi");
    assert!(answers[1].starts_with("Environment:\n"), "{}", answers[1]);
    let ours = keys(&answers[1], '=');
    for key in keys(&answers[0], '=') {
        let kept =
            ["zookeeper.version", "host.name"].contains(&key) || key.starts_with("os.") || key.starts_with("user.");
        assert!(!kept || ours.contains(&key), "{key} is missing in {ours:?}");
    }
}

#[test]
fn dirs_and_hash_have_their_form() {
    let mut pair = Pair::start();
    assert_eq!(masked(&pair.ask("dirs")[1]), "datadir_size: #\nlogdir_size: #\n");
    // A digest is kept for every zxid that is a multiple of 128.
    for sessions in &mut pair.sessions {
        for _ in 0..300 {
            sessions[0].set("/a", b"", -1).expect("it is there");
        }
    }
    // Digests hold times, so only the zxids can be the same.
    pair.agree("hash", |text| {
        text.lines()
            .map(|line| {
                let (zxid, digest) = line.split_once(": ").unwrap_or_else(|| panic!("no digest: {line}"));
                assert!(digest.parse::<i64>().is_ok() || digest.parse::<u64>().is_ok(), "{line}");
                zxid.to_owned()
            })
            .collect::<Vec<_>>()
            .join("\n")
    });
    assert!(pair.ask("hash")[1].starts_with("80: "), "{}", pair.ask("hash")[1]);
}

#[test]
fn only_listed_commands_are_executed() {
    let refused = |command: &str| format!("{command} is not executed because it is not in the whitelist.\n");
    let server = start(Settings::new().line("4lw.commands.whitelist", "ruok, mntr"));
    for command in ["stat", "conf", "cons", "dump", "envi", "wchs", "wchc", "wchp", "dirs", "isro", "gtmk", "hash"] {
        assert_eq!(ask(server.address(), command).expect("an answer"), refused(command));
    }
    assert_eq!(ask(server.address(), "ruok").expect("an answer"), "imok");
    assert!(ask(server.address(), "mntr").expect("an answer").contains("zk_version"));
    assert!(ask(server.address(), "srvr").expect("an answer").contains("Mode: "), "srvr is always allowed");
    // Four letters that are no command are the length of a frame that nobody may send.
    for command in ["nope", "RUOK", "GET "] {
        assert_eq!(ask(server.address(), command).unwrap_or_default(), "");
    }
}
