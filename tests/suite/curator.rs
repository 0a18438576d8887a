//! Curator's recipes on the Java client, unchanged.

use std::time::Duration;

use support::server::Settings;
use support::{command, peers};

use crate::start;

#[test]
fn curator_cannot_tell() {
    let server = start(Settings::new().line("extendedTypesEnabled", true));
    let classes = peers::compile_java("CuratorSuite.java", &server.directory().join("classes"));
    let mut suite = peers::java(128, Some(&classes));
    suite.arg("CuratorSuite").arg(server.connect_string());
    let finished = command::run(&mut suite, Duration::from_secs(900)).expect_success("Curator");
    print!("{}", finished.stdout);
}
