//! Keys of ensembles: how members find, elect and follow each other.

use super::Scope::{File, Jvm, Property, PropertyOrBare};
use super::{I32_MAX, Key, Kind, SASL, from_minus_one, int, natural, positive};

const fn key(name: &'static str, scope: super::Scope, kind: Kind, default: &'static str) -> Key {
    super::key(name, scope, kind, default).among_members()
}

const fn unset(name: &'static str, scope: super::Scope, kind: Kind) -> Key {
    super::unset(name, scope, kind).among_members()
}

const LOCAL_SESSIONS: &str = "local sessions are not supported yet";
const MULTI_ADDRESS: &str = "several addresses per server are not supported yet";
const OBSERVER_MASTER: &str = "observers connect to the leader, not to followers, so far";
const NO_BLOCKING: &str = "no socket between servers ever blocks";
const ALWAYS_NODELAY: &str = "sockets between servers are never delayed";
const NO_PROCESSORS: &str = "there is no commit processor with threads and batches of its own";
const NO_TRACKER: &str = "messages between servers are not kept for the log";
const NO_THREADS: &str = "no connection has a thread";

pub(super) const KEYS: &[Key] = &[
    key("initLimit", File, natural("ticks"), "0"),
    key("syncLimit", File, natural("ticks"), "0"),
    key("connectToLearnerMasterLimit", File, natural("ticks, 0 is initLimit"), "0"),
    key("electionAlg", File, int(3, 3, "the only one left"), "3"),
    key("peerType", File, Kind::Word(&["participant", "observer"], true), "participant"),
    unset("group.*", File, Kind::Text),
    unset("weight.*", File, Kind::Text),
    unset("observerMasterPort", File, int(i32::MIN as i64, 65_535, "0 or less is not set")).not_yet(OBSERVER_MASTER),
    key("quorumListenOnAllIPs", File, Kind::Bool, "false"),
    key("localSessionsEnabled", File, Kind::Bool, "false").not_yet(LOCAL_SESSIONS),
    key("localSessionsUpgradingEnabled", File, Kind::Bool, "false").not_yet(LOCAL_SESSIONS),
    key("quorum.auth.enableSasl", File, Kind::Bool, "false").not_yet(SASL),
    key("quorum.auth.serverRequireSasl", File, Kind::Bool, "false").not_yet(SASL),
    key("quorum.auth.learnerRequireSasl", File, Kind::Bool, "false").not_yet(SASL),
    key("quorum.auth.learner.saslLoginContext", File, Kind::Text, "QuorumLearner").not_yet(SASL),
    key("quorum.auth.server.saslLoginContext", File, Kind::Text, "QuorumServer").not_yet(SASL),
    key("quorum.auth.kerberos.servicePrincipal", File, Kind::Text, "zkquorum/localhost").not_yet(SASL),
    key("quorum.cnxn.threads.size", File, natural("threads"), "20").never(NO_THREADS),
    key("multiAddress.enabled", File, Kind::Bool, "false").not_yet(MULTI_ADDRESS),
    key("multiAddress.reachabilityCheckTimeoutMs", File, natural("ms"), "1000").not_yet(MULTI_ADDRESS),
    key("multiAddress.reachabilityCheckEnabled", File, Kind::Bool, "true").not_yet(MULTI_ADDRESS),
    unset("oraclePath", File, Kind::Text),
    key("leaderServes", Property, Kind::Word(&["yes", "no"], false), "yes"),
    key("cnxTimeout", Property, positive("ms"), "5000"),
    key("quorumCnxnTimeoutMs", Property, from_minus_one("ms"), "-1"),
    key("electionPortBindRetry", Property, natural("times, 0 is for ever"), "3"),
    key("fastleader.minNotificationInterval", Property, positive("ms"), "200"),
    key("fastleader.maxNotificationInterval", Property, positive("ms"), "60000"),
    key("tcpKeepAlive", Property, Kind::Bool, "false"),
    key("observer.reconnectDelayMs", Property, natural("ms"), "0"),
    key("observer.election.DelayMs", Property, natural("ms"), "200"),
    key("observerMaster.sizeLimit", Property, int(-1, I32_MAX, "bytes"), "33554432").not_yet(OBSERVER_MASTER),
    key("leaderConnectDelayDuringRetryMs", Property, natural("ms"), "100"),
    key("leader.maxConcurrentSnapSyncs", Property, positive("learners"), "10"),
    key("leader.maxConcurrentDiffSyncs", Property, positive("learners"), "100"),
    key("leader.maxTimeToWaitForEpoch", Property, from_minus_one("ms, -1 is initLimit"), "-1"),
    key("leader.ackLoggingFrequency", Property, natural("proposals"), "1000").never(NO_TRACKER),
    key("leader.closeSocketAsync", PropertyOrBare, Kind::Bool, "false").never(NO_BLOCKING),
    key("learner.closeSocketAsync", PropertyOrBare, Kind::Bool, "false").never(NO_BLOCKING),
    key("learner.asyncSending", PropertyOrBare, Kind::Bool, "false").never(NO_BLOCKING),
    key("leader.nodelay", Jvm, Kind::Bool, "true").never(ALWAYS_NODELAY),
    key("follower.nodelay", Jvm, Kind::Bool, "true").never(ALWAYS_NODELAY),
    key("forward_learner_requests_to_commit_processor_disabled", Property, Kind::Bool, "false").never(NO_PROCESSORS),
    key("follower.skipLearnerRequestToNextProcessor", Property, Kind::Bool, "false").never(NO_PROCESSORS),
    unset("commitProcessor.numWorkerThreads", Property, natural("threads")).never(NO_PROCESSORS),
    key("commitProcessor.maxReadBatchSize", Property, from_minus_one("reads"), "-1").never(NO_PROCESSORS),
    key("commitProcessor.maxCommitBatchSize", Property, natural("commits"), "1").never(NO_PROCESSORS),
    key("commitProcessor.shutdownTimeout", Property, natural("ms"), "5000").never(NO_PROCESSORS),
    key("messageTracker.Enabled", Property, Kind::Bool, "false").never(NO_TRACKER),
    key("messageTracker.BufferSize", Property, natural("messages"), "10").never(NO_TRACKER),
];
