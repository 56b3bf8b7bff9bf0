//! `tapehouse explain trade ID`, `explain book SYMBOL TIME`, `explain bar SYMBOL TIME`

use serde_json::{Value, json};
use tapehouse_lake::silver::SilverTable;
use tapehouse_lake::silver::clean::Rules;
use tapehouse_lake::silver::explain::{Fate, Key, KeyRecord, KeyStory, LiveRow, Looked, RecordId, Tables, explain_key};
use tapehouse_lake::{Lake, TableName};

use super::EndpointArgs;
use crate::cli::Global;
use crate::config::{Config, Part};
use crate::connect::{lake_failure, lake_settings, verify_failure};
use crate::console::{Align, Live, OutputFormat, Style, Table, print, print_json, rfc3339};
use crate::exit::{Exit, Failure};

/// Says why silver has the row that it has of the key, or none.
///
/// # Errors
/// Bad configuration; tables that cannot be read or do not exist.
pub(super) async fn run(kind: SilverTable, key: Key, node: &EndpointArgs, global: &Global) -> Result<Exit, Failure> {
    let config = Config::load(&node.flags(global), &[Part::Lake])?;
    super::quiet_logs(&config);
    let topic = config.topics.iter().find(|topic| topic.silver == Some(kind));
    let Some(topic) = topic else {
        return Err(Failure::failed(format!("no configured topic feeds {}", kind.name())).code("no_such_topic"));
    };
    let failed = |error| lake_failure(&error);
    let lake = Lake::open_existing(lake_settings(&config)?).await.map_err(failed)?;
    let name = |text: &str| text.parse::<TableName>().map_err(Failure::failed);
    // Silver first: what is merged is in bronze.
    let silver = lake.load(&name(kind.name())?).await.map_err(failed)?;
    let bronze = lake.load(&name(&topic.table)?).await.map_err(failed)?;
    let bronze = bronze.ok_or_else(|| {
        Failure::failed(format!("table {} does not exist", topic.table))
            .code("no_such_table")
            .hint("`tapehouse status` says why")
    })?;
    let tables = Tables {
        kind,
        silver: silver.as_ref(),
        bronze: &bronze,
        rules: &Rules::default(),
    };
    let live = Live::on_stderr();
    let line = live.line();
    let names = [topic.table.clone(), kind.name().to_owned()];
    let progress = move |looked: Looked| {
        let table = &names[usize::from(looked.in_silver)];
        line.set_message(format!("{table}: {} of {} files", looked.files, looked.of));
    };
    let story = explain_key(&lake, tables, &key, progress).await;
    live.clear();
    let story = story.map_err(|error| verify_failure(&error))?;
    match global.output {
        OutputFormat::Json => print_json(&as_json(&key, &story)),
        OutputFormat::Table => print(&as_text(&key, &story)),
    }
    let is_unknown = story.row.is_none() && story.records.is_empty();
    let is_at_fault = story.records.iter().any(|record| record.fate == Fate::Absent);
    Ok(match is_unknown || is_at_fault {
        true => Exit::CheckFailed,
        false => Exit::Ok,
    })
}

fn key_text(key: &Key) -> String {
    match key {
        Key::Text(text) => text.clone(),
        Key::TextAt(text, time_us) => format!("{text} at {}", time(Some(*time_us)).unwrap_or_default()),
    }
}

fn time(time_us: Option<i64>) -> Option<String> {
    Some(jiff::Timestamp::from_microsecond(time_us?).ok()?.to_string())
}

fn as_json(key: &Key, story: &KeyStory) -> Value {
    let answer = match (&story.row, story.records.is_empty()) {
        (Some(_), _) => "row",
        (None, false) => "no_row",
        (None, true) => "unknown_key",
    };
    json!({
        "key": key_text(key),
        "table": story.table,
        "source": story.source,
        "answer": answer,
        "row": story.row.as_ref().map(row_json),
        "records": story.records.iter().map(record_json).collect::<Vec<_>>(),
        "records_omitted": story.records_omitted,
    })
}

fn object(values: &[(String, String)]) -> Value {
    values
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(value.clone())))
        .collect()
}

/// Silver's row, as every `explain` shows it.
pub(super) fn row_json(row: &LiveRow) -> Value {
    json!({
        "record": row.record,
        "event_time": time(row.event_time_us),
        "values": object(&row.values),
        "data_file": row.data_file,
        "snapshot_id": row.snapshot_id,
        "committed": row.committed_ms.and_then(rfc3339),
    })
}

/// What became of a record, as every `explain` shows it.
pub(super) fn record_json(record: &KeyRecord) -> Value {
    let mut value = json!({
        "record": record.record,
        "event_time": time(record.event_time_us),
        "kafka_timestamp": time(record.kafka_timestamp_us),
        "text": fate_text(&record.fate),
        "differing": object(&record.differing),
    });
    if let (Value::Object(all), Value::Object(fate)) = (&mut value, json!(record.fate)) {
        all.extend(fate);
    }
    value
}

fn record_text(record: &RecordId) -> String {
    let RecordId {
        incarnation,
        partition,
        offset,
    } = record;
    match incarnation {
        0 => format!("partition {partition} offset {offset}"),
        _ => format!("partition {partition} offset {offset} (incarnation {incarnation})"),
    }
}

/// What became of a record, for people.
pub(super) fn fate_text(fate: &Fate) -> String {
    match fate {
        Fate::Won => "won: silver's row is from it".to_owned(),
        Fate::Lost { to } => format!("lost to {}", record_text(to)),
        Fate::Dropped { rule } => format!("dropped by rule {rule}"),
        Fate::Quarantined { rule, reason } => format!("quarantined by rule {rule}: {reason}"),
        Fate::NotMerged { next: Some(next) } => format!("not merged yet: silver is at offset {next}"),
        Fate::NotMerged { next: None } => "not merged yet: silver has nothing of its partition".to_owned(),
        Fate::Absent => {
            "merged, and silver has neither it nor a later one: this must not be; see `tapehouse verify`".to_owned()
        }
    }
}

/// Silver's row, a line a thing.
pub(super) fn row_lines(row: &LiveRow) -> String {
    let merged = match (row.snapshot_id, row.committed_ms.and_then(rfc3339)) {
        (Some(id), Some(time)) => format!("by snapshot {id}, {time}"),
        _ => "its snapshot has expired: when is no longer kept".to_owned(),
    };
    let values: Vec<String> = row
        .values
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!(
        "\n  record         {}\n  merged         {merged}\n  data file      {}\n  values         {}",
        record_text(&row.record),
        row.data_file,
        values.join(", ")
    )
}

fn as_text(key: &Key, story: &KeyStory) -> String {
    let style = Style::of_stdout();
    let KeyStory { table, source, .. } = story;
    let named = format!("{table} {}", key_text(key));
    let head = match (&story.row, story.records.is_empty()) {
        (Some(row), _) => format!("{named}: {}{}", style.good("one row"), row_lines(row)),
        (None, false) => format!("{named}: {}", style.warn("no row")),
        (None, true) => {
            let unknown = style.bad("unknown key");
            return format!("{named}: {unknown}\nneither {table} nor {source} has it");
        }
    };
    let mut records = Table::new(&[
        ("RECORD", Align::Left),
        ("EVENT TIME", Align::Left),
        ("WHAT BECAME OF IT", Align::Left),
        ("DIFFERS FROM THE ROW IN", Align::Left),
    ]);
    for record in &story.records {
        let differing = record.differing.iter().map(|(name, value)| format!("{name}={value}"));
        let is_loser = story.row.is_some() && record.fate != Fate::Won;
        records.row([
            record
                .record
                .as_ref()
                .map_or("of another engine".to_owned(), record_text),
            time(record.event_time_us).unwrap_or_else(|| "-".to_owned()),
            fate_text(&record.fate),
            match is_loser {
                true => differing.collect::<Vec<_>>().join(", "),
                false => String::new(),
            },
        ]);
    }
    let mut text = format!(
        "{head}\n\nRecords in {source}, the latest first:\n{}",
        records.render(style)
    );
    if story.records_omitted > 0 {
        text.push_str(&format!("\nand {} more", story.records_omitted));
    }
    text
}
