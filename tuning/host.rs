//! What the host lacks for the server to run well, or at all, found before any executor starts.
//!
//! Flow       [`check`]: raise the limits that we may raise -> read the facts -> [`judge`] (pure) -> findings.
//! Invariant  a finding says what is wrong in numbers, and gives the command that mends it. Once no finding
//!            [stops](Severity::Stops) us, the runtime starts without a panic of its own.
//! Absent     mending what needs privileges that we do not have; and tuning for speed, which is never a reason to stop.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::sys;

/// Locked memory without which glommio 0.9 refuses to make an executor, bytes.
pub const MEMLOCK_MIN_BYTES: u64 = 512 * 1024;
/// Oldest kernel with every io_uring operation that glommio uses.
pub const KERNEL_MIN: (u32, u32) = (5, 8);
/// From this kernel on rings are charged to the control group instead of the locked-memory limit.
const KERNEL_RINGS_UNCHARGED: (u32, u32) = (5, 12);
/// Connections that a server without `maxCnxns` is expected to hold.
pub const CONNECTIONS_EXPECTED: u64 = 10_000;
/// Descriptors of an executor (three rings, an event, its thread pool's), rounded up.
const DESCRIPTORS_PER_EXECUTOR: u64 = 16;
/// Descriptors of the log, snapshots, listeners and standard streams, rounded up.
const DESCRIPTORS_BASE: u64 = 64;
/// Below this many connections a server is not worth starting.
const CONNECTIONS_MIN: u64 = 16;

/// What the server is about to need.
#[derive(Clone, Debug)]
pub struct Needs {
    /// Executors of the plan.
    pub executors: usize,
    /// `maxCnxns`, if it is set.
    pub connections_max: Option<u32>,
    /// Directories that must be writable.
    pub directories: Vec<PathBuf>,
    /// Whether missing directories will be created.
    pub create_directories: bool,
}

/// Whether a finding lets the server start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It cannot start.
    Stops,
    /// It starts, and will reach a limit early.
    Warns,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The kernel's version.
    Kernel,
    /// io_uring is not there or not allowed.
    IoUring,
    /// The limit on locked memory.
    LockedMemory,
    /// The limit on descriptors.
    Descriptors,
    /// A data directory.
    Directory,
}

/// One thing that the host lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether we can start.
    pub severity: Severity,
    /// What it is about.
    pub subject: Subject,
    /// What is wrong, in one line.
    pub wrong: String,
    /// The command that mends it.
    pub mend: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; to mend it: {}", self.wrong, self.mend)
    }
}

/// What the kernel says of itself and of us.
#[derive(Clone, Debug)]
pub struct HostFacts {
    /// `uname -r`.
    pub kernel: String,
    /// What setting up a ring gave: `None` is success.
    pub io_uring_error: Option<Errno>,
    /// The sysctl `kernel.io_uring_disabled`; kernels before 6.6 have none.
    pub io_uring_disabled: Option<u32>,
    /// Whether a seccomp filter is on us.
    pub seccomp: bool,
    /// Locked memory allowed, bytes; `None` is unlimited.
    pub memlock_bytes: Option<u64>,
    /// Descriptors allowed; `None` is unlimited.
    pub descriptors: Option<u64>,
    /// Per directory of the needs: why it cannot be used, if so.
    pub directories: Vec<(PathBuf, Option<DirectoryFault>)>,
}

/// Why a directory cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectoryFault {
    /// Not there, and not to be created.
    Missing,
    /// Something else has its name, or the name of a parent.
    NotADirectory(PathBuf),
    /// We may not write here: the directory, or the parent in which it is to be created.
    NotWritable(PathBuf, Errno),
}

/// Raises our soft limits to what may be had, and reports what is still missing.
pub fn check(needs: &Needs) -> Vec<Finding> {
    raise(Resource::Memlock, MEMLOCK_MIN_BYTES * needs.executors.max(1) as u64);
    raise(Resource::Nofile, descriptors_wanted(needs));
    judge(&HostFacts::read(needs), needs)
}

/// What is missing, given the facts.
pub fn judge(facts: &HostFacts, needs: &Needs) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(judge_kernel(facts));
    findings.extend(judge_memlock(facts, needs));
    findings.extend(judge_io_uring(facts));
    findings.extend(judge_descriptors(facts, needs));
    findings.extend(facts.directories.iter().filter_map(judge_directory));
    findings
}

/// The soft limit to the hard one, which anyone may. If that is too little, both to `wanted`, which root may. A refusal
/// is not an error here: `judge` looks at what was reached.
fn raise(resource: Resource, wanted: u64) {
    let now = getrlimit(resource);
    if now.current != now.maximum {
        let _ = setrlimit(resource, Rlimit { current: now.maximum, maximum: now.maximum });
    }
    if now.maximum.is_some_and(|maximum| maximum < wanted) {
        let _ = setrlimit(resource, Rlimit { current: Some(wanted), maximum: Some(wanted) });
    }
}

fn descriptors_reserved(needs: &Needs) -> u64 {
    DESCRIPTORS_BASE + DESCRIPTORS_PER_EXECUTOR * needs.executors as u64
}

fn descriptors_wanted(needs: &Needs) -> u64 {
    needs.connections_max.map_or(CONNECTIONS_EXPECTED, u64::from) + descriptors_reserved(needs)
}

fn judge_kernel(facts: &HostFacts) -> Option<Finding> {
    let version = kernel_version(&facts.kernel)?;
    (version < KERNEL_MIN).then(|| Finding {
        severity: Severity::Stops,
        subject: Subject::Kernel,
        wrong: format!("kernel {} is older than {}.{}", facts.kernel, KERNEL_MIN.0, KERNEL_MIN.1),
        mend: "install a newer kernel and reboot, on Ubuntu: sudo apt-get install linux-image-generic".to_owned(),
    })
}

/// Major and minor of a release like `6.1.0-13-amd64`; `None` for one that has no such form, which we then trust.
fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn judge_memlock(facts: &HostFacts, needs: &Needs) -> Option<Finding> {
    let allowed = facts.memlock_bytes?;
    let charged = kernel_version(&facts.kernel).is_some_and(|version| version < KERNEL_RINGS_UNCHARGED);
    let needed = if charged { MEMLOCK_MIN_BYTES * needs.executors.max(1) as u64 } else { MEMLOCK_MIN_BYTES };
    (allowed < needed).then(|| Finding {
        severity: Severity::Stops,
        subject: Subject::LockedMemory,
        wrong: format!("locked memory is limited to {} KiB, {} KiB are needed", allowed / 1024, needed / 1024),
        mend: "sudo prlimit --pid $$ --memlock=unlimited:unlimited (for this shell), LimitMEMLOCK=infinity (systemd \
               unit), --ulimit memlock=-1:-1 (docker run)"
            .to_owned(),
    })
}

fn judge_io_uring(facts: &HostFacts) -> Option<Finding> {
    let errno = facts.io_uring_error?;
    let (wrong, mend) = match (errno, facts.io_uring_disabled) {
        (Errno::PERM, Some(value @ 1..)) => (
            format!("io_uring is switched off on this host (sysctl kernel.io_uring_disabled = {value})"),
            "sudo sysctl -w kernel.io_uring_disabled=0",
        ),
        (Errno::PERM | Errno::NOSYS | Errno::ACCESS, _) if facts.seccomp => (
            format!("io_uring is blocked by a seccomp filter ({errno})"),
            "docker run --security-opt seccomp=unconfined, or a profile that allows io_uring_setup, io_uring_enter and \
             io_uring_register (Kubernetes: securityContext.seccompProfile; systemd unit: SystemCallFilter=@aio)",
        ),
        (Errno::NOSYS, _) => (
            "this kernel is built without io_uring".to_owned(),
            "boot a kernel with CONFIG_IO_URING=y: grep IO_URING /boot/config-$(uname -r) shows it",
        ),
        (Errno::NOMEM, _) => (
            "the kernel has no memory for an io_uring, or the limit on locked memory is reached".to_owned(),
            "sudo prlimit --pid $$ --memlock=unlimited:unlimited",
        ),
        (Errno::MFILE | Errno::NFILE, _) => {
            (format!("no descriptor is left for an io_uring ({errno})"), "sudo prlimit --pid $$ --nofile=65536:65536")
        }
        _ => (format!("io_uring cannot be set up ({errno})"), "sudo dmesg | tail shows what refused it"),
    };
    Some(Finding { severity: Severity::Stops, subject: Subject::IoUring, wrong, mend: mend.to_owned() })
}

fn judge_descriptors(facts: &HostFacts, needs: &Needs) -> Option<Finding> {
    let allowed = facts.descriptors?;
    let wanted = descriptors_wanted(needs);
    if allowed >= wanted {
        return None;
    }
    let reserved = descriptors_reserved(needs);
    let connections = allowed.saturating_sub(reserved);
    let severity = if connections < CONNECTIONS_MIN { Severity::Stops } else { Severity::Warns };
    let expected = wanted - reserved;
    Some(Finding {
        severity,
        subject: Subject::Descriptors,
        wrong: format!(
            "open files are limited to {allowed}, enough for {connections} connections; {wanted} are needed for \
             {expected}"
        ),
        mend: format!(
            "sudo prlimit --pid $$ --nofile={wanted}:{wanted} (for this shell), LimitNOFILE={wanted} (systemd unit), \
             --ulimit nofile={wanted}:{wanted} (docker run)"
        ),
    })
}

fn judge_directory((path, fault): &(PathBuf, Option<DirectoryFault>)) -> Option<Finding> {
    let shown = path.display();
    let (wrong, mend) = match fault.as_ref()? {
        DirectoryFault::Missing => {
            (format!("{shown} does not exist, and datadir.autocreate=false"), format!("mkdir -p {shown}"))
        }
        DirectoryFault::NotADirectory(at) => {
            (format!("{} is not a directory", at.display()), format!("mv {0} {0}.aside", at.display()))
        }
        DirectoryFault::NotWritable(at, Errno::ROFS) => (
            format!("{} is on a file system mounted read-only", at.display()),
            format!("sudo mount -o remount,rw $(findmnt -n -o TARGET --target {})", at.display()),
        ),
        DirectoryFault::NotWritable(at, errno) => (
            format!("{} is not writable for this user ({errno})", at.display()),
            format!("sudo chown -R $(id -un) {}", at.display()),
        ),
    };
    Some(Finding { severity: Severity::Stops, subject: Subject::Directory, wrong, mend })
}

impl HostFacts {
    /// Asks the kernel.
    pub fn read(needs: &Needs) -> HostFacts {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let seccomp = text("/proc/self/status");
        let seccomp = seccomp.lines().find_map(|line| line.strip_prefix("Seccomp:")).unwrap_or("0");
        let directories = needs.directories.iter().map(|path| (path.clone(), fault(path, needs.create_directories)));
        HostFacts {
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            io_uring_error: sys::ring::probe().err(),
            io_uring_disabled: text("/proc/sys/kernel/io_uring_disabled").trim().parse().ok(),
            seccomp: seccomp.trim() != "0",
            memlock_bytes: getrlimit(Resource::Memlock).current,
            descriptors: getrlimit(Resource::Nofile).current,
            directories: directories.collect(),
        }
    }
}

/// Why `path` cannot be used as a data directory. One that is missing is judged by the parent that will hold it.
fn fault(path: &Path, create: bool) -> Option<DirectoryFault> {
    let mut at = path;
    loop {
        match fs::metadata(at) {
            Ok(found) if !found.is_dir() => return Some(DirectoryFault::NotADirectory(at.to_owned())),
            Ok(_) => break,
            Err(_) if at == path && !create => return Some(DirectoryFault::Missing),
            Err(_) => match at.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => at = parent,
                _ => break,
            },
        }
    }
    let at = if fs::metadata(at).is_ok() { at } else { Path::new(".") };
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    let refused = rustix::fs::access(at, wanted).err()?;
    Some(DirectoryFault::NotWritable(at.to_owned(), refused))
}

#[cfg(test)]
#[path = "host/tests.rs"]
mod tests;
