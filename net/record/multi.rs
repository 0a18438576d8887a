//! Multi and multiRead: several operations in one request, each with a header of its own.
//!
//! Invariant  a multi holds writes only, a multiRead reads only; a request that mixes them does not decode.
//! Absent     what the flags of a create mean. ZooKeeper takes a multi with a bad flag for one that does not decode; that
//!            is decided when the request is prepared.

use super::{
    children::{GetChildrenRequest, GetChildrenResponse},
    header::MultiHeader,
    node::{
        CheckVersionRequest, Create2Response, CreateRequest, CreateResponse, CreateTtlRequest, DeleteRequest,
        GetDataRequest, GetDataResponse, SetDataRequest, SetDataResponse,
    },
    server::ErrorResponse,
};
use crate::{
    error::DecodeError,
    jute::{Reader, Record, Writer},
    opcode::OpCode,
};

/// Names the operations of one kind of multi once and derives both directions from that list.
macro_rules! operations {
    ($(#[$doc:meta])* $ops:ident, $(#[$request_doc:meta])* $request:ident {
        $($(#[$variant_doc:meta])* $variant:ident($record:ty),)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $ops<'a> {
            $($(#[$variant_doc])* $variant($record),)*
        }

        impl $ops<'_> {
            /// Its number.
            pub fn op(&self) -> OpCode {
                match self {
                    $($ops::$variant(_) => OpCode::$variant,)*
                }
            }
        }

        $(#[$request_doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $request<'a> {
            /// In order.
            pub ops: Vec<$ops<'a>>,
        }

        impl<'a> Record<'a> for $request<'a> {
            const LEN_MIN: usize = MultiHeader::LEN_MIN;

            fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
                let mut ops = Vec::new();
                loop {
                    let header = MultiHeader::decode(reader)?;
                    if header.done {
                        return Ok($request { ops });
                    }
                    ops.push(match OpCode::from_wire(header.op) {
                        $(Some(OpCode::$variant) => $ops::$variant(Record::decode(reader)?),)*
                        _ => return Err(DecodeError::Tag(header.op)),
                    });
                }
            }

            fn encode(&self, writer: &mut Writer<'_>) {
                for op in &self.ops {
                    MultiHeader { op: op.op().to_wire(), done: false, err: -1 }.encode(writer);
                    match op {
                        $($ops::$variant(record) => record.encode(writer),)*
                    }
                }
                MultiHeader::END.encode(writer);
            }
        }
    };
}

operations! {
    /// One write of a multi.
    MultiOp,
    /// multi: all of its operations take effect or none does.
    MultiRequest {
        /// create.
        Create(CreateRequest<'a>),
        /// create2.
        Create2(CreateRequest<'a>),
        /// createContainer.
        CreateContainer(CreateRequest<'a>),
        /// createTTL.
        CreateTtl(CreateTtlRequest<'a>),
        /// delete.
        Delete(DeleteRequest<'a>),
        /// setData.
        SetData(SetDataRequest<'a>),
        /// check.
        Check(CheckVersionRequest<'a>),
    }
}

operations! {
    /// One read of a multiRead.
    MultiReadOp,
    /// multiRead: each of its operations succeeds or fails for itself.
    MultiReadRequest {
        /// getChildren. Its watch flag is ignored.
        GetChildren(GetChildrenRequest<'a>),
        /// getData. Its watch flag is ignored.
        GetData(GetDataRequest<'a>),
    }
}

/// What came of one operation. A server encodes these one by one and closes with `encode_multi_end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultiResult<'a> {
    /// create.
    Create(CreateResponse<'a>),
    /// Every other create, whatever its number was.
    Create2(Create2Response<'a>),
    /// delete.
    Delete,
    /// setData.
    SetData(SetDataResponse),
    /// check.
    Check,
    /// getChildren.
    GetChildren(GetChildrenResponse<'a>),
    /// getData.
    GetData(GetDataResponse<'a>),
    /// The operation failed with this code, or it would have worked (0) but another one failed.
    Error(i32),
}

impl<'a> MultiResult<'a> {
    /// The number in the result's header.
    pub fn op(&self) -> OpCode {
        match self {
            MultiResult::Create(_) => OpCode::Create,
            MultiResult::Create2(_) => OpCode::Create2,
            MultiResult::Delete => OpCode::Delete,
            MultiResult::SetData(_) => OpCode::SetData,
            MultiResult::Check => OpCode::Check,
            MultiResult::GetChildren(_) => OpCode::GetChildren,
            MultiResult::GetData(_) => OpCode::GetData,
            MultiResult::Error(_) => OpCode::Error,
        }
    }

    fn decode(op: i32, reader: &mut Reader<'a>) -> Result<MultiResult<'a>, DecodeError> {
        Ok(match OpCode::from_wire(op) {
            Some(OpCode::Create) => MultiResult::Create(Record::decode(reader)?),
            Some(OpCode::Create2) => MultiResult::Create2(Record::decode(reader)?),
            Some(OpCode::Delete) => MultiResult::Delete,
            Some(OpCode::SetData) => MultiResult::SetData(Record::decode(reader)?),
            Some(OpCode::Check) => MultiResult::Check,
            Some(OpCode::GetChildren) => MultiResult::GetChildren(Record::decode(reader)?),
            Some(OpCode::GetData) => MultiResult::GetData(Record::decode(reader)?),
            Some(OpCode::Error) => MultiResult::Error(ErrorResponse::decode(reader)?.err),
            _ => return Err(DecodeError::Tag(op)),
        })
    }

    /// Appends the result, its header included.
    pub fn encode(&self, writer: &mut Writer<'_>) {
        let err = if let MultiResult::Error(err) = self { *err } else { 0 };
        MultiHeader { op: self.op().to_wire(), done: false, err }.encode(writer);
        match self {
            MultiResult::Create(response) => response.encode(writer),
            MultiResult::Create2(response) => response.encode(writer),
            MultiResult::Delete | MultiResult::Check => {}
            MultiResult::SetData(response) => response.encode(writer),
            MultiResult::GetChildren(response) => response.encode(writer),
            MultiResult::GetData(response) => response.encode(writer),
            MultiResult::Error(err) => writer.i32(*err),
        }
    }
}

/// Answers multi and multiRead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiResponse<'a> {
    /// In the order of the operations.
    pub results: Vec<MultiResult<'a>>,
}

impl<'a> Record<'a> for MultiResponse<'a> {
    const LEN_MIN: usize = MultiHeader::LEN_MIN;

    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut results = Vec::new();
        loop {
            let header = MultiHeader::decode(reader)?;
            if header.done {
                return Ok(MultiResponse { results });
            }
            results.push(MultiResult::decode(header.op, reader)?);
        }
    }

    fn encode(&self, writer: &mut Writer<'_>) {
        self.results.iter().for_each(|result| result.encode(writer));
        encode_multi_end(writer);
    }
}

/// Closes a multi's results.
pub fn encode_multi_end(writer: &mut Writer<'_>) {
    MultiHeader::END.encode(writer);
}

/// Decodes `bytes` as every half of a multi; what decodes must decode again from its own encoding.
///
/// # Panics
/// When it does not, which is a bug.
pub fn fuzz_multi(bytes: &[u8]) {
    if let Ok(request) = crate::jute::decode::<MultiRequest<'_>>(bytes) {
        assert_eq!(crate::jute::decode(&crate::jute::encode(&request)), Ok(request));
    }
    if let Ok(request) = crate::jute::decode::<MultiReadRequest<'_>>(bytes) {
        assert_eq!(crate::jute::decode(&crate::jute::encode(&request)), Ok(request));
    }
    if let Ok(response) = crate::jute::decode::<MultiResponse<'_>>(bytes) {
        assert_eq!(crate::jute::decode(&crate::jute::encode(&response)), Ok(response));
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::jute::{decode, encode};

    fn delete() -> MultiOp<'static> {
        MultiOp::Delete(DeleteRequest { path: Some(Cow::Borrowed("/a")), version: -1 })
    }

    fn read() -> MultiReadOp<'static> {
        MultiReadOp::GetData(GetDataRequest { path: Cow::Borrowed("/a"), watch: false })
    }

    #[test]
    fn an_empty_multi_is_just_the_end_marker() {
        let bytes = encode(&MultiRequest { ops: vec![] });
        assert_eq!(bytes, [0xff, 0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(decode(&bytes), Ok(MultiRequest { ops: vec![] }));
    }

    #[test]
    fn reads_and_writes_do_not_mix() {
        let writes = encode(&MultiRequest { ops: vec![delete(), delete()] });
        let reads = encode(&MultiReadRequest { ops: vec![read(), read()] });
        assert_eq!(decode::<MultiRequest<'_>>(&writes).unwrap().ops.len(), 2);
        assert_eq!(decode::<MultiReadRequest<'_>>(&reads).unwrap().ops.len(), 2);
        assert_eq!(decode::<MultiRequest<'_>>(&reads), Err(DecodeError::Tag(4)));
        assert_eq!(decode::<MultiReadRequest<'_>>(&writes), Err(DecodeError::Tag(2)));
    }

    #[test]
    fn other_operations_are_refused() {
        let mut bytes = Vec::new();
        MultiHeader { op: OpCode::SetAcl.to_wire(), done: false, err: -1 }.encode(&mut Writer::new(&mut bytes));
        assert_eq!(decode::<MultiRequest<'_>>(&bytes), Err(DecodeError::Tag(7)));
    }

    #[test]
    fn a_missing_end_marker_is_an_error() {
        let bytes = encode(&MultiRequest { ops: vec![delete()] });
        assert!(matches!(decode::<MultiRequest<'_>>(&bytes[..bytes.len() - 9]), Err(DecodeError::Short { .. })));
    }

    #[test]
    fn an_error_result_carries_its_code_twice() {
        let bytes = encode(&MultiResponse { results: vec![MultiResult::Error(-101)] });
        let code = (-101i32).to_be_bytes();
        assert_eq!(bytes[..13], [&[0xff; 4][..], &[0], &code, &code].concat());
        assert_eq!(decode(&bytes), Ok(MultiResponse { results: vec![MultiResult::Error(-101)] }));
    }
}
