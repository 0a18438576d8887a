//! The binary's commands as an operator meets them: what they print, where, and with which exit code they end.
//!
//! Flow       a test writes a zoo.cfg or starts a server, runs the binary on it, and reads both outputs.
//! Absent     the original: its command line is another one. With `RINGKEEPER_SERVER=zookeeper` this is Ringkeeper still.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use support::client::Session;
use support::command::{Finished, run};
use support::server::{Kind, Server, Settings};
use tempfile::TempDir;

use crate::under_test;

/// How long a command may take that does not serve. Only one that serves by mistake gets near it.
const LIMIT: Duration = Duration::from_secs(60);
/// Nodes that a test creates, one transaction and one batch of the log each.
const NODES: usize = 200;
/// What is written over the log: neither zeros nor anything that a server writes.
const DAMAGE: [u8; 64] = [0xa5; 64];

fn binary() -> PathBuf {
    match under_test() {
        Kind::Ringkeeper(path) => path,
        _ => PathBuf::from(env!("CARGO_BIN_EXE_ringkeeper")),
    }
}

fn start() -> Server {
    Server::start(&Kind::Ringkeeper(binary()), Settings::new())
}

/// Runs the binary with these words, and `zoo_cfg` behind them if there is one.
fn ringkeeper(words: &[&str], zoo_cfg: Option<&Path>) -> Finished {
    run(Command::new(binary()).args(words).args(zoo_cfg), LIMIT)
}

/// A folder with this zoo.cfg in it.
fn zoo_cfg(text: &str) -> (TempDir, PathBuf) {
    let folder = TempDir::with_prefix("ringkeeper-test-").expect("a temporary directory can be made");
    let path = folder.path().join("zoo.cfg");
    fs::write(&path, text).expect("our own directory is writable");
    (folder, path)
}

/// The log's files whose names begin with `prefix`, in their names' order.
fn log_files(server: &Server, prefix: &str) -> Vec<PathBuf> {
    let folder = server.data_dir().join("version-2/ringkeeper/log");
    let entries = fs::read_dir(folder).expect("the server has made its log");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("listed").path()).collect();
    paths.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)));
    paths.sort();
    paths
}

fn node(number: usize) -> String {
    format!("/node{number:03}")
}

/// Overwrites the middle of what the first segment holds, and returns the segment and where it was hit.
fn damage_log(server: &Server) -> (PathBuf, u64) {
    let path = log_files(server, "segment.").remove(0);
    let used = fs::read(&path).expect("readable").iter().rposition(|byte| *byte != 0).expect("something was written");
    let at = used as u64 / 2;
    let file = fs::File::options().write(true).open(&path).expect("writable");
    file.write_all_at(&DAMAGE, at).expect("writable");
    (path, at)
}

#[test]
fn a_damaged_log_is_refused_and_repaired_on_request() {
    let mut server = start();
    let mut session = Session::open(server.address());
    for number in 0..NODES {
        session.create(&node(number), b"value", 0).expect("it serves");
    }
    // Not in good order, or there might be a snapshot, below which nothing of the log is read.
    server.kill();
    let (path, at) = damage_log(&server);

    let refused = ringkeeper(&["server"], Some(&server.config_path()));
    assert_eq!(refused.status.code(), Some(1), "{}", refused.stderr);
    let said = format!("{} at byte ", path.display());
    let (_, rest) = refused.stderr.split_once(&said).unwrap_or_else(|| panic!("{said} in\n{}", refused.stderr));
    let offset: u64 = rest.split(':').next().and_then(|digits| digits.parse().ok()).expect("an offset in bytes");
    // It is the record, or the batch, that the damage begins in.
    assert!(offset <= at && at - offset < 4096, "damaged at {at}, found at {offset}");

    let repaired = ringkeeper(&["repair"], Some(&server.config_path())).expect_success("repair");
    assert!(repaired.stdout.contains(&said), "{}", repaired.stdout);
    let saved = log_files(&server, "cut.");
    assert_eq!(saved.len(), 1, "{saved:?}");
    assert!(repaired.stdout.contains(&format!("cut off    {}", saved[0].display())), "{}", repaired.stdout);
    let saved = fs::read(&saved[0]).expect("readable");
    assert!(saved.windows(DAMAGE.len()).any(|bytes| bytes == DAMAGE), "the damage is kept too");

    let again = ringkeeper(&["repair"], Some(&server.config_path()));
    assert_eq!(again.status.code(), Some(1), "there is nothing to repair any more: {}", again.stderr);

    server.restart();
    let mut session = Session::open(server.address());
    let kept = (0..NODES).take_while(|number| session.exists(&node(*number), false).is_ok()).count();
    assert!((NODES / 4..NODES).contains(&kept), "what is before the damage is served: {kept} of {NODES}");
    for number in kept..NODES {
        assert!(session.exists(&node(number), false).is_err(), "{} is from behind the damage", node(number));
        session.create(&node(number), b"again", 0).expect("it goes on from there");
    }
}

#[test]
fn repair_keeps_away_from_a_directory_that_is_served() {
    let server = start();
    let refused = ringkeeper(&["repair"], Some(&server.config_path()));
    assert_eq!(refused.status.code(), Some(3), "{}", refused.stderr);
    assert!(refused.stderr.contains("is locked by process"), "{}", refused.stderr);
    Session::open(server.address()).create("/a", b"", 0).expect("it serves on");
}

#[test]
fn check_config_shows_settings_with_their_origin() {
    let (_folder, path) = zoo_cfg("tickTime=1500\ndataDir=/var/lib/zookeeper\nclientPort=2181\n");
    let shown = ringkeeper(&["check-config", "-Djute.maxbuffer=4194304"], Some(&path)).expect_success("check-config");
    let file = path.display();
    let lines = [
        format!("tickTime=1500  ({file}:1)"),
        format!("clientPort=2181  ({file}:3)"),
        "jute.maxbuffer=4194304  (-Djute.maxbuffer)".to_owned(),
        "maxClientCnxns=60  (default)".to_owned(),
    ];
    for line in lines {
        assert!(shown.stdout.lines().any(|shown| shown == line), "{line} in\n{}", shown.stdout);
    }
}

#[test]
fn check_config_shows_the_members_of_an_ensemble() {
    let members = "server.1=a:2888:3888\nserver.2=b:2888:3888\nserver.3=c:2888:3888:observer;2181\n";
    let (folder, path) = zoo_cfg("");
    let data_dir = folder.path().display();
    let text = format!("dataDir={data_dir}\nclientPort=2181\ninitLimit=10\nsyncLimit=5\n{members}");
    fs::write(&path, text).expect("the folder is ours");
    let refused = ringkeeper(&["check-config"], Some(&path));
    assert_eq!(refused.status.code(), Some(2));
    assert!(refused.stderr.contains("myid is missing"), "{}", refused.stderr);
    fs::write(folder.path().join("myid"), "3\n").expect("the folder is ours");
    let shown = ringkeeper(&["check-config"], Some(&path)).expect_success("check-config");
    let file = path.display();
    for line in [
        format!("myid=3  ({data_dir}/myid:1)"),
        format!("initLimit=10  ({file}:3)"),
        format!("server.3=c:2888:3888:observer;2181  ({file}:7)"),
        "fastleader.maxNotificationInterval=60000  (default)".to_owned(),
    ] {
        assert!(shown.stdout.lines().any(|shown| shown == line), "{line} in\n{}", shown.stdout);
    }
}

#[test]
fn wrong_settings_are_named_and_end_every_command() {
    let (_folder, path) = zoo_cfg("dataDir=/nowhere\nclientPort=2181\ntickTime=soon\nringkeeper.spinn=1\n");
    for command in ["check-config", "server", "repair"] {
        let refused = ringkeeper(&[command], Some(&path));
        assert_eq!(refused.status.code(), Some(2), "{command}: {}", refused.stderr);
        assert_eq!(refused.stdout, "", "{command}");
        let file = path.display();
        let wrong_value = format!("{file}:3: tickTime: found \"soon\"; allowed: ");
        assert!(refused.stderr.contains(&wrong_value), "{command}: {}", refused.stderr);
        let wrong_name = format!("{file}:4: ringkeeper.spinn: there is no such setting; did you mean ringkeeper.spin?");
        assert!(refused.stderr.contains(&wrong_name), "{command}: {}", refused.stderr);
    }
    let missing = path.with_file_name("missing.cfg");
    for command in ["check-config", "server", "repair"] {
        let refused = ringkeeper(&[command], Some(&missing));
        assert_eq!(refused.status.code(), Some(2), "{command}: {}", refused.stderr);
        let said = format!("{}: cannot be read", missing.display());
        assert!(refused.stderr.contains(&said), "{command}: {}", refused.stderr);
    }
}

#[test]
fn version_and_help_are_answers_and_wrong_usage_is_a_complaint() {
    let version = ringkeeper(&["--version"], None).expect_success("--version");
    assert_eq!(version.stdout, format!("ringkeeper {}\n", env!("CARGO_PKG_VERSION")));
    let help = ringkeeper(&["--help"], None).expect_success("--help");
    for word in ["server", "check-config", "repair", "Examples:"] {
        assert!(help.stdout.contains(word), "{word} in\n{}", help.stdout);
    }
    for words in [&["serve"][..], &[], &["server", "--no-such-option"], &["check-config"]] {
        let refused = ringkeeper(words, None);
        assert_eq!(refused.status.code(), Some(2), "{words:?}: {}", refused.stderr);
        assert_eq!(refused.stdout, "", "{words:?}");
        assert!(refused.stderr.contains("Usage: ringkeeper"), "{words:?}: {}", refused.stderr);
    }
}

#[test]
fn both_polite_signals_end_a_server_with_success_and_nothing_is_lost() {
    for signal in ["TERM", "INT"] {
        let mut server = start();
        let mut session = Session::open(server.address());
        session.create("/kept", b"", 0).expect("it serves");
        let status = server.signal(signal);
        assert_eq!(status.code(), Some(0), "SIG{signal}\n{}", server.log_tail(20));
        server.restart();
        assert!(Session::open(server.address()).exists("/kept", false).is_ok(), "SIG{signal}");
    }
}

#[test]
fn a_second_server_on_the_same_data_is_told_who_has_it() {
    let server = start();
    // The same words twice, which is how it happens; that the port is taken too would say less.
    let refused = ringkeeper(&["server"], Some(&server.config_path()));
    assert_eq!(refused.status.code(), Some(3), "{}", refused.stderr);
    let owner = server.process_id().expect("it runs");
    assert!(refused.stderr.contains(&format!("lock is locked by process {owner}:")), "{}", refused.stderr);
    Session::open(server.address()).create("/a", b"", 0).expect("the first serves on");
}
