//! Keys of the admin server, metrics, the audit log, and of what start scripts tell a JVM about its logs.

use super::Scope::{File, Property};
use super::{Key, Kind, int, key, natural, unset};

const ADMIN: &str = "the admin server is not built yet";
const METRICS: &str = "metrics providers are not built yet; mntr shows every metric";
const AUDIT: &str = "the audit log is not built yet";
const NO_JMX: &str = "there is no JMX without a JVM";
const STANDARD_ERROR: &str = "the log goes to standard error; see --log-level and --log-format";

pub(super) const KEYS: &[Key] = &[
    unset("metricsProvider.className", File, Kind::Text).not_yet(METRICS),
    unset("metricsProvider.*", File, Kind::Text).not_yet(METRICS),
    key("admin.enableServer", Property, Kind::Bool, "true").not_yet(ADMIN),
    key("admin.serverAddress", Property, Kind::Text, "0.0.0.0").not_yet(ADMIN),
    key("admin.serverPort", Property, int(0, 65_535, ""), "8080").not_yet(ADMIN),
    key("admin.commandURL", Property, Kind::Text, "/commands").not_yet(ADMIN),
    key("admin.idleTimeout", Property, natural("ms"), "30000").not_yet(ADMIN),
    key("admin.httpVersion", Property, natural(""), "11").not_yet(ADMIN),
    key("admin.portUnification", Property, Kind::Bool, "false").not_yet(ADMIN),
    key("admin.forceHttps", Property, Kind::Bool, "false").not_yet(ADMIN),
    key("admin.needClientAuth", Property, Kind::Bool, "false").not_yet(ADMIN),
    key("admin.snapshot.enabled", Property, Kind::Bool, "true").not_yet(ADMIN),
    key("admin.restore.enabled", Property, Kind::Bool, "true").not_yet(ADMIN),
    key("admin.rateLimiterIntervalInMS", Property, natural("ms"), "300000").not_yet(ADMIN),
    key("audit.enable", Property, Kind::Bool, "false").not_yet(AUDIT),
    unset("audit.impl.class", Property, Kind::Text).not_yet(AUDIT),
    unset("jmx.log4j.disable", Property, Kind::Text).never(NO_JMX),
    unset("jmx.log4j.mbean", Property, Kind::Text).never(NO_JMX),
    unset("log.dir", Property, Kind::Text).never(STANDARD_ERROR),
    unset("log.file", Property, Kind::Text).never(STANDARD_ERROR),
    unset("log.threshold", Property, Kind::Text).never(STANDARD_ERROR),
    unset("console.threshold", Property, Kind::Text).never(STANDARD_ERROR),
    unset("root.logger", Property, Kind::Text).never(STANDARD_ERROR),
    unset("tracelog.dir", Property, Kind::Text).never(STANDARD_ERROR),
    unset("tracelog.file", Property, Kind::Text).never(STANDARD_ERROR),
];
