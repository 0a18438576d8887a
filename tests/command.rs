//! Foreign programs with a time limit and their whole output.

use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What a finished program left.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output, lossily as text.
    pub stdout: String,
    /// Its standard error, lossily as text.
    pub stderr: String,
}

impl Finished {
    /// Panics with everything it printed unless it ended with 0.
    pub fn expect_success(self, what: &str) -> Self {
        assert!(
            self.status.success(),
            "{what} ended with {}\n--- stdout\n{}\n--- stderr\n{}",
            self.status,
            self.stdout,
            self.stderr
        );
        self
    }
}

/// Runs a program to its end; one that takes longer than `limit` is killed, which fails the test.
///
/// # Panics
/// If the program cannot start or overruns its limit.
pub fn run(command: &mut Command, limit: Duration) -> Finished {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let mut stdout = child.stdout.take().expect("stdout is a pipe, set above");
    let mut stderr = child.stderr.take().expect("stderr is a pipe, set above");
    // Both pipes are drained while it runs, or a chatty program would block on a full one.
    let out = thread::spawn(move || drain(&mut stdout));
    let err = thread::spawn(move || drain(&mut stderr));
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait().expect("the child is ours to wait for") {
            break Some(status);
        }
        if Instant::now() > deadline {
            child.kill().expect("the child is ours to kill");
            child.wait().expect("the child is ours to wait for");
            break None;
        }
        thread::sleep(Duration::from_millis(10));
    };
    let stdout = out.join().expect("draining does not panic");
    let stderr = err.join().expect("draining does not panic");
    let Some(status) = status else {
        panic!("{command:?} overran {limit:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
    };
    Finished { status, stdout, stderr }
}

fn drain(pipe: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    // A pipe that breaks ends the output; the exit status tells the rest.
    let _ = pipe.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
