//! The JSON forms of the registry's API, only the fields that are used.

use serde::{Deserialize, Serialize};

/// Media type of the API.
pub(super) const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// Answer to `GET /schemas/ids/{id}` and `GET /subjects/{subject}/versions/latest`.
#[derive(Debug, Deserialize)]
pub(super) struct SchemaAnswer {
    pub schema: String,
    /// Given by the subject's form only.
    pub id: Option<u32>,
    /// Absent means AVRO.
    #[serde(rename = "schemaType")]
    pub schema_type: Option<String>,
    #[serde(default)]
    pub references: Option<Vec<serde_json::Value>>,
}

impl SchemaAnswer {
    /// Why this schema cannot be used, if so.
    pub fn unsupported_reason(&self) -> Option<String> {
        match self.schema_type.as_deref() {
            None | Some("AVRO") => {}
            Some(other) => return Some(format!("its type is {other}, only AVRO is read")),
        }
        match self.references.as_deref() {
            None | Some([]) => None,
            Some(list) => Some(format!(
                "it references {} other schemas, which is not supported",
                list.len()
            )),
        }
    }
}

/// Body of `POST /subjects/{subject}/versions`.
#[derive(Debug, Serialize)]
pub(super) struct RegisterBody<'a> {
    pub schema: &'a str,
}

/// Answer to it.
#[derive(Debug, Deserialize)]
pub(super) struct RegisterAnswer {
    pub id: u32,
}

/// Body of any refusal.
#[derive(Debug, Deserialize)]
pub(super) struct ErrorAnswer {
    pub error_code: u32,
    #[serde(default)]
    pub message: String,
}
