//! Captured transactions, old formats, and damage.

use super::super::testdata;
use super::*;

fn encoded(txn: &Txn) -> Vec<u8> {
    let mut out = Vec::new();
    encode(txn, &mut out);
    out
}

fn txn(op: TxnOp, digest: Option<u64>) -> Txn {
    Txn { session: SessionId::new(7), cxid: Xid::new(3), zxid: Zxid::from_wire(9), time: 1_700_000_000_000, op, digest }
}

fn create(kind: CreateKind) -> CreateTxn {
    let (ephemeral, ttl) = (has_ephemeral_field(kind), if kind == CreateKind::Ttl { 600_000 } else { 0 });
    let acl = AclList::open();
    CreateTxn { kind, path: "/a".into(), data: None, acl, ephemeral, parent_cversion: 4, ttl }
}

#[test]
fn captured_transactions_encode_to_their_own_bytes() {
    let entries = testdata::entries();
    assert_eq!(entries.len(), 16);
    for (entry, counter) in entries.iter().zip(1..) {
        let txn = decode(entry, None).unwrap();
        assert_eq!(txn.zxid, Zxid::from_wire(0x1_0000_0000 + counter));
        assert_eq!(txn.digest.is_none(), matches!(txn.op, TxnOp::Error(_)), "all but the error carry a digest");
        assert_eq!(&encoded(&txn), entry, "{txn:?}");
    }
}

#[test]
fn the_log_holds_the_same_entries_as_the_wire() {
    assert_eq!(testdata::log_entries(), testdata::entries());
}

#[test]
fn captured_records_say_what_was_done() {
    let ops: Vec<TxnOp> = testdata::entries().iter().map(|entry| decode(entry, None).unwrap().op).collect();
    let created = |at: usize| match &ops[at] {
        TxnOp::Create(create) => create.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(created(1).acl, AclList::open());
    assert!(created(2).ephemeral);
    assert_eq!(&*created(3).path, "/t/seq-0000000001");
    assert_eq!(created(4).kind, CreateKind::Container);
    assert_eq!((created(5).kind, created(5).ttl), (CreateKind::Ttl, 600_000));
    assert_eq!(created(6).data, None, "null is not empty");
    assert_eq!(created(8).kind, CreateKind::Create2);
    assert_eq!(ops[11], TxnOp::Error(-101));
    let TxnOp::Multi(failed) = &ops[13] else { panic!("{:?}", ops[13]) };
    assert_eq!(failed[1..], [TxnOp::Error(-103), TxnOp::Error(-2)]);
    assert_eq!(ops[15], TxnOp::CloseSession { paths: Some(vec!["/t/m2".into(), "/t/eph".into()]) });
}

#[test]
fn a_failed_multi_sent_again_is_all_errors() {
    let entry = testdata::failed_multi_again();
    let txn = decode(&entry, None).unwrap();
    let TxnOp::Multi(ops) = &txn.op else { panic!("{txn:?}") };
    assert_eq!(ops.len(), 3);
    assert!(ops.iter().all(|op| matches!(op, TxnOp::Error(_))), "{ops:?}");
    assert_eq!(txn.digest, decode(&testdata::entries()[13], None).unwrap().digest);
    assert_eq!(decode(&encoded(&txn), None), Ok(txn), "without the surplus bytes it is the same transaction");
}

#[test]
fn every_record_survives() {
    let path = || Box::from("/a");
    let set = || SetDataTxn { path: path(), data: Some(Bytes::from_static(b"x")), version: 1 };
    let ops = [
        TxnOp::Error(-125),
        TxnOp::CreateSession { timeout_ms: 4000 },
        TxnOp::CloseSession { paths: None },
        TxnOp::CloseSession { paths: Some(vec![]) },
        TxnOp::CloseSession { paths: Some(vec![path()]) },
        TxnOp::Create(create(CreateKind::Create)),
        TxnOp::Create(create(CreateKind::Create2)),
        TxnOp::Create(create(CreateKind::Container)),
        TxnOp::Create(create(CreateKind::Ttl)),
        TxnOp::Delete { path: path() },
        TxnOp::DeleteContainer { path: path() },
        TxnOp::SetData(set()),
        TxnOp::Reconfig(set()),
        TxnOp::SetAcl { path: path(), acl: AclList::anyone(1), version: 2 },
        TxnOp::Multi(vec![]),
        TxnOp::Multi(vec![
            TxnOp::Check { path: path(), version: 3 },
            TxnOp::Create(create(CreateKind::Ttl)),
            TxnOp::Error(-2),
            TxnOp::DeleteContainer { path: path() },
        ]),
    ];
    for op in ops {
        for digest in [None, Some(0), Some(u64::MAX)] {
            let txn = txn(op.clone(), digest);
            assert_eq!(decode(&encoded(&txn), None), Ok(txn));
        }
    }
}

#[test]
fn a_create_of_an_ancient_log_has_no_parent_cversion() {
    let whole = encoded(&txn(TxnOp::Create(create(CreateKind::Create)), None));
    let TxnOp::Create(ancient) = decode(&whole[..whole.len() - 4], None).unwrap().op else { panic!("no create") };
    assert_eq!(ancient, CreateTxn { parent_cversion: -1, ..create(CreateKind::Create) });
    let whole = encoded(&txn(TxnOp::Create(create(CreateKind::Create2)), None));
    assert!(decode(&whole[..whole.len() - 4], None).is_err(), "only type 1 is that old");
}

#[test]
fn a_check_alone_and_a_multi_within_a_multi_are_refused() {
    let check = TxnOp::Check { path: "/a".into(), version: 1 };
    assert_eq!(decode(&encoded(&txn(check, None)), None), Err(DecodeError::Tag(13)));
    let mut entry = encoded(&txn(TxnOp::Multi(vec![]), None));
    let count_at = entry.len() - 4;
    Writer::new(&mut entry).patch_i32(count_at, 1);
    let mut writer = Writer::new(&mut entry);
    writer.i32(14);
    writer.buffer(Some(&[0; 4]));
    assert_eq!(decode(&entry, None), Err(DecodeError::Tag(14)));
}

#[test]
fn a_digest_of_another_version_is_ignored() {
    let mut entry = encoded(&txn(TxnOp::Error(-101), Some(5)));
    let version_at = entry.len() - DIGEST_LEN;
    Writer::new(&mut entry).patch_i32(version_at, 3);
    assert_eq!(decode(&entry, None), Ok(txn(TxnOp::Error(-101), None)));
}

#[test]
fn small_data_points_into_the_frame() {
    let entry = Bytes::from(testdata::entries()[1].clone());
    let TxnOp::Create(create) = decode(&entry, Some(&entry)).unwrap().op else { panic!("no create") };
    assert!(entry.as_ptr_range().contains(&create.data.unwrap().as_ptr()));
}

/// Cuts every captured entry everywhere and flips each of its bits: the fuzz target's smoke test.
#[test]
fn damaged_entries_do_no_harm() {
    for entry in testdata::entries().iter().chain([&testdata::failed_multi_again()]) {
        (0..entry.len()).for_each(|len| fuzz_txn(&entry[..len]));
        for bit in 0..entry.len() * 8 {
            let mut damaged = entry.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fuzz_txn(&damaged);
        }
    }
}
