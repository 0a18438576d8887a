//! Why a connection is gone or was not made, in a few words for logs.

use std::io::{self, ErrorKind};

/// The peer has ended its side.
pub(super) const CLOSED_BY_PEER: &str = "closed by the peer";

/// Nobody answered in time.
pub(super) const TIMED_OUT: &str = "timed out";

/// What the kernel's error means.
pub(super) fn of(error: &io::Error) -> Box<str> {
    match error.kind() {
        ErrorKind::ConnectionRefused => "refused".into(),
        ErrorKind::TimedOut => TIMED_OUT.into(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "reset by the peer".into(),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => "no route to the host".into(),
        _ => error.to_string().into(),
    }
}

/// Why a name has no address. The resolver's library says most of it as text alone.
pub(super) fn of_lookup(error: &io::Error) -> Box<str> {
    let text = error.to_string();
    let detail = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
    let is_temporary = detail.contains("emporary") || error.raw_os_error().is_some();
    if is_temporary {
        format!("its name could not be looked up: {detail}").into()
    } else {
        format!("no such host name: {detail}").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_often_has_its_own_words() {
        let said = |raw| of(&io::Error::from_raw_os_error(raw));
        assert_eq!(&*said(111), "refused");
        assert_eq!(&*said(110), TIMED_OUT);
        assert_eq!(&*said(104), "reset by the peer");
        assert_eq!(&*said(113), "no route to the host");
        assert!(said(105).contains("105"), "anything else is the kernel's own text");
    }

    #[test]
    fn a_name_that_is_not_there_differs_from_a_resolver_that_is_not() {
        let lookup =
            |detail: &str| of_lookup(&io::Error::other(format!("failed to lookup address information: {detail}")));
        assert_eq!(&*lookup("Name or service not known"), "no such host name: Name or service not known");
        let down = lookup("Temporary failure in name resolution");
        assert_eq!(&*down, "its name could not be looked up: Temporary failure in name resolution");
    }
}
