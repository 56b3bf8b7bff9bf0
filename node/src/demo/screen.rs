//! What the demo shows while it runs.

use std::time::Instant;

use indicatif::ProgressBar;
use tapehouse_actors::{NodeProgress, TopicProgress, TopicState};

use super::{Stage, queries};
use crate::console::{Live, Style, grouped};

/// The addresses, and the lines to copy.
pub fn introduction(stage: &Stage) -> String {
    let style = Style::of_stderr();
    let place = stage.place();
    format!(
        "{}\n\
         \x20 Kafka     {}\n\
         \x20 registry  {}\n\
         \x20 metrics   http://{}/metrics\n\
         \x20 gRPC      {}\n\
         \x20 tables    {}\n\n\
         {}\n{}\n\n{}\n{}\n",
        style.bold("Tapehouse demo: Kafka, Schema Registry, generator and node in one process"),
        stage.bootstrap_servers(),
        stage.registry_url(),
        stage.http_address(),
        stage.grpc_address(),
        place.folder().display(),
        style.bold("Query the tables meanwhile. DuckDB (pip install duckdb):"),
        queries::duckdb(place),
        style.bold("PyIceberg (pip install 'pyiceberg[sql-sqlite,pyarrow]'):"),
        queries::pyiceberg(place),
    )
}

/// A heading and a line for each topic, redrawn in place; fits into 80 columns, as a line that wraps is drawn wrongly.
pub struct Screen {
    head: ProgressBar,
    topics: Vec<ProgressBar>,
    foot: ProgressBar,
    started: Instant,
}

impl Screen {
    /// Draws on `live`.
    pub fn on(live: &Live, topics: usize) -> Self {
        Self {
            head: live.line(),
            topics: (0..topics).map(|_| live.line()).collect(),
            foot: live.line(),
            started: Instant::now(),
        }
    }

    /// Redraws.
    pub fn update(&self, produced: u64, progress: &NodeProgress) {
        let style = Style::of_stderr();
        let heading = format!(
            "{:<15}{:>11}{:>8}{:>9}{:>6}  {}",
            "TOPIC", "COMMITTED", "LAG", "COMMITS", "BAD", "PRODUCE TO VISIBLE"
        );
        self.head.set_message(style.bold(&heading));
        for (line, topic) in self.topics.iter().zip(&progress.topics) {
            line.set_message(topic_line(topic, style));
        }
        let committed: u64 = progress.topics.iter().map(|topic| topic.rows_committed).sum();
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = committed as f64 / seconds.max(0.1);
        let text = format!(
            "{} produced, {} committed, {}/s, {seconds:.0} s. Ctrl-C stops.",
            grouped(produced),
            grouped(committed),
            grouped(rate as u64)
        );
        self.foot.set_message(style.dim(&text));
    }

    /// One line for logs, where there is no terminal.
    pub fn plain(&self, produced: u64, progress: &NodeProgress) -> String {
        let committed: u64 = progress.topics.iter().map(|topic| topic.rows_committed).sum();
        let commits: u64 = progress.topics.iter().map(|topic| topic.commits).sum();
        let seconds = self.started.elapsed().as_secs();
        format!(
            "{seconds} s: {} produced, {} committed, {commits} commits",
            grouped(produced),
            grouped(committed)
        )
    }
}

fn topic_line(topic: &TopicProgress, style: Style) -> String {
    let behind: u64 = topic
        .partitions
        .iter()
        .filter_map(|partition| u64::try_from(partition.high_watermark? - partition.next_offset).ok())
        .sum();
    let quantile = |quantile| topic.freshness.quantile_ms(quantile);
    let state = match &topic.state {
        TopicState::Retrying { error, attempt, .. } => style.warn(&format!("retry {attempt}: {error}")),
        TopicState::Stopped(stopped) => style.bad(&stopped.message),
        _ => match (quantile(0.5), quantile(0.99)) {
            (Some(p50), Some(p99)) => style.good(&format!("p50 {p50} ms, p99 {p99} ms")),
            _ => style.dim("starting"),
        },
    };
    format!(
        "{:<15}{:>11}{:>8}{:>9}{:>6}  {state}",
        topic.topic,
        grouped(topic.rows_committed),
        grouped(behind),
        grouped(topic.commits),
        grouped(topic.undecodable),
    )
}
