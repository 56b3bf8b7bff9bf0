//! Data files and delete files that only dropped snapshots had.
//!
//! As long as the history is one line ([`lineage`]), a file lives from the snapshot that adds it to the one that removes it. So what a dropped
//! snapshot had is needed by no newer snapshot if the next newer one that is retained does not have it, and by no older one if it was
//! added after the next older one that is retained. Of snapshots of before the latest break, nothing is deleted.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use iceberg::io::FileIO;
use iceberg::spec::{Operation, SnapshotRef};
use tapehouse_core::state::STATE_PROPERTY;

use super::CleanupJob;
use super::known::KnownManifests;
use crate::commit::lineage;
use crate::error::LakeError;
use crate::table::{LoadedTable, read_manifest};

/// Iceberg's table property that forbids deleting files.
const GC_ENABLED: &str = "gc.enabled";

/// A live file of a manifest.
struct Live {
    path: String,
    /// Sequence number of the snapshot that added it, where the manifest says so.
    added_at: Option<i64>,
}

/// Dropped snapshots between two retained ones.
struct Run<'a> {
    dropped: Vec<&'a SnapshotRef>,
    /// Sequence number of the retained snapshot before them; 0 = none.
    after: i64,
    /// The retained snapshot behind them.
    next: &'a SnapshotRef,
}

/// Locations of the files to delete. Where anything is in doubt, a file is not among them and stays for orphan removal.
///
/// # Errors
/// When a manifest or a list of them cannot be read: then none may be deleted.
pub(super) async fn find(io: &FileIO, known: &mut KnownManifests, job: &CleanupJob) -> Result<Vec<String>, LakeError> {
    let table = &job.table;
    if !may_delete(table) {
        return Ok(Vec::new());
    }
    let mut reading = Reading {
        io,
        table,
        known,
        read: HashMap::new(),
    };
    let folder = format!("{}/data/", table.metadata().location());
    let mut dead = Vec::new();
    for run in runs(job) {
        let found = reading.dead_in(&run).await?;
        dead.extend(found.into_iter().filter(|path| lies_in(path, &folder)));
    }
    dead.sort_unstable();
    dead.dedup();
    Ok(dead)
}

/// Whether the files are Tapehouse's to delete.
fn may_delete(table: &LoadedTable) -> bool {
    let properties = table.metadata().properties();
    let is_ours = properties.contains_key(STATE_PROPERTY);
    let is_forbidden = properties.get(GC_ENABLED).is_some_and(|value| value == "false");
    // What another branch has is not looked at.
    let is_one_branch = table.refs().iter().filter(|(_, named)| named.is_branch()).count() <= 1;
    is_ours && !is_forbidden && is_one_branch
}

fn lies_in(path: &str, folder: &str) -> bool {
    let name = path.strip_prefix(folder);
    name.is_some_and(|name| name.split('/').all(|part| !matches!(part, "" | "." | "..")))
}

/// The dropped snapshots whose files may be deleted, by the retained one behind them.
fn runs(job: &CleanupJob) -> Vec<Run<'_>> {
    let retained: BTreeMap<i64, &SnapshotRef> = by_number(job.table.metadata().snapshots());
    let dropped = by_number(job.expired.iter());
    let mut all: Vec<&SnapshotRef> = retained.values().chain(dropped.values()).copied().collect();
    all.sort_by_key(|snapshot| snapshot.sequence_number());
    let found = lineage::forked_at(&all).into_iter();
    let forked_at = found.chain(lineage::noted(&job.table)).max().unwrap_or(0);
    let mut runs: BTreeMap<i64, Run<'_>> = BTreeMap::new();
    for (number, snapshot) in dropped {
        let Some((next_number, next)) = retained.range(number..).next() else {
            continue;
        };
        if number < forked_at {
            tracing::debug!(table = %job.table.ident(), snapshot = snapshot.snapshot_id(), forked_at,
                "the table was rolled back or branched after this snapshot: its data files are left for orphan removal");
            continue;
        }
        let run = runs.entry(*next_number).or_insert_with(|| Run {
            dropped: Vec::new(),
            after: retained.range(..number).next_back().map_or(0, |(number, _)| *number),
            next,
        });
        run.dropped.push(snapshot);
    }
    // Before anything of a run is dropped it may have had snapshots that are gone, and then what these removed is not known.
    runs.into_values().filter(|run| run.removes_files()).collect()
}

fn by_number<'a>(snapshots: impl Iterator<Item = &'a SnapshotRef>) -> BTreeMap<i64, &'a SnapshotRef> {
    snapshots
        .map(|snapshot| (snapshot.sequence_number(), snapshot))
        .collect()
}

impl Run<'_> {
    /// Whether any file may have been removed between the first of the run and its end. Not where all of these snapshots are here and
    /// only append: then no manifest needs to be read.
    fn removes_files(&self) -> bool {
        let mut line = self.dropped.iter().copied().chain([self.next]);
        let Some(first) = line.next() else { return false };
        let mut number = first.sequence_number();
        let only_appends = line.all(|snapshot| {
            number += 1;
            snapshot.sequence_number() == number && snapshot.summary().operation == Operation::Append
        });
        !only_appends
    }
}

/// Reads manifests, each once.
struct Reading<'a> {
    io: &'a FileIO,
    table: &'a LoadedTable,
    known: &'a mut KnownManifests,
    read: HashMap<u64, Arc<[Live]>>,
}

impl Reading<'_> {
    async fn dead_in(&mut self, run: &Run<'_>) -> Result<Vec<String>, LakeError> {
        let next = self.known.of(self.io, self.table, run.next).await?;
        let next: HashSet<u64> = next.iter().copied().collect();
        let (mut before, mut shared_by_all) = (HashSet::new(), next.clone());
        for snapshot in &run.dropped {
            let list = self.known.of(self.io, self.table, snapshot).await?;
            shared_by_all.retain(|manifest| list.contains(manifest));
            before.extend(list.iter().copied().filter(|manifest| !next.contains(manifest)));
        }
        let mut dead: HashSet<String> = HashSet::new();
        for manifest in before {
            let files = self.live(manifest).await?;
            // What was there before the run is in the snapshot before it too.
            let added = files
                .iter()
                .filter(|file| file.added_at.is_some_and(|at| at > run.after));
            dead.extend(added.map(|file| file.path.clone()));
        }
        // A file of a manifest that all of them list is in no other manifest of theirs.
        for manifest in next.difference(&shared_by_all) {
            if dead.is_empty() {
                break;
            }
            for file in self.live(*manifest).await?.iter() {
                dead.remove(&file.path);
            }
        }
        Ok(dead.into_iter().collect())
    }

    async fn live(&mut self, manifest: u64) -> Result<Arc<[Live]>, LakeError> {
        if let Some(read) = self.read.get(&manifest) {
            return Ok(Arc::clone(read));
        }
        let forgotten = || LakeError::Unusable {
            table: self.table.ident().clone(),
            reason: "more manifests are retained than are remembered".to_owned(),
        };
        let file = self.known.manifest(manifest).ok_or_else(forgotten)?;
        let loaded = read_manifest(self.io, file).await?;
        let live = loaded.entries().iter().filter(|entry| entry.is_alive());
        let live = live.map(|entry| Live {
            path: entry.file_path().to_owned(),
            added_at: entry.file_sequence_number,
        });
        let live: Arc<[Live]> = live.collect();
        self.read.insert(manifest, Arc::clone(&live));
        Ok(live)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_below_the_folder_is_ours() {
        let folder = "file:///w/t/data/";
        assert!(lies_in("file:///w/t/data/day=1/a.parquet", folder));
        for path in [
            "file:///w/t/metadata/a.avro",
            "file:///w/t/data/../metadata/a.avro",
            "file:///w/t/data/",
            "file:///w/t/data//a",
            "file:///w/t/data-2/a",
            "/w/t/data/a.parquet",
        ] {
            assert!(!lies_in(path, folder), "{path}");
        }
    }
}
