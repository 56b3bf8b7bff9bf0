//! Deletes, off the commit's path, what no retained snapshot needs any more: data and delete files that only dropped snapshots had,
//! their manifest lists, manifests that only they listed, superseded metadata files. It also names the new version in the hint.
//!
//! Data files go first: a crash in between leaves manifests that nothing names. Which they are, and when none may go: [`dead_files`].
//! A manifest is deleted only if no manifest list of any retained snapshot names it, whatever the history looks like. What
//! each list names is noted when it is committed (lists of before are read once) as hashes of paths. Two paths with one hash
//! keep a file too long, no more.
//! What is missed (a crash, a full queue, an unreadable list) stays for the removal of orphan files.

mod dead_files;
mod known;

use std::collections::HashSet;

use iceberg::io::FileIO;
use iceberg::spec::SnapshotRef;
use tapehouse_core::failpoint;
use tokio::sync::{mpsc, oneshot};

use super::hint;
use crate::error::LakeError;
use crate::storage::Warehouse;
use crate::table::LoadedTable;
use known::KnownManifests;

/// Jobs waiting at most; a job that finds the queue full is dropped.
const MAX_JOBS: usize = 256;

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

async fn clean(io: &FileIO, known: &mut KnownManifests, mut job: CleanupJob) -> Result<(), LakeError> {
    if let Some(current) = job.table.metadata().current_snapshot() {
        // Kept in memory by the commit: noting it now saves reading it when it is dropped.
        known.of(io, &job.table, current).await?;
    }
    let mut doomed = std::mem::take(&mut job.superseded_metadata);
    if !job.expired.is_empty() {
        delete_data(io, known, &job).await?;
        failpoint::reach("after_data_deletion");
        doomed.extend(unlisted(io, known, &job).await?);
    }
    let table = &job.table;
    let own_folder = format!("{}/metadata/", table.metadata().location());
    // Metadata may name files elsewhere (a table registered from another place); those are not ours to delete.
    doomed.retain(|path| path.starts_with(&own_folder) && path != table.metadata_location());
    delete(io, doomed).await
}

/// Deletes the data and delete files that only dropped snapshots had.
async fn delete_data(io: &FileIO, known: &mut KnownManifests, job: &CleanupJob) -> Result<(), LakeError> {
    let table = job.table.ident();
    let dead = match dead_files::find(io, known, job).await {
        Ok(dead) => dead,
        Err(error) => {
            tracing::warn!(%error, %table, "data files of dropped snapshots are left for orphan removal");
            return Ok(());
        }
    };
    if !dead.is_empty() {
        tracing::debug!(%table, files = dead.len(), snapshots = job.expired.len(), "deleting data files of dropped snapshots");
        delete(io, dead).await?;
    }
    Ok(())
}

/// Manifest lists of dropped snapshots, and the manifests that only they listed.
async fn unlisted(io: &FileIO, known: &mut KnownManifests, job: &CleanupJob) -> Result<Vec<String>, LakeError> {
    let table = &job.table;
    let mut reachable: HashSet<u64> = HashSet::new();
    for snapshot in table.metadata().snapshots() {
        reachable.extend(known.of(io, table, snapshot).await?.iter());
    }
    let mut doomed = Vec::new();
    for snapshot in &job.expired {
        // A list that is already gone was deleted by somebody else; so were its manifests, or they are orphans.
        let Ok(manifests) = known.of(io, table, snapshot).await else {
            continue;
        };
        let unreachable = manifests.iter().filter(|manifest| !reachable.contains(manifest));
        doomed.extend(unreachable.filter_map(|manifest| known.forget(*manifest)));
        doomed.push(snapshot.manifest_list().to_owned());
        known.forget_list(snapshot);
    }
    Ok(doomed)
}

async fn delete(io: &FileIO, doomed: Vec<String>) -> Result<(), LakeError> {
    io.delete_stream(futures::stream::iter(doomed))
        .await
        .map_err(LakeError::iceberg("deleting superseded files"))
}
