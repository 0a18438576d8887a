//! Real clients against an ensemble of three, through every member: none can tell that it isn't one server.
//!
//! Flow       three members -> each client's suite, once with each member as the only one that it knows.
//! Absent     members that fail: `ensemble`. zkCli's golden files: zxids of an ensemble carry an epoch.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use support::ensemble::{Ensemble, Settings};
use support::{command, peers};

use crate::under_test;

/// How long a client's suite may take. Only a hang gets near it.
const LIMIT: Duration = Duration::from_secs(900);

fn start() -> Ensemble {
    let kind = under_test();
    let ensemble =
        Ensemble::start(&[kind.clone(), kind.clone(), kind], Settings::new().line("extendedTypesEnabled", true));
    ensemble.wait_for_leader();
    for index in 0..ensemble.size() {
        ensemble.session(index).close();
    }
    ensemble
}

fn through_each(client: &str, mut suite: impl FnMut(&str) -> Command) {
    let ensemble = start();
    for index in 0..ensemble.size() {
        let mode = ensemble.mode(index);
        println!("{client} through member {index}, {mode:?}");
        let mut command = suite(&ensemble.address(index).to_string());
        print!("{}", command::run(&mut command, LIMIT).expect_success(client).stdout);
    }
}

#[test]
fn kazoo_cannot_tell_which_member_it_has() {
    through_each("kazoo", |address| {
        let mut suite = peers::python();
        suite.arg(peers::sources().join("kazoo_suite.py")).arg(address);
        suite
    });
}

#[test]
fn the_c_client_cannot_tell_which_member_it_has() {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let program = peers::compile_c("c_suite.c", folder.path());
    through_each("the C client", |address| {
        let mut suite = Command::new(&program);
        suite.arg(address);
        suite
    });
}

#[test]
fn curator_cannot_tell_which_member_it_has() {
    let folder = tempfile::tempdir().expect("a temporary directory can be made");
    let classes = peers::compile_java("CuratorSuite.java", &folder.path().join("classes"));
    through_each("Curator", |address| {
        let mut suite = peers::java(128, Some(&classes));
        suite.arg("CuratorSuite").arg(address);
        suite
    });
}

#[test]
fn zkcli_finds_the_same_through_every_member() {
    let ensemble = start();
    let run = |index: usize, lines: &str| {
        let mut command = peers::java(128, None);
        command.arg("org.apache.zookeeper.ZooKeeperMain").arg("-server").arg(ensemble.address(index).to_string());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("java was found before");
        let mut input = child.stdin.take().expect("it was asked for");
        input.write_all(lines.as_bytes()).expect("zkCli reads what it is told");
        drop(input);
        let output = child.wait_with_output().expect("the child is ours to wait for");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    run(0, "create /cli first\ncreate /cli/below second\nsetAcl /cli/below world:anyone:cdrwa\nquit\n");
    for index in 0..ensemble.size() {
        let told = run(index, "sync /cli\nget /cli\nls /cli\nget /cli/below\nconfig\nquit\n");
        for expected in ["first", "[below]", "second", "server.1=", "version=0"] {
            assert!(
                told.lines().any(|line| line.contains(expected)),
                "member {index}: {expected} is missing in\n{told}"
            );
        }
    }
}
