//! `tapehouse run --dry-run`: what would happen, without writing anything.

use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use serde_json::{Value, json};
use tapehouse_kafka::KafkaSettings;
use tapehouse_kafka::consumer::{ConsumerError, ReaderOptions, TopicReader};
use tapehouse_kafka::decode::{SchemaEntry, Schemas, TopicDecoder, arrow_schema, schema_ids};
use tapehouse_kafka::raw_batch::RawBatch;
use tapehouse_kafka::registry::{RegistryClient, RegistryError};
use tapehouse_lake::{Lake, bronze};

use crate::config::{Config, Topic};
use crate::connect::{
    consumer_failure, kafka_settings, lake_failure, lake_settings, registry_client, registry_failure,
};
use crate::console::{Align, OutputFormat, Style, Table, print, print_json};
use crate::exit::{Exit, Failure};
use crate::view::{open_lake, table_name};

/// Records shown of each topic.
const RECORDS: usize = 5;
/// Longest wait for Kafka.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Fields in the order of the schema; `None` is null.
type Record = Vec<(String, Option<String>)>;

struct Preview {
    topic: Topic,
    table_exists: bool,
    in_kafka: bool,
    schema_id: Option<u32>,
    columns: Vec<(String, String)>,
    records: Vec<Record>,
    undecodable: Vec<String>,
}

/// Shows each topic's schema, table and first records.
///
/// # Errors
/// What cannot be reached.
pub async fn run(config: &Config, topics: &[Topic], output: OutputFormat) -> Result<Exit, Failure> {
    let kafka = kafka_settings(config)?;
    let registry = registry_client(config)?;
    let lake = open_lake(lake_settings(config)?).await?;
    let mut previews = Vec::with_capacity(topics.len());
    for topic in topics {
        previews.push(preview(topic, &kafka, &registry, lake.as_ref()).await?);
    }
    match output {
        OutputFormat::Json => print_json(&json!({ "topics": previews.iter().map(as_json).collect::<Vec<_>>() })),
        OutputFormat::Table => previews.iter().for_each(|preview| print(&as_text(preview))),
    }
    Ok(Exit::Ok)
}

async fn preview(
    topic: &Topic,
    kafka: &KafkaSettings,
    registry: &RegistryClient,
    lake: Option<&Lake>,
) -> Result<Preview, Failure> {
    let loaded = match lake {
        Some(lake) => lake
            .load(&table_name(topic)?)
            .await
            .map_err(|error| lake_failure(&error))?,
        None => None,
    };
    let (settings, name) = (kafka.clone(), topic.topic.clone());
    let first = tokio::task::spawn_blocking(move || first_records(&settings, &name))
        .await
        .map_err(Failure::failed)?;
    let batch = first.map_err(|error| consumer_failure(&error, kafka))?;
    let in_kafka = batch.is_some();
    let mut preview = Preview {
        topic: topic.clone(),
        table_exists: loaded.is_some(),
        in_kafka,
        schema_id: None,
        columns: Vec::new(),
        records: Vec::new(),
        undecodable: Vec::new(),
    };
    let batch = batch.unwrap_or_else(|| RawBatch::with_capacity(0, 0));
    let mut schemas = Schemas::new();
    for id in schema_ids(&batch) {
        let entry = match registry.schema_by_id(id).await {
            Ok(schema) => SchemaEntry::Known(schema),
            Err(RegistryError::Unknown { .. }) => SchemaEntry::Unknown,
            Err(error) => return Err(registry_failure(&error)),
        };
        schemas.insert(id, entry);
    }
    let decoded = TopicDecoder::new(topic.timestamp_fields.clone()).decode(&batch, &schemas);
    preview.undecodable = decoded.failed.iter().map(|(_, error)| error.to_string()).collect();
    for group in &decoded.groups {
        preview.records.extend(rows(&group.columns).map_err(Failure::failed)?);
    }
    let of_records = decoded.groups.first().map(|group| group.schema_id);
    let known = schemas.into_iter().find_map(|(id, entry)| match entry {
        SchemaEntry::Known(schema) if of_records.is_none_or(|wanted| wanted == id) => Some((id, schema)),
        _ => None,
    });
    // An empty topic has a schema all the same, where a producer has registered one.
    let known = match known {
        None => {
            let subject = format!("{}-value", topic.topic);
            registry
                .latest(&subject)
                .await
                .map_err(|error| registry_failure(&error))?
        }
        known => known,
    };
    if let Some((id, schema)) = known {
        preview.schema_id = Some(id);
        preview.columns = columns(id, &schema, &topic.timestamp_fields)?;
    }
    Ok(preview)
}

/// The first records that Kafka holds; `None` where it has no such topic.
fn first_records(kafka: &KafkaSettings, topic: &str) -> Result<Option<RawBatch>, ConsumerError> {
    let options = ReaderOptions {
        group: "tapehouse-dry-run".into(),
        queue_bytes: 1 << 20,
        fetch_bytes: 1 << 20,
        max_records: RECORDS,
        max_bytes: 1 << 20,
        linger: Duration::from_millis(200),
    };
    let mut reader = TopicReader::open(kafka, topic, options)?;
    let logs = match reader.log_ends(TIMEOUT) {
        Err(ConsumerError::TopicAbsent(_)) => return Ok(None),
        other => other?,
    };
    let start = logs.iter().map(|(partition, log)| (*partition, log.start)).collect();
    reader.assign(&start, &logs)?;
    let batch = reader.next_batch(Instant::now() + TIMEOUT)?;
    Ok(Some(batch.unwrap_or_else(|| RawBatch::with_capacity(0, 0))))
}

/// The columns of the bronze table, as Iceberg types.
fn columns(id: u32, schema: &str, timestamp_fields: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let arrow = arrow_schema(id, schema, timestamp_fields).map_err(Failure::failed)?;
    let table = bronze::table_schema(&arrow).map_err(Failure::failed)?;
    let fields = table.as_struct().fields().iter();
    Ok(fields
        .map(|field| (field.name.clone(), field.field_type.to_string()))
        .collect())
}

fn rows(batch: &RecordBatch) -> Result<Vec<Record>, arrow_schema::ArrowError> {
    let options = FormatOptions::default().with_null("");
    let schema = batch.schema();
    let formatters: Vec<(&str, ArrayFormatter<'_>)> = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| Ok((field.name().as_str(), ArrayFormatter::try_new(column, &options)?)))
        .collect::<Result<_, arrow_schema::ArrowError>>()?;
    let row = |row: usize| {
        let cells = formatters
            .iter()
            .zip(batch.columns())
            .map(|((name, formatter), column)| {
                let value = column.is_valid(row).then(|| formatter.value(row).to_string());
                ((*name).to_owned(), value)
            });
        cells.collect()
    };
    Ok((0..batch.num_rows().min(RECORDS)).map(row).collect())
}

fn as_json(preview: &Preview) -> Value {
    let columns: Vec<Value> = preview
        .columns
        .iter()
        .map(|(name, kind)| json!({ "name": name, "type": kind }))
        .collect();
    let object = |record: &Record| {
        let fields = record.iter().map(|(name, value)| (name.clone(), json!(value)));
        Value::Object(fields.collect())
    };
    json!({
        "topic": preview.topic.topic,
        "in_kafka": preview.in_kafka,
        "table": preview.topic.table,
        "table_exists": preview.table_exists,
        "schema_id": preview.schema_id,
        "columns": columns,
        "records": preview.records.iter().map(object).collect::<Vec<_>>(),
        "undecodable": preview.undecodable,
    })
}

fn as_text(preview: &Preview) -> String {
    let style = Style::of_stdout();
    let what = match (preview.in_kafka, preview.table_exists) {
        (false, _) => "Kafka has no such topic",
        (true, true) => "the table exists",
        (true, false) => "the table would be created",
    };
    let mut text = format!(
        "{} -> {}: {what}",
        style.bold(&preview.topic.topic),
        style.bold(&preview.topic.table)
    );
    if let Some(id) = preview.schema_id {
        let mut columns = Table::new(&[("  COLUMN", Align::Left), ("TYPE", Align::Left)]);
        for (name, kind) in &preview.columns {
            columns.row([format!("  {name}"), kind.clone()]);
        }
        text.push_str(&format!(
            "\n  schema id {id}, partitioned by ingestion_date\n{}",
            columns.render(style)
        ));
    }
    for record in &preview.records {
        let field = |(name, value): &(String, Option<String>)| format!("{name}={}", value.as_deref().unwrap_or("null"));
        let fields = record.iter().map(field);
        text.push_str(&format!("\n  {}", fields.collect::<Vec<_>>().join(" ")));
    }
    for reason in &preview.undecodable {
        text.push_str(&format!("\n  undecodable: {reason}"));
    }
    text.push('\n');
    text
}
