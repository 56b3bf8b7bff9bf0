//! Iceberg for Tapehouse: schemas, commit layer, catalogs, data files, verification.

pub mod bronze;
pub mod catalog;
pub mod commit;
pub mod compaction;
pub mod days;
pub mod derived;
mod error;
mod fault;
mod file_figures;
pub mod files;
pub mod find;
pub mod gold;
mod http_clock;
pub mod index;
pub mod inspect;
mod lake;
mod live_rows;
mod name;
mod probe;
mod ranged;
pub mod silver;
pub mod storage;
pub mod table;
pub mod verify;

pub use catalog::{CatalogSettings, RestSettings};
pub use commit::{
    AppendOutcome, CommitPolicy, DecidedOn, Mismatch, Retention, StagedAppend, StateChange, StateChangeKind,
    WantedColumn,
};
pub use error::{CommitError, LakeError};
pub use fault::StorageFault;
pub use file_figures::{FileFigures, FileSizes, PartitionFigures};
pub use iceberg::spec::SnapshotRef;
pub use lake::{Lake, LakeSettings, NewTable};
pub use live_rows::LiveRows;
pub use name::{InvalidTableName, TableName};
pub use probe::probe_warehouse;
pub use storage::{S3Credentials, S3Settings, Warehouse};
pub use table::{LoadedTable, StateError};
