//! Where the real peers are: Java programs with their class path, kazoo's Python, the C compiler.
//!
//! Flow       `tests/setup` puts them in one directory, this names what is in it.
//! Invariant  a missing peer fails the test and says how to get it; it is never skipped in silence.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::command;

/// The directory that `tests/setup` filled.
pub fn directory() -> PathBuf {
    match env::var_os("RINGKEEPER_PEERS") {
        Some(given) => PathBuf::from(given),
        None => {
            PathBuf::from(env::var_os("HOME").unwrap_or_else(|| OsString::from("."))).join(".cache/ringkeeper-peers")
        }
    }
}

/// The folder of the foreign programs' sources.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

fn present(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "{} is missing: run tests/setup first (tests/run does)", path.display());
    path
}

/// The class path of ZooKeeper, its client and Curator, with `first` in front.
pub fn class_path(first: Option<&Path>) -> OsString {
    let mut path = OsString::new();
    if let Some(first) = first {
        path.push(first);
        path.push(":");
    }
    path.push(present(directory().join("jars")));
    path.push("/*");
    path
}

/// The class path of a server whose jars are in this folder, with the library that makes it log if it shall.
pub fn server_class_path(jars: &str, is_logged: bool) -> OsString {
    let mut path = OsString::new();
    // Debian's library, which both versions know. It stands in front, as 3.9.5's jars have a newer interface that lacks
    // a way to log; 3.8.0's have none.
    let log = (is_logged || jars != "jars").then_some("jars-log");
    for folder in log.into_iter().chain([jars]) {
        path.push(present(directory().join(folder)));
        path.push("/*:");
    }
    path
}

/// A small, fast-starting JVM. `heap_mib` bounds its memory, since many run side by side.
pub fn java(heap_mib: u32, first: Option<&Path>) -> Command {
    java_of(heap_mib, &class_path(first))
}

/// As `java`, with any class path.
pub fn java_of(heap_mib: u32, class_path: &OsStr) -> Command {
    let mut command = Command::new("java");
    command
        .arg(format!("-Xmx{heap_mib}m"))
        .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-XX:-UsePerfData"])
        // English and UTC, whatever the machine is set to: the texts are compared.
        .args(["-Duser.language=en", "-Duser.country=US", "-Duser.timezone=UTC"])
        .arg("-cp")
        .arg(class_path);
    command
}

/// Compiles one Java source of `clients/` and gives the folder to put in front of the class path.
pub fn compile_java(source: &str, into: &Path) -> PathBuf {
    fs::create_dir_all(into).expect("a test's own directory is writable");
    let mut command = Command::new("javac");
    command.args(["-nowarn", "-proc:none", "-d"]).arg(into);
    command.arg("-cp").arg(class_path(None)).arg(sources().join(source));
    command::run(&mut command, Duration::from_secs(300)).expect_success("javac");
    into.to_owned()
}

/// Compiles one C source of `clients/` against the multi-threaded C client and gives the program.
pub fn compile_c(source: &str, into: &Path) -> PathBuf {
    let program = into.join(source.trim_end_matches(".c"));
    let mut command = Command::new("gcc");
    // THREADED chooses the half of the header that has the synchronous calls.
    command.args(["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-DTHREADED", "-o"]).arg(&program);
    command.arg(sources().join(source)).args(["-lzookeeper_mt", "-lpthread"]);
    command::run(&mut command, Duration::from_secs(120)).expect_success("gcc");
    program
}

/// The Python that has kazoo.
pub fn python() -> Command {
    let mut command = Command::new(present(directory().join("venv/bin/python")));
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUNBUFFERED", "1");
    command
}
