//! Connections over loopback: the peer is a blocking socket on a thread, or a task of the same executor.

use std::{
    io::{Read, Write},
    net::TcpStream as Peer,
    thread,
};

use bytes::Bytes;
use glommio::{LocalExecutorBuilder, Placement};

use super::*;
use crate::{
    frame::LEN_MAX_DEFAULT,
    listener::{ListenAddress, ListenOptions, Listener},
    record::ReplyHeader,
};

/// Runs `server` with one accepted connection whose other end `client` has on a thread of its own.
fn with_peer<C, R, S, F>(client: C, server: S) -> R
where
    C: FnOnce(Peer) -> R + Send + 'static,
    R: Send + 'static,
    S: FnOnce(Rc<Connection>, ReceiveBuffer) -> F,
    F: Future<Output = ()>,
{
    let executor = LocalExecutorBuilder::new(Placement::Unbound).make().unwrap();
    executor.run(async {
        let pool = Pool::new();
        let loopback = ListenAddress::At("127.0.0.1:0".parse().unwrap());
        let listener = Listener::bind(loopback, &ListenOptions::default(), &pool).unwrap();
        let address = listener.local_addr().unwrap();
        let client = thread::spawn(move || client(Peer::connect(address).unwrap()));
        let connection = Rc::new(listener.accept().await.unwrap());
        server(connection, ReceiveBuffer::new(&pool)).await;
        client.join().unwrap()
    })
}

async fn next_frame(connection: &Connection, inbox: &mut ReceiveBuffer) -> Option<Vec<u8>> {
    loop {
        if let Some(frame) = inbox.next_frame(LEN_MAX_DEFAULT).unwrap() {
            return Some(frame.bytes().to_vec());
        }
        if connection.receive(inbox).await.unwrap() == 0 {
            return None;
        }
    }
}

fn answer(connection: &Connection, value: &Bytes) {
    let mut outbox = connection.outbox();
    let mut frame = outbox.frame();
    frame.shared_buffer(value);
    frame.finish();
}

#[test]
fn frames_are_answered_and_the_end_is_seen() {
    let client = |mut peer: Peer| {
        for body in [&b"first"[..], b"", b"third"] {
            let frame = [&u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat();
            peer.write_all(&frame[..2]).unwrap();
            thread::sleep(Duration::from_millis(5));
            peer.write_all(&frame[2..]).unwrap();
        }
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answers = Vec::new();
        peer.read_to_end(&mut answers).unwrap();
        answers
    };
    let answers = with_peer(client, |connection, mut inbox| async move {
        while let Some(frame) = next_frame(&connection, &mut inbox).await {
            connection.outbox().raw(&frame);
            assert_eq!(connection.try_flush().unwrap(), Flushed::All);
        }
    });
    assert_eq!(answers, b"firstthird");
}

#[test]
fn a_slow_reader_gets_everything_in_order() {
    const VALUES: usize = 200;
    let client = |mut peer: Peer| {
        thread::sleep(Duration::from_millis(50));
        let mut answers = Vec::new();
        peer.read_to_end(&mut answers).unwrap();
        answers
    };
    let value = |nr: usize| Bytes::from(vec![u8::try_from(nr).unwrap(); 100_000 * (nr % 3) + 10]);
    let answers = with_peer(client, |connection, _| async move {
        (0..VALUES / 2).for_each(|nr| answer(&connection, &value(nr)));
        let mut flushed = Flushed::All;
        for _ in 0..1000 {
            flushed = connection.try_flush().unwrap();
        }
        assert_eq!(flushed, Flushed::Remainder, "more than any socket takes");
        let flushing = {
            let connection = Rc::clone(&connection);
            glommio::spawn_local(async move { connection.flush().await.unwrap() })
        };
        glommio::executor().yield_now().await;
        (VALUES / 2..VALUES).for_each(|nr| answer(&connection, &value(nr)));
        assert_eq!(connection.try_flush().unwrap(), Flushed::Underway);
        flushing.await;
        assert_eq!((connection.pending_bytes(), connection.try_flush().unwrap()), (0, Flushed::All));
    });
    let mut inbox = crate::jute::Reader::new(&answers);
    for nr in 0..VALUES {
        let mut frame = crate::jute::Reader::new(inbox.buffer().unwrap().unwrap());
        assert!(frame.buffer().unwrap().unwrap() == value(nr), "value {nr}");
    }
    assert!(inbox.rest().is_empty());
}

#[test]
fn close_wakes_the_reader_and_the_writer() {
    // The peer never reads or writes; it ends when we do.
    let client = |mut peer: Peer| {
        thread::sleep(Duration::from_millis(300));
        let mut sink = Vec::new();
        let _ = peer.read_to_end(&mut sink);
    };
    with_peer(client, |connection, mut inbox| async move {
        (0..100).for_each(|_| answer(&connection, &Bytes::from(vec![0; 100_000])));
        let writer = {
            let connection = Rc::clone(&connection);
            glommio::spawn_local(async move { connection.flush().await })
        };
        let reader = {
            let connection = Rc::clone(&connection);
            glommio::spawn_local(async move { connection.receive(&mut inbox).await })
        };
        glommio::timer::sleep(Duration::from_millis(20)).await;
        connection.close();
        connection.close();
        assert_eq!(reader.await.unwrap(), 0);
        assert!(writer.await.is_err());
        assert!(connection.try_flush().is_err(), "a closed connection takes nothing more");
    });
}

#[test]
fn a_closed_connection_hands_out_nothing_more() {
    let client = |mut peer: Peer| {
        peer.write_all(&[0; 100]).unwrap();
        thread::sleep(Duration::from_millis(50));
    };
    with_peer(client, |connection, mut inbox| async move {
        glommio::timer::sleep(Duration::from_millis(20)).await;
        connection.close();
        assert_eq!(connection.receive(&mut inbox).await.unwrap(), 0);
    });
}

#[test]
fn a_flood_leaves_room_for_others() {
    let client = |mut peer: Peer| {
        let flood = vec![0; 1 << 20];
        while peer.write_all(&flood).is_ok() {}
    };
    with_peer(client, |connection, mut inbox| async move {
        let reader = {
            let connection = Rc::clone(&connection);
            glommio::spawn_local(async move {
                let mut received = 0;
                while connection.receive(&mut inbox).await.unwrap() > 0 {
                    received += inbox.bytes().len();
                    inbox.skip(inbox.bytes().len());
                }
                received
            })
        };
        // Would never end if the reader kept the executor to itself.
        glommio::timer::sleep(Duration::from_millis(100)).await;
        connection.close();
        assert!(reader.await > 1 << 20);
    });
}

#[test]
fn a_cancelled_flush_leaves_the_rest_to_the_next_one() {
    let client = |mut peer: Peer| {
        thread::sleep(Duration::from_millis(50));
        let mut answers = Vec::new();
        peer.read_to_end(&mut answers).unwrap();
        answers.len()
    };
    let received = with_peer(client, |connection, _| async move {
        (0..100).for_each(|_| answer(&connection, &Bytes::from(vec![0; 100_000])));
        let cancelled = glommio::timer::timeout(Duration::from_millis(5), async { Ok(connection.flush().await?) });
        assert!(cancelled.await.is_err());
        connection.flush().await.unwrap();
    });
    assert_eq!(received, 100 * 100_008);
}

#[test]
fn the_last_reply_survives_bytes_that_nobody_read() {
    let client = |mut peer: Peer| {
        // More than one receive takes in, so that plain closing would reset the connection.
        peer.write_all(&vec![0; 200_000]).unwrap();
        thread::sleep(Duration::from_millis(50));
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).unwrap();
        answer
    };
    let answer = with_peer(client, |connection, mut inbox| async move {
        connection.receive(&mut inbox).await.unwrap();
        connection.outbox().reply_header(ReplyHeader { xid: 1, zxid: 2, err: 0 });
        connection.finish(&mut inbox, Duration::from_secs(5)).await;
    });
    assert_eq!(answer.len(), 20);
}

#[test]
fn finish_does_not_wait_for_a_peer_that_stays() {
    let client = |mut peer: Peer| {
        let mut answer = [0; 20];
        peer.read_exact(&mut answer).unwrap();
        thread::sleep(Duration::from_millis(200));
    };
    with_peer(client, |connection, mut inbox| async move {
        connection.outbox().reply_header(ReplyHeader { xid: 1, zxid: 2, err: 0 });
        connection.finish(&mut inbox, Duration::from_millis(20)).await;
        assert!(connection.is_closed());
    });
}

#[test]
fn a_connection_is_small() {
    // With glommio's poll (about 400 bytes) and the task, this decides what ten thousand idle clients cost.
    assert!(size_of::<Connection>() <= 512, "{}", size_of::<Connection>());
    assert!(size_of::<ReceiveBuffer>() <= 64, "{}", size_of::<ReceiveBuffer>());
}
