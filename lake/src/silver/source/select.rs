//! Which live data files may hold wanted rows, and the deletes that apply to them.

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::io::FileIO;
use iceberg::metadata_columns::RESERVED_FIELD_ID_DELETE_FILE_PATH;
use iceberg::spec::{
    DataContentType, DataFile, DataFileFormat, Manifest, ManifestContentType, ManifestEntry, ManifestFile,
    PrimitiveLiteral, Schema,
};
use tapehouse_core::state::{STATE_PROPERTY, StreamState};

use super::bounds::Bounds;
use super::error::SourceError;
use super::extents::extents_of;
use super::wanted::Wanted;
use crate::commit::referenced_data_file;
use crate::days::partition_date;
use crate::lake::Lake;
use crate::live_rows::LiveFile;
use crate::table::LoadedTable;

/// A data file that may hold wanted rows.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub file: Arc<ManifestEntry>,
    /// Position deletes that may name rows of it.
    pub deletes: Vec<Arc<ManifestEntry>>,
}

impl Candidate {
    /// What the manifests say of these deletes.
    pub fn delete_files(&self) -> Vec<DataFile> {
        self.deletes.iter().map(|entry| entry.data_file().clone()).collect()
    }
}

/// What is to be read.
#[derive(Debug, Default)]
pub(super) struct Selection {
    /// In ascending order of data sequence numbers.
    pub candidates: Vec<Candidate>,
    /// Live data files of the table.
    pub files_live: u64,
    /// Those of them whose coordinates were read to choose.
    pub files_looked_into: u64,
}

/// So many files whose coordinates are not known are read without a look at these first.
const FILES_WITHOUT_LOOK: usize = 8;

/// Chooses the files of the current snapshot of `table` that may hold rows of `wanted`.
pub(super) async fn select(
    lake: &Lake,
    io: &FileIO,
    table: &LoadedTable,
    wanted: &Wanted,
) -> Result<Selection, SourceError> {
    let mut selection = Selection::default();
    let seen = newest_before(table, wanted);
    let schema = table.metadata().current_schema();
    let manifests = table.manifests(io).await?;
    for manifest in of_content(&manifests, ManifestContentType::Data) {
        selection.files_live += live_files(manifest);
        if is_behind(Some(manifest.sequence_number), seen) || wanted.is_empty() {
            continue;
        }
        for entry in live(&*lake.manifest(io, manifest).await?) {
            let may_hold =
                !is_behind(entry.sequence_number(), seen) && wanted.meets(&Bounds::of_file(entry.data_file(), schema));
            if may_hold {
                selection.candidates.push(Candidate {
                    file: Arc::clone(entry),
                    deletes: Vec::new(),
                });
            }
        }
    }
    let known = lake.extents_cache();
    selection.candidates.retain(|candidate| {
        let extents = known.get(candidate.file.file_path());
        extents.is_none_or(|extents| wanted.meets_extents(&extents))
    });
    if selection.candidates.len() > FILES_WITHOUT_LOOK {
        selection.look_into(lake, io, schema, wanted).await?;
    }
    let order = |candidate: &Candidate| (candidate.file.sequence_number(), candidate.file.file_path().to_owned());
    selection.candidates.sort_by_cached_key(order);
    assign_deletes(lake, io, table, seen, &mut selection.candidates).await?;
    Ok(selection)
}

/// The live files of one day of `table`, which is partitioned by a date, in ascending order of data sequence numbers.
pub(crate) async fn of_day(
    lake: &Lake,
    io: &FileIO,
    table: &LoadedTable,
    date: i32,
) -> Result<Vec<LiveFile>, SourceError> {
    let manifests = table.manifests(io).await?;
    let mut candidates = Vec::new();
    for manifest in of_content(&manifests, ManifestContentType::Data) {
        let loaded = lake.manifest(io, manifest).await?;
        let of_day = live(&loaded).filter(|entry| partition_date(entry.data_file()) == Some(date));
        candidates.extend(of_day.map(|entry| Candidate {
            file: Arc::clone(entry),
            deletes: Vec::new(),
        }));
    }
    candidates.sort_by_cached_key(|candidate| {
        let file = &candidate.file;
        (file.sequence_number(), file.file_path().to_owned())
    });
    assign_deletes(lake, io, table, None, &mut candidates).await?;
    let live = candidates.iter().map(|candidate| LiveFile {
        file: candidate.file.data_file().clone(),
        deletes: candidate.delete_files(),
    });
    Ok(live.collect())
}

/// Notes with each candidate the deletes that apply to it. What is not newer than `seen` applies to none of them.
async fn assign_deletes(
    lake: &Lake,
    io: &FileIO,
    table: &LoadedTable,
    seen: Option<i64>,
    candidates: &mut [Candidate],
) -> Result<(), SourceError> {
    let mut deletes = Deletes {
        table,
        places: places(candidates),
        candidates,
    };
    for manifest in of_content(&table.manifests(io).await?, ManifestContentType::Deletes) {
        // Deletes apply to files of their own sequence number and lower ones.
        if is_behind(Some(manifest.sequence_number), seen) || deletes.candidates.is_empty() {
            continue;
        }
        for entry in live(&*lake.manifest(io, manifest).await?) {
            deletes.assign(entry)?;
        }
    }
    Ok(())
}

/// Where each candidate is, by its location.
fn places(candidates: &[Candidate]) -> HashMap<String, usize> {
    let places = candidates.iter().enumerate();
    places
        .map(|(place, candidate)| (candidate.file.file_path().to_owned(), place))
        .collect()
}

impl Selection {
    /// Drops what its coordinates tell not to be wanted.
    async fn look_into(
        &mut self,
        lake: &Lake,
        io: &FileIO,
        schema: &Schema,
        wanted: &Wanted,
    ) -> Result<(), SourceError> {
        let files: Vec<_> = self
            .candidates
            .iter()
            .map(|candidate| Arc::clone(&candidate.file))
            .collect();
        let (extents, looked_into) = extents_of(lake, io, schema, &files).await?;
        let mut extents = extents.iter();
        self.candidates
            .retain(|_| extents.next().is_none_or(|extents| wanted.meets_extents(extents)));
        self.files_looked_into = looked_into;
        Ok(())
    }
}

/// The sequence number of the newest snapshot of the current history that had none of the wanted rows.
fn newest_before(table: &LoadedTable, wanted: &Wanted) -> Option<i64> {
    let proves = |text: &String| StreamState::from_json(text).is_ok_and(|state| wanted.is_newer_than(&state));
    let mut history = table.ancestry();
    let snapshot = history.find(|snapshot| {
        let state = snapshot.summary().additional_properties.get(STATE_PROPERTY);
        state.is_some_and(proves)
    });
    snapshot.map(|snapshot| snapshot.sequence_number())
}

/// Whether what has this sequence number was in the table already when it was at `seen`.
fn is_behind(sequence_number: Option<i64>, seen: Option<i64>) -> bool {
    sequence_number
        .zip(seen)
        .is_some_and(|(sequence_number, seen)| sequence_number <= seen)
}

pub(super) fn of_content(
    manifests: &[ManifestFile],
    content: ManifestContentType,
) -> impl Iterator<Item = &ManifestFile> {
    manifests.iter().filter(move |manifest| manifest.content == content)
}

pub(super) fn live(manifest: &Manifest) -> impl Iterator<Item = &Arc<ManifestEntry>> {
    manifest.entries().iter().filter(|entry| entry.is_alive())
}

/// Live files of a manifest, as the manifest list says.
fn live_files(manifest: &ManifestFile) -> u64 {
    let counts = [manifest.added_files_count, manifest.existing_files_count];
    counts.into_iter().flatten().map(u64::from).sum()
}

struct Deletes<'a> {
    table: &'a LoadedTable,
    places: HashMap<String, usize>,
    candidates: &'a mut [Candidate],
}

impl Deletes<'_> {
    /// Notes a delete file with the candidates that it may be for.
    fn assign(&mut self, entry: &Arc<ManifestEntry>) -> Result<(), SourceError> {
        let file = entry.data_file();
        let unread = |kind| {
            Err(SourceError::Deletes {
                table: self.table.ident().clone(),
                kind,
                path: file.file_path().to_owned(),
            })
        };
        if file.content_type() == DataContentType::EqualityDeletes {
            // They apply to older files only, of their partition; which one is not looked at.
            let applies = |candidate: &Candidate| candidate.file.sequence_number() < entry.sequence_number();
            return match self.candidates.iter().any(applies) {
                true => unread("equality delete file"),
                false => Ok(()),
            };
        }
        let targets: Vec<usize> = match referenced_data_file(file) {
            Some(path) => self.places.get(&path).copied().into_iter().collect(),
            None => self
                .places
                .iter()
                .filter(|(path, _)| admits(file, path))
                .map(|(_, place)| *place)
                .collect(),
        };
        for place in targets {
            let candidate = &mut self.candidates[place];
            if entry.sequence_number() < candidate.file.sequence_number() {
                continue;
            }
            if file.file_format() != DataFileFormat::Parquet {
                return unread("delete file of another format than Parquet");
            }
            candidate.deletes.push(Arc::clone(entry));
        }
        Ok(())
    }
}

/// Whether the bounds of a delete file for any number of data files admit the one at `path`.
fn admits(deletes: &DataFile, path: &str) -> bool {
    let bound = |bounds: &HashMap<i32, iceberg::spec::Datum>| match bounds
        .get(&RESERVED_FIELD_ID_DELETE_FILE_PATH)?
        .literal()
    {
        PrimitiveLiteral::String(bound) => Some(bound.clone()),
        _ => None,
    };
    bound(deletes.lower_bounds()).is_none_or(|lower| lower.as_str() <= path)
        && bound(deletes.upper_bounds()).is_none_or(|upper| path <= upper.as_str())
}
