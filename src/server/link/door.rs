//! The ports that other members connect to.
//!
//! Flow       look the own name up -> bind -> accept for ever; when that fails, the same again after a pause.
//! Bound      what fails is tried again for `bind_retries` seconds, as long as nobody could connect in between. The first
//!            pauses are short: the kernel takes the sockets of a killed server down behind its back, and its successor
//!            may be faster.
//!
//! Unlike ZooKeeper's, the quorum port is open at all times: a member that is no leader closes who comes.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use glommio::timer::sleep;
use net::listener::{ListenAddress, ListenOptions, Listener};

use super::super::clock;
use super::Endpoint;
use super::links::Links;
use super::messages::Door;

/// Pause before the first further try, and the longest, to which it doubles.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Connections the kernel holds before they are accepted: members are few.
const BACKLOG: i32 = 256;

/// What a door is for, for logs.
pub(super) fn name(door: Door) -> &'static str {
    match door {
        Door::Election => "elections",
        Door::Quorum => "the quorum",
    }
}

/// Accepts until it can't be done any more, and says why.
///
/// # Cancel safety
/// Cancelled, a connection that arrives in that moment may be lost without being closed.
pub(super) async fn keep(links: &Rc<Links>, door: Door, at: &Endpoint) -> io::Error {
    let patience = links.settings.bind_retries.map(|retries| PAUSE_MAX * retries);
    let mut pause = PAUSE_FIRST;
    let mut failing_since = None;
    loop {
        let error = match accept(links, door, at, &mut failing_since).await {
            Ok(never) => match never {},
            Err(error) => error,
        };
        let since = *failing_since.get_or_insert_with(|| {
            tracing::warn!("cannot listen on {at} for {}: {error}; trying again", name(door));
            pause = PAUSE_FIRST;
            Instant::now()
        });
        if patience.is_some_and(|patience| since.elapsed() >= patience) {
            return error;
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Somebody who could connect ends what was failing.
async fn accept(
    links: &Rc<Links>,
    door: Door,
    at: &Endpoint,
    failing_since: &mut Option<Instant>,
) -> io::Result<std::convert::Infallible> {
    let options = ListenOptions { backlog: BACKLOG, connection: links.options() };
    let listener = Listener::bind(address(links, at).await?, &options, &links.pool)?;
    let bound = listener.local_addr()?;
    tracing::info!(address = %bound, "listening for {}", name(door));
    let _listed = Listed::new(links, door, bound);
    loop {
        let accepted = listener.accept_any().await?;
        *failing_since = None;
        links.welcome(door, accepted);
        // Accepting again would not look at the ring as long as somebody waits.
        clock::let_others_go().await;
    }
}

/// The first address of a name, as others will take that one, too.
async fn address(links: &Links, at: &Endpoint) -> io::Result<ListenAddress> {
    let Some(host) = &at.host else { return Ok(ListenAddress::Any { port: at.port }) };
    let addresses = links.names.resolve(host, at.port).await;
    Ok(ListenAddress::At(addresses.map_err(|reason| io::Error::other(String::from(reason)))?[0]))
}

/// An entry in the list of what is listened on, as long as it is.
struct Listed<'l>(&'l Links, (Door, SocketAddr));

impl<'l> Listed<'l> {
    fn new(links: &'l Links, door: Door, address: SocketAddr) -> Listed<'l> {
        links.listening.borrow_mut().push((door, address));
        Listed(links, (door, address))
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.0.listening.borrow_mut().retain(|listed| *listed != self.1);
    }
}
