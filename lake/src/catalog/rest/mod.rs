//! A REST catalog, by a thin client of its own: iceberg's keeps its HTTP to itself, and what becomes of a lost answer has to be
//! decided here.
//!
//! The server writes the metadata files and checks the requirements that a commit sends: the table's uuid and the snapshot
//! that `main` names. Whatever moves the recorded offsets is a snapshot, so that this says as much as comparing locations.

mod answers;
mod auth;
mod client;
mod connect;
mod error;
mod listing;
mod wire;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use iceberg::spec::TableMetadata;
use tapehouse_core::words::one_line;

use super::{CommitBackend, Creation, Pointer, Swap, SwapError};
use crate::error::LakeError;
use crate::name::TableName;
use crate::table::ParsedMetadata;
pub use answers::RestAnswers;
use client::{Answer, MAX_MESSAGE_CHARS, MAX_TABLE_ANSWER_BYTES, Request, RestClient};
pub use error::RestError;
use wire::{CommitTable, CreateNamespace, CreateTable, Identifier, TableAnswer};

/// Tables of which the newest version's tag is remembered; above this they are forgotten.
const MAX_TAGS: usize = 256;

/// What the server calls a version that was seen.
#[derive(Clone, Debug)]
struct Tag {
    etag: String,
    metadata_location: String,
}

/// A REST catalog.
#[derive(Debug)]
pub(super) struct RestBackend {
    client: RestClient,
    /// What the server wants between `v1` and the rest of each path.
    prefix: Vec<String>,
    /// Between the levels of a namespace in a path.
    separator: String,
    tags: Mutex<HashMap<TableName, Tag>>,
}

/// Table and namespace as the protocol has them.
struct Ident<'a> {
    levels: Vec<&'a str>,
    namespace: String,
    name: &'a str,
}

impl<'a> Ident<'a> {
    fn of(table: &'a TableName, separator: &str) -> Self {
        let levels: Vec<&str> = table.namespace().split('.').collect();
        Self {
            namespace: levels.join(separator),
            levels,
            name: table.name(),
        }
    }
}

impl RestBackend {
    /// The path of a request: `v1`, the prefix, `segments`.
    fn path<'a>(&'a self, segments: &[&'a str]) -> Vec<&'a str> {
        let prefix = self.prefix.iter().map(String::as_str);
        std::iter::once("v1")
            .chain(prefix)
            .chain(segments.iter().copied())
            .collect()
    }

    fn table_path<'a>(&'a self, ident: &'a Ident<'_>) -> Vec<&'a str> {
        self.path(&["namespaces", &ident.namespace, "tables", ident.name])
    }

    /// The version that an answer shows; its tag is remembered.
    fn pointer(&self, table: &TableName, answer: &Answer) -> Result<Pointer, RestError> {
        let shown: TableAnswer = answer.parse()?;
        let malformed = |reason: String| RestError::Malformed {
            what: answer.what,
            reason,
        };
        let metadata_location = shown
            .metadata_location
            .ok_or_else(|| malformed("it holds no metadata-location".to_owned()))?;
        let metadata = parsed(shown.metadata, &answer.body).map_err(malformed)?;
        let mut tags = self.tags();
        if tags.len() >= MAX_TAGS {
            tags.clear();
        }
        match &answer.etag {
            Some(etag) => {
                let (etag, metadata_location) = (etag.clone(), metadata_location.clone());
                tags.insert(
                    table.clone(),
                    Tag {
                        etag,
                        metadata_location,
                    },
                )
            }
            None => tags.remove(table),
        };
        Ok(Pointer {
            metadata_location,
            metadata: Some(Box::new(metadata)),
        })
    }

    fn tags(&self) -> std::sync::MutexGuard<'_, HashMap<TableName, Tag>> {
        // Each entry is whole, so a panic elsewhere does not make the map wrong.
        self.tags.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn create_namespace(&self, ident: &Ident<'_>) -> Result<(), RestError> {
        for depth in 1..=ident.levels.len() {
            let body = CreateNamespace {
                namespace: &ident.levels[..depth],
                properties: HashMap::new(),
            };
            let request = Request::post("creating a namespace", self.path(&["namespaces"]), &body)?;
            match self.client.ask(&request).await {
                // 409: it exists.
                Err(error) if !error.is_status(409) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// [`TableMetadata`] keeps its references to itself: they are read from the answer a second time.
fn parsed(metadata: TableMetadata, body: &[u8]) -> Result<ParsedMetadata, String> {
    #[derive(serde::Deserialize)]
    struct Shown {
        metadata: crate::table::Refs,
    }
    let shown: Shown = serde_json::from_slice(body).map_err(|error| one_line(&error.to_string(), MAX_MESSAGE_CHARS))?;
    Ok(ParsedMetadata {
        metadata,
        refs: shown.metadata.refs.unwrap_or_default(),
        bytes: body.len(),
    })
}

#[async_trait]
impl CommitBackend for RestBackend {
    fn writes_metadata(&self) -> bool {
        true
    }

    async fn load(&self, table: &TableName) -> Result<Option<Pointer>, LakeError> {
        let ident = Ident::of(table, &self.separator);
        let known = self.tags().get(table).cloned();
        let mut request = Request::get("the table", self.table_path(&ident));
        request.max_bytes = MAX_TABLE_ANSWER_BYTES;
        request.known_etag = known.as_ref().map(|tag| tag.etag.clone());
        match (self.client.ask(&request).await, known) {
            (Ok(answer), Some(known)) if answer.unchanged => Ok(Some(Pointer {
                metadata_location: known.metadata_location,
                metadata: None,
            })),
            (Ok(answer), _) => {
                let pointer = self.pointer(table, &answer);
                pointer.map(Some).map_err(LakeError::rest("loading a table"))
            }
            (Err(error), _) if error.is_status(404) => {
                self.tags().remove(table);
                Ok(None)
            }
            (Err(error), _) => Err(LakeError::rest("loading a table")(error)),
        }
    }

    async fn create(&self, creation: &Creation<'_>) -> Result<Option<Pointer>, LakeError> {
        let failed = || LakeError::rest("creating a table");
        let ident = Ident::of(creation.table, &self.separator);
        self.create_namespace(&ident).await.map_err(failed())?;
        let metadata = creation.metadata;
        let body = CreateTable {
            name: ident.name,
            location: metadata.location(),
            schema: metadata.current_schema(),
            partition_spec: metadata.default_partition_spec(),
            write_order: metadata.default_sort_order(),
            stage_create: false,
            properties: metadata.properties(),
        };
        let path = self.path(&["namespaces", &ident.namespace, "tables"]);
        let request = Request::post("creating a table", path, &body).map_err(failed())?;
        match self.client.send(&request).await {
            Ok(answer) => self.pointer(creation.table, &answer).map(Some).map_err(failed()),
            Err(error) if error.is_status(409) => Ok(None),
            Err(error) => Err(failed()(error)),
        }
    }

    async fn swap(&self, swap: &Swap<'_>) -> Result<Pointer, SwapError> {
        let ident = Ident::of(swap.table, &self.separator);
        let body = CommitTable {
            identifier: Identifier {
                namespace: &ident.levels,
                name: ident.name,
            },
            requirements: swap.requirements,
            updates: swap.updates,
        };
        let result = match Request::post("a commit", self.table_path(&ident), &body) {
            Ok(mut request) => {
                request.max_bytes = MAX_TABLE_ANSWER_BYTES;
                let answer = self.client.send(&request).await;
                answer.and_then(|answer| self.pointer(swap.table, &answer))
            }
            Err(error) => return Err(SwapError::Failed(LakeError::rest("writing a commit")(error))),
        };
        result.map_err(|error| match error {
            error if error.is_status(409) || matches!(error, RestError::TooMany { .. }) => {
                tracing::debug!(table = %swap.table, %error, "the catalog did not take the commit");
                SwapError::Conflict
            }
            error if error.is_status(404) => SwapError::Failed(LakeError::NoSuchTable(swap.table.clone())),
            error if error.may_have_happened() => SwapError::Unknown(Box::new(error)),
            error => SwapError::Failed(LakeError::rest("committing to a table")(error)),
        })
    }

    async fn list(&self) -> Result<Vec<TableName>, LakeError> {
        self.all_tables().await.map_err(LakeError::rest("listing the tables"))
    }
}
