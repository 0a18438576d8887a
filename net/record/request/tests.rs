//! Every request in both directions, and what decoding does with bytes that are no request.

use std::borrow::Cow;

use super::*;
use crate::record::Acl;

fn text(text: &str) -> Cow<'_, str> {
    Cow::Borrowed(text)
}

fn create(path: &str) -> CreateRequest<'_> {
    CreateRequest { path: Some(text(path)), data: Some(b"value"), acl: Some(vec![Acl::open()]), flags: 0 }
}

/// One of each, and the variants where null has a meaning.
fn samples() -> Vec<Request<'static>> {
    let (path, watch) = (text("/a"), true);
    let watches = || Some(vec![Some(text("/a")), None]);
    let none = || Some(vec![]);
    vec![
        Request::CloseSession,
        Request::Create(create("/a")),
        Request::Create2(CreateRequest { data: None, acl: None, ..create("/a") }),
        Request::CreateContainer(CreateRequest { data: Some(b""), acl: Some(vec![]), ..create("/a") }),
        Request::CreateTtl(CreateTtlRequest {
            path: Some(path.clone()),
            data: None,
            acl: None,
            flags: 5,
            ttl_ms: 1 << 39,
        }),
        Request::Delete(DeleteRequest { path: Some(path.clone()), version: -1 }),
        Request::Exists(ExistsRequest { path: path.clone(), watch }),
        Request::GetData(GetDataRequest { path: path.clone(), watch }),
        Request::SetData(SetDataRequest { path: Some(path.clone()), data: Some(b"x"), version: 7 }),
        Request::SetData(SetDataRequest { path: None, data: None, version: i32::MIN }),
        Request::GetAcl(GetAclRequest { path: path.clone() }),
        Request::SetAcl(SetAclRequest { path: Some(path.clone()), acl: Some(vec![Acl::open()]), version: 0 }),
        Request::GetChildren(GetChildrenRequest { path: path.clone(), watch: false }),
        Request::GetChildren2(GetChildrenRequest { path: path.clone(), watch }),
        Request::GetAllChildrenNumber(GetAllChildrenNumberRequest { path: path.clone() }),
        Request::GetEphemerals(GetEphemeralsRequest { prefix_path: None }),
        Request::Sync(SyncRequest { path: None }),
        Request::Ping,
        Request::Multi(MultiRequest { ops: vec![] }),
        Request::MultiRead(MultiReadRequest { ops: vec![] }),
        Request::Reconfig(ReconfigRequest {
            joining_servers: Some(text("server.1=a:1:2;3")),
            leaving_servers: None,
            new_members: None,
            cur_config_id: -1,
        }),
        Request::CheckWatches(CheckWatchesRequest { path: None, watcher_type: 3 }),
        Request::RemoveWatches(RemoveWatchesRequest { path: Some(path.clone()), watcher_type: 5 }),
        Request::SetWatches(SetWatches {
            relative_zxid: 5,
            data_watches: watches(),
            exist_watches: None,
            child_watches: watches(),
        }),
        Request::SetWatches2(SetWatches2 {
            relative_zxid: 5,
            data_watches: none(),
            exist_watches: watches(),
            child_watches: none(),
            persistent_watches: watches(),
            persistent_recursive_watches: none(),
        }),
        Request::AddWatch(AddWatchRequest { path: Some(path), mode: 1 }),
        Request::Auth(AuthPacket { auth_type: 0, scheme: Some(text("digest")), auth: Some(b"a:b") }),
        Request::Sasl(SaslRequest { token: Some(b"token") }),
        Request::WhoAmI,
    ]
}

fn body(request: &Request<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    request.encode(&mut Writer::new(&mut out));
    out
}

#[test]
fn every_request_survives_the_wire() {
    for request in samples() {
        assert_eq!(Request::decode(request.op(), &body(&request)), Some(Ok(request.clone())));
    }
}

/// Bodies as the Java client sent them, taken from what a ZooKeeper 3.8.0 follower passed on to its leader.
#[test]
fn captured_requests_encode_to_their_own_bytes() {
    let captured: [(OpCode, &[u8], Request<'_>); 3] = [
        (
            OpCode::Create,
            b"\0\0\0\x08/viafake\0\0\0\x02zz\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone\0\0\0\0",
            Request::Create(CreateRequest { data: Some(b"zz"), ..create("/viafake") }),
        ),
        (OpCode::Sync, b"\0\0\0\x01/", Request::Sync(SyncRequest { path: Some(text("/")) })),
        (OpCode::CloseSession, b"", Request::CloseSession),
    ];
    for (op, bytes, request) in captured {
        assert_eq!(Request::decode(op, bytes), Some(Ok(request.clone())));
        assert_eq!(body(&request), bytes);
    }
}

#[test]
fn samples_cover_every_client_request() {
    for op in OpCode::ALL {
        assert_eq!(op.is_client_request(), samples().iter().any(|sample| sample.op() == op), "{}", op.name());
        assert_eq!(op.is_client_request(), Request::decode(op, &[]).is_some(), "{}", op.name());
    }
}

#[test]
fn every_cut_is_an_error() {
    for request in samples() {
        let whole = body(&request);
        for len in 0..whole.len() {
            assert!(matches!(Request::decode(request.op(), &whole[..len]), Some(Err(_))), "{request:?} cut at {len}");
        }
    }
}

#[test]
fn reads_borrow_from_the_frame() {
    let frame = body(&Request::GetData(GetDataRequest { path: text("/a"), watch: false }));
    let Some(Ok(Request::GetData(request))) = Request::decode(OpCode::GetData, &frame) else { panic!("no getData") };
    assert!(matches!(request.path, Cow::Borrowed("/a")));
}

/// Flips every bit of every sample and cuts it everywhere: the fuzz targets' smoke test.
#[test]
fn damaged_requests_do_no_harm() {
    for request in samples() {
        let selector = OpCode::ALL.iter().position(|op| *op == request.op()).unwrap();
        let mut bytes = vec![u8::try_from(selector).unwrap()];
        bytes.extend_from_slice(&body(&request));
        for bit in 8..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fuzz_request(&damaged);
            crate::record::fuzz_multi(&damaged[1..]);
            crate::frame::fuzz_frame(&damaged[1..]);
        }
    }
}
