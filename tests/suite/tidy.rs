//! The rules of the house, checked over the tree of files.
//!
//! Flow       every rule looks at all files it concerns and lists what breaks it, so one run shows everything.
//! Absent     what rustfmt, clippy and rustc say already.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file without its tests.
const FILE_LINES_MAX: usize = 600;
/// Lines of the scripts and programs of other languages, which have no tests of their own.
const FOREIGN_LINES_MAX: usize = 700;
/// Folders that hold nothing that we wrote.
const SKIPPED: [&str; 6] = ["target", ".git", "corpus", "artifacts", "testdata", "proptest-regressions"];
/// Crates that can't name a clock, a file, a socket or a thread.
const PURE: [&str; 3] = ["src/ids", "src/tree", "src/zab"];
/// What pure crates may use of others' making: slices, hash tables and the tree digest's CRC, none with std.
const PURE_FOREIGN: [&str; 3] = ["bytes", "hashbrown", "crc32fast"];
/// Who may depend on whom among our own. What is not listed does not exist.
const ARROWS: [(&str, &[&str]); 9] = [
    ("src/ids", &[]),
    ("src/tree", &["ids"]),
    ("src/zab", &["ids"]),
    ("storage", &[]),
    ("net", &[]),
    ("tuning", &[]),
    (".", &["ids", "tree", "zab", "storage", "net", "tuning"]),
    ("tests", &["ids", "tree", "zab", "storage", "net", "tuning", "ringkeeper"]),
    ("benches", &["ids", "tree", "zab", "storage", "net", "tuning", "ringkeeper", "support"]),
];
/// The names of our own crates in manifests.
const OWN: [&str; 8] = ["ids", "tree", "zab", "storage", "net", "tuning", "support", "ringkeeper"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file of ours by its path from the root.
fn files(extensions: &[&str]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the checkout is readable").flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if path.is_dir() {
                if !SKIPPED.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if extensions.iter().any(|extension| name.ends_with(extension))
                && let Ok(text) = fs::read_to_string(&path)
            {
                found.insert(relative(&path), text);
            }
        }
    }
    assert!(!found.is_empty(), "no file ends with {extensions:?}");
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).expect("found below the root").to_string_lossy().into_owned()
}

fn rust() -> BTreeMap<String, String> {
    files(&[".rs"])
}

fn none(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// A file's own code: what stands before its tests at the foot.
fn without_tests(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"))
}

/// A line without what stands behind `//`, roughly: a string with two slashes loses its end, which harms no rule here.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

#[test]
fn every_rust_file_says_what_it_is() {
    let silent = rust().into_iter().filter(|(_, text)| !text.starts_with("//! "));
    none(silent.map(|(path, _)| format!("{path}: must open with a //! header")).collect());
}

#[test]
fn files_stay_short() {
    let mut problems = Vec::new();
    for (path, text) in rust() {
        let is_tests = path.ends_with("/tests.rs") || path.contains("/tests/");
        let lines = without_tests(&text).count();
        if lines > FILE_LINES_MAX && !is_tests {
            problems.push(format!("{path}: {lines} lines without tests, {FILE_LINES_MAX} allowed"));
        }
    }
    for (path, text) in files(&[".py", ".java", ".c", ".sh"]) {
        let lines = text.lines().count();
        if lines > FOREIGN_LINES_MAX {
            problems.push(format!("{path}: {lines} lines, {FOREIGN_LINES_MAX} allowed"));
        }
    }
    none(problems);
}

#[test]
fn no_file_is_a_drawer() {
    let drawers = ["util", "utils", "common", "types", "misc", "helpers"];
    let named = |path: &str| Path::new(path).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let found = rust().into_keys().filter(|path| named(path).is_some_and(|stem| drawers.contains(&stem.as_str())));
    none(found.map(|path| format!("{path}: name it after its one idea")).collect());
}

#[test]
fn unsafe_stays_in_sys() {
    let mut problems = Vec::new();
    for (path, text) in rust() {
        let in_sys = path.contains("/sys/") || path.ends_with("/sys.rs");
        let mut argued = false;
        for (number, line) in text.lines().enumerate() {
            argued |= line.trim_start().starts_with("// SAFETY:") || line.contains("# Safety");
            let uses =
                ["{", "fn ", "impl ", "extern "].iter().any(|what| code(line).contains(&format!("unsafe {what}")));
            if uses && !path.ends_with("suite/tidy.rs") {
                if !in_sys {
                    problems.push(format!("{path}:{}: unsafe outside sys/", number + 1));
                } else if !argued {
                    problems.push(format!("{path}:{}: no SAFETY points before it", number + 1));
                }
                argued = false;
            }
        }
    }
    none(problems);
}

#[test]
fn nothing_is_left_to_be_done() {
    // Put together here, or this file would break its own rule.
    let words = [["to", "do!("], ["unimple", "mented!("], ["dbg", "!("], ["FIX", "ME"], ["#[ig", "nore"], ["XX", "X:"]];
    let words = words.map(|halves| halves.concat());
    let mut problems = Vec::new();
    for (path, text) in
        files(&[".rs", ".toml", ".md", ".sh", ".py", ".java", ".c", "tests/run", "tests/setup", ".ci/run"])
    {
        for (number, line) in text.lines().enumerate() {
            for word in words.iter().filter(|word| line.contains(word.as_str())) {
                problems.push(format!("{path}:{}: {word}", number + 1));
            }
        }
    }
    none(problems);
}

#[test]
fn text_has_no_tabs_no_trailing_blanks_and_no_machine_paths() {
    // A machine's own folders. Put together here for the same reason.
    let homes = [["/ro", "ot/"], ["/ho", "me/"], ["/wo", "rk/"], ["/Us", "ers/"]].map(|halves| halves.concat());
    let mut problems = Vec::new();
    for (path, text) in
        files(&[".rs", ".toml", ".md", ".sh", ".py", ".java", ".c", "tests/run", "tests/setup", ".ci/run"])
    {
        for (number, line) in text.lines().enumerate() {
            let place = format!("{path}:{}", number + 1);
            if line.contains('\t') {
                problems.push(format!("{place}: a tab"));
            }
            if line.ends_with(' ') {
                problems.push(format!("{place}: a blank at the end"));
            }
            for home in homes.iter().filter(|home| line.contains(home.as_str())) {
                problems.push(format!("{place}: {home} is somebody's machine"));
            }
        }
        if !text.is_empty() && !text.ends_with('\n') {
            problems.push(format!("{path}: no newline at the end"));
        }
    }
    none(problems);
}

/// The names in the sections of a manifest whose title is one of `titles`.
fn dependencies(manifest: &str, titles: &[&str]) -> Vec<String> {
    let mut inside = false;
    let mut names = Vec::new();
    for line in manifest.lines() {
        if let Some(title) = line.strip_prefix('[') {
            inside = titles.contains(&title.trim_end_matches(']'));
        } else if inside
            && let Some((name, _)) = line.split_once('=')
            && !line.starts_with('#')
        {
            names.push(name.trim().trim_end_matches(".workspace").to_owned());
        }
    }
    names
}

#[test]
fn dependencies_follow_the_arrows() {
    let mut problems = Vec::new();
    for (folder, allowed) in ARROWS {
        let Ok(manifest) = fs::read_to_string(root().join(folder).join("Cargo.toml")) else { continue };
        for name in dependencies(&manifest, &["dependencies", "build-dependencies"]) {
            if OWN.contains(&name.as_str()) && !allowed.contains(&name.as_str()) {
                problems.push(format!("{folder}/Cargo.toml: no arrow to {name}"));
            }
            if PURE.contains(&folder) && !OWN.contains(&name.as_str()) && !PURE_FOREIGN.contains(&name.as_str()) {
                problems.push(format!("{folder}/Cargo.toml: {name} in a pure crate"));
            }
        }
    }
    none(problems);
}

#[test]
fn pure_crates_are_pure() {
    let mut problems = Vec::new();
    for folder in PURE.iter().filter(|folder| root().join(folder).exists()) {
        let path = format!("{folder}/lib.rs");
        let text = fs::read_to_string(root().join(&path)).expect("a crate has its root there");
        for attribute in ["#![no_std]", "#![forbid(unsafe_code)]"] {
            if !text.lines().any(|line| line == attribute) {
                problems.push(format!("{path}: {attribute} is missing"));
            }
        }
        for (path, text) in rust().into_iter().filter(|(path, _)| path.starts_with(folder)) {
            // Tests may use std; the crate's own code may not even name it.
            let tests = path.ends_with("tests.rs") || path.contains("/tests/") || path.ends_with("model.rs");
            for (number, line) in without_tests(&text).enumerate() {
                if !tests && (code(line).contains("std::") && !code(line).contains("#![")) {
                    problems.push(format!("{path}:{}: std in a pure crate", number + 1));
                }
            }
        }
    }
    none(problems);
}

#[test]
fn every_dependency_of_the_workspace_has_its_reason() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the root has a manifest");
    let mut problems = Vec::new();
    let mut reasoned = false;
    let section = manifest.lines().skip_while(|line| *line != "[workspace.dependencies]").skip(1);
    for line in section.take_while(|line| !line.starts_with('[')) {
        match line.trim() {
            "" => reasoned = false,
            comment if comment.starts_with('#') => reasoned = true,
            dependency if !reasoned => problems.push(format!("Cargo.toml: why {dependency}?")),
            _ => {}
        }
    }
    none(problems);
}

#[test]
fn every_parser_of_outside_bytes_is_fuzzed() {
    let sources = rust();
    let targets: String =
        sources.iter().filter(|(path, _)| path.starts_with("fuzz/")).map(|(_, text)| text.as_str()).collect();
    let mut problems = Vec::new();
    let mut parsers = 0;
    for (path, text) in sources.iter().filter(|(path, _)| !path.starts_with("fuzz/") && !path.starts_with("tests/")) {
        for line in text.lines() {
            if let Some((name, _)) = line.trim().strip_prefix("pub fn fuzz_").and_then(|rest| rest.split_once('(')) {
                parsers += 1;
                if !targets.contains(&format!("fuzz_{name}")) {
                    problems.push(format!("{path}: fuzz_{name} has no target in fuzz/"));
                }
            }
        }
    }
    assert!(parsers > 0, "no parser has a fuzz function");
    none(problems);
}

#[test]
fn the_readme_names_the_test_command() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md is there");
    assert!(readme.contains("tests/run"), "README.md must name the one test command, tests/run");
    for path in
        ["LICENSE", "ARCHITECTURE.md", "CHANGELOG.md", "storage/DESIGN.md", "tests/run", "tests/setup", ".ci/run"]
    {
        assert!(root().join(path).exists(), "{path} is missing");
    }
}
