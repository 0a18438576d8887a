//! Other members of the ensemble, as the link brings their bytes.
//!
//! Absent     any understanding of them.

use super::super::link::messages::FromLink;
use super::{Now, Replica};

impl Replica {
    /// Takes what the link says.
    pub fn on_link(&mut self, messages: impl Iterator<Item = FromLink>, _now: Now) {
        self.heard_of_peers += messages.count() as u64;
    }

    /// Messages that the link has said.
    pub fn heard_of_peers(&self) -> u64 {
        self.heard_of_peers
    }
}
