//! The Python client's recipes, unchanged.

use std::time::Duration;

use support::server::Settings;
use support::{command, peers};

use crate::start;

#[test]
fn kazoo_cannot_tell() {
    let server = start(Settings::new());
    let mut suite = peers::python();
    suite.arg(peers::sources().join("kazoo_suite.py")).arg(server.connect_string());
    let finished = command::run(&mut suite, Duration::from_secs(600)).expect_success("kazoo");
    print!("{}", finished.stdout);
}
