//! `tapehouse generate`

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tapehouse_core::clock::now_us;
use tapehouse_kafka::generator::{EventClock, GeneratorOptions, Topic};
use tapehouse_kafka::producer::generate::{
    GenerateError, GenerateOptions, GenerateReport, ProgressCallback, run as produce,
};

use crate::cli::Global;
use crate::config::{Config, Part};
use crate::connect::{kafka_settings, producer_failure, registry_client, registry_failure};
use crate::console::{Align, OutputFormat, Style, Table, grouped, print, print_json};
use crate::dates::DateRange;
use crate::exit::{Exit, Failure};
use crate::signals::StopSignals;

/// Seconds of a day.
const DAY_S: f64 = 86_400.0;

const EXAMPLES: &str = "\
Examples:
  tapehouse generate --topic all --rate 5000                      a live feed until Ctrl-C
  tapehouse generate --topic trades --count 10000000 --seed 7     as fast as Kafka takes it
  tapehouse generate --topic trades --count 100000 --corrections 0.02 --duplicates 0.01 --bad-records 0.001
  tapehouse generate --topic trades --count 1000000 --days 60 --corrections 0.16 --moves 0.05 --duplicates 0.02
  tapehouse generate --topic all --historical 2024-06-24..2024-07-09 --trades-per-day 50000
  tapehouse generate --topic all --count 1000000 --start 2024-01-02T14:30:00Z --event-rate 5000

The same seed, options and start give the same records.";

/// Arguments of `generate`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Which topics
    #[arg(long, value_parser = ["trades", "orderbook", "marketdata", "all"], default_value = "all")]
    topic: String,
    /// Records in all [default: until Ctrl-C, or until the days of --historical end]
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Records per second in all; 0: as fast as possible
    #[arg(long, value_name = "R", default_value_t = 0.0)]
    rate: f64,
    /// Seed of everything random
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Stop after this time, for instance 30s
    #[arg(long = "for", value_name = "TIME", value_parser = crate::duration::parse)]
    time: Option<Duration>,
    /// Partitions of topics that do not exist yet; 0: they must exist
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(i32).range(0..=10_000))]
    partitions: i32,
    #[command(flatten)]
    feed: Feed,
}

/// What the feed looks like. Fractions are from 0 to 1, of all records of a topic.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Feed")]
struct Feed {
    /// A feed with the faults of an ordinary day; the fractions below add to or replace them
    #[arg(long)]
    realistic: bool,
    /// Symbols, weighted by Zipf
    #[arg(long, value_name = "N")]
    symbols: Option<usize>,
    /// Traders
    #[arg(long, value_name = "N")]
    traders: Option<usize>,
    /// Event time of the first record [default: now]
    #[arg(long, value_name = "TIME", value_parser = time_us)]
    start: Option<i64>,
    /// Trades per second of event time, instead of the wall clock's
    #[arg(long, value_name = "R")]
    event_rate: Option<f64>,
    /// Spreads the --count records over so many days of event time, which end now if --start says nothing else; with --any-trade
    #[arg(long, value_name = "N", requires = "count", conflicts_with = "event_rate", value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: Option<u32>,
    /// Past trading days, as 2024-06-24..2024-07-09: in each session --trades-per-day trades with their own timestamps, and the other
    /// topics with them; nothing where the exchange was closed
    #[arg(long, value_name = "FROM..TO", value_parser = crate::dates::parse_range, conflicts_with_all = ["days", "event_rate", "start", "count"])]
    historical: Option<DateRange>,
    /// Trades of each session, with --historical
    #[arg(long, value_name = "N", default_value_t = 20_000, requires = "historical", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    trades_per_day: u32,
    /// Trades that correct an earlier one: same trade_id, later event_timestamp
    #[arg(long, value_name = "FRACTION")]
    corrections: Option<f64>,
    /// Of the corrections, those that move the trade to another day
    #[arg(long, value_name = "FRACTION")]
    moves: Option<f64>,
    /// Corrections that go far back, one in ten, go to any earlier trade, each equally likely; takes 24 bytes of memory a trade
    #[arg(long)]
    any_trade: bool,
    /// Records sent again as they were
    #[arg(long, value_name = "FRACTION")]
    duplicates: Option<f64>,
    /// Trades without trade_id
    #[arg(long, value_name = "FRACTION")]
    null_ids: Option<f64>,
    /// Records without symbol
    #[arg(long, value_name = "FRACTION")]
    null_symbols: Option<f64>,
    /// Trades without price
    #[arg(long, value_name = "FRACTION")]
    null_prices: Option<f64>,
    /// Trades whose price is below 0, until a correction says the right one
    #[arg(long, value_name = "FRACTION")]
    negative_prices: Option<f64>,
    /// Trades without quantity, bars without volume
    #[arg(long, value_name = "FRACTION")]
    null_quantities: Option<f64>,
    /// Records that cannot be decoded
    #[arg(long, value_name = "FRACTION")]
    bad_records: Option<f64>,
}

/// How many trades come of `--count`: of all topics together 14 in 20 records are trades.
fn trades(args: &Args) -> Option<f64> {
    let records = args.count? as f64;
    Some(if args.topic == "all" {
        records * 14.0 / 20.0
    } else {
        records
    })
}

fn time_us(text: &str) -> Result<i64, String> {
    let time: jiff::Timestamp = text
        .parse()
        .map_err(|_| "must be a time like 2024-01-02T14:30:00Z".to_owned())?;
    Ok(time.as_microsecond())
}

impl Feed {
    /// Options of the feed. `trades`: how many trades there will be, where that is known.
    fn options(&self, seed: u64, trades: Option<f64>) -> GeneratorOptions {
        let base = if self.realistic {
            GeneratorOptions::realistic(seed)
        } else {
            GeneratorOptions {
                seed,
                ..GeneratorOptions::default()
            }
        };
        let days_s = self.days.map(|days| f64::from(days) * DAY_S);
        let rate_of_days = days_s.zip(trades).map(|(days_s, trades)| trades / days_s);
        let days_ago_us = days_s.map(|days_s| now_us() - (days_s * 1e6) as i64);
        let clock = self
            .event_rate
            .or(rate_of_days)
            .map(|trades_per_second| EventClock::Synthetic { trades_per_second });
        let sessions = self.historical.map(|range| EventClock::Sessions {
            first_day: range.first,
            last_day: range.last,
            trades_per_day: self.trades_per_day,
        });
        let clock = sessions.or(clock);
        GeneratorOptions {
            symbols: self.symbols.unwrap_or(base.symbols),
            traders: self.traders.unwrap_or(base.traders),
            start_us: self.start.or(days_ago_us).or(base.start_us),
            clock: clock.unwrap_or(base.clock),
            corrections: self.corrections.unwrap_or(base.corrections),
            moves: self.moves.unwrap_or(base.moves),
            remembers_all: self.any_trade || self.days.is_some(),
            duplicates: self.duplicates.unwrap_or(base.duplicates),
            null_ids: self.null_ids.unwrap_or(base.null_ids),
            null_symbols: self.null_symbols.unwrap_or(base.null_symbols),
            null_prices: self.null_prices.unwrap_or(base.null_prices),
            negative_prices: self.negative_prices.unwrap_or(base.negative_prices),
            null_quantities: self.null_quantities.unwrap_or(base.null_quantities),
            bad_records: self.bad_records.unwrap_or(base.bad_records),
            ..base
        }
    }
}

/// Produces until the count, the time or a signal.
///
/// # Errors
/// Bad configuration, what cannot be reached, records that Kafka does not take.
pub async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let config = Config::load(&global.flags(), &[Part::Kafka, Part::Registry])?;
    crate::console::logs::init(config.log_format, &config.log_filter);
    let kafka = kafka_settings(&config)?;
    let stop = Arc::new(AtomicBool::new(false));
    let options = GenerateOptions {
        kafka: kafka.clone(),
        registry: registry_client(&config)?,
        targets: targets(&args.topic, &config),
        create_partitions: (args.partitions > 0).then_some(args.partitions),
        count: args.count,
        rate_per_s: args.rate,
        generator: args.feed.options(args.seed, trades(args)),
        stop: Arc::clone(&stop),
        progress: progress(args.count),
    };
    let mut signals = StopSignals::listen().map_err(Failure::failed)?;
    let time = args.time.unwrap_or(Duration::MAX);
    let mut producing = std::pin::pin!(produce(options));
    let mut interrupted = false;
    let result = tokio::select! {
        result = &mut producing => result,
        () = tokio::time::sleep(time) => finish(&stop, producing).await,
        _ = signals.next() => {
            interrupted = true;
            finish(&stop, producing).await
        }
    };
    let report = result.map_err(|error| match &error {
        GenerateError::Producer(error) => producer_failure(error, &kafka),
        GenerateError::Registry(error) => registry_failure(error),
        other => Failure::failed(other),
    })?;
    show(&report, global.output);
    // Without a count or a time a signal is how it ends.
    let was_endless = args.count.is_none() && args.time.is_none() && args.feed.historical.is_none();
    Ok(if interrupted && !was_endless {
        Exit::Interrupted
    } else {
        Exit::Ok
    })
}

async fn finish<T>(stop: &AtomicBool, running: impl Future<Output = T>) -> T {
    stop.store(true, Ordering::Relaxed);
    running.await
}

/// The names in Kafka of the topics: those of the configuration, where one has the generator's short name.
fn targets(word: &str, config: &Config) -> BTreeMap<Topic, String> {
    let wanted = |topic: &Topic| word == "all" || word == topic.name();
    let name = |topic: Topic| {
        let configured = config
            .topics
            .iter()
            .find(|configured| configured.short_name() == topic.name());
        configured.map_or(topic.kafka_topic().to_owned(), |configured| configured.topic.clone())
    };
    Topic::ALL
        .into_iter()
        .filter(wanted)
        .map(|topic| (topic, name(topic)))
        .collect()
}

fn progress(count: Option<u64>) -> Option<ProgressCallback> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let bar = match count {
        Some(count) => ProgressBar::new(count),
        None => ProgressBar::new_spinner(),
    };
    let template = match count {
        Some(_) => "{bar:30} {human_pos}/{human_len}  {per_sec}  {eta} left",
        None => "{spinner} {human_pos} records  {per_sec}  {elapsed}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    Some(Box::new(move |progress| bar.set_position(progress.produced)))
}

fn show(report: &GenerateReport, output: OutputFormat) {
    let seconds = report.elapsed.as_secs_f64();
    let rate = report.produced as f64 / seconds.max(0.001);
    if output == OutputFormat::Json {
        print_json(&json!({
            "produced": report.produced, "seconds": seconds, "records_per_second": rate,
            "topics": report.stats, "created_topics": report.created_topics,
        }));
        return;
    }
    let right = Align::Right;
    let mut table = Table::new(&[
        ("TOPIC", Align::Left),
        ("PRODUCED", right),
        ("CORRECTIONS", right),
        ("DUPLICATES", right),
        ("UNDECODABLE", right),
    ]);
    for topic in Topic::ALL {
        let stats = report.stats.topic(topic);
        let counts = [stats.produced, stats.corrections, stats.duplicates, stats.bad].map(grouped);
        table.row([topic.name().to_owned()].into_iter().chain(counts));
    }
    print(&table.render(Style::of_stdout()));
    print(&format!(
        "{} records in {seconds:.1} s: {} a second",
        grouped(report.produced),
        grouped(rate as u64)
    ));
}
