//! Requests encoded once: the generator copies a frame and patches two numbers, so that it is never the limit.
//!
//! Flow       `Template` per opcode -> `append` with xid and node number -> the connection's send buffer.
//! Invariant  a frame's length does not depend on its numbers: both are of fixed width.

use std::borrow::Cow;

use net::jute::{Record, Writer, encode};
use net::opcode::OpCode;
use net::record::{
    Acl, ConnectRequest, CreateRequest, ExistsRequest, GetChildrenRequest, GetDataRequest, PASSWORD_LEN, Request,
    RequestHeader, SetDataRequest,
};

/// Under it lie all nodes of a load.
pub const PARENT: &str = "/load";
/// Hexadecimal digits of a node's number in its path.
const DIGITS: usize = 8;
/// Length field and xid: where the record's opcode begins.
const XID: std::ops::Range<usize> = 4..8;

/// Path of a numbered node.
pub fn node_path(number: u32) -> String {
    format!("{PARENT}/n{number:0DIGITS$x}")
}

/// A request's frame, complete but for xid and, if it has one, the node's number.
#[derive(Clone, Debug)]
pub struct Template {
    frame: Vec<u8>,
    digits_at: Option<usize>,
}

impl Template {
    /// Of any request. Every request about `node_path(0)` can be sent about other numbers.
    pub fn new(request: &Request<'_>) -> Self {
        let mut frame = vec![0; 4];
        let mut writer = Writer::new(&mut frame);
        RequestHeader { xid: 0, op: request.op().to_wire() }.encode(&mut writer);
        request.encode(&mut writer);
        close(&mut frame);
        let path = node_path(0);
        let path_at = frame.windows(path.len()).position(|window| window == path.as_bytes());
        Self { frame, digits_at: path_at.map(|at| at + path.len() - DIGITS) }
    }

    /// setData on a numbered node.
    pub fn set(data: &[u8]) -> Self {
        let path = Some(Cow::from(node_path(0)));
        Self::new(&Request::SetData(SetDataRequest { path, data: Some(data), version: -1 }))
    }

    /// getData on a numbered node.
    pub fn read() -> Self {
        Self::new(&Request::GetData(GetDataRequest { path: node_path(0).into(), watch: false }))
    }

    /// Persistent, open to everybody.
    pub fn create(data: &[u8]) -> Self {
        Self::create_at(&node_path(0), data)
    }

    /// As `create`, anywhere.
    pub fn create_at(path: &str, data: &[u8]) -> Self {
        let (path, acl) = (Some(Cow::from(path)), Some(vec![Acl::open()]));
        Self::new(&Request::Create(CreateRequest { path, data: Some(data), acl, flags: 0 }))
    }

    /// setData anywhere.
    pub fn set_at(path: &str, data: &[u8]) -> Self {
        Self::new(&Request::SetData(SetDataRequest { path: Some(path.into()), data: Some(data), version: -1 }))
    }

    /// exists, with a data watch if asked for.
    pub fn exists_at(path: &str, watch: bool) -> Self {
        Self::new(&Request::Exists(ExistsRequest { path: path.into(), watch }))
    }

    /// All names below a path.
    pub fn children_of(path: &str) -> Self {
        Self::new(&Request::GetChildren(GetChildrenRequest { path: path.into(), watch: false }))
    }

    /// Appends the frame with its numbers to a send buffer.
    pub fn append(&self, out: &mut Vec<u8>, xid: i32, number: u32) {
        let start = out.len();
        out.extend_from_slice(&self.frame);
        let frame = &mut out[start..];
        frame[XID].copy_from_slice(&xid.to_be_bytes());
        if let Some(at) = self.digits_at {
            for (place, digit) in frame[at..at + DIGITS].iter_mut().rev().enumerate() {
                let nibble = (number >> (4 * place)) & 0xf;
                *digit = b"0123456789abcdef"[nibble as usize];
            }
        }
    }
}

/// The frame that opens a new session.
pub fn handshake(timeout_ms: i32) -> Vec<u8> {
    let request = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout_ms,
        session_id: 0,
        password: Some(&[0; PASSWORD_LEN]),
        read_only: Some(false),
    };
    let mut frame = vec![0; 4];
    frame.extend_from_slice(&encode(&request));
    close(&mut frame);
    frame
}

/// The frame that ends the session.
pub fn close_session() -> Vec<u8> {
    let mut frame = vec![0; 4];
    RequestHeader { xid: 0, op: OpCode::CloseSession.to_wire() }.encode(&mut Writer::new(&mut frame));
    close(&mut frame);
    frame
}

/// Writes the length over the first four bytes, which stand for it.
fn close(frame: &mut [u8]) {
    let length = u32::try_from(frame.len() - 4).expect("a bench's frame is short");
    frame[..4].copy_from_slice(&length.to_be_bytes());
}

/// A reply's xid and error code.
///
/// # Panics
/// If it is shorter than a reply header.
pub fn reply_header(body: &[u8]) -> (i32, i32) {
    let int = |at: usize| i32::from_be_bytes(body[at..at + 4].try_into().expect("four bytes"));
    (int(0), int(12))
}

#[cfg(test)]
mod tests {
    use super::*;
    use net::jute::Reader;

    #[test]
    fn numbers_are_patched_and_nothing_else() {
        let mut out = vec![9];
        Template::set(b"value").append(&mut out, 7, 0xab12);
        let mut reader = Reader::new(&out[5..]);
        let header = RequestHeader::decode(&mut reader).unwrap();
        assert_eq!((header.xid, header.op), (7, OpCode::SetData.to_wire()));
        let request = Request::decode(OpCode::SetData, reader.rest()).unwrap().unwrap();
        let path = Some(Cow::from("/load/n0000ab12"));
        assert_eq!(request, Request::SetData(SetDataRequest { path, data: Some(b"value"), version: -1 }));
    }
}
