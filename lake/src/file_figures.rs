//! The live files of a table in figures: how many there are of each kind, of which sizes, and in which partitions.

use std::collections::BTreeMap;

use iceberg::spec::DataFile;
use serde::Serialize;

use crate::commit::LiveFiles;
use crate::error::LakeError;
use crate::lake::Lake;
use crate::table::LoadedTable;

/// Files of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FileSizes {
    /// Files.
    pub files: u64,
    /// Rows in them; of delete files the rows that they delete.
    pub rows: u64,
    /// Bytes of all.
    pub bytes: u64,
    /// Bytes of the smallest; 0 without files, as the next two.
    pub min_bytes: u64,
    /// Bytes of the file in the middle.
    pub median_bytes: u64,
    /// Bytes of the largest.
    pub max_bytes: u64,
}

impl FileSizes {
    fn of<'a>(files: impl Iterator<Item = &'a DataFile>) -> Self {
        let (mut sizes, mut rows) = (Vec::new(), 0);
        for file in files {
            sizes.push(file.file_size_in_bytes());
            rows += file.record_count();
        }
        sizes.sort_unstable();
        Self {
            files: sizes.len() as u64,
            rows,
            bytes: sizes.iter().sum(),
            min_bytes: sizes.first().copied().unwrap_or(0),
            median_bytes: sizes.get(sizes.len() / 2).copied().unwrap_or(0),
            max_bytes: sizes.last().copied().unwrap_or(0),
        }
    }
}

/// Files of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PartitionFigures {
    /// Column and value, as in paths.
    pub partition: String,
    /// Data files.
    pub files: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Rows that are not deleted by position.
    pub rows: u64,
    /// Files of position deletes.
    pub delete_files: u64,
}

/// The live files of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FileFigures {
    /// Data files.
    pub data: FileSizes,
    /// Position deletes for one data file each.
    pub position_deletes: FileSizes,
    /// Deletes of other kinds: other engines wrote them.
    pub other_deletes: FileSizes,
    /// The partitions, the last one first.
    pub partitions: Vec<PartitionFigures>,
}

impl Lake {
    /// The live files of `table` in figures. Reads all manifests.
    ///
    /// # Errors
    /// When a manifest cannot be read.
    pub async fn file_figures(&self, table: &LoadedTable) -> Result<FileFigures, LakeError> {
        let live = self.live_files(table).await?;
        let data = || live.data_files().map(|(file, _)| file);
        let deletes = || data().flat_map(|file| live.deletes_of(file.file_path()));
        Ok(FileFigures {
            data: FileSizes::of(data()),
            position_deletes: FileSizes::of(deletes()),
            other_deletes: FileSizes::of(live.other_deletes()),
            partitions: partitions(table, &live),
        })
    }
}

fn partitions(table: &LoadedTable, live: &LiveFiles) -> Vec<PartitionFigures> {
    let metadata = table.metadata();
    let (spec, schema) = (metadata.default_partition_spec(), metadata.current_schema());
    // Of columns that are gone there are no names.
    let is_named = spec.partition_type(schema).is_ok();
    let mut all: BTreeMap<String, PartitionFigures> = BTreeMap::new();
    for (file, _) in live.data_files() {
        // Files of an earlier spec have other fields.
        let partition = match is_named && file.partition().fields().len() == spec.fields().len() {
            true => spec.partition_to_path(file.partition(), schema.clone()),
            false => "of another partition spec".to_owned(),
        };
        let of_partition = all.entry(partition).or_default();
        let deletes = || live.deletes_of(file.file_path());
        let deleted: u64 = deletes().map(DataFile::record_count).sum();
        of_partition.files += 1;
        of_partition.bytes += file.file_size_in_bytes();
        of_partition.rows += file.record_count().saturating_sub(deleted);
        of_partition.delete_files += deletes().count() as u64;
    }
    let named = all.into_iter().rev();
    named
        .map(|(partition, figures)| PartitionFigures { partition, ..figures })
        .collect()
}
