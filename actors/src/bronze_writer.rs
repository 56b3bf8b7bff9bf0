//! BronzeWriterActor: turns a topic's batches into encoded files and cuts commits. While one commit is in flight, the next
//! one's rows are already being encoded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tapehouse_core::clock::now_ms;
use tapehouse_core::identity::TopicIdentity;
use tapehouse_core::state::{OWNER_PROPERTY, STATE_PROPERTY, StreamState};
use tapehouse_kafka::decode::{SchemaEntry, Schemas, TopicDecoder, schema_ids};
use tapehouse_kafka::identity::Identities;
use tapehouse_kafka::raw_batch::RawBatch;
use tapehouse_lake::bronze::{BronzeLayout, partition_spec, table_schema};
use tapehouse_lake::{Lake, LakeError, LoadedTable, NewTable, TableName};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::bronze::rows::RowSource;
use crate::bronze::{Absorber, OpenSet, SchemaBook};
use crate::clock::ClockWatch;
use crate::committer::Request;
use crate::failure::Failure;
use crate::ingest::Batch;
use crate::mailbox::{Closed, Mailbox};
use crate::metrics::Metrics;
use crate::pool::{CpuPool, JobPanicked};
use crate::progress::{ProgressCell, TopicState};
use crate::settings::{CommitPolicy, TopicSettings};
use crate::stager::Stager;
use crate::topic_memory::TopicMemory;

/// Ranges without rows (control records, aborted transactions) are committed at this age, so that retention cannot
/// overtake the recorded offsets of a topic without visible records.
const EMPTY_SET_AGE: Duration = Duration::from_secs(60);
/// Attempts to change the schema while others change it too.
const SCHEMA_ATTEMPTS: u32 = 10;

/// What the actor is built with.
pub(crate) struct BronzeWriter {
    pub(crate) lake: Lake,
    pub(crate) settings: TopicSettings,
    pub(crate) cluster: String,
    pub(crate) policy: CommitPolicy,
    pub(crate) memory: TopicMemory,
    pub(crate) cut_at_end: bool,
    pub(crate) pool: CpuPool,
    pub(crate) committer: Mailbox<Request>,
    pub(crate) progress: ProgressCell,
    pub(crate) metrics: Metrics,
    pub(crate) clock: ClockWatch,
    pub(crate) schemas: SchemaBook,
    pub(crate) source: Arc<RowSource>,
    pub(crate) incarnation: i32,
    pub(crate) identities: Identities,
    /// What the topic was before its first record was read.
    pub(crate) identity: TopicIdentity,
    pub(crate) run_id: Arc<str>,
    /// The table, if it exists already.
    pub(crate) table: Option<LoadedTable>,
}

/// The table as rows are written for it.
#[derive(Clone)]
struct Target {
    layout: BronzeLayout,
    location: String,
    spec_id: i32,
}

impl Target {
    fn of(table: &LoadedTable) -> Result<Self, Failure> {
        Ok(Self {
            layout: BronzeLayout::new(table.metadata().current_schema().clone())?,
            location: table.metadata().location().to_owned(),
            spec_id: table.metadata().default_partition_spec_id(),
        })
    }
}

/// The running actor.
struct Running {
    writer: BronzeWriter,
    target: Option<Target>,
    absorber: Option<Absorber>,
    open: OpenSet,
    in_flight: Option<JoinHandle<Result<(), Failure>>>,
    seen_known_schema: bool,
}

impl BronzeWriter {
    /// Runs until the poll thread is gone; then commits what is left.
    pub(crate) async fn run(self, mut batches: mpsc::Receiver<Batch>) -> Result<(), Failure> {
        let absorber = Absorber {
            decoder: TopicDecoder::new(self.settings.timestamp_fields.clone()),
            source: Arc::clone(&self.source),
            event_time_field: self.settings.event_time_field.clone(),
        };
        let target = self.table.as_ref().map(Target::of).transpose()?;
        let mut running = Running {
            writer: self,
            target,
            absorber: Some(absorber),
            open: OpenSet::new(),
            in_flight: None,
            seen_known_schema: false,
        };
        loop {
            let due = running.due_at();
            tokio::select! {
                biased;
                ended = wait(&mut running.in_flight) => running.landed(ended)?,
                () = sleep_until(due), if due.is_some() => running.cut(),
                batch = batches.recv(), if running.has_room() => match batch {
                    Some(batch) => running.absorb(batch).await?,
                    None => return running.drain().await,
                },
            }
            if running.is_full() {
                running.cut();
            }
        }
    }
}

/// The commit in flight; never, if there is none.
async fn wait(in_flight: &mut Option<JoinHandle<Result<(), Failure>>>) -> Result<(), Failure> {
    match in_flight {
        None => std::future::pending().await,
        Some(task) => match task.await {
            Ok(outcome) => outcome,
            Err(error) => Err(JobPanicked(error.to_string()).into()),
        },
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

impl Running {
    /// When the open set must be cut; `None` while it is empty or the commit before is in flight: then the age stretches.
    fn due_at(&self) -> Option<Instant> {
        if self.in_flight.is_some() || self.open.ranges.is_empty() {
            return None;
        }
        let age = match self.open.rows {
            0 => EMPTY_SET_AGE,
            _ if self.open.at_end && self.writer.cut_at_end => Duration::ZERO,
            _ => self.writer.policy.max_age,
        };
        Some(self.open.since + age)
    }

    fn is_full(&mut self) -> bool {
        let policy = &self.writer.policy;
        self.in_flight.is_none()
            && (self.open.size_bytes() >= policy.max_bytes
                || policy.max_rows.is_some_and(|max| self.open.rows >= max)
                || !self.writer.memory.has_room(&mut self.open))
    }

    /// Whether another batch may be encoded: while a commit is in flight, the open set may grow to its limit and no further.
    fn has_room(&mut self) -> bool {
        self.in_flight.is_none()
            || self.open.size_bytes() < self.writer.policy.max_bytes && self.writer.memory.has_room(&mut self.open)
    }

    fn landed(&mut self, outcome: Result<(), Failure>) -> Result<(), Failure> {
        self.in_flight = None;
        outcome?;
        self.note_the_end();
        Ok(())
    }

    /// With nothing open and nothing in flight after the end of all partitions, the topic is caught up.
    fn note_the_end(&self) {
        if self.open.at_end && self.open.rows == 0 && self.in_flight.is_none() {
            self.writer.progress.reached_the_end();
        }
    }

    async fn absorb(&mut self, batch: Batch) -> Result<(), Failure> {
        let Batch { raw: batch, lease } = batch;
        let batch_bytes = batch.size_bytes();
        if self.open.rows == 0 && !batch.is_empty() {
            self.writer.progress.set_state(TopicState::Running);
        }
        let schemas = if batch.is_empty() {
            Schemas::new()
        } else {
            self.prepare(&batch).await?
        };
        let Some(target) = self.target.clone() else {
            // Nothing but ranges, and no table yet to record them in: they are read again, at no cost.
            self.open.at_end = batch.at_end;
            self.note_the_end();
            return Ok(());
        };
        let job = match batch.is_empty() {
            true => None,
            false => {
                self.writer.progress.set_memory_wait(Some(now_ms()));
                let job = self.writer.memory.admit(&mut self.open, &batch, &target.layout).await;
                self.writer.progress.set_memory_wait(None);
                Some(job)
            }
        };
        let mut absorber = self.absorber.take().ok_or(Closed)?;
        let mut open = std::mem::replace(&mut self.open, OpenSet::new());
        let (absorber, open, outcome) = self
            .writer
            .pool
            .run(move || {
                let outcome = absorber.absorb(&mut open, batch, &schemas, &target.layout);
                (absorber, open, outcome)
            })
            .await?;
        drop((job, lease));
        self.absorber = Some(absorber);
        self.open = open;
        self.writer.memory.absorbed(batch_bytes as u64, &self.open);
        outcome.map_err(|error| Failure::from(JobPanicked(format!("a batch could not be encoded: {error}"))))?;
        self.note_the_end();
        Ok(())
    }

    /// Looks up the batch's schemas; sees to it that the table exists and has their columns.
    async fn prepare(&mut self, batch: &RawBatch) -> Result<Schemas, Failure> {
        let ids = schema_ids(batch);
        let mut schemas = self.writer.schemas.look_up(&ids).await?;
        let known = schemas.values().any(|entry| !matches!(entry, SchemaEntry::Unknown));
        if !ids.is_empty() && !known && !self.seen_known_schema {
            return Err(Failure::WrongRegistry(ids.into_iter().collect()));
        }
        self.seen_known_schema |= known;
        if self.target.is_none() {
            self.create_table(&schemas).await?;
        }
        self.make_room(&mut schemas).await?;
        Ok(schemas)
    }

    /// Changes the table until each schema fits it or is found never to fit.
    async fn make_room(&mut self, schemas: &mut Schemas) -> Result<(), Failure> {
        let mut failures = 0;
        // Each round settles a schema, or fails because somebody else changed the table.
        loop {
            let target = self.target.as_ref().ok_or(Closed)?;
            let changes = self.writer.schemas.settle(schemas, &target.layout);
            if changes.is_empty() {
                return Ok(());
            }
            let (answer, changed) = oneshot::channel();
            let base = target.layout.schema().schema_id();
            let names: Vec<_> = changes.iter().map(|column| column.name.clone()).collect();
            let request = Request::EvolveColumns {
                base,
                columns: changes,
                answer,
            };
            self.writer.committer.send(request).await?;
            let table = match changed.await.map_err(|_| Closed)? {
                Ok(table) => table,
                Err(Failure::Commit(error)) if error.is_retryable() && failures < SCHEMA_ATTEMPTS => {
                    failures += 1;
                    load(&self.writer.lake, &self.writer.settings.table).await?
                }
                Err(failure) => return Err(failure),
            };
            tracing::info!(table = %self.writer.settings.table, columns = ?names, "columns added or widened for a new schema");
            self.target = Some(Target::of(&table)?);
        }
    }

    /// Creates the table from the first schema that it can be made for; without one it has the metadata columns only, until one comes.
    async fn create_table(&mut self, schemas: &Schemas) -> Result<(), Failure> {
        let mut ids: Vec<_> = schemas.keys().copied().collect();
        ids.sort_unstable();
        let from = |id: &u32| {
            let source = self.writer.schemas.arrow(*id, &schemas[id])?;
            table_schema(&source).ok()
        };
        let schema = match ids.iter().find_map(from) {
            Some(schema) => schema,
            None => table_schema(&arrow_schema::Schema::empty())?,
        };
        let settings = &self.writer.settings;
        let state = StreamState::new(&self.writer.cluster, &settings.topic);
        let new_table = NewTable {
            partition_spec: partition_spec(&schema)?,
            schema,
            properties: [
                (STATE_PROPERTY.to_owned(), state.to_json()),
                (OWNER_PROPERTY.to_owned(), self.writer.cluster.clone()),
                (
                    "comment".to_owned(),
                    format!("Records of Kafka topic {} as received", settings.topic),
                ),
                ("write.parquet.compression-codec".to_owned(), "zstd".to_owned()),
            ]
            .into(),
        };
        // A table from a time to come would lend that time to every commit after it.
        self.writer.clock.hold_saying(&self.writer.progress).await;
        let table = self.writer.lake.create_table(&settings.table, new_table).await?;
        tracing::info!(table = %settings.table, location = table.metadata().location(), "table created");
        self.target = Some(Target::of(&table)?);
        Ok(())
    }

    /// Hands the open set to a task of its own: it closes and writes the files and waits for the commit.
    fn cut(&mut self) {
        let Some(target) = self.target.clone() else { return };
        let open = std::mem::replace(&mut self.open, OpenSet::new());
        self.open.at_end = open.at_end;
        let stager = Stager {
            lake: self.writer.lake.clone(),
            pool: self.writer.pool.clone(),
            committer: self.writer.committer.clone(),
            topic: self.writer.settings.topic.clone(),
            incarnation: self.writer.incarnation,
            owner: self.writer.cluster.clone(),
            identities: self.writer.identities.clone(),
            identity: self.writer.identity.clone(),
            run_id: Arc::clone(&self.writer.run_id),
            staged: self.writer.memory.cut(),
            asset_seconds: self.writer.metrics.asset_seconds.with_label_values(&[&self
                .writer
                .settings
                .table
                .to_string()]),
            schema_id: target.layout.schema().schema_id(),
            location: target.location,
            spec_id: target.spec_id,
        };
        self.in_flight = Some(tokio::spawn(stager.stage(open)));
    }

    /// Commits what is left after the last batch.
    async fn drain(mut self) -> Result<(), Failure> {
        if self.in_flight.is_some() {
            let outcome = wait(&mut self.in_flight).await;
            self.landed(outcome)?;
        }
        if self.open.rows > 0 {
            self.cut();
            let outcome = wait(&mut self.in_flight).await;
            self.landed(outcome)?;
        }
        Ok(())
    }
}

async fn load(lake: &Lake, table: &TableName) -> Result<LoadedTable, Failure> {
    let missing = || LakeError::NoSuchTable(table.clone());
    Ok(lake.load(table).await?.ok_or_else(missing)?)
}
