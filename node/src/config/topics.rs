//! The topics and the tables that they fill.

use std::collections::BTreeMap;

use tapehouse_lake::silver::SilverTable;

use super::fault::{Fault, Origin, nearest};
use super::file::{Entry, FileContent, Raw};

/// One topic and its bronze table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Name in Kafka.
    pub topic: String,
    /// Full table name: `namespace.name`.
    pub table: String,
    /// Consumer group of the informational offset commits.
    pub group: String,
    /// Fields that are timestamps: ISO-8601 strings in them are parsed.
    pub timestamp_fields: Vec<String>,
    /// Field whose latest value is a commit's event time.
    pub event_time_field: Option<String>,
    /// Silver table that is made from the topic.
    pub silver: Option<SilverTable>,
}

/// The three topics of market data: name, bronze table, group, timestamp fields, silver table.
const BUILT_IN: [(&str, &str, &str, &[&str], SilverTable); 3] = [
    (
        "raw.trades",
        "bronze.raw_trades",
        "tapehouse-bronze-trades",
        &["trade_timestamp", "event_timestamp"],
        SilverTable::Trades,
    ),
    (
        "raw.orderbook",
        "bronze.raw_orderbook",
        "tapehouse-bronze-orderbook",
        &["snapshot_timestamp", "event_timestamp"],
        SilverTable::OrderbookSnapshots,
    ),
    (
        "raw.marketdata",
        "bronze.raw_marketdata",
        "tapehouse-bronze-marketdata",
        &["interval_start", "interval_end", "event_timestamp"],
        SilverTable::MarketData,
    ),
];

pub(super) const KEYS: [&str; 6] = [
    "topic",
    "table",
    "group",
    "timestamp_fields",
    "event_time_field",
    "silver",
];
/// Says that no silver table is made from a topic.
pub(super) const NO_SILVER: &str = "none";
/// More topics than this are a mistake.
pub(super) const MAX_TOPICS: usize = 256;
const EXAMPLE: &str = "[[topics]]\n               topic = \"raw.trades\"\n               table = \"bronze.raw_trades\"";

impl Topic {
    /// The topic `name` with its defaults: those of the three known ones, else derived from the name.
    pub fn of(name: &str) -> Self {
        let known = BUILT_IN.iter().find(|(topic, ..)| *topic == name);
        if let Some((topic, table, group, fields, silver)) = known {
            return Self {
                topic: (*topic).to_owned(),
                table: (*table).to_owned(),
                group: (*group).to_owned(),
                timestamp_fields: fields.iter().map(|field| (*field).to_owned()).collect(),
                event_time_field: Some("event_timestamp".to_owned()),
                silver: Some(*silver),
            };
        }
        let keep = |c: char| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        };
        let flat: String = name.chars().map(keep).collect();
        Self {
            topic: name.to_owned(),
            table: format!("bronze.{flat}"),
            group: format!("tapehouse-bronze-{name}"),
            timestamp_fields: Vec::new(),
            event_time_field: None,
            silver: None,
        }
    }

    /// The three topics of market data.
    pub fn built_in() -> Vec<Self> {
        BUILT_IN.iter().map(|(topic, ..)| Self::of(topic)).collect()
    }

    /// The topic without its prefix: `trades` of `raw.trades`.
    pub fn short_name(&self) -> &str {
        self.topic.rsplit('.').next().unwrap_or(&self.topic)
    }

    /// Whether a user who says `word` means this topic: by its name, its short name or its table.
    pub fn is_meant_by(&self, word: &str) -> bool {
        word == self.topic || word == self.short_name() || word == self.table
    }
}

/// The topics of the file; the three of market data where it has none.
pub fn read(content: &FileContent) -> (Vec<Topic>, Vec<Fault>) {
    let Some(items) = &content.topics else {
        return (Topic::built_in(), Vec::new());
    };
    let mut faults = Vec::new();
    if items.len() > MAX_TOPICS {
        faults.push(Fault::new(
            "topics",
            format!("are {}, at most {MAX_TOPICS} are possible", items.len()),
        ));
    }
    let mut topics: Vec<Topic> = Vec::new();
    for (position, item) in items.iter().enumerate() {
        let Some((topic, origin)) = read_one(position, item, &mut faults) else {
            continue;
        };
        for earlier in &topics {
            let twice = |what: &str, value: &str| {
                Fault::new(
                    format!("topics[{position}].{what}"),
                    format!("`{value}` is there twice"),
                )
                .from(&origin)
            };
            if earlier.topic == topic.topic {
                faults.push(twice("topic", &topic.topic).example("one [[topics]] block for each topic"));
            } else if earlier.table == topic.table {
                faults.push(twice("table", &topic.table).example("a table of its own for each topic"));
            } else if let Some(silver) = topic.silver.filter(|silver| earlier.silver == Some(*silver)) {
                faults.push(twice("silver", silver.name()).example("one topic for each silver table"));
            }
        }
        topics.push(topic);
    }
    (topics, faults)
}

fn read_one(position: usize, item: &BTreeMap<String, Entry>, faults: &mut Vec<Fault>) -> Option<(Topic, Origin)> {
    let path = |key: &str| format!("topics[{position}].{key}");
    for (key, entry) in item {
        if !KEYS.contains(&key.as_str()) {
            let fault = Fault::new(path(key), "unknown key").from(&entry.origin);
            faults.push(fault.suggest(nearest(key, KEYS)).example(EXAMPLE));
        }
    }
    let mut text = |key: &str, is_valid: fn(&str) -> Option<&'static str>| {
        let entry = item.get(key)?;
        let value = match &entry.raw {
            Raw::Text(text) | Raw::Untyped(text) => Ok(text.clone()),
            _ => Err("must be a string"),
        };
        let checked = value.and_then(|value| is_valid(&value).map_or(Ok(value), Err));
        checked
            .map_err(|reason| faults.push(Fault::new(path(key), reason).from(&entry.origin).example(EXAMPLE)))
            .ok()
    };
    let name = text("topic", topic_name_fault);
    let table = text("table", table_name_fault);
    let group = text("group", |group| group.is_empty().then_some("is empty"));
    let event_time_field = text("event_time_field", |field| field.is_empty().then_some("is empty"));
    let silver = text("silver", silver_fault);
    let fields = item.get("timestamp_fields").map(|entry| match &entry.raw {
        Raw::List(fields) => fields.clone(),
        _ => {
            let fault = Fault::new(path("timestamp_fields"), "must be an array of strings").from(&entry.origin);
            faults.push(fault.example("timestamp_fields = [\"trade_timestamp\", \"event_timestamp\"]"));
            Vec::new()
        }
    });
    let Some(name) = name else {
        if !item.contains_key("topic") {
            faults.push(Fault::new(path("topic"), "is missing").example(EXAMPLE));
        }
        return None;
    };
    let origin = item.get("topic").map_or(Origin::Default, |entry| entry.origin.clone());
    let defaults = Topic::of(&name);
    let topic = Topic {
        table: table.unwrap_or(defaults.table),
        group: group.unwrap_or(defaults.group),
        timestamp_fields: fields.unwrap_or(defaults.timestamp_fields),
        event_time_field: event_time_field.or(defaults.event_time_field),
        silver: silver.map_or(defaults.silver, |name| silver_table(&name)),
        topic: name,
    };
    Some((topic, origin))
}

/// Kafka's own rule for names of topics.
fn topic_name_fault(name: &str) -> Option<&'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let valid = !name.is_empty() && name.len() <= 249 && name.chars().all(allowed) && name != "." && name != "..";
    (!valid).then_some("must be 1 to 249 letters, digits, `.`, `_` and `-`")
}

fn silver_table(name: &str) -> Option<SilverTable> {
    SilverTable::ALL.into_iter().find(|table| table.name() == name)
}

fn silver_fault(name: &str) -> Option<&'static str> {
    let valid = name == NO_SILVER || silver_table(name).is_some();
    (!valid).then_some("must be silver.trades, silver.orderbook_snapshots, silver.market_data or none")
}

fn table_name_fault(name: &str) -> Option<&'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let part = |part: &str| !part.is_empty() && part.len() <= 100 && part.chars().all(allowed);
    let valid = name
        .split_once('.')
        .is_some_and(|(namespace, table)| part(namespace) && part(table));
    (!valid).then_some("must be namespace.table of letters, digits and `_`")
}
