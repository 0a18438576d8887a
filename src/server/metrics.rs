//! What one core counts and times, under ZooKeeper's metric names.
//!
//! Three kinds, as in ZooKeeper: counters; summaries (average, minimum, maximum, count, sum); and latencies, which are
//! summaries with percentiles, here from an HDR histogram instead of a sample of 4096.
//!
//! Each core has a `Metrics` of its own and writes it without a lock; [`Metrics::merge`] adds them up when somebody reads.
//! Absent: gauges. They are facts of the server's state and are asked for when `mntr` is.

use hdrhistogram::Histogram;
use std::fmt::Write as _;
use std::time::Duration;

/// Longest time a latency histogram tells apart; longer ones count as this.
const LATENCY_MAX_US: u64 = 3_600_000_000;

macro_rules! names {
    ($(#[$doc:meta])* $kind:ident { $($(#[$vdoc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $kind { $($(#[$vdoc])* $variant,)* }
        impl $kind {
            const NAMES: &'static [&'static str] = &[$($name,)*];
        }
    };
}

names! {
    /// Things that only ever grow in number.
    Counter {
        /// Bytes read from clients.
        BytesReceived = "bytes_received_count",
        /// Bytes of replies.
        ResponseBytes = "response_bytes",
        /// Bytes of watch notifications.
        WatchBytes = "watch_bytes",
        /// Handshakes.
        ConnectionRequest = "connection_request_count",
        /// Handshakes that asked for an existing session.
        ConnectionRevalidate = "connection_revalidate_count",
        /// Connections refused by a limit.
        ConnectionRejected = "connection_rejected",
        /// Connections closed by their client.
        ConnectionDrop = "connection_drop_count",
        /// Connections that never finished their handshake.
        SessionlessExpired = "sessionless_connections_expired",
        /// Sessions that fell silent.
        StaleSessionsExpired = "stale_sessions_expired",
        /// Writes given to preparation.
        PrepQueued = "prep_processor_request_queued",
        /// Transactions given to the log.
        SyncQueued = "sync_processor_request_queued",
        /// Transactions committed.
        Commits = "commit_count",
        /// Snapshots written.
        Snapshots = "snap_count",
        /// Requests refused because they waited too long.
        ThrottledOps = "throttled_ops",
        /// Requests dropped because their connection had gone.
        StaleRequestsDropped = "stale_requests_dropped",
        /// Requests that waited longer than their session's timeout.
        StaleRequests = "stale_requests",
        /// Answers for connections that had gone.
        StaleReplies = "stale_replies",
        /// Times a connection was not read because too much was under way.
        ThrottleWait = "request_throttle_wait_count",
        /// Requests refused for their size.
        LargeRequestsRejected = "large_requests_rejected",
        /// Transactions whose digest was not the tree's.
        DigestMismatches = "digest_mismatches_count",
        /// Writes refused because the disk has no room.
        WritesRefusedNoSpace = "writes_refused_no_space_count",
        /// Errors after which the server cannot go on.
        UnrecoverableErrors = "unrecoverable_error_count",
        /// Ensemble authentications that passed.
        EnsembleAuthSuccess = "ensemble_auth_success",
        /// Ensemble authentications that failed.
        EnsembleAuthFail = "ensemble_auth_fail",
        /// Ensemble authentications that had nothing to compare with.
        EnsembleAuthSkip = "ensemble_auth_skip",
    }
}

names! {
    /// Sizes and times of which the extremes and the average matter.
    Summary {
        /// Milliseconds of one sync of the log.
        Fsync = "fsynctime",
        /// Milliseconds to write one snapshot.
        Snapshot = "snapshottime",
        /// Milliseconds to load the data at start.
        DbInit = "dbinittime",
        /// Milliseconds of that for the snapshot.
        SnapLoad = "startup_snap_load_time",
        /// Milliseconds of that for the log.
        TxnsLoad = "startup_txns_load_time",
        /// Transactions read from the log at start.
        TxnsLoaded = "startup_txns_loaded",
        /// Transactions in one sync.
        SyncBatch = "sync_processor_batch_size",
        /// Watchers told by one creation.
        NodeCreated = "node_created_watch_count",
        /// Watchers told by one deletion.
        NodeDeleted = "node_deleted_watch_count",
        /// Watchers told by one change of data.
        NodeChanged = "node_changed_watch_count",
        /// Watchers told by one change of children.
        NodeChildren = "node_children_watch_count",
        /// Tokens a handshake lacked.
        ConnectionTokenDeficit = "connection_token_deficit",
    }
}

names! {
    /// Times with percentiles. The first two are ZooKeeper's, in milliseconds; the stages are ours, in microseconds.
    Latency {
        /// From receiving a read to its reply, ms.
        Read = "readlatency",
        /// From receiving a write to its reply, ms.
        Update = "updatelatency",
        /// How long held-back requests waited to be read, ms.
        ThrottleQueue = "request_throttle_queue_time_ms",
        /// One turn of reading a connection: framing and dispatch of everything that had arrived, reads answered, us.
        StageDecode = "stage_decode_us",
        /// One write's checks and encoding, us.
        StagePrepare = "stage_prepare_us",
        /// From a transaction's append to the disk's word, us.
        StageSync = "stage_sync_us",
        /// From our disk's word to the quorum's; with one server the same moment, us.
        StageQuorum = "stage_quorum_us",
        /// One batch of transactions applied, replies built, watches fired, us.
        StageApply = "stage_apply_us",
        /// One batch's replies handed to the kernel, us.
        StageFlush = "stage_flush_us",
    }
}

impl Latency {
    /// ZooKeeper's own.
    const MILLISECONDS: &'static [Latency] = &[Latency::Read, Latency::Update, Latency::ThrottleQueue];

    /// Whether the name promises microseconds; ZooKeeper's own are milliseconds.
    fn is_us(self) -> bool {
        !Latency::MILLISECONDS.contains(&self)
    }
}

#[derive(Clone, Copy, Default, Debug)]
struct Extremes {
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
}

impl Extremes {
    fn add(&mut self, value: u64) {
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
    }

    fn merge(&mut self, other: &Extremes) {
        if other.count == 0 {
            return;
        }
        self.min = if self.count == 0 { other.min } else { self.min.min(other.min) };
        self.max = self.max.max(other.max);
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
    }
}

/// Latency of requests as `srvr` shows it: whole milliseconds since start or reset.
#[derive(Clone, Copy, Default, Debug)]
pub struct RequestLatency {
    /// Fastest, ms; 0 before the first.
    pub min_ms: u64,
    /// Slowest, ms.
    pub max_ms: u64,
    /// All of them added up, ms.
    pub sum_ms: u64,
    /// How many.
    pub count: u64,
}

impl RequestLatency {
    /// Notes `count` more of `ms` each.
    pub fn add(&mut self, ms: u64, count: u64) {
        if count == 0 {
            return;
        }
        self.min_ms = if self.count == 0 { ms } else { self.min_ms.min(ms) };
        self.max_ms = self.max_ms.max(ms);
        self.sum_ms += ms * count;
        self.count += count;
    }

    /// Average in ms with at most four decimals and at least one, as ZooKeeper prints it.
    pub fn average_text(&self) -> String {
        if self.count == 0 {
            return "0.0".to_owned();
        }
        decimal_text(self.sum_ms as f64 / self.count as f64)
    }
}

/// A number as ZooKeeper prints its averages: at most four decimals, rounded half up, at least one.
pub fn decimal_text(value: f64) -> String {
    let mut text = format!("{:.4}", (value * 10_000.0).round() / 10_000.0);
    while text.ends_with('0') && !text.ends_with(".0") {
        text.pop();
    }
    text
}

/// One role's counts and times, on one core.
#[derive(Clone, Debug)]
pub struct Metrics {
    counters: Vec<u64>,
    summaries: Vec<Extremes>,
    /// Extremes beside the histogram, for exact sums and minima.
    latencies: Vec<(Extremes, Histogram<u64>)>,
    /// Frames read, four-letter words included.
    pub packets_received: u64,
    /// Frames written.
    pub packets_sent: u64,
    /// Latency of requests, for `srvr`.
    pub requests: RequestLatency,
    /// Size of the last, smallest and largest reply in bytes; `None` before the first.
    pub response_size: Option<(u32, u32, u32)>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Metrics {
        let histogram = || {
            Histogram::new_with_bounds(1, LATENCY_MAX_US, 2).expect("the bounds are constants that hdrhistogram takes")
        };
        Metrics {
            counters: vec![0; Counter::NAMES.len()],
            summaries: vec![Extremes::default(); Summary::NAMES.len()],
            latencies: Latency::NAMES.iter().map(|_| (Extremes::default(), histogram())).collect(),
            packets_received: 0,
            packets_sent: 0,
            requests: RequestLatency::default(),
            response_size: None,
        }
    }

    /// Counts `by` more of `counter`.
    pub fn count(&mut self, counter: Counter, by: u64) {
        self.counters[counter as usize] = self.counters[counter as usize].saturating_add(by);
    }

    /// How many of `counter` there were.
    pub fn counted(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }

    /// Notes one `value` of `summary`.
    pub fn note(&mut self, summary: Summary, value: u64) {
        self.summaries[summary as usize].add(value);
    }

    /// Notes one duration of `latency`.
    pub fn time(&mut self, latency: Latency, took: Duration) {
        self.time_many(latency, took, 1);
    }

    /// Notes that `count` requests took `took` each: those of one batch share a clock reading.
    pub fn time_many(&mut self, latency: Latency, took: Duration, count: u64) {
        if count == 0 {
            return;
        }
        let us = took.as_micros().min(u128::from(LATENCY_MAX_US)) as u64;
        let (extremes, histogram) = &mut self.latencies[latency as usize];
        let value = if latency.is_us() { us } else { us / 1000 };
        let mut these = Extremes { count, sum: value.saturating_mul(count), min: value, max: value };
        std::mem::swap(extremes, &mut these);
        extremes.merge(&these);
        histogram.saturating_record_n(us.max(1), count);
    }

    /// Notes `count` requests answered after `took`, for `srvr`'s latencies.
    pub fn answered(&mut self, took: Duration, count: u64) {
        self.requests.add(took.as_millis() as u64, count);
    }

    /// Notes one reply of `bytes`, header included.
    pub fn responded(&mut self, bytes: u32) {
        self.response_size = Some(match self.response_size {
            None => (bytes, bytes, bytes),
            Some((_, min, max)) => (bytes, min.min(bytes), max.max(bytes)),
        });
        self.count(Counter::ResponseBytes, u64::from(bytes));
    }

    /// Forgets everything, as `srst` asks.
    pub fn reset(&mut self) {
        *self = Metrics::new();
    }

    /// Adds another core's numbers to these.
    pub fn merge(&mut self, other: &Metrics) {
        for (mine, theirs) in self.counters.iter_mut().zip(&other.counters) {
            *mine = mine.saturating_add(*theirs);
        }
        for (mine, theirs) in self.summaries.iter_mut().zip(&other.summaries) {
            mine.merge(theirs);
        }
        for (mine, theirs) in self.latencies.iter_mut().zip(&other.latencies) {
            mine.0.merge(&theirs.0);
            // Same bounds on both sides, so that nothing can fail to fit.
            let _ = mine.1.add(&theirs.1);
        }
        self.packets_received += other.packets_received;
        self.packets_sent += other.packets_sent;
        let (mine, theirs) = (&mut self.requests, &other.requests);
        if theirs.count > 0 {
            mine.min_ms = if mine.count == 0 { theirs.min_ms } else { mine.min_ms.min(theirs.min_ms) };
            mine.max_ms = mine.max_ms.max(theirs.max_ms);
            mine.sum_ms += theirs.sum_ms;
            mine.count += theirs.count;
        }
        self.response_size = match (self.response_size, other.response_size) {
            (Some((last, min, max)), Some((_, their_min, their_max))) => {
                Some((last, min.min(their_min), max.max(their_max)))
            }
            (mine, theirs) => mine.or(theirs),
        };
    }

    /// Writes every counter, summary and latency as `mntr` lines.
    pub fn write_mntr(&self, out: &mut String) {
        for (name, value) in Counter::NAMES.iter().zip(&self.counters) {
            line(out, "", name, value);
        }
        for (name, extremes) in Summary::NAMES.iter().zip(&self.summaries) {
            summary_lines(out, name, extremes);
        }
        let millisecond_names: Vec<_> =
            Latency::MILLISECONDS.iter().map(|latency| Latency::NAMES[*latency as usize]).collect();
        for (name, (extremes, histogram)) in Latency::NAMES.iter().zip(&self.latencies) {
            summary_lines(out, name, extremes);
            let unit_us = if millisecond_names.contains(name) { 1000 } else { 1 };
            for (label, quantile) in [("p50_", 0.5), ("p95_", 0.95), ("p99_", 0.99), ("p999_", 0.999)] {
                line(out, label, name, histogram.value_at_quantile(quantile) / unit_us);
            }
        }
    }
}

fn summary_lines(out: &mut String, name: &str, extremes: &Extremes) {
    let average = if extremes.count == 0 { 0.0 } else { extremes.sum as f64 / extremes.count as f64 };
    line(out, "avg_", name, decimal_text(average));
    line(out, "min_", name, extremes.min);
    line(out, "max_", name, extremes.max);
    line(out, "cnt_", name, extremes.count);
    line(out, "sum_", name, extremes.sum);
}

/// One `mntr` line: `zk_<label><name><tab><value>`.
pub fn line(out: &mut String, label: &str, name: &str, value: impl std::fmt::Display) {
    // Writing into a String cannot fail.
    let _ = writeln!(out, "zk_{label}{name}\t{value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_have_one_to_four_decimals() {
        assert_eq!(decimal_text(0.0), "0.0");
        assert_eq!(decimal_text(8.888_88), "8.8889");
        assert_eq!(decimal_text(2.5), "2.5");
        assert_eq!(decimal_text(10.0), "10.0");
    }

    #[test]
    fn merging_two_cores_keeps_extremes_and_sums() {
        let (mut one, mut two) = (Metrics::new(), Metrics::new());
        one.note(Summary::Fsync, 4);
        two.note(Summary::Fsync, 2);
        two.note(Summary::Fsync, 9);
        two.time(Latency::StageSync, Duration::from_micros(120));
        two.answered(Duration::from_millis(3), 2);
        one.merge(&two);
        let mut text = String::new();
        one.write_mntr(&mut text);
        for expected in
            ["zk_min_fsynctime\t2", "zk_max_fsynctime\t9", "zk_sum_fsynctime\t15", "zk_cnt_stage_sync_us\t1"]
        {
            assert!(text.contains(expected), "{expected} is missing in\n{text}");
        }
        assert_eq!(one.requests.average_text(), "3.0");
    }
}
