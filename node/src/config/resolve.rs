//! The layers laid over each other: flag, `TAPEHOUSE__SECTION__KEY`, short name, file, default.

use std::collections::BTreeMap;

use super::environment::{Environment, PREFIX};
use super::fault::{Fault, Origin, nearest};
use super::file::{Entry, FileContent, Raw};
use super::keys::{self, KEYS, Key, Kind, PROPERTIES, Part};
use super::secret::is_secret_property;
use super::values::{Value, check};

/// Properties of librdkafka that load or run code, those that decide what is read, and those that have a key of their own: not to be
/// set by anybody.
pub(super) const REFUSED_PROPERTIES: [(&str, &str); 28] = [
    ("plugin.library.paths", "would load code into the process"),
    ("ssl.engine.location", "would load code into the process"),
    ("ssl.engine.id", "would load code into the process"),
    ("ssl.providers", "would load code into the process"),
    ("sasl.kerberos.kinit.cmd", "would run a command"),
    ("sasl.kerberos.keytab", "would be put into a command line"),
    ("sasl.kerberos.principal", "would be put into a command line"),
    ("sasl.kerberos.service.name", "would be put into a command line"),
    ("sasl.oauthbearer.method", "would fetch from addresses that it names"),
    ("test.mock.num.brokers", "would put a mock in place of the brokers"),
    ("bootstrap.servers", "is set by kafka.bootstrap_servers"),
    ("metadata.broker.list", "is set by kafka.bootstrap_servers"),
    ("security.protocol", "is set by kafka.security_protocol"),
    ("sasl.mechanism", "is set by kafka.sasl_mechanism"),
    ("sasl.mechanisms", "is set by kafka.sasl_mechanism"),
    ("group.id", "is set by topics.group"),
    ("group.instance.id", "would let two readers put each other out"),
    ("topic.blacklist", "would hide topics"),
    ("allow.auto.create.topics", "would create the topics that are missing"),
    (
        "auto.offset.reset",
        "is always `error`: nothing is ever skipped by the client",
    ),
    ("isolation.level", "is always `read_committed`"),
    ("enable.auto.commit", "is always off: the table says what was read"),
    ("auto.commit.enable", "is always off: the table says what was read"),
    (
        "enable.auto.offset.store",
        "is always off: the table says what was read",
    ),
    ("offset.store.method", "is not used: the table says what was read"),
    ("offset.store.path", "would write a file"),
    ("enable.partition.eof", "is set by Tapehouse itself"),
    ("transactional.id", "is not used: nothing is produced in transactions"),
];

/// Checked values by key, with where each came from. No `Debug`: it holds secrets.
#[derive(Clone, Default)]
pub struct Resolved {
    values: BTreeMap<&'static str, (Value, Origin)>,
    /// librdkafka's properties.
    pub properties: BTreeMap<String, (String, Origin)>,
}

impl Resolved {
    /// Text of `key`.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.values.get(key) {
            Some((Value::Text(text), _)) => Some(text),
            _ => None,
        }
    }

    /// Number of `key`.
    pub fn integer(&self, key: &str) -> Option<u64> {
        match self.values.get(key) {
            Some((Value::Integer(number), _)) => Some(*number),
            _ => None,
        }
    }

    /// Whether `key` is true.
    pub fn flag(&self, key: &str) -> bool {
        matches!(self.values.get(key), Some((Value::Bool(true), _)))
    }

    /// Value and origin of `key`.
    pub fn get(&self, key: &str) -> Option<&(Value, Origin)> {
        self.values.get(key)
    }

    /// A fault of `key`, with its origin and example.
    pub fn fault(&self, key: &'static str, reason: impl Into<String>) -> Fault {
        let mut fault = Fault::new(key, reason);
        if let Some((_, origin)) = self.values.get(key) {
            fault = fault.from(origin);
        }
        match keys::find(key) {
            Some(key) => fault.example(key.written()),
            None => fault,
        }
    }
}

/// Lays the layers over each other and checks every value. Keys that `parts` require and nothing sets are faults.
pub fn resolve(
    content: &FileContent,
    environment: &Environment,
    flags: &[(String, String)],
    parts: &[Part],
) -> (Resolved, Vec<Fault>) {
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    for key in KEYS {
        if let Some(default) = key.default {
            entries.insert(key.path.to_owned(), untyped(default, Origin::Default));
        }
    }
    entries.extend(content.entries.clone());
    for key in KEYS {
        if let Some((value, origin)) = key.env.and_then(|name| environment.get(name)) {
            entries.insert(key.path.to_owned(), untyped(value, origin));
        }
    }
    for (name, value, origin) in environment.prefixed() {
        entries.insert(path_of_variable(name), untyped(value, origin));
    }
    for (path, value) in flags {
        entries.insert(path.clone(), untyped(value, Origin::Flag(format!("--set {path}"))));
    }
    let (mut resolved, mut faults) = (Resolved::default(), Vec::new());
    for (path, entry) in &entries {
        if let Err(fault) = take(&mut resolved, path, entry) {
            faults.push(*fault);
        }
    }
    let faulty = |key: &Key| content.faults.iter().chain(&faults).any(|fault| fault.key == key.path);
    let missing: Vec<Fault> = KEYS
        .iter()
        .filter(|key| key.required && parts.contains(&key.part))
        .filter(|key| !resolved.values.contains_key(key.path) && !faulty(key))
        .map(|key| Fault::new(key.path, "is missing").example(key.written()))
        .collect();
    faults.extend(missing);
    (resolved, faults)
}

fn untyped(value: &str, origin: Origin) -> Entry {
    Entry {
        raw: Raw::Untyped(value.to_owned()),
        origin,
    }
}

/// `TAPEHOUSE__KAFKA__PROPERTIES__FETCH_WAIT_MAX_MS` is `kafka.properties.fetch.wait.max.ms`: no name of librdkafka has
/// an underscore.
fn path_of_variable(name: &str) -> String {
    let path = name.trim_start_matches(PREFIX).to_ascii_lowercase().replace("__", ".");
    match path.strip_prefix(PROPERTIES) {
        Some(property) => format!("{PROPERTIES}{}", property.replace('_', ".")),
        None => path,
    }
}

fn take(resolved: &mut Resolved, path: &str, entry: &Entry) -> Result<(), Box<Fault>> {
    if let Some(property) = path.strip_prefix(PROPERTIES) {
        let value = property_value(path, property, entry)?;
        resolved
            .properties
            .insert(property.to_owned(), (value, entry.origin.clone()));
        return Ok(());
    }
    let Some(key) = keys::find(path) else {
        return Err(Box::new(unknown(path, entry)));
    };
    // The reason may repeat the value: that of a secret is checked as plain text only, whose reasons do not.
    let kind = if key.secret { Kind::Text } else { key.kind };
    let value = check(kind, &entry.raw)
        .map_err(|reason| Fault::new(path, reason).from(&entry.origin).example(key.written()))
        .map_err(Box::new)?;
    resolved.values.insert(key.path, (value, entry.origin.clone()));
    Ok(())
}

fn unknown(path: &str, entry: &Entry) -> Fault {
    let fault = Fault::new(path, "unknown key").from(&entry.origin);
    if path == "topics" || path.starts_with("topics.") {
        return fault.example("topics stand in the file only: [[topics]] topic = \"raw.trades\"");
    }
    let suggestion = nearest(path, KEYS.iter().map(|key| key.path));
    let example = suggestion.as_deref().and_then(keys::find).map_or_else(
        || format!("sections: {}", super::file::section_names().join(", ")),
        Key::written,
    );
    fault.suggest(suggestion).example(example)
}

fn property_value(path: &str, property: &str, entry: &Entry) -> Result<String, Box<Fault>> {
    let fault = |reason: &str| Fault::new(path, reason).from(&entry.origin);
    if let Some((_, reason)) = REFUSED_PROPERTIES.iter().find(|(name, _)| *name == property) {
        return Err(fault(&format!("is refused: it {reason}"))
            .example("leave the property out")
            .into());
    }
    match &entry.raw {
        Raw::Text(text) | Raw::Untyped(text) => Ok(text.clone()),
        Raw::Integer(number) => Ok(number.to_string()),
        Raw::Bool(flag) => Ok(flag.to_string()),
        Raw::List(_) | Raw::Other(_) => {
            let example = if is_secret_property(property) {
                "\"${VARIABLE}\""
            } else {
                "\"value\""
            };
            let example = format!("\"{property}\" = {example}");
            Err(fault("must be a string, an integer or a boolean")
                .example(example)
                .into())
        }
    }
}
