//! Schema changes: a table comes to hold more, nothing else.

use iceberg::TableRequirement;

use super::cleanup::CleanupJob;
use super::evolution::{WantedColumn, evolved};
use super::metadata_file::{self, Unwritten};
use crate::catalog::{Swap, SwapError};
use crate::error::{CommitError, LakeError};
use crate::lake::Lake;
use crate::name::TableName;
use crate::table::LoadedTable;

impl Lake {
    /// Adds columns to the schema `base_schema_id`, or widens those that are there, which must still be the current one: whoever
    /// derived the columns derived them from that schema.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] when the schema or the table changed meanwhile, or the answer was lost: load, compare and
    /// derive again. [`CommitError::Validation`] when a column of that name cannot be widened so.
    pub async fn evolve_columns(
        &self,
        ident: &TableName,
        base_schema_id: i32,
        columns: &[WantedColumn],
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
            match self.try_evolve_columns(&base, columns).await? {
                Ok(table) => return Ok(table),
                Err(SwapError::Conflict) => tokio::time::sleep(self.policy().backoff.delay(attempts - 1, 0.5)).await,
                // Whether it happened shows in the schema id at the next look.
                Err(SwapError::Unknown(_)) => return Err(conflict),
                Err(SwapError::Failed(error)) => return Err(fatal()(error)),
            }
        }
    }

    async fn try_evolve_columns(
        &self,
        base: &LoadedTable,
        columns: &[WantedColumn],
    ) -> Result<Result<LoadedTable, SwapError>, CommitError> {
        let ident = base.ident();
        let fatal = || CommitError::fatal(ident);
        let metadata = base.metadata();
        let schema = evolved(metadata.current_schema(), metadata.last_column_id(), columns).map_err(|reason| {
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
        let written = metadata_file::write(self, self.warehouse().batch(metadata.location()), unwritten)
            .await
            .map_err(fatal())?;
        let swap = Swap {
            table: ident,
            base_location: base.metadata_location(),
            new_location: written.location.as_deref(),
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
        let swapped = match self.backend().swap(&swap).await {
            Ok(swapped) => swapped,
            Err(error) => return Ok(Err(error)),
        };
        let table = LoadedTable::after_swap(ident, built.metadata, written, swapped, None);
        self.remember(table.clone());
        self.clean_up(CleanupJob {
            table: table.clone(),
            expired: Vec::new(),
            superseded_metadata: Vec::new(),
        });
        Ok(Ok(table))
    }
}
