//! A disk that is soon full: a tmpfs of a few MiB in a mount namespace of its own.
//!
//! Flow       `SmallDisk::mount` -> `inside` runs a command that sees it -> drop, and it is gone with all it held.
//! Invariant  nothing outlives us: the namespace's holder ends when its standard input does, however we end.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A mounted disk, and the process that holds its namespace.
#[derive(Debug)]
pub struct SmallDisk {
    holder: Child,
    is_root: bool,
}

impl SmallDisk {
    /// Mounts one of so many MiB at `directory`, which exists. Root does it as root, others as root of a user namespace.
    ///
    /// # Panics
    /// If the kernel does not let us.
    pub fn mount(directory: &Path, len_mib: u64) -> Self {
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
        let script = format!(r#"mount -t tmpfs -o size={len_mib}m tmpfs "$0" && echo mounted && exec cat"#);
        let mut command = Command::new("unshare");
        if !is_root {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--mount", "sh", "-c", &script]).arg(directory);
        let mut holder =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("util-linux brings `unshare`");
        let mut said = String::new();
        let stdout = holder.stdout.take().expect("it was asked for");
        BufReader::new(stdout).read_line(&mut said).expect("the holder's output is text");
        assert_eq!(said, "mounted\n", "a small disk can't be mounted here (needs root, or user namespaces)");
        Self { holder, is_root }
    }

    /// A command that runs `program` where the disk is mounted.
    pub fn inside(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.holder.id().to_string(), "--mount"]);
        if !self.is_root {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.arg("--").arg(program);
        command
    }

    /// What a path inside is called outside.
    pub fn outside(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(path.strip_prefix("/").expect("paths of servers are absolute"))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // It may have ended already; whatever it says, nobody is left to mind.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
