//! `tapehouse.v1.Tables`

use std::sync::Arc;

use tapehouse_lake::{LoadedTable, TableName};
use tapehouse_proto::v1;
use tapehouse_proto::v1::tables_server::Tables;
use tonic::{Request, Response, Status};

use super::page::page;
use super::refusal::{Reason, Refusal};
use super::source::Source;
use crate::answer;
use crate::connect::lake_failure;
use crate::exit::Failure;

const TABLES_MAX: usize = 100;
/// Snapshots that are told of a table.
const SNAPSHOTS_MAX: usize = 10;

/// The service.
pub struct TablesService(pub Arc<Source>);

#[tonic::async_trait]
impl Tables for TablesService {
    async fn list_tables(
        &self,
        request: Request<v1::ListTablesRequest>,
    ) -> Result<Response<v1::ListTablesResponse>, Status> {
        let request = request.into_inner();
        let lake = self.0.lake().clone();
        let reading = async move {
            let names = lake.list_tables().await.map_err(|error| lake_failure(&error))?;
            let texts: Vec<String> = names.iter().map(ToString::to_string).collect();
            let (range, next_page_token) = page(&texts, request.page_size, TABLES_MAX, &request.page_token)?;
            let tables = answer::tables(&lake, names.get(range).unwrap_or_default()).await;
            Ok::<_, Refusal>(v1::ListTablesResponse {
                tables: tables.map_err(|error| lake_failure(&error))?,
                next_page_token,
            })
        };
        Ok(Response::new(self.0.read(reading).await??))
    }

    async fn get_table(&self, request: Request<v1::GetTableRequest>) -> Result<Response<v1::GetTableResponse>, Status> {
        let name = request.into_inner().table;
        let parsed = name.parse::<TableName>();
        let table = parsed.map_err(|error| Refusal::invalid(format!("table: {error}")))?;
        let lake = self.0.lake().clone();
        let reading = async move {
            let loaded = lake.load(&table).await.map_err(|error| lake_failure(&error))?;
            Ok::<_, Failure>(loaded.as_ref().map(described))
        };
        let described = self.0.read(reading).await?.map_err(Refusal::from)?;
        let absent = || Refusal::new(Reason::NoSuchTable, format!("there is no table {name}"));
        Ok(Response::new(described.ok_or_else(absent)?))
    }
}

fn described(table: &LoadedTable) -> v1::GetTableResponse {
    let metadata = table.metadata();
    let schema = metadata.current_schema();
    let columns = schema.as_struct().fields().iter().map(|field| v1::Column {
        id: field.id,
        name: field.name.clone(),
        r#type: field.field_type.to_string(),
        required: field.required,
        comment: field.doc.clone().unwrap_or_default(),
    });
    let partitions = metadata.default_partition_spec().fields().iter().map(|field| {
        let source = schema.name_by_field_id(field.source_id);
        v1::PartitionField {
            name: field.name.clone(),
            source_column: source.unwrap_or_default().to_owned(),
            transform: field.transform.to_string(),
        }
    });
    let (state, state_error) = table.consumed();
    let snapshots = table.history(SNAPSHOTS_MAX).into_iter().map(|snapshot| v1::Snapshot {
        snapshot_id: snapshot.snapshot_id,
        parent_snapshot_id: snapshot.parent_snapshot_id,
        sequence_number: snapshot.sequence_number,
        commit_time: Some(answer::timestamp(snapshot.timestamp_ms)),
        operation: snapshot.operation,
        own: snapshot.own,
        summary: snapshot.summary,
    });
    v1::GetTableResponse {
        table: Some(answer::table(table)),
        schema_id: metadata.current_schema_id(),
        columns: columns.collect(),
        partition_fields: partitions.collect(),
        properties: metadata.properties().clone().into_iter().collect(),
        state: state.map(|state| v1::StreamState {
            owner: state.owner,
            topic: state.topic,
            topic_id: state.topic_id.unwrap_or_default(),
            incarnation: state.incarnation,
            snapshot_id: state.snapshot,
            next_offsets: state.next,
        }),
        state_error,
        snapshots: snapshots.collect(),
        merge_state: table.merge_state().ok().map(|state| v1::MergeState {
            owner: state.owner,
            source: state.source,
            rules: state.rules,
            snapshot_id: state.snapshot,
            next_offsets: state
                .next
                .into_iter()
                .map(|(incarnation, by_partition)| (incarnation, v1::NextOffsets { by_partition }))
                .collect(),
        }),
    }
}
