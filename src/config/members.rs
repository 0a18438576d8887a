//! The server list: `server.N` lines of zoo.cfg or of its dynamicConfigFile, as far as a standalone server needs them.
//!
//! One voter (with standaloneEnabled, the default) is a standalone server, as some tools write such a line; its client
//! part may name the client port. More are an ensemble, which is refused.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::keys;
use super::origin::{Origin, Remark};
use super::properties;
use super::settings::Settings;

/// Longest membership file that is read, bytes.
const DYNAMIC_FILE_MAX_BYTES: u64 = 1 << 20;

/// One line of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// N of `server.N`.
    pub id: u64,
    /// Whether it only observes.
    pub observer: bool,
    /// Host and port of the part behind the semicolon.
    pub client: Option<(Option<Box<str>>, u16)>,
    /// Where the line stands.
    pub origin: Origin,
}

/// Reads the list from wherever it stands; problems go to `settings`.
pub(super) fn read(settings: &mut Settings) -> Vec<Member> {
    let lines = match settings.text_if_set("dynamicConfigFile") {
        Some(path) => dynamic_lines(settings, Path::new(&*path)),
        None => static_lines(settings),
    };
    let mut members = Vec::new();
    for (name, text, origin) in lines {
        match parse(&name, &text, &origin) {
            Ok(member) => members.push(member),
            Err(allowed) => {
                let remark = format!("found {text:?}; allowed: {allowed}");
                settings.problems.push(Remark::new(&origin, &format!("server.{name}"), remark));
            }
        }
    }
    members
}

type Line = (String, String, Origin);

fn static_lines(settings: &Settings) -> Vec<Line> {
    let lines = settings.family("server.").filter(|(rest, _, _)| keys::is_family(&format!("server.{rest}")));
    lines.map(|(rest, text, origin)| (rest.to_owned(), text.to_owned(), origin.clone())).collect()
}

fn dynamic_lines(settings: &mut Settings, path: &Path) -> Vec<Line> {
    for family in ["server.", "group.", "weight."] {
        let doubled = settings.family(family).find(|(rest, _, _)| keys::is_family(&format!("{family}{rest}")));
        if let Some((rest, _, origin)) = doubled {
            let text = "must stand in dynamicConfigFile, not beside it";
            let remark = Remark::new(origin, &format!("{family}{rest}"), text);
            settings.problems.push(remark);
        }
    }
    let too_long = fs::metadata(path).is_ok_and(|found| found.len() > DYNAMIC_FILE_MAX_BYTES);
    let bytes = match fs::read(path) {
        Ok(bytes) if !too_long => bytes,
        Ok(_) => {
            settings.problem("dynamicConfigFile", format!("{} is longer than a server list is", path.display()));
            return Vec::new();
        }
        Err(error) => {
            settings.problem("dynamicConfigFile", format!("cannot read {}: {error}", path.display()));
            return Vec::new();
        }
    };
    let shared = Arc::new(path.to_path_buf());
    let properties = match properties::parse(&bytes) {
        Ok(properties) => properties,
        Err(error) => {
            let origin = Origin::File { path: shared, line: error.line };
            settings.problems.push(Remark::new(&origin, "server list", error.to_string()));
            return Vec::new();
        }
    };
    let mut lines = Vec::new();
    for property in properties {
        let origin = Origin::File { path: shared.clone(), line: property.line };
        match property.key.strip_prefix("server.") {
            Some(name) => lines.push((name.to_owned(), property.value.trim().to_owned(), origin)),
            None if property.key.starts_with("group.") || property.key.starts_with("weight.") => {}
            None => {
                let text = "does not belong into a dynamicConfigFile; allowed: server.N, group.N, weight.N";
                settings.problems.push(Remark::new(&origin, &property.key, text));
            }
        }
    }
    lines
}

/// `<host>:<quorum port>:<election port>[:<role>][;[<client host>:]<client port>]`, several addresses joined by `|`.
pub(super) fn parse(name: &str, text: &str, origin: &Origin) -> Result<Member, String> {
    let id = name.parse::<u64>().ok().filter(|id| i64::try_from(*id).is_ok());
    let id = id.ok_or_else(|| format!("a number instead of {name:?} in server.{name}"))?;
    let form = || "host:quorum port:election port[:participant|:observer][;[client host:]client port]".to_owned();
    let (servers, client) = match text.split_once(';') {
        Some((servers, client)) => (servers, Some(client.trim())),
        None => (text, None),
    };
    let mut observer = false;
    for address in servers.split('|') {
        observer |= parse_address(address.trim()).ok_or_else(form)?;
    }
    let client = match client.filter(|client| !client.is_empty()) {
        Some(client) => Some(parse_client(client).ok_or_else(form)?),
        None => None,
    };
    Ok(Member { id, observer, client, origin: origin.clone() })
}

/// Whether the address's role is observer; `None` when it is no address.
fn parse_address(text: &str) -> Option<bool> {
    let (_, rest) = split_host(text)?;
    let mut parts = rest.strip_prefix(':')?.split(':');
    let quorum = port(parts.next()?)?;
    let election = port(parts.next()?)?;
    let role = parts.next().unwrap_or("participant");
    let observer = role.eq_ignore_ascii_case("observer");
    let known = observer || role.eq_ignore_ascii_case("participant");
    (known && parts.next().is_none() && quorum != election).then_some(observer)
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
        parse("1", text, &Origin::Default).ok().map(|member| (member.observer, member.client))
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
