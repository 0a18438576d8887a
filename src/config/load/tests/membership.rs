//! Server lists: standalone or an ensemble, whole or refused.

use ids::Sid;

use super::*;
use crate::config::{Member, Membership, Quorum};

/// A list as most have it, with what an ensemble needs.
const THREE: &str = "initLimit=10\nsyncLimit=5\nserver.1=zoo1:2888:3888\nserver.2=zoo2:2888:3888;2181\n\
                     server.3=[::3]:2888:3888:observer;10.0.0.3:2183\nserver.10=zoo10:2889:3888\n";

/// A directory that is dataDir too, with this `myid`.
fn member(lines: &str, my_id: &str) -> Folder {
    let folder = Folder::with("");
    fs::write(folder.file(), format!("dataDir={}\nclientPort=2181\n{lines}\n", folder.path().display())).unwrap();
    fs::write(folder.path().join("myid"), my_id).unwrap();
    folder
}

fn membership(folder: &Folder) -> Membership {
    folder.load(&[]).unwrap().config.membership.unwrap()
}

/// Problems of the list above with more lines; the first word of each line's text is enough to know it.
fn refused(lines: &str, my_id: &str) -> Vec<String> {
    member(&format!("{THREE}{lines}"), my_id).load(&[]).map(|_| ()).unwrap_err()
}

fn is_refused(lines: &str, expected: &str) {
    let found = refused(lines, "1");
    assert!(found.len() == 1 && found[0].starts_with(expected), "{lines:?} gave {found:?}");
}

#[test]
fn one_voter_is_standalone() {
    let listed = config("server.1=zoo1:2888:3888", &[]);
    assert_eq!((listed.local.client_port, listed.membership), (2181, None));
    let several = config("server.1=zoo1:2888:3888|zoo1b:2888:3888\nreconfigEnabled=true", &[]);
    assert_eq!(several.membership, None, "what only an ensemble cannot have does not stop it");
    let cases = [
        ("server.1=a:1:2\nserver.2=b:1:2:observer", "zoo.cfg:4: server.2: found observers beside one participant"),
        ("server.1=a:1:2:observer", "zoo.cfg:3: server.1: found only observers"),
        ("standaloneEnabled=false", "zoo.cfg:3: standaloneEnabled: found false, but no server.N line"),
        ("server.1=a", "zoo.cfg:3: server.1: found \"a\"; allowed: host:quorum port:election port"),
    ];
    for (lines, expected) in cases {
        let found = problems(lines);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{lines:?} gave {found:?}");
    }
}

#[test]
fn an_ensemble_has_its_members_and_zookeepers_defaults() {
    let ensemble = membership(&member(THREE, "2\n"));
    let sids: Vec<u64> = ensemble.members.iter().map(|member| member.sid.to_u64()).collect();
    assert_eq!(sids, [1, 2, 3, 10]);
    assert_eq!(ensemble.voters().count(), 3);
    assert_eq!((ensemble.my_id, &*ensemble.me().host, ensemble.version), (Sid::new(2), "zoo2", 0));
    let observer = Member {
        sid: Sid::new(3),
        is_observer: true,
        host: "::3".into(),
        quorum_port: 2888,
        election_port: 3888,
        client: Some((Some("10.0.0.3".into()), 2183)),
    };
    assert_eq!(ensemble.member(Sid::new(3)), Some(&observer));
    assert_eq!(ensemble.quorum, Quorum::Majority);
    assert_eq!((ensemble.tick_time_ms, ensemble.init_limit_ms, ensemble.sync_limit_ms), (3000, 30_000, 15_000));
    assert_eq!((ensemble.connect_limit_ms, ensemble.epoch_limit_ms, ensemble.connect_retry_ms), (30_000, 30_000, 100));
    assert_eq!((ensemble.election.connect_timeout_ms, ensemble.election.hello_timeout_ms), (5000, 15_000));
    assert_eq!((ensemble.election.notification_min_ms, ensemble.election.notification_max_ms), (200, 60_000));
    assert_eq!((ensemble.listen.bind_retries, ensemble.listen.on_all_addresses), (Some(3), false));
    assert!(ensemble.leader_serves && !ensemble.listen.keep_alive);
    assert_eq!(ensemble.packet_data_max_bytes, 2 * 0xf_ffff);
    assert_eq!((ensemble.heartbeat_ms, ensemble.suspect_after_ms), (30, 500));
}

#[test]
fn what_members_agree_on_is_settable() {
    let lines = "tickTime=1000\nconnectToLearnerMasterLimit=3\nleader.maxTimeToWaitForEpoch=77\ncnxTimeout=9\n\
                 quorumCnxnTimeoutMs=8\nelectionPortBindRetry=0\nquorumListenOnAllIPs=true\nleaderServes=no\n\
                 ringkeeper.heartbeatMs=10\nringkeeper.suspectAfterMs=30";
    let ensemble = membership(&member(&format!("{THREE}{lines}"), "1"));
    assert_eq!((ensemble.connect_limit_ms, ensemble.epoch_limit_ms), (3000, 77));
    assert_eq!((ensemble.election.connect_timeout_ms, ensemble.election.hello_timeout_ms), (9, 8));
    assert_eq!((ensemble.listen.bind_retries, ensemble.listen.on_all_addresses), (None, true));
    assert!(!ensemble.leader_serves);
    assert_eq!((ensemble.heartbeat_ms, ensemble.suspect_after_ms), (10, 30));
    let folder = member(THREE, "1");
    let loaded = folder.load(&["jute.maxbuffer=4000", "zookeeper.jute.maxbuffer.extrasize=2000"]).unwrap();
    assert_eq!(loaded.config.membership.unwrap().packet_data_max_bytes, 6000);
}

/// As a server of ZooKeeper's with that list sent it.
#[test]
fn the_text_of_the_list_is_zookeepers() {
    let line = |id: u32, role: &str| format!("server.{id}=127.0.0.1:3202{id}:3203{id}:{role}\n");
    let captured: String = (1..=6).map(|id| line(id, if id == 5 { "observer" } else { "participant" })).collect();
    let ensemble = membership(&member(&format!("initLimit=10\nsyncLimit=5\n{captured}"), "4"));
    let hex = include_str!("../../../../net/testdata/q06_NEWLEADER.hex");
    let data: Vec<u8> = hex
        .trim()
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    assert_eq!(ensemble.text().as_bytes(), &data[16..data.len() - 4]);
    let clients = membership(&member(THREE, "1")).text();
    assert!(clients.contains("server.2=zoo2:2888:3888:participant;0.0.0.0:2181\n"), "{clients}");
    assert!(clients.contains("server.3=[::3]:2888:3888:observer;10.0.0.3:2183\n"), "{clients}");
}

#[test]
fn one_voter_may_be_an_ensemble_of_one() {
    let lines = "initLimit=10\nsyncLimit=5\nstandaloneEnabled=false\nserver.1=a:1:2\nserver.2=b:1:2:observer";
    assert_eq!(membership(&member(lines, "1")).voters().count(), 1);
}

#[test]
fn an_ensemble_needs_limits_and_a_number() {
    let folder = member("server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2", "1");
    fs::remove_file(folder.path().join("myid")).unwrap();
    let found = folder.load(&[]).map(|_| ()).unwrap_err();
    let expected = [
        "myid: myid is missing; allowed: a file with the number of this server's line, server.N",
        "initLimit: is not set, which an ensemble needs; allowed: ticks from 1, as in initLimit=10",
        "syncLimit: is not set, which an ensemble needs; allowed: ticks from 1, as in syncLimit=10",
    ];
    assert_eq!(found, expected);
    assert_eq!(refused("", "four"), ["myid: found \"four\" in myid; allowed: a number up to 2^63-1"]);
    assert_eq!(refused("", "9223372036854775808").len(), 1);
    let unlisted = "myid: found 4 in myid, which has no line in the server list; allowed: 1, 2, 3, 10";
    assert_eq!(refused("", "4"), [unlisted]);
    let folder = member(THREE, "1");
    fs::write(folder.path().join("myid"), b"\xff\xfe").unwrap();
    assert!(folder.load(&[]).map(|_| ()).unwrap_err()[0].starts_with("myid: found what is no text"));
    let wide = refused("extendedTypesEnabled=true\nserver.255=z:1:2", "255");
    assert!(wide.len() == 1 && wide[0].contains("at most 254"), "{wide:?}");
}

#[test]
fn what_an_ensemble_cannot_have_yet_is_refused_by_name() {
    for (key, what) in [
        ("reconfigEnabled", "reconfiguration"),
        ("localSessionsEnabled", "local sessions"),
        ("quorum.auth.enableSasl", "SASL"),
        ("sslQuorum", "TLS"),
        ("portUnification", "TLS"),
    ] {
        is_refused(&format!("{key}=true"), &format!("zoo.cfg:9: {key}: found true; {what}"));
    }
    is_refused("oraclePath=/o", "zoo.cfg:9: oraclePath: is set; quorums by an oracle");
    is_refused("server.4=a:1:2|b:1:2", "zoo.cfg:9: server.4: has several addresses");
}

#[test]
fn lines_that_contradict_each_other_are_refused() {
    is_refused("server.01=zoo9:2888:3888", "zoo.cfg:5: server.1: stands twice");
    is_refused("server.4=zoo1:3888:3889", "zoo.cfg:9: server.4: zoo1:3888 is another server's already");
    is_refused(
        "fastleader.minNotificationInterval=70000",
        "zoo.cfg:9: fastleader.minNotificationInterval: found 70000",
    );
    is_refused(
        "ringkeeper.suspectAfterMs=80",
        "zoo.cfg:9: ringkeeper.suspectAfterMs: found 80; allowed: at least three",
    );
}

#[test]
fn what_is_unwise_is_said() {
    let warnings = member(&format!("{THREE}server.300=z:1:2\npeerType=observer"), "1").warnings(&[]);
    let expected = [
        "zoo.cfg:9: server.300: is above 255: sessions of members with the same last byte may collide",
        "zoo.cfg:9: server.300: is one of 4 voters, of which no more may fail than of 3",
        "zoo.cfg:10: peerType: has no effect: the server list says participant",
    ];
    assert_eq!(warnings, expected);
    let two = "initLimit=1\nsyncLimit=1\nserver.1=a:1:2\nserver.2=b:1:2";
    assert!(member(two, "1").warnings(&[])[0].contains("none of them may fail"));
}

#[test]
fn groups_and_weights_make_a_hierarchy() {
    let voters: String = (1..=4).map(|id| format!("server.{id}=zoo{id}:1:2\n")).collect();
    let of = |lines: &str| member(&format!("initLimit=1\nsyncLimit=1\n{voters}{lines}"), "1");
    let folder = of("group.2=3:4\ngroup.1=1:2\nweight.4=0");
    let sids = |ids: [u64; 2]| ids.map(Sid::new).to_vec();
    let quorum = Quorum::Groups {
        groups: vec![(1, sids([1, 2])), (2, sids([3, 4]))],
        weights: [(1, 1), (2, 1), (3, 1), (4, 0)].map(|(id, weight)| (Sid::new(id), weight)).to_vec(),
    };
    assert_eq!(membership(&folder).quorum, quorum);
    let text = membership(&folder).text();
    assert!(text.ends_with("group.1=1:2\ngroup.2=3:4\nweight.1=1\nweight.2=1\nweight.3=1\nweight.4=0\nversion=0"));
    for (lines, expected) in [
        ("group.1=1:2\ngroup.2=2:3:4", "zoo.cfg:10: group.2: server 2 is in another group too"),
        ("group.1=1:2:3", "zoo.cfg:8: server.4: is in no group"),
        ("group.1=1:2:3:x", "zoo.cfg:9: group.1: found \"1:2:3:x\"; allowed: ids of servers"),
        ("group.1=1:2:3:4\nweight.1=-1", "zoo.cfg:10: weight.1: found \"-1\""),
    ] {
        let found = of(lines).load(&[]).map(|_| ()).unwrap_err();
        assert!(found.iter().any(|problem| problem.starts_with(expected)), "{lines:?} gave {found:?}");
    }
}

#[test]
fn a_dynamic_file_is_shown_line_by_line_and_names_the_version() {
    let folder = Folder::with("");
    let list = folder.path().join("zoo.cfg.dynamic.1a00000005");
    let text = format!(
        "dataDir={}\nclientPort=2181\ninitLimit=10\nsyncLimit=5\ndynamicConfigFile={}",
        folder.path().display(),
        list.display()
    );
    fs::write(folder.file(), text).unwrap();
    fs::write(&list, "server.1=a:1:2\nserver.2=b:1:2;2182\nserver.3=c:1:2\n").unwrap();
    fs::write(folder.path().join("myid"), "3").unwrap();
    let loaded = folder.load(&[]).unwrap();
    assert_eq!(loaded.config.membership.unwrap().version, 0x1a_0000_0005);
    let shown: Vec<String> = loaded.effective.iter().map(|setting| folder.strip(setting)).collect();
    for expected in [
        "myid=3  (myid:1)",
        "initLimit=10  (zoo.cfg:3)",
        "server.2=b:1:2;2182  (zoo.cfg.dynamic.1a00000005:2)",
        "cnxTimeout=5000  (default)",
        "ringkeeper.heartbeatMs=30  (default)",
    ] {
        assert!(shown.iter().any(|line| line == expected), "{expected} is not among {shown:#?}");
    }
    let alone = with("initLimit=10").load(&[]).unwrap();
    assert!(alone.effective.iter().all(|setting| setting.key != "initLimit"), "it has no effect alone");
}
