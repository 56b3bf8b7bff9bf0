//! The TOML file, flattened to dotted keys, each with its line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::environment::{Environment, expand};
use super::fault::{Fault, Origin};
use super::keys;

/// Name of the file in the working folder and in the user's configuration folder.
pub const FILE_NAME: &str = "tapehouse.toml";
/// A configuration larger than this is a mistake.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A value as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Raw {
    /// Text of a TOML string without `${...}`.
    Text(String),
    /// Text whose type is open: from the environment, a flag, or a string with `${...}`.
    Untyped(String),
    /// A TOML integer.
    Integer(i64),
    /// A TOML boolean.
    Bool(bool),
    /// A TOML array of strings.
    List(Vec<String>),
    /// Anything else, by the name of its type.
    Other(&'static str),
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub raw: Raw,
    /// Where it stands.
    pub origin: Origin,
}

/// What a file says.
#[derive(Debug, Default)]
pub struct FileContent {
    /// By dotted key.
    pub entries: BTreeMap<String, Entry>,
    /// The `[[topics]]`, in order; `None` where the file has none.
    pub topics: Option<Vec<BTreeMap<String, Entry>>>,
    /// What is wrong with it.
    pub faults: Vec<Fault>,
}

/// The file to read: `--config`, else `./tapehouse.toml`, else the one in the user's configuration folder, else none.
pub fn locate(flag: Option<&Path>, environment: &Environment) -> Option<PathBuf> {
    if let Some(path) = flag {
        return Some(path.to_owned());
    }
    let folder = environment
        .get("XDG_CONFIG_HOME")
        .map(|(value, _)| PathBuf::from(value));
    let folder = folder.or_else(|| environment.get("HOME").map(|(home, _)| Path::new(home).join(".config")));
    let of_user = folder.map(|folder| folder.join("tapehouse").join(FILE_NAME));
    [Some(PathBuf::from(FILE_NAME)), of_user]
        .into_iter()
        .flatten()
        .find(|path| path.is_file())
}

/// Reads `path` and expands `${...}` in its strings.
pub fn read(path: &Path, environment: &Environment) -> FileContent {
    let mut content = FileContent::default();
    match read_text(path) {
        Ok(text) => Reader {
            path,
            text: &text,
            environment,
            content: &mut content,
        }
        .document(),
        Err(reason) => {
            let fault = Fault::new(format!("--config {}", path.display()), reason);
            content
                .faults
                .push(fault.example("tapehouse --config tapehouse.toml config validate"));
        }
    }
    content
}

fn read_text(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path)
        .map_err(|error| format!("cannot be read: {error}"))?
        .len();
    if size > MAX_FILE_BYTES {
        return Err(format!(
            "has {size} bytes, a configuration has at most {MAX_FILE_BYTES}"
        ));
    }
    std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    environment: &'a Environment,
    content: &'a mut FileContent,
}

impl Reader<'_> {
    fn origin(&self, offset: usize) -> Origin {
        let line = self.text[..offset.min(self.text.len())].matches('\n').count() + 1;
        Origin::File {
            path: self.path.to_owned(),
            line,
        }
    }

    fn document(&mut self) {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            let origin = self.origin(error.span().map_or(0, |span| span.start));
            let reason = format!("is not TOML: {}", error.message());
            let fault = Fault::new(self.path.display().to_string(), reason).from(&origin);
            self.content
                .faults
                .push(fault.example("[kafka]\n               bootstrap_servers = \"localhost:9092\""));
        }
        if !self.content.faults.is_empty() {
            return;
        }
        for (name, value) in table.get_ref() {
            match (name.get_ref().as_ref(), value.get_ref()) {
                ("topics", DeValue::Array(items)) => self.topics(items),
                (section, DeValue::Table(keys)) => self.section(section, keys),
                (other, _) => self.not_a_section(other, value.span().start),
            }
        }
    }

    fn not_a_section(&mut self, name: &str, offset: usize) {
        let reason = match name {
            "topics" => "is a list of tables, one a topic",
            _ => "stands outside of any section",
        };
        let example = match name {
            "topics" => "[[topics]]\n               topic = \"raw.trades\"".to_owned(),
            _ => format!(
                "[node]\n               cluster = \"tapehouse\"   (sections: {})",
                section_names().join(", ")
            ),
        };
        let suggestion = keys::KEYS
            .iter()
            .find(|key| key.name() == name)
            .map(|key| key.path.to_owned());
        let fault = Fault::new(name, reason)
            .from(&self.origin(offset))
            .example(example)
            .suggest(suggestion);
        self.content.faults.push(fault);
    }

    fn section(&mut self, section: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let path = format!("{section}.{}", name.get_ref());
            match value.get_ref() {
                DeValue::Table(properties) if format!("{path}.") == keys::PROPERTIES => {
                    self.properties(keys::PROPERTIES, properties);
                }
                _ => {
                    let at = name.span().start;
                    if let Some(entry) = self.entry(&path, value, at) {
                        self.content.entries.insert(path, entry);
                    }
                }
            }
        }
    }

    /// librdkafka's names hold dots: `"fetch.wait.max.ms" = 5` and `fetch.wait.max.ms = 5` mean the same.
    fn properties(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let path = format!("{prefix}{}", name.get_ref());
            if let DeValue::Table(inner) = value.get_ref() {
                self.properties(&format!("{path}."), inner);
            } else if let Some(entry) = self.entry(&path, value, name.span().start) {
                self.content.entries.insert(path, entry);
            }
        }
    }

    fn topics(&mut self, items: &[Spanned<DeValue<'_>>]) {
        let mut topics = Vec::with_capacity(items.len());
        for (position, item) in items.iter().enumerate() {
            let DeValue::Table(table) = item.get_ref() else {
                self.not_a_section("topics", item.span().start);
                return;
            };
            let mut topic = BTreeMap::new();
            for (name, value) in table {
                let path = format!("topics[{position}].{}", name.get_ref());
                if let Some(entry) = self.entry(&path, value, name.span().start) {
                    topic.insert(name.get_ref().to_string(), entry);
                }
            }
            topics.push(topic);
        }
        self.content.topics = Some(topics);
    }

    fn entry(&mut self, path: &str, value: &Spanned<DeValue<'_>>, at: usize) -> Option<Entry> {
        let origin = self.origin(at);
        let raw = match value.get_ref() {
            DeValue::String(text) if text.contains("${") => match expand(text, self.environment) {
                Ok(expanded) => Raw::Untyped(expanded),
                Err(error) => {
                    let fault = Fault::new(path, error.to_string()).from(&origin);
                    self.content.faults.push(fault.example("\"${VARIABLE:-default}\""));
                    return None;
                }
            },
            DeValue::String(text) => Raw::Text(text.to_string()),
            DeValue::Integer(number) => {
                let digits = number.as_str();
                i64::from_str_radix(digits, number.radix()).map_or(Raw::Other("integer out of range"), Raw::Integer)
            }
            DeValue::Boolean(flag) => Raw::Bool(*flag),
            DeValue::Array(items) => {
                let texts: Option<Vec<String>> = items
                    .iter()
                    .map(|item| item.get_ref().as_str().map(str::to_owned))
                    .collect();
                texts.map_or(Raw::Other("array with other things than strings"), Raw::List)
            }
            other => Raw::Other(other.type_str()),
        };
        Some(Entry { raw, origin })
    }
}

/// The sections, in order.
pub fn section_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = keys::KEYS.iter().map(keys::Key::section).collect();
    names.dedup();
    names.push("topics");
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_of(text: &str) -> FileContent {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.toml");
        std::fs::write(&path, text).unwrap();
        read(&path, &Environment::of(&[("AGE", "250")]))
    }

    #[test]
    fn keys_are_flattened_with_their_lines() {
        let content = read_of(
            "[kafka]\nbootstrap_servers = \"h:1\"\n[kafka.properties]\nfetch.wait.max.ms = 5\n\"a.b\" = \"c\"\n\n[commit]\nmax_age_ms = \"${AGE}\"\n[[topics]]\ntopic = \"t\"\ntimestamp_fields = [\"a\"]\n",
        );
        assert_eq!(content.faults, []);
        let raw = |key: &str| content.entries[key].raw.clone();
        assert_eq!(raw("kafka.bootstrap_servers"), Raw::Text("h:1".into()));
        assert_eq!(raw("kafka.properties.fetch.wait.max.ms"), Raw::Integer(5));
        assert_eq!(raw("kafka.properties.a.b"), Raw::Text("c".into()));
        assert_eq!(raw("commit.max_age_ms"), Raw::Untyped("250".into()));
        assert!(matches!(
            content.entries["commit.max_age_ms"].origin,
            Origin::File { line: 8, .. }
        ));
        let topics = content.topics.unwrap();
        assert_eq!(topics[0]["timestamp_fields"].raw, Raw::List(vec!["a".into()]));
    }

    #[test]
    fn what_is_no_toml_names_the_line() {
        let content = read_of("[kafka]\nbootstrap_servers = localhost\n");
        let text = content.faults[0].to_string();
        assert!(text.contains("t.toml:2") && text.contains("is not TOML"), "{text}");
    }

    #[test]
    fn a_variable_without_value_is_a_fault_of_its_key() {
        let content = read_of("[kafka]\nsasl_password = \"${NOT_THERE}\"\n");
        let text = content.faults[0].to_string();
        assert!(
            text.starts_with("kafka.sasl_password: ") && text.contains("NOT_THERE"),
            "{text}"
        );
    }

    #[test]
    fn a_key_outside_of_a_section_is_pointed_home() {
        let content = read_of("bootstrap_servers = \"h:1\"\n");
        let text = content.faults[0].to_string();
        assert!(
            text.contains("kafka.bootstrap_servers") && text.contains("t.toml:1"),
            "{text}"
        );
    }
}
