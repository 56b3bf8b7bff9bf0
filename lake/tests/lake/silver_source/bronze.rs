//! A bronze table with a model beside it, and a merge that only notes what it was given.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{ArrayRef, Date32Array, Int32Array, Int64Array, RecordBatch, StringArray, new_null_array};
use arrow_schema::DataType;
use async_trait::async_trait;
use iceberg::spec::{DataFile, NestedField, Operation, PrimitiveType, Schema, Type};
use tapehouse_core::append::AppendRequest;
use tapehouse_core::chunk::{BronzeOffsets, next_chunk};
use tapehouse_core::identity::TopicIdentity;
use tapehouse_core::merge::MergeState;
use tapehouse_core::offsets::{OffsetRange, Ranges};
use tapehouse_lake::bronze::BronzeLayout;
use tapehouse_lake::commit::{Change, CommitOutcome, Planned, Rewrite, Rewritten, SnapshotChange};
use tapehouse_lake::files::{FileEncoder, write_file};
use tapehouse_lake::silver::source::{BronzeRows, SourceError, SourceStats, bronze_offsets};
use tapehouse_lake::{CommitError, DecidedOn, Lake, LoadedTable, NewTable, StagedAppend, StateChange, StateChangeKind};
use uuid::Uuid;

use crate::place::{Kind, Place};
use crate::support::{Rig, committed, new_table};

/// Partition date of all rows.
pub const DATE: i32 = 20_458;

/// Incarnation, partition, offset.
pub type Row = (i32, i32, i64);

/// What the row says of itself: told apart from all others.
pub fn symbol((incarnation, partition, offset): Row) -> String {
    format!("{incarnation}/{partition}/{offset}")
}

pub struct Bronze {
    pub rig: Rig,
    /// Live data files in the order in which they came, with their rows.
    pub files: Vec<(String, Vec<Row>)>,
}

impl Bronze {
    pub async fn new(kind: Kind) -> Option<Self> {
        let place = Place::new(kind).await?;
        let lake = Lake::open(place.settings.clone()).await.unwrap();
        let spec = new_table();
        let size = NestedField::optional(6, "size", Type::Primitive(PrimitiveType::Int));
        let fields = spec.schema.as_struct().fields().iter().cloned();
        let schema = Schema::builder().with_fields(fields.chain([Arc::new(size)]));
        let schema = schema.build().unwrap();
        let ident = place.ident.clone();
        lake.create_table(&ident, NewTable { schema, ..spec }).await.unwrap();
        Some(Self {
            rig: Rig { place, lake, ident },
            files: Vec::new(),
        })
    }

    pub async fn table(&self) -> LoadedTable {
        self.rig.table().await
    }

    /// All rows, sorted.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self.files.iter().flat_map(|(_, rows)| rows.clone()).collect();
        rows.sort_unstable();
        rows
    }

    /// Rows as the table has them now.
    pub fn batch(table: &LoadedTable, rows: &[Row]) -> RecordBatch {
        let layout = layout(table);
        let arrays = layout.arrow().fields().iter().map(|field| -> ArrayRef {
            let sizes = rows.iter().map(|row| row.2 * 3);
            match field.name().as_str() {
                "ingestion_date" => Arc::new(Date32Array::from(vec![DATE; rows.len()])),
                "topic_incarnation" => Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.0))),
                "kafka_partition" => Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.1))),
                "kafka_offset" => Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2))),
                "symbol" | "ticker" => Arc::new(StringArray::from_iter_values(rows.iter().map(|row| symbol(*row)))),
                "venue" => Arc::new(StringArray::from(vec!["X"; rows.len()])),
                "size" if *field.data_type() == DataType::Int64 => Arc::new(Int64Array::from_iter_values(sizes)),
                "size" => Arc::new(Int32Array::from_iter_values(sizes.map(|size| size as i32))),
                other => panic!("column {other}"),
            }
        });
        RecordBatch::try_new(Arc::clone(layout.arrow()), arrays.collect()).unwrap()
    }

    /// A data file as ingest writes it.
    pub async fn write(&self, batch: &RecordBatch) -> DataFile {
        let table = self.table().await;
        let mut encoder = FileEncoder::open(layout(&table).file(), DATE, batch).unwrap();
        encoder.push(batch).unwrap();
        let (warehouse, location) = (self.rig.lake.warehouse(), table.metadata().location());
        write_file(warehouse, location, 0, encoder.finish().unwrap())
            .await
            .unwrap()
    }

    /// Ingests ranges of the current incarnation, a row an offset.
    pub async fn append(&mut self, ranges: &[(i32, i64, i64)]) {
        let table = self.table().await;
        let incarnation = table.stream_state().unwrap().incarnation;
        let offsets = |&(partition, start, end): &(i32, i64, i64)| {
            (start..end).map(move |offset| (incarnation, partition, offset))
        };
        let rows: Vec<Row> = ranges.iter().flat_map(offsets).collect();
        let mut files = Vec::new();
        if !rows.is_empty() {
            let file = self.write(&Self::batch(&table, &rows)).await;
            self.files.push((file.file_path().to_owned(), rows));
            files.push(file);
        }
        let ranges = ranges
            .iter()
            .map(|&(partition, start, end)| (partition, OffsetRange::new(start, end)));
        let staged = StagedAppend {
            files,
            request: AppendRequest {
                topic: "raw.trades".to_owned(),
                incarnation,
                owner: "cluster-1".to_owned(),
                identity: TopicIdentity::default(),
                ranges: Ranges(ranges.collect()),
            },
            summary: BTreeMap::new(),
            commit_id: Uuid::new_v4(),
            schema_id: table.metadata().current_schema_id(),
        };
        committed(self.rig.lake.append(&self.rig.ident, &staged).await.unwrap());
    }

    /// The next incarnation begins.
    pub async fn adopt(&self) {
        let before = self.table().await.stream_state().unwrap();
        let mut next = before.clone();
        next.incarnation += 1;
        next.next = [(0, 0)].into();
        let change = StateChange {
            kind: StateChangeKind::AdoptTopic,
            decided_on: DecidedOn::State(Box::new(before)),
            first: [(next.incarnation, next.next.clone())].into(),
            next,
            reason: "the topic was created again".to_owned(),
            gaps: Ranges::default(),
        };
        self.rig.lake.change_state(&self.rig.ident, &change).await.unwrap();
    }

    /// Offsets of a partition up to `end` were lost before they were read.
    pub async fn accept_gap(&self, partition: i32, end: i64) {
        let before = self.table().await.stream_state().unwrap();
        let mut next = before.clone();
        let start = next.next.insert(partition, end).unwrap();
        let change = StateChange {
            kind: StateChangeKind::AcceptGap,
            decided_on: DecidedOn::State(Box::new(before)),
            first: BTreeMap::new(),
            next,
            reason: "retention".to_owned(),
            gaps: Ranges([(partition, OffsetRange::new(start, end))].into()),
        };
        self.rig.lake.change_state(&self.rig.ident, &change).await.unwrap();
    }

    /// Makes one file of several, which are counted in the order in which they came; it is the last then.
    pub async fn rewrite(&mut self, inputs: &[usize]) {
        let table = self.table().await;
        let inputs: Vec<(String, Vec<Row>)> = inputs.iter().map(|at| self.files[*at].clone()).collect();
        let rows: Vec<Row> = inputs.iter().flat_map(|(_, rows)| rows.clone()).collect();
        let output = self.write(&Self::batch(&table, &rows)).await;
        let rewritten = inputs.iter().map(|(data_file, _)| Rewritten {
            data_file: data_file.clone(),
            delete_file: None,
        });
        let rewrite = Rewrite {
            commit_id: Uuid::new_v4(),
            inputs: rewritten.collect(),
            outputs: vec![output.clone()],
            deletes: Vec::new(),
            summary: BTreeMap::new(),
        };
        let outcome = self.rig.lake.rewrite(&self.rig.ident, &rewrite).await.unwrap();
        assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
        self.files.retain(|file| !inputs.contains(file));
        self.files.push((output.file_path().to_owned(), rows));
    }

    /// Another engine adds files.
    pub async fn add_foreign(&self, files: Vec<DataFile>) {
        let change = Foreign(files);
        let outcome = self.rig.lake.commit(&self.rig.ident, Uuid::new_v4(), &change).await;
        assert!(matches!(outcome, Ok(CommitOutcome::Committed(_))), "{outcome:?}");
    }

    /// Another engine's rows, which know nothing of Kafka.
    pub async fn append_without_coordinates(&self, rows: usize) {
        let table = self.table().await;
        let batch = Self::batch(&table, &vec![(0, 0, 0); rows]);
        let schema = batch.schema();
        let columns = schema
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, array)| match field.name().as_str() {
                "ingestion_date" | "symbol" => Arc::clone(array),
                _ => new_null_array(field.data_type(), rows),
            });
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap();
        self.add_foreign(vec![self.write(&batch).await]).await;
    }

    /// Reads what is wanted off the test's own thread, as silver does.
    pub async fn read(&self, wanted: BTreeMap<i32, Ranges>) -> Result<(Vec<Row>, SourceStats), SourceError> {
        const COLUMNS: [&str; 4] = ["symbol", "kafka_offset", "topic_incarnation", "kafka_partition"];
        let table = self.table().await;
        let mut source = BronzeRows::of(&self.rig.lake, &table, &COLUMNS, wanted).await?;
        let runtime = tokio::runtime::Handle::current();
        let reading = tokio::task::spawn_blocking(move || {
            let mut rows = Vec::new();
            while let Some(batch) = runtime.block_on(source.next())? {
                assert!(batch.num_rows() > 0);
                rows.extend(rows_of(&batch));
            }
            Ok((rows, source.stats()))
        });
        reading.await.unwrap()
    }
}

fn layout(table: &LoadedTable) -> BronzeLayout {
    BronzeLayout::new(Arc::clone(table.metadata().current_schema())).unwrap()
}

fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let symbols = batch.column_by_name("symbol").unwrap().as_string::<i32>();
    let int = |name| batch.column_by_name(name).unwrap().as_primitive::<Int32Type>();
    let (incarnations, partitions) = (int("topic_incarnation"), int("kafka_partition"));
    let offsets = batch.column_by_name("kafka_offset").unwrap();
    let offsets = offsets.as_primitive::<Int64Type>();
    let row = |at: usize| {
        let row = (incarnations.value(at), partitions.value(at), offsets.value(at));
        assert_eq!(symbols.value(at), symbol(row), "the other columns are of the same row");
        row
    };
    (0..batch.num_rows()).map(row).collect()
}

struct Foreign(Vec<DataFile>);

#[async_trait]
impl Change for Foreign {
    type Done = Infallible;

    async fn plan(&self, _: &LoadedTable, _: i64, _: bool) -> Result<Planned<Infallible>, CommitError> {
        Ok(Planned::Commit(Box::new(SnapshotChange {
            operation: Operation::Overwrite,
            added: self.0.clone(),
            removed: Default::default(),
            data_sequence_number: None,
            summary: BTreeMap::new(),
            properties: HashMap::new(),
        })))
    }
}

/// What a silver table would have consumed.
pub struct Merged {
    pub cursor: MergeState,
    rows: Vec<Row>,
    known: Option<BronzeOffsets>,
}

impl Default for Merged {
    fn default() -> Self {
        Self {
            cursor: MergeState::new("cluster-1", "bronze.raw_trades", 1),
            rows: Vec::new(),
            known: None,
        }
    }
}

impl Merged {
    pub fn sorted(&self) -> Vec<Row> {
        let mut rows = self.rows.clone();
        rows.sort_unstable();
        rows
    }

    /// The next chunk; `None` where there is none.
    async fn try_merge(&mut self, bronze: &Bronze, max_offsets: u64) -> Option<SourceStats> {
        let table = bronze.table().await;
        let offsets = bronze_offsets(&bronze.rig.lake, &table, &self.cursor, self.known.as_ref()).await;
        let offsets = self.known.insert(offsets.unwrap());
        let chunk = next_chunk(&self.cursor, offsets, max_offsets).unwrap()?;
        let (rows, stats) = bronze.read(chunk.clone()).await.unwrap();
        assert_eq!(stats.rows_read, rows.len() as u64);
        for (incarnation, partition, offset) in &rows {
            assert!(
                chunk[incarnation].0[partition].contains(*offset),
                "{partition} {offset} of {chunk:?}"
            );
        }
        self.rows.extend(rows);
        for (incarnation, ranges) in chunk {
            let cursor = self.cursor.next.entry(incarnation).or_default();
            cursor.extend(ranges.0.iter().map(|(partition, range)| (*partition, range.end)));
        }
        Some(stats)
    }

    pub async fn merge_once(&mut self, bronze: &Bronze, max_offsets: u64) -> SourceStats {
        self.try_merge(bronze, max_offsets).await.expect("something is left")
    }

    pub async fn merge_all(&mut self, bronze: &Bronze, max_offsets: u64) {
        for _ in 0..1000 {
            if self.try_merge(bronze, max_offsets).await.is_none() {
                return;
            }
        }
        panic!("it comes to no end");
    }
}
