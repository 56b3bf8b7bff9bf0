//! `tapehouse rebuild`

use std::path::PathBuf;
use std::time::{Duration, Instant};

use prometheus::Registry;
use serde_json::json;
use tapehouse_actors::{NodeHandle, NodeSettings, SilverProgress, TopicState};
use tapehouse_lake::commit::Reset;
use tapehouse_lake::silver::SilverTable;
use tapehouse_lake::silver::clean::RULES_VERSION;
use tapehouse_lake::silver::quarantine::begin_generation;
use tapehouse_lake::{CommitError, Lake, LoadedTable, TableName};

use super::repair::confirm;
use crate::cli::Global;
use crate::config::{Config, Part, Topic};
use crate::connect::lake_failure;
use crate::console::{OutputFormat, grouped, note, print, print_json};
use crate::exit::{Exit, Failure, chain};
use crate::pipeline::{STOP_DEADLINE, node_settings, silver_as_json, silver_settings, start_failure};
use crate::signals::StopSignals;

/// What fails for so long without a break ends the command; a running node, or another call, goes on with the table.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);
/// How often progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

const EXAMPLES: &str = "\
Examples:
  tapehouse rebuild silver.trades --dry-run
  tapehouse rebuild silver.trades              asks, then does it
  tapehouse rebuild trades --yes -o json

One commit empties the table; then its bronze table is merged into it from the beginning, by the rules of this program and
with all decisions about quarantined rows. The snapshot before stays readable until it expires. Readers see the table grow
meanwhile. If it is interrupted, a running node goes on, or `tapehouse rebuild` again.";

/// Arguments of `rebuild`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The silver table, with or without its namespace
    #[arg(value_name = "TABLE", value_parser = silver_table)]
    table: SilverTable,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Show what would be made anew; change nothing
    #[arg(long)]
    dry_run: bool,
}

fn silver_table(text: &str) -> Result<SilverTable, String> {
    let names = SilverTable::ALL.map(SilverTable::name).join(", ");
    SilverTable::named(text).ok_or_else(|| format!("there is no such silver table; there are {names}"))
}

/// Makes a silver table anew.
///
/// # Errors
/// Bad configuration; no such table; what cannot be read or written.
pub async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let config = Config::load(&global.flags(), &[Part::Kafka, Part::Registry, Part::Lake])?;
    super::quiet_logs(&config);
    let name = args.table.name();
    let mut topics = config.topics.iter();
    let topic = topics.find(|topic| topic.silver == Some(args.table)).ok_or_else(|| {
        Failure::failed(format!("no configured topic feeds {name}"))
            .code("no_such_table")
            .hint("[[topics]] says which: silver = \"TABLE\"")
    })?;
    let settings = settings(&config, topic)?;
    let lake = Lake::open_existing(settings.lake.clone()).await;
    let lake = lake.map_err(|error| lake_failure(&error))?;
    let ident: TableName = name.parse().map_err(Failure::failed)?;
    let table = lake
        .load(&ident)
        .await
        .map_err(|error| lake_failure(&error))?
        .ok_or_else(|| {
            Failure::failed(format!("{name} does not exist"))
                .code("no_such_table")
                .hint("there is nothing to rebuild: `tapehouse run --layers bronze,silver` makes it")
        })?;
    if global.output == OutputFormat::Table {
        print(&description(&table, topic));
    }
    if args.dry_run {
        match global.output {
            OutputFormat::Json => {
                print_json(&json!({ "table": name, "dry_run": true, "rows_before": table.live_rows() }))
            }
            OutputFormat::Table => print("nothing was changed (--dry-run)"),
        }
        return Ok(Exit::Ok);
    }
    if !args.yes {
        confirm(name)?;
    }
    let generation = reset(&lake, &table, topic, &config.cluster, args.table).await?;
    let (progress, seconds) = merge(settings).await?;
    match global.output {
        OutputFormat::Json => print_json(&json!({
            "table": name,
            "dry_run": false,
            "generation": generation,
            "rows_before": table.live_rows(),
            "seconds": seconds,
            "silver": silver_as_json(&progress),
        })),
        OutputFormat::Table => print(&format!(
            "{name}: {} rows of {} of {}, in {seconds:.1} s",
            grouped(progress.table_rows),
            grouped(progress.rows.input),
            topic.table
        )),
    }
    Ok(Exit::Ok)
}

/// A node that has nothing but this table, and a folder of its own: another may be running.
fn settings(config: &Config, topic: &Topic) -> Result<NodeSettings, Failure> {
    let mut settings = node_settings(config, &[])?;
    settings.silver = silver_settings(std::slice::from_ref(topic), settings.compaction.as_ref())?;
    settings.state_dir = config
        .state_dir
        .join("state")
        .join(format!("rebuild-{}", std::process::id()));
    Ok(settings)
}

fn description(table: &LoadedTable, topic: &Topic) -> String {
    let rows = table.live_rows().map_or("an unknown number of".to_owned(), grouped);
    let rules = match table.merge_state() {
        Ok(state) => format!("rules {}", state.rules),
        Err(error) => format!("a state that cannot be used ({error})"),
    };
    format!(
        "{}: {rows} rows, {rules}; is emptied, then made from {} by rules {RULES_VERSION}",
        table.ident(),
        topic.table
    )
}

/// Empties the table; its new generation. Rows set aside go after it: whoever merges first lets go of them too, so that it does no
/// harm if this process ends in between.
async fn reset(
    lake: &Lake,
    table: &LoadedTable,
    topic: &Topic,
    cluster: &str,
    silver: SilverTable,
) -> Result<u64, Failure> {
    let reset = Reset {
        owner: cluster.to_owned(),
        source: topic.table.clone(),
        rules: RULES_VERSION,
        reason: "tapehouse rebuild".to_owned(),
    };
    let committed = lake
        .reset_merged(table.ident(), &reset)
        .await
        .map_err(|error| match &error {
            CommitError::Fatal { source, .. } => lake_failure(source),
            _ => Failure::failed(chain(&error)).code(error.code()),
        })?;
    let state = committed.table.merge_state();
    let generation = state
        .map_err(|error| Failure::failed(error).code("state_invalid"))?
        .generation;
    begin_generation(lake, cluster, silver, generation)
        .await
        .map_err(|error| Failure::failed(chain(&error)).code(error.code()))?;
    Ok(generation)
}

/// Merges all that bronze has; what became of it, and in how many seconds.
async fn merge(settings: NodeSettings) -> Result<(SilverProgress, f64), Failure> {
    let folder = Folder(settings.state_dir.clone());
    let started = Instant::now();
    let registry = Registry::new();
    let node = NodeHandle::start(settings, &registry)
        .await
        .map_err(|error| start_failure(&error))?;
    let outcome = wait(&node).await;
    let progress = node.progress().silver.into_iter().next().unwrap_or_default();
    node.stop(STOP_DEADLINE).await;
    drop(folder);
    outcome.map(|()| (progress, started.elapsed().as_secs_f64()))
}

/// Waits until all is merged; gives up where nothing is committed for long.
async fn wait(node: &NodeHandle) -> Result<(), Failure> {
    let mut signals = StopSignals::listen().map_err(Failure::failed)?;
    let done = node.caught_up();
    tokio::pin!(done);
    let mut failing: Option<(Instant, u64)> = None;
    let goes_on = "what is merged stays; a running node goes on with it, or `tapehouse rebuild` again";
    loop {
        tokio::select! {
            _ = &mut done => return Ok(()),
            _ = signals.next() => return Err(Failure::with(Exit::Interrupted, "interrupted").hint(goes_on)),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let Some(table) = node.progress().silver.into_iter().next() else {
            continue;
        };
        match &table.state {
            TopicState::Retrying { code, error, .. } => {
                let (since, commits) = *failing.get_or_insert((Instant::now(), table.commits));
                if commits != table.commits {
                    failing = None;
                } else if since.elapsed() > GIVE_UP_AFTER {
                    return Err(Failure::failed(error).code(code).hint(goes_on));
                }
            }
            _ => failing = None,
        }
    }
}

/// A folder that goes with the command.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            note(&format!("{} was left: {error}", self.0.display()));
        }
    }
}
