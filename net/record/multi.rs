//! Multi and multiRead: several operations in one request, each with a header of its own.
//!
//! Absent     what the flags of a create mean. A multi treats a bad flag as a broken request, which is decided where
//!            wire requests become the tree's.

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

/// One operation of a multi.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultiOp<'a> {
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
    /// getChildren, only in a multiRead.
    GetChildren(GetChildrenRequest<'a>),
    /// getData, only in a multiRead.
    GetData(GetDataRequest<'a>),
}

impl<'a> MultiOp<'a> {
    /// Its number.
    pub fn op(&self) -> OpCode {
        match self {
            MultiOp::Create(_) => OpCode::Create,
            MultiOp::Create2(_) => OpCode::Create2,
            MultiOp::CreateContainer(_) => OpCode::CreateContainer,
            MultiOp::CreateTtl(_) => OpCode::CreateTtl,
            MultiOp::Delete(_) => OpCode::Delete,
            MultiOp::SetData(_) => OpCode::SetData,
            MultiOp::Check(_) => OpCode::Check,
            MultiOp::GetChildren(_) => OpCode::GetChildren,
            MultiOp::GetData(_) => OpCode::GetData,
        }
    }

    /// Whether it belongs in a multiRead rather than in a multi.
    pub fn is_read(&self) -> bool {
        matches!(self, MultiOp::GetChildren(_) | MultiOp::GetData(_))
    }

    fn decode(op: i32, reader: &mut Reader<'a>) -> Result<MultiOp<'a>, DecodeError> {
        Ok(match OpCode::from_wire(op) {
            Some(OpCode::Create) => MultiOp::Create(Record::decode(reader)?),
            Some(OpCode::Create2) => MultiOp::Create2(Record::decode(reader)?),
            Some(OpCode::CreateContainer) => MultiOp::CreateContainer(Record::decode(reader)?),
            Some(OpCode::CreateTtl) => MultiOp::CreateTtl(Record::decode(reader)?),
            Some(OpCode::Delete) => MultiOp::Delete(Record::decode(reader)?),
            Some(OpCode::SetData) => MultiOp::SetData(Record::decode(reader)?),
            Some(OpCode::Check) => MultiOp::Check(Record::decode(reader)?),
            Some(OpCode::GetChildren) => MultiOp::GetChildren(Record::decode(reader)?),
            Some(OpCode::GetData) => MultiOp::GetData(Record::decode(reader)?),
            _ => return Err(DecodeError::Tag(op)),
        })
    }

    fn encode(&self, writer: &mut Writer<'_>) {
        MultiHeader { op: self.op().to_wire(), done: false, err: -1 }.encode(writer);
        match self {
            MultiOp::Create(request) | MultiOp::Create2(request) | MultiOp::CreateContainer(request) => {
                request.encode(writer);
            }
            MultiOp::CreateTtl(request) => request.encode(writer),
            MultiOp::Delete(request) => request.encode(writer),
            MultiOp::SetData(request) => request.encode(writer),
            MultiOp::Check(request) => request.encode(writer),
            MultiOp::GetChildren(request) => request.encode(writer),
            MultiOp::GetData(request) => request.encode(writer),
        }
    }
}

/// multi and multiRead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiRequest<'a> {
    /// In order. Decoding guarantees that they are all reads or all writes.
    pub ops: Vec<MultiOp<'a>>,
}

impl<'a> Record<'a> for MultiRequest<'a> {
    const LEN_MIN: usize = MultiHeader::LEN_MIN;

    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut ops: Vec<MultiOp<'a>> = Vec::new();
        loop {
            let header = MultiHeader::decode(reader)?;
            if header.done {
                return Ok(MultiRequest { ops });
            }
            let op = MultiOp::decode(header.op, reader)?;
            if ops.first().is_some_and(|first| first.is_read() != op.is_read()) {
                return Err(DecodeError::Tag(header.op));
            }
            ops.push(op);
        }
    }

    fn encode(&self, writer: &mut Writer<'_>) {
        self.ops.iter().for_each(|op| op.encode(writer));
        MultiHeader::END.encode(writer);
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

/// Decodes `bytes` as both halves of a multi; what decodes must decode again from its own encoding.
///
/// # Panics
/// When it does not, which is a bug.
pub fn fuzz_multi(bytes: &[u8]) {
    if let Ok(request) = crate::jute::decode::<MultiRequest<'_>>(bytes) {
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

    fn read() -> MultiOp<'static> {
        MultiOp::GetData(GetDataRequest { path: Cow::Borrowed("/a"), watch: false })
    }

    #[test]
    fn an_empty_multi_is_just_the_end_marker() {
        let bytes = encode(&MultiRequest { ops: vec![] });
        assert_eq!(bytes, [0xff, 0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(decode(&bytes), Ok(MultiRequest { ops: vec![] }));
    }

    #[test]
    fn reads_and_writes_do_not_mix() {
        assert!(decode::<MultiRequest<'_>>(&encode(&MultiRequest { ops: vec![delete(), delete()] })).is_ok());
        assert!(decode::<MultiRequest<'_>>(&encode(&MultiRequest { ops: vec![read(), read()] })).is_ok());
        let mixed = encode(&MultiRequest { ops: vec![delete(), read()] });
        assert_eq!(decode::<MultiRequest<'_>>(&mixed), Err(DecodeError::Tag(4)));
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
