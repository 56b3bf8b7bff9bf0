//! Names of tables.

use std::fmt;
use std::str::FromStr;

/// A table's name within its catalog: a namespace of one or more levels and the table, `bronze.raw_trades`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    namespace: String,
    name: String,
}

/// A text that is no table name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a table name: expected NAMESPACE.TABLE of letters, digits, `_` and `-`, for instance bronze.raw_trades"
)]
pub struct InvalidTableName(pub String);

impl TableName {
    /// A name from its two parts.
    ///
    /// # Errors
    /// When a part is empty or holds characters that could not stand in a folder's name.
    pub fn new(namespace: &str, name: &str) -> Result<Self, InvalidTableName> {
        let plain =
            |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
        if namespace.split('.').all(plain) && plain(name) {
            Ok(Self {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            })
        } else {
            Err(InvalidTableName(format!("{namespace}.{name}")))
        }
    }

    /// The namespace; its levels are joined by dots.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The table's own name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for TableName {
    type Err = InvalidTableName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.rsplit_once('.') {
            Some((namespace, name)) => Self::new(namespace, name),
            None => Err(InvalidTableName(text.to_owned())),
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_prints() {
        let name: TableName = "bronze.raw_trades".parse().unwrap();
        assert_eq!((name.namespace(), name.name()), ("bronze", "raw_trades"));
        assert_eq!(name.to_string(), "bronze.raw_trades");
        let deep: TableName = "a.b.c".parse().unwrap();
        assert_eq!((deep.namespace(), deep.name()), ("a.b", "c"));
    }

    #[test]
    fn refuses_what_could_leave_the_warehouse() {
        for bad in ["raw_trades", "bronze.", ".x", "bronze.../etc", "a..b", "a.b/c", "a b.c"] {
            assert!(bad.parse::<TableName>().is_err(), "{bad}");
        }
    }
}
