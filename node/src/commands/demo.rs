//! `tapehouse demo`

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueHint;

use crate::cli::Global;
use crate::commands::Layer;
use crate::config::{Config, Grpc, LogFormat};
use crate::console::{Live, OutputFormat, logs, print, print_json};
use crate::dates::DateRange;
use crate::demo::{Place, Screen, Stage, StageOptions, Summary, introduction};
use crate::exit::{Exit, Failure};
use crate::pipeline::{Servers, TICK};
use crate::signals::StopSignals;

const EXAMPLES: &str = "\
Examples:
  tapehouse demo                          until Ctrl-C
  tapehouse demo --for 30s --rate 20000
  tapehouse demo --historical 2024-06-24..2024-07-09   past days with a weekend, a half day and a holiday, up to gold
  tapehouse demo --for 10s -o json        for scripts: exit code 0 only if every record is in its table once

Nothing has to be set up and no configuration is read. The tables stay: their folder is named at the end.";

/// Records per second where nothing else is said.
const LIVE_RATE: u32 = 5_000;
/// What a node keeps up with in all layers on two cores: the embedded broker keeps 5 MiB a partition.
const HISTORICAL_RATE: u32 = 15_000;
/// Ticks between two lines where there is no terminal: 5 s.
const PLAIN_EVERY: u32 = 50;

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Stop after this time, for instance 30s [default: at Ctrl-C]
    #[arg(long = "for", value_name = "TIME", value_parser = crate::duration::parse)]
    time: Option<Duration>,
    /// Past trading days instead of a live feed, as 2024-06-24..2024-07-09; ends by itself
    #[arg(long, value_name = "FROM..TO", value_parser = crate::dates::parse_range)]
    historical: Option<DateRange>,
    /// Trades of each session, with --historical
    #[arg(long, value_name = "N", default_value_t = 10_000, requires = "historical", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    trades_per_day: u32,
    /// Records per second, all three topics together [default: 5000; 15000 with --historical]
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=50_000))]
    rate: Option<u32>,
    /// Seed of the generator
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Layers to run
    #[arg(long, value_enum, value_delimiter = ',', default_value = "bronze,silver,gold")]
    layers: Vec<Layer>,
    /// Folder of the tables [default: a new one in the system's folder of temporary files]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    dir: Option<PathBuf>,
    /// Port of /metrics on 127.0.0.1; a free one where it is taken
    #[arg(long, value_name = "PORT", default_value_t = 9464)]
    port: u16,
    /// Port of gRPC on 127.0.0.1; a free one where it is taken
    #[arg(long, value_name = "PORT", default_value_t = 50051)]
    grpc_port: u16,
}

/// Runs the demo until the time is over or a signal comes.
///
/// # Errors
/// What does not start or fails on the way.
pub async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let live = Live::on_stderr();
    begin_to_log(&live, global)?;
    let mut signals = StopSignals::listen().map_err(Failure::failed)?;
    let options = StageOptions {
        rate_per_s: f64::from(args.rate.unwrap_or(match args.historical {
            None => LIVE_RATE,
            Some(_) => HISTORICAL_RATE,
        })),
        historical: args.historical.map(|range| (range, args.trades_per_day)),
        seed: args.seed,
        has_silver: args.layers.contains(&Layer::Silver),
        has_gold: args.layers.contains(&Layer::Gold),
        servers: Servers {
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, args.port)),
            grpc: Grpc::local(args.grpc_port),
            or_any_port: true,
        },
    };
    let stage = Stage::build(Place::make(args.dir.as_deref())?, &options).await?;
    let folder = stage.place().folder().to_owned();
    live.note(&introduction(&stage));
    show_until(&stage, &live, args.time, &mut signals).await;
    live.clear();
    live.note("stopping: the generator ends, the node catches up, every table is checked");
    let ending = tokio::select! {
        ending = stage.end() => ending?,
        _ = signals.next() => return Err(Failure::with(Exit::Interrupted, "stopped at once by a second signal")),
    };
    let days = args.historical.map(crate::dates::sessions).unwrap_or_default();
    let summary = Summary::of(&ending, days, &folder);
    match global.output {
        OutputFormat::Json => print_json(&summary.as_json()),
        OutputFormat::Table => print(&summary.as_text()),
    }
    Ok(if summary.holds() { Exit::Ok } else { Exit::CheckFailed })
}

/// A demo reads no configuration file, but is told by flag and environment how to log.
fn begin_to_log(live: &Live, global: &Global) -> Result<(), Failure> {
    let flags = crate::config::Flags {
        set: global.flags().set,
        ..Default::default()
    };
    let config = Config::load_without_file(&flags)?;
    let filter = if config.log_is_default {
        "warn,librdkafka=error"
    } else {
        &config.log_filter
    };
    let format = if config.log_format == LogFormat::Json {
        LogFormat::Json
    } else {
        LogFormat::Text
    };
    logs::init_above(live.clone(), format, filter);
    Ok(())
}

async fn show_until(stage: &Stage, live: &Live, time: Option<Duration>, signals: &mut StopSignals) {
    let mut end = std::pin::pin!(tokio::time::sleep(time.unwrap_or(Duration::MAX)));
    let mut tick = tokio::time::interval(TICK);
    let (_, progress) = stage.progress();
    let screen = Screen::on(live, progress.topics.len());
    let mut ticks = 0_u32;
    loop {
        tokio::select! {
            () = &mut end => return,
            _ = signals.next() => return,
            _ = tick.tick() => {
                let (produced, progress) = stage.progress();
                screen.update(produced, &progress);
                ticks = ticks.wrapping_add(1);
                if !live.is_visible() && ticks.is_multiple_of(PLAIN_EVERY) {
                    live.note(&screen.plain(produced, &progress));
                }
                if stage.generator_has_ended() {
                    return;
                }
            }
        }
    }
}
