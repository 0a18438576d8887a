//! What the protocol wants done. The shell carries it out, in order, and comes back with what happened.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;
use ids::{Epoch, Sid, Zxid};

use crate::message::{LinkId, Packet};
use crate::vote::Notification;

/// The epochs that a member keeps on disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Epochs {
    /// Promised to a leader: none of an older epoch is heard.
    pub accepted: Epoch,
    /// Of the last leader whose history was taken over.
    pub current: Epoch,
}

/// What a member is to its clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Nothing: it looks for a leader, or is being brought up to date.
    Idle,
    /// It leads and takes writes.
    Leading {
        /// Its epoch: the next zxid is its first.
        epoch: Epoch,
    },
    /// It follows or observes, is up to date, and forwards writes over this link.
    Learning {
        /// To whom.
        leader: Sid,
        /// Over which link.
        link: LinkId,
    },
}

/// Why a link is closed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CloseReason {
    /// This member's part has changed; nothing is wrong with the peer.
    PartEnded,
    /// It said what nobody may say at that moment.
    OutOfTurn {
        /// The packet.
        packet: &'static str,
        /// When.
        stage: &'static str,
    },
    /// It was silent for too long.
    Silent {
        /// ms.
        for_ms: i64,
    },
    /// It answers, but what was proposed is not acknowledged.
    Stuck {
        /// ms without progress.
        for_ms: i64,
    },
    /// It has what this leader hasn't: it should lead.
    Ahead,
    /// It knows a newer configuration than this leader.
    NewerConfig,
    /// Another connection with the same id has come.
    Superseded,
    /// A leader of an older epoch than one that was promised.
    OldEpoch,
    /// Proposals with a gap.
    Gap {
        /// Expected behind this.
        after: Zxid,
        /// What came.
        found: Zxid,
    },
    /// A commit of what was never proposed.
    UnknownCommit {
        /// What it named.
        zxid: Zxid,
    },
    /// The snapshot or the cut of the log did not work.
    SyncFailed,
    /// There are more learners than one has room for.
    TooMany,
}

/// Something to do.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    /// Send a notification on the election port.
    Notify {
        /// To whom.
        to: Sid,
        /// What.
        notification: Box<Notification>,
    },
    /// Have a connection to every voter's election port.
    ConnectAll,
    /// Reach a leader's quorum port: `on_connected`, or `on_closed` with the same link.
    Connect {
        /// Whose.
        to: Sid,
        /// The name that the link gets.
        link: LinkId,
    },
    /// Send a packet.
    Send {
        /// Where.
        link: LinkId,
        /// What.
        packet: Packet,
    },
    /// Close a link. Nothing that was sent before need arrive. `on_closed` does not follow.
    Close {
        /// Which.
        link: LinkId,
        /// For the log.
        reason: CloseReason,
    },
    /// Append to the log: `on_durable`.
    Append {
        /// Its place.
        zxid: Zxid,
        /// What.
        entry: Bytes,
    },
    /// Make this durable, together with the change to the state that a snapshot has brought if `adopt`: `on_saved`.
    SaveEpochs {
        /// What.
        epochs: Epochs,
        /// Whether the log and snapshot since `ReceiveSnapshot` take the place of those before.
        adopt: bool,
    },
    /// Cut the log behind `last`, and the state if it goes further: `on_truncated`.
    Truncate {
        /// The last to keep.
        last: Zxid,
    },
    /// A whole state follows on this link, up to `last` at least. What is appended later goes to a log of its own
    /// beside it, until it is adopted: `on_snapshot`.
    ReceiveSnapshot {
        /// Where it comes from.
        link: LinkId,
        /// What it holds at least.
        last: Zxid,
    },
    /// Forget the state in memory and what was not adopted, and load what the disk has: `on_reloaded`.
    Reload,
    /// Look up a zxid in the log on disk: `on_located`.
    LookUp {
        /// For whom.
        link: LinkId,
        /// What.
        zxid: Zxid,
    },
    /// Send everything above `after` up to `upto` out of the log on disk, each entry as a proposal and its commit, or as
    /// an inform: `on_history_sent`.
    SendHistory {
        /// Where to.
        link: LinkId,
        /// Not this.
        after: Zxid,
        /// This too.
        upto: Zxid,
        /// Whether the learner observes.
        as_inform: bool,
    },
    /// Send the state as it is, behind a SNAP packet: `on_snapshot_sent` with its zxid.
    SendSnapshot {
        /// Where to.
        link: LinkId,
    },
    /// Apply everything up to here.
    Deliver {
        /// Committed.
        upto: Zxid,
    },
    /// Clients are served from now on, or no longer.
    Stand(Standing),
    /// Worth a line in the log.
    Tell(News),
}

/// What an operator wants to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum News {
    /// An election begins.
    Looking {
        /// The last of the own log.
        last: Zxid,
        /// The own epoch.
        epoch: Epoch,
    },
    /// An election has ended.
    Elected {
        /// Who.
        leader: Sid,
    },
    /// This leader has its epoch.
    EpochBegins {
        /// Its number.
        epoch: Epoch,
    },
    /// How a learner is brought up to date.
    Syncing {
        /// Who.
        learner: Sid,
        /// Where its log ends.
        from: Zxid,
        /// The protocol's word.
        by: &'static str,
    },
    /// A learner has all and is told to serve.
    Synced {
        /// Who.
        learner: Sid,
    },
    /// A learner falls behind and is served from the disk, at its own pace.
    Lagging {
        /// Who.
        learner: Sid,
        /// The last that it was sent.
        at: Zxid,
    },
    /// This leader gives up.
    Resigns {
        /// Why.
        reason: &'static str,
    },
    /// The leader is given up.
    LeftLeader {
        /// Who.
        leader: Sid,
        /// Why.
        reason: &'static str,
    },
}

/// The shell's to-do list.
pub type Outbox = Vec<Action>;
