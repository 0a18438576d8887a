//! From a host's name to a connection: every address of it in turn, within one time limit.
//!
//! Bound      each address gets an even share of what is left of the time, so that one that does not answer leaves some
//!            for the next.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::future;
use glommio::timer::sleep;
use net::buffer::Pool;
use net::conn::{Connection, ConnectionOptions};

use super::names::Names;
use super::reason;

/// Whom to dial.
pub(super) struct Call {
    pub(super) host: Box<str>,
    pub(super) port: u16,
    pub(super) timeout: Duration,
}

/// Connects.
///
/// # Errors
/// Why not, of the last address that was tried.
///
/// # Cancel safety
/// Cancelled, there is no connection.
pub(super) async fn dial(
    call: &Call,
    names: &Names,
    options: ConnectionOptions,
    pool: &Rc<Pool>,
) -> Result<Connection, Box<str>> {
    let deadline = Instant::now() + call.timeout;
    let too_late = async {
        sleep(call.timeout).await;
        Err("its name was not looked up: timed out".into())
    };
    let addresses = future::or(names.resolve(&call.host, call.port), too_late).await?;
    let mut last = reason::TIMED_OUT.into();
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        if share.is_zero() {
            return Err(reason::TIMED_OUT.into());
        }
        match Connection::connect(canonical(*address), share, options, pool).await {
            Ok(connection) => return Ok(connection),
            Err(error) => last = reason::of(&error),
        }
    }
    Err(last)
}

/// A resolver may show an IPv4 address as a part of IPv6, which a host without IPv6 cannot reach.
fn canonical(mut address: SocketAddr) -> SocketAddr {
    address.set_ip(address.ip().to_canonical());
    address
}
