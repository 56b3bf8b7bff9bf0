//! I3: no data file is referenced twice.

use std::collections::BTreeMap;

use iceberg::spec::ManifestContentType;

use super::Violation;
use crate::error::LakeError;
use crate::lake::Lake;
use crate::table::LoadedTable;

/// A live data file.
#[derive(Clone, Debug)]
pub(super) struct LiveFile {
    pub location: String,
    pub record_count: u64,
}

/// The live data files of the current snapshot, and what is wrong with the list of them.
pub(super) async fn live_data_files(
    lake: &Lake,
    table: &LoadedTable,
) -> Result<(Vec<LiveFile>, Vec<Violation>), LakeError> {
    let mut violations = Vec::new();
    let mut files: BTreeMap<String, u64> = BTreeMap::new();
    let mut records = 0;
    for manifest in table.manifests(lake.file_io()).await?.iter() {
        if manifest.content == ManifestContentType::Deletes {
            if manifest.has_added_files() || manifest.has_existing_files() {
                violations.push(Violation {
                    invariant: "I1",
                    message: format!(
                        "bronze is append-only, but manifest {} holds deletes",
                        manifest.manifest_path
                    ),
                });
            }
            continue;
        }
        let loaded = manifest
            .load_manifest(lake.file_io())
            .await
            .map_err(LakeError::iceberg(format!(
                "reading manifest {}",
                manifest.manifest_path
            )))?;
        for entry in loaded.entries().iter().filter(|entry| entry.is_alive()) {
            records += entry.record_count();
            if files
                .insert(entry.file_path().to_owned(), entry.record_count())
                .is_some()
            {
                violations.push(Violation {
                    invariant: "I3",
                    message: format!("data file {} is referenced twice", entry.file_path()),
                });
            }
        }
    }
    let total = table.summary().rows;
    if total.is_some_and(|total| total != records) {
        violations.push(Violation {
            invariant: "I3",
            message: format!("the manifests list {records} records, the snapshot's summary says {total:?}"),
        });
    }
    let files = files
        .into_iter()
        .map(|(location, record_count)| LiveFile { location, record_count });
    Ok((files.collect(), violations))
}
