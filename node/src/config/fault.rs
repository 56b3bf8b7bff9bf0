//! What is wrong with a configuration, in words that name the key, the reason, the place and an example.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line (from 1) of a file.
    File {
        /// The file as it was named.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
    },
    /// An environment variable of the process.
    Env(String),
    /// A variable in a `.env` file.
    DotEnv {
        /// The file.
        path: PathBuf,
        /// The variable.
        name: String,
    },
    /// A flag of the command line.
    Flag(String),
    /// Built in.
    Default,
}

impl Origin {
    /// The layer: what comes from a higher one wins.
    pub(super) fn layer(&self) -> u8 {
        match self {
            Self::Flag(_) => 4,
            Self::Env(_) => 3,
            Self::DotEnv { .. } => 2,
            Self::File { .. } => 1,
            Self::Default => 0,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::DotEnv { path, name } => write!(f, "{name} in {}", path.display()),
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Dotted path of the key, for instance `kafka.bootstrap_servers`.
    pub key: String,
    /// What is wrong with it. Never holds a secret.
    pub reason: String,
    /// Where the value came from; `None` where there is none.
    pub origin: Option<Origin>,
    /// The key that was probably meant.
    pub suggestion: Option<String>,
    /// How it is written.
    pub example: Option<String>,
}

impl Fault {
    /// A fault of `key`.
    pub fn new(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            reason: reason.into(),
            origin: None,
            suggestion: None,
            example: None,
        }
    }

    /// Adds where the value came from.
    pub fn from(mut self, origin: &Origin) -> Self {
        self.origin = Some(origin.clone());
        self
    }

    /// Adds how it is written.
    pub fn example(mut self, example: impl Into<String>) -> Self {
        self.example = Some(example.into());
        self
    }

    /// Adds the key that was probably meant.
    pub fn suggest(mut self, suggestion: Option<String>) -> Self {
        self.suggestion = suggestion;
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.reason)?;
        if let Some(origin) = &self.origin {
            write!(f, " ({origin})")?;
        }
        if let Some(suggestion) = &self.suggestion {
            write!(f, "; did you mean `{suggestion}`?")?;
        }
        if let Some(example) = &self.example {
            write!(f, "\n      example: {example}")?;
        }
        Ok(())
    }
}

/// A configuration that cannot be used, with every fault that was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// At least one.
    pub faults: Vec<Fault>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.faults.len() {
            1 => writeln!(f, "the configuration has a fault:")?,
            faults => writeln!(f, "the configuration has {faults} faults:")?,
        }
        for (position, fault) in self.faults.iter().enumerate() {
            let end = if position + 1 == self.faults.len() { "" } else { "\n" };
            write!(f, "    {fault}{end}")?;
        }
        Ok(())
    }
}

impl From<Fault> for ConfigError {
    fn from(fault: Fault) -> Self {
        Self { faults: vec![fault] }
    }
}

/// The candidate nearest to `word`, if one is near enough to be a slip of the finger.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let tail = |path: &str| path.rsplit('.').next().unwrap_or(path).to_owned();
    candidates
        .into_iter()
        .map(|candidate| {
            let whole = distance(word, candidate);
            // The right name in the wrong section is a likely slip too.
            let moved = if tail(word) == tail(candidate) { 2 } else { usize::MAX };
            (whole.min(moved), candidate)
        })
        .filter(|(distance, candidate)| *distance <= 2.max(candidate.len() / 5))
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_find_their_key() {
        let keys = [
            "commit.max_age_ms",
            "commit.max_rows",
            "schema_registry.url",
            "catalog.uri",
        ];
        assert_eq!(nearest("commit.max_age", keys).as_deref(), Some("commit.max_age_ms"));
        assert_eq!(nearest("registry.url", keys).as_deref(), Some("schema_registry.url"));
        assert_eq!(nearest("catalogue.uri", keys).as_deref(), Some("catalog.uri"));
        assert_eq!(nearest("something.else", keys), None);
    }

    #[test]
    fn levenshtein() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }

    #[test]
    fn a_message_names_all() {
        let fault = Fault::new("commit.max_age_ms", "must be an integer")
            .from(&Origin::File {
                path: "t.toml".into(),
                line: 3,
            })
            .example("max_age_ms = 500");
        let text = ConfigError::from(fault).to_string();
        assert_eq!(
            text,
            "the configuration has a fault:\n    commit.max_age_ms: must be an integer (t.toml:3)\n      example: max_age_ms = 500"
        );
    }
}
