//! One attempt of a commit: everything that is written before the swap, and what follows a successful one.

use std::collections::BTreeMap;

use iceberg::io::FileIO;
use iceberg::spec::{
    FormatVersion, MAIN_BRANCH, ManifestListWriter, Snapshot, SnapshotReference, SnapshotRetention, Summary,
    TableMetadataBuildResult,
};
use iceberg::{TableRequirement, TableUpdate};
use tapehouse_core::failpoint;
use uuid::Uuid;

use super::cleanup::CleanupJob;
use super::manifests::{ManifestSet, ManifestTask};
use super::metadata_file::{Unwritten, Written};
use super::retention::{self, RetentionPlan};
use super::{Committed, SnapshotChange, keys, lineage, metadata_file, summary};
use crate::catalog::{Pointer, Swap};
use crate::error::{CommitError, LakeError};
use crate::lake::Lake;
use crate::table::{LoadedTable, Manifests};

/// Table property: whether superseded metadata files are deleted.
pub(crate) const DELETE_METADATA: &str = "write.metadata.delete-after-commit.enabled";

/// A new metadata version, written and durable, that only needs the swap.
pub(super) struct Prepared {
    built: TableMetadataBuildResult,
    written: Written,
    manifests: Manifests,
    requirements: Vec<TableRequirement>,
    snapshot_id: i64,
    sequence_number: i64,
    expired: Vec<i64>,
}

/// Writes everything that `change` needs on top of `base`, as of `now_ms`.
pub(super) async fn prepare(
    lake: &Lake,
    base: &LoadedTable,
    snapshot_id: i64,
    commit_id: Uuid,
    change: SnapshotChange,
    now_ms: i64,
) -> Result<Prepared, CommitError> {
    let fatal = || CommitError::fatal(base.ident());
    let metadata = base.metadata();
    demand_version_2(base)?;
    failpoint::reach("before_manifest_write");
    // Manifests, their list and the metadata become durable together.
    let batch = lake.warehouse().batch(metadata.location());
    let task = ManifestTask {
        lake: lake.clone(),
        io: batch.io().clone(),
        base: base.clone(),
        snapshot_id,
        change,
    };
    let (mut task, set) = task.run().await?;
    if let Some(forked_at) = lineage::to_note(base) {
        let noted = (lineage::FORKED_AT_PROPERTY.to_owned(), forked_at.to_string());
        task.change.properties.extend([noted]);
    }
    let sequence_number = metadata.next_sequence_number();
    let list = write_manifest_list(batch.io(), base, snapshot_id, &set)
        .await
        .map_err(fatal())?;
    failpoint::reach("after_manifest_write");
    let mut properties = summary::with_totals(base, set.summary);
    properties.extend(task.change.summary);
    properties.insert(keys::COMMIT_ID.to_owned(), commit_id.to_string());
    let timestamp_ms = now_ms.max(metadata.last_updated_ms().saturating_add(1));
    let snapshot = Snapshot::builder()
        .with_snapshot_id(snapshot_id)
        .with_parent_snapshot_id(metadata.current_snapshot_id())
        .with_sequence_number(sequence_number)
        .with_timestamp_ms(timestamp_ms)
        .with_manifest_list(list.clone())
        .with_summary(Summary {
            operation: task.change.operation,
            additional_properties: properties,
        })
        .with_schema_id(metadata.current_schema_id())
        .build();
    let plan = retention::plan(base, snapshot_id, timestamp_ms, &lake.policy().retention);
    let built = build_metadata(base, snapshot, task.change.properties, &plan)
        .map_err(LakeError::iceberg("building the new metadata"))
        .map_err(fatal())?;
    let unwritten = Unwritten {
        ident: base.ident(),
        metadata: &built.metadata,
        location: metadata_file::next_location(metadata, base.metadata_location()),
        refs: refs_after(base, &built, &plan),
        known: base.snapshot_texts(),
    };
    let written = metadata_file::write(lake, batch, unwritten);
    Ok(Prepared {
        written: written.await.map_err(fatal())?,
        manifests: set.manifests,
        requirements: requirements(base),
        built,
        snapshot_id,
        sequence_number,
        expired: plan.expire,
    })
}

fn demand_version_2(base: &LoadedTable) -> Result<(), CommitError> {
    match base.metadata().format_version() {
        FormatVersion::V2 => Ok(()),
        other => Err(CommitError::validation(base.ident())(format!(
            "its format is {other}; only version 2 is written"
        ))),
    }
}

impl Prepared {
    pub(super) fn as_swap<'a>(&'a self, base: &'a LoadedTable) -> Swap<'a> {
        Swap {
            table: base.ident(),
            base_location: base.metadata_location(),
            new_location: self.written.location.as_deref(),
            metadata: &self.built.metadata,
            updates: &self.built.changes,
            requirements: &self.requirements,
        }
    }

    /// What follows a successful swap: the new version is remembered, the rest handed to the cleaner.
    pub(super) fn finish(self, lake: &Lake, base: &LoadedTable, swapped: Pointer, attempts: u32) -> Committed {
        let metadata = self.built.metadata;
        // A catalog that writes metadata itself deletes it too.
        let catalogs_business = self.written.location.is_none();
        let table = LoadedTable::after_swap(base.ident(), metadata, self.written, swapped, Some(self.manifests));
        lake.remember(table.clone());
        let expired = self.expired.iter().filter_map(|id| base.metadata().snapshot_by_id(*id));
        // On by default, as `create_table` sets it; who turned it off wants to keep them.
        let keeps_metadata = table
            .metadata()
            .properties()
            .get(DELETE_METADATA)
            .is_some_and(|value| value == "false");
        let superseded = match keeps_metadata || catalogs_business {
            true => Vec::new(),
            false => self
                .built
                .expired_metadata_logs
                .into_iter()
                .map(|log| log.metadata_file)
                .collect(),
        };
        lake.clean_up(CleanupJob {
            table: table.clone(),
            expired: expired.cloned().collect(),
            superseded_metadata: superseded,
        });
        Committed {
            table,
            snapshot_id: self.snapshot_id,
            sequence_number: self.sequence_number,
            attempts,
        }
    }
}

async fn write_manifest_list(
    io: &FileIO,
    base: &LoadedTable,
    snapshot_id: i64,
    set: &ManifestSet,
) -> Result<String, LakeError> {
    let metadata = base.metadata();
    let location = format!(
        "{}/metadata/snap-{snapshot_id}-0-{}.avro",
        metadata.location(),
        Uuid::new_v4()
    );
    let failed = || LakeError::iceberg(format!("writing {location}"));
    let output = io.new_output(&location).map_err(failed())?;
    let mut list = ManifestListWriter::v2(
        output.writer().await.map_err(failed())?,
        snapshot_id,
        metadata.current_snapshot_id(),
        metadata.next_sequence_number(),
    );
    list.add_manifests(set.manifests.iter().cloned()).map_err(failed())?;
    list.close().await.map_err(failed())?;
    Ok(location)
}

fn build_metadata(
    base: &LoadedTable,
    snapshot: Snapshot,
    properties: std::collections::HashMap<String, String>,
    plan: &RetentionPlan,
) -> iceberg::Result<TableMetadataBuildResult> {
    let metadata = base.metadata().as_ref().clone();
    let mut builder = metadata
        .into_builder(Some(base.metadata_location().to_owned()))
        .set_branch_snapshot(snapshot, MAIN_BRANCH)?
        .set_properties(properties)?;
    for name in &plan.drop_refs {
        builder = builder.remove_ref(name);
    }
    if let Some((name, reference)) = &plan.tag {
        builder = builder.set_ref(name, reference.clone())?;
    }
    if !plan.expire.is_empty() {
        for id in &plan.expire {
            builder = builder.remove_statistics(*id).remove_partition_statistics(*id);
        }
        builder = builder.remove_snapshots(&plan.expire);
    }
    builder.build()
}

/// The refs of the new metadata: those of the base with the changes made to them.
fn refs_after(
    base: &LoadedTable,
    built: &TableMetadataBuildResult,
    plan: &RetentionPlan,
) -> BTreeMap<String, SnapshotReference> {
    let mut refs = base.refs().clone();
    refs.retain(|name, _| !plan.drop_refs.contains(name));
    for change in &built.changes {
        if let TableUpdate::SetSnapshotRef { ref_name, reference } = change {
            refs.insert(ref_name.clone(), reference.clone());
        }
    }
    if let Some(current) = built.metadata.current_snapshot_id() {
        let main = SnapshotRetention::Branch {
            min_snapshots_to_keep: None,
            max_snapshot_age_ms: None,
            max_ref_age_ms: None,
        };
        let main = refs
            .entry(MAIN_BRANCH.to_owned())
            .or_insert(SnapshotReference::new(current, main));
        main.snapshot_id = current;
    }
    refs
}

fn requirements(base: &LoadedTable) -> Vec<TableRequirement> {
    let metadata = base.metadata();
    vec![
        TableRequirement::UuidMatch { uuid: metadata.uuid() },
        TableRequirement::RefSnapshotIdMatch {
            r#ref: MAIN_BRANCH.to_owned(),
            snapshot_id: metadata.current_snapshot_id(),
        },
    ]
}
