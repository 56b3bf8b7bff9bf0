//! The configuration in effect, with where each value came from. Secrets are masked.

use serde_json::{Map, Value as Json, json};
use tapehouse_lake::silver::SilverTable;

use super::Config;
use super::keys::{KEYS, PROPERTIES};
use super::secret::{MASK, is_secret_property, mask_userinfo};
use super::topics::NO_SILVER;
use super::values::Value;

/// One line of `config show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Dotted path.
    pub key: String,
    /// The value, masked where it is a secret; `None` where none is set.
    pub value: Option<Json>,
    /// Where it came from.
    pub origin: String,
    /// What the key means.
    pub about: &'static str,
}

/// Every key and what it is set to.
pub fn lines(config: &Config) -> Vec<Line> {
    let mut lines: Vec<Line> = KEYS
        .iter()
        .map(|key| {
            let found = config.resolved.get(key.path);
            let value = found.map(|(value, _)| match value {
                Value::Text(_) if key.secret => json!(MASK),
                Value::Text(text) => json!(mask_userinfo(text)),
                Value::Integer(number) => json!(number),
                Value::Bool(flag) => json!(flag),
            });
            let origin = found.map_or("not set".to_owned(), |(_, origin)| origin.to_string());
            Line {
                key: key.path.to_owned(),
                value,
                origin,
                about: key.about,
            }
        })
        .collect();
    let properties = config.resolved.properties.iter().map(|(name, (value, origin))| Line {
        key: format!("{PROPERTIES}{name}"),
        value: Some(if is_secret_property(name) {
            json!(MASK)
        } else {
            json!(value)
        }),
        origin: origin.to_string(),
        about: "Passed to librdkafka as it is",
    });
    lines.extend(properties);
    lines
}

/// The whole configuration as one JSON object: `settings` by key, `topics`, `file`.
pub fn json(config: &Config) -> Json {
    let mut settings = Map::new();
    for line in lines(config) {
        settings.insert(
            line.key,
            json!({ "value": line.value, "origin": line.origin, "about": line.about }),
        );
    }
    let topics: Vec<Json> = config
        .topics
        .iter()
        .map(|topic| {
            json!({
                "topic": topic.topic, "table": topic.table, "group": topic.group,
                "timestamp_fields": topic.timestamp_fields, "event_time_field": topic.event_time_field,
                "silver": topic.silver.map_or(NO_SILVER, SilverTable::name),
            })
        })
        .collect();
    let file = config.file.as_ref().map(|file| file.display().to_string());
    json!({ "file": file, "settings": settings, "topics": topics })
}
