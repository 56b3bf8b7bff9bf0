//! Writes table metadata as JSON, in time that hardly depends on the number of snapshots.
//!
//! Every commit writes the whole file, and all but one of its snapshots are the same as last time. So each snapshot's text
//! is made once and kept with the table; iceberg's own writer would copy and format all of them at each commit.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use iceberg::spec::{
    FormatVersion, MetadataLog, PartitionSpec, PartitionStatisticsFile, Schema, Snapshot, SnapshotLog,
    SnapshotReference, SortOrder, StatisticsFile, Summary, TableMetadata,
};
use serde::Serialize;
use uuid::Uuid;

/// Snapshots as JSON, by id.
pub(crate) type SnapshotTexts = Arc<HashMap<i64, Arc<str>>>;

/// Metadata as JSON.
pub(crate) struct Encoded {
    /// The file's content.
    pub bytes: Vec<u8>,
    /// The snapshots' part of it, for the next time.
    pub snapshots: SnapshotTexts,
}

/// All of a version 2 metadata file but for its snapshots.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Head<'a> {
    format_version: u8,
    table_uuid: Uuid,
    location: &'a str,
    last_sequence_number: i64,
    last_updated_ms: i64,
    last_column_id: i32,
    current_schema_id: i32,
    schemas: Vec<&'a Schema>,
    default_spec_id: i32,
    partition_specs: Vec<&'a PartitionSpec>,
    last_partition_id: i32,
    default_sort_order_id: i64,
    sort_orders: Vec<&'a SortOrder>,
    properties: BTreeMap<&'a String, &'a String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_snapshot_id: Option<i64>,
    refs: &'a BTreeMap<String, SnapshotReference>,
    snapshot_log: &'a [SnapshotLog],
    metadata_log: &'a [MetadataLog],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    statistics: Vec<&'a StatisticsFile>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    partition_statistics: Vec<&'a PartitionStatisticsFile>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct SnapshotJson<'a> {
    snapshot_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_snapshot_id: Option<i64>,
    sequence_number: i64,
    timestamp_ms: i64,
    manifest_list: &'a str,
    summary: &'a Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_id: Option<i32>,
}

/// Writes version 2 metadata; `refs` are its references, `known` the texts of snapshots written before.
pub(crate) fn encode(
    metadata: &TableMetadata,
    refs: &BTreeMap<String, SnapshotReference>,
    known: &SnapshotTexts,
) -> serde_json::Result<Encoded> {
    if metadata.format_version() != FormatVersion::V2 {
        return Ok(Encoded {
            bytes: serde_json::to_vec(metadata)?,
            snapshots: SnapshotTexts::default(),
        });
    }
    let mut snapshots: Vec<_> = metadata.snapshots().collect();
    // Oldest first, as Java writes them.
    snapshots.sort_by_key(|snapshot| (snapshot.sequence_number(), snapshot.snapshot_id()));
    let mut texts = HashMap::with_capacity(snapshots.len());
    let mut bytes = serde_json::to_vec(&head(metadata, refs))?;
    // The head is an object; the snapshots become its last member.
    bytes.pop();
    bytes.extend_from_slice(b",\"snapshots\":[");
    for (position, snapshot) in snapshots.into_iter().enumerate() {
        let text = match known.get(&snapshot.snapshot_id()) {
            Some(text) => Arc::clone(text),
            None => encode_snapshot(snapshot)?,
        };
        if position > 0 {
            bytes.push(b',');
        }
        bytes.extend_from_slice(text.as_bytes());
        texts.insert(snapshot.snapshot_id(), text);
    }
    bytes.extend_from_slice(b"]}");
    Ok(Encoded {
        bytes,
        snapshots: Arc::new(texts),
    })
}

fn head<'a>(metadata: &'a TableMetadata, refs: &'a BTreeMap<String, SnapshotReference>) -> Head<'a> {
    let mut schemas: Vec<&Schema> = metadata.schemas_iter().map(AsRef::as_ref).collect();
    schemas.sort_by_key(|schema| schema.schema_id());
    let mut partition_specs: Vec<&PartitionSpec> = metadata.partition_specs_iter().map(AsRef::as_ref).collect();
    partition_specs.sort_by_key(|spec| spec.spec_id());
    Head {
        format_version: 2,
        table_uuid: metadata.uuid(),
        location: metadata.location(),
        last_sequence_number: metadata.last_sequence_number(),
        last_updated_ms: metadata.last_updated_ms(),
        last_column_id: metadata.last_column_id(),
        current_schema_id: metadata.current_schema_id(),
        schemas,
        default_spec_id: metadata.default_partition_spec_id(),
        partition_specs,
        last_partition_id: metadata.last_partition_id(),
        default_sort_order_id: metadata.default_sort_order_id(),
        sort_orders: metadata.sort_orders_iter().map(AsRef::as_ref).collect(),
        properties: metadata.properties().iter().collect(),
        current_snapshot_id: metadata.current_snapshot_id(),
        refs,
        snapshot_log: metadata.history(),
        metadata_log: metadata.metadata_log(),
        statistics: metadata.statistics_iter().collect(),
        partition_statistics: metadata.partition_statistics_iter().collect(),
    }
}

fn encode_snapshot(snapshot: &Snapshot) -> serde_json::Result<Arc<str>> {
    let json = SnapshotJson {
        snapshot_id: snapshot.snapshot_id(),
        parent_snapshot_id: snapshot.parent_snapshot_id(),
        sequence_number: snapshot.sequence_number(),
        timestamp_ms: snapshot.timestamp_ms(),
        manifest_list: snapshot.manifest_list(),
        summary: snapshot.summary(),
        schema_id: snapshot.schema_id(),
    };
    serde_json::to_string(&json).map(Arc::from)
}

#[cfg(test)]
mod tests {
    use iceberg::spec::{
        MAIN_BRANCH, NestedField, Operation, PrimitiveType, SnapshotRetention, SortOrder, TableMetadataBuilder,
        Transform, Type, UnboundPartitionSpec,
    };

    use super::*;

    fn snapshot(id: i64, parent: Option<i64>) -> Snapshot {
        let properties = HashMap::from([("key \"quoted\"".to_owned(), "väl\nue".to_owned())]);
        Snapshot::builder()
            .with_snapshot_id(id)
            .with_parent_snapshot_id(parent)
            .with_sequence_number(id)
            .with_timestamp_ms(1_800_000_000_000 + id)
            .with_manifest_list(format!("file:///w/t/metadata/snap-{id}.avro"))
            .with_summary(Summary {
                operation: Operation::Append,
                additional_properties: properties,
            })
            .with_schema_id(0)
            .build()
    }

    #[test]
    fn what_is_written_is_what_iceberg_reads() {
        let id = NestedField::required(1, "id", Type::Primitive(PrimitiveType::Long)).with_doc("the id");
        let day = NestedField::optional(2, "day", Type::Primitive(PrimitiveType::Date));
        let schema = Schema::builder().with_fields([id.into(), day.into()]).build().unwrap();
        let spec = UnboundPartitionSpec::builder()
            .add_partition_field(2, "day", Transform::Identity)
            .unwrap();
        let properties = HashMap::from([("a".to_owned(), "b".to_owned())]);
        let empty = TableMetadataBuilder::new(
            schema,
            spec.build(),
            SortOrder::unsorted_order(),
            "file:///w/t".to_owned(),
            FormatVersion::V2,
            properties,
        );
        let empty = empty.unwrap().build().unwrap().metadata;
        let none = SnapshotTexts::default();
        let encoded = encode(&empty, &BTreeMap::new(), &none).unwrap();
        assert_eq!(serde_json::from_slice::<TableMetadata>(&encoded.bytes).unwrap(), empty);

        let tag = SnapshotReference::new(
            1,
            SnapshotRetention::Tag {
                max_ref_age_ms: Some(5),
            },
        );
        let first = empty.into_builder(Some("file:///w/t/metadata/0.json".to_owned()));
        let first = first.set_branch_snapshot(snapshot(1, None), MAIN_BRANCH).unwrap();
        let first = first.set_ref("tag", tag.clone()).unwrap().build().unwrap().metadata;
        let main = |id| {
            let retention = SnapshotRetention::Branch {
                min_snapshots_to_keep: None,
                max_snapshot_age_ms: None,
                max_ref_age_ms: None,
            };
            SnapshotReference::new(id, retention)
        };
        let refs = |id| BTreeMap::from([("tag".to_owned(), tag.clone()), (MAIN_BRANCH.to_owned(), main(id))]);
        let encoded = encode(&first, &refs(1), &encoded.snapshots).unwrap();
        assert_eq!(serde_json::from_slice::<TableMetadata>(&encoded.bytes).unwrap(), first);

        let second = first.into_builder(Some("file:///w/t/metadata/1.json".to_owned()));
        let second = second.set_branch_snapshot(snapshot(2, Some(1)), MAIN_BRANCH).unwrap();
        let second = second.build().unwrap().metadata;
        let encoded = encode(&second, &refs(2), &encoded.snapshots).unwrap();
        assert_eq!(serde_json::from_slice::<TableMetadata>(&encoded.bytes).unwrap(), second);
        assert_eq!(encoded.snapshots.len(), 2);
    }
}
