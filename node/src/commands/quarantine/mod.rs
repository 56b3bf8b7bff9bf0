//! `tapehouse quarantine`: rows that rules have set aside, and decisions about them.

mod decide;
mod list;
mod show;

use tapehouse_lake::Lake;
use tapehouse_lake::silver::SilverTable;
use tapehouse_lake::silver::quarantine::{Entry, Quarantine, QuarantineError, Standing, standings};

use crate::cli::Global;
use crate::config::{Config, Part};
use crate::connect::{lake_failure, lake_settings};
use crate::exit::{Exit, Failure, chain};

const EXAMPLES: &str = "\
Examples:
  tapehouse quarantine list --open --table trades          what waits for a decision
  tapehouse quarantine show trades-0-3-1234                the row itself, and what was decided
  tapehouse quarantine replay trades-0-3-1234 --note \"a credit\"
  tapehouse quarantine replay --all --rule negative --table trades --dry-run
  tapehouse quarantine drop --all --rule not_finite --yes

An id names a record: silver table, incarnation of the topic, partition, offset. A decision is a row of
ops.quarantine and stays: silver is the fold of bronze and decisions.";

/// Arguments of `quarantine`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show rows that rules have set aside, by id
    List(list::Args),
    /// Show one record: its values, the rules that held, the decisions
    Show(show::Args),
    /// Take rows in: the rule that has set them aside is waived for them, every other one still holds
    Replay(decide::Args),
    /// Acknowledge rows: they stay out, and are no longer open
    Drop(decide::Args),
}

/// Shows rows set aside, or decides about them.
///
/// # Errors
/// Bad configuration; a lake that cannot be read; a decision that cannot be made.
pub async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let config = Config::load(&global.flags(), &[Part::Lake])?;
    super::quiet_logs(&config);
    let lake = Lake::open_existing(lake_settings(&config)?).await;
    let lake = lake.map_err(|error| lake_failure(&error))?;
    match &args.action {
        Action::List(args) => list::run(args, &lake, global).await,
        Action::Show(args) => show::run(args, &lake, global).await,
        Action::Replay(args) => decide::run(args, decide::Verdict::Replay, &lake, &config, global).await,
        Action::Drop(args) => decide::run(args, decide::Verdict::Drop, &lake, &config, global).await,
    }
}

/// Which rows are meant.
#[derive(Clone, Debug, Default, clap::Args)]
struct Selection {
    /// Only rows meant for this silver table, for instance trades
    #[arg(long, value_name = "TABLE", value_parser = silver_table)]
    table: Option<SilverTable>,
    /// Only rows that this rule has set aside
    #[arg(long, value_name = "RULE")]
    rule: Option<String>,
}

impl Selection {
    fn admits(&self, entry: &Entry) -> bool {
        self.rule.as_ref().is_none_or(|rule| *rule == entry.rule)
    }
}

fn silver_table(text: &str) -> Result<SilverTable, String> {
    SilverTable::named(text).ok_or_else(|| {
        let names = SilverTable::ALL.map(SilverTable::name);
        format!("there is no such silver table; there are {}", names.join(", "))
    })
}

/// Rows set aside with where they stand.
async fn rows(
    quarantine: &Quarantine,
    lake: &Lake,
    selection: &Selection,
    with_json: bool,
    wanted: impl Fn(&Entry) -> bool,
) -> Result<Vec<(Entry, Standing)>, QuarantineError> {
    let wanted = |entry: &Entry| selection.admits(entry) && wanted(entry);
    let entries = quarantine.entries(lake, selection.table, with_json, wanted).await?;
    let mut decisions = Vec::new();
    for table in SilverTable::ALL {
        if selection.table.is_none_or(|only| only == table) {
            decisions.append(&mut quarantine.decisions(lake, table).await?.all);
        }
    }
    let standings = standings(&entries, &decisions);
    Ok(entries.into_iter().zip(standings).collect())
}

fn failure(error: &QuarantineError) -> Failure {
    match error {
        QuarantineError::Lake(error) => lake_failure(error),
        QuarantineError::OtherOwner { .. } => Failure::failed(error)
            .code(error.code())
            .hint("use the owner's node.cluster"),
        _ => Failure::failed(chain(error)).code(error.code()),
    }
}

fn not_quarantined(what: &str) -> Failure {
    Failure::failed(format!("{what}: no such row was set aside"))
        .code("not_quarantined")
        .hint("`tapehouse quarantine list` shows the ids")
}
