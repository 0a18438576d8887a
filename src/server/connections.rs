//! The tasks around a serving core's connections: one that accepts for all cores, one that takes in what it hands over,
//! one per connection that reads, one that ends handshakes which take too long.
//!
//! One socket listens, and every connection goes to the core that has the fewest. With a socket per core (SO_REUSEPORT)
//! the kernel would spread them by hash, which is uneven for the few and long-lived connections that clients keep, and a
//! second server of the same user would start on the same port without complaint.
//! Invariant  no borrow of a role is held across an await.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use glommio::timer::sleep;
use ids::Millis;
use net::buffer::{Pool, ReceiveBuffer};
use net::conn::{Connection, ConnectionOptions};
use net::listener::{Accepted, ListenAddress, ListenOptions, Listener};

use super::core::Core;
use super::frontend::Next;
use super::mesh::{Inlet, Outlet, Weigh};
use super::messages::ConnId;
use super::notify::Notify;
use super::replica::Now;
use super::shared::Shared;
use super::start::RunError;
use crate::config::Config;

/// How long a client may take to read its last answer and to close its side.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long a port that is taken is tried, and the pause between two tries.
const TAKEN_PORT_PATIENCE: Duration = Duration::from_secs(2);
const TAKEN_PORT_PAUSE: Duration = Duration::from_millis(20);

/// How long accepting rests when a core does not take over what it was given. The kernel's queue holds the rest.
const HAND_OVER_PAUSE: Duration = Duration::from_millis(1);

/// Connections that have not finished their handshake, oldest first.
type Handshaking = RefCell<VecDeque<(Millis, ConnId)>>;

impl Weigh for Accepted {
    fn weight_bytes(&self) -> usize {
        0
    }
}

/// What a serving core's connection tasks share.
pub struct Connections {
    core: Rc<Core>,
    shared: Arc<Shared>,
    /// The core's number.
    number: u16,
    pool: Rc<Pool>,
    handshaking: Handshaking,
}

impl Connections {
    /// None yet.
    pub fn new(core: Rc<Core>, shared: Arc<Shared>, number: u16, pool: Rc<Pool>) -> Connections {
        Connections { core, shared, number, pool, handshaking: Handshaking::default() }
    }

    /// Accepts until the listening socket breaks. `others` are the serving cores from number 1 on; this is number 0.
    ///
    /// # Errors
    /// When it has.
    pub async fn accept(self: Rc<Self>, listener: Listener, others: Vec<Outlet<Accepted>>) -> std::io::Result<()> {
        assert_eq!(self.number, 0, "the first serving core accepts");
        loop {
            let accepted = listener.accept_any().await?;
            let core = self.shared.assign();
            if core == self.number {
                self.welcome(accepted);
                continue;
            }
            let other = &others[usize::from(core) - 1];
            while other.is_full() {
                sleep(HAND_OVER_PAUSE).await;
            }
            other.post(accepted);
            other.dispatch();
        }
    }

    /// Takes in what another core has accepted for this one.
    pub async fn take_over(self: Rc<Self>, inlet: Inlet<Accepted>) {
        while let Some(accepted) = inlet.receive().await {
            accepted.into_iter().for_each(|accepted| self.welcome(accepted));
        }
    }

    fn welcome(self: &Rc<Self>, accepted: Accepted) {
        let Ok(link) = accepted.bind(&self.pool) else {
            return self.shared.unassign(self.number);
        };
        let (link, now) = (Rc::new(link), Now::read());
        let Some((id, resume)) = self.core.serve(now, |frontend| frontend.connect(Rc::clone(&link), now)) else {
            link.close();
            return self.shared.unassign(self.number);
        };
        self.handshaking.borrow_mut().push_back((now.monotonic, id));
        glommio::spawn_local(serve(Rc::clone(&self.core), link, id, resume, Rc::clone(&self.pool))).detach();
    }

    /// Ends handshakes that take longer than `timeout_ms`, rounded up to a multiple of it as ZooKeeper's queue does.
    pub async fn expire_handshakes(self: Rc<Self>, timeout_ms: i64) {
        let timeout = Duration::from_millis(timeout_ms.unsigned_abs());
        loop {
            sleep(timeout).await;
            let now = super::clock::monotonic().to_i64();
            loop {
                let due =
                    self.handshaking.borrow().front().is_some_and(|(since, _)| since.to_i64() + timeout_ms <= now);
                if !due {
                    break;
                }
                let Some((_, id)) = self.handshaking.borrow_mut().pop_front() else { break };
                self.core.frontend().expire_handshake(id);
            }
        }
    }
}

async fn serve(core: Rc<Core>, link: Rc<Connection>, id: ConnId, resume: Rc<Notify>, pool: Rc<Pool>) {
    let mut inbox = ReceiveBuffer::new(&pool);
    loop {
        let now = Now::read();
        let next = core.serve(now, |frontend| frontend.on_bytes(id, &mut inbox, now));
        match next {
            Next::Receive => match link.receive(&mut inbox).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            },
            Next::Wait => resume.wait().await,
            Next::Finish => {
                link.finish(&mut inbox, FAREWELL).await;
                break;
            }
            Next::Close => break,
        }
    }
    core.serve(Now::read(), |frontend| frontend.disconnect(id));
}

/// Writes long lists of children slice by slice.
pub async fn step_listings(core: Rc<Core>) {
    let work = Rc::clone(&core.frontend().listing_work);
    loop {
        work.wait().await;
        loop {
            let now = Now::read();
            if !core.serve(now, |frontend| frontend.step_listings(now)) {
                break;
            }
            super::clock::let_others_go().await;
        }
    }
}

/// Sends what turns have left to later ones.
pub async fn flush_rest(core: Rc<Core>) {
    let work = Rc::clone(&core.frontend().flush_work);
    loop {
        work.wait().await;
        while core.frontend().has_unsent() {
            super::clock::let_others_go().await;
            core.settle(Now::read());
        }
    }
}

/// The socket that clients connect to. A port that is taken is tried for a while: the kernel takes the rings of a killed
/// server down behind its back, and its listening socket with them, so that its successor may be faster.
///
/// # Errors
/// When the kernel refuses it.
pub async fn listen(config: &Config, pool: &Rc<Pool>) -> Result<Listener, RunError> {
    let local = &config.local;
    let address = match local.client_address {
        Some(address) => ListenAddress::At(SocketAddr::new(address, local.client_port)),
        None => ListenAddress::Any { port: local.client_port },
    };
    let mut options = ListenOptions {
        connection: ConnectionOptions { keepalive: local.client_tcp_keep_alive },
        ..ListenOptions::default()
    };
    if let Some(backlog) = local.listen_backlog {
        options.backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    }
    let give_up = Instant::now() + TAKEN_PORT_PATIENCE;
    let bound = loop {
        match Listener::bind(address, &options, pool) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < give_up => {
                sleep(TAKEN_PORT_PAUSE).await;
            }
            bound => break bound,
        }
    };
    bound.map_err(|source| {
        let address = local.client_address.map_or_else(|| "every address".to_owned(), |address| address.to_string());
        RunError::Listen { address: format!("{address}, port {}", local.client_port), source }
    })
}
