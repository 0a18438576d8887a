//! Listings: getChildren, getChildren2, getAllChildrenNumber, getEphemerals.
//!
//! The responses own a vector of names, which suits a client. A server that lists a million children writes the count
//! and the names straight into its reply with `jute::Writer`.

use std::borrow::Cow;

use super::stat::Stat;
use crate::jute::records;

records! {
    /// getChildren and getChildren2.
    GetChildrenRequest<'a> {
        /// The parent.
        path: Cow<'a, str>,
        /// Leave a child watch.
        watch: bool,
    }

    /// Answers getChildren.
    GetChildrenResponse<'a> {
        /// Names, not paths, in no order.
        children: Vec<Cow<'a, str>>,
    }

    /// Answers getChildren2.
    GetChildren2Response<'a> {
        /// Names, not paths, in no order.
        children: Vec<Cow<'a, str>>,
        /// The parent's.
        stat: Stat,
    }

    /// getAllChildrenNumber.
    GetAllChildrenNumberRequest<'a> {
        /// The node whose descendants are counted.
        path: Cow<'a, str>,
    }

    /// Answers getAllChildrenNumber.
    GetAllChildrenNumberResponse {
        /// Descendants, not counting the node itself.
        total_number: i32,
    }

    /// getEphemerals.
    GetEphemeralsRequest<'a> {
        /// What the paths must start with; null, blank and "/" mean all.
        prefix_path: Option<Cow<'a, str>>,
    }

    /// Answers getEphemerals.
    GetEphemeralsResponse<'a> {
        /// Paths of this session's ephemeral nodes, in no order.
        ephemerals: Vec<Cow<'a, str>>,
    }
}
