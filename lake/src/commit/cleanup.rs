//! Deletes, off the commit's path, what no retained snapshot needs any more: manifest lists of dropped snapshots, manifests
//! that only they listed, superseded metadata files. Never data files. It also names the new version in the hint.
//!
//! A manifest is deleted only if no manifest list of any retained snapshot names it, whatever the history looks like. What
//! each list names is noted when it is committed (lists of before are read once) as hashes of paths. Two paths with one hash
//! keep a file too long, no more.
//! What is missed (a crash, a full queue, an unreadable list) stays for the removal of orphan files.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use iceberg::io::FileIO;
use iceberg::spec::SnapshotRef;
use tokio::sync::{mpsc, oneshot};

use super::hint;
use crate::error::LakeError;
use crate::storage::Warehouse;
use crate::table::{LoadedTable, read_manifest_list};

/// Jobs waiting at most; a job that finds the queue full is dropped.
const MAX_JOBS: usize = 256;
/// Manifest lists remembered at most, over all tables.
const MAX_LISTS: usize = 8192;

/// What one commit left behind.
#[derive(Debug)]
pub(crate) struct CleanupJob {
    /// The table as committed.
    pub table: LoadedTable,
    /// Snapshots that the commit dropped.
    pub expired: Vec<SnapshotRef>,
    /// Metadata files that fell out of the metadata log.
    pub superseded_metadata: Vec<String>,
}

enum Message {
    Job(CleanupJob),
    Settle(oneshot::Sender<()>),
}

/// Handle on the task that deletes. The task ends when the last handle is dropped and its queue is empty.
#[derive(Debug)]
pub(crate) struct Cleaner {
    jobs: mpsc::Sender<Message>,
}

impl Cleaner {
    pub(crate) fn start(warehouse: Warehouse) -> Self {
        let (jobs, queue) = mpsc::channel(MAX_JOBS);
        tokio::spawn(run(warehouse, queue));
        Self { jobs }
    }

    pub(crate) fn submit(&self, job: CleanupJob) {
        if let Err(error) = self.jobs.try_send(Message::Job(job)) {
            tracing::warn!(%error, "superseded files are left for orphan removal");
        }
    }

    pub(crate) async fn settle(&self) {
        let (done, settled) = oneshot::channel();
        if self.jobs.send(Message::Settle(done)).await.is_ok() {
            let _ = settled.await;
        }
    }
}

async fn run(warehouse: Warehouse, mut queue: mpsc::Receiver<Message>) {
    let mut known = KnownManifests::default();
    while let Some(message) = queue.recv().await {
        match message {
            Message::Job(job) => {
                let table = job.table.ident().clone();
                hint::write(&warehouse, job.table.metadata_location()).await;
                let io = warehouse.io_below(job.table.metadata().location());
                if let Err(error) = clean(&io, &mut known, job).await {
                    tracing::warn!(%error, %table, "superseded files are left for orphan removal");
                }
            }
            Message::Settle(done) => {
                let _ = done.send(());
            }
        }
    }
}

async fn clean(io: &FileIO, known: &mut KnownManifests, job: CleanupJob) -> Result<(), LakeError> {
    let table = &job.table;
    let mut doomed: Vec<String> = job.superseded_metadata;
    if let Some(current) = table.metadata().current_snapshot() {
        // Kept in memory by the commit: noting it now saves reading it when it is dropped.
        known.of(io, table, current).await?;
    }
    if !job.expired.is_empty() {
        let mut reachable: HashSet<u64> = HashSet::new();
        for snapshot in table.metadata().snapshots() {
            reachable.extend(known.of(io, table, snapshot).await?.iter());
        }
        for snapshot in &job.expired {
            // A list that is already gone was deleted by somebody else; so were its manifests, or they are orphans.
            let Ok(manifests) = known.of(io, table, snapshot).await else {
                continue;
            };
            let unreachable = manifests.iter().filter(|manifest| !reachable.contains(manifest));
            doomed.extend(unreachable.filter_map(|manifest| known.paths.remove(manifest)));
            doomed.push(snapshot.manifest_list().to_owned());
            known.lists.remove(snapshot.manifest_list());
        }
    }
    let own_folder = format!("{}/metadata/", table.metadata().location());
    // Metadata may name files elsewhere (a table registered from another place); those are not ours to delete.
    doomed.retain(|path| path.starts_with(&own_folder) && path != table.metadata_location());
    io.delete_stream(futures::stream::iter(doomed))
        .await
        .map_err(LakeError::iceberg("deleting superseded files"))
}

/// Which manifests the retained snapshots list.
#[derive(Default)]
struct KnownManifests {
    /// Hashes of manifest paths, by the location of the list.
    lists: HashMap<String, Arc<[u64]>>,
    /// The paths themselves.
    paths: HashMap<u64, String>,
}

impl KnownManifests {
    async fn of(&mut self, io: &FileIO, table: &LoadedTable, snapshot: &SnapshotRef) -> Result<Arc<[u64]>, LakeError> {
        if let Some(known) = self.lists.get(snapshot.manifest_list()) {
            return Ok(Arc::clone(known));
        }
        let current = table.metadata().current_snapshot_id() == Some(snapshot.snapshot_id());
        let manifests = match current {
            true => table.manifests(io).await?,
            false => read_manifest_list(io, snapshot, table.metadata().format_version()).await?,
        };
        if self.lists.len() >= MAX_LISTS {
            self.lists.clear();
            self.paths.clear();
        }
        let hashes = manifests.iter().map(|manifest| {
            let hash = hash(&manifest.manifest_path);
            self.paths.entry(hash).or_insert_with(|| manifest.manifest_path.clone());
            hash
        });
        let hashes: Arc<[u64]> = hashes.collect();
        self.lists
            .insert(snapshot.manifest_list().to_owned(), Arc::clone(&hashes));
        Ok(hashes)
    }
}

fn hash(path: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}
