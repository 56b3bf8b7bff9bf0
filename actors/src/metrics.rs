//! Every metric of the pipelines and its contract, in one place.

use std::collections::BTreeMap;

use prometheus::core::Collector;
use prometheus::{
    Counter, CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use tapehouse_core::codes;
use tapehouse_core::freshness::ProducedAt;
use tapehouse_lake::LoadedTable;

use crate::silver::batch::Action;
use crate::silver::progress::SilverRows;

const LATENCY: [f64; 12] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0];
const FRESHNESS: [f64; 13] = [0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.2, 2.0, 5.0, 30.0, 300.0, 3600.0];

/// Metrics of the ingest pipelines. Labels: `topic` is the Kafka topic, `table` the full table name.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// Rows committed by this process: `topic`, `outcome` = decoded | undecodable.
    pub records: IntCounterVec,
    /// Undecodable records by cause: `topic`, `code`.
    pub decode_errors: IntCounterVec,
    /// Schema ids whose records the table cannot take, counted when one is met: `topic`. Alerts.
    pub schema_conflicts: IntCounterVec,
    /// Metrics of silver tables.
    silver: SilverMetrics,
    /// Payload bytes read: `topic`.
    pub bytes: IntCounterVec,
    /// Commits: `table`, `outcome` = committed | already_committed | refused | error.
    pub commits: IntCounterVec,
    /// Time from handing a staged set over to its answer: `table`.
    pub commit_seconds: HistogramVec,
    /// Attempts beyond the first: somebody else committed: `table`.
    pub commit_conflicts: IntCounterVec,
    /// Rows in the table: `table`.
    pub table_rows: IntGaugeVec,
    /// Files of tables and their compaction.
    files: FileMetrics,
    /// Produce to visible, a sample a commit and 10 ms tick: `table`.
    pub freshness_seconds: HistogramVec,
    /// Records behind the high watermark: `topic`, `partition`.
    pub lag: IntGaugeVec,
    /// Time from the cut of a commit to its end, an asset's run: `asset`.
    pub asset_seconds: HistogramVec,
    /// Failed runs: `asset`.
    pub asset_failures: IntCounterVec,
    /// Pipelines rebuilt: `topic`, `code`.
    pub restarts: IntCounterVec,
    /// 1 while the topic waits for an operator: `topic`.
    pub stopped: IntGaugeVec,
    /// 1 while the partition waits for an operator: `topic`, `partition`, `code`.
    pub partition_stopped: IntGaugeVec,
    /// Time that senders waited for room: `mailbox`.
    mailbox_wait: CounterVec,
    /// How far this node's clock is ahead at least, by whom: `source` = registry | catalog.
    pub clock_ahead_seconds: GaugeVec,
    /// Time of the last commit, seconds since 1970-01-01 UTC: `table`.
    pub last_commit: GaugeVec,
    /// The node's memory budget.
    pub memory_budget: IntGauge,
    /// Bytes held: `topic`, `kind` = batches (between poll thread and writer) | open_set (being encoded) | staged (being written).
    pub memory: IntGaugeVec,
    /// Time that a topic waited for memory that others held: `topic`.
    pub memory_wait: CounterVec,
}

impl Metrics {
    /// Registers all metrics.
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let of = Registrar(registry);
        let waits = "Time that senders waited for room in a mailbox";
        let last = "Time of the table's last commit by this node";
        Ok(Self {
            records: of.counter("records_total", "Rows committed to bronze", &["topic", "outcome"])?,
            decode_errors: of.counter("decode_errors_total", "Records kept undecoded", &["topic", "code"])?,
            schema_conflicts: of.counter(
                "schema_conflicts_total",
                "Schemas that the table cannot take",
                &["topic"],
            )?,
            silver: SilverMetrics::register(&of)?,
            bytes: of.counter(
                "payload_bytes_total",
                "Payload and key bytes read from Kafka",
                &["topic"],
            )?,
            commits: of.counter("commits_total", "Iceberg commits", &["table", "outcome"])?,
            commit_seconds: of.histogram("commit_seconds", "Iceberg commit latency", "table", &LATENCY)?,
            commit_conflicts: of.counter("commit_conflicts_total", "Attempts that lost a race", &["table"])?,
            table_rows: of.gauge("table_rows", "Rows in the table", &["table"])?,
            files: FileMetrics::register(&of)?,
            freshness_seconds: of.histogram("freshness_seconds", "Produce to visible", "table", &FRESHNESS)?,
            lag: of.gauge(
                "lag_records",
                "Records behind the high watermark",
                &["topic", "partition"],
            )?,
            asset_seconds: of.histogram("asset_duration_seconds", "Duration of runs", "asset", &LATENCY)?,
            asset_failures: of.counter("asset_failures_total", "Failed runs", &["asset"])?,
            restarts: of.counter("pipeline_restarts_total", "Pipelines built again", &["topic", "code"])?,
            stopped: of.gauge("topic_stopped", "1 while the topic waits for an operator", &["topic"])?,
            partition_stopped: of.gauge(
                "partition_stopped",
                "1 while the partition waits for an operator",
                &["topic", "partition", "code"],
            )?,
            mailbox_wait: of.add(CounterVec::new(
                options("mailbox_wait_seconds_total", waits),
                &["mailbox"],
            )?)?,
            clock_ahead_seconds: of.add(GaugeVec::new(
                options(
                    "clock_ahead_seconds",
                    "This node's clock before a neighbour's, at least",
                ),
                &["source"],
            )?)?,
            last_commit: of.add(GaugeVec::new(
                options("last_commit_timestamp_seconds", last),
                &["table"],
            )?)?,
            memory_budget: of.add(IntGauge::with_opts(options(
                "memory_budget_bytes",
                "The node's memory budget",
            ))?)?,
            memory: of.gauge(
                "memory_bytes",
                "Memory held, without Kafka's client",
                &["topic", "kind"],
            )?,
            memory_wait: of.add(CounterVec::new(
                options("memory_wait_seconds_total", "Time that a topic waited for memory"),
                &["topic"],
            )?)?,
        })
    }

    /// Makes the series of a topic and its table appear at 0, so that the first event is a rise and not a beginning.
    pub(crate) fn begin(&self, topic: &str, table: &str) {
        for outcome in ["decoded", "undecodable"] {
            self.records.with_label_values(&[topic, outcome]);
        }
        for code in codes::CODES.iter().filter(|code| code.met == codes::Met::Record) {
            self.decode_errors.with_label_values(&[topic, code.name]);
        }
        for outcome in ["committed", "already_committed", "refused", "error"] {
            self.commits.with_label_values(&[table, outcome]);
        }
        for outcome in ["committed", "refused", "failed"] {
            self.files.compactions.with_label_values(&[table, outcome]);
        }
        for code in ["kafka", "registry", "refused"] {
            self.restarts.with_label_values(&[topic, code]);
        }
        self.bytes.with_label_values(&[topic]);
        self.schema_conflicts.with_label_values(&[topic]);
        self.stopped.with_label_values(&[topic]);
        self.commit_conflicts.with_label_values(&[table]);
        self.asset_failures.with_label_values(&[table]);
    }

    /// As [`Self::begin`], of a silver table.
    pub(crate) fn begin_silver(&self, table: &str) {
        for outcome in ["written", "deduplicated", "dropped", "quarantined"] {
            self.silver.rows.with_label_values(&[table, outcome]);
        }
        for outcome in ["committed", "already_committed", "refused"] {
            self.commits.with_label_values(&[table, outcome]);
        }
        self.commit_conflicts.with_label_values(&[table]);
        self.asset_failures.with_label_values(&[table]);
    }

    /// Counts a merge.
    pub(crate) fn merged(&self, table: &str, rows: &SilverRows, rules: &BTreeMap<(Action, &'static str), u64>) {
        let outcomes = [
            ("written", rows.written),
            ("deduplicated", rows.deduplicated),
            ("dropped", rows.dropped),
            ("quarantined", rows.quarantined),
        ];
        for (outcome, count) in outcomes {
            self.silver.rows.with_label_values(&[table, outcome]).inc_by(count);
        }
        for ((action, rule), count) in rules {
            let labels = [table, action.label(), *rule];
            self.silver.rules.with_label_values(&labels).inc_by(*count);
        }
    }

    /// Notes how many data files the table has.
    pub(crate) fn files(&self, name: &str, table: &LoadedTable) {
        let files = table.summary().files.unwrap_or(0);
        let gauge = self.files.live.with_label_values(&[name]);
        gauge.set(i64::try_from(files).unwrap_or(i64::MAX));
    }

    /// Counts a group of files that was to be compacted: `outcome` = committed | refused | failed.
    pub(crate) fn compacted(&self, name: &str, outcome: &str) {
        self.files.compactions.with_label_values(&[name, outcome]).inc();
    }

    /// Counts the attempts of a commit that lost a race.
    pub(crate) fn conflicts(&self, table: &str, attempts: u32) {
        let lost = u64::from(attempts.saturating_sub(1));
        self.commit_conflicts.with_label_values(&[table]).inc_by(lost);
    }

    /// Notes that records are visible since `at_ms`, milliseconds since 1970-01-01 UTC.
    pub(crate) fn visible(&self, table: &str, at_ms: i64, produced: &ProducedAt) {
        self.last_commit.with_label_values(&[table]).set(at_ms as f64 / 1e3);
        // Of a derived table there are none: it gets no series.
        let freshness = || self.freshness_seconds.with_label_values(&[table]);
        let delays = produced.delays_ms(at_ms);
        delays.for_each(|(delay_ms, _)| freshness().observe(delay_ms as f64 / 1e3));
    }

    /// The waiting time of one mailbox.
    pub(crate) fn mailbox(&self, name: &str) -> Counter {
        self.mailbox_wait.with_label_values(&[name])
    }
}

/// Files of tables.
#[derive(Clone, Debug)]
struct FileMetrics {
    /// Live data files: `table`.
    live: IntGaugeVec,
    /// Groups of files that were compacted: `table`, `outcome` = committed | refused | failed.
    compactions: IntCounterVec,
}

impl FileMetrics {
    fn register(of: &Registrar<'_>) -> prometheus::Result<Self> {
        let compactions = "Groups of files that were compacted";
        Ok(Self {
            live: of.gauge("table_files", "Data files of the table", &["table"])?,
            compactions: of.counter("compactions_total", compactions, &["table", "outcome"])?,
        })
    }
}

/// What only silver tables have.
#[derive(Clone, Debug)]
struct SilverMetrics {
    /// Rows of bronze by what became of them: `table`, `outcome` = written | deduplicated | dropped | quarantined.
    rows: IntCounterVec,
    /// Applications of a cleaning rule: `table`, `action` = dropped | quarantined | defaulted, `rule`.
    rules: IntCounterVec,
}

impl SilverMetrics {
    fn register(of: &Registrar<'_>) -> prometheus::Result<Self> {
        let rules = "Applications of a cleaning rule";
        Ok(Self {
            rows: of.counter("silver_rows_total", "Rows merged into silver", &["table", "outcome"])?,
            rules: of.counter("silver_rules_total", rules, &["table", "action", "rule"])?,
        })
    }
}

/// Registers metrics under the prefix that all of ours have.
struct Registrar<'r>(&'r Registry);

fn options(name: &str, help: &str) -> Opts {
    Opts::new(format!("tapehouse_{name}"), help)
}

impl Registrar<'_> {
    fn add<M: Collector + Clone + 'static>(&self, metric: M) -> prometheus::Result<M> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counter(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        self.add(IntCounterVec::new(options(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.add(IntGaugeVec::new(options(name, help), labels)?)
    }

    fn histogram(&self, name: &str, help: &str, label: &str, buckets: &[f64]) -> prometheus::Result<HistogramVec> {
        let options = HistogramOpts::from(options(name, help)).buckets(buckets.to_vec());
        self.add(HistogramVec::new(options, &[label])?)
    }
}
