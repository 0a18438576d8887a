//! Few paths, few values, few versions: random choices that meet each other.

use super::request::{Acl, AclList, Data, Path};
use crate::random::Random;

/// Paths that are legal, whether or not something is there.
const PATHS: [&str; 10] = ["/a", "/a/b", "/a/b/c", "/b", "/b/a", "/c", "/d/a", "/nothing", "/ü/日本", "/d/..."];

/// Names that sequential creates have a chance to make.
const SEQUENTIAL: [&str; 8] = [
    "/a/s-0000000000",
    "/a/s-0000000001",
    "/a/s-0000000002",
    "/d/s-0000000000",
    "/d/s-0000000001",
    "/a/0000000000",
    "/a/0000000001",
    "/a/b/s-0000000000",
];

/// What sequential creates are asked for.
const PREFIXES: [&str; 8] = ["/a/s-", "/a/s-", "/d/s-", "/a/", "/a/b/s-", "/s-", "/a/.", "/b/s-"];

/// Paths below /zookeeper, with the quota of /a and of /a/b.
const RESERVED: [&str; 11] = [
    "/",
    "/zookeeper",
    "/zookeeper/quota",
    "/zookeeper/config",
    "/zookeeper/quota/a",
    "/zookeeper/quota/a/zookeeper_limits",
    "/zookeeper/quota/a/zookeeper_stats",
    "/zookeeper/quota/a/b",
    "/zookeeper/quota/a/b/zookeeper_limits",
    "/zookeeper/quota/a/b/zookeeper_stats",
    "/zookeeper/own",
];

/// Not valid, each for its own reason.
const BAD: [&[u8]; 22] = [
    b"",
    b"nopath",
    b"a/b",
    b"//",
    b"/a/",
    b"/a//b",
    b"/a/.",
    b"/a/..",
    b"/a/./b",
    b"/a/../b",
    b"/.",
    b"/..",
    b"/a/\0",
    b"/a\x01b",
    b"/a\x1f",
    b"/a/\x7f",
    "/a/\u{80}".as_bytes(),
    "/a/\u{e000}".as_bytes(),
    "/a/\u{fff0}".as_bytes(),
    "/a/\u{1f600}".as_bytes(),
    b"/a/\xff\xfe",
    b"/a/\xc3",
];

fn bytes(text: &str) -> Path {
    Some(text.as_bytes().to_vec())
}

/// A path that may be anything, or nothing.
pub fn path(random: &mut Random) -> Path {
    match random.weighted(&[40, 15, 25, 18, 2]) {
        0 => bytes(random.pick(&PATHS)),
        1 => bytes(random.pick(&SEQUENTIAL)),
        2 => bytes(random.pick(&RESERVED)),
        3 => Some(random.pick(&BAD).to_vec()),
        _ => None,
    }
}

/// What a sequential create is asked for.
pub fn prefix(random: &mut Random) -> Path {
    bytes(random.pick(&PREFIXES))
}

/// A value: null and empty differ, the large ones lie around the border where servers may store them elsewhere.
pub fn data(random: &mut Random) -> Data {
    let length = match random.weighted(&[5, 10, 60, 10, 10, 5]) {
        0 => return None,
        1 => 0,
        2 => 1 + random.below(8),
        3 => 100 + random.below(900),
        4 => 4090 + random.below(12),
        _ => 70_000,
    };
    let letter = b'a' + u8::try_from(random.below(26)).expect("less than 26");
    Some(vec![letter; length])
}

/// A value that the quota nodes can be given: limits that parse, null nowhere.
pub fn quota(random: &mut Random) -> Data {
    let number = |random: &mut Random| random.pick(&["-1", "0", "1", "2", "3", "10", "100"]);
    let soft = format!("count={},bytes={}", number(random), number(random));
    let text = match random.below(4) {
        0 => soft,
        1 => format!("{soft}=;byteHardLimit={};countHardLimit={}", number(random), number(random)),
        2 => format!("countHardLimit={}", number(random)),
        _ => format!("byteHardLimit={},count=-1", number(random)),
    };
    Some(text.into_bytes())
}

/// A version to ask for, where `right` may be the right one.
pub fn version(random: &mut Random, right: i32) -> i32 {
    match random.weighted(&[50, 35, 15]) {
        0 => -1,
        1 => right,
        _ => random.pick(&[0, 1, 2, 3, -2, i32::MAX, i32::MIN]),
    }
}

/// A watch flag; any byte but 0 is true.
pub fn watch(random: &mut Random) -> u8 {
    random.pick(&[0, 0, 1, 1, 1, 2, 255])
}

/// A user and the SHA-1 of `bob:pw` in base64, as the digest scheme stores them.
pub const BOB: &str = "bob:ikIaKsbtGweaHnb/jKn7OHqbunM=";
/// The super user the same way, for the servers' configuration.
pub const SUPER: &str = "super:Z3dqc6aPbvbSpFf45hrhLBB44xU=";

/// Data of an auth packet of scheme digest: a few users, so that identities meet ACLs, and the super user.
pub fn auth_data(random: &mut Random) -> Data {
    let text: &[u8] = match random.weighted(&[40, 25, 15, 5, 5, 3, 4, 3]) {
        0 => b"bob:pw",
        1 => b"amy:pw",
        2 => b"super:duper",
        3 => b"nocolon",
        4 => b"bob:",
        5 => b"",
        6 => b"\xff:\xfe",
        _ => return None,
    };
    Some(text.to_vec())
}

/// The super user's auth data, by which a plan frees what ACLs have locked.
pub fn super_auth() -> Data {
    Some(b"super:duper".to_vec())
}

/// Everybody may do everything.
pub fn open_acl() -> AclList {
    Some(vec![world(31)])
}

/// An ACL list: mostly open.
pub fn acl(random: &mut Random) -> AclList {
    if random.chance(84) { open_acl() } else { odd_acl(random) }
}

/// An ACL list to trip over.
pub fn odd_acl(random: &mut Random) -> AclList {
    match random.weighted(&[24, 30, 10, 30, 3, 3]) {
        0 => Some(vec![world(1)]),
        1 => Some(vec![entry(31, "auth", "")]),
        2 => Some(vec![entry(random.pick(&[1, 2, 4, 8, 16, 30, 29, 27, 23, 15]), "world", "anyone")]),
        3 => {
            let count = 1 + random.below(3);
            Some((0..count).map(|_| any_entry(random)).collect())
        }
        4 => Some(Vec::new()),
        _ => None,
    }
}

fn world(perms: i32) -> Acl {
    entry(perms, "world", "anyone")
}

fn entry(perms: i32, scheme: &str, id: &str) -> Acl {
    Acl { perms, scheme: Some(scheme.to_owned()), id: Some(id.to_owned()) }
}

/// Schemes and ids of all kinds, legal and not.
const ENTRIES: [(&str, &str); 31] = [
    ("world", "anyone"),
    ("world", "anyone"),
    ("world", "nobody"),
    ("world", ""),
    ("auth", ""),
    ("auth", "ignored"),
    ("digest", BOB),
    ("digest", BOB),
    ("digest", "bob:pw"),
    ("digest", "bob"),
    ("digest", "bob:"),
    ("digest", ":pw"),
    ("digest", "a:b:c"),
    ("digest", "a:b::"),
    ("digest", ""),
    ("ip", "127.0.0.1"),
    ("ip", "127.0.0.0/8"),
    ("ip", "10.0.0.0/8"),
    ("ip", "0.0.0.0/0"),
    ("ip", "127.0.0.1/33"),
    ("ip", "127.0.0.1/-1"),
    ("ip", "127.0.0"),
    ("ip", "::1"),
    ("ip", "fe80::/10"),
    ("ip", "::1/129"),
    ("ip", "name"),
    ("ip", ""),
    ("super", "super"),
    ("sasl", "me@REALM"),
    ("nosuch", "x"),
    ("", ""),
];

fn any_entry(random: &mut Random) -> Acl {
    let perms = match random.weighted(&[50, 45, 5]) {
        0 => 31,
        1 => i32::try_from(random.below(32)).expect("less than 32"),
        _ => random.pick(&[0, 32, -1, 0x40, i32::MIN]),
    };
    let (scheme, id) = random.pick(&ENTRIES);
    let mut acl = entry(perms, scheme, id);
    match random.below(60) {
        0 => acl.scheme = None,
        1 => acl.id = None,
        _ => {}
    }
    acl
}
