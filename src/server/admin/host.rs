//! What the host says about itself, for `envi` and `mntr`: name, system, descriptors, sizes of directories.

use std::fs;
use std::path::Path;

/// Text of a file under /proc, without its line end.
fn proc_text(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim_end().to_owned())
}

/// The host's name.
pub fn host_name() -> String {
    proc_text("/proc/sys/kernel/hostname").unwrap_or_else(|| "<NA>".to_owned())
}

/// The kernel's release.
pub fn kernel_release() -> String {
    proc_text("/proc/sys/kernel/osrelease").unwrap_or_else(|| "<NA>".to_owned())
}

/// The architecture under the name that Java gives it.
pub fn java_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        other => other,
    }
}

/// An environment variable, or `<NA>`.
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| "<NA>".to_owned())
}

/// Descriptors this process has open; -1 when the system does not say.
pub fn open_descriptors() -> i64 {
    fs::read_dir("/proc/self/fd").map_or(-1, |entries| entries.count() as i64)
}

/// Descriptors this process may have open; -1 for no limit.
pub fn descriptors_max() -> i64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX))
}

/// Free, used and total memory of the process in the words of Java's runtime: `<n>MB`.
pub fn memory_mb() -> (String, String, String) {
    let status = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let text = |kib: Option<u64>| kib.map_or_else(|| "<NA>".to_owned(), |kib| format!("{}MB", kib / 1024));
    (text(field("MemAvailable:")), text(field("MemTotal:")), text(field("MemTotal:")))
}

/// Bytes of the files directly under `path`, allocated ahead of use included; 0 when it is not there.
pub fn directory_bytes(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    entries
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .filter(|meta| meta.is_file())
        .map(|meta| meta.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_counts_its_files() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a"), [0; 10]).unwrap();
        fs::write(directory.path().join("b"), [0; 5]).unwrap();
        assert_eq!(directory_bytes(directory.path()), 15);
        assert_eq!(directory_bytes(&directory.path().join("absent")), 0);
    }

    #[test]
    fn this_process_has_descriptors() {
        assert!(open_descriptors() >= 3);
        assert!(descriptors_max() == -1 || descriptors_max() >= open_descriptors());
    }
}
