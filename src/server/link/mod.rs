//! Link: the sockets to other members, of both ports. Moves bytes; knows no protocol.
//!
//! ```text
//! links      every connection: what the replica asks for, and what becomes of it
//! wire       one connection that stands: its reading, sending and end
//! dial       from a host's name to a connection        names     look-ups that nobody waits for in line
//! door       the ports that other members connect to   reason    why a connection is gone, in a few words
//! messages   what the replica and this role say to each other
//! ```

mod dial;
mod door;
pub mod links;
pub mod messages;
mod names;
mod reason;
mod wire;

use std::fmt;

/// Connections that others may have opened to this member at once: some ten per member of the largest ensembles, and
/// few enough for the descriptors of a process that has clients.
pub const ACCEPTED_MAX: usize = 1024;

/// What the link role needs to know of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkSettings {
    /// Where elections are listened for.
    pub election: Vec<Endpoint>,
    /// Where followers and observers are listened for.
    pub quorum: Vec<Endpoint>,
    /// For how many seconds a port that cannot be listened on is tried again, about once a second
    /// (`electionPortBindRetry`); `None` for ever.
    pub bind_retries: Option<u32>,
    /// SO_KEEPALIVE on every connection (`tcpKeepAlive`).
    pub keepalive: bool,
    /// Connections that others may have opened at once, [`ACCEPTED_MAX`] but in tests.
    pub accepted_max: usize,
}

/// One of this member's own addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Name or address; `None` for every address of the host (`quorumListenOnAllIPs`).
    pub host: Option<Box<str>>,
    /// Port; 0 for one that is free.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            None => write!(f, "every address, port {}", self.port),
            Some(host) if host.contains(':') && !host.starts_with('[') => write!(f, "[{host}]:{}", self.port),
            Some(host) => write!(f, "{host}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests;
