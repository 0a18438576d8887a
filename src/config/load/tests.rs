//! Loading: every key, its bounds, its origin, and what is said about a wrong value.

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::config::Purge;
use crate::config::keys::{Key, Kind, Scope, State};
use crate::config::settings::COMPARED_MAX;
use crate::config::{DigestAlgorithm, LogStrategy, Whitelist};

#[path = "tests/membership.rs"]
mod membership;

/// A directory of its own with a zoo.cfg in it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn with(text: &str) -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        fs::write(folder.file(), text).unwrap();
        folder
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self) -> PathBuf {
        self.path().join("zoo.cfg")
    }

    /// Texts with the folder's name cut out, as it differs from run to run.
    fn strip(&self, text: impl ToString) -> String {
        text.to_string().replace(&format!("{}/", self.path().display()), "")
    }

    fn load(&self, defines: &[&str]) -> Result<Loaded, Vec<String>> {
        let defines: Vec<Define> = defines.iter().map(|text| Define::parse(text)).collect();
        load(Some(&self.file()), &defines).map_err(|error| error.problems.iter().map(|p| self.strip(p)).collect())
    }

    fn warnings(&self, defines: &[&str]) -> Vec<String> {
        self.load(defines).unwrap().warnings.iter().map(|warning| self.strip(warning)).collect()
    }
}

/// The least that a zoo.cfg must have.
const LEAST: &str = "dataDir=/d\nclientPort=2181\n";

fn with(lines: &str) -> Folder {
    Folder::with(&format!("{LEAST}{lines}\n"))
}

fn problems(lines: &str) -> Vec<String> {
    with(lines).load(&[]).map(|_| ()).unwrap_err()
}

fn config(lines: &str, defines: &[&str]) -> Config {
    with(lines).load(defines).unwrap().config
}

#[test]
fn without_a_file_there_is_a_server_on_2181() {
    let loaded = load(None, &[]).unwrap();
    let local = loaded.config.local;
    assert_eq!((local.client_port, local.client_address, local.file), (2181, None, None));
    assert_eq!(local.data_dir, std::env::current_dir().unwrap().join("ringkeeper-data"));
    assert_eq!(local.data_log_dir, local.data_dir);
    assert_eq!(loaded.config.ensemble.tick_time_ms, 2000);
    assert_eq!(loaded.warnings, []);
}

#[test]
fn a_silent_file_has_zookeepers_defaults() {
    let Config { ensemble, local, membership } = config("", &[]);
    assert_eq!(membership, None);
    assert_eq!(ensemble.tick_time_ms, 3000);
    assert_eq!((ensemble.session_timeout_min_ms, ensemble.session_timeout_max_ms), (6000, 60_000));
    assert_eq!(ensemble.jute_max_buffer_bytes, 0xfffff);
    assert_eq!((local.max_client_cnxns, local.max_cnxns, local.global_outstanding_limit), (60, 0, 1000));
    assert_eq!(local.listen_backlog, None);
    assert_eq!(local.whitelist, Whitelist::Only(vec!["srvr".into()]));
    assert_eq!(local.auth.digest_algorithm, DigestAlgorithm::Sha1);
    assert_eq!(local.auth.super_digest, None);
    assert_eq!(local.storage.snap_count, 100_000);
    assert_eq!(local.storage.snap_size_limit_kib, Some(4_194_304));
    assert_eq!((local.storage.strategy, local.storage.segment_size_kib), (LogStrategy::Auto, 65_536));
    assert!(local.storage.force_sync);
    assert!(ensemble.digest_enabled && ensemble.close_session_txn);
    assert!(!ensemble.skip_acl && !ensemble.extended_types && !ensemble.enforce_quota);
    assert_eq!(ensemble.containers.never_used_interval_ms, None);
}

#[test]
fn purging_is_on_unless_it_is_switched_off() {
    let retention = config("", &[]).local.storage.retention;
    assert_eq!((retention.snapshots, retention.purge), (3, Purge::EverySnapshot));
    let retention = config("autopurge.purgeInterval=0\nautopurge.snapRetainCount=7", &[]).local.storage.retention;
    assert_eq!((retention.snapshots, retention.purge), (7, Purge::Never));
}

#[test]
fn the_sample_file_of_zookeeper_is_read() {
    let text = "# The number of milliseconds of each tick\ntickTime=2000\ninitLimit=10\nsyncLimit=5\n\
                dataDir=/tmp/zookeeper\nclientPort=2181\n#maxClientCnxns=60\n";
    let folder = Folder::with(text);
    assert_eq!(folder.load(&[]).unwrap().config.ensemble.session_timeout_max_ms, 40_000);
    assert_eq!(folder.warnings(&[]), [""; 0], "what only members need is nothing to warn of");
}

#[test]
fn a_file_beats_a_define_and_says_so() {
    let folder = with("snapCount=5000");
    assert_eq!(folder.load(&["zookeeper.snapCount=7000"]).unwrap().config.local.storage.snap_count, 5000);
    let said = "-Dzookeeper.snapCount: has no effect: line 3 of the file sets it too";
    assert_eq!(folder.warnings(&["zookeeper.snapCount=7000"]), [said]);
    assert!(folder.warnings(&["zookeeper.snapCount=5000"]).is_empty(), "nobody is misled by two equal values");
    assert_eq!(config("", &["zookeeper.snapCount=7000", "zookeeper.snapCount=8000"]).local.storage.snap_count, 8000);
}

#[test]
fn a_later_line_beats_an_earlier_one() {
    assert_eq!(config("tickTime=1000\ntickTime = 4000 ", &[]).ensemble.tick_time_ms, 4000);
}

#[test]
fn properties_without_prefix_work_where_java_has_them() {
    let config = config(
        "",
        &[
            "jute.maxbuffer=0x400000",
            "readonlymode.enabled=true",
            "znode.container.maxNeverUsedIntervalMs=5000",
            "znode.container.checkIntervalMs=100",
            "fsync.warningthresholdms=20",
        ],
    );
    assert_eq!(config.ensemble.jute_max_buffer_bytes, 0x40_0000);
    assert_eq!(config.ensemble.containers.never_used_interval_ms, Some(5000));
    assert_eq!(config.ensemble.containers.check_interval_ms, 100);
    assert_eq!(config.local.storage.sync_warning_ms, 20);
    assert!(config.local.whitelist.allows("isro"), "read-only mode brings isro");
}

#[test]
fn the_property_with_prefix_beats_the_one_without() {
    for defines in [
        ["fsync.warningthresholdms=20", "zookeeper.fsync.warningthresholdms=30"],
        ["zookeeper.fsync.warningthresholdms=30", "fsync.warningthresholdms=20"],
    ] {
        assert_eq!(config("", &defines).local.storage.sync_warning_ms, 30);
    }
}

#[test]
fn a_property_in_the_wrong_form_is_ignored_with_the_right_form_named() {
    let cases = [
        (
            "zookeeper.tickTime=1",
            "-Dzookeeper.tickTime: has no effect: tickTime is read from zoo.cfg, or as -DtickTime",
        ),
        ("zookeeper.jute.maxbuffer=1", "-Dzookeeper.jute.maxbuffer: has no effect: write -Djute.maxbuffer"),
        ("snapCount=1", "-DsnapCount: has no effect: write -Dzookeeper.snapCount"),
        ("zookeeper.snapcount=1", "-Dzookeeper.snapcount: is read by nothing; did you mean snapCount?"),
        ("jute.maxbufer=1", "-Djute.maxbufer: is read by nothing; did you mean jute.maxbuffer?"),
    ];
    for (define, warning) in cases {
        assert_eq!(with("").warnings(&[define]), [warning]);
    }
    let silent =
        ["java.net.preferIPv4Stack=true", "com.sun.management.jmxremote", "zookeeper.my.plugin=1", "user.dir=/"];
    assert!(with("").warnings(&silent).is_empty(), "other people's properties are theirs");
}

#[test]
fn a_key_in_the_wrong_form_is_ignored_with_the_right_form_named() {
    let cases = [
        (
            "jute.maxbuffer=5",
            "zoo.cfg:3: jute.maxbuffer: has no effect in a file, as in ZooKeeper: start with -Djute.maxbuffer=5",
        ),
        (
            "zookeeper.snapCount=5",
            "zoo.cfg:3: zookeeper.snapCount: has no effect: ZooKeeper adds the prefix itself; did you mean snapCount?",
        ),
        ("ticktime=5", "zoo.cfg:3: ticktime: is read by nothing; did you mean tickTime?"),
        (
            "connectionMaxTokens=5",
            "zoo.cfg:3: connectionMaxTokens: is read by nothing; did you mean connection_throttle_tokens?",
        ),
    ];
    for (line, warning) in cases {
        assert_eq!(with(line).warnings(&[]), [warning]);
    }
    assert!(with("my.own.plugin=5").warnings(&[]).is_empty());
}

#[test]
fn so_many_unknown_names_are_looked_at_for_misspellings_and_no_more() {
    // A megabyte of unknown names took seconds, as each was compared with every known one.
    let unknown = |count: usize| (0..count).map(|number| format!("plugin.{number}=x\n")).collect::<String>();
    let last = unknown(COMPARED_MAX - 1) + "ticktime=5";
    assert_eq!(with(&last).warnings(&[]), ["zoo.cfg:1002: ticktime: is read by nothing; did you mean tickTime?"]);
    let beyond = unknown(COMPARED_MAX) + "ticktime=5\nsnapcount=5\ntickTime=7";
    let word = "is unknown, as 1000 names before it: no more are looked at for misspellings";
    assert_eq!(with(&beyond).warnings(&[]), [format!("zoo.cfg:1003: ticktime: {word}")]);
    assert_eq!(config(&beyond, &[]).ensemble.tick_time_ms, 7, "known names are known however many others there are");
    let ours = unknown(COMPARED_MAX + 1) + "ringkeeper.layuot=single";
    assert_eq!(problems(&ours), ["zoo.cfg:1004: ringkeeper.layuot: there is no such setting"]);
}

/// A value that every kind allows and that no check between keys minds.
fn harmless(key: &Key) -> String {
    match (key.name, key.kind) {
        ("secureClientPort" | "admin.serverPort", _) => "0".to_owned(),
        (_, Kind::Word(words, _)) => words[0].to_owned(),
        (_, Kind::Bool) => "false".to_owned(),
        (_, Kind::Int { max, .. }) => max.min(3).to_string(),
        (_, Kind::Raised { floor, .. }) => floor.to_string(),
        (_, Kind::Decimal { .. }) => "0".to_owned(),
        _ => "text".to_owned(),
    }
}

#[test]
fn every_key_without_effect_gets_exactly_one_warning_that_names_it() {
    let mut checked = 0;
    for key in keys::all().filter(|key| matches!(key.state, State::NotYet(_) | State::Never(_))) {
        let name = key.name.replace('*', "x");
        let value = harmless(key);
        let (lines, define, place) = match key.scope {
            Scope::Jvm => (String::new(), format!("{name}={value}"), format!("-D{name}: ")),
            _ => (format!("{name}={value}"), "unrelated=1".to_owned(), format!("zoo.cfg:3: {name}: ")),
        };
        let warnings = with(&lines).warnings(&[&define]);
        assert_eq!(warnings.len(), 1, "{name}: {warnings:?}");
        assert!(warnings[0].starts_with(&format!("{place}has no effect")), "{warnings:?}");
        checked += 1;
    }
    assert!(checked > 100, "the table has lost entries: {checked}");
}

#[test]
fn every_wrong_value_is_an_error_with_file_line_finding_and_allowance() {
    let mut checked = 0;
    for key in keys::all().filter(|key| !matches!(key.kind, Kind::Text | Kind::Secret)) {
        let wrong = if key.kind == Kind::Path { "" } else { "wro ng" };
        let text = match key.scope {
            Scope::Jvm => {
                let define = format!("{}={wrong}", key.name);
                with("").load(&[&define]).map(|_| ()).unwrap_err()
            }
            _ => problems(&format!("{}={wrong}", key.name)),
        };
        let place = if key.scope == Scope::Jvm { "-D".to_owned() } else { "zoo.cfg:3: ".to_owned() };
        let expected = format!("{place}{}: found {wrong:?}; allowed: ", key.name);
        assert!(text.iter().any(|problem| problem.starts_with(&expected)), "{}: {text:?}", key.name);
        checked += 1;
    }
    assert!(checked > 150, "the table has lost entries: {checked}");
}

#[test]
fn all_problems_are_told_in_the_file_s_order() {
    let text = "tickTime=0\nmaxCnxns=many\nclientPort=65536\nringkeeper.layuot=auto\n";
    let found = Folder::with(text).load(&[]).map(|_| ()).unwrap_err();
    assert_eq!(
        found,
        [
            "zoo.cfg:1: tickTime: found \"0\"; allowed: a whole number from 1 to 107374182 (ms)",
            "zoo.cfg:2: maxCnxns: found \"many\"; allowed: a whole number from 0 to 2147483647 (0 is no limit)",
            "zoo.cfg:3: clientPort: found \"65536\"; allowed: a whole number from 0 to 65535 (0 is not set)",
            "zoo.cfg:4: ringkeeper.layuot: there is no such setting; did you mean ringkeeper.layout?",
            "dataDir: is not set in zoo.cfg; allowed: a directory, as in dataDir=/data",
            "clientPort: is not set in zoo.cfg, so no client could connect; allowed: a port, as in clientPort=2181",
        ]
    );
}

#[test]
fn checks_between_keys_refuse_what_zookeeper_refuses() {
    let cases = [
        (
            "minSessionTimeout=9000\nmaxSessionTimeout=8000",
            "zoo.cfg:3: minSessionTimeout: found 9000; allowed: at most",
        ),
        ("maxSessionTimeout=0\nminSessionTimeout=0", "zoo.cfg:3: maxSessionTimeout: found 0; allowed: at least 1"),
        ("secureClientPort=2281", "zoo.cfg:3: secureClientPort: found 2281; TLS is not supported yet"),
        ("secureClientPortAddress=::1", "zoo.cfg:3: secureClientPortAddress: is set, but secureClientPort is not"),
        ("quorum.auth.learnerRequireSasl=true", "zoo.cfg:3: quorum.auth.learnerRequireSasl: needs"),
        (
            "quorum.auth.serverRequireSasl=true\nquorum.auth.enableSasl=true",
            "zoo.cfg:3: quorum.auth.serverRequireSasl: needs",
        ),
        ("electionAlg=2", "zoo.cfg:3: electionAlg: found \"2\"; allowed: 3 (the only one left)"),
        ("clientPortAddress=no such host", "zoo.cfg:3: clientPortAddress: found \"no such host\"; allowed: an address"),
        ("enforce.auth.enabled=true", "zoo.cfg:3: enforce.auth.enabled: needs enforce.auth.schemes"),
        (
            "enforce.auth.enabled=true\nenforce.auth.schemes=sasl",
            "zoo.cfg:4: enforce.auth.schemes: found sasl; allowed: ip, digest",
        ),
        (
            "ringkeeper.log.segmentSizeKb=1024",
            "zoo.cfg:3: ringkeeper.log.segmentSizeKb: found 1024; allowed: at least 17408",
        ),
        ("a=\\u00", "zoo.cfg:3: syntax: found a \\u escape"),
    ];
    for (lines, expected) in cases {
        let found = problems(lines);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{lines:?} gave {found:?}");
    }
    let alone = Folder::with("dataDir=/d\nclientPortAddress=127.0.0.1").load(&[]).map(|_| ()).unwrap_err();
    assert_eq!(alone, ["zoo.cfg:2: clientPortAddress: is set, but clientPort is not"]);
}

#[test]
fn values_that_zookeeper_raises_are_raised_with_a_warning() {
    let cases = [
        ("autopurge.snapRetainCount=1", "found 1, 3 is the least and is used"),
        ("snapCount=0", "found 0, 2 is the least and is used"),
        ("maxClientCnxns=-1", "found -1, 0 is the least and is used"),
    ];
    for (line, expected) in cases {
        let warnings = with(line).warnings(&[]);
        assert!(warnings.len() == 1 && warnings[0].ends_with(expected), "{warnings:?}");
    }
    assert_eq!(config("snapCount=0", &[]).local.storage.snap_count, 2);
}

#[test]
fn the_server_list_may_name_the_client_port() {
    let folder = Folder::with("dataDir=/d\nserver.1=zoo1:2888:3888;127.0.0.1:2182");
    let local = folder.load(&[]).unwrap().config.local;
    assert_eq!((local.client_port, local.client_address), (2182, Some([127, 0, 0, 1].into())));
    let found = problems("server.1=zoo1:2888:3888;2182");
    assert_eq!(
        found,
        ["zoo.cfg:2: clientPort: found 2181; the server list has another client address, with port 2182"]
    );
    assert_eq!(config("server.1=zoo1:2888:3888;2181", &[]).local.client_address, None);
}

#[test]
fn a_dynamic_file_holds_the_server_list() {
    let folder = Folder::with("");
    let list = folder.path().join("zoo.cfg.dynamic.100000000");
    fs::write(folder.file(), format!("dataDir=/d\ndynamicConfigFile={}", list.display())).unwrap();
    fs::write(&list, "server.1=zoo1:2888:3888:participant;0.0.0.0:2183").unwrap();
    let local = folder.load(&[]).unwrap().config.local;
    assert_eq!((local.client_port, local.client_address), (2183, None));
    fs::write(&list, "server.1=zoo1:2888:3888;2183\nversion=1").unwrap();
    let found = folder.load(&[]).map(|_| ()).unwrap_err();
    assert!(found[0].starts_with("zoo.cfg.dynamic.100000000:2: version: does not belong"), "{found:?}");
    fs::remove_file(&list).unwrap();
    let found = folder.load(&[]).map(|_| ()).unwrap_err();
    assert!(found[0].starts_with("zoo.cfg:2: dynamicConfigFile: cannot read"), "{found:?}");
}

#[test]
fn myid_chooses_the_line_of_the_list() {
    let folder = Folder::with("");
    let text = format!("dataDir={}\nserver.7=zoo1:2888:3888;2184", folder.path().display());
    fs::write(folder.file(), text).unwrap();
    fs::write(folder.path().join("myid"), "7\n").unwrap();
    assert_eq!(folder.load(&[]).unwrap().config.local.client_port, 2184);
    fs::write(folder.path().join("myid"), "8\n").unwrap();
    assert!(folder.load(&[]).is_err(), "a list without our line names no port of ours");
    fs::write(folder.path().join("myid"), "seven").unwrap();
    let found = folder.load(&[]).map(|_| ()).unwrap_err();
    assert!(found.iter().any(|problem| problem.starts_with("myid: found \"seven\"")), "{found:?}");
}

#[test]
fn the_whitelist_is_read_as_zookeeper_reads_it() {
    let list = config("4lw.commands.whitelist= ruok , mntr,,", &[]).local.whitelist;
    assert!(list.allows("ruok") && list.allows("mntr") && list.allows("srvr") && !list.allows("stat"));
    assert_eq!(config("4lw.commands.whitelist=ruok, *", &[]).local.whitelist, Whitelist::All);
    let warnings = with("4lw.commands.whitelist=rouk").warnings(&[]);
    assert_eq!(warnings, ["zoo.cfg:3: 4lw.commands.whitelist: names \"rouk\", which is no command"]);
}

#[test]
fn secrets_are_compared_and_never_shown() {
    let lines = "DigestAuthenticationProvider.superDigest=super:aGFzaA==\nssl.keyStore.password=hunter2";
    let folder = with(lines);
    let loaded = folder.load(&[]).unwrap();
    assert_eq!(loaded.config.local.auth.super_digest.as_ref().unwrap().reveal(), "super:aGFzaA==");
    let shown = format!("{loaded:?}{}", loaded.effective.iter().map(ToString::to_string).collect::<String>());
    assert!(!shown.contains("aGFzaA") && !shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("superDigest=<hidden>"));
}

#[test]
fn authentication_is_enforced_by_schemes_that_exist() {
    let auth = |lines: &str| config(lines, &[]).local.auth;
    assert!(auth("").enforced_schemes.is_empty());
    let named: Box<str> = "digest".into();
    assert_eq!(auth("enforce.auth.enabled=true\nenforce.auth.schemes=digest").enforced_schemes, [named]);
    assert!(auth("enforce.auth.schemes=digest").enforced_schemes.is_empty(), "the switch is off");
    let provider = "authProvider.1=org.apache.zookeeper.server.auth.";
    let warnings =
        with(&format!("{provider}SASLAuthenticationProvider\nsessionRequireClientSASLAuth=true")).warnings(&[]);
    assert!(warnings[0].contains("SASL is not supported yet") && warnings[1].contains("locks out"), "{warnings:?}");
    let ensemble = auth(&format!("{provider}EnsembleAuthenticationProvider\nensembleAuthName=a, b"));
    assert_eq!(ensemble.ensemble_names, Some(vec!["a".into(), "b".into()]));
    assert!(with("authProvider.1=com.example.Mine").warnings(&[])[0].contains("Java code"));
}

#[test]
fn a_large_request_makes_segments_large_enough() {
    assert_eq!(config("", &["jute.maxbuffer=104857600"]).local.storage.segment_size_kib, 1600 * 1024 + 1024);
    let found = with("ringkeeper.log.segmentSizeKb=65536").load(&["jute.maxbuffer=104857600"]).map(|_| ()).unwrap_err();
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn our_own_settings_work_in_a_file_and_as_defines() {
    let local = config("ringkeeper.layout=single\nringkeeper.spin=50\nringkeeper.log.strategy=direct", &[]).local;
    assert_eq!((local.layout, local.spin_us), (tuning::Layout::Single, Some(50)));
    assert_eq!(local.storage.strategy, LogStrategy::Direct);
    let local = config("", &["ringkeeper.spin=0", "ringkeeper.log.strategy=direct-dsync"]).local;
    assert_eq!((local.spin_us, local.storage.strategy), (Some(0), LogStrategy::DirectDsync));
    assert_eq!(config("", &[]).local.spin_us, None);
}

#[test]
fn relative_directories_become_absolute_with_a_word() {
    let folder = Folder::with("dataDir=data\nclientPort=2181");
    assert!(folder.load(&[]).unwrap().config.local.data_dir.is_absolute());
    assert!(folder.warnings(&[])[0].starts_with("zoo.cfg:1: dataDir: is relative to where the server was started"));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = load(Some(Path::new("/no/such/zoo.cfg")), &[]).unwrap_err().to_string();
    assert!(error.starts_with("/no/such/zoo.cfg: cannot be read: No such file"), "{error}");
    let huge = Folder::with(&"#\n".repeat(600_000));
    assert!(huge.load(&[]).map(|_| ()).unwrap_err()[0].contains("found 1200000 bytes"));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        fuzz_zoo_cfg(&bytes);
    }

    #[test]
    fn any_text_of_the_format_s_own_characters_is_read_or_refused(text in "[a\\\\u0#!=: \t\r\n]{0,64}") {
        fuzz_zoo_cfg(text.as_bytes());
    }

    #[test]
    fn any_value_of_any_key_is_read_or_refused(
        lines in prop::collection::vec((0..keys::all().count(), "-?[0-9a-fx.;:|=\\[\\]]{0,24}|true|yes|auto|.*"), 0..8),
    ) {
        let names: Vec<&str> = keys::all().map(|key| key.name).collect();
        let text: String = lines.iter().map(|(key, value)| format!("{}={value}\n", names[*key].replace('*', "1"))).collect();
        fuzz_zoo_cfg(text.as_bytes());
    }
}

/// What `check-config` prints. `RINGKEEPER_GOLDEN=write cargo test golden` rewrites the file.
#[test]
fn effective_settings_are_as_in_the_golden_file() {
    let folder = with(
        "tickTime=2000\n4lw.commands.whitelist=*\nserver.1=zoo1:2888:3888\nadmin.enableServer=false\nfoo=bar\n\
         DigestAuthenticationProvider.superDigest=super:x",
    );
    let loaded = folder.load(&["zookeeper.snapCount=0x10", "jute.maxbuffer=4194304"]).unwrap();
    let shown: String = loaded.effective.iter().map(|setting| folder.strip(setting) + "\n").collect();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/load/effective.golden");
    if std::env::var("RINGKEEPER_GOLDEN").is_ok_and(|word| word == "write") {
        fs::write(&golden, &shown).unwrap();
    }
    assert_eq!(shown, fs::read_to_string(&golden).unwrap());
}
