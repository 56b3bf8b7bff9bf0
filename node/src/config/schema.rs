//! The JSON Schema (draft 2020-12) of the file, made from the one table of keys. Nothing is required by it: whatever a file
//! leaves out may come from the environment.

use serde_json::{Map, Value, json};
use tapehouse_lake::silver::SilverTable;

use super::keys::{KEYS, Key, Kind};
use super::resolve::REFUSED_PROPERTIES;
use super::topics::{MAX_TOPICS, NO_SILVER};

/// Where the schema is published.
const ID: &str = "https://raw.githubusercontent.com/tapehouse/tapehouse/main/deploy/config/tapehouse.schema.json";

/// The schema of the whole file.
pub fn schema() -> Value {
    let mut sections: Map<String, Value> = Map::new();
    for key in KEYS {
        let section = sections
            .entry(key.section())
            .or_insert_with(|| json!({ "type": "object", "properties": {}, "additionalProperties": false }));
        section["properties"][key.name()] = of_key(key);
    }
    if let Some(kafka) = sections.get_mut("kafka") {
        kafka["properties"]["properties"] = properties();
    }
    sections.insert("topics".to_owned(), topics());
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": ID,
        "title": "Configuration of Tapehouse",
        "description": "A key that is not here is refused. Strings may hold ${VARIABLE} and ${VARIABLE:-default}.",
        "type": "object",
        "properties": sections,
        "additionalProperties": false,
        "$defs": {
            "variable": {
                "description": "Taken from the environment",
                "type": "string",
                "pattern": "\\$\\{",
            },
            "property": {
                "anyOf": [
                    { "type": ["string", "integer", "boolean"] },
                    { "type": "object", "additionalProperties": { "$ref": "#/$defs/property" } },
                ],
            },
        },
    })
}

fn of_key(key: &Key) -> Value {
    let mut schema = Map::new();
    let mut about = key.about.to_owned();
    if let Some(env) = key.env {
        about.push_str(&format!(". Short name: {env}"));
    }
    if key.secret {
        about.push_str(". A secret: take it from a ${VARIABLE}");
    }
    schema.insert("description".to_owned(), json!(about));
    schema.insert(
        "examples".to_owned(),
        json!([typed(key.kind, key.example.trim_matches('"'))]),
    );
    if let Some(default) = key.default {
        schema.insert("default".to_owned(), typed(key.kind, default));
    }
    match of_kind(key.kind) {
        // Any text: one with a variable is text like any other.
        Value::Object(plain) if matches!(key.kind, Kind::Text | Kind::Path) => schema.extend(plain),
        value => {
            let variable = json!({ "$ref": "#/$defs/variable" });
            schema.insert("anyOf".to_owned(), json!([value, variable]));
        }
    }
    Value::Object(schema)
}

/// `text` as a value of its kind.
fn typed(kind: Kind, text: &str) -> Value {
    let parsed = match kind {
        Kind::Integer { .. } => text.parse::<u64>().ok().map(|number| json!(number)),
        Kind::Bool => text.parse::<bool>().ok().map(|flag| json!(flag)),
        _ => None,
    };
    parsed.unwrap_or_else(|| json!(text))
}

/// What a value must be. Where the program's own check says more than a pattern can, the pattern permits more.
fn of_kind(kind: Kind) -> Value {
    let pattern = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    match kind {
        Kind::Integer { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Choice(choices) => json!({
            "type": "string",
            "anyOf": [{ "enum": choices }, { "pattern": in_any_case(choices) }],
        }),
        Kind::Name => pattern("^[A-Za-z0-9_.-]{1,100}$"),
        Kind::Hosts => pattern("^[^,]*[^,:\\s]:[0-9]{1,5}\\s*(,[^,]*[^,:\\s]:[0-9]{1,5}\\s*)*$"),
        Kind::HttpUrl => pattern("^[hH][tT][tT][pP][sS]?://[^/?#@\\s]+([/?#]\\S*)?$"),
        Kind::CatalogUri => pattern("^[a-z0-9+]+://\\S"),
        Kind::Warehouse => pattern("^(/|[a-z0-9]+://)\\S"),
        Kind::Endpoint => pattern("^([hH][tT][tT][pP][sS]?://)?[^/?#@\\s]+/?$"),
        Kind::Listen => pattern(":[0-9]{1,5}$"),
        Kind::Start => pattern("^(earliest|latest|[+-]?[0-9].*)$"),
        _ => pattern("\\S"),
    }
}

/// A pattern of the choices in upper, lower or mixed case, as the program takes them.
fn in_any_case(choices: &[&str]) -> String {
    let letter = |c: char| match c {
        c if c.is_ascii_alphabetic() => format!("[{}{}]", c.to_ascii_lowercase(), c.to_ascii_uppercase()),
        c => c.to_string(),
    };
    let choices: Vec<String> = choices
        .iter()
        .map(|choice| choice.chars().map(letter).collect())
        .collect();
    format!("^({})$", choices.join("|"))
}

/// librdkafka's properties, but for those that are refused. `a.b = 1` is a table within a table in TOML, `"a.b" = 1` one key;
/// a refused name is refused however it is cut.
fn properties() -> Value {
    let mut root = json!({
        "description": "Properties of librdkafka, passed on as they are",
        "type": "object",
        "additionalProperties": { "$ref": "#/$defs/property" },
    });
    for (name, _) in REFUSED_PROPERTIES {
        refuse(&mut root, name);
    }
    root
}

fn refuse(table: &mut Value, name: &str) {
    table["properties"][name] = json!(false);
    for (dot, _) in name.match_indices('.') {
        let (head, rest) = (&name[..dot], &name[dot + 1..]);
        if !table["properties"][head].is_object() {
            table["properties"][head] = json!({
                "type": ["string", "integer", "boolean", "object"],
                "additionalProperties": { "$ref": "#/$defs/property" },
            });
        }
        refuse(&mut table["properties"][head], rest);
    }
}

fn topics() -> Value {
    let silver: Vec<&str> = SilverTable::ALL
        .map(SilverTable::name)
        .into_iter()
        .chain([NO_SILVER])
        .collect();
    let text = |about: &str, pattern: &str| {
        json!({
            "description": about,
            "anyOf": [{ "type": "string", "pattern": pattern }, { "$ref": "#/$defs/variable" }],
        })
    };
    json!({
        "description": "Topics and their tables; without any the three topics of market data",
        "type": "array",
        "maxItems": MAX_TOPICS,
        "items": {
            "type": "object",
            "required": ["topic"],
            "additionalProperties": false,
            "properties": {
                "topic": text("Name in Kafka", "^[A-Za-z0-9._-]{1,249}$"),
                "table": text("Bronze table: namespace.table", "^[A-Za-z0-9_]{1,100}\\.[A-Za-z0-9_]{1,100}$"),
                "group": text("Consumer group of the informational offset commits", "\\S"),
                "event_time_field": text("Field whose latest value each commit's summary names", "\\S"),
                "silver": {
                    "description": "Silver table that is made from the topic",
                    "anyOf": [{ "enum": silver }, { "$ref": "#/$defs/variable" }],
                },
                "timestamp_fields": {
                    "description": "Fields that are parsed as ISO-8601 where they arrive as strings",
                    "type": "array",
                    "items": { "type": "string" },
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::super::topics;
    use super::*;

    #[test]
    fn every_key_is_in_it() {
        let schema = schema();
        for key in KEYS {
            let found = &schema["properties"][key.section()]["properties"][key.name()];
            assert!(found["description"].is_string(), "{}", key.path);
        }
        let of_topics = schema["properties"]["topics"]["items"]["properties"]
            .as_object()
            .unwrap();
        let mut known: Vec<&str> = topics::KEYS.to_vec();
        known.sort_unstable();
        assert_eq!(of_topics.keys().map(String::as_str).collect::<Vec<_>>(), known);
    }

    #[test]
    fn a_refused_property_is_refused_however_it_is_cut() {
        let table = properties();
        assert_eq!(table["properties"]["plugin.library.paths"], false);
        let plugin = &table["properties"]["plugin"]["properties"];
        assert_eq!(plugin["library.paths"], false);
        assert_eq!(plugin["library"]["properties"]["paths"], false);
        assert_eq!(table["properties"]["plugin.library"]["properties"]["paths"], false);
    }
}
