//! Watches: registering, firing, and what a client that comes back has missed.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use proptest::prelude::ProptestConfig;

use super::*;
use crate::fixture::{READ_ONLY, Server, create, create_with, delete, set, set_acl};
use crate::request::Request;
use crate::watch_fire::EventKind::{self, ChildrenChanged, Created, DataChanged, Deleted};
use crate::watch_fire::Rewatch;

const ME: WatcherId = WatcherId(3);

fn heard(server: &mut Server, request: &Request<'_>) -> Vec<(EventKind, String)> {
    server.told.clear();
    server.ok(request);
    server.told.drain(..).map(|(_, kind, path)| (kind, path)).collect()
}

fn event(kind: EventKind, path: &str) -> (EventKind, String) {
    (kind, path.into())
}

/// The table of section "what fires" of the protocol: one row per kind of watch on /w, child /w/c.
fn run_row(watches: &[Watch]) -> [Vec<(EventKind, String)>; 4] {
    let mut row: [Vec<_>; 4] = Default::default();
    for (at, cell) in row.iter_mut().enumerate() {
        let mut server = Server::new();
        server.ok(&create("/w"));
        if at == 1 {
            server.ok(&create("/w/c"));
        }
        for &watch in watches {
            server.watches.add(ME, "/w", watch);
        }
        let request = [create("/w/c"), delete("/w/c", -1), set("/w", "x", -1), delete("/w", -1)][at].clone();
        *cell = heard(&mut server, &request);
    }
    row
}

#[test]
fn each_kind_of_watch_hears_what_it_should() {
    let none = Vec::new;
    let one = |kind, path| Vec::from([event(kind, path)]);
    let (children, data, gone) = (one(ChildrenChanged, "/w"), one(DataChanged, "/w"), one(Deleted, "/w"));
    assert_eq!(run_row(&[Watch::Data]), [none(), none(), data.clone(), gone.clone()]);
    assert_eq!(run_row(&[Watch::Child]), [children.clone(), children.clone(), none(), gone.clone()]);
    let all = [children.clone(), children, data.clone(), gone.clone()];
    assert_eq!(run_row(&[Watch::Data, Watch::Child]), all);
    assert_eq!(run_row(&[Watch::Persistent]), all);
    assert_eq!(run_row(&[Watch::Persistent, Watch::Data, Watch::Child]), all);
    let below = |kind| one(kind, "/w/c");
    assert_eq!(run_row(&[Watch::PersistentRecursive]), [below(Created), below(Deleted), data, gone]);
}

#[test]
fn standard_watches_fire_once_and_persistent_ones_stay() {
    let mut server = Server::new();
    server.watches.add(ME, "/w", Watch::Data);
    server.watches.add(ME, "/w", Watch::Persistent);
    assert_eq!(heard(&mut server, &create("/w")), [event(Created, "/w")]);
    assert!(!server.watches.contains(ME, "/w", WatcherType::Data), "used up although the other told");
    assert_eq!(heard(&mut server, &set("/w", "x", -1)), [event(DataChanged, "/w")]);
    assert_eq!(heard(&mut server, &delete("/w", -1)), [event(Deleted, "/w")]);
    assert_eq!(heard(&mut server, &create("/w")), [event(Created, "/w")]);
    assert_eq!(heard(&mut server, &set_acl("/w", &[READ_ONLY], -1)), []);
    server.watches.remove_watcher(ME);
    assert_eq!(heard(&mut server, &create("/v")), []);
    assert!(server.watches.is_empty());
}

#[test]
fn deletion_uses_up_both_tables_and_tells_once() {
    let mut server = Server::new();
    server.ok(&create("/w"));
    server.watches.add(ME, "/w", Watch::Data);
    server.watches.add(ME, "/w", Watch::Child);
    server.watches.add(WatcherId(4), "/w", Watch::Child);
    server.watches.add(ME, "/", Watch::Child);
    assert_eq!(heard(&mut server, &delete("/w", -1)).len(), 3);
    assert!(server.watches.is_empty());
}

#[test]
fn recursive_watches_hear_everything_below_once() {
    let mut server = Server::new();
    server.watches.add(ME, "/", Watch::PersistentRecursive);
    server.watches.add(ME, "/a", Watch::PersistentRecursive);
    server.watches.add(ME, "/a", Watch::Data);
    assert_eq!(heard(&mut server, &create("/a")), [event(Created, "/a")]);
    assert_eq!(heard(&mut server, &create("/a/b")), [event(Created, "/a/b")]);
    assert_eq!(heard(&mut server, &create("/ab")), [event(Created, "/ab")]);
    assert!(server.watches.remove(ME, "/", WatcherType::PersistentRecursive));
    assert_eq!(heard(&mut server, &create("/abc")), []);
    assert_eq!(heard(&mut server, &set("/a/b", "x", -1)), [event(DataChanged, "/a/b")]);
}

#[test]
fn multi_and_session_end_fire_one_by_one() {
    let mut server = Server::new();
    server.watches.add(ME, "/a", Watch::Persistent);
    let multi = Request::Multi(Vec::from([create("/a"), create_with("/a/e", 1), set("/a", "x", -1)]));
    let expected = [event(Created, "/a"), event(ChildrenChanged, "/a"), event(DataChanged, "/a")];
    assert_eq!(heard(&mut server, &multi), expected);
    server.watches.add(WatcherId(9), "/a/e", Watch::Data);
    let end = heard(&mut server, &Request::CloseSession);
    assert_eq!(end, [event(Deleted, "/a/e"), event(ChildrenChanged, "/a")]);
    let failed = Request::Multi(Vec::from([create("/a/x"), delete("/none", -1)]));
    assert_eq!(heard(&mut server, &failed), []);
}

#[test]
fn notifications_carry_the_acl_to_filter_by() {
    let mut server = Server::new();
    server.ok(&crate::fixture::create_acl("/w", &[READ_ONLY]));
    server.watches.add(ME, "/w", Watch::Data);
    let txn = server.prepare(&delete("/w", -1));
    let mut effects = crate::effects::Effects::new();
    server.tree.apply(&txn, &mut effects);
    let changes: Vec<_> = effects.changes().collect();
    assert_eq!((changes[0].acl[0].perms, changes[0].parent_acl[0].perms), (1, 31), "the last ACL of what went");
    let mut perms = Vec::new();
    server.watches.fire(&changes[0], |note| perms.push(note.acl[0].perms));
    assert_eq!(perms, [1]);
}

#[test]
fn check_and_remove_look_at_one_kind_of_one_path() {
    let mut watches = Watches::new(1);
    use WatcherType::{Any, Children, Data, Persistent, PersistentRecursive};
    watches.add(ME, "/a", Watch::Data);
    watches.add(ME, "/a", Watch::Persistent);
    watches.add(ME, "/b", Watch::Child);
    watches.add(ME, "/b", Watch::PersistentRecursive);
    let has = |watches: &Watches, path| {
        [Children, Data, Any, Persistent, PersistentRecursive].map(|kind| watches.contains(ME, path, kind))
    };
    assert_eq!(has(&watches, "/a"), [false, true, true, true, false]);
    assert_eq!(has(&watches, "/b"), [true, false, true, false, true]);
    assert_eq!(has(&watches, "/c"), [false; 5]);
    assert!(!watches.contains(WatcherId(0), "/a", Any));
    assert!(!watches.remove(ME, "/a", Children) && watches.remove(ME, "/a", Data) && !watches.remove(ME, "/a", Data));
    assert_eq!(has(&watches, "/a"), [false, false, true, true, false]);
    assert!(watches.remove(ME, "/a", Persistent));
    assert_eq!(has(&watches, "/a"), [false; 5]);
    assert!(watches.remove(ME, "/b", Any) && watches.is_empty());
    assert_eq!(watches.totals(), WatchTotals::default());
}

#[test]
fn coming_back_tells_what_was_missed() {
    let mut server = Server::new();
    server.ok(&create("/a"));
    server.ok(&create("/a/b"));
    server.ok(&set("/a", "x", -1));
    let mut watches = Watches::new(1);
    let mut ask = |zxid: i64, list, path: &str| watches.rewatch(&server.tree, ME, zxid, list, path);
    assert_eq!(ask(3, Rewatch::Data, "/a"), None);
    assert_eq!(ask(2, Rewatch::Data, "/a"), Some(DataChanged));
    assert_eq!(ask(9, Rewatch::Data, "/gone"), Some(Deleted));
    assert_eq!(ask(9, Rewatch::Exist, "/a"), Some(Created));
    assert_eq!(ask(9, Rewatch::Exist, "/gone"), None);
    assert_eq!(ask(2, Rewatch::Child, "/a"), None);
    assert_eq!(ask(1, Rewatch::Child, "/a"), Some(ChildrenChanged));
    assert_eq!(ask(1, Rewatch::Child, "/gone"), Some(Deleted));
    assert_eq!(ask(0, Rewatch::Persistent, "/p"), None);
    assert_eq!(ask(0, Rewatch::PersistentRecursive, "/r"), None);
    assert!(watches.contains(ME, "/a", WatcherType::Data) && watches.contains(ME, "/gone", WatcherType::Data));
    assert!(watches.contains(ME, "/a", WatcherType::Children) && watches.contains(ME, "/p", WatcherType::Persistent));
    assert_eq!(watches.len(), 6, "data: /a /gone /p /r; child: /a /p");
    assert_eq!(watches.totals(), WatchTotals { connections: 1, paths: 4, watches: 4 });
}

#[test]
fn reports_cover_the_data_table() {
    let mut watches = Watches::new(1);
    watches.add(WatcherId(1), "/a", Watch::Data);
    watches.add(WatcherId(1), "/a", Watch::PersistentRecursive);
    watches.add(WatcherId(2), "/a", Watch::Persistent);
    watches.add(WatcherId(2), "/c", Watch::Child);
    let mut by_path = Vec::new();
    watches.by_path(|path, who| by_path.push((String::from(path), who.to_vec())));
    assert_eq!(by_path, [("/a".into(), Vec::from([WatcherId(1), WatcherId(2)]))]);
    let mut by_watcher = Vec::new();
    watches.by_watcher(|who, paths| by_watcher.push((who, paths.join(" "))));
    assert_eq!(by_watcher, [(WatcherId(1), "/a".into()), (WatcherId(2), "/a".into())]);
    assert_eq!((watches.totals(), watches.len()), (WatchTotals { connections: 2, paths: 1, watches: 2 }, 4));
}

/// ZooKeeper's manager, naively: path -> watcher -> set of modes.
type Table = BTreeMap<String, BTreeMap<u32, BTreeSet<u8>>>;

const NAIVE_STANDARD: u8 = 0;
const NAIVE_PERSISTENT: u8 = 1;
const NAIVE_RECURSIVE: u8 = 2;

fn naive_trigger(table: &mut Table, path: &str, told: &mut BTreeSet<u32>) {
    let mut at = String::from(path);
    loop {
        for (&watcher, modes) in table.entry(at.clone()).or_default() {
            if at == path || modes.contains(&NAIVE_RECURSIVE) {
                told.insert(watcher);
            }
            if at == path {
                modes.remove(&NAIVE_STANDARD);
            }
        }
        table.get_mut(&at).unwrap().retain(|_, modes| !modes.is_empty());
        if at == "/" {
            return;
        }
        let slash = at.rfind('/').unwrap();
        at.truncate(slash.max(1));
    }
}

proptest::proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn firing_agrees_with_a_naive_manager(steps in proptest::collection::vec((0u8..8, 0u32..4, 0usize..7), 1..200)) {
        const PATHS: [&str; 7] = ["/", "/a", "/a/b", "/a/b/c", "/d", "/d/e", "/ab"];
        let acl = crate::acl::AclList::open();
        let (mut watches, mut data, mut child) = (Watches::new(3), Table::new(), Table::new());
        for (kind, watcher, path) in steps {
            let (id, path) = (WatcherId(watcher), PATHS[path]);
            let naive_add = |table: &mut Table, mode| {
                table.entry(path.into()).or_default().entry(watcher).or_default().insert(mode);
            };
            match kind {
                0 => { watches.add(id, path, Watch::Data); naive_add(&mut data, NAIVE_STANDARD) }
                1 => { watches.add(id, path, Watch::Child); naive_add(&mut child, NAIVE_STANDARD) }
                2 => {
                    watches.add(id, path, Watch::Persistent);
                    naive_add(&mut data, NAIVE_PERSISTENT);
                    naive_add(&mut child, NAIVE_PERSISTENT);
                }
                3 => { watches.add(id, path, Watch::PersistentRecursive); naive_add(&mut data, NAIVE_RECURSIVE) }
                4 if watcher == 0 => {
                    watches.remove_watcher(id);
                    for table in [&mut data, &mut child] {
                        table.values_mut().for_each(|watchers| _ = watchers.remove(&watcher));
                    }
                }
                _ if path == "/" => {}
                _ => {
                    use crate::effects::{Change, ChangeKind};
                    let change = [ChangeKind::Created, ChangeKind::Deleted, ChangeKind::DataChanged][kind as usize % 3];
                    let (mut first, mut second) = (BTreeSet::new(), BTreeSet::new());
                    naive_trigger(&mut data, path, &mut first);
                    if change == ChangeKind::Deleted {
                        naive_trigger(&mut child, path, &mut first);
                    }
                    if change != ChangeKind::DataChanged {
                        naive_trigger(&mut child, crate::path::split(path).0, &mut second);
                    }
                    let (mut got_first, mut got_second) = (Vec::new(), Vec::new());
                    let change = Change { kind: change, path, acl: &acl, parent_acl: &acl };
                    watches.fire(&change, |note| match note.kind {
                        ChildrenChanged => got_second.push(note.watcher.0),
                        _ => got_first.push(note.watcher.0),
                    });
                    got_first.sort_unstable();
                    got_second.sort_unstable();
                    proptest::prop_assert_eq!(got_first, first.into_iter().collect::<Vec<_>>());
                    proptest::prop_assert_eq!(got_second, second.into_iter().collect::<Vec<_>>());
                }
            }
            let pairs = |table: &Table| table.values().map(BTreeMap::len).sum::<usize>();
            proptest::prop_assert_eq!(watches.len(), pairs(&data) + pairs(&child));
            let paths = data.values().filter(|watchers| !watchers.is_empty()).count();
            proptest::prop_assert_eq!(watches.totals().paths, paths);
        }
    }
}
