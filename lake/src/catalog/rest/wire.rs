//! Messages of the REST catalog protocol (Iceberg's `rest-catalog-open-api.yaml`).

use std::collections::HashMap;

use iceberg::spec::{PartitionSpec, Schema, SortOrder, TableMetadata};
use iceberg::{TableRequirement, TableUpdate};
use serde::{Deserialize, Serialize};

/// Answer of `GET /v1/config`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ConfigAnswer {
    #[serde(default)]
    pub defaults: HashMap<String, Option<String>>,
    #[serde(default)]
    pub overrides: HashMap<String, Option<String>>,
}

impl ConfigAnswer {
    /// The value that counts: the server's override, else its default.
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        let overridden = self.overrides.get(key).and_then(Option::as_deref);
        overridden.or_else(|| self.defaults.get(key).and_then(Option::as_deref))
    }
}

/// Answer of the token endpoint (RFC 6749). No `Debug`: it holds the token.
#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    pub access_token: String,
    /// Seconds.
    pub expires_in: Option<u64>,
}

/// An error, whatever was asked.
#[derive(Debug, Deserialize)]
pub(super) struct ErrorAnswer {
    pub error: ErrorModel,
}

#[derive(Debug, Deserialize)]
pub(super) struct ErrorModel {
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub r#type: String,
}

#[derive(Serialize)]
pub(super) struct CreateNamespace<'a> {
    pub namespace: &'a [&'a str],
    pub properties: HashMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct CreateTable<'a> {
    pub name: &'a str,
    pub location: &'a str,
    pub schema: &'a Schema,
    pub partition_spec: &'a PartitionSpec,
    pub write_order: &'a SortOrder,
    pub stage_create: bool,
    pub properties: &'a HashMap<String, String>,
}

#[derive(Serialize)]
pub(super) struct CommitTable<'a> {
    pub identifier: Identifier<'a>,
    pub requirements: &'a [TableRequirement],
    pub updates: &'a [TableUpdate],
}

#[derive(Serialize)]
pub(super) struct Identifier<'a> {
    pub namespace: &'a [&'a str],
    pub name: &'a str,
}

/// Of an answer that shows a table only which version that is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct LocationAnswer {
    pub metadata_location: Option<String>,
}

/// Answer of everything that shows a table.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct TableAnswer {
    pub metadata_location: Option<String>,
    pub metadata: TableMetadata,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct NamespacesAnswer {
    pub namespaces: Vec<Vec<String>>,
    pub next_page_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct TablesAnswer {
    pub identifiers: Vec<OwnedIdentifier>,
    pub next_page_token: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct OwnedIdentifier {
    pub namespace: Vec<String>,
    pub name: String,
}
