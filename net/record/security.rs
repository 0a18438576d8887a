//! Who the client is: auth packets, SASL tokens, whoAmI.

use std::borrow::Cow;

use crate::jute::records;

records! {
    /// auth: one more identity for this connection.
    AuthPacket<'a> {
        /// Always 0, and ignored.
        auth_type: i32,
        /// Which provider shall look at it.
        scheme: Option<Cow<'a, str>>,
        /// What that provider wants to see, such as `user:password`.
        auth: Option<&'a [u8]>,
    }

    /// One step of a SASL exchange.
    SaslRequest<'a> {
        /// The client's token.
        token: Option<&'a [u8]>,
    }

    /// Answers `SaslRequest`.
    SaslResponse<'a> {
        /// The server's token, null when it has none.
        token: Option<&'a [u8]>,
    }

    /// One identity of a connection.
    ClientInfo<'a> {
        /// Its scheme.
        auth_scheme: Cow<'a, str>,
        /// The user, without what is secret.
        user: Cow<'a, str>,
    }

    /// Answers whoAmI.
    WhoAmIResponse<'a> {
        /// In no order.
        client_info: Vec<ClientInfo<'a>>,
    }
}
