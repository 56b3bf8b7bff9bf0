//! Writer schemas that a topic's records name, and how each fits the table.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use tapehouse_kafka::decode::{SchemaEntry, Schemas, arrow_schema};
use tapehouse_kafka::registry::{RegistryClient, RegistryError};
use tapehouse_lake::NewColumn;
use tapehouse_lake::bronze::BronzeLayout;

/// An id that the registry does not know is asked for again for so long before its records are kept undecoded.
const UNKNOWN_FOR: Duration = Duration::from_secs(10);
/// Requests to the registry at once.
const CONCURRENT_LOOK_UPS: usize = 16;
/// Schemas kept; beyond, the book starts afresh.
const MAX_SCHEMAS: usize = 1024;

/// What is known of each schema id.
pub(crate) struct SchemaBook {
    registry: RegistryClient,
    timestamp_fields: Vec<String>,
    /// Fits the table as it is, or never will.
    settled: HashMap<u32, SchemaEntry>,
}

impl SchemaBook {
    pub(crate) fn new(registry: RegistryClient, timestamp_fields: Vec<String>) -> Self {
        Self {
            registry,
            timestamp_fields,
            settled: HashMap::new(),
        }
    }

    /// The writer schemas of `ids`, from the book or the registry.
    pub(crate) async fn look_up(&mut self, ids: &BTreeSet<u32>) -> Result<Schemas, RegistryError> {
        if self.settled.len() > MAX_SCHEMAS {
            self.settled.clear();
        }
        let mut schemas = Schemas::with_capacity(ids.len());
        let mut unsettled = Vec::new();
        for id in ids {
            match self.settled.get(id) {
                Some(entry) => {
                    schemas.insert(*id, entry.clone());
                }
                None => unsettled.push(*id),
            }
        }
        // One allowance of retries for the whole batch: garbage that names a thousand ids must not cost it a thousand times.
        let started = Instant::now();
        let registry = &self.registry;
        let answers = stream::iter(unsettled).map(|id| async move {
            let allowance = UNKNOWN_FOR.saturating_sub(started.elapsed());
            (id, registry.schema_by_id_retrying(id, allowance).await)
        });
        let mut answers = answers.buffer_unordered(CONCURRENT_LOOK_UPS);
        while let Some((id, answer)) = answers.next().await {
            let entry = match answer {
                Ok(json) => SchemaEntry::Known(json),
                Err(RegistryError::Unknown { .. }) => SchemaEntry::Unknown,
                Err(error @ RegistryError::Unsupported { .. }) => SchemaEntry::Conflict(error.to_string().into()),
                Err(error) => return Err(error),
            };
            schemas.insert(id, entry);
        }
        Ok(schemas)
    }

    /// Arrow schema of a known entry; an undecodable schema is left to the decoder, which names it in each row.
    pub(crate) fn arrow(&self, id: u32, entry: &SchemaEntry) -> Option<arrow_schema::SchemaRef> {
        match entry {
            SchemaEntry::Known(json) => arrow_schema(id, json, &self.timestamp_fields).ok(),
            _ => None,
        }
    }

    /// Columns that the table lacks for these schemas. A schema that the table can never take becomes a conflict.
    pub(crate) fn settle(&mut self, schemas: &mut Schemas, layout: &BronzeLayout) -> Vec<NewColumn> {
        for (&id, entry) in schemas.iter_mut() {
            if self.settled.contains_key(&id) {
                continue;
            }
            let Some(source) = self.arrow(id, entry) else { continue };
            match layout.missing(&source) {
                Ok(missing) if missing.is_empty() => {
                    self.settled.insert(id, entry.clone());
                }
                Ok(missing) => return missing.iter().map(new_column).collect(),
                Err(conflict) => {
                    tracing::error!(schema_id = id, %conflict, code = "schema_conflict", "records of this schema are kept undecoded");
                    *entry = SchemaEntry::Conflict(Arc::from(conflict.to_string()));
                    self.settled.insert(id, entry.clone());
                }
            }
        }
        Vec::new()
    }
}

fn new_column(field: &iceberg::spec::NestedFieldRef) -> NewColumn {
    NewColumn {
        name: field.name.clone(),
        field_type: field.field_type.as_ref().clone(),
        doc: field.doc.clone(),
    }
}
