//! Captured packets: what ZooKeeper 3.8.0 sent on its quorum port, and what it took for its own. One line of hex each.
//!
//! `q..` were exchanged between a leader of ZooKeeper's and a learner, `j..` were sent by ZooKeeper as a learner.

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.trim().as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

macro_rules! captured {
    ($($file:literal),* $(,)?) => { [$(($file, include_str!(concat!("../testdata/", $file, ".hex")))),*] };
}

/// Every captured packet by its name.
pub(super) fn packets() -> Vec<(&'static str, Vec<u8>)> {
    let all = captured![
        "q01_OBSERVERINFO",
        "q02_LEADERINFO",
        "q03_ACKEPOCH",
        "q04_SNAP_header",
        "q06_NEWLEADER",
        "q07_ACK_newleader",
        "q08_UPTODATE",
        "q09_PING_from_leader",
        "q10_PING_reply_empty",
        "q11_DIFF_header",
        "q12_PROPOSAL_failed_multi_from_committedLog",
        "q13_COMMIT",
        "q14_TRUNC_header",
        "q15_PROPOSAL_reconfig",
        "q16_COMMITANDACTIVATE",
        "q17_INFORMANDACTIVATE",
        "q19_SYNC_reply",
        "q20_REVALIDATE_request",
        "q21_REVALIDATE_reply_valid",
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
    ];
    all.map(|(name, hex)| (name, bytes(hex))).to_vec()
}

/// The packet whose name starts like this.
pub(super) fn packet(start: &str) -> Vec<u8> {
    let (_, bytes) = packets().into_iter().find(|(name, _)| name.starts_with(start)).unwrap();
    bytes
}
