//! The environment: the process's variables over those of a `.env` file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::fault::{Fault, Origin};

/// Prefix of the variables that name a key by its section: `TAPEHOUSE__KAFKA__BOOTSTRAP_SERVERS`.
pub const PREFIX: &str = "TAPEHOUSE__";

/// Variables by name. A variable that is empty counts as not set.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    process: BTreeMap<String, String>,
    dotenv: BTreeMap<String, String>,
    dotenv_path: PathBuf,
}

impl Environment {
    /// The variables of this process. Those that are not UTF-8 are left out: no key can be meant by them.
    pub fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self {
            process: std::env::vars_os().filter_map(text).collect(),
            ..Self::default()
        }
    }

    /// An environment of these variables alone, for tests and fuzz targets.
    pub fn of(variables: &[(&str, &str)]) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self {
            process: variables.iter().map(own).collect(),
            ..Self::default()
        }
    }

    /// These variables alone.
    #[must_use]
    pub fn only(mut self, names: &[&str]) -> Self {
        self.process.retain(|name, _| names.contains(&name.as_str()));
        self
    }

    /// Adds the variables of `.env` in `folder`, where there is such a file. The process's own win.
    pub fn read_dotenv(&mut self, folder: &Path) -> Result<(), Box<Fault>> {
        let path = folder.join(".env");
        if !path.is_file() {
            return Ok(());
        }
        let fault = |error: dotenvy::Error| {
            // The text of the line may be a secret: only where it goes wrong is said.
            let reason = match error {
                dotenvy::Error::LineParse(_, index) => format!("a line is not NAME=VALUE, at its character {index}"),
                other => other.to_string(),
            };
            let fault = Fault::new(path.display().to_string(), reason);
            Box::new(fault.example("KAFKA_BOOTSTRAP_SERVERS=localhost:9092"))
        };
        for pair in dotenvy::from_path_iter(&path).map_err(fault)? {
            let (name, value) = pair.map_err(fault)?;
            self.dotenv.insert(name, value);
        }
        self.dotenv_path = path;
        Ok(())
    }

    /// The variable `name` and where it stands.
    pub fn get(&self, name: &str) -> Option<(&str, Origin)> {
        let of_process = self
            .process
            .get(name)
            .map(|value| (value, Origin::Env(name.to_owned())));
        let of_file = || {
            let origin = Origin::DotEnv {
                path: self.dotenv_path.clone(),
                name: name.to_owned(),
            };
            self.dotenv.get(name).map(|value| (value, origin))
        };
        of_process
            .or_else(of_file)
            .filter(|(value, _)| !value.is_empty())
            .map(|(value, origin)| (value.as_str(), origin))
    }

    /// Every variable that begins with [`PREFIX`], by name.
    pub fn prefixed(&self) -> Vec<(&str, &str, Origin)> {
        let names: std::collections::BTreeSet<&String> = self.process.keys().chain(self.dotenv.keys()).collect();
        names
            .into_iter()
            .filter(|name| name.starts_with(PREFIX))
            .filter_map(|name| self.get(name).map(|(value, origin)| (name.as_str(), value, origin)))
            .collect()
    }
}

/// `text` with each `${VAR}` and `${VAR:-default}` replaced; `$${` stands for `${`.
///
/// # Errors
/// The reason, when a variable has neither a value nor a default, or a brace is not closed.
pub fn expand(text: &str, environment: &Environment) -> Result<String, ExpandError> {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(start) = rest.find("${") {
        if rest[..start].ends_with('$') {
            out.push_str(&rest[..start]);
            out.push('{');
            rest = &rest[start + 2..];
            continue;
        }
        out.push_str(&rest[..start]);
        let inner = &rest[start + 2..];
        let end = inner.find('}').ok_or(ExpandError::NotClosed)?;
        let (name, default) = match inner[..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&inner[..end], None),
        };
        let found = environment.get(name).map(|(value, _)| value);
        out.push_str(found.or(default).ok_or_else(|| ExpandError::NotSet(name.to_owned()))?);
        rest = &inner[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

/// Why a value could not be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// The variable has no value and the text no default.
    #[error("the environment variable {0} that it names is not set, and there is no default")]
    NotSet(String),
    /// `${` without `}`.
    #[error("`${{` is not closed by `}}`")]
    NotClosed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expansion() {
        let environment = Environment::of(&[("HOST", "h"), ("EMPTY", "")]);
        let expand = |text: &str| expand(text, &environment);
        assert_eq!(expand("${HOST}:9092").unwrap(), "h:9092");
        assert_eq!(expand("a${NONE:-b}c${HOST:-d}").unwrap(), "abch");
        assert_eq!(expand("${EMPTY:-x}${NONE:-}").unwrap(), "x");
        assert_eq!(expand("$${HOST} $1 }{").unwrap(), "${HOST} $1 }{");
        assert_eq!(expand("${NONE}").unwrap_err(), ExpandError::NotSet("NONE".into()));
        assert_eq!(expand("${EMPTY}").unwrap_err(), ExpandError::NotSet("EMPTY".into()));
        assert_eq!(expand("${HOST").unwrap_err(), ExpandError::NotClosed);
    }

    #[test]
    fn the_process_wins_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".env"), "A=file\nB=\"from file\"\n# comment\n").unwrap();
        let mut environment = Environment::of(&[("A", "process")]);
        environment.read_dotenv(folder.path()).unwrap();
        assert_eq!(environment.get("A").unwrap().0, "process");
        let (value, origin) = environment.get("B").unwrap();
        assert_eq!(value, "from file");
        assert!(origin.to_string().starts_with("B in "), "{origin}");
    }

    #[test]
    fn a_bad_line_is_told_without_its_text() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".env"), "hunter2 is my password\n").unwrap();
        let fault = Environment::default().read_dotenv(folder.path()).unwrap_err();
        assert!(!fault.to_string().contains("hunter2"), "{fault}");
    }
}
