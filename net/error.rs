//! Why bytes from a peer are not what they claim to be.

use std::fmt;

/// A record that cannot be decoded. To a client all of these are MARSHALLINGERROR; the variants are for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The record goes on where the bytes end.
    Short {
        /// How many bytes the next field needs.
        needed_bytes: usize,
        /// How many are left.
        left_bytes: usize,
    },
    /// A length or count below -1.
    Length(i32),
    /// Null where a value is required.
    Null,
    /// A sub-operation, mode or tag that this record does not allow.
    Tag(i32),
    /// A create inside a multi has no ACL list. Apart from the others because such a multi consumes no zxid.
    NullAcl,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Short { needed_bytes, left_bytes } => {
                write!(f, "record is cut: the next field needs {needed_bytes} bytes, {left_bytes} are left")
            }
            DecodeError::Length(raw) => write!(f, "negative length {raw}"),
            DecodeError::Null => write!(f, "null where a value is required"),
            DecodeError::NullAcl => write!(f, "null ACL list inside a multi"),
            DecodeError::Tag(raw) => write!(f, "type {raw} is not allowed here"),
        }
    }
}

impl std::error::Error for DecodeError {}
