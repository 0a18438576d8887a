//! The C client's calls, unchanged.

use std::process::Command;
use std::time::Duration;

use support::server::Settings;
use support::{command, peers};

use crate::start;

#[test]
fn the_c_client_cannot_tell() {
    let server = start(Settings::new().line("extendedTypesEnabled", true));
    let suite = peers::compile_c("c_suite.c", server.directory());
    let mut suite = Command::new(suite);
    suite.arg(server.connect_string());
    let finished = command::run(&mut suite, Duration::from_secs(600)).expect_success("the C client");
    print!("{}", finished.stdout);
}
