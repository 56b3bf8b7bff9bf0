//! Every metric of the pipelines and its contract, in one place.

use prometheus::{
    Counter, CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry,
};

const LATENCY_BUCKETS: [f64; 12] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0];
const FRESHNESS_BUCKETS: [f64; 13] = [0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.2, 2.0, 5.0, 30.0, 300.0, 3600.0];

/// Metrics of the ingest pipelines. Labels: `topic` is the Kafka topic, `table` the full table name.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// Rows committed by this process: `topic`, `outcome` = decoded | undecodable.
    pub records: IntCounterVec,
    /// Undecodable records by cause: `topic`, `code`.
    pub decode_errors: IntCounterVec,
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
    /// Time that senders waited for room: `mailbox`.
    mailbox_wait: CounterVec,
    /// Time of the last commit, seconds since 1970-01-01 UTC: `table`.
    pub last_commit: GaugeVec,
}

impl Metrics {
    /// Registers all metrics.
    pub(crate) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str, labels: &[&str]| -> prometheus::Result<IntCounterVec> {
            let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| -> prometheus::Result<IntGaugeVec> {
            let metric = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let histogram = |name: &str, help: &str, label: &str, buckets: &[f64]| -> prometheus::Result<HistogramVec> {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let metric = HistogramVec::new(options, &[label])?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let mailbox_wait = CounterVec::new(
            Opts::new(
                "tapehouse_mailbox_wait_seconds_total",
                "Time that senders waited for room in a mailbox",
            ),
            &["mailbox"],
        )?;
        registry.register(Box::new(mailbox_wait.clone()))?;
        let last_commit = GaugeVec::new(
            Opts::new(
                "tapehouse_last_commit_timestamp_seconds",
                "Time of the table's last commit by this node",
            ),
            &["table"],
        )?;
        registry.register(Box::new(last_commit.clone()))?;
        Ok(Self {
            records: counter(
                "tapehouse_records_total",
                "Rows committed to bronze",
                &["topic", "outcome"],
            )?,
            decode_errors: counter(
                "tapehouse_decode_errors_total",
                "Records kept undecoded, by cause",
                &["topic", "code"],
            )?,
            bytes: counter(
                "tapehouse_payload_bytes_total",
                "Payload and key bytes read from Kafka",
                &["topic"],
            )?,
            commits: counter("tapehouse_commits_total", "Iceberg commits", &["table", "outcome"])?,
            commit_seconds: histogram(
                "tapehouse_commit_seconds",
                "Iceberg commit latency",
                "table",
                &LATENCY_BUCKETS,
            )?,
            commit_conflicts: counter(
                "tapehouse_commit_conflicts_total",
                "Commit attempts that lost a race",
                &["table"],
            )?,
            table_rows: gauge("tapehouse_table_rows", "Rows in the table", &["table"])?,
            freshness_seconds: histogram(
                "tapehouse_freshness_seconds",
                "Produce to visible",
                "table",
                &FRESHNESS_BUCKETS,
            )?,
            lag: gauge(
                "tapehouse_lag_records",
                "Records behind the high watermark",
                &["topic", "partition"],
            )?,
            asset_seconds: histogram(
                "tapehouse_asset_duration_seconds",
                "Duration of an asset's runs",
                "asset",
                &LATENCY_BUCKETS,
            )?,
            asset_failures: counter("tapehouse_asset_failures_total", "Failed runs of an asset", &["asset"])?,
            restarts: counter(
                "tapehouse_pipeline_restarts_total",
                "Pipelines rebuilt after a failure",
                &["topic", "code"],
            )?,
            stopped: gauge(
                "tapehouse_topic_stopped",
                "1 while the topic waits for an operator",
                &["topic"],
            )?,
            mailbox_wait,
            last_commit,
        })
    }

    /// The waiting time of one mailbox.
    pub(crate) fn mailbox(&self, name: &str) -> Counter {
        self.mailbox_wait.with_label_values(&[name])
    }
}
