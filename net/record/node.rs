//! One znode: create, delete, exists, getData, setData, and multi's check.

use std::borrow::Cow;

use super::{acl::Acl, stat::Stat};
use crate::jute::records;

records! {
    /// create, create2 and createContainer.
    CreateRequest<'a> {
        /// Path of the new node, without the suffix of a sequential one. Null fails when the request is prepared.
        path: Option<Cow<'a, str>>,
        /// Its data; null is kept as null.
        data: Option<&'a [u8]>,
        /// Its ACL; null and empty are refused when the request is prepared.
        acl: Option<Vec<Acl<'a>>>,
        /// The create mode, 0 to 6.
        flags: i32,
    }

    /// createTTL.
    CreateTtlRequest<'a> {
        /// As in `CreateRequest`.
        path: Option<Cow<'a, str>>,
        /// As in `CreateRequest`.
        data: Option<&'a [u8]>,
        /// As in `CreateRequest`.
        acl: Option<Vec<Acl<'a>>>,
        /// The create mode, 0 to 6.
        flags: i32,
        /// How long it lives unchanged and without children, in milliseconds.
        ttl_ms: i64,
    }

    /// Answers create.
    CreateResponse<'a> {
        /// The final path, suffix included.
        path: Cow<'a, str>,
    }

    /// Answers the other creates.
    Create2Response<'a> {
        /// The final path, suffix included.
        path: Cow<'a, str>,
        /// The new node's.
        stat: Stat,
    }

    /// delete.
    DeleteRequest<'a> {
        /// The node. Null fails when the request is prepared.
        path: Option<Cow<'a, str>>,
        /// The version it must have; -1 for any.
        version: i32,
    }

    /// exists.
    ExistsRequest<'a> {
        /// The node, which may be missing.
        path: Cow<'a, str>,
        /// Leave a data watch, also when it is missing.
        watch: bool,
    }

    /// Answers exists.
    ExistsResponse {
        /// The node's.
        stat: Stat,
    }

    /// getData.
    GetDataRequest<'a> {
        /// The node.
        path: Cow<'a, str>,
        /// Leave a data watch.
        watch: bool,
    }

    /// Answers getData and reconfig.
    GetDataResponse<'a> {
        /// The node's data, null if it was created with null.
        data: Option<&'a [u8]>,
        /// Taken together with the data.
        stat: Stat,
    }

    /// setData.
    SetDataRequest<'a> {
        /// The node. Null fails when the request is prepared.
        path: Option<Cow<'a, str>>,
        /// The new data.
        data: Option<&'a [u8]>,
        /// The version it must have; -1 for any.
        version: i32,
    }

    /// Answers setData.
    SetDataResponse {
        /// After the change.
        stat: Stat,
    }

    /// check, only inside multi.
    CheckVersionRequest<'a> {
        /// The node. Null fails when the request is prepared.
        path: Option<Cow<'a, str>>,
        /// The version it must have; -1 for any.
        version: i32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jute::{decode, encode};

    /// Create "/a" with data "x" and the open ACL, as the Java client sends it.
    const CREATE: &[u8] = b"\0\0\0\x02/a\0\0\0\x01x\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone\0\0\0\0";

    #[test]
    fn create_matches_the_java_clients_bytes() {
        let request: CreateRequest<'_> = decode(CREATE).unwrap();
        assert_eq!(request.path.as_deref(), Some("/a"));
        assert_eq!(request.data, Some(&b"x"[..]));
        assert_eq!(request.acl, Some(vec![Acl::open()]));
        assert_eq!(request.flags, 0);
        assert_eq!(encode(&request), CREATE);
    }

    #[test]
    fn surplus_bytes_are_ignored() {
        let surplus = [CREATE, b"surplus"].concat();
        assert_eq!(decode::<CreateRequest<'_>>(&surplus), decode(CREATE));
    }

    #[test]
    fn every_cut_is_an_error() {
        for len in 0..CREATE.len() {
            assert!(decode::<CreateRequest<'_>>(&CREATE[..len]).is_err(), "cut at {len}");
        }
    }
}
