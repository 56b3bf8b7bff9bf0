//! Writer schemas that a topic's records name, and how each fits the table.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use tapehouse_kafka::decode::{DecodeError, SchemaEntry, Schemas, arrow_schema};
use tapehouse_kafka::registry::{RegistryClient, RegistryError};
use tapehouse_lake::WantedColumn;
use tapehouse_lake::bronze::BronzeLayout;

use crate::metrics::Metrics;
use crate::settings::TopicSettings;

/// An id that the registry does not know is asked for again for so long before its records are kept undecoded.
const UNKNOWN_FOR: Duration = Duration::from_secs(10);
/// Requests to the registry at once.
const CONCURRENT_LOOK_UPS: usize = 16;
/// Of a reason, which stands in each row.
const MAX_REASON_CHARS: usize = 300;
/// Schemas kept; beyond, the book starts afresh.
const MAX_SCHEMAS: usize = 1024;

/// What is known of each schema id.
pub(crate) struct SchemaBook {
    registry: RegistryClient,
    timestamp_fields: Vec<String>,
    topic: String,
    metrics: Metrics,
    /// Fits the table as it is, or never will.
    settled: HashMap<u32, SchemaEntry>,
}

impl SchemaBook {
    pub(crate) fn new(registry: RegistryClient, topic: &TopicSettings, metrics: Metrics) -> Self {
        Self {
            registry,
            timestamp_fields: topic.timestamp_fields.clone(),
            topic: topic.topic.clone(),
            metrics,
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
        let mut found = Vec::new();
        while let Some(answer) = answers.next().await {
            found.push(answer);
        }
        drop(answers);
        for (id, answer) in found {
            let entry = match answer {
                Ok(json) => SchemaEntry::Known(json),
                Err(RegistryError::Unknown { .. }) => SchemaEntry::Unknown,
                Err(RegistryError::Unsupported { reason, .. }) => self.unusable(id, &reason),
                Err(error) => return Err(error),
            };
            schemas.insert(id, entry);
        }
        Ok(schemas)
    }

    /// Arrow schema of an entry that the table could take as it is; others are left to [`Self::settle`].
    pub(crate) fn arrow(&self, id: u32, entry: &SchemaEntry) -> Option<arrow_schema::SchemaRef> {
        match entry {
            SchemaEntry::Known(json) => arrow_schema(id, json, &self.timestamp_fields).ok(),
            _ => None,
        }
    }

    /// What the table has to be given for one of these schemas; nothing, when all are settled: they fit, or never will.
    pub(crate) fn settle(&mut self, schemas: &mut Schemas, layout: &BronzeLayout) -> Vec<WantedColumn> {
        // In their order: which of two schemas that exclude each other is taken does not depend on chance.
        let ids: BTreeSet<u32> = schemas.keys().copied().collect();
        for id in ids {
            let Some(SchemaEntry::Known(json)) = schemas.get(&id).filter(|_| !self.settled.contains_key(&id)) else {
                continue;
            };
            let settled = match arrow_schema(id, json, &self.timestamp_fields) {
                Err(DecodeError::UnusableSchema { reason, .. }) => self.unusable(id, &reason),
                Err(error) => self.unusable(id, &error.to_string()),
                Ok(source) => match layout.changes(&source) {
                    Ok(changes) if changes.is_empty() => SchemaEntry::Known(Arc::clone(json)),
                    Ok(changes) => return changes,
                    Err(conflict) => self.conflict(id, &conflict.to_string()),
                },
            };
            self.settled.insert(id, settled.clone());
            schemas.insert(id, settled);
        }
        Vec::new()
    }

    /// The table takes nothing of this schema: said once, and counted, since somebody has to see to it.
    fn conflict(&self, id: u32, reason: &str) -> SchemaEntry {
        let (reason, topic) = (shortened(reason), self.topic.as_str());
        tracing::error!(
            topic,
            schema_id = id,
            reason,
            code = "schema_conflict",
            alert = true,
            "the table cannot take the records of this schema: they are kept undecoded"
        );
        self.metrics.schema_conflicts.with_label_values(&[topic]).inc();
        SchemaEntry::Conflict(reason.into())
    }

    fn unusable(&self, id: u32, reason: &str) -> SchemaEntry {
        let (reason, topic) = (shortened(reason), self.topic.as_str());
        tracing::error!(
            topic,
            schema_id = id,
            reason,
            code = "unusable_schema",
            "records of this schema cannot be decoded: they are kept as they came"
        );
        SchemaEntry::Unusable(reason.into())
    }
}

/// Types are written out in reasons, and a type can be as long as a schema.
fn shortened(reason: &str) -> String {
    reason.chars().take(MAX_REASON_CHARS).collect()
}
