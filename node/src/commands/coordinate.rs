//! `tapehouse explain TOPIC PARTITION OFFSET`

use serde_json::{Value, json};
use tapehouse_lake::find::{Coordinate, FoundRow};
use tapehouse_lake::silver::clean::Rules;
use tapehouse_lake::silver::explain::{Fate, KeyRecord, LiveRow, Tables, explain_record};
use tapehouse_proto::v1;

use super::status::{reason_json, reason_lines};
use super::{EndpointArgs, Looked, key};
use crate::cli::Global;
use crate::client::NodeClient;
use crate::config::{Config, Part, Topic};
use crate::connect::{lake_failure, lake_settings, verify_failure};
use crate::console::{OutputFormat, Style, print, print_json, rfc3339};
use crate::coordinate::verdict::{Facts, LogFacts, Place};
use crate::coordinate::{Explained, Wanted, look_for};
use crate::exit::{Exit, Failure};
use crate::reason::Reason;
use crate::view::{open_lake, table_name};

/// Says where the record is.
///
/// # Errors
/// Bad configuration; nobody who knows can be reached.
pub(super) async fn run(name: &str, wanted: Wanted, node: &EndpointArgs, global: &Global) -> Result<Exit, Failure> {
    let config = Config::load(&node.flags(global), &[Part::Kafka, Part::Lake])?;
    super::quiet_logs(&config);
    let topics = config.topics_meant(&[name.to_owned()])?;
    let Some(topic) = topics.first() else {
        return Err(Failure::failed(format!("no topic {name} is configured")).code("no_such_topic"));
    };
    let mut facts = look_for(&config, topic, wanted).await?;
    let mut not_asked = Vec::new();
    if !facts.has_row() {
        let failures = [
            ("the table", facts.table.as_ref().err()),
            ("Kafka", facts.log.as_ref().err()),
        ];
        for (whom, failure) in failures {
            not_asked.extend(failure.map(|failure| format!("{whom}: [{}] {}", failure.code, failure.message)));
        }
    }
    // Where one of them is away, that is the reason.
    if !facts.has_row() && not_asked.is_empty() {
        match of_topic(&config, topic).await {
            Ok(looked) => {
                let reasons = looked.answer.topics.iter().flat_map(|topic| &topic.reasons);
                facts.reasons = reasons.filter_map(Reason::of).collect();
            }
            Err(failure) => not_asked.push(format!("how the topic stands: [{}] {}", failure.code, failure.message)),
        }
    }
    let silver = match in_silver(&config, topic, wanted, &facts).await {
        Ok(silver) => silver,
        Err(failure) => {
            not_asked.push(format!("silver: [{}] {}", failure.code, failure.message));
            None
        }
    };
    let explained = facts.explained();
    match global.output {
        OutputFormat::Json => {
            let mut answer = as_json(topic, wanted, &explained, &not_asked);
            answer["silver"] = json!(silver.as_ref().map(InSilver::json));
            print_json(&answer);
        }
        OutputFormat::Table => {
            let silver = silver.as_ref().map_or(String::new(), InSilver::text);
            print(&(as_text(topic, wanted, &explained, &not_asked) + &silver));
        }
    }
    if silver.is_some_and(|silver| silver.record.fate == Fate::Absent) {
        return Ok(Exit::CheckFailed);
    }
    Ok(match explained.verdict.place {
        Place::Missing => Exit::CheckFailed,
        Place::Unknown => explained.facts.table.err().map_or(Exit::Failed, |failure| failure.exit),
        _ => Exit::Ok,
    })
}

/// What became of the record in the silver table that is made from its topic.
struct InSilver {
    table: &'static str,
    record: KeyRecord,
    /// Silver's row of its key.
    row: Option<LiveRow>,
}

impl InSilver {
    fn json(&self) -> Value {
        json!({
            "table": self.table,
            "record": key::record_json(&self.record),
            "row": self.row.as_ref().map(key::row_json),
        })
    }

    fn text(&self) -> String {
        let fate = key::fate_text(&self.record.fate);
        let row = self
            .row
            .as_ref()
            .map(|row| format!("; the row of its key:{}", key::row_lines(row)));
        format!("\n\n{}: {fate}{}", self.table, row.unwrap_or_default())
    }
}

/// Of a record that is in the bronze table, what became of it in silver; `None` where nothing is made from the topic.
async fn in_silver(config: &Config, topic: &Topic, wanted: Wanted, facts: &Facts) -> Result<Option<InSilver>, Failure> {
    let (Some(kind), Ok(Some(found)), true) = (topic.silver, &facts.table, facts.has_row()) else {
        return Ok(None);
    };
    let failed = |error| lake_failure(&error);
    let Some(lake) = open_lake(lake_settings(config)?).await? else {
        return Ok(None);
    };
    let name = kind.name().parse().map_err(Failure::failed)?;
    // Without a table nobody merges.
    let Some(silver) = lake.load(&name).await.map_err(failed)? else {
        return Ok(None);
    };
    let Some(bronze) = lake.load(&table_name(topic)?).await.map_err(failed)? else {
        return Ok(None);
    };
    let tables = Tables {
        kind,
        silver: Some(&silver),
        bronze: &bronze,
        rules: &Rules::default(),
    };
    let record = Coordinate {
        incarnation: found.incarnation,
        partition: wanted.partition,
        offset: wanted.offset,
    };
    let explained = explain_record(&lake, tables, record).await;
    let explained = explained.map_err(|error| verify_failure(&error))?;
    Ok(explained.map(|(record, row)| InSilver {
        table: kind.name(),
        record,
        row,
    }))
}

/// How the topic stands: as a node tells that is to be asked, else as `status` finds out.
async fn of_topic(config: &Config, topic: &Topic) -> Result<Looked, Failure> {
    match &config.client {
        Some(client) => {
            let node = NodeClient::connect(client).await?;
            super::asked(&node, std::slice::from_ref(&topic.topic)).await
        }
        None => super::status::here(config, std::slice::from_ref(topic)).await,
    }
}

fn as_json(topic: &Topic, wanted: Wanted, explained: &Explained, not_asked: &[String]) -> Value {
    let Explained { verdict, facts } = explained;
    let table = facts.table.as_ref().ok().and_then(Option::as_ref);
    let log = match &facts.log {
        Ok(LogFacts::Held(held)) => Some(json!({
            "log_start": held.visible.start,
            "visible_end": held.visible.end,
            "stored_end": held.open.map_or(held.visible.end, |open| open.stored_end),
        })),
        _ => None,
    };
    json!({
        "topic": topic.topic,
        "table": topic.table,
        "partition": wanted.partition,
        "offset": wanted.offset,
        "incarnation": table.map(|table| table.incarnation),
        "answer": verdict.place.name(),
        "text": verdict.text,
        "reasons": verdict.reasons.iter().map(|reason| reason_json(&reason.answer())).collect::<Vec<_>>(),
        "row": table.and_then(|table| table.search.row.as_ref()).map(row_json),
        "committed_next_offset": table.and_then(|table| table.state.as_ref().ok()?.next.get(&wanted.partition).copied()),
        "search": table.map(|table| json!({
            "files": table.search.files,
            "files_read": table.search.files_read,
        })),
        "kafka": log,
        "not_asked": not_asked,
    })
}

fn row_json(row: &FoundRow) -> Value {
    json!({
        "snapshot_id": row.snapshot_id,
        "committed": row.committed_ms.and_then(rfc3339),
        "sequence_number": row.sequence_number,
        "data_file": row.data_file,
        "row": row.row,
        "ingested": row.ingested_us.and_then(rfc3339_us),
        "run_id": row.run_id,
        "kafka_timestamp": row.kafka_timestamp_us.and_then(rfc3339_us),
        "schema_id": row.schema_id,
        "event_time": row.event_time_us.and_then(rfc3339_us),
        "decode_error": row.decode_error,
    })
}

fn rfc3339_us(time_us: i64) -> Option<String> {
    jiff::Timestamp::from_microsecond(time_us)
        .ok()
        .map(|time| time.to_string())
}

fn as_text(topic: &Topic, wanted: Wanted, explained: &Explained, not_asked: &[String]) -> String {
    let (style, Explained { verdict, facts }) = (Style::of_stdout(), explained);
    let Wanted { partition, offset, .. } = wanted;
    let answer = match verdict.place {
        Place::Committed => style.good(&verdict.text),
        Place::Missing | Place::Lost => style.bad(&verdict.text),
        _ => style.warn(&verdict.text),
    };
    let place = verdict.place.name().replace('_', " ");
    let mut text = format!(
        "{} partition {partition} offset {offset}: {place}\n{answer}",
        topic.topic
    );
    let reasons: Vec<v1::Reason> = verdict.reasons.iter().map(Reason::answer).collect();
    text.push_str(&reason_lines(&reasons, style));
    if let Ok(Some(table)) = &facts.table
        && let Some(row) = &table.search.row
    {
        let search = &table.search;
        text.push_str(&row_text(topic, row));
        text.push_str(&format!("\n  files read     {} of {}", search.files_read, search.files));
    }
    if let Ok(LogFacts::Held(held)) = &facts.log {
        let stored = held.open.map_or(held.visible.end, |open| open.stored_end);
        text.push_str(&format!(
            "\n  Kafka          offsets {} visible, the log ends at {stored}",
            held.visible
        ));
    }
    for each in not_asked {
        text.push_str(&format!("\n  not asked      {each}"));
    }
    text
}

fn row_text(topic: &Topic, row: &FoundRow) -> String {
    let committed = match (row.snapshot_id, row.committed_ms.and_then(rfc3339)) {
        (Some(_), Some(time)) => time,
        _ => "the snapshot has expired: its time is no longer kept".to_owned(),
    };
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let lines = [
        ("table", topic.table.clone()),
        ("snapshot", or_dash(row.snapshot_id.map(|id| id.to_string()))),
        ("committed", committed),
        ("data file", row.data_file.clone()),
        ("row in file", row.row.to_string()),
        ("ingested", or_dash(row.ingested_us.and_then(rfc3339_us))),
        ("by run", or_dash(row.run_id.clone())),
        ("Kafka time", or_dash(row.kafka_timestamp_us.and_then(rfc3339_us))),
        ("schema id", or_dash(row.schema_id.map(|id| id.to_string()))),
        ("event time", or_dash(row.event_time_us.and_then(rfc3339_us))),
    ];
    lines
        .iter()
        .map(|(name, value)| format!("\n  {name:<14} {value}"))
        .collect()
}
