//! Writes the seed corpora to `fuzz/corpus/<target>/`: what ZooKeeper and its clients sent (from the repository's
//! captures), what our own encoders write, and a dictionary for zoo.cfg.
//!
//! Seeds are made and not kept, so that they follow the formats and a change of one can't leave stale ones behind.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use futures_lite::future::block_on;
use net::jute::{Reader, Writer, encode};
use net::opcode::OpCode;
use net::record::{
    Acl, AddWatchRequest, AuthPacket, CheckVersionRequest, ConnectRequest, ConnectResponse, CreateRequest,
    CreateTtlRequest, DeleteRequest, GetChildrenRequest, GetDataRequest, GetEphemeralsRequest, MultiOp, MultiReadOp,
    MultiReadRequest, MultiRequest, MultiResponse, MultiResult, PASSWORD_LEN, ReconfigRequest, Request, SaslRequest,
    SetAclRequest, SetDataRequest, SetDataResponse, SetWatches2, Stat,
};
use storage::record::{BATCH_HEADER_LEN, Batch, Home, Position, encode_record, record_len};
use storage::segment::{BATCHES_AT, Header};
use storage::snapshot::SnapshotWriter;
use storage::{Disk, MemDisk, Register};

fn main() {
    let requests: Vec<Vec<u8>> = requests().iter().map(request_seed).collect();
    write("fuzz_request", &requests);
    write("fuzz_frame", &frames(&requests));
    write("fuzz_connect", &handshakes());
    write("fuzz_multi", &multis());
    write("fuzz_quorum", &quorum());
    write("fuzz_election", &elections());
    write("fuzz_config_text", &ensemble_configs());
    write("fuzz_peer_packet", &captures("net/testdata/"));
    write("fuzz_txn", &txns());
    write("fuzz_snapshot", &snapshots());
    write("fuzz_zoo_cfg", &zoo_cfgs());
    write("fuzz_quota_text", &quotas());
    write("fuzz_segment", &[segment(), segment()[BATCHES_AT as usize..].to_vec()]);
    write("fuzz_record", &[records()]);
    write("fuzz_register", &[register()]);
    write("fuzz_snapshot_file", &[snapshot_file(b"some state"), snapshot_file(&[])]);
    fs::write(home().join("corpus/zoo_cfg.dict"), dictionary()).expect("fuzz/corpus is writable");
}

fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn write(target: &str, seeds: &[Vec<u8>]) {
    let folder = home().join("corpus").join(target);
    fs::create_dir_all(&folder).expect("fuzz/corpus is writable");
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(folder.join(format!("seed-{number:02}")), seed).expect("fuzz/corpus is writable");
    }
    println!("{target}: {} seeds", seeds.len());
}

fn requests() -> Vec<Request<'static>> {
    let text = Cow::Borrowed;
    let create = |path| CreateRequest { path: Some(text(path)), data: Some(b"value"), acl: Some(acl()), flags: 0 };
    let paths = || Some(vec![Some(text("/a")), None, Some(text("/b/c"))]);
    vec![
        Request::Create(create("/a")),
        Request::Create2(create("/b/\u{e9}")),
        Request::CreateTtl(CreateTtlRequest {
            path: Some(text("/t")),
            data: None,
            acl: Some(acl()),
            flags: 5,
            ttl_ms: 1000,
        }),
        Request::Delete(DeleteRequest { path: Some(text("/a")), version: -1 }),
        Request::GetData(GetDataRequest { path: text("/a"), watch: true }),
        Request::SetData(SetDataRequest { path: Some(text("/a")), data: Some(b"x"), version: 7 }),
        Request::SetAcl(SetAclRequest { path: Some(text("/a")), acl: Some(acl()), version: 0 }),
        Request::GetEphemerals(GetEphemeralsRequest { prefix_path: None }),
        Request::Multi(writes()),
        Request::MultiRead(reads()),
        Request::Reconfig(ReconfigRequest {
            joining_servers: Some(text("server.1=a:1:2;3")),
            leaving_servers: None,
            new_members: None,
            cur_config_id: -1,
        }),
        Request::SetWatches2(SetWatches2 {
            relative_zxid: 5,
            data_watches: paths(),
            exist_watches: paths(),
            child_watches: None,
            persistent_watches: paths(),
            persistent_recursive_watches: paths(),
        }),
        Request::AddWatch(AddWatchRequest { path: Some(text("/a")), mode: 1 }),
        Request::Auth(AuthPacket { auth_type: 0, scheme: Some(text("digest")), auth: Some(b"a:b") }),
        Request::Sasl(SaslRequest { token: Some(b"token") }),
        Request::WhoAmI,
    ]
}

fn acl() -> Vec<Acl<'static>> {
    vec![Acl::new(31, "world", "anyone"), Acl::new(5, "digest", "a:b=")]
}

/// The place of the opcode in its list, and the body.
fn request_seed(request: &Request<'_>) -> Vec<u8> {
    let place = OpCode::ALL.iter().position(|op| *op == request.op()).expect("all opcodes are listed");
    let mut seed = vec![u8::try_from(place).expect("fewer than 256 opcodes")];
    request.encode(&mut Writer::new(&mut seed));
    seed
}

fn frames(bodies: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let framed = |body: &Vec<u8>| [&(body.len() as u32).to_be_bytes()[..], body].concat();
    vec![b"ruok".to_vec(), bodies.iter().take(4).flat_map(framed).collect(), framed(&vec![])]
}

/// Of clients that know the readOnly byte and of older ones: a new session, a known one, and the answers.
fn handshakes() -> Vec<Vec<u8>> {
    let password = Some(&[7; PASSWORD_LEN][..]);
    let new = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout_ms: 30_000,
        session_id: 0,
        password: None,
        read_only: Some(true),
    };
    let known = ConnectRequest { last_zxid_seen: 9, session_id: 0x1234, password, read_only: None, ..new };
    let granted = ConnectResponse {
        protocol_version: 0,
        timeout_ms: 30_000,
        session_id: 0x1234,
        password,
        read_only: Some(false),
    };
    vec![encode(&new), encode(&known), encode(&granted), encode(&ConnectResponse::refused(None))]
}

fn writes() -> MultiRequest<'static> {
    let path = || Some(Cow::Borrowed("/a"));
    let create = || CreateRequest { path: path(), data: None, acl: Some(acl()), flags: 3 };
    MultiRequest {
        ops: vec![
            MultiOp::Create(create()),
            MultiOp::Create2(create()),
            MultiOp::CreateContainer(create()),
            MultiOp::CreateTtl(CreateTtlRequest { path: path(), data: Some(b"d"), acl: None, flags: 6, ttl_ms: 1 }),
            MultiOp::SetData(SetDataRequest { path: path(), data: Some(b"e"), version: 1 }),
            MultiOp::Check(CheckVersionRequest { path: path(), version: 2 }),
            MultiOp::Delete(DeleteRequest { path: path(), version: -1 }),
        ],
    }
}

fn reads() -> MultiReadRequest<'static> {
    let path = || Cow::Borrowed("/a");
    MultiReadRequest {
        ops: vec![
            MultiReadOp::GetData(GetDataRequest { path: path(), watch: false }),
            MultiReadOp::GetChildren(GetChildrenRequest { path: path(), watch: false }),
        ],
    }
}

fn multis() -> Vec<Vec<u8>> {
    let results = vec![
        MultiResult::Delete,
        MultiResult::SetData(SetDataResponse { stat: Stat::default() }),
        MultiResult::Check,
        MultiResult::Error(-101),
    ];
    vec![encode(&writes()), encode(&reads()), encode(&MultiResponse { results })]
}

/// A capture of some test's.
fn captured(path: &Path) -> Vec<u8> {
    let hex = fs::read_to_string(path).expect("a capture is one line of hex");
    let digit_pairs = hex.trim().as_bytes().chunks(2).map(|pair| str::from_utf8(pair).expect("hex is ASCII"));
    digit_pairs.map(|pair| u8::from_str_radix(pair, 16).expect("hex")).collect()
}

/// The captures of the codec's tests whose names contain `part`, in their names' order.
fn captures(part: &str) -> Vec<Vec<u8>> {
    let folders = ["../src/server/codec/testdata", "../net/testdata"].map(|folder| home().join(folder));
    let listed = folders.iter().flat_map(|folder| fs::read_dir(folder).expect("the captures are there"));
    let mut paths: Vec<PathBuf> = listed.map(|entry| entry.expect("listed").path()).collect();
    captures_in("../src/server/codec/testdata", part)
}

/// Connections from their start, and single notifications without their length; one of them as servers of ours send it.
fn elections() -> Vec<Vec<u8>> {
    let notifications = captures_in("../net/testdata", "_notification_");
    let connections = captures_in("../net/testdata", "_initial_").into_iter().map(|initial| {
        let frames = notifications.iter().flatten().copied();
        initial.into_iter().chain(frames).collect::<Vec<u8>>()
    });
    let mut ours = Vec::new();
    let mut notification = net::election::decode_notification(&notifications[0][4..]).expect("a capture");
    notification.capabilities = Some(0);
    net::election::encode_notification(&notification, &mut ours);
    let bodies = notifications.iter().chain([&ours]).map(|frame| frame[4..].to_vec());
    connections.chain(bodies).collect()
}

/// What the captured notifications carry, and a configuration with every kind of line.
fn ensemble_configs() -> Vec<Vec<u8>> {
    let every = "server.1=a:1:2|b:3:4:observer;2181\nserver.2=[::1]:5:6;[::]:7\ngroup.1=1:2\nweight.2=3\nversion=1f";
    let frames = captures_in("../net/testdata", "_notification_");
    let config = |frame: &Vec<u8>| {
        let notification = net::election::decode_notification(&frame[4..]).expect("a capture");
        notification.config.map(|text| text.into_owned().into_bytes())
    };
    frames.iter().filter_map(config).chain([every.as_bytes().to_vec()]).collect()
}

fn captures_in(folder: &str, part: &str) -> Vec<Vec<u8>> {
    let folder = home().join(folder);
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).expect("the captures are there").map(|entry| entry.expect("listed").path()).collect();
    paths.sort();
    paths.retain(|path| path.to_string_lossy().contains(part));
    assert!(!paths.is_empty(), "no capture is named {part}");
    paths.iter().map(|path| captured(path)).collect()
}

/// Packets of the quorum port: each alone, and all in a row.
fn quorum() -> Vec<Vec<u8>> {
    let mut packets = captures("net/testdata/");
    packets.push(packets.concat());
    packets
}

/// The data of captured packets: type i32, zxid i64, data buffer.
fn txns() -> Vec<Vec<u8>> {
    let entry = |packet: Vec<u8>| {
        let mut reader = Reader::new(packet.get(12..).expect("a packet has a header"));
        reader.buffer().expect("a packet's data is whole").expect("and not null").to_vec()
    };
    ["_INFORM_", "_PROPOSAL_"].into_iter().flat_map(captures).map(entry).collect()
}

/// Snapshot bodies: a file's begins behind 16 bytes, a stream is one.
fn snapshots() -> Vec<Vec<u8>> {
    let files = captures("_snapshot_").into_iter().map(|file| file[16..].to_vec());
    files.chain(captures("_SNAP_stream")).collect()
}

/// A file as most have it, one with every syntax of the format, one per form of server line.
fn zoo_cfgs() -> Vec<Vec<u8>> {
    let usual = "tickTime=2000\ndataDir=/var/lib/zookeeper\nclientPort=2181\nmaxClientCnxns=60\n\
                 autopurge.snapRetainCount=3\nautopurge.purgeInterval=1\n4lw.commands.whitelist=ruok, stat\n";
    let syntax =
        "# comment\n! comment\n a\\ key : value \\\n   continued\nb\\u0041\\ud83d\\ude00=\\t\\n\nempty\n=x\r\n";
    let servers = "server.1=zoo1:2888:3888\nserver.2=[::1]:2888:3888:observer;[::]:2181\n\
                   server.3=a:1:2|b:1:2:participant;2181\ngroup.1=1:2\nweight.1=3\n";
    [usual, syntax, servers].map(|text| text.as_bytes().to_vec()).to_vec()
}

/// As ZooKeeper's tools write them, of one version and another.
fn quotas() -> Vec<Vec<u8>> {
    ["count=5,bytes=10", "count=5,bytes=-1=;byteHardLimit=2;countHardLimit=3"]
        .map(|text| text.as_bytes().to_vec())
        .to_vec()
}

/// Names of settings, from the list of the effective ones that the configuration's tests keep.
fn dictionary() -> String {
    let listed = home().join("../src/config/load/effective.golden");
    let listed = fs::read_to_string(listed).expect("the list is there");
    let names = listed.lines().filter_map(|line| Some(line.split_once('=')?.0));
    let words = ["ringkeeper.", "zookeeper.", "server.1=", ":observer", "auto", "true", "false", "dynamicConfigFile="];
    names.map(|name| format!("\"{name}=\"\n")).chain(words.map(|word| format!("\"{word}\"\n"))).collect()
}

/// A segment of three batches with two records each. The target also takes batches without a header.
fn segment() -> Vec<u8> {
    let home = Home { salt: 3, index: 1 };
    let mut bytes = vec![0; BATCHES_AT as usize];
    Header { home, segment_len: 65536, prev_seq: 0, prev_end: 0, link: 5, cut: 0 }.encode(&mut bytes);
    let mut chain = 5;
    for first_seq in [1, 3, 5] {
        let at = bytes.len();
        bytes.resize(at + BATCH_HEADER_LEN, 0);
        let end_chain = append_records(first_seq, chain, &mut bytes);
        let len = u32::try_from(bytes.len() - at - BATCH_HEADER_LEN).expect("a small batch");
        let durable = Position { index: 1, offset: at as u64 };
        let batch = Batch { home, durable, len, count: 2, flags: 0, chain, end_chain };
        batch.encode(at as u64, &mut bytes[at..]);
        chain = end_chain;
    }
    bytes
}

/// The number of records in a byte, and the records.
fn records() -> Vec<u8> {
    let mut bytes = vec![2];
    append_records(1, 0, &mut bytes);
    bytes
}

/// Two records; returns the chain behind them.
fn append_records(first_seq: u64, mut chain: u32, out: &mut Vec<u8>) -> u32 {
    for (seq, payload) in [(first_seq, &b"a payload"[..]), (first_seq + 1, b"")] {
        let at = out.len();
        out.resize(at + record_len(payload.len()), 0);
        chain = encode_record(chain, seq, &[payload], &mut out[at..]);
    }
    chain
}

/// With a value in each slot.
fn register() -> Vec<u8> {
    let (disk, path) = (MemDisk::new(), PathBuf::from("/r/register"));
    block_on(async {
        disk.create_dir(Path::new("/r")).await.expect("memory");
        let (register, _) = Register::open(&disk, &path).await.expect("memory");
        for value in [&b"one"[..], b"another"] {
            register.save(value).await.expect("memory");
        }
    });
    disk.bytes(&path).expect("it was made")
}

fn snapshot_file(payload: &[u8]) -> Vec<u8> {
    let (disk, dir) = (MemDisk::new(), PathBuf::from("/s"));
    block_on(async {
        disk.create_dir(&dir).await.expect("memory");
        let mut writer = SnapshotWriter::create(disk.clone(), &dir, 9).await.expect("memory");
        writer.write(payload).await.expect("memory");
        writer.finish(b"metadata").await.expect("memory");
    });
    disk.bytes(&dir.join(storage::snapshot::name(9))).expect("a finished snapshot has its name")
}
