//! The texts of the four-letter words, from facts that the caller has gathered.
//!
//! Every format is ZooKeeper 3.9's to the letter where a tool may parse it.

use std::fmt::Write as _;
use std::net::SocketAddr;

use ids::{SessionId, Zxid};

use super::super::auth::java_address;
use super::super::metrics::RequestLatency;

/// The version in the form that tools parse; the leading number says which ZooKeeper clients may take us for.
pub const VERSION_TEXT: &str =
    concat!("3.9.5-ringkeeper-", env!("CARGO_PKG_VERSION"), ", built on 2026-11-20 00:00 UTC");

/// What `srvr` and `stat` show.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Latency of requests.
    pub latency: RequestLatency,
    /// Frames read.
    pub received: u64,
    /// Frames written.
    pub sent: u64,
    /// Open connections, this one included.
    pub connections: usize,
    /// Requests in process.
    pub outstanding: usize,
    /// Last applied.
    pub zxid: Zxid,
    /// `standalone`, and later the member's role.
    pub mode: &'static str,
    /// With the root counted twice, as ZooKeeper does.
    pub node_count: u64,
}

/// One connection, as `cons` and `stat` show it.
#[derive(Clone, Debug)]
pub struct ConnFacts {
    /// The client's end.
    pub peer: SocketAddr,
    /// Whether we wait for bytes from it.
    pub reading: bool,
    /// Whether it has to take bytes before we go on.
    pub writing: bool,
    /// Requests in process.
    pub queued: usize,
    /// Frames read since connect or reset.
    pub received: u64,
    /// Frames written since connect or reset.
    pub sent: u64,
    /// Its session, once it has one.
    pub session: Option<SessionFacts>,
}

/// What a connection with a session adds.
#[derive(Clone, Debug)]
pub struct SessionFacts {
    /// The session.
    pub id: SessionId,
    /// The last operation answered, in four letters.
    pub last_op: &'static str,
    /// When the connection was made, ms since 1970.
    pub established_ms: i64,
    /// Negotiated timeout, ms.
    pub timeout_ms: i32,
    /// Last xid answered that was not negative.
    pub last_cxid: Option<i32>,
    /// Zxid of the last answer; -1 after a reset.
    pub last_zxid: i64,
    /// Monotonic time of the last answer, ms.
    pub last_response_ms: i64,
    /// Latency of the last answer, ms.
    pub last_latency_ms: u64,
    /// Latencies since connect or reset.
    pub latency: RequestLatency,
}

/// Address and port as Java prints a socket address: `/1.2.3.4:5`.
pub fn java_socket(peer: SocketAddr) -> String {
    let address = java_address(peer.ip());
    if address.contains(':') { format!("/[{address}]:{}", peer.port()) } else { format!("/{address}:{}", peer.port()) }
}

/// `srvr`.
pub fn srvr(summary: &Summary) -> String {
    format!("Zookeeper version: {VERSION_TEXT}\n{}", figures(summary))
}

/// `stat`.
pub fn stat(summary: &Summary, connections: &[ConnFacts]) -> String {
    let mut out = format!("Zookeeper version: {VERSION_TEXT}\nClients:\n");
    for connection in connections {
        out.push_str(&brief(connection));
        out.push_str(")\n");
    }
    out.push('\n');
    out.push_str(&figures(summary));
    out
}

fn figures(summary: &Summary) -> String {
    let latency = &summary.latency;
    format!(
        "Latency min/avg/max: {}/{}/{}\nReceived: {}\nSent: {}\nConnections: {}\nOutstanding: {}\nZxid: {}\nMode: {}\nNode count: {}\n",
        latency.min_ms,
        latency.average_text(),
        latency.max_ms,
        summary.received,
        summary.sent,
        summary.connections,
        summary.outstanding,
        summary.zxid,
        summary.mode,
        summary.node_count,
    )
}

/// ` /ip:port[ops](queued=n,recved=n,sent=n`, without the closing bracket.
fn brief(connection: &ConnFacts) -> String {
    let interest = u8::from(connection.reading) | (u8::from(connection.writing) << 2);
    format!(
        " {}[{interest:x}](queued={},recved={},sent={}",
        java_socket(connection.peer),
        connection.queued,
        connection.received,
        connection.sent
    )
}

/// `cons`.
pub fn cons(connections: &[ConnFacts]) -> String {
    let mut out = String::new();
    for connection in connections {
        out.push_str(&brief(connection));
        if let Some(session) = &connection.session {
            full(&mut out, session);
        }
        out.push_str(")\n");
    }
    out.push('\n');
    out
}

fn full(out: &mut String, session: &SessionFacts) {
    // Writing into a String cannot fail.
    let _ = write!(
        out,
        ",sid=0x{:x},lop={},est={},to={}",
        session.id.to_i64(),
        session.last_op,
        session.established_ms,
        session.timeout_ms
    );
    if let Some(cxid) = session.last_cxid {
        let _ = write!(out, ",lcxid=0x{cxid:x}");
    }
    let latency = &session.latency;
    let _ = write!(
        out,
        ",lzxid=0x{:x},lresp={},llat={},minlat={},avglat={},maxlat={}",
        session.last_zxid,
        session.last_response_ms,
        session.last_latency_ms,
        latency.min_ms,
        latency.sum_ms.checked_div(latency.count).unwrap_or(0),
        latency.max_ms,
    );
}

/// `dump`: one bucket of an expiry queue.
pub struct Bucket {
    /// When it is due, as a date.
    pub due: String,
    /// What is in it, one line each.
    pub lines: Vec<String>,
}

/// `dump`.
pub fn dump(sessions: &[Bucket], ephemerals: &[(SessionId, Vec<String>)], connections: &[Bucket]) -> String {
    let mut out = String::from("SessionTracker dump:\nSession Sets ");
    buckets(&mut out, sessions);
    let _ = write!(out, "ephemeral nodes dump:\nSessions with Ephemerals ({}):\n", ephemerals.len());
    for (session, paths) in ephemerals {
        let _ = writeln!(out, "0x{:x}:", session.to_i64());
        for path in paths {
            let _ = writeln!(out, "\t{path}");
        }
    }
    out.push_str("Connections dump:\nConnections Sets ");
    buckets(&mut out, connections);
    out
}

fn buckets(out: &mut String, buckets: &[Bucket]) {
    let elements: usize = buckets.iter().map(|bucket| bucket.lines.len()).sum();
    let _ = writeln!(out, "({})/({elements}):", buckets.len());
    for bucket in buckets {
        let _ = writeln!(out, "{} expire at {}:", bucket.lines.len(), bucket.due);
        for line in &bucket.lines {
            let _ = writeln!(out, "\t{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        Summary {
            latency: RequestLatency { min_ms: 0, max_ms: 44, sum_ms: 623, count: 1001 },
            received: 1001,
            sent: 1038,
            connections: 1,
            outstanding: 0,
            zxid: Zxid::from_wire(0x14f),
            mode: "standalone",
            node_count: 5,
        }
    }

    #[test]
    fn srvr_reads_as_zookeepers() {
        let text = srvr(&summary());
        let body = text.split_once('\n').unwrap().1;
        assert_eq!(
            body,
            "Latency min/avg/max: 0/0.6224/44\nReceived: 1001\nSent: 1038\nConnections: 1\nOutstanding: 0\nZxid: 0x14f\nMode: standalone\nNode count: 5\n"
        );
    }

    #[test]
    fn cons_shows_sessions_in_full_and_others_in_brief() {
        let bare = ConnFacts {
            peer: "127.0.0.1:50328".parse().unwrap(),
            reading: true,
            writing: false,
            queued: 0,
            received: 1,
            sent: 0,
            session: None,
        };
        let session = SessionFacts {
            id: SessionId::new(0x0100_0011_56b2_0000),
            last_op: "PING",
            established_ms: 5,
            timeout_ms: 4000,
            last_cxid: None,
            last_zxid: -1,
            last_response_ms: 7,
            last_latency_ms: 0,
            latency: RequestLatency { min_ms: 0, max_ms: 3, sum_ms: 4, count: 3 },
        };
        let full = ConnFacts { session: Some(session), ..bare.clone() };
        assert_eq!(
            cons(&[bare, full]),
            " /127.0.0.1:50328[1](queued=0,recved=1,sent=0)\n /127.0.0.1:50328[1](queued=0,recved=1,sent=0,sid=0x100001156b20000,lop=PING,est=5,to=4000,lzxid=0xffffffffffffffff,lresp=7,llat=0,minlat=0,avglat=1,maxlat=3)\n\n"
        );
    }

    #[test]
    fn dump_counts_buckets_and_elements() {
        let text = dump(
            &[Bucket { due: "D".to_owned(), lines: vec!["0x1".to_owned()] }],
            &[(SessionId::new(1), vec!["/e".to_owned()])],
            &[],
        );
        assert_eq!(
            text,
            "SessionTracker dump:\nSession Sets (1)/(1):\n1 expire at D:\n\t0x1\nephemeral nodes dump:\nSessions with Ephemerals (1):\n0x1:\n\t/e\nConnections dump:\nConnections Sets (0)/(0):\n"
        );
    }
}
