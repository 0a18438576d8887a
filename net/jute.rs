//! Jute, ZooKeeper's encoding: big-endian integers, length-prefixed bytes, counted vectors, no tags.
//!
//! Flow       bytes -> `Reader` -> a `Record`;  a `Record` -> `Writer` -> the end of a `Vec<u8>`.
//! Invariant  a length or count is a claim: nothing is reserved for it beyond what the remaining bytes can hold.
//!            Both directions of a type stand in one `impl`, so they cannot drift apart.
//! Absent     float and double, which no ZooKeeper record uses, and the limit per string: the frame's limit is smaller.

use std::borrow::Cow;

use crate::error::DecodeError;

/// A type that jute can carry. `'a` is the lifetime of the bytes it was decoded from, which it may borrow.
pub trait Record<'a>: Sized {
    /// The fewest bytes a value takes; bounds what a vector's count may reserve.
    const LEN_MIN: usize;

    /// Takes one value off the front.
    ///
    /// # Errors
    /// When the bytes are no such value. How much has been consumed is then unspecified.
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError>;

    /// Appends the value.
    fn encode(&self, writer: &mut Writer<'_>);
}

/// Decodes one record from the start of `bytes`. What follows it is ignored, as ZooKeeper does.
///
/// # Errors
/// When `bytes` do not start with such a record.
pub fn decode<'a, T: Record<'a>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    T::decode(&mut Reader::new(bytes))
}

/// The record as bytes of their own. For tests and clients; a server appends to a buffer it has.
pub fn encode<'a, T: Record<'a>>(record: &T) -> Vec<u8> {
    let mut out = Vec::new();
    record.encode(&mut Writer::new(&mut out));
    out
}

/// Takes values off the front of a slice.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes the next `count_bytes` as they are.
    ///
    /// # Errors
    /// `Short` when fewer are left.
    pub fn take(&mut self, count_bytes: usize) -> Result<&'a [u8], DecodeError> {
        match self.rest.split_at_checked(count_bytes) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(DecodeError::Short { needed_bytes: count_bytes, left_bytes: self.rest.len() }),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => Err(DecodeError::Short { needed_bytes: N, left_bytes: self.rest.len() }),
        }
    }

    /// A `byte`.
    ///
    /// # Errors
    /// `Short`.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// An `int`.
    ///
    /// # Errors
    /// `Short`.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    /// A `long`.
    ///
    /// # Errors
    /// `Short`.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    /// A `boolean`: any byte but 0 is true.
    ///
    /// # Errors
    /// `Short`.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        self.u8().map(|byte| byte != 0)
    }

    /// The length of a buffer or string: `None` for null, which is -1.
    ///
    /// # Errors
    /// `Short`, or `Length` below -1.
    pub fn count(&mut self) -> Result<Option<usize>, DecodeError> {
        match self.i32()? {
            -1 => Ok(None),
            raw => usize::try_from(raw).map(Some).map_err(|_| DecodeError::Length(raw)),
        }
    }

    /// A `buffer`, `None` when null.
    ///
    /// # Errors
    /// `Short` or `Length`.
    pub fn buffer(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        match self.count()? {
            None => Ok(None),
            Some(count_bytes) => self.take(count_bytes).map(Some),
        }
    }

    /// A `ustring`, `None` when null. Bytes that are not UTF-8 become U+FFFD, as in ZooKeeper; only then it allocates.
    ///
    /// # Errors
    /// `Short` or `Length`.
    pub fn string(&mut self) -> Result<Option<Cow<'a, str>>, DecodeError> {
        let text = |bytes| str::from_utf8(bytes).map_or_else(|_| Cow::Owned(replaced(bytes)), Cow::Borrowed);
        Ok(self.buffer()?.map(text))
    }
}

/// The text of bytes that are not all UTF-8, as Java reads it: U+FFFD for what Rust too takes for one broken character,
/// but only one for a surrogate, which Rust takes for three.
fn replaced(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(chunk) = rest.utf8_chunks().next() {
        text.push_str(chunk.valid());
        let broken = &rest[chunk.valid().len()..];
        let broken_len = match broken {
            [] => 0,
            [0xed, 0xa0..=0xbf, 0x80..=0xbf, ..] => 3,
            [0xed, 0xa0..=0xbf, ..] => 2,
            _ => chunk.invalid().len(),
        };
        if broken_len > 0 {
            text.push(char::REPLACEMENT_CHARACTER);
        }
        rest = &broken[broken_len..];
    }
    text
}

/// Appends values to a byte vector.
#[derive(Debug)]
pub struct Writer<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> Writer<'o> {
    /// Appends to `out`.
    pub fn new(out: &'o mut Vec<u8>) -> Writer<'o> {
        Writer { out }
    }

    /// How long the vector is by now; a place for `patch_i32`.
    pub fn position(&self) -> usize {
        self.out.len()
    }

    /// Bytes as they are, without a length.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// A `byte`.
    pub fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    /// An `int`.
    pub fn i32(&mut self, value: i32) {
        self.raw(&value.to_be_bytes());
    }

    /// A `long`.
    pub fn i64(&mut self, value: i64) {
        self.raw(&value.to_be_bytes());
    }

    /// A `boolean`.
    pub fn bool(&mut self, value: bool) {
        self.u8(value.into());
    }

    /// A length or count, -1 for null.
    ///
    /// # Panics
    /// Above `i32::MAX`: nothing that came in through a frame or fits in a reply is that large.
    pub fn count(&mut self, count: Option<usize>) {
        self.i32(count.map_or(-1, |count| i32::try_from(count).expect("a length on the wire is below 2 GiB")));
    }

    /// A `buffer`.
    pub fn buffer(&mut self, bytes: Option<&[u8]>) {
        self.count(bytes.map(<[u8]>::len));
        self.raw(bytes.unwrap_or_default());
    }

    /// A `ustring`.
    pub fn string(&mut self, text: Option<&str>) {
        self.buffer(text.map(str::as_bytes));
    }

    /// Overwrites the `int` at `position`, for a count that is known only afterwards.
    ///
    /// # Panics
    /// When no whole int stands there.
    pub fn patch_i32(&mut self, position: usize, value: i32) {
        self.out[position..position + 4].copy_from_slice(&value.to_be_bytes());
    }
}

impl Record<'_> for i32 {
    const LEN_MIN: usize = 4;
    fn decode(reader: &mut Reader<'_>) -> Result<i32, DecodeError> {
        reader.i32()
    }
    fn encode(&self, writer: &mut Writer<'_>) {
        writer.i32(*self);
    }
}

impl Record<'_> for i64 {
    const LEN_MIN: usize = 8;
    fn decode(reader: &mut Reader<'_>) -> Result<i64, DecodeError> {
        reader.i64()
    }
    fn encode(&self, writer: &mut Writer<'_>) {
        writer.i64(*self);
    }
}

impl Record<'_> for bool {
    const LEN_MIN: usize = 1;
    fn decode(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
        reader.bool()
    }
    fn encode(&self, writer: &mut Writer<'_>) {
        writer.bool(*self);
    }
}

/// A `buffer`; `None` is null, which is not the same as empty.
impl<'a> Record<'a> for Option<&'a [u8]> {
    const LEN_MIN: usize = 4;
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        reader.buffer()
    }
    fn encode(&self, writer: &mut Writer<'_>) {
        writer.buffer(*self);
    }
}

/// A `ustring` that may be null.
impl<'a> Record<'a> for Option<Cow<'a, str>> {
    const LEN_MIN: usize = 4;
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        reader.string()
    }
    fn encode(&self, writer: &mut Writer<'_>) {
        writer.string(self.as_deref());
    }
}

/// A `ustring`; null is refused.
impl<'a> Record<'a> for Cow<'a, str> {
    const LEN_MIN: usize = 4;
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        reader.string()?.ok_or(DecodeError::Null)
    }
    fn encode(&self, writer: &mut Writer<'_>) {
        writer.string(Some(self));
    }
}

/// A `vector` that may be null. A count below -1 is an empty vector: ZooKeeper's loop over the items just does not start.
impl<'a, T: Record<'a>> Record<'a> for Option<Vec<T>> {
    const LEN_MIN: usize = 4;
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let count = match reader.i32()? {
            -1 => return Ok(None),
            raw => usize::try_from(raw).unwrap_or(0),
        };
        // A huge count is not refused here: it runs out of bytes below.
        let mut items = Vec::with_capacity(count.min(reader.rest.len() / T::LEN_MIN));
        for _ in 0..count {
            items.push(T::decode(reader)?);
        }
        Ok(Some(items))
    }
    fn encode(&self, writer: &mut Writer<'_>) {
        match self {
            None => writer.count(None),
            Some(items) => items.encode(writer),
        }
    }
}

/// A `vector`; null is refused.
impl<'a, T: Record<'a>> Record<'a> for Vec<T> {
    const LEN_MIN: usize = 4;
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Option::<Vec<T>>::decode(reader)?.ok_or(DecodeError::Null)
    }
    fn encode(&self, writer: &mut Writer<'_>) {
        writer.count(Some(self.len()));
        for item in self {
            item.encode(writer);
        }
    }
}

/// Defines records as their fields in wire order and derives both directions from that one list.
macro_rules! records {
    () => {};
    ($(#[$doc:meta])* $name:ident<'a> { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* } $($rest:tt)*) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name<'a> { $($(#[$field_doc])* pub $field: $type,)* }

        impl<'a> $crate::jute::Record<'a> for $name<'a> {
            $crate::jute::records!(@body $name { $($field: $type,)* });
        }
        $crate::jute::records!($($rest)*);
    };
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* } $($rest:tt)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        impl<'a> $crate::jute::Record<'a> for $name {
            $crate::jute::records!(@body $name { $($field: $type,)* });
        }
        $crate::jute::records!($($rest)*);
    };
    (@body $name:ident { $($field:ident: $type:ty,)* }) => {
        const LEN_MIN: usize = 0 $(+ <$type as $crate::jute::Record<'a>>::LEN_MIN)*;

        #[inline]
        fn decode(reader: &mut $crate::jute::Reader<'a>) -> Result<Self, $crate::error::DecodeError> {
            Ok($name { $($field: $crate::jute::Record::decode(reader)?,)* })
        }

        #[inline]
        fn encode(&self, writer: &mut $crate::jute::Writer<'_>) {
            $($crate::jute::Record::encode(&self.$field, writer);)*
        }
    };
}
pub(crate) use records;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_are_different() {
        assert_eq!(encode(&None::<&[u8]>), [0xff; 4]);
        assert_eq!(encode(&Some(&b""[..])), [0; 4]);
        assert_eq!(decode::<Option<&[u8]>>(&[0xff; 4]), Ok(None));
        assert_eq!(decode::<Option<&[u8]>>(&[0; 4]), Ok(Some(&b""[..])));
    }

    #[test]
    fn any_nonzero_byte_is_true() {
        assert_eq!(decode::<bool>(&[7]), Ok(true));
        assert_eq!(decode::<bool>(&[0]), Ok(false));
    }

    #[test]
    fn a_length_below_null_is_refused() {
        assert_eq!(decode::<Option<&[u8]>>(&(-2i32).to_be_bytes()), Err(DecodeError::Length(-2)));
    }

    #[test]
    fn a_count_below_null_is_an_empty_vector() {
        assert_eq!(decode::<Option<Vec<i32>>>(&(-2i32).to_be_bytes()), Ok(Some(vec![])));
        assert_eq!(decode::<Option<Vec<i32>>>(&(-1i32).to_be_bytes()), Ok(None));
    }

    #[test]
    fn a_length_beyond_the_bytes_is_short() {
        let bytes = [0, 0, 0, 9, b'a'];
        assert_eq!(decode::<Cow<'_, str>>(&bytes), Err(DecodeError::Short { needed_bytes: 9, left_bytes: 1 }));
    }

    #[test]
    fn a_huge_count_reserves_only_what_the_bytes_can_hold() {
        let mut bytes = i32::MAX.to_be_bytes().to_vec();
        bytes.extend_from_slice(&[0; 64]);
        assert!(matches!(decode::<Vec<Cow<'_, str>>>(&bytes), Err(DecodeError::Short { .. })));
    }

    #[test]
    fn strings_borrow_unless_they_are_broken() {
        assert!(matches!(decode::<Cow<'_, str>>(&[0, 0, 0, 2, b'/', b'a']), Ok(Cow::Borrowed("/a"))));
        assert_eq!(decode::<Cow<'_, str>>(&[0, 0, 0, 2, b'/', 0xff]).unwrap(), "/\u{fffd}");
    }

    #[test]
    fn broken_text_is_replaced_as_in_java() {
        for (bytes, text) in [
            (&b"a\xff\xc3\xe2\x82x"[..], "a\u{fffd}\u{fffd}\u{fffd}x"),
            (b"\xed\xa0\x80b", "\u{fffd}b"),
            (b"\xed\xbf\x7f", "\u{fffd}\x7f"),
            (b"\xed\xa0\xed\xa0", "\u{fffd}\u{fffd}"),
            (b"\xc3\xa9\xed\xa0\xbd\xed\xb8\x80\xf0\x9f\x98", "\u{e9}\u{fffd}\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(replaced(bytes), text, "{bytes:x?}");
        }
    }

    #[test]
    fn null_is_refused_where_a_value_is_required() {
        assert_eq!(decode::<Cow<'_, str>>(&[0xff; 4]), Err(DecodeError::Null));
        assert_eq!(decode::<Vec<i32>>(&[0xff; 4]), Err(DecodeError::Null));
    }
}
