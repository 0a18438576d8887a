//! Epochs and generation: what a member must never forget, as one value of a register, so that they change together.
//!
//! ```text
//! 0 format u8 = 1    1 accepted epoch u32    5 current epoch u32    9 generation u64
//! ```
//! Little-endian.

use std::{fmt, io};

use ids::{Epoch, Zxid};
use storage::{Disk, Register, RegisterError};
use zab::outbox::Epochs;

use super::Places;

const FORMAT: u8 = 1;
const RECORD_LEN: usize = 17;

/// What the register holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochRecord {
    /// What was promised.
    pub epochs: Epochs,
    /// Which state is this server's.
    pub generation: u64,
}

/// Why the register's value means nothing to this version.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RecordError {
    /// Written by a version that this one does not know.
    Format(u8),
    /// Not as long as its format says.
    Length(usize),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordError::Format(format) => {
                write!(f, "the record of epochs has format {format}, this program knows {FORMAT}: start a newer one")
            }
            RecordError::Length(len) => write!(f, "the record of epochs is {len} bytes long, not {RECORD_LEN}"),
        }
    }
}

impl std::error::Error for RecordError {}

impl EpochRecord {
    /// Of a server without a register, whose log ends with `last`: it has promised what its log shows.
    pub fn first(last: Zxid) -> EpochRecord {
        EpochRecord { epochs: Epochs { accepted: last.epoch(), current: last.epoch() }, generation: 0 }
    }

    /// As bytes.
    pub fn encode(&self) -> [u8; RECORD_LEN] {
        let mut bytes = [FORMAT; RECORD_LEN];
        bytes[1..5].copy_from_slice(&self.epochs.accepted.to_u32().to_le_bytes());
        bytes[5..9].copy_from_slice(&self.epochs.current.to_u32().to_le_bytes());
        bytes[9..].copy_from_slice(&self.generation.to_le_bytes());
        bytes
    }

    /// From bytes.
    ///
    /// # Errors
    /// They are no record of this version.
    pub fn decode(bytes: &[u8]) -> Result<EpochRecord, RecordError> {
        match bytes.first() {
            Some(&FORMAT) | None => {}
            Some(&other) => return Err(RecordError::Format(other)),
        }
        let Ok(bytes) = <&[u8; RECORD_LEN]>::try_from(bytes) else { return Err(RecordError::Length(bytes.len())) };
        let [_, a0, a1, a2, a3, c0, c1, c2, c3, generation @ ..] = *bytes;
        let epoch = |bytes| Epoch::new(u32::from_le_bytes(bytes));
        let epochs = Epochs { accepted: epoch([a0, a1, a2, a3]), current: epoch([c0, c1, c2, c3]) };
        Ok(EpochRecord { epochs, generation: u64::from_le_bytes(generation) })
    }
}

/// Why the register cannot be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum RememberError {
    /// The register itself.
    Register(RegisterError),
    /// Its value.
    Record(RecordError),
}

impl fmt::Display for RememberError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RememberError::Register(error) => error.fmt(f),
            RememberError::Record(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RememberError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RememberError::Register(error) => error.source(),
            RememberError::Record(_) => None,
        }
    }
}

/// The register and what it holds, if this server has ever been a member. Makes none: a standalone server has none.
///
/// # Errors
/// What was promised is unknown.
pub async fn remember<D: Disk>(
    disk: &D,
    places: &Places,
) -> Result<Option<(Register<D>, Option<EpochRecord>)>, RememberError> {
    let path = places.register();
    if disk.map(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(None);
    }
    let (register, value) = Register::open(disk, &path).await.map_err(RememberError::Register)?;
    let record = value.map(|value| EpochRecord::decode(&value)).transpose().map_err(RememberError::Record)?;
    Ok(Some((register, record)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: EpochRecord = EpochRecord {
        epochs: Epochs { accepted: Epoch::new(0x0403_0201), current: Epoch::new(7) },
        generation: 0x0102_0304_0506_0708,
    };

    #[test]
    fn a_record_is_these_bytes() {
        let bytes = [1, 1, 2, 3, 4, 7, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1];
        assert_eq!(RECORD.encode(), bytes);
        assert_eq!(EpochRecord::decode(&bytes), Ok(RECORD));
    }

    #[test]
    fn what_another_version_wrote_is_refused_with_its_name() {
        let mut bytes = RECORD.encode();
        bytes[0] = 2;
        let error = EpochRecord::decode(&bytes).unwrap_err();
        assert_eq!(error, RecordError::Format(2));
        assert!(error.to_string().contains("format 2"));
        assert_eq!(EpochRecord::decode(&RECORD.encode()[..16]), Err(RecordError::Length(16)));
        assert_eq!(EpochRecord::decode(&[]), Err(RecordError::Length(0)));
    }
}
