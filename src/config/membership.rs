//! An ensemble's members, and how they deal with each other: what the server list and its relatives come to.
//!
//! Flow       `members` reads the lines -> `build::membership` checks them -> [`Membership`].
//! Invariant  ids are unique and ascending, ours is among them, somebody votes, and no two members share an address.
//! Absent     addresses that are resolved: a host's name is looked up anew for each connection, as in ZooKeeper.

use std::fmt::Write;

use ids::Sid;

/// What a member of an ensemble knows of it at its start.
#[derive(Clone, Debug, PartialEq)]
pub struct Membership {
    /// `myid`: which of them we are.
    pub my_id: Sid,
    /// Everybody, by ascending id.
    pub members: Vec<Member>,
    /// Which voters together decide.
    pub quorum: Quorum,
    /// Version of the server list: the end of dynamicConfigFile's name as hex, else 0.
    pub version: u64,
    /// `tickTime`, ms: the unit of the limits, here once more.
    pub tick_time_ms: u32,
    /// `initLimit`: how long joining and taking over a history may take, each read of it included, ms.
    pub init_limit_ms: u64,
    /// `syncLimit`: how long a member may be silent or behind, ms.
    pub sync_limit_ms: u64,
    /// `connectToLearnerMasterLimit`: how long a learner tries to connect to its leader, ms. Default initLimit.
    pub connect_limit_ms: u64,
    /// `leaderConnectDelayDuringRetryMs`: between two such tries, ms. Default 100.
    pub connect_retry_ms: u32,
    /// `leader.maxTimeToWaitForEpoch`: how long a leader waits for a quorum's hellos, ms. Default initLimit.
    pub epoch_limit_ms: u64,
    /// The ports on which members hear each other.
    pub listen: PeerListen,
    /// Times of elections.
    pub election: ElectionTimes,
    /// `leaderServes`: whether a leader takes clients. Default true.
    pub leader_serves: bool,
    /// `leader.maxConcurrentSnapSyncs`: observers that may be sent a whole state at a time. Default 10.
    pub snap_syncs_max: u32,
    /// `leader.maxConcurrentDiffSyncs`: observers that may be sent what they miss at a time. Default 100.
    pub diff_syncs_max: u32,
    /// `observer.reconnectDelayMs`: an observer waits up to this before it connects again, ms. Default 0.
    pub observer_reconnect_ms: u32,
    /// `jute.maxbuffer` and `jute.maxbuffer.extrasize` together: the longest data that a packet between members may have,
    /// bytes.
    pub packet_data_max_bytes: usize,
    /// `ringkeeper.heartbeatMs`: how often a leader of our make says to learners of our make that it is there, ms. Default
    /// 30.
    pub heartbeat_ms: u32,
    /// `ringkeeper.suspectAfterMs`: how long such members believe in each other without hearing anything, ms. Default 500,
    /// at least three heartbeats.
    pub suspect_after_ms: u32,
}

/// One server of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// N of `server.N`.
    pub sid: Sid,
    /// Whether it only observes.
    pub is_observer: bool,
    /// Name or address, an IPv6 one without brackets.
    pub host: Box<str>,
    /// Where it listens when it leads.
    pub quorum_port: u16,
    /// Where it always listens, for elections.
    pub election_port: u16,
    /// Where its clients connect, if the list says so: host, `None` for all of its addresses, and port.
    pub client: Option<(Option<Box<str>>, u16)>,
}

/// Which voters together decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quorum {
    /// More than half of them.
    Majority,
    /// More than half of the groups, each by more than half of its weight (`group.*`, `weight.*`).
    Groups {
        /// Number of a group, and who is in it; ascending.
        groups: Vec<(u64, Vec<Sid>)>,
        /// Of every voter, 1 where none is given; ascending. A member of weight 0 is in no quorum.
        weights: Vec<(Sid, u64)>,
    },
}

/// How a member listens for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerListen {
    /// `quorumListenOnAllIPs`: on every address, not on the listed host's alone. Default false.
    pub on_all_addresses: bool,
    /// `electionPortBindRetry`: how often a port that cannot be had is tried again. `None` (0): for ever. Default 3.
    pub bind_retries: Option<u32>,
    /// `tcpKeepAlive`: SO_KEEPALIVE on connections for elections. Default false.
    pub keep_alive: bool,
}

/// Times of elections, ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElectionTimes {
    /// `cnxTimeout`: to connect to another member. Default 5000.
    pub connect_timeout_ms: u32,
    /// `quorumCnxnTimeoutMs`: to read another's first words. Default syncLimit.
    pub hello_timeout_ms: u64,
    /// `fastleader.minNotificationInterval`: silence before votes are sent again; doubles each time. Default 200.
    pub notification_min_ms: u32,
    /// `fastleader.maxNotificationInterval`: where the doubling ends. Default 60,000.
    pub notification_max_ms: u32,
    /// `observer.election.DelayMs`: an observer asks this long after its leader was lost. Default 200.
    pub observer_delay_ms: u32,
}

impl Membership {
    /// Our own line.
    pub fn me(&self) -> &Member {
        self.member(self.my_id).expect("we are in the list")
    }

    /// The line of `sid`, if there is one.
    pub fn member(&self, sid: Sid) -> Option<&Member> {
        let at = self.members.binary_search_by_key(&sid, |member| member.sid).ok()?;
        Some(&self.members[at])
    }

    /// Those who vote.
    pub fn voters(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.is_observer)
    }

    /// The list as members tell it each other, and as /zookeeper/config has it: with the version, without a newline at the
    /// end.
    pub fn text(&self) -> String {
        let mut text: String = self.members.iter().map(|member| format!("{}\n", member.line())).collect();
        if let Quorum::Groups { groups, weights } = &self.quorum {
            for (group, sids) in groups {
                let sids: Vec<String> = sids.iter().map(|sid| sid.to_u64().to_string()).collect();
                writeln!(text, "group.{group}={}", sids.join(":")).expect("a String takes everything");
            }
            for (sid, weight) in weights {
                writeln!(text, "weight.{}={weight}", sid.to_u64()).expect("a String takes everything");
            }
        }
        write!(text, "version={:x}", self.version).expect("a String takes everything");
        text
    }
}

impl Member {
    /// `server.N=...`, with everything spelt out.
    pub fn line(&self) -> String {
        let role = if self.is_observer { "observer" } else { "participant" };
        let (host, quorum, election) = (bracketed(&self.host), self.quorum_port, self.election_port);
        let client = self.client.as_ref().map_or_else(String::new, |(host, port)| {
            format!(";{}:{port}", host.as_deref().map_or("0.0.0.0".to_owned(), bracketed))
        });
        format!("server.{}={host}:{quorum}:{election}:{role}{client}", self.sid.to_u64())
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}
