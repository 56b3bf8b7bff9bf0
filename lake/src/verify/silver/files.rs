//! I3 of a silver table: no file is listed twice, each data file has one delete file at most, and deletes are for files that are live.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use iceberg::spec::{DataContentType, Literal, PrimitiveLiteral};

use crate::commit::referenced_data_file;
use crate::error::LakeError;
use crate::lake::Lake;
use crate::live_rows::LiveFile;
use crate::table::{LoadedTable, read_manifest};
use crate::verify::Violation;

/// Violations listed at most.
const MAX_LISTED: usize = 100;

/// The live files of one snapshot.
#[derive(Default)]
pub(in crate::verify) struct Files {
    /// Data files with their deletes, by location.
    pub live: Vec<LiveFile>,
    /// Delete files.
    pub delete_files: u64,
    pub violations: Vec<Violation>,
}

impl Files {
    /// Live rows, as the manifests count them.
    pub fn rows(&self) -> u64 {
        self.live.iter().map(rows_of).sum()
    }

    fn violated(&mut self, message: String) {
        if self.violations.len() < MAX_LISTED {
            self.violations.push(Violation {
                invariant: "I3",
                message,
            });
        }
    }
}

/// Live rows of a file, as the manifests count them.
pub(super) fn rows_of(live: &LiveFile) -> u64 {
    let deleted: u64 = live.deletes.iter().map(|deletes| deletes.record_count()).sum();
    live.file.record_count().saturating_sub(deleted)
}

/// The date that a data file is listed under, in days since 1970-01-01.
pub(super) fn date_of(live: &LiveFile) -> Option<i32> {
    match live.file.partition().fields().first()? {
        Some(Literal::Primitive(PrimitiveLiteral::Int(date))) => Some(*date),
        _ => None,
    }
}

/// Reads all manifests of the current snapshot.
pub(in crate::verify) async fn live_files(lake: &Lake, table: &LoadedTable) -> Result<Files, LakeError> {
    let io = lake.io_of(table);
    let mut files = Files::default();
    let mut data = BTreeMap::new();
    let mut deletes = HashMap::<String, Vec<_>>::new();
    let mut delete_paths = BTreeSet::new();
    for manifest in table.manifests(&io).await?.iter() {
        let loaded = read_manifest(&io, manifest).await?;
        for entry in loaded.entries().iter().filter(|entry| entry.is_alive()) {
            let (path, file) = (entry.file_path().to_owned(), entry.data_file().clone());
            match (entry.content_type(), referenced_data_file(&file)) {
                (DataContentType::Data, _) => {
                    if data.insert(path.clone(), file).is_some() {
                        files.violated(format!("data file {path} is referenced twice"));
                    }
                }
                (DataContentType::PositionDeletes, Some(data_file)) => {
                    if !delete_paths.insert(path.clone()) {
                        files.violated(format!("delete file {path} is referenced twice"));
                    }
                    deletes.entry(data_file).or_default().push(file);
                }
                _ => files.violated(format!(
                    "delete file {path} is not for one data file alone: another engine wrote it"
                )),
            }
        }
    }
    for (data_file, of_file) in &deletes {
        files.delete_files += of_file.len() as u64;
        if !data.contains_key(data_file) {
            files.violated(format!("deletes are for data file {data_file}, which is not live"));
        } else if of_file.len() > 1 {
            files.violated(format!("data file {data_file} has {} delete files", of_file.len()));
        }
    }
    files.live = data
        .into_iter()
        .map(|(path, file)| LiveFile {
            deletes: deletes.remove(&path).unwrap_or_default(),
            file,
        })
        .collect();
    let (counted, total) = (files.rows(), table.live_rows());
    if total != Some(counted) {
        files.violated(format!(
            "the manifests list {counted} live rows, the snapshot's summary says {total:?}"
        ));
    }
    Ok(files)
}
