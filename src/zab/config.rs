//! Who is in the ensemble: the members of one version of the configuration, and the text in which servers exchange it.
//!
//! Flow       text of a notification, of NEWLEADER or of /zookeeper/config -> `parse`; `to_text` -> the same places.
//! Invariant  the verifier is the members' own; what `to_text` writes, `parse` reads as the same configuration.
//! Absent     escapes and continued lines, which Java's reader of such text knows and its writer never uses: a backslash
//!            is an error here. The secure client port, which no released ZooKeeper writes: read over.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use ids::Sid;

use crate::quorum::Verifier;

/// Where a member listens for the others.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct MemberAddress {
    /// Name or number of the host; an IPv6 number without its brackets.
    pub host: Box<str>,
    /// Learners connect to the leader here.
    pub quorum_port: u16,
    /// Elections are held here.
    pub election_port: u16,
}

/// One line of the server list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberSpec {
    /// At least one; more than one only where multi-address is on.
    pub addresses: Vec<MemberAddress>,
    /// Whether it only observes.
    pub is_observer: bool,
    /// Where clients connect, when the list says so.
    pub client: Option<(Box<str>, u16)>,
}

/// Text that is no configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConfigTextError {
    /// The line, from 1.
    pub line: usize,
    /// What should have stood there.
    pub expected: &'static str,
}

impl fmt::Display for ConfigTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of the configuration: expected {}", self.line, self.expected)
    }
}

impl core::error::Error for ConfigTextError {}

/// One version of the membership.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EnsembleConfig {
    version: u64,
    members: BTreeMap<Sid, MemberSpec>,
    /// Together with `weights`: empty where majorities decide.
    groups: BTreeMap<u64, BTreeSet<Sid>>,
    /// Of every voter, where groups decide.
    weights: BTreeMap<Sid, u64>,
    verifier: Verifier,
}

impl EnsembleConfig {
    /// Majorities decide unless there are groups or weights; then every voter that has no weight gets 1, as in Java.
    /// A member's addresses are put in the order of their hosts.
    pub fn new(
        version: u64,
        mut members: BTreeMap<Sid, MemberSpec>,
        mut groups: BTreeMap<u64, BTreeSet<Sid>>,
        mut weights: BTreeMap<Sid, u64>,
    ) -> EnsembleConfig {
        members.values_mut().for_each(|member| member.addresses.sort());
        // There is no text for a group of nobody, and it weighs nothing.
        groups.retain(|_, members| !members.is_empty());
        let voters: BTreeSet<Sid> =
            members.iter().filter(|(_, member)| !member.is_observer).map(|(sid, _)| *sid).collect();
        let verifier = if groups.is_empty() && weights.is_empty() {
            Verifier::majority(voters)
        } else {
            for sid in &voters {
                weights.entry(*sid).or_insert(1);
            }
            Verifier::hierarchical(voters, &groups, &weights)
        };
        EnsembleConfig { version, members, groups, weights, verifier }
    }

    /// Reads the text form. An empty text is the configuration of version 0 without members.
    ///
    /// # Errors
    /// On the first line that is no part of a configuration.
    pub fn parse(text: &str) -> Result<EnsembleConfig, ConfigTextError> {
        let mut lines = Lines::default();
        for (line, number) in text.split(['\n', '\r']).zip(1..) {
            let line = line.trim_matches([' ', '\t', '\u{c}']);
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            lines.take(line).map_err(|expected| ConfigTextError { line: number, expected })?;
        }
        Ok(EnsembleConfig::new(lines.version, lines.members, lines.groups, lines.weights))
    }

    /// Writes the text form: members by sid, the version last and without a line end, as Java has it.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        for (sid, member) in &self.members {
            write!(out, "server.{}=", sid.to_u64())?;
            for (at, address) in member.addresses.iter().enumerate() {
                let separator = if at == 0 { "" } else { "|" };
                let MemberAddress { host, quorum_port, election_port } = address;
                write!(out, "{separator}{}:{quorum_port}:{election_port}", Host(host))?;
            }
            out.push_str(if member.is_observer { ":observer" } else { ":participant" });
            if let Some((host, port)) = &member.client {
                write!(out, ";{}:{port}", Host(host))?;
            }
            out.push('\n');
        }
        for (group, members) in &self.groups {
            write!(out, "group.{group}=")?;
            for (at, sid) in members.iter().enumerate() {
                write!(out, "{}{}", if at == 0 { "" } else { ":" }, sid.to_u64())?;
            }
            out.push('\n');
        }
        for (sid, weight) in &self.weights {
            writeln!(out, "weight.{}={weight}", sid.to_u64())?;
        }
        write!(out, "version={:x}", self.version)
    }

    /// The zxid of the transaction that made it, or 0 where reconfiguration is off.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The same members under another version.
    pub fn with_version(&self, version: u64) -> EnsembleConfig {
        EnsembleConfig { version, ..self.clone() }
    }

    /// Whether members, addresses, groups and weights are those of `other`, whatever the versions.
    pub fn is_same_membership(&self, other: &EnsembleConfig) -> bool {
        self.members == other.members && self.groups == other.groups && self.weights == other.weights
    }

    /// Which sets of members decide.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Everybody who votes.
    pub fn voters(&self) -> &BTreeSet<Sid> {
        self.verifier.voters()
    }

    /// Everybody who only observes.
    pub fn observers(&self) -> impl Iterator<Item = Sid> {
        self.members.iter().filter(|(_, member)| member.is_observer).map(|(sid, _)| *sid)
    }

    /// Everybody, by sid.
    pub fn members(&self) -> &BTreeMap<Sid, MemberSpec> {
        &self.members
    }

    /// The line of `sid`.
    pub fn member(&self, sid: Sid) -> Option<&MemberSpec> {
        self.members.get(&sid)
    }
}

/// A host as text before a port: IPv6 numbers in brackets.
struct Host<'a>(&'a str);

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.contains(':') { write!(f, "[{}]", self.0) } else { f.write_str(self.0) }
    }
}

/// What has been read so far. Of a key that comes twice the last counts.
#[derive(Default)]
struct Lines {
    version: u64,
    members: BTreeMap<Sid, MemberSpec>,
    groups: BTreeMap<u64, BTreeSet<Sid>>,
    weights: BTreeMap<Sid, u64>,
    grouped: BTreeSet<Sid>,
}

impl Lines {
    fn take(&mut self, line: &str) -> Result<(), &'static str> {
        let (key, value) = split(line).ok_or("key=value without a backslash")?;
        if let Some(id) = key.strip_prefix("server.") {
            let sid = sid(id).ok_or("a sid after server.")?;
            self.members.insert(sid, member(value).ok_or("host:port:port[:role][;[host:]port]")?);
        } else if let Some(id) = key.strip_prefix("group.") {
            self.group(number(id).ok_or("a number after group.")?, value)?;
        } else if let Some(id) = key.strip_prefix("weight.") {
            let sid = sid(id).ok_or("a sid after weight.")?;
            self.weights.insert(sid, number(value).ok_or("a weight")?);
        } else if key == "version" {
            let parsed = u64::from_str_radix(value, 16).ok();
            self.version = parsed.filter(|version| i64::try_from(*version).is_ok()).ok_or("a version in hex")?;
        } else {
            return Err("server.N, group.N, weight.N or version");
        }
        Ok(())
    }

    fn group(&mut self, group: u64, value: &str) -> Result<(), &'static str> {
        let mut members = BTreeSet::new();
        for id in value.split(':') {
            let sid = sid(id.trim()).ok_or("sids joined by colons")?;
            if !self.grouped.insert(sid) {
                return Err("a server in one group only");
            }
            members.insert(sid);
        }
        // A group that comes twice leaves its first members without one; they stay taken, which only refuses more.
        self.groups.insert(group, members);
        Ok(())
    }
}

/// Key and value, as Java's properties separate them.
fn split(line: &str) -> Option<(&str, &str)> {
    if line.contains('\\') {
        return None;
    }
    let is_space = [' ', '\t', '\u{c}'];
    let (key, rest) = line.split_at(line.find(['=', ':', ' ', '\t', '\u{c}'])?);
    let rest = rest.trim_start_matches(is_space);
    Some((key, rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start_matches(is_space)))
}

/// Not negative as Java's long, and no sign before it.
fn number(text: &str) -> Option<u64> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|number| i64::try_from(*number).is_ok())
}

fn sid(text: &str) -> Option<Sid> {
    number(text).map(Sid::new)
}

fn port(text: &str) -> Option<u16> {
    number(text.trim()).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)
}

/// What stands behind `server.N=`.
fn member(text: &str) -> Option<MemberSpec> {
    let mut parts = text.split(';');
    let mut member = MemberSpec { addresses: Vec::new(), is_observer: false, client: None };
    for text in parts.next()?.split('|') {
        let (address, is_observer) = address(text.trim())?;
        member.is_observer |= is_observer;
        member.addresses.push(address);
    }
    if let Some(text) = parts.next().map(str::trim).filter(|text| !text.is_empty()) {
        member.client = Some(client(text)?);
    }
    Some(member)
}

/// One address, and whether it names the role of an observer.
fn address(text: &str) -> Option<(MemberAddress, bool)> {
    let (host, rest) = split_host(text)?;
    let mut parts = rest.split(':');
    let (quorum_port, election_port) = (port(parts.next()?)?, port(parts.next()?)?);
    let role = parts.next().map_or("participant", str::trim);
    let is_observer = role.eq_ignore_ascii_case("observer");
    let is_known = is_observer || role.eq_ignore_ascii_case("participant");
    let is_whole = is_known && parts.next().is_none() && quorum_port != election_port;
    is_whole.then(|| (MemberAddress { host: host.into(), quorum_port, election_port }, is_observer))
}

fn client(text: &str) -> Option<(Box<str>, u16)> {
    if let Some(port) = port(text) {
        return Some(("0.0.0.0".into(), port));
    }
    let (host, rest) = split_host(text)?;
    Some((host.into(), port(rest)?))
}

/// Host without brackets, and what follows its colon.
fn split_host(text: &str) -> Option<(&str, &str)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(inner) => inner.split_once("]:")?,
        None => text.split_once(':')?,
    };
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '[' | ']');
    (!host.is_empty() && !host.contains(is_odd)).then_some((host, rest))
}

/// Reads `bytes` as a peer's configuration.
///
/// # Panics
/// When what was read is not read again from its own text, which is a bug.
pub fn fuzz_config_text(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    if let Ok(config) = EnsembleConfig::parse(text) {
        assert_eq!(EnsembleConfig::parse(&config.to_text()), Ok(config));
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    /// As a Java server of six wrote it.
    const SIX: &str = "server.1=127.0.0.1:32021:32031:participant\nserver.2=127.0.0.1:32022:32032:participant\n\
        server.3=127.0.0.1:32023:32033:participant\nserver.4=127.0.0.1:32024:32034:participant\n\
        server.5=127.0.0.1:32025:32035:observer\nserver.6=127.0.0.1:32026:32036:participant\nversion=0";

    #[test]
    fn text_of_java_comes_out_as_it_went_in() {
        let six = EnsembleConfig::parse(SIX).unwrap();
        assert_eq!(six.to_text(), SIX);
        assert_eq!(six.voters().len(), 5);
        assert_eq!(six.observers().collect::<Vec<_>>(), [Sid::new(5)]);
        assert_eq!(six.member(Sid::new(2)).unwrap().addresses[0].election_port, 32032);
        assert_eq!(six.with_version(0x1_0000_0002).to_text(), SIX.replace("version=0", "version=100000002"));
    }

    #[test]
    fn every_part_of_a_line_is_read_and_normalised() {
        let text =
            "# comment\r\n server.2 = [fe80::1]:2:3:OBSERVER;2181\r\nserver.1=b:5:6|a:7:8;[::1]:99\n\nversion=1f";
        let config = EnsembleConfig::parse(text).unwrap();
        let normal =
            "server.1=a:7:8|b:5:6:participant;[::1]:99\nserver.2=[fe80::1]:2:3:observer;0.0.0.0:2181\nversion=1f";
        assert_eq!(config.to_text(), normal);
        assert_eq!(EnsembleConfig::parse(normal).unwrap(), config);
        assert_eq!(&*config.member(Sid::new(2)).unwrap().addresses[0].host, "fe80::1");
    }

    #[test]
    fn no_members_are_a_configuration() {
        for text in ["", "version=0", "\n\n"] {
            let config = EnsembleConfig::parse(text).unwrap();
            assert_eq!((config.version(), config.members().len()), (0, 0));
            assert_eq!(config.to_text(), "version=0");
        }
    }

    #[test]
    fn groups_make_a_hierarchy_and_every_voter_a_weight() {
        let text = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2:observer\ngroup.7=2:1\nweight.2=3\nversion=0";
        let config = EnsembleConfig::parse(text).unwrap();
        assert!(config.to_text().ends_with("observer\ngroup.7=1:2\nweight.1=1\nweight.2=3\nversion=0"));
        assert!(config.verifier().contains_quorum([Sid::new(2)]));
        assert!(!config.verifier().contains_quorum([Sid::new(1)]));
        assert_eq!(EnsembleConfig::parse(&config.to_text()).unwrap(), config);
    }

    #[test]
    fn equal_membership_does_not_see_the_version() {
        let six = EnsembleConfig::parse(SIX).unwrap();
        assert!(six.is_same_membership(&six.with_version(9)));
        assert!(!six.is_same_membership(&EnsembleConfig::parse(&SIX.replace("32021", "32000")).unwrap()));
    }

    #[test]
    fn what_is_no_configuration_names_its_line() {
        let lines = [
            "servers.1=a:1:2",
            "server.x=a:1:2",
            "server.-1=a:1:2",
            "server.1=a:1",
            "server.1=a:1:1",
            "server.1=:1:2",
            "server.1=a:0:2",
            "server.1=a:1:65536",
            "server.1=a:1:2:boss",
            "server.1=a:1:2:observer:x",
            "server.1=a:1:2;x",
            "server.1=[::1:1:2",
            "server.1=a\\:1:2",
            "server.1=a b:1:2",
            "group.1=1:x",
            "group.x=1",
            "weight.1=-1",
            "version=x",
            "version=ffffffffffffffff",
            "version",
        ];
        for line in lines {
            let error = EnsembleConfig::parse(&format!("server.9=z:1:2\n{line}")).unwrap_err();
            assert_eq!(error.line, 2, "{line}");
            assert!(error.to_string().contains("line 2"));
        }
        assert!(EnsembleConfig::parse("group.1=1:2\ngroup.2=2:3").is_err(), "a server has one group");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            let _ = EnsembleConfig::parse(&text);
        }

        #[test]
        fn what_is_read_is_written_and_read_again(
            lines in prop::collection::vec(
                prop_oneof![
                    "server\\.[0-9]{1,2}=([a-c:\\[\\]]{1,5}:[0-9]{1,3}:[0-9]{1,3}\\|?){1,2}(:observer)?(;[a-c:]{0,2}[0-9])?",
                    "group\\.[0-9]=[0-9](:[0-9]){0,2}",
                    "weight\\.[0-9]=[0-9]",
                    "version=[0-9a-f]{1,4}",
                ],
                0..6,
            )
        ) {
            fuzz_config_text(lines.join("\n").as_bytes());
        }
    }

    #[test]
    fn groups_without_servers_are_kept() {
        let config = EnsembleConfig::parse("group.1=4").unwrap();
        assert_eq!(config.to_text(), "group.1=4\nversion=0");
        assert!(config.voters().is_empty());
    }
}
