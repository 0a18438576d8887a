//! The election port: how a server introduces itself, and notifications.
//!
//! Flow       received bytes -> `split_initial` once, then `split_notification` -> a record of wire integers;
//!            `encode_*` -> bytes to send.
//! Invariant  what is too short, too long or cut is refused by the rules that Java applies, length by length.
//! Absent     what the numbers mean (the server's codec and zab), SASL and TLS, which come before the notifications.
//!
//! ```text
//! initial       version i64 (-65536 or -65535), sid i64, length i32 (1..=2048), "host:port|host:port.."
//!               or, as servers before 3.5 do: sid i64, which is not negative, and nothing else
//! notification  length i32 (1..=524288), then
//!               state i32, leader i64, zxid i64, round i64, epoch i64, version i32, length i32, configuration
//! ours          behind the configuration: magic 0x52474B50, capabilities i32. Java reads no further than the configuration.
//! ```

use std::borrow::Cow;
use std::fmt;

use crate::error::DecodeError;
use crate::frame::{self, FrameError, Split};
use crate::jute::{Reader, Writer};

/// The longest notification, bytes without the length before it.
pub const NOTIFICATION_LEN_MAX: usize = 512 * 1024;
/// The longest list of addresses in an initial message, bytes.
pub const ADDRESSES_LEN_MAX: usize = 2048;

/// What the first long is when one address follows.
const VERSION_ONE: i64 = -65536;
/// What it is when several may follow.
const VERSION_MANY: i64 = -65535;
/// Bytes of an initial message before its addresses: version, sid, length.
const INITIAL_HEADER_LEN: usize = 20;
/// Notifications without anything behind the round.
const LEN_WITHOUT_EPOCH: usize = 28;
/// Notifications whose last 4 bytes Java passes over.
const LEN_WITHOUT_VERSION: usize = 40;
/// From this message version on there is a configuration.
const VERSION_WITH_CONFIG: i32 = 2;
/// Before the capabilities of a server of ours.
const MAGIC: i32 = 0x5247_4B50;

/// An address in an initial message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElectionAddress {
    /// Name or number; an IPv6 number without brackets.
    pub host: Box<str>,
    /// The election port.
    pub port: u16,
}

/// How a server introduces itself on a connection that it has made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialMessage {
    /// Its number. Negative from nobody; `i64::MAX` from an observer without a number.
    pub sid: i64,
    /// Where it listens for elections. Empty from servers before 3.5.
    pub addresses: Vec<ElectionAddress>,
}

/// Why a connection is closed without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InitialError {
    /// A version that nobody has.
    Version(i64),
    /// A length that no list of addresses has.
    AddressesLen(i32),
    /// Something that is no `host:port`.
    Address,
}

impl fmt::Display for InitialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InitialError::Version(raw) => write!(f, "protocol version {raw} of an initial message is unknown"),
            InitialError::AddressesLen(raw) => {
                write!(f, "{raw} bytes of addresses are not within 1..={ADDRESSES_LEN_MAX}")
            }
            InitialError::Address => write!(f, "an address of an initial message is not host:port"),
        }
    }
}

impl std::error::Error for InitialError {}

/// What stands at the start of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Initial {
    /// All of it.
    Whole {
        /// What it says.
        message: InitialMessage,
        /// How many bytes it took; notifications follow.
        len: usize,
    },
    /// Not yet. There is more to see when `total_len` bytes are there.
    Partial {
        /// Bytes needed, from the start.
        total_len: usize,
    },
}

/// Looks for an initial message at the start of `received`.
///
/// # Errors
/// When none can begin like this.
pub fn split_initial(received: &[u8]) -> Result<Initial, InitialError> {
    let mut reader = Reader::new(received);
    let Ok(first) = reader.i64() else { return Ok(Initial::Partial { total_len: 8 }) };
    if first >= 0 {
        return Ok(Initial::Whole { message: InitialMessage { sid: first, addresses: Vec::new() }, len: 8 });
    }
    if !matches!(first, VERSION_ONE | VERSION_MANY) {
        return Err(InitialError::Version(first));
    }
    let (Ok(sid), Ok(raw)) = (reader.i64(), reader.i32()) else {
        return Ok(Initial::Partial { total_len: INITIAL_HEADER_LEN });
    };
    let text_len = usize::try_from(raw).ok().filter(|len| (1..=ADDRESSES_LEN_MAX).contains(len));
    let text_len = text_len.ok_or(InitialError::AddressesLen(raw))?;
    let len = INITIAL_HEADER_LEN + text_len;
    let Ok(text) = reader.take(text_len) else { return Ok(Initial::Partial { total_len: len }) };
    let text = str::from_utf8(text).map_err(|_| InitialError::Address)?;
    let addresses = text.split('|').map(address).collect::<Option<_>>().ok_or(InitialError::Address)?;
    Ok(Initial::Whole { message: InitialMessage { sid, addresses }, len })
}

/// `host:port`, or `[host]:port` where the host has colons.
fn address(text: &str) -> Option<ElectionAddress> {
    let (host, port) = match text.strip_prefix('[') {
        Some(inner) => inner.split_once("]:")?,
        None => text.split_once(':')?,
    };
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|_| is_number)?;
    (!host.is_empty()).then(|| ElectionAddress { host: host.into(), port })
}

/// Appends an initial message; `has_many` says that multi-address is on, so that there may be several addresses. The whole
/// of it must leave in one piece, since Java reads once.
///
/// # Panics
/// When there is no address, or more than fit; the configuration is checked for that.
pub fn encode_initial(message: &InitialMessage, has_many: bool, out: &mut Vec<u8>) {
    let mut text = String::new();
    for (at, ElectionAddress { host, port }) in message.addresses.iter().enumerate() {
        let separator = if at == 0 { "" } else { "|" };
        let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
        text.push_str(&format!("{separator}{open}{host}{close}:{port}"));
    }
    assert!((1..=ADDRESSES_LEN_MAX).contains(&text.len()), "{} bytes of addresses", text.len());
    let mut writer = Writer::new(out);
    writer.i64(if has_many { VERSION_MANY } else { VERSION_ONE });
    writer.i64(message.sid);
    writer.string(Some(&text));
}

/// A server's state and vote, as integers of the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification<'a> {
    /// 0 to 3: looking, following, leading, observing. Java drops other values of voters.
    pub state: i32,
    /// The sid that is voted for; `i64::MIN` from servers without a vote.
    pub leader: i64,
    /// The end of its history.
    pub zxid: i64,
    /// The round of the election (electionEpoch).
    pub round: i64,
    /// Its epoch (peerEpoch).
    pub epoch: i64,
    /// Version of the message: 2 today, 0 where none is sent.
    pub version: i32,
    /// The sender's committed configuration. Encoded only from version 2 on.
    pub config: Option<Cow<'a, str>>,
    /// What a server of ours can do besides; `None` from Java. Encoded only together with a configuration.
    pub capabilities: Option<i32>,
}

/// Looks for a notification at the start of `received`.
///
/// # Errors
/// When the length is none that a notification has, for which the connection is closed.
pub fn split_notification(received: &[u8]) -> Result<Split, FrameError> {
    match frame::split(received, NOTIFICATION_LEN_MAX)? {
        Split::Frame { body_len: 0 } => Err(FrameError { raw: 0, len_max_bytes: NOTIFICATION_LEN_MAX }),
        split => Ok(split),
    }
}

/// Reads a notification, without the length before it.
///
/// # Errors
/// When Java would drop it; the connection stays.
pub fn decode_notification(body: &[u8]) -> Result<Notification<'_>, DecodeError> {
    let mut reader = Reader::new(body);
    let (state, leader, zxid, round) = (reader.i32()?, reader.i64()?, reader.i64()?, reader.i64()?);
    // The oldest servers mean the epoch of the zxid.
    let epoch = if body.len() == LEN_WITHOUT_EPOCH { zxid >> 32 } else { reader.i64()? };
    let has_version = !matches!(body.len(), LEN_WITHOUT_EPOCH | LEN_WITHOUT_VERSION);
    let version = if has_version { reader.i32()? } else { 0 };
    let (mut config, mut capabilities) = (None, None);
    if version >= VERSION_WITH_CONFIG {
        let raw = reader.i32()?;
        let text = reader.take(usize::try_from(raw).map_err(|_| DecodeError::Length(raw))?)?;
        config = Some(String::from_utf8_lossy(text));
        capabilities = trailer(&mut reader);
    }
    Ok(Notification { state, leader, zxid, round, epoch, version, config, capabilities })
}

/// What follows the configuration when the sender is one of us. Anything else there is ignored, as Java does.
fn trailer(reader: &mut Reader<'_>) -> Option<i32> {
    let is_ours = reader.i32().ok()? == MAGIC;
    reader.i32().ok().filter(|_| is_ours)
}

/// Appends a notification with the length before it. One without a configuration is encoded as of version 2 with an empty
/// one, unless its version is older.
///
/// # Panics
/// Above `NOTIFICATION_LEN_MAX`; configurations are shorter.
pub fn encode_notification(notification: &Notification<'_>, out: &mut Vec<u8>) {
    let mut writer = Writer::new(out);
    let at = writer.position();
    writer.i32(0);
    writer.i32(notification.state);
    writer.i64(notification.leader);
    writer.i64(notification.zxid);
    writer.i64(notification.round);
    writer.i64(notification.epoch);
    writer.i32(notification.version);
    if notification.version >= VERSION_WITH_CONFIG {
        writer.string(Some(notification.config.as_deref().unwrap_or_default()));
        if let Some(capabilities) = notification.capabilities {
            writer.i32(MAGIC);
            writer.i32(capabilities);
        }
    } else {
        // One of 40 bytes would lose its version.
        writer.i32(0);
    }
    let len = writer.position() - at - frame::HEADER_LEN;
    assert!(len <= NOTIFICATION_LEN_MAX, "a notification of {len} bytes");
    writer.patch_i32(at, len as i32);
}

/// Reads `bytes` as a connection's, first the initial message and then notifications, and as a single notification.
///
/// # Panics
/// When what was read is not read again from its own encoding, which is a bug.
pub fn fuzz_election(bytes: &[u8]) {
    fuzz_body(bytes);
    let Ok(Initial::Whole { message, len }) = split_initial(bytes) else { return };
    if !message.addresses.is_empty() {
        let mut again = Vec::new();
        encode_initial(&message, true, &mut again);
        assert_eq!(split_initial(&again), Ok(Initial::Whole { message, len: again.len() }));
    }
    let mut rest = &bytes[len..];
    while let Ok(Split::Frame { body_len }) = split_notification(rest) {
        let (frame, behind) = rest.split_at(frame::HEADER_LEN + body_len);
        fuzz_body(&frame[frame::HEADER_LEN..]);
        rest = behind;
    }
}

fn fuzz_body(body: &[u8]) {
    // Text that is not UTF-8 becomes longer, so only what is far from the limit is sure to be encoded.
    let Some(notification) = decode_notification(body).ok().filter(|_| body.len() < NOTIFICATION_LEN_MAX / 4) else {
        return;
    };
    let mut again = Vec::new();
    encode_notification(&notification, &mut again);
    assert_eq!(split_notification(&again), Ok(Split::Frame { body_len: again.len() - frame::HEADER_LEN }));
    assert_eq!(decode_notification(&again[frame::HEADER_LEN..]).as_ref(), Ok(&notification));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line of hex each, taken from the wire of an ensemble of ZooKeeper 3.8.0 with servers 1 to 6, of which 5 observes.
    /// 1, 5 and 6 were played by a script. The election ports are 32031 to 32036.
    macro_rules! captured {
        ($file:literal) => {
            bytes(include_str!(concat!("testdata/", $file, ".hex")))
        };
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = hex.trim().as_bytes();
        digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    fn at(host: &str, port: u16) -> ElectionAddress {
        ElectionAddress { host: host.into(), port }
    }

    fn initial(sid: i64, addresses: &[ElectionAddress]) -> InitialMessage {
        InitialMessage { sid, addresses: addresses.to_vec() }
    }

    fn encoded_initial(message: &InitialMessage, has_many: bool) -> Vec<u8> {
        let mut out = Vec::new();
        encode_initial(message, has_many, &mut out);
        out
    }

    fn encoded(notification: &Notification<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        encode_notification(notification, &mut out);
        out
    }

    /// The six servers' list, as all of them sent it.
    fn config_of_six() -> String {
        let line = |sid| {
            let role = if sid == 5 { "observer" } else { "participant" };
            format!("server.{sid}=127.0.0.1:3202{sid}:3203{sid}:{role}\n")
        };
        (1..=6).map(line).collect::<String>() + "version=0"
    }

    fn notification() -> Notification<'static> {
        let config = Some("version=0".into());
        Notification {
            state: 0,
            leader: 3,
            zxid: 0x2_0000_0007,
            round: 4,
            epoch: 2,
            version: 2,
            config,
            capabilities: None,
        }
    }

    /// Its first `len` bytes without the length, or with zeros behind.
    fn resized(notification: &Notification<'_>, len: usize) -> Vec<u8> {
        let mut body = encoded(notification).split_off(frame::HEADER_LEN);
        body.resize(len, 0);
        body
    }

    #[test]
    fn captured_introductions_are_read_and_written_again() {
        // Servers 5 (one address, and two) and 2, which dials back server 1 after a knock.
        let five = initial(5, &[at("127.0.0.1", 32035)]);
        let five_twice = initial(5, &[at("127.0.0.1", 32035), at("127.0.0.2", 32035)]);
        let two = initial(2, &[at("127.0.0.1", 32032)]);
        for (bytes, message, has_many) in [
            (captured!("e01_initial_v1_sid5"), five, false),
            (captured!("e02_initial_v2_sid5_two_addrs"), five_twice, true),
            (captured!("e06_initial_v1_dialback_from_sid2"), two, false),
        ] {
            assert_eq!(encoded_initial(&message, has_many), bytes);
            let len = bytes.len();
            assert_eq!(split_initial(&[&bytes[..], b"more"].concat()), Ok(Initial::Whole { message, len }));
            for cut in 0..len {
                let Ok(Initial::Partial { total_len }) = split_initial(&bytes[..cut]) else { panic!("cut at {cut}") };
                assert!(cut < total_len && total_len <= len);
            }
        }
    }

    #[test]
    fn captured_notifications_are_read_and_written_again() {
        // An observer looks; a follower and the leader, server 4, answer it.
        let min = i64::MIN;
        let looking = Notification {
            state: 0,
            leader: min,
            zxid: min,
            round: 1,
            epoch: min,
            version: 2,
            config: Some("version=0".into()),
            capabilities: None,
        };
        let following = Notification {
            state: 1,
            leader: 4,
            zxid: 0,
            epoch: 1,
            config: Some(config_of_six().into()),
            ..looking.clone()
        };
        let leading = Notification { state: 2, ..following.clone() };
        for (bytes, expected) in [
            (captured!("e03_notification_looking_from_observer"), looking),
            (captured!("e04_notification_following_reply"), following),
            (captured!("e05_notification_leading_reply"), leading),
        ] {
            let body = &bytes[frame::HEADER_LEN..];
            assert_eq!(split_notification(&bytes), Ok(Split::Frame { body_len: body.len() }));
            assert_eq!(decode_notification(body), Ok(expected.clone()));
            assert_eq!(encoded(&expected), bytes);
        }
    }

    #[test]
    fn a_first_number_that_is_not_negative_is_the_sid_of_an_old_server() {
        let bytes = [&7i64.to_be_bytes()[..], &[0; 4]].concat();
        assert_eq!(split_initial(&bytes), Ok(Initial::Whole { message: initial(7, &[]), len: 8 }));
    }

    #[test]
    fn other_introductions_are_refused() {
        let with = |len: i32, text: &[u8]| {
            let header = [&VERSION_MANY.to_be_bytes()[..], &1i64.to_be_bytes(), &len.to_be_bytes()].concat();
            split_initial(&[&header[..], text].concat())
        };
        assert_eq!(split_initial(&(-1i64).to_be_bytes()), Err(InitialError::Version(-1)));
        for len in [i32::MIN, -1, 0, 2049, i32::MAX] {
            assert_eq!(with(len, b""), Err(InitialError::AddressesLen(len)), "seen before the text has come");
        }
        for text in ["a", "a:", ":1", "a:x", "a:1:2", "a:65536", "a:+1", "[::1]", "[::1:1", "a:1|", "\u{0}"] {
            assert_eq!(with(text.len() as i32, text.as_bytes()), Err(InitialError::Address), "{text}");
        }
        assert_eq!(with(3, b"\xff:1"), Err(InitialError::Address));
        let addresses = [at("::1", 5), at("b", 6)];
        assert_eq!(with(11, b"[::1]:5|b:6"), Ok(Initial::Whole { message: initial(1, &addresses), len: 31 }));
        assert!(encoded_initial(&initial(1, &addresses), true).ends_with(b"[::1]:5|b:6"));
    }

    #[test]
    fn every_length_is_treated_as_java_does() {
        let new = notification();
        let old = Notification { version: 1, config: None, ..new.clone() };
        for len in 0..28 {
            assert!(decode_notification(&resized(&new, len)).is_err(), "{len}");
        }
        let bare = Notification { version: 0, config: None, ..new.clone() };
        assert_eq!(decode_notification(&resized(&new, 28)).unwrap(), bare, "the epoch is the zxid's");
        for len in 29..40 {
            assert!(decode_notification(&resized(&new, len)).is_err(), "{len}");
        }
        assert_eq!(decode_notification(&resized(&new, 40)).unwrap(), bare, "the version is passed over");
        for len in 41..44 {
            assert!(decode_notification(&resized(&new, len)).is_err(), "{len}");
            assert_eq!(decode_notification(&resized(&old, len)).unwrap(), old, "{len}");
        }
        let empty = Notification { config: Some("".into()), ..new.clone() };
        assert_eq!(decode_notification(&resized(&empty, 44)).unwrap(), empty);
        assert!(decode_notification(&resized(&new, 44)).is_err(), "the configuration is cut");
        assert_eq!(decode_notification(&resized(&old, 99)).unwrap(), old);
        assert_eq!(decode_notification(&resized(&new, 99)).unwrap(), new, "what follows is ignored");
    }

    #[test]
    fn a_configuration_longer_than_the_message_is_refused() {
        for len in [-1, 10, i32::MAX, i32::MIN] {
            let mut body = resized(&notification(), 53);
            body[40..44].copy_from_slice(&len.to_be_bytes());
            assert!(decode_notification(&body).is_err(), "{len}");
        }
    }

    #[test]
    fn later_versions_are_read_as_the_second() {
        let later = Notification { version: 9, ..notification() };
        assert_eq!(decode_notification(&resized(&later, 53)).unwrap(), later);
    }

    #[test]
    fn we_know_each_other_by_what_java_does_not_read() {
        let ours = Notification { capabilities: Some(1), ..notification() };
        let bytes = encoded(&ours);
        assert_eq!(decode_notification(&bytes[4..]).unwrap(), ours);
        assert_eq!(bytes.len(), encoded(&notification()).len() + 8);
        let cut = decode_notification(&bytes[4..bytes.len() - 1]).unwrap();
        assert_eq!(cut, notification(), "half of it says nothing");
    }

    #[test]
    fn lengths_end_at_512_kib_and_begin_at_1() {
        let split = |len: i32| split_notification(&len.to_be_bytes());
        assert_eq!(split(524_288), Ok(Split::Partial { total_len: 524_292 }));
        assert!(split(524_289).is_err() && split(0).is_err() && split(-1).is_err());
    }

    #[test]
    fn the_fuzz_target_takes_the_captures() {
        let hello = captured!("e06_initial_v1_dialback_from_sid2");
        let reply = captured!("e05_notification_leading_reply");
        fuzz_election(&[hello, reply.clone(), reply.clone()].concat());
        fuzz_election(&reply[4..]);
        fuzz_election(&[&7i64.to_be_bytes()[..], &reply].concat());
    }
}
