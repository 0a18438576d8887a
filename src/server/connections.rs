//! The tasks around a serving core's connections: one that accepts, one per connection that reads, one that ends
//! handshakes which take too long.
//!
//! Invariant  no borrow of the frontend is held across an await.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use glommio::timer::sleep;
use ids::Millis;
use net::buffer::{Pool, ReceiveBuffer};
use net::conn::Connection;
use net::listener::Listener;

use super::frontend::{Frontend, Next};
use super::notify::Notify;
use super::replica::{ConnId, Now};

/// How long a client may take to read its last answer and to close its side.
const FAREWELL: Duration = Duration::from_secs(2);

/// Connections that have not finished their handshake, oldest first.
pub type Handshaking = Rc<RefCell<VecDeque<(Millis, ConnId)>>>;

/// Accepts until the listening socket breaks.
///
/// # Errors
/// When it has.
pub async fn accept(
    frontend: Rc<RefCell<Frontend>>,
    listener: Listener,
    pool: Rc<Pool>,
    handshaking: Handshaking,
) -> std::io::Result<()> {
    loop {
        let link = Rc::new(listener.accept().await?);
        let now = Now::read();
        let Some((id, resume)) = frontend.borrow_mut().connect(Rc::clone(&link), now) else {
            link.close();
            continue;
        };
        handshaking.borrow_mut().push_back((now.monotonic, id));
        glommio::spawn_local(serve(Rc::clone(&frontend), link, id, resume, Rc::clone(&pool))).detach();
    }
}

async fn serve(frontend: Rc<RefCell<Frontend>>, link: Rc<Connection>, id: ConnId, resume: Rc<Notify>, pool: Rc<Pool>) {
    let mut inbox = ReceiveBuffer::new(&pool);
    loop {
        let next = frontend.borrow_mut().on_bytes(id, &mut inbox, Now::read());
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
    frontend.borrow_mut().disconnect(id);
}

/// Ends handshakes that take longer than `timeout_ms`, rounded up to a multiple of it as ZooKeeper's queue does.
pub async fn expire_handshakes(frontend: Rc<RefCell<Frontend>>, handshaking: Handshaking, timeout_ms: i64) {
    let timeout = Duration::from_millis(timeout_ms.unsigned_abs());
    loop {
        sleep(timeout).await;
        let now = super::clock::monotonic().to_i64();
        loop {
            let due = handshaking.borrow().front().is_some_and(|(since, _)| since.to_i64() + timeout_ms <= now);
            if !due {
                break;
            }
            let Some((_, id)) = handshaking.borrow_mut().pop_front() else { break };
            frontend.borrow_mut().expire_handshake(id);
        }
    }
}
