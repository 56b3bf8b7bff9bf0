//! Schema changes: optional columns are appended, nothing else.

use std::sync::Arc;

use iceberg::TableRequirement;
use iceberg::spec::{ListType, MapType, NestedField, Schema, StructType, Type};

use super::metadata_file::{self, Unwritten};
use crate::catalog::{Swap, SwapError};
use crate::error::{CommitError, LakeError};
use crate::lake::Lake;
use crate::name::TableName;
use crate::table::LoadedTable;

/// A column to be added; it will be optional. Field ids within its type are assigned afresh.
#[derive(Clone, Debug, PartialEq)]
pub struct NewColumn {
    /// The name.
    pub name: String,
    /// The type.
    pub field_type: Type,
    /// A comment.
    pub doc: Option<String>,
}

impl Lake {
    /// Appends optional columns to the schema `base_schema_id`, which must still be the current one: whoever derived the
    /// columns derived them from that schema.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] when the schema or the table changed meanwhile, or the answer was lost: load, compare and
    /// derive again. [`CommitError::Validation`] when a column of that name exists.
    pub async fn add_columns(
        &self,
        ident: &TableName,
        base_schema_id: i32,
        columns: &[NewColumn],
    ) -> Result<LoadedTable, CommitError> {
        let fatal = || CommitError::fatal(ident);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let missing = || LakeError::NoSuchTable(ident.clone());
            let base = self
                .load(ident)
                .await
                .map_err(fatal())?
                .ok_or_else(missing)
                .map_err(fatal())?;
            let conflict = CommitError::Conflict {
                table: ident.clone(),
                attempts,
                elapsed_ms: 0,
            };
            if base.metadata().current_schema_id() != base_schema_id || attempts > self.policy().max_attempts {
                return Err(conflict);
            }
            if columns.is_empty() {
                return Ok(base);
            }
            match self.try_add_columns(&base, columns).await? {
                Ok(table) => return Ok(table),
                Err(SwapError::Conflict) => tokio::time::sleep(self.policy().backoff.delay(attempts - 1, 0.5)).await,
                // Whether it happened shows in the schema id at the next look.
                Err(SwapError::Unknown(_)) => return Err(conflict),
                Err(SwapError::Failed(error)) => return Err(fatal()(error)),
            }
        }
    }

    async fn try_add_columns(
        &self,
        base: &LoadedTable,
        columns: &[NewColumn],
    ) -> Result<Result<LoadedTable, SwapError>, CommitError> {
        let ident = base.ident();
        let fatal = || CommitError::fatal(ident);
        let metadata = base.metadata();
        let schema = extended(metadata.current_schema(), metadata.last_column_id(), columns).map_err(|reason| {
            CommitError::Validation {
                table: ident.clone(),
                reason,
            }
        })?;
        let built = metadata
            .as_ref()
            .clone()
            .into_builder(Some(base.metadata_location().to_owned()))
            .add_current_schema(schema)
            .and_then(|builder| builder.build())
            .map_err(LakeError::iceberg("building the new metadata"))
            .map_err(fatal())?;
        let unwritten = Unwritten {
            ident,
            metadata: &built.metadata,
            location: metadata_file::next_location(metadata, base.metadata_location()),
            refs: base.refs().clone(),
            known: base.snapshot_texts(),
        };
        let written = metadata_file::write(self, unwritten, &[]).await.map_err(fatal())?;
        let swap = Swap {
            table: ident,
            base_location: base.metadata_location(),
            new_location: &written.location,
            metadata: &built.metadata,
            updates: &built.changes,
            requirements: &[
                TableRequirement::UuidMatch { uuid: metadata.uuid() },
                TableRequirement::CurrentSchemaIdMatch {
                    current_schema_id: metadata.current_schema_id(),
                },
                TableRequirement::LastAssignedFieldIdMatch {
                    last_assigned_field_id: metadata.last_column_id(),
                },
            ],
        };
        if let Err(error) = self.backend().swap(&swap).await {
            return Ok(Err(error));
        }
        let table = LoadedTable::from_written(ident, built.metadata, written, None);
        self.remember(table.clone());
        super::hint::write(table.metadata_location()).await;
        Ok(Ok(table))
    }
}

fn extended(current: &Schema, last_column_id: i32, columns: &[NewColumn]) -> Result<Schema, String> {
    let mut next_id = last_column_id;
    let mut fields = current.as_struct().fields().to_vec();
    for column in columns {
        if fields.iter().any(|field| field.name.eq_ignore_ascii_case(&column.name)) {
            return Err(format!("it has a column {} already", column.name));
        }
        let id = take_id(&mut next_id);
        let mut field = NestedField::optional(id, &column.name, renumbered(&column.field_type, &mut next_id));
        field.doc.clone_from(&column.doc);
        fields.push(Arc::new(field));
    }
    Schema::builder()
        .with_schema_id(current.schema_id().saturating_add(1))
        .with_identifier_field_ids(current.identifier_field_ids())
        .with_fields(fields)
        .build()
        .map_err(|error| error.to_string())
}

fn take_id(next_id: &mut i32) -> i32 {
    *next_id += 1;
    *next_id
}

/// The type with fresh ids for all fields within it.
fn renumbered(of: &Type, next_id: &mut i32) -> Type {
    let fresh = |field: &NestedField, next_id: &mut i32| {
        let id = take_id(next_id);
        Arc::new(NestedField {
            id,
            field_type: Box::new(renumbered(&field.field_type, next_id)),
            ..field.clone()
        })
    };
    match of {
        Type::Primitive(_) => of.clone(),
        Type::Struct(fields) => {
            let fields = fields.fields().iter().map(|field| fresh(field, next_id)).collect();
            Type::Struct(StructType::new(fields))
        }
        Type::List(list) => Type::List(ListType {
            element_field: fresh(&list.element_field, next_id),
        }),
        Type::Map(map) => Type::Map(MapType {
            key_field: fresh(&map.key_field, next_id),
            value_field: fresh(&map.value_field, next_id),
        }),
    }
}
