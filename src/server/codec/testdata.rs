//! Captured bytes: what ZooKeeper 3.8.0 and 3.9.3 wrote to disk and to an observer, as one line of hex each.

use net::jute::Reader;

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.trim().as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Packets of the quorum port, by name: `net` has them.
macro_rules! packets {
    ($($file:literal),* $(,)?) => {
        [$(($file, bytes(include_str!(concat!("../../../net/testdata/", $file, ".hex"))))),*]
    };
}

/// What a leader of ZooKeeper's sent to a learner.
pub(super) fn from_leader() -> Vec<(&'static str, Vec<u8>)> {
    packets![
        "q02_LEADERINFO",
        "q04_SNAP_header",
        "q06_NEWLEADER",
        "q08_UPTODATE",
        "q09_PING_from_leader",
        "q11_DIFF_header",
        "q12_PROPOSAL_failed_multi_from_committedLog",
        "q13_COMMIT",
        "q14_TRUNC_header",
        "q15_PROPOSAL_reconfig",
        "q16_COMMITANDACTIVATE",
        "q17_INFORMANDACTIVATE",
        "q19_SYNC_reply",
        "q21_REVALIDATE_reply_valid",
    ]
    .to_vec()
}

/// What learners sent to a leader: ZooKeeper's, or a script that ZooKeeper took for one.
pub(super) fn from_learner() -> Vec<(&'static str, Vec<u8>)> {
    packets![
        "q01_OBSERVERINFO",
        "q03_ACKEPOCH",
        "q07_ACK_newleader",
        "q10_PING_reply_empty",
        "q20_REVALIDATE_request",
        "j01_FOLLOWERINFO_from_java_sid2",
        "j02_ACKEPOCH_from_java",
        "j03_ACK_newleader_from_java",
        "j04_ACK_after_uptodate_from_java",
        "j05_PING_reply_from_java",
        "j06_PING_reply_with_touch_from_java",
        "j07_ACK_proposal_from_java",
        "j08_REVALIDATE_from_java",
        "j1_REQUEST_type_-10_from_java",
        "j1_REQUEST_type_1_from_java",
        "j1_REQUEST_type_9_from_java",
        "j1_REQUEST_type_-11_from_java",
    ]
    .to_vec()
}

macro_rules! captured {
    ($($file:literal),* $(,)?) => { [$(include_str!(concat!("testdata/", $file, ".hex"))),*] };
}

/// The entries of sixteen transactions in order, zxid 0x100000001 to 0x100000010: createSession, create, ephemeral,
/// sequential, container, TTL, null data with a non-ASCII name, setData, create2, setACL, delete, error, multi, failed
/// multi, createSession, closeSession.
pub(super) fn entries() -> Vec<Vec<u8>> {
    let packets = captured![
        "i_INFORM_00000001_createSession",
        "i_INFORM_00000002_create",
        "i_INFORM_00000003_create",
        "i_INFORM_00000004_create",
        "i_INFORM_00000005_createContainer",
        "i_INFORM_00000006_createTTL",
        "i_INFORM_00000007_create",
        "i_INFORM_00000008_setData",
        "i_INFORM_00000009_create2",
        "i_INFORM_0000000a_setACL",
        "i_INFORM_0000000b_delete",
        "i_INFORM_0000000c_error",
        "i_INFORM_0000000d_multi",
        "i_INFORM_0000000e_multi",
        "i_INFORM_0000000f_createSession",
        "i_INFORM_00000010_closeSession",
    ];
    packets.map(packet_data).to_vec()
}

/// The failed multi among them, sent again by a leader: every operation has type -1 and its old body.
pub(super) fn failed_multi_again() -> Vec<u8> {
    packet_data(include_str!("../../../net/testdata/q12_PROPOSAL_failed_multi_from_committedLog.hex"))
}

/// A QuorumPacket's data: type i32, zxid i64, data buffer, authinfo vector.
fn packet_data(hex: &str) -> Vec<u8> {
    let packet = bytes(hex);
    let mut reader = Reader::new(&packet);
    reader.i32().unwrap();
    reader.i64().unwrap();
    reader.buffer().unwrap().unwrap().to_vec()
}

/// The entries of a log file: header of 16 bytes, then checksum i64, length i32, entry, 'B'.
pub(super) fn log_entries() -> Vec<Vec<u8>> {
    let [file] = captured!["d01_txnlog_380_log.100000001"];
    let file = bytes(file);
    let mut reader = Reader::new(&file[16..]);
    let mut entries = Vec::new();
    while reader.rest().len() > 12 {
        reader.i64().unwrap();
        entries.push(reader.buffer().unwrap().unwrap().to_vec());
        assert_eq!(reader.u8().unwrap(), b'B');
    }
    entries
}

/// Snapshot files of the tree after those transactions, written by 3.8.0 and 3.9.3. The body begins behind a header of
/// 16 bytes.
pub(super) fn snapshots() -> [Vec<u8>; 2] {
    captured!["d02_snapshot_380", "d03_snapshot_393"].map(bytes)
}

/// The stream that an empty leader sends, with its end mark.
pub(super) fn empty_stream() -> Vec<u8> {
    let [stream] = captured!["q05_SNAP_stream_empty_tree"];
    bytes(stream)
}
