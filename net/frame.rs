//! Frames: a 4-byte length, which does not count itself, and that many bytes.
//!
//! Before the handshake the same 4 bytes may instead be a command such as `ruok`. As lengths those are all far above
//! any limit, so nothing is ambiguous; after the handshake they are only ever lengths.

use std::fmt;

/// Bytes of the length in front of every frame.
pub const HEADER_LEN: usize = 4;

/// The largest frame ZooKeeper accepts unless `jute.maxbuffer` says otherwise. Its own length is the last allowed one.
pub const LEN_MAX_DEFAULT: usize = 0xf_ffff;

/// A length that no frame can have. The connection has lost its framing and is closed without a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameError {
    /// What stood where a length should.
    pub raw: i32,
    /// The limit it broke, unless it is negative.
    pub len_max_bytes: usize,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "frame length {} is not within 0..={}", self.raw, self.len_max_bytes)
    }
}

impl std::error::Error for FrameError {}

/// What stands at the start of received bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// A whole frame: its body is `received[HEADER_LEN..HEADER_LEN + body_len]`.
    Frame {
        /// Length of the body in bytes.
        body_len: usize,
    },
    /// Not yet a whole frame. It is one when `total_len` bytes are there; `HEADER_LEN` while even the length is cut.
    Partial {
        /// Bytes needed, header included.
        total_len: usize,
    },
}

/// Looks for a frame at the start of `received`.
///
/// # Errors
/// When the length is negative or above `len_max_bytes`.
pub fn split(received: &[u8], len_max_bytes: usize) -> Result<Split, FrameError> {
    let Some((header, rest)) = received.split_first_chunk::<HEADER_LEN>() else {
        return Ok(Split::Partial { total_len: HEADER_LEN });
    };
    let raw = i32::from_be_bytes(*header);
    let body_len = usize::try_from(raw).ok().filter(|len| *len <= len_max_bytes);
    match body_len {
        None => Err(FrameError { raw, len_max_bytes }),
        Some(body_len) if rest.len() < body_len => Ok(Split::Partial { total_len: HEADER_LEN + body_len }),
        Some(body_len) => Ok(Split::Frame { body_len }),
    }
}

/// The four letters at the start of a connection, if they can be a command: all of them lower-case ASCII letters or
/// digits. Which of those are commands is the server's knowledge.
pub fn command_word(received: &[u8]) -> Option<[u8; 4]> {
    let word = *received.first_chunk::<4>()?;
    word.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()).then_some(word)
}

/// Walks `bytes` frame by frame, as a connection would.
///
/// # Panics
/// When a frame reaches beyond the bytes, which is a bug.
pub fn fuzz_frame(bytes: &[u8]) {
    let _ = command_word(bytes);
    let mut rest = bytes;
    while let Ok(Split::Frame { body_len }) = split(rest, LEN_MAX_DEFAULT) {
        assert!(body_len <= LEN_MAX_DEFAULT);
        let (_, behind) = rest.split_at(HEADER_LEN + body_len);
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_itself_is_allowed() {
        let at = |len: i32| split(&len.to_be_bytes(), LEN_MAX_DEFAULT);
        assert_eq!(at(1_048_575), Ok(Split::Partial { total_len: 1_048_579 }));
        assert_eq!(at(1_048_576), Err(FrameError { raw: 1_048_576, len_max_bytes: LEN_MAX_DEFAULT }));
        assert!(at(-1).is_err());
    }

    #[test]
    fn a_frame_is_whole_or_partial() {
        assert_eq!(split(&[], 9), Ok(Split::Partial { total_len: 4 }));
        assert_eq!(split(&[0, 0, 0], 9), Ok(Split::Partial { total_len: 4 }));
        assert_eq!(split(&[0, 0, 0, 2, 1], 9), Ok(Split::Partial { total_len: 6 }));
        assert_eq!(split(&[0, 0, 0, 2, 1, 2], 9), Ok(Split::Frame { body_len: 2 }));
        assert_eq!(split(&[0, 0, 0, 0], 9), Ok(Split::Frame { body_len: 0 }));
    }

    #[test]
    fn commands_are_words_and_lengths_are_not() {
        assert_eq!(command_word(b"ruok"), Some(*b"ruok"));
        assert_eq!(command_word(b"ruok\n"), Some(*b"ruok"));
        assert_eq!(command_word(b"ruo"), None);
        assert_eq!(command_word(&45i32.to_be_bytes()), None);
        assert!(i32::from_be_bytes(*b"0000") as usize > LEN_MAX_DEFAULT);
    }
}
