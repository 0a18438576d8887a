//! The wire's share of a request: splitting frames, decoding requests, encoding replies.
//!
//! One iteration is a receive buffer of 64 frames, as a saturated connection delivers them, or the 64 replies to them;
//! criterion divides by 64. Data of 100 B, paths of 15.

use std::borrow::Cow;
use std::hint::black_box;

use benches::fleet::DATA;
use benches::request::{PARENT, Template, node_path};
use criterion::{Criterion, Throughput};
use net::buffer::{Pool, ReplyBuffer};
use net::frame::{HEADER_LEN, LEN_MAX_DEFAULT, Split, split};
use net::jute::{Reader, Record};
use net::opcode::OpCode;
use net::record::{
    CreateResponse, GetDataResponse, ReplyHeader, Request, RequestHeader, SetDataResponse, Stat, WatcherEvent,
};

/// Frames per iteration.
const FRAMES: u32 = 64;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    requests(&mut criterion);
    replies(&mut criterion);
    criterion.final_summary();
}

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("split_and_decode");
    group.throughput(Throughput::Elements(FRAMES.into()));
    let kinds = [
        ("set", Template::set(&DATA)),
        ("create", Template::create(&DATA)),
        ("get", Template::read()),
        ("children", Template::children_of(PARENT)),
    ];
    for (name, template) in kinds {
        let mut received = Vec::new();
        (0..FRAMES).for_each(|number| template.append(&mut received, 1, number));
        group.bench_function(name, |bencher| bencher.iter(|| decode_all(black_box(&received))));
    }
    group.finish();
}

/// What the server does with received bytes before it knows what they ask.
fn decode_all(mut received: &[u8]) -> u32 {
    let mut decoded = 0;
    while let Ok(Split::Frame { body_len }) = split(received, LEN_MAX_DEFAULT) {
        let (frame, rest) = received.split_at(HEADER_LEN + body_len);
        let mut reader = Reader::new(&frame[HEADER_LEN..]);
        let header = RequestHeader::decode(&mut reader).expect("our own frame");
        let op = OpCode::from_wire(header.op).expect("our own frame");
        let request = Request::decode(op, reader.rest()).expect("a client's opcode").expect("our own frame");
        black_box(&request);
        received = rest;
        decoded += 1;
    }
    assert_eq!(decoded, FRAMES);
    decoded
}

fn replies(criterion: &mut Criterion) {
    let stat = Stat { czxid: 1, mzxid: 2, version: 3, data_length: 100, ..Stat::default() };
    let path = node_path(7);
    let mut group = criterion.benchmark_group("encode_reply");
    group.throughput(Throughput::Elements(FRAMES.into()));
    let pool = Pool::new();
    let mut bench = |name: &str, encode: &dyn Fn(&mut ReplyBuffer, ReplyHeader)| {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut replies = ReplyBuffer::new(&pool);
                for xid in 0..64 {
                    encode(&mut replies, ReplyHeader { xid, zxid: 9, err: 0 });
                }
                black_box(replies.pending_bytes())
            });
        });
    };
    bench("set", &|replies, header| replies.reply(header, &SetDataResponse { stat }));
    bench("get", &|replies, header| replies.reply(header, &GetDataResponse { data: Some(&DATA), stat }));
    bench("create", &|replies, header| replies.reply(header, &CreateResponse { path: Cow::from(&path) }));
    bench("notification", &|replies, header| {
        replies.reply(ReplyHeader { xid: -1, ..header }, &WatcherEvent::new(3, &path));
    });
    group.finish();
}
