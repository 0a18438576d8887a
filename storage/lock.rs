//! One server per directory: a lock that the kernel drops with the process, whatever way it dies.
//!
//! The file stays; only the flock on it counts. It holds the owner's process id, for the message to whoever comes second.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::error::LockError;

/// File name of the lock.
pub const LOCK_NAME: &str = "lock";

/// The lock on a directory, until it is dropped.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DirLock {
    /// Locks `dir`, which is made if it doesn't exist. Blocking calls; to be used before the server serves.
    ///
    /// # Errors
    /// Another process has it, or the kernel refused.
    pub fn take(dir: &Path) -> Result<DirLock, LockError> {
        let path = dir.join(LOCK_NAME);
        let fail = |doing: &'static str, at: &Path| {
            let path = at.to_owned();
            move |source: io::Error| LockError::Io { doing, path, source }
        };
        std::fs::create_dir_all(dir).map_err(fail("make the directory", dir))?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(fail("open the lock", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(LockError::Held { pid: read_pid(&mut file), path }),
            Err(error) => return Err(fail("lock", &path)(error.into())),
        }
        write_pid(&mut file).map_err(fail("write", &path))?;
        Ok(DirLock { _file: file })
    }
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// The owner may just be writing it.
fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_server_is_told_who_has_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirLock::take(dir.path()).unwrap();
        let error = DirLock::take(dir.path()).unwrap_err();
        assert!(matches!(error, LockError::Held { pid: Some(pid), .. } if pid == std::process::id()));
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        drop(first);
        DirLock::take(dir.path()).unwrap();
    }

    #[test]
    fn lock_left_by_a_dead_process_is_free() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(LOCK_NAME), "999999\n").unwrap();
        DirLock::take(dir.path()).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join(LOCK_NAME)).unwrap(), format!("{}\n", std::process::id()));
    }

    #[test]
    fn directory_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = DirLock::take(&file.join("data")).unwrap_err();
        assert!(error.to_string().contains("file/data"), "{error}");
    }
}
