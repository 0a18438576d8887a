//! Durable records keyed by an increasing sequence number, and snapshots of what they add up to.
