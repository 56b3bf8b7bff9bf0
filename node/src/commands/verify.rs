//! `tapehouse verify`

use serde_json::{Value, json};
use tapehouse_lake::{Lake, TableName};

use crate::check::{Deep, TableCheck, check};
use crate::cli::Global;
use crate::config::{Config, Part, Topic};
use crate::connect::{kafka_settings, lake_failure, lake_settings};
use crate::console::{Align, Live, OutputFormat, Style, Table, grouped, print, print_json};
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  tapehouse verify                               every record of the covered ranges once? from the tables alone
  tapehouse verify --deep                        and reads Kafka again: names each missing or extra offset
  tapehouse verify --table bronze.raw_trades -o json

Checks I1 (each visible record of the covered ranges has one row), I2 (ranges are contiguous) and I3 (no data file is
referenced twice). Exit code 0: all hold. 3: a violation, each is named.";

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Reads Kafka again and compares offset by offset, as far as Kafka still holds them
    #[arg(long)]
    deep: bool,
    /// Only this table; repeatable [default: the tables of all configured topics]
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
    for (name, topic) in wanted(args, &config)? {
        let Some(table) = lake.load(&name).await.map_err(|error| lake_failure(&error))? else {
            if args.table.is_empty() {
                continue;
            }
            return Err(Failure::failed(format!("table {name} does not exist"))
                .code("no_such_table")
                .hint("`tapehouse tables` lists them"));
        };
        if table.merge_state().is_ok() || table.derived_state().is_ok() {
            return Err(Failure::failed(format!(
                "{name} is made from another table, and only bronze tables can be verified yet"
            ))
            .code("invalid_argument")
            .hint("without --table all bronze tables are verified"));
        }
        let live = Live::on_stderr();
        let line = live.line();
        let label = name.to_string();
        let progress = move |rows: u64| line.set_message(format!("{label}: {} rows", grouped(rows)));
        let deep = kafka.as_ref().map(|kafka| Deep {
            kafka,
            topic: &topic.topic,
            is_compacted: args.compacted,
        });
        checks.push(check(&lake, &table, deep, progress).await?);
        live.clear();
    }
    if checks.is_empty() {
        return Err(Failure::failed("there is no table to check yet")
            .code("no_such_table")
            .hint("`tapehouse status` says why"));
    }
    show(&checks, global.output);
    Ok(if checks.iter().all(TableCheck::holds) {
        Exit::Ok
    } else {
        Exit::CheckFailed
    })
}

/// Tables to check, each with its topic.
fn wanted(args: &Args, config: &Config) -> Result<Vec<(TableName, Topic)>, Failure> {
    let name = |text: &str| text.parse::<TableName>().map_err(Failure::failed);
    if args.table.is_empty() {
        return config
            .topics
            .iter()
            .map(|topic| Ok((name(&topic.table)?, topic.clone())))
            .collect();
    }
    let with_topic = |text: &String| {
        let topic = config.topics.iter().find(|topic| topic.is_meant_by(text));
        match topic {
            Some(topic) => Ok((name(&topic.table)?, topic.clone())),
            None if args.deep => Err(Failure::failed(format!("no configured topic fills table {text}"))
                .code("no_such_table")
                .hint("--deep has to know the topic: add it to [[topics]]")),
            None => Ok((name(text)?, Topic::of(text))),
        }
    };
    args.table.iter().map(with_topic).collect()
}

fn show(checks: &[TableCheck], output: OutputFormat) {
    if output == OutputFormat::Json {
        let tables: Vec<Value> = checks.iter().map(as_json).collect();
        let verdict = if checks.iter().all(TableCheck::holds) {
            "ok"
        } else {
            "violated"
        };
        print_json(&json!({ "verify": verdict, "tables": tables }));
        return;
    }
    print(&as_text(checks));
}

fn as_json(check: &TableCheck) -> Value {
    let mut value = json!(check.report);
    if let (Some(object), Some(compared)) = (value.as_object_mut(), &check.compared) {
        let compared = json!({ "records": compared.records, "offsets_gone_from_kafka": compared.gone_from_kafka });
        object.insert("compared_with_kafka".to_owned(), compared);
    }
    value
}

/// The checks as a table, and each violation.
pub fn as_text(checks: &[TableCheck]) -> String {
    let style = Style::of_stdout();
    let right = Align::Right;
    let mut table = Table::new(&[
        ("TABLE", Align::Left),
        ("ROWS", right),
        ("FILES", right),
        ("PARTITIONS", right),
        ("COMPARED WITH KAFKA", right),
        ("VERDICT", Align::Left),
    ]);
    for check in checks {
        let report = &check.report;
        let verdict = match report.violations.len() {
            0 => "ok".to_owned(),
            violations => format!("{violations} violations"),
        };
        table.row([
            report.table.clone(),
            grouped(report.rows),
            grouped(report.files),
            report.partitions.len().to_string(),
            check
                .compared
                .map_or("-".to_owned(), |compared| grouped(compared.records)),
            verdict,
        ]);
    }
    let mut text = table.render(style);
    for check in checks {
        for violation in &check.report.violations {
            let line = format!("{} {}: {}", check.report.table, violation.invariant, violation.message);
            text.push_str(&format!("\n{}", style.bad(&line)));
        }
    }
    text
}
