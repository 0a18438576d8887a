//! The handshake: the first frame in each direction, which has no header.
//!
//! Clients up to 3.3 do not know the readOnly byte. They leave it out of the request and expect it not to be in the
//! response, so here it is an `Option` whose presence is taken from the bytes.

use crate::{
    error::DecodeError,
    jute::{Reader, Record, Writer, decode, encode},
};

/// Length of a session's password.
pub const PASSWORD_LEN: usize = 16;

/// A client's first frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectRequest<'a> {
    /// Always 0, and ignored.
    pub protocol_version: i32,
    /// The highest zxid this client has seen in any reply.
    pub last_zxid_seen: i64,
    /// The session timeout it asks for, in milliseconds.
    pub timeout_ms: i32,
    /// 0 for a new session.
    pub session_id: i64,
    /// `PASSWORD_LEN` bytes, unless the peer has other ideas; null happens for new sessions.
    pub password: Option<&'a [u8]>,
    /// Whether a read-only server will do; `None` when the client is too old to say.
    pub read_only: Option<bool>,
}

impl<'a> Record<'a> for ConnectRequest<'a> {
    const LEN_MIN: usize = 28;

    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(ConnectRequest {
            protocol_version: reader.i32()?,
            last_zxid_seen: reader.i64()?,
            timeout_ms: reader.i32()?,
            session_id: reader.i64()?,
            password: reader.buffer()?,
            read_only: trailing_bool(reader)?,
        })
    }

    fn encode(&self, writer: &mut Writer<'_>) {
        writer.i32(self.protocol_version);
        writer.i64(self.last_zxid_seen);
        writer.i32(self.timeout_ms);
        writer.i64(self.session_id);
        writer.buffer(self.password);
        self.read_only.into_iter().for_each(|read_only| writer.bool(read_only));
    }
}

/// The server's first frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectResponse<'a> {
    /// Always 0.
    pub protocol_version: i32,
    /// The negotiated session timeout in milliseconds; 0 when the session is refused, which means expired.
    pub timeout_ms: i32,
    /// 0 when refused.
    pub session_id: i64,
    /// `PASSWORD_LEN` bytes, zeros when refused.
    pub password: Option<&'a [u8]>,
    /// Whether this server is read-only. Sent only to clients that said theirs.
    pub read_only: Option<bool>,
}

impl ConnectResponse<'static> {
    /// The session is gone. `read_only` is `None` exactly when the request's was.
    pub fn refused(read_only: Option<bool>) -> ConnectResponse<'static> {
        ConnectResponse {
            protocol_version: 0,
            timeout_ms: 0,
            session_id: 0,
            password: Some(&[0; PASSWORD_LEN]),
            read_only,
        }
    }
}

impl<'a> Record<'a> for ConnectResponse<'a> {
    const LEN_MIN: usize = 20;

    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(ConnectResponse {
            protocol_version: reader.i32()?,
            timeout_ms: reader.i32()?,
            session_id: reader.i64()?,
            password: reader.buffer()?,
            read_only: trailing_bool(reader)?,
        })
    }

    fn encode(&self, writer: &mut Writer<'_>) {
        writer.i32(self.protocol_version);
        writer.i32(self.timeout_ms);
        writer.i64(self.session_id);
        writer.buffer(self.password);
        self.read_only.into_iter().for_each(|read_only| writer.bool(read_only));
    }
}

fn trailing_bool(reader: &mut Reader<'_>) -> Result<Option<bool>, DecodeError> {
    if reader.rest().is_empty() { Ok(None) } else { reader.bool().map(Some) }
}

/// Decodes `bytes` as each half of a handshake; what decodes must decode again from its own encoding, and no bytes but
/// those of an old peer may lack the readOnly byte.
///
/// # Panics
/// When it does not, which is a bug.
pub fn fuzz_connect(bytes: &[u8]) {
    if let Ok(request) = decode::<ConnectRequest<'_>>(bytes) {
        let again = encode(&request);
        assert_eq!(decode(&again), Ok(request));
        assert!(again.len() == bytes.len() || request.read_only.is_some() && again.len() < bytes.len());
    }
    if let Ok(response) = decode::<ConnectResponse<'_>>(bytes) {
        let again = encode(&response);
        assert_eq!(decode(&again), Ok(response));
        assert!(again.len() == bytes.len() || response.read_only.is_some() && again.len() < bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(read_only: Option<bool>) -> ConnectRequest<'static> {
        ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: 7,
            timeout_ms: 30_000,
            session_id: 0,
            password: Some(&[0; PASSWORD_LEN]),
            read_only,
        }
    }

    #[test]
    fn old_clients_frames_are_a_byte_shorter() {
        let (new, old) = (encode(&request(Some(false))), encode(&request(None)));
        assert_eq!((new.len(), old.len()), (45, 44));
        assert_eq!(decode(&new), Ok(request(Some(false))));
        assert_eq!(decode(&old), Ok(request(None)));
    }

    #[test]
    fn a_refusal_is_all_zeros() {
        let bytes = encode(&ConnectResponse::refused(Some(false)));
        assert_eq!(bytes.len(), 37);
        assert!(bytes.iter().enumerate().all(|(at, byte)| *byte == if at == 19 { 16 } else { 0 }));
        assert_eq!(encode(&ConnectResponse::refused(None)).len(), 36);
    }
    /// Flips every bit of every kind of handshake, cuts it everywhere and adds to it: the fuzz target's smoke test.
    #[test]
    fn damaged_handshakes_do_no_harm() {
        let requests = [None, Some(false), Some(true)].map(|read_only| encode(&request(read_only)));
        let responses = [None, Some(true)].map(|read_only| encode(&ConnectResponse::refused(read_only)));
        for whole in requests.into_iter().chain(responses) {
            (0..whole.len()).for_each(|len| fuzz_connect(&whole[..len]));
            fuzz_connect(&[&whole[..], &[1, 2]].concat());
            for bit in 0..whole.len() * 8 {
                let mut damaged = whole.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                fuzz_connect(&damaged);
            }
        }
    }
}
