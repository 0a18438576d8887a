//! The server list: `server.N`, `group.N` and `weight.N` lines of zoo.cfg or of its dynamicConfigFile.
//!
//! Flow       the lines of a dynamicConfigFile are put among the settings, as if they stood in zoo.cfg -> each is parsed.
//! Absent     what the lines mean together, which `build::membership` decides.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use ids::Sid;

use super::keys;
use super::membership::Member;
use super::origin::{Origin, Remark};
use super::properties;
use super::settings::Settings;

/// Longest membership file that is read, bytes.
const DYNAMIC_FILE_MAX_BYTES: u64 = 1 << 20;

/// Heaviest voter: the sum of a million of them fits 63 bits.
const WEIGHT_MAX: u64 = 1 << 40;

/// The names that make a server list.
const FAMILIES: [&str; 3] = ["server.", "group.", "weight."];

/// One `server.N` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// What it says.
    pub member: Member,
    /// Whether it names more addresses than the first.
    pub has_more_addresses: bool,
    /// Where it stands.
    pub origin: Origin,
}

impl Listed {
    /// A remark on the line.
    pub fn remark(&self, text: &str) -> Remark {
        Remark::new(&self.origin, &format!("server.{}", self.member.sid.to_u64()), text)
    }
}

/// The `group.N` and `weight.N` lines.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    /// Number of a group and who is in it.
    pub groups: Vec<(u64, Vec<Sid>, Origin)>,
    /// Who weighs what.
    pub weights: Vec<(Sid, u64, Origin)>,
}

/// Reads the list from wherever it stands, by ascending ids; problems go to `settings`.
pub(super) fn read(settings: &mut Settings) -> (Vec<Listed>, Groups) {
    if let Some(path) = settings.text_if_set("dynamicConfigFile") {
        adopt_dynamic_lines(settings, Path::new(&*path));
    }
    let mut listed = each_line(settings, "server.", parse);
    listed.sort_by_key(|listed| listed.member.sid);
    let groups = each_line(settings, "group.", parse_group);
    let weights = each_line(settings, "weight.", parse_weight);
    (listed, Groups { groups, weights })
}

/// Parses the lines of one family; what is wrong goes to the problems.
fn each_line<T>(
    settings: &mut Settings,
    family: &str,
    parse: impl Fn(&str, &str, &Origin) -> Result<T, String>,
) -> Vec<T> {
    let (mut parsed, mut problems) = (Vec::new(), Vec::new());
    for (name, text, origin) in
        settings.family(family).filter(|(rest, _, _)| keys::is_family(&format!("{family}{rest}")))
    {
        match parse(name, text, origin) {
            Ok(line) => parsed.push(line),
            Err(allowed) => {
                let remark = format!("found {text:?}; allowed: {allowed}");
                problems.push(Remark::new(origin, &format!("{family}{name}"), remark));
            }
        }
    }
    settings.problems.extend(problems);
    parsed
}

fn adopt_dynamic_lines(settings: &mut Settings, path: &Path) {
    for family in FAMILIES {
        let doubled = settings.family(family).find(|(rest, _, _)| keys::is_family(&format!("{family}{rest}")));
        if let Some((rest, _, origin)) = doubled {
            let text = "must stand in dynamicConfigFile, not beside it";
            let remark = Remark::new(origin, &format!("{family}{rest}"), text);
            settings.problems.push(remark);
        }
    }
    let Some(properties) = dynamic_properties(settings, path) else { return };
    let shared = Arc::new(path.to_path_buf());
    for property in properties {
        let origin = Origin::File { path: shared.clone(), line: property.line };
        if FAMILIES.iter().any(|family| property.key.starts_with(family)) && keys::is_family(&property.key) {
            settings.adopt(&property.key, property.value.trim(), origin);
        } else {
            let text = "does not belong into a dynamicConfigFile; allowed: server.N, group.N, weight.N";
            settings.problems.push(Remark::new(&origin, &property.key, text));
        }
    }
}

fn dynamic_properties(settings: &mut Settings, path: &Path) -> Option<Vec<properties::Property>> {
    let too_long = fs::metadata(path).is_ok_and(|found| found.len() > DYNAMIC_FILE_MAX_BYTES);
    let bytes = match fs::read(path) {
        Ok(bytes) if !too_long => bytes,
        Ok(_) => {
            settings.problem("dynamicConfigFile", format!("{} is longer than a server list is", path.display()));
            return None;
        }
        Err(error) => {
            settings.problem("dynamicConfigFile", format!("cannot read {}: {error}", path.display()));
            return None;
        }
    };
    match properties::parse(&bytes) {
        Ok(properties) => Some(properties),
        Err(error) => {
            let origin = Origin::File { path: Arc::new(path.to_path_buf()), line: error.line };
            settings.problems.push(Remark::new(&origin, "server list", error.to_string()));
            None
        }
    }
}

/// `<host>:<quorum port>:<election port>[:<role>][;[<client host>:]<client port>]`, several addresses joined by `|`.
pub(super) fn parse(name: &str, text: &str, origin: &Origin) -> Result<Listed, String> {
    let sid = number(name).ok_or_else(|| format!("a number instead of {name:?} in server.{name}"))?;
    let form = || "host:quorum port:election port[:participant|:observer][;[client host:]client port]".to_owned();
    let (servers, client) = match text.split_once(';') {
        Some((servers, client)) => (servers, Some(client.trim())),
        None => (text, None),
    };
    let mut addresses = Vec::new();
    for address in servers.split('|') {
        addresses.push(parse_address(address.trim()).ok_or_else(form)?);
    }
    let client = match client.filter(|client| !client.is_empty()) {
        Some(client) => Some(parse_client(client).ok_or_else(form)?),
        None => None,
    };
    let is_observer = addresses.iter().any(|address| address.is_observer);
    let has_more_addresses = addresses.len() > 1;
    let Address { host, quorum_port, election_port, .. } = addresses.swap_remove(0);
    let member = Member { sid: Sid::new(sid), is_observer, host, quorum_port, election_port, client };
    Ok(Listed { member, has_more_addresses, origin: origin.clone() })
}

/// `group.N=id:id:...`
fn parse_group(name: &str, text: &str, origin: &Origin) -> Result<(u64, Vec<Sid>, Origin), String> {
    let group = number(name).ok_or_else(|| format!("a number instead of {name:?} in group.{name}"))?;
    let sids: Option<Vec<Sid>> = text.split(':').map(|part| number(part.trim()).map(Sid::new)).collect();
    Ok((group, sids.ok_or("ids of servers with colons between them")?, origin.clone()))
}

/// `weight.N=number`
fn parse_weight(name: &str, text: &str, origin: &Origin) -> Result<(Sid, u64, Origin), String> {
    let sid = number(name).ok_or_else(|| format!("a number instead of {name:?} in weight.{name}"))?;
    let weight = number(text).filter(|weight| *weight <= WEIGHT_MAX);
    Ok((Sid::new(sid), weight.ok_or_else(|| format!("a number up to {WEIGHT_MAX}"))?, origin.clone()))
}

/// A number of Java's that is not negative.
fn number(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|number| i64::try_from(*number).is_ok())
}

/// One address of a line.
struct Address {
    host: Box<str>,
    quorum_port: u16,
    election_port: u16,
    is_observer: bool,
}

fn parse_address(text: &str) -> Option<Address> {
    let (host, rest) = split_host(text)?;
    let mut parts = rest.strip_prefix(':')?.split(':');
    let (quorum_port, election_port) = (port(parts.next()?)?, port(parts.next()?)?);
    let role = parts.next().unwrap_or("participant");
    let is_observer = role.eq_ignore_ascii_case("observer");
    let known = is_observer || role.eq_ignore_ascii_case("participant");
    let whole = known && parts.next().is_none() && quorum_port != election_port;
    whole.then(|| Address { host: host.into(), quorum_port, election_port, is_observer })
}

fn parse_client(text: &str) -> Option<(Option<Box<str>>, u16)> {
    if let Some(port) = port(text) {
        return Some((None, port));
    }
    let (host, rest) = split_host(text)?;
    Some((Some(host.into()), port(rest.strip_prefix(':')?)?))
}

/// Host, without the brackets of an IPv6 address, and what follows.
fn split_host(text: &str) -> Option<(&str, &str)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => text.split_at(text.find(':')?),
    };
    (!host.is_empty()).then_some((host, rest))
}

fn port(text: &str) -> Option<u16> {
    text.trim().parse().ok().filter(|port| *port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Role and client part.
    type Parsed = (bool, Option<(Option<Box<str>>, u16)>);

    fn parsed(text: &str) -> Option<Parsed> {
        parse("1", text, &Origin::Default).ok().map(|listed| (listed.member.is_observer, listed.member.client))
    }

    #[test]
    fn every_form_of_a_line_is_read() {
        assert_eq!(parsed("zoo1:2888:3888"), Some((false, None)));
        assert_eq!(parsed("zoo1:2888:3888:observer"), Some((true, None)));
        assert_eq!(parsed("zoo1:2888:3888:PARTICIPANT;2181"), Some((false, Some((None, 2181)))));
        assert_eq!(parsed("zoo1:2888:3888;10.0.0.1:2181"), Some((false, Some((Some("10.0.0.1".into()), 2181)))));
        assert_eq!(parsed("[::1]:2888:3888;[fe80::1]:2181"), Some((false, Some((Some("fe80::1".into()), 2181)))));
        assert_eq!(parsed("a:2888:3888|b:2889:3889;2181"), Some((false, Some((None, 2181)))));
    }

    #[test]
    fn wrong_lines_are_refused() {
        for text in ["", "zoo1", "zoo1:2888", "zoo1:2888:2888", "zoo1:x:1", "zoo1:1:2:boss", "zoo1:1:2:observer:3"] {
            assert_eq!(parsed(text), None, "{text}");
        }
        for text in [":1:2", "zoo1:0:2", "zoo1:1:2;x", "zoo1:1:2;h:", "[::1:1:2", "a:1:2|b", "zoo1:1:65536"] {
            assert_eq!(parsed(text), None, "{text}");
        }
        assert!(parse("x", "zoo1:1:2", &Origin::Default).unwrap_err().contains("server.x"));
    }
}
