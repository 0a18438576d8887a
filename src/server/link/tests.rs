//! Links over loopback, against each other and against peers that are blocking sockets.

use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_lite::future;
use glommio::timer::sleep;
use glommio::{LocalExecutorBuilder, Placement};
use rustix::net::{AddressFamily, SocketType, sockopt};

use super::super::mesh::{Inlet, far, near};
use super::super::notify::Notify;
use super::super::signals::{Reason, Stop};
use super::links::{FINISH_MAX, Links};
use super::messages::{Door, FromLink, ToLink, UNREAD_MAX_BYTES, WireId};
use super::{Endpoint, LinkSettings};

/// Longer than anything takes here on a busy host.
const PATIENCE: Duration = Duration::from_secs(20);

/// Long enough for what should not come to have come.
const SILENCE: Duration = Duration::from_millis(150);

/// More than the kernel holds for a connection whose peer doesn't read.
const FLOOD_BYTES: usize = 48 << 20;

/// A link, and the test in the replica's place.
struct Member {
    links: Rc<Links>,
    inlet: Inlet<FromLink>,
    heard: VecDeque<FromLink>,
    stop: Stop,
}

fn loopback() -> LinkSettings {
    let here = vec![Endpoint { host: Some("127.0.0.1".into()), port: 0 }];
    LinkSettings { election: here.clone(), quorum: here, bind_retries: Some(0), keepalive: true, accepted_max: 100 }
}

impl Member {
    fn of(settings: LinkSettings) -> Member {
        let ((to_replica, inlet), stop) = (near(), Stop::default());
        let links = Rc::new(Links::new(settings, to_replica, stop.clone()));
        links.listen();
        Member { links, inlet, heard: VecDeque::new(), stop }
    }

    async fn listening() -> Member {
        let member = Member::of(loopback());
        member.until(|links| links.listening().len() == 2).await;
        member
    }

    async fn until(&self, what: impl Fn(&Links) -> bool) {
        let begun = Instant::now();
        while !what(&self.links) {
            assert!(begun.elapsed() < PATIENCE, "it does not come to that");
            sleep(Duration::from_millis(1)).await;
        }
    }

    fn address(&self, door: Door) -> SocketAddr {
        self.links.listening().iter().find(|listed| listed.0 == door).expect("it listens there").1
    }

    fn say(&self, messages: impl IntoIterator<Item = ToLink>) {
        self.links.take(messages.into_iter());
    }

    fn dial(&self, number: u64, to: SocketAddr) -> WireId {
        self.dial_for(number, to, PATIENCE)
    }

    fn dial_for(&self, number: u64, to: SocketAddr, timeout: Duration) -> WireId {
        let (wire, timeout_ms) = (WireId::dialled(number), timeout.as_millis() as u32);
        self.say([ToLink::Dial { wire, host: to.ip().to_string().into(), port: to.port(), timeout_ms }]);
        wire
    }

    fn send(&self, wire: WireId, bytes: impl Into<Bytes>) {
        self.say([ToLink::Send { wire, bytes: bytes.into() }]);
    }

    async fn hear(&mut self) -> FromLink {
        self.hear_within(PATIENCE).await.expect("the link has something to say")
    }

    async fn hear_within(&mut self, time: Duration) -> Option<FromLink> {
        if self.heard.is_empty() {
            let too_late = async {
                sleep(time).await;
                None
            };
            self.heard.extend(future::or(self.inlet.receive(), too_late).await?);
        }
        self.heard.pop_front()
    }

    /// The next that is not `Drained`.
    async fn hear_else(&mut self) -> FromLink {
        loop {
            match self.hear().await {
                FromLink::Drained(_) => {}
                other => return other,
            }
        }
    }

    async fn hear_reason(&mut self, of: WireId) -> String {
        match self.hear_else().await {
            FromLink::Closed { wire, reason } if wire == of => reason.into(),
            other => panic!("{other:?} instead of the end of {of:?}"),
        }
    }

    async fn hear_accepted(&mut self) -> WireId {
        match self.hear_else().await {
            FromLink::Accepted { wire, .. } => wire,
            other => panic!("{other:?} instead of a connection"),
        }
    }

    async fn hear_opened(&mut self, wire: WireId) {
        let heard = self.hear_else().await;
        assert!(matches!(heard, FromLink::Opened(opened) if opened == wire), "{heard:?}");
    }

    /// So many bytes, with thanks for each piece.
    async fn hear_bytes(&mut self, of: WireId, len: usize) -> Vec<u8> {
        let mut all = Vec::with_capacity(len);
        while all.len() < len {
            match self.hear_else().await {
                FromLink::Bytes(wire, bytes) if wire == of => {
                    self.say([ToLink::Taken { wire, len: bytes.len() }]);
                    all.extend_from_slice(&bytes);
                }
                other => panic!("{other:?} after {} of {len} bytes", all.len()),
            }
        }
        assert_eq!(all.len(), len, "nobody has sent more");
        all
    }

    async fn hear_drained(&mut self, of: WireId) {
        let heard = self.hear().await;
        assert!(matches!(heard, FromLink::Drained(wire) if wire == of), "{heard:?}");
    }

    async fn hear_nothing(&mut self) {
        if let Some(heard) = self.hear_within(SILENCE).await {
            panic!("{heard:?}");
        }
    }
}

/// Two members and a connection between them: its name at the one that dialled, and at the other.
async fn pair() -> (Member, WireId, Member, WireId) {
    let (mut left, mut right) = (Member::listening().await, Member::listening().await);
    let dialled = left.dial(1, right.address(Door::Quorum));
    left.hear_opened(dialled).await;
    let accepted = right.hear_accepted().await;
    (left, dialled, right, accepted)
}

fn run<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    let executor = LocalExecutorBuilder::new(Placement::Unbound).io_memory(64 << 10).make().unwrap();
    executor.run(async {
        let pulse = async {
            loop {
                sleep(Duration::from_millis(25)).await;
            }
        };
        glommio::spawn_local(pulse).detach();
        test().await;
    });
}

/// Pieces of many lengths, and all of them together.
fn pieces(seed: u32, total_bytes: usize) -> (Vec<Bytes>, Vec<u8>) {
    let mut state = seed | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as usize
    };
    let (mut pieces, mut all) = (Vec::new(), Vec::new());
    while all.len() < total_bytes {
        let len = match next() % 16 {
            0 => next() % 200_000,
            1..3 => next() % 20_000,
            _ => next() % 200,
        };
        let piece: Vec<u8> = (0..len).map(|_| next() as u8).collect();
        all.extend_from_slice(&piece);
        pieces.push(Bytes::from(piece));
    }
    (pieces, all)
}

/// A listening socket that takes nobody in, and whose queue is full: the kernel drops whoever comes.
fn full_listener() -> (SocketAddr, OwnedFd, Vec<TcpStream>) {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let address = SocketAddr::try_from(rustix::net::getsockname(&socket).unwrap()).unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        queued.push(stream);
        assert!(queued.len() < 10, "a queue of none is soon full");
    }
    (address, socket, queued)
}

/// A port that is taken, and on which nobody listens.
fn deaf_port() -> (SocketAddr, OwnedFd) {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    (SocketAddr::try_from(rustix::net::getsockname(&socket).unwrap()).unwrap(), socket)
}

#[test]
fn bytes_arrive_complete_and_in_order_in_both_directions_at_once() {
    run(|| async {
        let (mut left, dialled, mut right, accepted) = pair().await;
        let ((there, there_all), (back, back_all)) = (pieces(1, 8 << 20), pieces(2, 8 << 20));
        let turns = there.chunks(20).zip(back.chunks(20)).count();
        assert!(turns > 10, "sent in many turns");
        there
            .chunks(20)
            .for_each(|turn| left.say(turn.iter().map(|b| ToLink::Send { wire: dialled, bytes: b.clone() })));
        back.chunks(20)
            .for_each(|turn| right.say(turn.iter().map(|b| ToLink::Send { wire: accepted, bytes: b.clone() })));
        let (at_right, at_left) =
            future::zip(right.hear_bytes(accepted, there_all.len()), left.hear_bytes(dialled, back_all.len())).await;
        assert!(at_right == there_all && at_left == back_all, "what has arrived is what was sent");
    });
}

#[test]
fn what_the_socket_takes_leaves_in_the_turn_and_is_said_to_have_left() {
    run(|| async {
        let mut member = Member::listening().await;
        let mut peer = TcpStream::connect(member.address(Door::Election)).unwrap();
        let heard = member.hear().await;
        let local = peer.local_addr().unwrap();
        let FromLink::Accepted { wire, door: Door::Election, from } = heard else { panic!("{heard:?}") };
        assert_eq!(from, local);
        let bytes = |text: &'static [u8]| ToLink::Send { wire, bytes: Bytes::from_static(text) };
        member.say([bytes(b"small "), bytes(b"pieces")]);
        // No other task has run since.
        let mut read = [0; 12];
        peer.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"small pieces");
        member.hear_drained(wire).await;
        member.hear_nothing().await;
    });
}

#[test]
fn no_more_is_read_than_the_replica_takes() {
    run(|| async {
        let (mut left, dialled, mut right, accepted) = pair().await;
        left.send(dialled, vec![7; FLOOD_BYTES]);
        let mut under_way = 0;
        while let Some(heard) = right.hear_within(SILENCE).await {
            let FromLink::Bytes(_, bytes) = heard else { panic!("{heard:?}") };
            under_way += bytes.len();
        }
        assert_eq!(under_way, UNREAD_MAX_BYTES);
        assert!(left.hear_within(SILENCE).await.is_none(), "not drained: the peer's socket is full");
        right.say([ToLink::Taken { wire: accepted, len: 10 }]);
        let heard = right.hear().await;
        assert!(matches!(&heard, FromLink::Bytes(_, bytes) if bytes.len() == 10), "{heard:?}");
        right.hear_nothing().await;
        right.say([ToLink::Taken { wire: accepted, len: UNREAD_MAX_BYTES }]);
        let rest = FLOOD_BYTES - UNREAD_MAX_BYTES - 10;
        assert!(right.hear_bytes(accepted, rest).await.iter().all(|byte| *byte == 7));
        left.hear_drained(dialled).await;
    });
}

#[test]
fn a_peer_that_does_not_read_holds_nobody_up() {
    run(|| async {
        let (mut left, dialled, mut right, accepted) = pair().await;
        let _deaf = TcpStream::connect(left.address(Door::Election)).unwrap();
        let deaf = left.hear_accepted().await;
        left.send(deaf, vec![1; FLOOD_BYTES]);
        for round in 0..100_u8 {
            left.send(dialled, vec![round; 3]);
            assert_eq!(right.hear_bytes(accepted, 3).await, [round; 3]);
        }
    });
}

#[test]
fn a_dial_that_fails_says_why() {
    run(|| async {
        let mut member = Member::listening().await;
        let (deaf, _socket) = deaf_port();
        let wire = member.dial(1, deaf);
        assert_eq!(member.hear_reason(wire).await, "refused");
        let wire = WireId::dialled(2);
        member.say([ToLink::Dial { wire, host: "no\0name".into(), port: 1, timeout_ms: 20_000 }]);
        let reason = member.hear_reason(wire).await;
        assert!(reason.starts_with("no such host name"), "{reason}");
        let (full, _socket, _queued) = full_listener();
        let begun = Instant::now();
        let wire = member.dial_for(3, full, Duration::from_millis(100));
        assert_eq!(member.hear_reason(wire).await, "timed out");
        assert!(begun.elapsed() >= Duration::from_millis(100));
        let wire = member.dial_for(4, full, Duration::ZERO);
        assert_eq!(member.hear_reason(wire).await, "timed out");
        // Of none of them there is anything left.
        for number in 1..5 {
            member.send(WireId::dialled(number), "nobody hears");
            member.say([ToLink::Close { wire: WireId::dialled(number), finish: true }]);
        }
        member.hear_nothing().await;
        assert!(member.links.is_quiet());
    });
}

#[test]
fn names_are_dialled_and_what_was_sent_before_follows() {
    run(|| async {
        let (mut left, mut right) = (Member::listening().await, Member::listening().await);
        let (wire, port) = (WireId::dialled(1), right.address(Door::Election).port());
        left.say([
            ToLink::Dial { wire, host: "localhost".into(), port, timeout_ms: 20_000 },
            ToLink::Send { wire, bytes: Bytes::from_static(b"hello") },
        ]);
        left.hear_opened(wire).await;
        left.hear_drained(wire).await;
        let accepted = right.hear_accepted().await;
        assert_eq!(right.hear_bytes(accepted, 5).await, b"hello");
    });
}

#[test]
fn a_dial_that_is_closed_says_nothing() {
    run(|| async {
        let mut member = Member::listening().await;
        let (full, socket, queued) = full_listener();
        let wire = member.dial(1, full);
        sleep(Duration::from_millis(20)).await;
        member.say([ToLink::Close { wire, finish: false }]);
        let at_once = member.dial(2, full);
        member.say([ToLink::Close { wire: at_once, finish: true }]);
        let name = WireId::dialled(3);
        member.say([
            ToLink::Dial { wire: name, host: "localhost".into(), port: full.port(), timeout_ms: 20_000 },
            ToLink::Close { wire: name, finish: false },
        ]);
        sleep(Duration::from_millis(20)).await;
        drop(queued);
        drop(socket);
        member.hear_nothing().await;
        assert!(member.links.is_quiet());
    });
}

#[test]
fn nothing_is_said_of_a_connection_that_the_replica_has_closed() {
    run(|| async {
        for finish in [false, true] {
            let (mut left, dialled, mut right, accepted) = pair().await;
            left.send(dialled, vec![1; 100_000]);
            left.hear_drained(dialled).await;
            left.send(dialled, "more");
            // Its bytes are in the socket, partly read or not.
            right.say([ToLink::Close { wire: accepted, finish }]);
            right.say([
                ToLink::Taken { wire: accepted, len: 5 },
                ToLink::Send { wire: accepted, bytes: Bytes::from_static(b"no") },
                ToLink::Close { wire: accepted, finish },
            ]);
            while let Some(heard) = right.heard.pop_front() {
                assert!(matches!(heard, FromLink::Bytes(..)), "{heard:?}");
            }
            left.hear_reason(dialled).await;
            right.hear_nothing().await;
            right.until(Links::is_quiet).await;
            left.until(Links::is_quiet).await;
        }
    });
}

#[test]
fn a_full_reader_that_is_closed_ends() {
    run(|| async {
        let (left, dialled, mut right, accepted) = pair().await;
        left.send(dialled, vec![7; FLOOD_BYTES]);
        while right.hear_within(SILENCE).await.is_some() {}
        right.say([ToLink::Close { wire: accepted, finish: false }]);
        right.until(Links::is_quiet).await;
        left.until(Links::is_quiet).await;
        right.hear_nothing().await;
    });
}

#[test]
fn what_waits_is_sent_before_a_finish() {
    run(|| async {
        let (mut left, dialled, mut right, accepted) = pair().await;
        let (sent, all) = pieces(3, 12 << 20);
        left.say(sent.into_iter().map(|bytes| ToLink::Send { wire: dialled, bytes }));
        left.say([ToLink::Close { wire: dialled, finish: true }]);
        assert!(right.hear_bytes(accepted, all.len()).await == all);
        assert_eq!(right.hear_reason(accepted).await, "closed by the peer");
        left.until(Links::is_quiet).await;
        left.hear_nothing().await;
    });
}

#[test]
fn a_finish_waits_a_second_for_a_peer_that_does_not_read() {
    run(|| async {
        let mut member = Member::listening().await;
        let _deaf = TcpStream::connect(member.address(Door::Election)).unwrap();
        let wire = member.hear_accepted().await;
        member.send(wire, vec![1; FLOOD_BYTES]);
        let begun = Instant::now();
        member.say([ToLink::Close { wire, finish: true }]);
        member.until(Links::is_quiet).await;
        assert!(begun.elapsed() >= FINISH_MAX && begun.elapsed() < FINISH_MAX * 3, "{:?}", begun.elapsed());
        member.hear_nothing().await;
    });
}

#[test]
fn a_port_that_stays_taken_stops_the_server() {
    run(|| async {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut settings = loopback();
        settings.election[0].port = port;
        let member = Member::of(settings);
        let Reason::Fatal(reason) = member.stop.wait().await else { panic!("no signal was sent") };
        let begin = format!("cannot listen on 127.0.0.1:{port} for elections: ");
        assert!(reason.starts_with(&begin) && reason.contains("in use"), "{reason}");
    });
}

#[test]
fn a_port_that_becomes_free_is_listened_on() {
    run(|| async {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut settings = loopback();
        settings.quorum[0].port = taken.local_addr().unwrap().port();
        settings.bind_retries = None;
        let member = Member::of(settings);
        sleep(SILENCE).await;
        assert_eq!(member.links.listening().len(), 1);
        drop(taken);
        member.until(|links| links.listening().len() == 2).await;
        assert_eq!(member.stop.reason(), None);
    });
}

#[test]
fn a_reset_is_the_end() {
    run(|| async {
        let mut member = Member::listening().await;
        let mut peer = TcpStream::connect(member.address(Door::Quorum)).unwrap();
        let wire = member.hear_accepted().await;
        peer.write_all(b"last words").unwrap();
        assert_eq!(member.hear_bytes(wire, 10).await, b"last words");
        sockopt::set_socket_linger(&peer, Some(Duration::ZERO)).unwrap();
        drop(peer);
        assert_eq!(member.hear_reason(wire).await, "reset by the peer");
        member.send(wire, "nobody hears");
        member.hear_nothing().await;
        assert!(member.links.is_quiet());
    });
}

#[test]
fn what_a_peer_sent_before_it_closed_arrives_though_nothing_can_be_sent_to_it() {
    run(|| async {
        let mut member = Member::listening().await;
        let mut peer = TcpStream::connect(member.address(Door::Election)).unwrap();
        let wire = member.hear_accepted().await;
        peer.write_all(b"knock").unwrap();
        drop(peer);
        // The first is answered with a reset, and the second fails.
        member.send(wire, "who is there?");
        sleep(Duration::from_millis(5)).await;
        member.send(wire, "who?");
        let heard = member.hear_bytes(wire, 5).await;
        assert_eq!(heard, b"knock");
        member.hear_reason(wire).await;
        member.hear_nothing().await;
    });
}

#[test]
fn only_so_many_connections_are_taken_in() {
    run(|| async {
        let mut member = Member::of(LinkSettings { accepted_max: 2, ..loopback() });
        member.until(|links| links.listening().len() == 2).await;
        let address = member.address(Door::Election);
        let first = TcpStream::connect(address).unwrap();
        let _second = TcpStream::connect(address).unwrap();
        let (first_wire, _) = (member.hear_accepted().await, member.hear_accepted().await);
        let mut third = TcpStream::connect(address).unwrap();
        member.hear_nothing().await;
        assert_eq!(third.read(&mut [0; 1]).unwrap(), 0, "it was closed");
        drop(first);
        member.hear_reason(first_wire).await;
        let _fourth = TcpStream::connect(address).unwrap();
        member.hear_accepted().await;
    });
}

#[test]
fn the_end_closes_everything_and_sends_what_waits() {
    run(|| async {
        let (left, dialled, mut right, accepted) = pair().await;
        let (full, _socket, _queued) = full_listener();
        left.dial(2, full);
        let doors = [left.address(Door::Election), left.address(Door::Quorum)];
        let last = vec![9; 3 << 20];
        left.say([ToLink::Send { wire: dialled, bytes: last.clone().into() }, ToLink::End]);
        left.links.ended.wait().await;
        assert!(right.hear_bytes(accepted, last.len()).await == last);
        assert_eq!(right.hear_reason(accepted).await, "closed by the peer");
        left.until(Links::is_quiet).await;
        left.say([ToLink::Dial { wire: WireId::dialled(3), host: "127.0.0.1".into(), port: 1, timeout_ms: 1000 }]);
        sleep(SILENCE).await;
        for door in doors {
            let refused = TcpStream::connect(door).unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        }
    });
}

/// Forty connections bring more than the mailbox between two executors holds, while nobody takes anything out of it.
#[test]
fn a_replica_elsewhere_that_is_slow_misses_nothing() {
    const PEERS: usize = 40;
    let ((to_link, from_replica), (to_replica, from_link)) = (far::<ToLink>(), far::<FromLink>());
    let builder = || LocalExecutorBuilder::new(Placement::Unbound).io_memory(64 << 10);
    let link = builder().spawn(move || async move {
        let relief = Rc::new(Notify::default());
        let (from_replica, to_replica) = (from_replica.connect().await, to_replica.connect(Rc::clone(&relief)).await);
        let links = Rc::new(Links::new(loopback(), to_replica, Stop::default()));
        links.listen();
        glommio::spawn_local(Rc::clone(&links).hear_far_replica(from_replica)).detach();
        glommio::spawn_local(Rc::clone(&links).hear_relief(relief)).detach();
        while links.listening().len() < 2 {
            sleep(Duration::from_millis(1)).await;
        }
        let address = links.listening()[0].1;
        for number in 0..PEERS {
            let bytes = vec![number as u8; UNREAD_MAX_BYTES];
            thread::spawn(move || {
                let mut peer = TcpStream::connect(address).unwrap();
                peer.write_all(&bytes).unwrap();
                assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0, "closed at the end");
            });
        }
        links.ended.wait().await;
        while !links.is_quiet() {
            sleep(Duration::from_millis(1)).await;
        }
    });
    let replica = builder().spawn(move || async move {
        let relief = Rc::new(Notify::default());
        let (to_link, from_link) = (to_link.connect(relief).await, from_link.connect().await);
        sleep(SILENCE * 3).await;
        let (mut by_wire, mut total) = (HashMap::new(), 0);
        while total < PEERS * UNREAD_MAX_BYTES {
            for message in from_link.receive().await.unwrap() {
                let FromLink::Bytes(wire, bytes) = message else { continue };
                total += bytes.len();
                let (first, len) = by_wire.entry(wire).or_insert((bytes[0], 0));
                assert!(bytes.iter().all(|byte| byte == first), "bytes of another connection");
                *len += bytes.len();
                to_link.post(ToLink::Taken { wire, len: bytes.len() });
            }
            to_link.dispatch();
        }
        assert!(by_wire.len() == PEERS && by_wire.values().all(|(_, len)| *len == UNREAD_MAX_BYTES));
        to_link.post(ToLink::End);
        to_link.dispatch();
        while !to_link.is_drained() {
            sleep(Duration::from_millis(1)).await;
        }
    });
    link.unwrap().join().unwrap();
    replica.unwrap().join().unwrap();
}
