//! Names of hosts to addresses, by the system's resolver, which blocks: on a thread of its own for each look-up.
//!
//! Bound      [`LOOKUPS_MAX`] look-ups at once; one more fails. A resolver that hangs does so for half a minute, after its
//!            caller has long given up.
//! Order      IPv4 before IPv6, as Java has it, so that a member listens where Java members look for it.
//! Absent     a memory. Addresses of members change, and a name is looked up again whenever it is needed.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;

use super::super::mesh;
use super::reason;

/// Threads that wait for the resolver at once.
const LOOKUPS_MAX: usize = 32;

/// The look-ups of one executor.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Each look-up holds a clone.
    under_way: Arc<()>,
}

impl Names {
    /// Addresses of `host`, which may be one itself, in brackets or not. There is at least one.
    ///
    /// # Errors
    /// Why there is none.
    ///
    /// # Cancel safety
    /// Cancelled, the look-up goes on for nobody.
    pub(super) async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Box<str>> {
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        if Arc::strong_count(&self.under_way) > LOOKUPS_MAX {
            return Err("its name was not looked up: the resolver answers none of many questions".into());
        }
        let (found, result) = mesh::parcel();
        let (host, under_way) = (host.to_owned(), Arc::clone(&self.under_way));
        let look_up = move || {
            found.send(look_up(&host, port));
            drop(under_way);
        };
        let started = thread::Builder::new().name("names".to_owned()).spawn(look_up);
        started.map_err(|error| format!("its name was not looked up: {error}"))?;
        result.receive().await.unwrap_or_else(|| Err("its name was not looked up: the resolver has crashed".into()))
    }
}

fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, Box<str>> {
    let found = (host, port).to_socket_addrs().map_err(|error| reason::of_lookup(&error))?;
    let mut addresses: Vec<SocketAddr> = found.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    if addresses.is_empty() { Err("no such host name: it has no address".into()) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use glommio::LocalExecutor;

    fn resolved(host: &str) -> Result<Vec<SocketAddr>, Box<str>> {
        LocalExecutor::default().run(async { Names::default().resolve(host, 7).await })
    }

    #[test]
    fn addresses_need_no_look_up() {
        assert_eq!(resolved("10.1.2.3"), Ok(vec!["10.1.2.3:7".parse().unwrap()]));
        assert_eq!(resolved("::1"), Ok(vec!["[::1]:7".parse().unwrap()]));
        assert_eq!(resolved("[::1]"), Ok(vec!["[::1]:7".parse().unwrap()]));
    }

    #[test]
    fn names_are_looked_up_ipv4_first() {
        let addresses = resolved("localhost").unwrap();
        assert_eq!(addresses[0], "127.0.0.1:7".parse().unwrap());
    }

    #[test]
    fn what_can_be_no_name_is_none() {
        let reason = resolved("a name\0with a nul").unwrap_err();
        assert!(reason.starts_with("no such host name"), "{reason}");
    }

    #[test]
    fn look_ups_are_bounded() {
        let names = Names::default();
        let hanging: Vec<Arc<()>> = (0..LOOKUPS_MAX).map(|_| Arc::clone(&names.under_way)).collect();
        let asked = LocalExecutor::default().run(async { names.resolve("localhost", 7).await });
        assert!(asked.unwrap_err().contains("not looked up"));
        drop(hanging);
    }
}
