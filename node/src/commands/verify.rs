//! `tapehouse verify`

mod derived;

use serde_json::{Value, json};
use tapehouse_lake::derived::DayTable;
use tapehouse_lake::gold::positions::{PositionTable, PositionsReport};
use tapehouse_lake::silver::SilverTable;
use tapehouse_lake::silver::clean::Rules;
use tapehouse_lake::verify::{DerivedReport, SilverLook, SilverReport, Violation, verify_silver};
use tapehouse_lake::{Lake, LoadedTable, TableName};

use crate::check::{Deep, TableCheck, check};
use crate::cli::Global;
use crate::config::{Config, Part, Topic};
use crate::connect::{kafka_settings, lake_failure, lake_settings, verify_failure};
use crate::console::{Align, Live, OutputFormat, Style, Table, grouped, print, print_json};
use crate::exit::{Exit, Failure};

/// A silver table is read so often at most.
const MAX_LOOKS: usize = 3;

const EXAMPLES: &str = "\
Examples:
  tapehouse verify                               every record of the covered ranges once? from the tables alone
  tapehouse verify --deep                        and reads Kafka again: names each missing or extra offset
  tapehouse verify --table bronze.raw_trades -o json
  tapehouse verify --table silver.trades         is silver the last-writer fold of its bronze table?

Checks of bronze tables I1 (each visible record of the covered ranges has one row), I2 (ranges are contiguous) and I3 (no data file
is referenced twice); of silver tables I3, and I4 (one row a key: the latest of what of bronze was merged, cleaned by the rules); of
derived and gold tables I3, I5 (each day is what its sources give, wherever it rests on them as they are) and I9 (none rests on
what its sources no longer have); of positions I6 too (realized + unrealized profit = cash + inventory).
Exit code 0: all hold. 3: a violation, each is named.";

/// What one table is checked as.
enum Subject {
    /// Records as received, of this topic.
    Bronze(Topic),
    /// One row a key.
    Silver(SilverTable),
    /// Derived from other tables a day at a time.
    Derived(DayTable),
    /// What is carried from day to day: both tables at once.
    Positions,
}

/// What was found of one table.
enum Checked {
    Bronze(TableCheck),
    Silver(Box<SilverReport>),
    Derived(DerivedReport),
    Positions(PositionsReport),
}

impl Checked {
    fn table(&self) -> &str {
        match self {
            Self::Bronze(check) => &check.report.table,
            Self::Silver(report) => &report.table,
            Self::Derived(report) => &report.table,
            Self::Positions(_) => PositionTable::Positions.name(),
        }
    }

    fn violations(&self) -> &[Violation] {
        match self {
            Self::Bronze(check) => &check.report.violations,
            Self::Silver(report) => &report.violations,
            Self::Derived(report) => &report.violations,
            Self::Positions(report) => &report.violations,
        }
    }

    fn holds(&self) -> bool {
        self.violations().is_empty()
    }
}

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Reads Kafka again and compares offset by offset, as far as Kafka still holds them
    #[arg(long)]
    deep: bool,
    /// Only this table; repeatable [default: the bronze and silver tables of all configured topics, and what is derived from them]
    #[arg(long, value_name = "TABLE")]
    table: Vec<String>,
    /// With --deep: the topics are compacted, so that rows whose record Kafka has removed are no violation
    #[arg(long, requires = "deep")]
    compacted: bool,
}

/// Checks the tables.
///
/// # Errors
/// Bad configuration; what cannot be read or reached; no table to check.
pub async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let parts: &[Part] = if args.deep {
        &[Part::Kafka, Part::Lake]
    } else {
        &[Part::Lake]
    };
    let config = Config::load(&global.flags(), parts)?;
    super::quiet_logs(&config);
    let lake = Lake::open_existing(lake_settings(&config)?)
        .await
        .map_err(|error| lake_failure(&error))?;
    let kafka = if args.deep {
        Some(kafka_settings(&config)?)
    } else {
        None
    };
    let mut checks = Vec::new();
    for (name, subject) in wanted(args, &config)? {
        let Some(table) = lake.load(&name).await.map_err(|error| lake_failure(&error))? else {
            if args.table.is_empty() {
                continue;
            }
            return Err(no_such_table(&name));
        };
        checks.push(match subject {
            Subject::Silver(kind) => Checked::Silver(Box::new(silver(&lake, kind, &table).await?)),
            Subject::Derived(kind) => Checked::Derived(derived::check(&lake, kind, &config.cluster).await?),
            Subject::Positions => match derived::check_positions(&lake, &config.cluster).await? {
                Some(report) => Checked::Positions(report),
                None if args.table.is_empty() => continue,
                None => return Err(no_such_table(&name)),
            },
            Subject::Bronze(_) if is_derived(&table) => {
                return Err(Failure::failed(format!(
                    "{name} is derived from another table, and not one of those that can be verified"
                ))
                .code("invalid_argument")
                .hint("without --table all that can be verified are"));
            }
            Subject::Bronze(topic) => {
                let deep = kafka.as_ref().map(|kafka| Deep {
                    kafka,
                    topic: &topic.topic,
                    is_compacted: args.compacted,
                });
                let live = Live::on_stderr();
                let line = live.line();
                let label = name.to_string();
                let progress = move |rows: u64| line.set_message(format!("{label}: {} rows", grouped(rows)));
                let checked = check(&lake, &table, deep, progress).await?;
                live.clear();
                Checked::Bronze(checked)
            }
        });
    }
    if checks.is_empty() {
        return Err(Failure::failed("there is no table to check yet")
            .code("no_such_table")
            .hint("`tapehouse status` says why"));
    }
    show(&checks, global.output);
    Ok(if checks.iter().all(Checked::holds) {
        Exit::Ok
    } else {
        Exit::CheckFailed
    })
}

/// Whether it is made from other tables, or by operators.
fn is_derived(table: &LoadedTable) -> bool {
    table.merge_state().is_ok() || table.derived_state().is_ok() || table.quarantine_state().is_ok()
}

pub(super) fn no_such_table(name: &TableName) -> Failure {
    Failure::failed(format!("table {name} does not exist"))
        .code("no_such_table")
        .hint("`tapehouse tables` lists them")
}

/// Checks a silver table against the bronze table that it records to be made from.
///
/// A busy table goes on while it is read: where the snapshots that were read are no longer retained, files of theirs may be gone, and what was
/// found is worth nothing. Then it is read again.
async fn silver(lake: &Lake, kind: SilverTable, table: &LoadedTable) -> Result<SilverReport, Failure> {
    let mut report = silver_once(lake, kind, table).await?;
    for _ in 1..MAX_LOOKS {
        if report.violations.is_empty() || is_retained(lake, &report).await? {
            break;
        }
        let table = lake.load(table.ident()).await.map_err(|error| lake_failure(&error))?;
        let Some(table) = table else { break };
        report = silver_once(lake, kind, &table).await?;
    }
    Ok(report)
}

/// Whether both snapshots that a report is about are still there.
async fn is_retained(lake: &Lake, report: &SilverReport) -> Result<bool, Failure> {
    for (name, snapshot) in [
        (&report.table, report.snapshot_id),
        (&report.source, report.source_snapshot_id),
    ] {
        let name: TableName = name.parse().map_err(Failure::failed)?;
        let table = lake.load(&name).await.map_err(|error| lake_failure(&error))?;
        let has = |id| {
            table
                .as_ref()
                .is_some_and(|table| table.metadata().snapshot_by_id(id).is_some())
        };
        if snapshot.is_some_and(|id| !has(id)) {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn silver_once(lake: &Lake, kind: SilverTable, table: &LoadedTable) -> Result<SilverReport, Failure> {
    let state = table.merge_state().map_err(|error| {
        // The cursor says what the table should hold: without it there is nothing to compare with.
        Failure::with(Exit::CheckFailed, error).code("state_invalid")
    })?;
    let source: TableName = state.source.parse().map_err(Failure::failed)?;
    // After silver: what bronze has gained since lies behind the cursor.
    let bronze = lake.load(&source).await.map_err(|error| lake_failure(&error))?;
    let bronze = bronze.ok_or_else(|| no_such_table(&source))?;
    let live = Live::on_stderr();
    let line = live.line();
    let (label, total) = (kind.name(), table.live_rows().unwrap_or(0));
    let progress = move |look: SilverLook| {
        let pass = match look.passes {
            1 => String::new(),
            passes => format!(" (pass {} of {passes})", look.pass),
        };
        line.set_message(format!(
            "{label}{pass}: {} of {} rows, {} rows of {source}",
            grouped(look.silver_rows),
            grouped(total),
            grouped(look.bronze_rows)
        ));
    };
    let report = verify_silver(lake, kind, table, &bronze, &Rules::default(), progress).await;
    live.clear();
    report.map_err(|error| verify_failure(&error))
}

/// Tables to check.
fn wanted(args: &Args, config: &Config) -> Result<Vec<(TableName, Subject)>, Failure> {
    let name = |text: &str| text.parse::<TableName>().map_err(Failure::failed);
    let silver = |kind: SilverTable| Ok::<_, Failure>((name(kind.name())?, Subject::Silver(kind)));
    let bronze = |topic: &Topic| Ok::<_, Failure>((name(&topic.table)?, Subject::Bronze(topic.clone())));
    let derived = |kind: DayTable| Ok::<_, Failure>((name(kind.name())?, Subject::Derived(kind)));
    if args.table.is_empty() {
        let of_silver = config.topics.iter().filter_map(|topic| topic.silver).map(silver);
        let all = config.topics.iter().map(bronze).chain(of_silver);
        let positions = Ok((name(PositionTable::Positions.name())?, Subject::Positions));
        return all.chain(DayTable::ALL.map(derived)).chain([positions]).collect();
    }
    let meant = |text: &String| {
        if let Some(kind) = SilverTable::ALL.into_iter().find(|kind| kind.name() == text) {
            return silver(kind);
        }
        if PositionTable::named(text).is_some() {
            return Ok((name(text)?, Subject::Positions));
        }
        if let Some(kind) = DayTable::named(text) {
            return derived(kind);
        }
        let topic = config.topics.iter().find(|topic| topic.is_meant_by(text));
        match topic {
            Some(topic) => bronze(topic),
            None if args.deep => Err(Failure::failed(format!("no configured topic fills table {text}"))
                .code("no_such_table")
                .hint("--deep has to know the topic: add it to [[topics]]")),
            None => Ok((name(text)?, Subject::Bronze(Topic::of(text)))),
        }
    };
    args.table.iter().map(meant).collect()
}

fn show(checks: &[Checked], output: OutputFormat) {
    if output == OutputFormat::Json {
        let tables: Vec<Value> = checks.iter().map(as_json).collect();
        let verdict = if checks.iter().all(Checked::holds) {
            "ok"
        } else {
            "violated"
        };
        print_json(&json!({ "verify": verdict, "tables": tables }));
        return;
    }
    print(&as_text(checks));
}

fn as_json(check: &Checked) -> Value {
    let check = match check {
        Checked::Silver(report) => return json!(report),
        Checked::Derived(report) => return json!(report),
        Checked::Positions(report) => return json!(report),
        Checked::Bronze(check) => check,
    };
    let mut value = json!(check.report);
    if let (Some(object), Some(compared)) = (value.as_object_mut(), &check.compared) {
        let compared = json!({ "records": compared.records, "offsets_gone_from_kafka": compared.gone_from_kafka });
        object.insert("compared_with_kafka".to_owned(), compared);
    }
    value
}

/// The checks as a table, and each violation.
fn as_text(checks: &[Checked]) -> String {
    let style = Style::of_stdout();
    let right = Align::Right;
    let mut table = Table::new(&[
        ("TABLE", Align::Left),
        ("ROWS", right),
        ("FILES", right),
        ("PARTITIONS", right),
        ("COMPARED WITH", Align::Left),
        ("VERDICT", Align::Left),
    ]);
    for check in checks {
        let verdict = match check.violations().len() {
            0 => "ok".to_owned(),
            violations => format!("{violations} violations"),
        };
        table.row(match check {
            Checked::Bronze(check) => {
                let report = &check.report;
                let records = check.compared.map(|compared| grouped(compared.records));
                [
                    report.table.clone(),
                    grouped(report.rows),
                    grouped(report.files),
                    report.partitions.len().to_string(),
                    records.map_or("-".to_owned(), |records| format!("{records} records of Kafka")),
                    verdict,
                ]
            }
            Checked::Silver(report) => [
                report.table.clone(),
                grouped(report.rows),
                grouped(report.files),
                "-".to_owned(),
                format!("{} rows of {}", grouped(report.source_rows), report.source),
                verdict,
            ],
            Checked::Positions(report) => derived::positions_row(report, verdict),
            Checked::Derived(report) => derived::row(report, verdict),
        });
    }
    let mut text = table.render(style);
    for check in checks {
        for violation in check.violations() {
            let line = format!("{} {}: {}", check.table(), violation.invariant, violation.message);
            text.push_str(&format!("\n{}", style.bad(&line)));
        }
    }
    text
}
