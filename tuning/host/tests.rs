//! Findings about a host, from facts made up.

use super::*;

fn needs() -> Needs {
    Needs { executors: 1, connections_max: None, directories: Vec::new(), create_directories: true }
}

/// A host that lacks nothing.
fn sound() -> HostFacts {
    HostFacts {
        kernel: "6.1.0-13-amd64".to_owned(),
        io_uring_error: None,
        io_uring_disabled: Some(0),
        seccomp: false,
        memlock_bytes: Some(8 << 20),
        descriptors: Some(65_536),
        directories: Vec::new(),
    }
}

fn only(facts: HostFacts, needs: &Needs) -> Finding {
    let findings = judge(&facts, needs);
    assert_eq!(findings.len(), 1, "{findings:?}");
    findings.into_iter().next().unwrap()
}

#[test]
fn a_sound_host_has_no_findings() {
    assert_eq!(judge(&sound(), &needs()), []);
    assert_eq!(judge(&HostFacts { memlock_bytes: None, descriptors: None, ..sound() }, &needs()), []);
    assert_eq!(judge(&HostFacts { kernel: "odd".to_owned(), ..sound() }, &needs()), []);
}

#[test]
fn an_old_kernel_stops_us() {
    let found = only(HostFacts { kernel: "5.4.0-150-generic".to_owned(), ..sound() }, &needs());
    assert_eq!((found.subject, found.severity), (Subject::Kernel, Severity::Stops));
    assert!(judge(&HostFacts { kernel: "5.10.0".to_owned(), ..sound() }, &needs()).is_empty(), "5.10 is after 5.8");
}

#[test]
fn locked_memory_is_needed_once_and_per_executor_where_rings_are_charged() {
    let found = only(HostFacts { memlock_bytes: Some(64 << 10), ..sound() }, &needs());
    assert_eq!(found.wrong, "locked memory is limited to 64 KiB, 512 KiB are needed");
    assert!(found.mend.contains("prlimit"), "{}", found.mend);
    let many = Needs { executors: 64, ..needs() };
    assert_eq!(judge(&sound(), &many), []);
    let found = only(HostFacts { kernel: "5.10.0".to_owned(), ..sound() }, &many);
    assert_eq!(found.wrong, "locked memory is limited to 8192 KiB, 32768 KiB are needed");
}

#[test]
fn each_reason_for_no_io_uring_has_its_own_command() {
    let cases = [
        (Errno::PERM, Some(2), false, "sudo sysctl -w kernel.io_uring_disabled=0"),
        (Errno::PERM, Some(0), true, "docker run --security-opt seccomp=unconfined"),
        (Errno::NOSYS, None, true, "docker run --security-opt seccomp=unconfined"),
        (Errno::NOSYS, None, false, "CONFIG_IO_URING=y"),
        (Errno::NOMEM, Some(0), false, "--memlock=unlimited"),
        (Errno::MFILE, Some(0), false, "--nofile="),
        (Errno::INVAL, Some(0), false, "dmesg"),
    ];
    for (errno, disabled, seccomp, command) in cases {
        let facts = HostFacts { io_uring_error: Some(errno), io_uring_disabled: disabled, seccomp, ..sound() };
        let found = only(facts, &needs());
        assert_eq!((found.subject, found.severity), (Subject::IoUring, Severity::Stops));
        assert!(found.mend.contains(command), "{errno}: {}", found.mend);
    }
}

#[test]
fn descriptors_are_compared_with_the_connections_allowed() {
    let found = only(HostFacts { descriptors: Some(1024), ..sound() }, &needs());
    assert_eq!(found.severity, Severity::Warns);
    assert_eq!(found.wrong, "open files are limited to 1024, enough for 944 connections; 10080 are needed for 10000");
    let few = Needs { connections_max: Some(100), ..needs() };
    assert_eq!(judge(&HostFacts { descriptors: Some(1024), ..sound() }, &few), []);
    let found = only(HostFacts { descriptors: Some(90), ..sound() }, &few);
    assert_eq!(found.severity, Severity::Stops, "ten connections are no service");
}

#[test]
fn directories_are_judged_where_they_will_be() {
    let root = std::env::temp_dir().join(format!("ringkeeper-host-{}", std::process::id()));
    fs::create_dir_all(&root).unwrap();
    let file = root.join("file");
    fs::write(&file, "").unwrap();
    assert_eq!(fault(&root, false), None);
    assert_eq!(fault(&root.join("a/b"), true), None);
    assert_eq!(fault(&root.join("a/b"), false), Some(DirectoryFault::Missing));
    assert_eq!(fault(&file, true), Some(DirectoryFault::NotADirectory(file.clone())));
    assert_eq!(fault(&file.join("below"), true), Some(DirectoryFault::NotADirectory(file.clone())));
    fs::remove_dir_all(&root).unwrap();
}

#[test]
fn every_directory_fault_stops_us_and_names_the_place() {
    let place = PathBuf::from("/data");
    let faults = [
        DirectoryFault::Missing,
        DirectoryFault::NotADirectory(place.clone()),
        DirectoryFault::NotWritable(place.clone(), Errno::ROFS),
        DirectoryFault::NotWritable(place.clone(), Errno::ACCESS),
    ];
    for fault in faults {
        let found = only(HostFacts { directories: vec![(place.clone(), Some(fault))], ..sound() }, &needs());
        assert_eq!((found.subject, found.severity), (Subject::Directory, Severity::Stops));
        assert!(found.wrong.contains("/data") && found.mend.contains("/data"), "{found}");
    }
}

#[test]
fn this_host_can_be_asked() {
    for finding in check(&needs()) {
        assert!(!finding.wrong.is_empty() && !finding.mend.is_empty(), "{finding:?}");
    }
}
