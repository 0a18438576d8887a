//! ZooKeeper's own command line, unchanged: what it prints is what it printed against ZooKeeper 3.9.5.
//!
//! The golden files are recorded with `RINGKEEPER_SERVER=zookeeper RINGKEEPER_BLESS=1` and reviewed as a diff. On a
//! fresh server every zxid is determined, so only dates are blanked out.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use support::server::{Server, Settings};
use support::{command, peers};

use crate::start;

/// How long a run may take. Only a hang gets near it.
const LIMIT: Duration = Duration::from_secs(300);

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata").join(name)
}

fn zkcli(server: &Server) -> std::process::Command {
    let mut command = peers::java(128, None);
    command.arg("org.apache.zookeeper.ZooKeeperMain").arg("-server").arg(server.connect_string());
    command
}

/// Dates go, notifications move to the end (another thread prints them, between any two lines), and so does what names
/// this server or is said once by the logging library.
fn normalized(output: &str) -> String {
    let mut lines = Vec::new();
    let mut events = Vec::new();
    for line in output.lines().map(str::trim_end) {
        let moved = line.strip_prefix("WATCHER::").is_some() || line.is_empty();
        if line.starts_with("WatchedEvent ") {
            // Whether it still prints its own end is a race in zkCli.
            if !line.contains("state:Closed") {
                events.push(line.to_owned());
            }
        } else if !moved && !line.starts_with("SLF4J") && !line.starts_with("Connecting to ") {
            let dated = ["ctime = ", "mtime = "].iter().find(|start| line.starts_with(**start));
            lines.push(dated.map_or_else(|| line.to_owned(), |start| format!("{start}<date>")));
        }
    }
    // The identities of whoami come in no order.
    let is_identity = |line: &String| line.starts_with("digest: ") || line.starts_with("ip: ");
    lines.chunk_by_mut(|a, b| is_identity(a) && is_identity(b)).for_each(<[_]>::sort);
    lines.push("--- notifications".to_owned());
    lines.extend(events);
    lines.join("\n") + "\n"
}

fn compare(name: &str, output: &str) {
    let path = testdata(name);
    let got = normalized(output);
    if env::var_os("RINGKEEPER_BLESS").is_some() {
        fs::write(&path, &got).expect("testdata is writable");
        return;
    }
    let expected = fs::read_to_string(&path).expect("the golden file is in the repository");
    for (number, (expected, got)) in expected.lines().zip(got.lines()).enumerate() {
        assert_eq!(got, expected, "{name}:{} differs; all of it:\n{output}", number + 1);
    }
    assert_eq!(got, expected, "{name} has another length");
}

#[test]
fn a_session_of_zkcli_prints_what_zookeeper_makes_it_print() {
    let server = start(Settings::new().line("extendedTypesEnabled", true));
    // It reads commands from its standard input when that is no terminal.
    let script = server.directory().join("script");
    fs::copy(testdata("zkcli.txt"), &script).expect("our own directory is writable");
    let (out, err) = (server.directory().join("out"), server.directory().join("err"));
    let create = |path: &Path| File::create(path).expect("our own directory is writable");
    let mut child = zkcli(&server)
        .stdin(File::open(&script).expect("just copied"))
        .stdout(create(&out))
        .stderr(create(&err))
        .spawn()
        .expect("java is there, the server or the set-up needed it");
    let deadline = std::time::Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = child.try_wait().expect("the child is ours") {
            break status;
        }
        if std::time::Instant::now() > deadline {
            child.kill().expect("the child is ours");
            child.wait().expect("the child is ours");
            panic!("zkCli hangs; it printed\n{}", fs::read_to_string(&out).unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(status.success(), "zkCli ended with {status}");
    compare("zkcli.out.txt", &fs::read_to_string(&out).expect("zkCli prints text"));
    compare("zkcli.err.txt", &fs::read_to_string(&err).expect("zkCli prints text"));
}

#[test]
fn one_command_ends_with_its_exit_code() {
    let server = start(Settings::new());
    let run = |arguments: &[&str]| command::run(zkcli(&server).stdin(Stdio::null()).args(arguments), LIMIT);
    assert_eq!(run(&["create", "/x", "1"]).status.code(), Some(0));
    assert!(run(&["get", "/x"]).stdout.ends_with("\n1\n"));
    let missing = run(&["get", "/y"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(missing.stderr.contains("Node does not exist: /y"), "{}", missing.stderr);
    assert!(run(&["version"]).stdout.contains("ZooKeeper CLI version: 3.9.5"));
}
