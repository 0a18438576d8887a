//! What members say to each other on the quorum port, as far as agreement is concerned.
//!
//! Absent     bytes (the server's codec), and what rides on the same connections for sessions: forwarded requests and
//!            revalidation. Those never come here.

use alloc::boxed::Box;

use bytes::Bytes;
use ids::{Epoch, Sid, Zxid};

/// One connection to the quorum port of this member, or from it to its leader's. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub u64);

/// A learner's first words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// Who it is.
    pub sid: Sid,
    /// Whether it only observes (OBSERVERINFO in place of FOLLOWERINFO).
    pub is_observer: bool,
    /// The last epoch that it has promised to a leader.
    pub accepted_epoch: Epoch,
    /// Version of the configuration that it knows to be committed.
    pub config_version: u64,
    /// Whether it is one of us, and understands what only we say to each other. Java never sees it.
    pub is_ringkeeper: bool,
}

/// A packet of the quorum port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Packet {
    /// FOLLOWERINFO or OBSERVERINFO.
    Hello(Hello),
    /// LEADERINFO: the epoch that this leader leads.
    LeaderInfo {
        /// Its number.
        epoch: Epoch,
        /// Whether the leader is one of us. Only said to those who are.
        is_ringkeeper: bool,
    },
    /// ACKEPOCH: the learner has promised to hear no older leader.
    AckEpoch {
        /// Its last logged transaction.
        last: Zxid,
        /// The last epoch whose history it took over; `None` when it had promised this epoch before, which does not
        /// count again.
        current_epoch: Option<Epoch>,
    },
    /// DIFF: keep what you have, more follows.
    Diff {
        /// The leader's last transaction; for the log only.
        last: Zxid,
    },
    /// TRUNC: forget everything behind this.
    Trunc {
        /// The last transaction to keep.
        last: Zxid,
    },
    /// SNAP: a whole state follows, as bytes outside of packets.
    Snap {
        /// It holds everything up to here.
        last: Zxid,
    },
    /// NEWLEADER: what came before is the history that the epoch begins with.
    NewLeader {
        /// The epoch.
        epoch: Epoch,
        /// The leader's last seen configuration, as text.
        config: Option<Box<str>>,
    },
    /// UPTODATE: a quorum has taken the history over; serve.
    UpToDate,
    /// PROPOSAL: log this.
    Proposal {
        /// Its place in the order.
        zxid: Zxid,
        /// The transaction as logs keep it.
        entry: Bytes,
    },
    /// ACK: it is on the sender's disk; with counter 0, the epoch's beginning is.
    Ack {
        /// What is.
        zxid: Zxid,
    },
    /// COMMIT: a quorum has it.
    Commit {
        /// What was proposed.
        zxid: Zxid,
    },
    /// COMMITANDACTIVATE: the same for a new configuration.
    CommitAndActivate {
        /// What was proposed.
        zxid: Zxid,
        /// Who leads from here on.
        designated: Sid,
    },
    /// INFORM: proposal and commit in one, for observers.
    Inform {
        /// Its place in the order.
        zxid: Zxid,
        /// The transaction.
        entry: Bytes,
    },
    /// INFORMANDACTIVATE.
    InformAndActivate {
        /// Its place in the order.
        zxid: Zxid,
        /// Who leads from here on.
        designated: Sid,
        /// The transaction.
        entry: Bytes,
    },
    /// SYNC: everything that was proposed before the learner asked for it is committed.
    Sync,
    /// PING of the leader: I am alive, and this was proposed last.
    Ping {
        /// The last proposal.
        last: Zxid,
    },
    /// The answer to it. What it carries about sessions is the shell's affair.
    Pong {
        /// As in the question.
        last: Zxid,
    },
}

impl Packet {
    /// Bytes that it carries besides its fixed part: what counts against a link's window.
    pub fn payload_len(&self) -> usize {
        match self {
            Packet::Proposal { entry, .. } | Packet::Inform { entry, .. } | Packet::InformAndActivate { entry, .. } => {
                entry.len()
            }
            Packet::NewLeader { config: Some(config), .. } => config.len(),
            _ => 0,
        }
    }

    /// The protocol's word for it.
    pub const fn name(&self) -> &'static str {
        match self {
            Packet::Hello(Hello { is_observer: false, .. }) => "FOLLOWERINFO",
            Packet::Hello(_) => "OBSERVERINFO",
            Packet::LeaderInfo { .. } => "LEADERINFO",
            Packet::AckEpoch { .. } => "ACKEPOCH",
            Packet::Diff { .. } => "DIFF",
            Packet::Trunc { .. } => "TRUNC",
            Packet::Snap { .. } => "SNAP",
            Packet::NewLeader { .. } => "NEWLEADER",
            Packet::UpToDate => "UPTODATE",
            Packet::Proposal { .. } => "PROPOSAL",
            Packet::Ack { .. } => "ACK",
            Packet::Commit { .. } => "COMMIT",
            Packet::CommitAndActivate { .. } => "COMMITANDACTIVATE",
            Packet::Inform { .. } => "INFORM",
            Packet::InformAndActivate { .. } => "INFORMANDACTIVATE",
            Packet::Sync => "SYNC",
            Packet::Ping { .. } | Packet::Pong { .. } => "PING",
        }
    }
}
