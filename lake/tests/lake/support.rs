//! A lake in a temporary folder, with a small table as bronze has it, and files for it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use arrow_array::{Date32Array, Int32Array, Int64Array, RecordBatch, StringArray};
use iceberg::TableRequirement;
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{
    DataFile, DataFileFormat, Literal, NestedField, PartitionKey, PrimitiveType, Schema, Struct, Transform, Type,
    UnboundPartitionSpec,
};
use iceberg::writer::base_writer::data_file_writer::DataFileWriterBuilder;
use iceberg::writer::file_writer::ParquetWriterBuilder;
use iceberg::writer::file_writer::location_generator::{DefaultFileNameGenerator, DefaultLocationGenerator};
use iceberg::writer::file_writer::rolling_writer::RollingFileWriterBuilder;
use iceberg::writer::{IcebergWriter, IcebergWriterBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use tapehouse_core::append::AppendRequest;
use tapehouse_core::identity::TopicIdentity;
use tapehouse_core::offsets::{OffsetRange, Ranges};
use tapehouse_core::state::{STATE_PROPERTY, StreamState};
use tapehouse_lake::catalog::{self, CommitBackend, Swap};
use tapehouse_lake::{AppendOutcome, Lake, LoadedTable, NewTable, StagedAppend, TableName};
use tapehouse_tests::{run, script, unless_missing};
use uuid::Uuid;

use crate::place::{Kind, Place, path_of, s3};

/// Partition date of all test rows: 2026-01-05.
const DATE: i32 = 20_458;

pub struct Rig {
    pub place: Place,
    pub lake: Lake,
    pub ident: TableName,
}

impl Rig {
    /// A new lake with the table; `None` where the kind's server cannot run.
    pub async fn new(kind: Kind) -> Option<Self> {
        Some(Self::at(Place::new(kind).await?).await)
    }

    pub async fn at(place: Place) -> Self {
        let lake = Lake::open(place.settings.clone()).await.unwrap();
        let ident = place.ident.clone();
        lake.create_table(&ident, new_table()).await.unwrap();
        Self { place, lake, ident }
    }

    /// A second committer: its own connections and caches, as another process would have.
    pub async fn other(&self) -> Lake {
        Lake::open(self.place.settings.clone()).await.unwrap()
    }

    /// The catalog itself, without a lake around it.
    pub async fn catalog(&self) -> Arc<dyn CommitBackend> {
        catalog::open(&self.place.settings.catalog, false).await.unwrap()
    }

    pub async fn table(&self) -> LoadedTable {
        self.lake.load(&self.ident).await.unwrap().unwrap()
    }

    pub async fn state(&self) -> StreamState {
        self.table().await.stream_state().unwrap()
    }

    pub async fn stage(&self, ranges: &[(i32, i64, i64)]) -> StagedAppend {
        stage(&self.lake, &self.ident, ranges).await
    }

    /// Appends ranges that must be accepted.
    pub async fn append(&self, ranges: &[(i32, i64, i64)]) -> LoadedTable {
        committed(self.lake.append(&self.ident, &self.stage(ranges).await).await.unwrap())
    }

    /// (partition, offset) of all rows, read by iceberg's own scan through the current snapshot, sorted.
    pub async fn rows(&self) -> Vec<(i32, i64)> {
        use futures::TryStreamExt as _;
        let table = self.table().await;
        let mut rows = Vec::new();
        for (path, _) in live_files(&self.lake, &table).await {
            let file = read(&self.lake, &table, &path).await;
            let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
            let batches = futures::stream::iter(reader.build().unwrap());
            let batches: Vec<RecordBatch> = batches.try_collect().await.unwrap();
            for batch in batches {
                let partitions = column::<Int32Array>(&batch, "kafka_partition").values().to_vec();
                let offsets = column::<Int64Array>(&batch, "kafka_offset").values().to_vec();
                rows.extend(partitions.into_iter().zip(offsets));
            }
        }
        rows.sort_unstable();
        rows
    }
}

fn column<'a, T: 'static>(batch: &'a RecordBatch, name: &str) -> &'a T {
    batch.column_by_name(name).unwrap().as_any().downcast_ref().unwrap()
}

pub fn committed(outcome: AppendOutcome) -> LoadedTable {
    match outcome {
        AppendOutcome::Committed { table, .. } => table,
        other => panic!("not committed: {other:?}"),
    }
}

pub fn new_table() -> NewTable {
    let optional = |id, name: &str, kind| Arc::new(NestedField::optional(id, name, Type::Primitive(kind)));
    let schema = Schema::builder()
        .with_fields([
            optional(1, "symbol", PrimitiveType::String),
            optional(2, "ingestion_date", PrimitiveType::Date),
            optional(3, "topic_incarnation", PrimitiveType::Int),
            optional(4, "kafka_partition", PrimitiveType::Int),
            optional(5, "kafka_offset", PrimitiveType::Long),
        ])
        .build()
        .unwrap();
    let partition_spec = UnboundPartitionSpec::builder()
        .add_partition_field(2, "ingestion_date", Transform::Identity)
        .unwrap()
        .build();
    let state = StreamState::new("cluster-1", "raw.trades");
    NewTable {
        schema,
        partition_spec,
        properties: HashMap::from([(STATE_PROPERTY.to_owned(), state.to_json())]),
    }
}

pub async fn stage(lake: &Lake, ident: &TableName, ranges: &[(i32, i64, i64)]) -> StagedAppend {
    stage_for(lake, &lake.load(ident).await.unwrap().unwrap(), ranges).await
}

/// As [`stage`], without asking the catalog.
pub async fn stage_for(lake: &Lake, table: &LoadedTable, ranges: &[(i32, i64, i64)]) -> StagedAppend {
    let rows: Vec<(i32, i64)> = ranges
        .iter()
        .flat_map(|&(partition, start, end)| (start..end).map(move |offset| (partition, offset)))
        .collect();
    let files = if rows.is_empty() {
        Vec::new()
    } else {
        write_file(lake, table, &rows).await
    };
    let ranges = ranges
        .iter()
        .map(|&(partition, start, end)| (partition, OffsetRange::new(start, end)));
    StagedAppend {
        files,
        request: AppendRequest {
            topic: "raw.trades".to_owned(),
            incarnation: 0,
            owner: "cluster-1".to_owned(),
            identity: TopicIdentity::default(),
            ranges: Ranges(ranges.collect()),
        },
        summary: BTreeMap::from([("tapehouse.rows".to_owned(), rows.len().to_string())]),
        commit_id: Uuid::new_v4(),
        schema_id: table.metadata().current_schema_id(),
    }
}

/// Writes one Parquet file with iceberg's own writer.
pub async fn write_file(lake: &Lake, table: &LoadedTable, rows: &[(i32, i64)]) -> Vec<DataFile> {
    let metadata = table.metadata();
    let schema = Arc::clone(metadata.current_schema());
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
        .set_statistics_truncate_length(None)
        .build();
    let rolling = RollingFileWriterBuilder::new_with_default_file_size(
        ParquetWriterBuilder::new(properties, Arc::clone(&schema)),
        lake.file_io().clone(),
        DefaultLocationGenerator::new(metadata).unwrap(),
        DefaultFileNameGenerator::new(Uuid::new_v4().to_string(), None, DataFileFormat::Parquet),
    );
    let key = PartitionKey::new(
        metadata.default_partition_spec().as_ref().clone(),
        Arc::clone(&schema),
        Struct::from_iter([Some(Literal::date(DATE))]),
    );
    let mut writer = DataFileWriterBuilder::new(rolling).build(Some(key)).await.unwrap();
    let arrow = Arc::new(schema_to_arrow_schema(&schema).unwrap());
    let arrays = arrow.fields().iter().map(|field| -> arrow_array::ArrayRef {
        match field.name().as_str() {
            "ingestion_date" => Arc::new(Date32Array::from(vec![DATE; rows.len()])),
            "topic_incarnation" => Arc::new(Int32Array::from(vec![0; rows.len()])),
            "kafka_partition" => Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.0))),
            "kafka_offset" => Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1))),
            "symbol" => Arc::new(StringArray::from_iter_values(
                rows.iter().map(|row| format!("S{}", row.1 % 7)),
            )),
            _ => arrow_array::new_null_array(field.data_type(), rows.len()),
        }
    });
    let batch = RecordBatch::try_new(Arc::clone(&arrow), arrays.collect()).unwrap();
    writer.write(batch).await.unwrap();
    writer.close().await.unwrap()
}

/// Live data files of the current snapshot with their record counts, read from the files and not from any cache.
pub async fn live_files(lake: &Lake, table: &LoadedTable) -> Vec<(String, u64)> {
    let Some(snapshot) = table.metadata().current_snapshot() else {
        return Vec::new();
    };
    let list = read(lake, table, snapshot.manifest_list()).await;
    let list = iceberg::spec::ManifestList::parse_with_version(&list, table.metadata().format_version()).unwrap();
    let mut files = Vec::new();
    for manifest in list.entries() {
        let manifest = manifest.load_manifest(lake.file_io()).await.unwrap();
        let alive = manifest.entries().iter().filter(|entry| entry.is_alive());
        files.extend(alive.map(|entry| (entry.file_path().to_owned(), entry.record_count())));
    }
    files
}

/// What a swap of `base` requires, where the catalog checks it.
pub fn requirements(base: &LoadedTable) -> Vec<TableRequirement> {
    vec![TableRequirement::RefSnapshotIdMatch {
        r#ref: iceberg::spec::MAIN_BRANCH.to_owned(),
        snapshot_id: base.metadata().current_snapshot_id(),
    }]
}

/// A whole file of `table`.
pub async fn read(lake: &Lake, table: &LoadedTable, location: &str) -> bytes::Bytes {
    let input = lake.io_of(table).new_input(location).unwrap();
    input.read().await.unwrap()
}

/// A swap of `base` that changes nothing but the location.
pub fn swap_of<'a>(
    rig: &'a Rig,
    base: &'a LoadedTable,
    new_location: &'a str,
    requirements: &'a [TableRequirement],
) -> Swap<'a> {
    Swap {
        table: &rig.ident,
        base_location: base.metadata_location(),
        new_location: Some(new_location),
        metadata: base.metadata(),
        updates: &[],
        requirements,
    }
}

/// Makes `built` the table's metadata, as another engine would: no snapshot, no check.
pub async fn swap_metadata(rig: &Rig, base: &LoadedTable, built: iceberg::spec::TableMetadataBuildResult) {
    let version = base.metadata().metadata_log().len() + 1;
    let location = format!(
        "{}/metadata/{version:05}-{}.metadata.json",
        base.metadata().location(),
        Uuid::new_v4()
    );
    if !rig.catalog().await.writes_metadata() {
        let json = serde_json::to_vec(&built.metadata).unwrap();
        let output = rig.lake.file_io().new_output(&location).unwrap();
        output.write(json.into()).await.unwrap();
    }
    let swap = Swap {
        metadata: &built.metadata,
        updates: &built.changes,
        ..swap_of(rig, base, &location, &[])
    };
    rig.catalog().await.swap(&swap).await.unwrap();
}

/// The table's metadata folder.
pub fn metadata_files(table: &LoadedTable, ending: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(path_of(table.metadata().location()).join("metadata"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with(ending))
        .collect();
    files.sort();
    files
}

/// A Python with PyIceberg and DuckDB; `None` (said on stderr) where it cannot be had.
pub fn python() -> Option<PathBuf> {
    let made = run(script("venv.sh")).and_then(|output| output.expect(&[0]));
    unless_missing(made.as_ref()).map(|output| PathBuf::from(output.stdout.trim()))
}

/// Runs `readers.py` with `arguments` and returns what it prints, parsed as JSON.
pub fn run_readers(python: &Path, arguments: &[&str]) -> serde_json::Value {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lake/readers.py");
    let mut command = Command::new(python);
    command.arg(program).args(arguments);
    if arguments.iter().any(|argument| argument.starts_with("s3://")) {
        command
            .env("S3_ENDPOINT", s3().unwrap().address())
            .env("S3_ACCESS_KEY_ID", "tapehouse-test")
            .env("S3_SECRET_ACCESS_KEY", "tapehouse-test-secret");
    }
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "readers.py {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}
