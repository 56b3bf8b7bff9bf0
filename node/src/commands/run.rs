//! `tapehouse run`

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tapehouse_actors::{NodeProgress, NodeSettings, SilverProgress, TopicState};
use tapehouse_lake::Lake;

use crate::cli::Global;
use crate::commands::await_lake::await_lake;
use crate::commands::{Layer, dry_run};
use crate::config::{Config, ConfigError, Fault, Part, Topic, risks};
use crate::connect::{kafka_settings, lake_failure, lake_settings, registry_client, registry_failure};
use crate::console::{Live, OutputFormat, Style, grouped, logs, print, print_json};
use crate::exit::{Exit, Failure, chain};
use crate::pipeline::{
    Pipeline, Servers, TICK, Totals, derived_settings, node_settings, silver_as_json, silver_settings,
};
use crate::process::Usage;
use crate::push::{PushError, Pusher};
use crate::signals::StopSignals;
use crate::view::look;

const EXAMPLES: &str = "\
Examples:
  tapehouse run --config tapehouse.toml
  tapehouse run --source trades --source orderbook       only these topics
  tapehouse run --layers bronze,silver,gold              silver and gold tables too
  tapehouse run --until-caught-up -o json                what is there now, then stop; for jobs and benches
  tapehouse run --dry-run                                schema, tables and first records; writes nothing

SIGTERM and Ctrl-C stop within 10 s: what is staged is committed or dropped, and read again from Kafka the next time.
Without --until-caught-up that is exit code 0; with it, interrupted is 130.";

/// With --until-caught-up: failing for so long without a commit in between ends the run.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only this topic: short name, topic or table; repeatable [default: all configured]
    #[arg(long, value_name = "TOPIC")]
    source: Vec<String>,
    /// Layers to run; each needs those before it
    #[arg(long, value_enum, value_delimiter = ',', default_value = "bronze")]
    layers: Vec<Layer>,
    /// Stop with 0 as soon as all that was visible at start is committed
    #[arg(long)]
    until_caught_up: bool,
    /// Take over tables that another cluster of Tapehouse (node.cluster) owns; it is refused from then on
    #[arg(long, conflicts_with = "dry_run")]
    take_over: bool,
    /// Show the schema, the tables and the first decoded records; write nothing
    #[arg(long, conflicts_with = "until_caught_up")]
    dry_run: bool,
}

/// Ingests until a signal, or until caught up.
///
/// # Errors
/// Bad configuration; what cannot be reached, where that is not to be waited for; topics that stop.
pub async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let config = Config::load(&global.flags(), &[Part::Kafka, Part::Registry, Part::Lake])?;
    let mut topics = config.topics_meant(&args.source)?;
    let live = Live::on_stderr();
    if args.dry_run {
        super::quiet_logs(&config);
        return dry_run::run(&config, &topics, global.output).await;
    }
    // On a terminal the progress line says what the log lines would; a service logs.
    let is_quiet = config.log_is_default && live.is_visible();
    let filter = if is_quiet {
        "warn,librdkafka=error"
    } else {
        &config.log_filter
    };
    logs::init_above(live.clone(), config.log_format, filter);
    for risk in risks(&config) {
        tracing::warn!(risk, "not safe everywhere");
    }
    let mut signals = StopSignals::listen().map_err(Failure::failed)?;
    let started = Instant::now();
    let mut denied = None;
    if args.until_caught_up {
        (topics, denied) = reachable(&config, topics, &live).await?;
    } else if !await_lake(&config, &mut signals).await? {
        return Ok(Exit::Ok);
    }
    let mut settings = node_settings(&config, &topics)?;
    settings.cut_at_end = args.until_caught_up;
    settings.take_over = args.take_over;
    keep_layers(&mut settings, args, &config, &topics)?;
    let servers = Servers {
        http: config.http_listen,
        grpc: config.grpc.clone(),
        or_any_port: args.until_caught_up,
    };
    let pipeline = Pipeline::start(settings, &topics, &servers).await?;
    tracing::info!(
        node = config.node,
        cluster = config.cluster,
        http = %pipeline.http_address(),
        grpc = %pipeline.grpc_address(),
        layers = ?args.layers,
        topics = topics.len(),
        "running"
    );
    let pusher = pusher(&config, &pipeline)?;
    let end = watch(&pipeline, &live, args.until_caught_up, &mut signals).await;
    live.clear();
    if let Some(pusher) = pusher {
        pusher.stop().await;
    }
    let seconds = started.elapsed();
    let progress = stop(pipeline, &mut signals)
        .await
        .ok_or_else(|| Failure::with(Exit::Interrupted, "stopped at once by a second signal"))?;
    if args.until_caught_up || global.output == OutputFormat::Json {
        show(&progress, seconds, global.output);
    }
    match (end, denied) {
        // All others are done: what is left is the failure of these.
        (Ok(Exit::Ok), Some(denied)) => Err(denied),
        (end, _) => end,
    }
}

/// Has the node keep the layers above bronze that are wanted.
fn keep_layers(settings: &mut NodeSettings, args: &Args, config: &Config, topics: &[Topic]) -> Result<(), Failure> {
    let has_gold = args.layers.contains(&Layer::Gold);
    if has_gold || args.layers.contains(&Layer::Silver) {
        settings.silver = silver_settings(topics, settings.compaction.as_ref())?;
        let open_day = has_gold.then_some(config.open_day_debounce);
        settings.derived = derived_settings(&settings.silver, config.activity_debounce, open_day);
        settings.positions = open_day.filter(|_| !settings.derived.is_empty());
    }
    Ok(())
}

/// The push gateway's task, where one is configured.
fn pusher(config: &Config, pipeline: &Pipeline) -> Result<Option<Pusher>, Failure> {
    let start = |url: &String| Pusher::start(url, &config.node, pipeline.metrics());
    let refused = |error: PushError| ConfigError::from(Fault::new("metrics.pushgateway_url", chain(&error)));
    Ok(config
        .pushgateway_url
        .as_ref()
        .map(start)
        .transpose()
        .map_err(refused)?)
}

/// The topics that can be caught up with now. An answer is asked of Kafka, the registry and the catalog first: a run that
/// is to end must not wait for ever. Topics that the user may not read are left out; the failure names them.
async fn reachable(config: &Config, topics: Vec<Topic>, live: &Live) -> Result<(Vec<Topic>, Option<Failure>), Failure> {
    Lake::open(lake_settings(config)?)
        .await
        .map_err(|error| lake_failure(&error))?;
    let registry = registry_client(config)?;
    let mut views = look(&topics, None, &kafka_settings(config)?).await?;
    let denied = super::not_permitted(&views);
    views.retain(|view| view.refusal.is_none());
    if let (Some(denied), true) = (&denied, views.is_empty()) {
        return Err(denied.clone());
    }
    if let Some(denied) = &denied {
        live.note(&format!("{}: the others go on", denied.message));
    }
    if let Some(topic) = topics.first() {
        let subject = format!("{}-value", topic.topic);
        registry
            .latest(&subject)
            .await
            .map_err(|error| registry_failure(&error))?;
    }
    let (there, absent): (Vec<_>, Vec<_>) = views.into_iter().partition(|view| view.log.is_some());
    if there.is_empty() {
        let names: Vec<&str> = absent.iter().map(|view| view.topic.topic.as_str()).collect();
        return Err(
            Failure::failed(format!("Kafka has none of the topics {}", names.join(", ")))
                .code("topic_absent")
                .hint("`tapehouse generate` creates them with data; [[topics]] names others"),
        );
    }
    for view in absent {
        live.note(&format!(
            "Kafka has no topic {}: nothing to catch up with",
            view.topic.topic
        ));
    }
    Ok((there.into_iter().map(|view| view.topic).collect(), denied))
}

/// Watches until the end that `until_caught_up` asks for or a signal; says how it ended.
async fn watch(
    pipeline: &Pipeline,
    live: &Live,
    until_caught_up: bool,
    signals: &mut StopSignals,
) -> Result<Exit, Failure> {
    let line = live.line();
    let mut tick = tokio::time::interval(TICK);
    let mut caught_up = std::pin::pin!(pipeline.node().caught_up());
    let mut patience = Patience::new();
    loop {
        tokio::select! {
            signal = signals.next() => {
                tracing::info!(?signal, "stopping");
                return Ok(if until_caught_up { Exit::Interrupted } else { Exit::Ok });
            }
            result = &mut caught_up, if until_caught_up => {
                return result.map(|()| Exit::Ok).map_err(|stopped| {
                    Failure::failed(format!("topic stopped: {stopped}")).code(stopped.code).hint("`tapehouse status` shows each topic")
                });
            }
            _ = tick.tick() => {
                let progress = pipeline.progress();
                line.set_message(progress_line(&progress));
                if let (true, Some(error)) = (until_caught_up, patience.exhausted(&progress)) {
                    let message = format!("nothing committed for {} s: {error}", GIVE_UP_AFTER.as_secs());
                    return Err(Failure::unreachable(message).code("not_caught_up"));
                }
            }
        }
    }
}

/// How long a run that is to end has been failing without committing anything.
struct Patience {
    since: Instant,
    rows: u64,
    error: Option<String>,
}

impl Patience {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            rows: 0,
            error: None,
        }
    }

    /// The error that stands in the way, once that has lasted for too long.
    fn exhausted(&mut self, progress: &NodeProgress) -> Option<&str> {
        let rows = Totals::of(progress).rows;
        if rows > self.rows {
            *self = Self { rows, ..Self::new() };
        }
        // Between two attempts a topic is starting, which says nothing yet.
        let failing = progress.topics.iter().find_map(|topic| match &topic.state {
            TopicState::Retrying { error, .. } => Some(format!("{}: {error}", topic.topic)),
            _ => None,
        });
        if self.error.is_none() && failing.is_some() {
            self.since = Instant::now();
        }
        self.error = failing.or_else(|| self.error.take());
        self.error.as_deref().filter(|_| self.since.elapsed() > GIVE_UP_AFTER)
    }
}

/// Stops the node; `None` where a second signal did not want to wait.
async fn stop(pipeline: Pipeline, signals: &mut StopSignals) -> Option<NodeProgress> {
    tokio::select! {
        stopped = pipeline.stop() => {
            if !stopped.drained {
                tracing::warn!("staged rows were dropped at the deadline; the next start reads them from Kafka again");
            }
            Some(stopped.progress)
        }
        _ = signals.next() => None,
    }
}

fn progress_line(progress: &NodeProgress) -> String {
    let style = Style::of_stderr();
    let topics = progress.topics.iter().map(|topic| {
        let behind: u64 = topic
            .partitions
            .iter()
            .filter_map(|partition| u64::try_from(partition.high_watermark? - partition.next_offset).ok())
            .sum();
        let state = match &topic.state {
            TopicState::Starting => style.dim("starting"),
            TopicState::Running => format!("lag {}", grouped(behind)),
            TopicState::Idle => style.good("up to date"),
            TopicState::Retrying { error, attempt, .. } => style.warn(&format!("retry {attempt}: {error}")),
            TopicState::Stopped(stopped) => style.bad(&format!("stopped: {}", stopped.message)),
        };
        format!(
            "{} {} rows, {state}",
            style.bold(&topic.topic),
            grouped(topic.rows_committed)
        )
    });
    topics.collect::<Vec<_>>().join("   ")
}

fn show(progress: &NodeProgress, elapsed: Duration, output: OutputFormat) {
    let totals = Totals::of(progress);
    let usage = Usage::now();
    let seconds = elapsed.as_secs_f64();
    if output == OutputFormat::Json {
        let topics: Vec<Value> = progress
            .topics
            .iter()
            .map(|topic| {
                json!({
                    "topic": topic.topic, "table": topic.table, "records": topic.rows_committed,
                    "undecodable": topic.undecodable, "commits": topic.commits,
                })
            })
            .collect();
        print_json(&json!({
            "records": totals.rows,
            "undecodable": totals.undecodable,
            "seconds": seconds,
            "cpu_seconds": usage.map(|usage| usage.cpu_seconds),
            "peak_rss_mib": usage.map(|usage| usage.peak_rss_mib),
            "commits": totals.commits,
            "topics": topics,
            "silver": progress.silver.iter().map(silver_as_json).collect::<Vec<_>>(),
        }));
        return;
    }
    for table in &progress.silver {
        print(&silver_line(table));
    }
    let rate = (totals.rows as f64 / seconds.max(0.001)) as u64;
    let used = usage.map_or(String::new(), |usage| {
        format!(
            ", {:.1} s of CPU, {:.0} MiB at most",
            usage.cpu_seconds, usage.peak_rss_mib
        )
    });
    print(&format!(
        "{} records in {seconds:.1} s ({} a second), {} commits{used}",
        grouped(totals.rows),
        grouped(rate),
        grouped(totals.commits)
    ));
}

fn silver_line(table: &SilverProgress) -> String {
    let rows = &table.rows;
    if table.is_derived {
        return format!(
            "{}: {} rows from {}; {} written, in {} commits",
            table.table,
            grouped(table.table_rows),
            table.source,
            grouped(rows.written),
            grouped(table.commits)
        );
    }
    format!(
        "{}: {} rows; of {} read, {} written, {} deduplicated, {} dropped, {} quarantined, in {} commits",
        table.table,
        grouped(table.table_rows),
        grouped(rows.input),
        grouped(rows.written),
        grouped(rows.deduplicated),
        grouped(rows.dropped),
        grouped(rows.quarantined),
        grouped(table.commits)
    )
}
