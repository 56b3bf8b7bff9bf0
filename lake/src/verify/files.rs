//! I3: no data file is referenced twice.

use std::collections::BTreeMap;

use iceberg::spec::ManifestContentType;

use super::Violation;
use crate::error::LakeError;
use crate::lake::Lake;
use crate::table::{LoadedTable, read_manifest};

/// A live data file.
#[derive(Clone, Debug)]
pub(super) struct LiveFile {
    pub location: String,
    pub record_count: u64,
    /// As its manifest says.
    pub size_bytes: u64,
}

/// The live data files of the current snapshot, and what is wrong with the list of them.
pub(super) async fn live_data_files(
    lake: &Lake,
    table: &LoadedTable,
) -> Result<(Vec<LiveFile>, Vec<Violation>), LakeError> {
    let io = lake.io_of(table);
    let mut violations = Vec::new();
    let mut files: BTreeMap<String, LiveFile> = BTreeMap::new();
    let mut records = 0;
    for manifest in table.manifests(&io).await?.iter() {
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
        let loaded = read_manifest(&io, manifest).await?;
        for entry in loaded.entries().iter().filter(|entry| entry.is_alive()) {
            records += entry.record_count();
            let file = LiveFile {
                location: entry.file_path().to_owned(),
                record_count: entry.record_count(),
                size_bytes: entry.file_size_in_bytes(),
            };
            if files.insert(file.location.clone(), file).is_some() {
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
    Ok((files.into_values().collect(), violations))
}
