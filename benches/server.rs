//! A server to measure: Ringkeeper or ZooKeeper 3.9.5, with the settings that production would have.
//!
//! Flow       `start` on an empty directory, `restart` on the same, `stop` with SIGTERM; drop kills.
//! Invariant  both get the same zoo.cfg, a directory on the same disk, and no log lines to write in between.
//! Absent     the test suite's short ticks and small heaps (`support::server`): they would measure something else.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::peers;
use tempfile::TempDir;

use crate::client::Client;
use crate::request::Template;

/// Heap of the peer: what its documentation starts from, and what the goals were set against.
const HEAP: &str = "-Xmx1g";
/// How long a server may take to serve or to end. Only a hang gets near it.
const LIMIT: Duration = Duration::from_secs(180);
/// How long one try at start waits: a server that has accepted but does not serve yet may never answer.
const TRY_LIMIT: Duration = Duration::from_millis(50);
/// Unit of CPU times in /proc: USER_HZ is 100 on every Linux.
const TICK_MS: u64 = 10;
/// Between two tries. Each costs the starting server little, and the figure is as coarse as this.
const TRY_EVERY: Duration = Duration::from_millis(2);

/// Which program serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// A binary that takes `server <zoo.cfg>`.
    Ringkeeper(PathBuf),
    /// From the jars of `tests/setup`.
    ZooKeeper,
}

impl Program {
    /// For tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ringkeeper(_) => "ringkeeper",
            Self::ZooKeeper => "zookeeper",
        }
    }
}

/// A running server and its directory.
#[derive(Debug)]
pub struct Server {
    program: Program,
    directory: TempDir,
    address: SocketAddr,
    child: Option<Child>,
}

impl Server {
    /// Starts one below `base`. `lines` are added to its zoo.cfg.
    ///
    /// # Errors
    /// If it does not serve in time; its log's end is in the message.
    pub fn start(program: &Program, base: &Path, lines: &str) -> io::Result<Self> {
        let directory = TempDir::with_prefix_in("ringkeeper-bench-", base)?;
        // Freed again at once, and below the ephemeral range nobody gets it by chance.
        let address = (20_000..32_000)
            .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
            .find(|address| TcpListener::bind(address).is_ok())
            .ok_or_else(|| io::Error::other("no free port"))?;
        fs::write(directory.path().join("zoo.cfg"), config(&directory, address, lines))?;
        let mut server = Self { program: program.clone(), directory, address, child: None };
        server.restart()?;
        Ok(server)
    }

    /// Starts an ensemble of so many, and waits until every member serves.
    ///
    /// # Errors
    /// As `start`.
    pub fn start_members(program: &Program, base: &Path, count: usize) -> io::Result<Vec<Self>> {
        let mut ports = (20_000..32_000).filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
        let mut port = || ports.next().ok_or_else(|| io::Error::other("no free port"));
        let mut lines = "initLimit=10\nsyncLimit=5\n".to_owned();
        let mut addresses = Vec::new();
        for sid in 1..=count {
            addresses.push(SocketAddr::from((Ipv4Addr::LOCALHOST, port()?)));
            lines.push_str(&format!("server.{sid}=127.0.0.1:{}:{}\n", port()?, port()?));
        }
        let mut members = Vec::new();
        for (sid, address) in (1..).zip(addresses) {
            let directory = TempDir::with_prefix_in("ringkeeper-bench-", base)?;
            let data = directory.path().join("data");
            fs::create_dir(&data)?;
            fs::write(data.join("myid"), format!("{sid}\n"))?;
            fs::write(directory.path().join("zoo.cfg"), config(&directory, address, &lines))?;
            let mut member = Self { program: program.clone(), directory, address, child: None };
            member.spawn()?;
            members.push(member);
        }
        let begin = Instant::now();
        members.iter_mut().try_for_each(|member| member.wait_until_answering(begin).map(|_| ()))?;
        Ok(members)
    }

    /// Starts it on what it has and gives the time from the process's start to the first answered request.
    ///
    /// # Errors
    /// As `start`.
    pub fn restart(&mut self) -> io::Result<Duration> {
        let begin = Instant::now();
        self.spawn()?;
        self.wait_until_answering(begin)
    }

    fn spawn(&mut self) -> io::Result<()> {
        assert!(self.child.is_none(), "a running server is not started twice");
        let log = File::create(self.directory.path().join("server.log"))?;
        self.child = Some(self.command().stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?);
        Ok(())
    }

    fn wait_until_answering(&mut self, begin: Instant) -> io::Result<Duration> {
        loop {
            if self.is_answering().is_ok() {
                return Ok(begin.elapsed());
            }
            let child = self.child.as_mut().expect("it was just started");
            if child.try_wait()?.is_some() || begin.elapsed() > LIMIT {
                let log = fs::read_to_string(self.directory.path().join("server.log"))?;
                let end = log.char_indices().rev().nth(4_000).map_or(0, |(at, _)| at);
                return Err(io::Error::other(format!("{} does not serve:\n{}", self.program.name(), &log[end..])));
            }
            thread::sleep(TRY_EVERY);
        }
    }

    fn is_answering(&self) -> io::Result<()> {
        let mut client = Client::over(TcpStream::connect_timeout(&self.address, TRY_LIMIT)?, TRY_LIMIT)?;
        client.ask(&Template::exists_at("/", false), 0)?;
        Ok(())
    }

    fn command(&self) -> Command {
        let config = self.directory.path().join("zoo.cfg");
        let mut command = match &self.program {
            Program::Ringkeeper(binary) => {
                let mut command = Command::new(binary);
                command.arg("server").env("RINGKEEPER_LOG", "warn");
                command
            }
            Program::ZooKeeper => {
                let mut command = Command::new("java");
                // Without a binding on the class path its logs go nowhere.
                command.arg(HEAP).arg("-cp").arg(peers::class_path(None));
                command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain");
                command
            }
        };
        command.arg(config).current_dir(self.directory.path());
        command
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn stop(&mut self) -> io::Result<()> {
        let child = self.child.as_mut().expect("only a running server is stopped");
        kill_process(Pid::from_child(child), Signal::TERM)?;
        let begin = Instant::now();
        while child.try_wait()?.is_none() {
            if begin.elapsed() > LIMIT {
                return Err(io::Error::other("it ignored SIGTERM"));
            }
            thread::sleep(TRY_EVERY);
        }
        self.child = None;
        Ok(())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Which program it is.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Resident memory in bytes.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process_id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.map(|kib| kib << 10).ok_or_else(|| io::Error::other("no VmRSS in the process's status"))
    }

    /// CPU time that it has used.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn cpu_time(&self) -> io::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process_id()))?;
        // Behind the name, which may hold anything, come state (field 3) and more; utime and stime are 14 and 15.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * TICK_MS))
    }

    /// Snapshots in its data directory, by name: those of both programs have "snapshot" in theirs.
    ///
    /// # Errors
    /// The kernel's.
    pub fn snapshots(&self) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        let mut folders = vec![self.directory.path().join("data")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                } else if name.contains("snap") {
                    found.push(name);
                }
            }
        }
        found.sort();
        Ok(found)
    }

    fn process_id(&self) -> u32 {
        self.child.as_ref().expect("only a running server is asked").id()
    }
}

/// Both programs get the same.
fn config(directory: &TempDir, address: SocketAddr, lines: &str) -> String {
    format!(
        "dataDir={}\nclientPort={}\ntickTime=2000\nmaxClientCnxns=0\nmaxSessionTimeout=600000\n\
         admin.enableServer=false\n4lw.commands.whitelist=*\n{lines}\n",
        directory.path().join("data").display(),
        address.port(),
    )
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; there is nobody to tell.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
