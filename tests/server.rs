//! A server as a process: Ringkeeper or a real ZooKeeper, on a free loopback port and a directory of its own.
//!
//! Flow       `Server::start` writes zoo.cfg, spawns, waits until it serves; `kill` is SIGKILL; `restart` serves the
//!            same directory on the same port; drop kills and removes everything. A member of an ensemble is prepared,
//!            spawned and waited for in three steps, since none serves before the others run.
//! Invariant  while a `Server` says it runs, its process is alive and was seen to answer `srvr`.
//! Absent     choosing by port scan of others: ports come from below the kernel's ephemeral range, one after another.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::disk::SmallDisk;
use crate::four_letter;
pub use crate::kind::Kind;

/// How long a server may take to serve. Only a hang gets near it; a loaded machine with a cold JVM needs 10 s.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How long one question at start may stay unanswered.
const PROBE_LIMIT: Duration = Duration::from_millis(500);
/// Ports are taken from here up to the kernel's ephemeral range (32768), where outgoing connections get theirs.
const PORT_FIRST: u32 = 12_000;
/// One past the last port taken.
const PORT_END: u32 = 32_000;

/// What a test adds to the configuration that all share.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    lines: Vec<(String, String)>,
    properties: Vec<(String, String)>,
    disk_mib: Option<u64>,
    is_logged: bool,
}

impl Settings {
    /// Nothing but the shared part.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or overrides a line of zoo.cfg (a later duplicate wins in both servers).
    #[must_use]
    pub fn line(mut self, key: &str, value: impl ToString) -> Self {
        self.lines.push((key.to_owned(), value.to_string()));
        self
    }

    /// Adds a Java system property, which Ringkeeper takes as `-Dkey=value` too.
    #[must_use]
    pub fn property(mut self, key: &str, value: impl ToString) -> Self {
        self.properties.push((key.to_owned(), value.to_string()));
        self
    }

    /// Puts the data on a disk of so many MiB.
    #[must_use]
    pub fn disk_mib(mut self, len_mib: u64) -> Self {
        self.disk_mib = Some(len_mib);
        self
    }

    /// Makes a Java server write its log; Ringkeeper always does.
    #[must_use]
    pub fn logged(mut self) -> Self {
        self.is_logged = true;
        self
    }
}

/// A running (or killed) server and everything it owns.
#[derive(Debug)]
pub struct Server {
    kind: Kind,
    settings: Settings,
    directory: TempDir,
    address: SocketAddr,
    disk: Option<SmallDisk>,
    child: Option<Child>,
}

impl Server {
    /// Starts one on an empty directory and waits until it serves.
    ///
    /// # Panics
    /// If it does not serve in time; the end of its log is in the message.
    pub fn start(kind: &Kind, settings: Settings) -> Self {
        let mut server = Self::prepare(kind, settings);
        server.restart();
        server
    }

    /// As `start`, without starting it.
    pub fn prepare(kind: &Kind, settings: Settings) -> Self {
        let directory = TempDir::with_prefix("ringkeeper-test-").expect("a temporary directory can be made");
        let disk = settings.disk_mib.map(|len_mib| {
            let data_dir = data_dir(directory.path());
            fs::create_dir(&data_dir).expect("the directory is new");
            SmallDisk::mount(&data_dir, len_mib)
        });
        Self { kind: kind.clone(), settings, directory, address: free_address(), disk, child: None }
    }

    /// Makes it another program from its next start on. The data stays: whoever changes the kind clears it if need be.
    pub fn become_kind(&mut self, kind: &Kind) {
        assert!(self.child.is_none(), "a running server stays what it is");
        self.kind = kind.clone();
    }

    /// Starts it again on the same directory and port. It must have been killed or have ended.
    ///
    /// # Panics
    /// As `start`.
    pub fn restart(&mut self) {
        if let Err(problem) = self.try_restart() {
            panic!("{problem}\n--- end of the server's log\n{}", self.log_tail(60));
        }
    }

    /// As `restart`, for tests in which the server may refuse to start.
    ///
    /// # Errors
    /// Why it does not serve.
    pub fn try_restart(&mut self) -> Result<(), String> {
        self.spawn()?;
        self.wait_until_serving()
    }

    /// Starts it and kills it so long after, wherever its start has got to.
    pub fn kill_during_start(&mut self, after: Duration) {
        self.spawn().expect("it started before");
        thread::sleep(after);
        self.kill();
    }

    /// Starts its process and does not wait.
    ///
    /// # Errors
    /// Why there is none.
    pub fn spawn(&mut self) -> Result<(), String> {
        assert!(self.child.is_none(), "a running server is not started twice");
        self.write_config();
        let log =
            File::options().create(true).append(true).open(self.log_path()).expect("the log lies in our own directory");
        let mut command = self.command();
        command
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor can be doubled"))
            .stderr(log);
        let child = command.spawn().map_err(|error| format!("cannot start {command:?}: {error}"))?;
        self.child = Some(child);
        Ok(())
    }

    fn command(&self) -> Command {
        let properties = self.settings.properties.iter().map(|(key, value)| format!("-D{key}={value}"));
        let mut command = self.kind.command(properties, self.settings.is_logged, self.disk.as_ref());
        command.arg(self.config_path());
        command
    }

    fn write_config(&self) {
        let mut text = format!(
            "dataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\n",
            self.data_dir().display(),
            self.address.port()
        );
        // Short ticks make expiry quick to test; the wide bounds let a test choose its session timeout.
        text.push_str("tickTime=500\nminSessionTimeout=500\nmaxSessionTimeout=120000\n");
        text.push_str("maxClientCnxns=0\nadmin.enableServer=false\n4lw.commands.whitelist=*\n");
        for (key, value) in &self.settings.lines {
            text.push_str(&format!("{key}={value}\n"));
        }
        fs::write(self.config_path(), text).expect("our own directory is writable");
    }

    /// Waits until it answers `srvr` with what it is.
    ///
    /// # Errors
    /// It ended, or a generous limit passed; it is killed then.
    pub fn wait_until_serving(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Some(status) = self.ended() {
                return Err(format!("the server ended with {status} before it served"));
            }
            // The original never answers a command that comes while its threads start: ask anew soon.
            let answer = four_letter::ask_bytes(self.address, b"srvr", PROBE_LIMIT);
            if answer.is_ok_and(|answer| answer.contains("Mode: ")) {
                return Ok(());
            }
            if Instant::now() > deadline {
                self.kill();
                return Err(format!("the server did not serve within {START_LIMIT:?}"));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Its exit status, if it has ended by itself since it was started. It counts as not running from then on.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().expect("the child is ours to wait for")?;
        self.child = None;
        Some(status)
    }

    /// SIGKILL: what a power cut does to the process (not to the page cache). Nothing happens if it has ended already.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the child is ours to kill");
            child.wait().expect("the child is ours to wait for");
        }
    }

    /// SIGTERM, then waits for the end and gives its status.
    ///
    /// # Panics
    /// As `signal`.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM")
    }

    /// Sends the signal of this name (without `SIG`), then waits for the end and gives its status.
    ///
    /// # Panics
    /// If it does not run, or does not end within a generous limit.
    pub fn signal(&mut self, name: &str) -> ExitStatus {
        self.send_signal(name);
        let mut child = self.child.take().expect("it got the signal");
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Some(status) = child.try_wait().expect("the child is ours to wait for") {
                return status;
            }
            if Instant::now() > deadline {
                child.kill().expect("the child is ours to kill");
                child.wait().expect("the child is ours to wait for");
                panic!("the server ignored SIG{name} for {START_LIMIT:?}");
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends a signal that it survives, as STOP and CONT.
    ///
    /// # Panics
    /// If it does not run.
    pub fn send_signal(&self, name: &str) {
        let child = self.child.as_ref().expect("only a running server gets signals");
        let sent = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
        assert!(sent.is_ok_and(|status| status.success()), "SIG{name} could not be sent");
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a client's connect string.
    pub fn connect_string(&self) -> String {
        self.address.to_string()
    }

    /// Which program it is.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The process while it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        data_dir(self.directory.path())
    }

    /// Its disk, if it has one of its own.
    pub fn disk(&self) -> Option<&SmallDisk> {
        self.disk.as_ref()
    }

    /// Its own directory, for whatever a test wants to keep beside the data.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its zoo.cfg.
    pub fn config_path(&self) -> PathBuf {
        self.directory.path().join("zoo.cfg")
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("server.log")
    }

    /// Everything that it wrote to standard output and error since its first start.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// The last lines of its log.
    pub fn log_tail(&self, lines: usize) -> String {
        let text = self.log();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn data_dir(directory: &Path) -> PathBuf {
    directory.join("data")
}

/// A loopback address nobody listens on. Processes start their search at different points, threads share a counter.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let span = PORT_END - PORT_FIRST;
    for _ in 0..span {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        // Fibonacci hashing spreads neighbouring process ids over the range.
        let offset = process::id().wrapping_mul(0x9e37_79b1).wrapping_add(step.wrapping_mul(7)) % span;
        let port = u16::try_from(PORT_FIRST + offset).expect("the range lies below 65536");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no free loopback port between {PORT_FIRST} and {PORT_END}");
}
