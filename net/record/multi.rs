//! Multi and multiRead: several operations in one request, each with a header of its own.
//!
//! Invariant  a multi holds writes only, a multiRead reads only; a request that mixes them does not decode. Neither does
//!            a multi with a create whose flags or null ACL ZooKeeper's decoder (`MultiOperationRecord`) trips over. The
//!            first error in the order of the bytes counts, because by its kind the multi consumes a zxid or not.

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
    ($(#[$doc:meta])* $ops:ident { $($(#[$variant_doc:meta])* $variant:ident($record:ty),)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $ops<'a> {
            $($(#[$variant_doc])* $variant($record),)*
        }

        impl<'a> $ops<'a> {
            /// Its number.
            pub fn op(&self) -> OpCode {
                match self {
                    $($ops::$variant(_) => OpCode::$variant,)*
                }
            }

            /// The operation behind a header. `None` when `op` is none of these; nothing is taken then.
            fn decode(op: i32, reader: &mut Reader<'a>) -> Result<Option<Self>, DecodeError> {
                match OpCode::from_wire(op) {
                    $(Some(OpCode::$variant) => Record::decode(reader).map($ops::$variant).map(Some),)*
                    _ => Ok(None),
                }
            }

            fn encode(&self, writer: &mut Writer<'_>) {
                MultiHeader { op: self.op().to_wire(), done: false, err: -1 }.encode(writer);
                match self {
                    $($ops::$variant(record) => record.encode(writer),)*
                }
            }
        }
    };
}

operations! {
    /// One write of a multi.
    MultiOp {
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
    MultiReadOp {
        /// getChildren. Its watch flag is ignored.
        GetChildren(GetChildrenRequest<'a>),
        /// getData. Its watch flag is ignored.
        GetData(GetDataRequest<'a>),
    }
}

/// multi: all of its operations take effect or none does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiRequest<'a> {
    /// In order.
    pub ops: Vec<MultiOp<'a>>,
}

impl<'a> Record<'a> for MultiRequest<'a> {
    const LEN_MIN: usize = MultiHeader::LEN_MIN;

    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut ops = Vec::new();
        // ZooKeeper's decoder lets reads pass as long as no write is among them; they fail when they are prepared.
        let mut read = None;
        loop {
            let header = MultiHeader::decode(reader)?;
            if header.done {
                return read.map_or(Ok(MultiRequest { ops }), |read| Err(DecodeError::Tag(read)));
            }
            match MultiOp::decode(header.op, reader)? {
                Some(op) => {
                    op.check()?;
                    ops.push(op);
                    read.map_or(Ok(()), |read| Err(DecodeError::Tag(read)))?;
                }
                None if ops.is_empty() => {
                    MultiReadOp::decode(header.op, reader)?.ok_or(DecodeError::Tag(header.op))?;
                    read = Some(header.op);
                }
                None => return Err(DecodeError::Tag(header.op)),
            }
        }
    }

    fn encode(&self, writer: &mut Writer<'_>) {
        self.ops.iter().for_each(|op| op.encode(writer));
        MultiHeader::END.encode(writer);
    }
}

impl MultiOp<'_> {
    /// What ZooKeeper's decoder asks of the creates without a TTL field. createTTL is judged when it is prepared.
    fn check(&self) -> Result<(), DecodeError> {
        const FLAGS_MAX: i32 = 6;
        const TTL_FLAGS: [i32; 2] = [5, 6];
        let (MultiOp::Create(create) | MultiOp::Create2(create) | MultiOp::CreateContainer(create)) = self else {
            return Ok(());
        };
        if !(0..=FLAGS_MAX).contains(&create.flags) {
            return Err(DecodeError::Tag(create.flags));
        }
        if create.acl.is_none() {
            return Err(DecodeError::NullAcl);
        }
        if TTL_FLAGS.contains(&create.flags) { Err(DecodeError::Tag(create.flags)) } else { Ok(()) }
    }
}

/// multiRead: each of its operations succeeds or fails for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiReadRequest<'a> {
    /// In order.
    pub ops: Vec<MultiReadOp<'a>>,
}

impl<'a> Record<'a> for MultiReadRequest<'a> {
    const LEN_MIN: usize = MultiHeader::LEN_MIN;

    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let mut ops = Vec::new();
        loop {
            let header = MultiHeader::decode(reader)?;
            if header.done {
                return Ok(MultiReadRequest { ops });
            }
            ops.push(MultiReadOp::decode(header.op, reader)?.ok_or(DecodeError::Tag(header.op))?);
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
    use crate::{
        jute::{decode, encode},
        record::Acl,
    };

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

    fn create(flags: i32, acl: Option<Vec<Acl<'static>>>) -> MultiOp<'static> {
        MultiOp::Create2(CreateRequest { path: Some(Cow::Borrowed("/a")), data: None, acl, flags })
    }

    fn decoded(ops: Vec<MultiOp<'_>>) -> Result<usize, DecodeError> {
        decode::<MultiRequest<'_>>(&encode(&MultiRequest { ops })).map(|request| request.ops.len())
    }

    #[test]
    fn the_first_thing_wrong_with_a_create_counts() {
        let open = || Some(vec![Acl::open()]);
        assert_eq!(decoded(vec![create(0, open()), create(4, Some(vec![]))]), Ok(2));
        assert_eq!(decoded(vec![create(0, None), create(7, open())]), Err(DecodeError::NullAcl));
        assert_eq!(decoded(vec![create(7, None), create(0, None)]), Err(DecodeError::Tag(7)));
        assert_eq!(decoded(vec![create(5, None)]), Err(DecodeError::NullAcl));
        assert_eq!(decoded(vec![create(5, open()), create(0, None)]), Err(DecodeError::Tag(5)));
    }

    #[test]
    fn a_create_behind_a_read_fails_first() {
        let mut bytes = encode(&MultiReadRequest { ops: vec![read()] });
        bytes.truncate(bytes.len() - MultiHeader::LEN_MIN);
        bytes.extend(encode(&MultiRequest { ops: vec![create(0, None)] }));
        assert_eq!(decode::<MultiRequest<'_>>(&bytes), Err(DecodeError::NullAcl));
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
