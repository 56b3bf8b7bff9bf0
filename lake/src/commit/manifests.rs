//! The manifests of a new snapshot: those of the base, rewritten where files are removed or tiers are full, and new ones.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use iceberg::io::FileIO;
use iceberg::spec::{
    DataContentType, DataFile, Manifest, ManifestContentType, ManifestFile, ManifestWriter, ManifestWriterBuilder,
    PartitionSpec, SchemaRef, SnapshotSummaryCollector,
};
use uuid::Uuid;

use super::{SnapshotChange, tiers};
use crate::error::{CommitError, LakeError};
use crate::lake::Lake;
use crate::table::{LoadedTable, Manifests};

/// What a manifest's sequence number is before the manifest list gives it one.
const UNASSIGNED: i64 = -1;

/// The manifests of the new snapshot.
pub(super) struct ManifestSet {
    /// All of them, newest first.
    pub manifests: Manifests,
    /// What was added and removed, in the words of a snapshot summary.
    pub summary: HashMap<String, String>,
}

/// Writes the manifests that `change` needs on top of `base`.
pub(super) struct ManifestTask {
    pub lake: Lake,
    pub io: FileIO,
    pub base: LoadedTable,
    pub snapshot_id: i64,
    pub change: SnapshotChange,
}

impl ManifestTask {
    /// Runs on a thread for blocking work: merging thousands of entries takes its time, and other tasks should not wait.
    pub(super) async fn run(self) -> Result<(Self, ManifestSet), CommitError> {
        let table = self.base.ident().clone();
        let runtime = tokio::runtime::Handle::current();
        let task = tokio::task::spawn_blocking(move || {
            let set = runtime.block_on(self.build())?;
            Ok((self, set))
        });
        match task.await {
            Ok(result) => result,
            Err(_) => Err(CommitError::fatal(&table)(LakeError::Interrupted("writing manifests"))),
        }
    }

    async fn build(&self) -> Result<ManifestSet, CommitError> {
        let fatal = || CommitError::fatal(self.base.ident());
        let mut builder = Builder {
            task: self,
            attempt: Uuid::new_v4(),
            written: 0,
            summary: SnapshotSummaryCollector::default(),
            touched_deletes: Vec::new(),
        };
        let base = self.base.manifests(&self.io).await.map_err(fatal())?;
        // A manifest that only says what was deleted is of no use to a later snapshot.
        let live = base
            .iter()
            .filter(|manifest| manifest.has_added_files() || manifest.has_existing_files());
        let mut manifests: Vec<ManifestFile> = live.cloned().collect();
        if !self.change.removed.is_empty() {
            manifests = builder.remove_files(manifests).await?;
        }
        let group = tiers::merge_group(&manifests);
        if !group.is_empty() {
            let merged = builder.merge(&manifests, &group).await.map_err(fatal())?;
            // In the place of the newest of them: the list stays in order of age, newest first.
            let place = group.iter().copied().min().unwrap_or_default();
            manifests[place] = merged;
            let mut index = 0;
            manifests.retain(|_| {
                index += 1;
                index - 1 == place || !group.contains(&(index - 1))
            });
        }
        let mut all = builder.add_files().await.map_err(fatal())?;
        all.append(&mut manifests);
        Ok(ManifestSet {
            manifests: Arc::new(all),
            summary: builder.summary.build(),
        })
    }
}

struct Builder<'a> {
    task: &'a ManifestTask,
    attempt: Uuid,
    /// Manifests begun.
    written: usize,
    summary: SnapshotSummaryCollector,
    /// Manifests of deletes with removed entries: what is left of them goes into the manifest of the new deletes. So there are
    /// few of them, although every merge replaces deletes that lie all over the table.
    touched_deletes: Vec<Arc<Manifest>>,
}

impl Builder<'_> {
    fn writer(
        &mut self,
        spec: PartitionSpec,
        schema: SchemaRef,
        content: ManifestContentType,
    ) -> Result<ManifestWriter, LakeError> {
        let folder = self.task.base.metadata().location();
        let location = format!("{folder}/metadata/{}-m{}.avro", self.attempt, self.written);
        let output = self
            .task
            .io
            .new_output(&location)
            .map_err(LakeError::iceberg(format!("creating {location}")))?;
        self.written += 1;
        let builder = ManifestWriterBuilder::new(output, Some(self.task.snapshot_id), schema, spec);
        Ok(match content {
            ManifestContentType::Data => builder.build_v2_data(),
            ManifestContentType::Deletes => builder.build_v2_deletes(),
        })
    }

    /// Writes the manifest and gives it the sequence numbers that the list will give it.
    async fn finish(&self, writer: ManifestWriter) -> Result<ManifestFile, LakeError> {
        let mut manifest = writer
            .write_manifest_file()
            .await
            .map_err(LakeError::iceberg("writing a manifest"))?;
        let sequence_number = self.task.base.metadata().next_sequence_number();
        manifest.sequence_number = sequence_number;
        if manifest.min_sequence_number == UNASSIGNED {
            manifest.min_sequence_number = sequence_number;
        }
        Ok(manifest)
    }

    async fn add_files(&mut self) -> Result<Vec<ManifestFile>, LakeError> {
        let metadata = Arc::clone(self.task.base.metadata());
        let (spec, schema) = (metadata.default_partition_spec(), metadata.current_schema());
        let change = &self.task.change;
        let (data, deletes): (Vec<&DataFile>, Vec<&DataFile>) = change
            .added
            .iter()
            .partition(|file| file.content_type() == DataContentType::Data);
        let mut manifests = Vec::new();
        let sequence_number = change.data_sequence_number.unwrap_or(UNASSIGNED);
        if !data.is_empty() {
            let mut writer = self.writer(spec.as_ref().clone(), Arc::clone(schema), ManifestContentType::Data)?;
            self.add_to(&mut writer, &data, sequence_number)?;
            manifests.push(self.finish(writer).await?);
        }
        let touched = std::mem::take(&mut self.touched_deletes);
        if !deletes.is_empty() || !touched.is_empty() {
            let mut writer = self.writer(spec.as_ref().clone(), Arc::clone(schema), ManifestContentType::Deletes)?;
            self.add_to(&mut writer, &deletes, sequence_number)?;
            for manifest in &touched {
                self.keep_rest(&mut writer, manifest)
                    .map_err(LakeError::iceberg("rewriting a manifest of deletes"))?;
            }
            manifests.push(self.finish(writer).await?);
        }
        Ok(manifests)
    }

    fn add_to(
        &mut self,
        writer: &mut ManifestWriter,
        files: &[&DataFile],
        sequence_number: i64,
    ) -> Result<(), LakeError> {
        let metadata = self.task.base.metadata();
        for &file in files {
            let (schema, spec) = (metadata.current_schema(), metadata.default_partition_spec());
            self.summary.add_file(file, Arc::clone(schema), Arc::clone(spec));
            writer
                .add_file(file.clone(), sequence_number)
                .map_err(LakeError::iceberg("adding a file"))?;
        }
        Ok(())
    }

    /// Writes the live entries of `manifest`: as they are, or as removed.
    fn keep_rest(&mut self, writer: &mut ManifestWriter, manifest: &Manifest) -> iceberg::Result<()> {
        let schema = manifest.metadata().schema();
        let spec = Arc::new(manifest.metadata().partition_spec().clone());
        for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
            if self.task.change.removed.contains(entry.file_path()) {
                self.summary
                    .remove_file(entry.data_file(), Arc::clone(schema), Arc::clone(&spec));
                add_deleted(writer, entry)?;
            } else {
                add_existing(writer, entry)?;
            }
        }
        Ok(())
    }

    /// Merges the manifests at `group` into one; its entries keep snapshot ids and sequence numbers.
    async fn merge(&mut self, manifests: &[ManifestFile], group: &[usize]) -> Result<ManifestFile, LakeError> {
        let metadata = Arc::clone(self.task.base.metadata());
        let spec_id = manifests[group[0]].partition_spec_id;
        let spec = metadata
            .partition_spec_by_id(spec_id)
            .ok_or_else(|| LakeError::Unusable {
                table: self.task.base.ident().clone(),
                reason: format!("a manifest has partition spec {spec_id}, which the table does not know"),
            })?;
        let schema = Arc::clone(metadata.current_schema());
        let mut writer = self.writer(spec.as_ref().clone(), schema, manifests[group[0]].content)?;
        for &index in group {
            let path = &manifests[index].manifest_path;
            let failed = || LakeError::iceberg(format!("merging manifest {path}"));
            let manifest = manifests[index].load_manifest(&self.task.io).await.map_err(failed())?;
            for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
                add_existing(&mut writer, entry).map_err(failed())?;
            }
        }
        self.finish(writer).await
    }

    /// Rewrites the manifests that hold removed files, each under its own schema and spec.
    async fn remove_files(&mut self, manifests: Vec<ManifestFile>) -> Result<Vec<ManifestFile>, CommitError> {
        let fatal = || CommitError::fatal(self.task.base.ident());
        let removed = &self.task.change.removed;
        let mut missing: HashSet<&str> = removed.iter().map(String::as_str).collect();
        let mut kept = Vec::with_capacity(manifests.len());
        let metadata = self.task.base.metadata();
        for manifest in manifests {
            let loaded = self
                .task
                .lake
                .manifest(&self.task.io, &manifest)
                .await
                .map_err(fatal())?;
            let live = loaded.entries().iter().filter(|entry| entry.is_alive());
            let found: Vec<&str> = live
                .map(|entry| entry.file_path())
                .filter(|path| removed.contains(*path))
                .collect();
            if found.is_empty() {
                kept.push(manifest);
                continue;
            }
            for path in found {
                missing.remove(path);
            }
            let is_joined = manifest.content == ManifestContentType::Deletes
                && manifest.partition_spec_id == metadata.default_partition_spec_id();
            if is_joined {
                self.touched_deletes.push(loaded);
                continue;
            }
            let (spec, schema) = (loaded.metadata().partition_spec(), loaded.metadata().schema());
            let mut writer = self
                .writer(spec.clone(), Arc::clone(schema), manifest.content)
                .map_err(fatal())?;
            self.keep_rest(&mut writer, &loaded)
                .map_err(LakeError::iceberg(format!(
                    "rewriting manifest {}",
                    manifest.manifest_path
                )))
                .map_err(fatal())?;
            kept.push(self.finish(writer).await.map_err(fatal())?);
        }
        match missing.iter().next() {
            None => Ok(kept),
            Some(path) => Err(CommitError::Validation {
                table: self.task.base.ident().clone(),
                reason: format!(
                    "{} files to be removed are not in the table, for instance {path}",
                    missing.len()
                ),
            }),
        }
    }
}

type Entry = iceberg::spec::ManifestEntry;

fn add_existing(writer: &mut ManifestWriter, entry: &Entry) -> iceberg::Result<()> {
    let (snapshot_id, sequence_number) = inherited(entry)?;
    writer.add_existing_file(
        entry.data_file().clone(),
        snapshot_id,
        sequence_number,
        entry.file_sequence_number,
    )
}

fn add_deleted(writer: &mut ManifestWriter, entry: &Entry) -> iceberg::Result<()> {
    let (_, sequence_number) = inherited(entry)?;
    writer.add_delete_file(entry.data_file().clone(), sequence_number, entry.file_sequence_number)
}

/// Snapshot id and data sequence number of an entry. A live entry of a loaded manifest always has them.
fn inherited(entry: &Entry) -> iceberg::Result<(i64, i64)> {
    match (entry.snapshot_id(), entry.sequence_number()) {
        (Some(snapshot_id), Some(sequence_number)) => Ok((snapshot_id, sequence_number)),
        _ => Err(iceberg::Error::new(
            iceberg::ErrorKind::DataInvalid,
            format!(
                "the entry of {} has no snapshot id or sequence number",
                entry.file_path()
            ),
        )),
    }
}
