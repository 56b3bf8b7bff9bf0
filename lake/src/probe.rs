//! Probes for `tapehouse doctor`: whether catalog and warehouse can be written, leaving nothing behind.

use std::collections::HashMap;

use iceberg::TableCreation;
use iceberg::spec::{FormatVersion, Schema, SortOrder, TableMetadataBuilder, UnboundPartitionSpec};
use uuid::Uuid;

use crate::catalog::{Swap, SwapError};
use crate::error::LakeError;
use crate::lake::{Lake, LakeSettings};
use crate::name::TableName;
use crate::storage::Warehouse;

/// Name of the namespace and prefix of the files that probes use.
const PROBE: &str = "tapehouse_probe";

impl Lake {
    /// Lists the tables, then tries to swap a table that does not exist: the catalog goes all the way of a commit, rights
    /// and locks included, and nothing changes. Returns the number of tables; `None`: the catalog's database is empty, and nothing
    /// was tried.
    ///
    /// # Errors
    /// What keeps the catalog from being read or written.
    pub async fn probe_catalog(&self) -> Result<Option<usize>, LakeError> {
        if !self.backend().is_laid_out().await? {
            return Ok(None);
        }
        let tables = self.list_tables().await?.len();
        let name = format!("{PROBE}.t{}", Uuid::new_v4().simple());
        let table: TableName = name.parse().map_err(|_| LakeError::Interrupted("naming a probe"))?;
        let failed = || LakeError::iceberg("making a probe");
        let location = format!("{}/{PROBE}", self.warehouse().root());
        let creation = TableCreation::builder()
            .name(table.name().to_owned())
            .location(location.clone())
            .schema(Schema::builder().build().map_err(failed())?)
            .partition_spec(UnboundPartitionSpec::default())
            .sort_order(SortOrder::unsorted_order())
            .properties(HashMap::new())
            .format_version(FormatVersion::V2)
            .build();
        let metadata = TableMetadataBuilder::from_table_creation(creation)
            .and_then(TableMetadataBuilder::build)
            .map_err(failed())?
            .metadata;
        let swap = Swap {
            table: &table,
            base_location: &format!("{location}/metadata/none.metadata.json"),
            new_location: Some(&format!("{location}/metadata/next.metadata.json")),
            metadata: &metadata,
            updates: &[],
            requirements: &[],
        };
        match self.backend().swap(&swap).await {
            // That no such table is there is the answer that is expected.
            Ok(_) | Err(SwapError::Conflict | SwapError::Failed(LakeError::NoSuchTable(_))) => Ok(Some(tables)),
            Err(SwapError::Failed(error)) => Err(error),
            Err(SwapError::Unknown(_)) => Err(LakeError::Interrupted("the probe of the catalog")),
        }
    }
}

/// Writes, reads and deletes a file in the warehouse. `false`: the warehouse's folder does not exist yet, and nothing was
/// written.
///
/// # Errors
/// What failed of it.
pub async fn probe_warehouse(settings: &LakeSettings) -> Result<bool, LakeError> {
    let warehouse = Warehouse::at(&settings.warehouse, &settings.s3)?;
    if warehouse.root_path().is_some_and(|folder| !folder.is_dir()) {
        return Ok(false);
    }
    let location = format!("{}/.{PROBE}-{}", warehouse.root(), Uuid::new_v4().simple());
    let content = bytes::Bytes::from_static(b"tapehouse doctor");
    let failed = |action: &str| LakeError::iceberg(format!("{action} a probe in the warehouse"));
    let output = warehouse.io().new_output(&location).map_err(failed("writing"))?;
    output.write(content.clone()).await.map_err(failed("writing"))?;
    let input = warehouse.io().new_input(&location).map_err(failed("reading"))?;
    let read = input.read().await.map_err(failed("reading"));
    // Deleted whatever was read.
    warehouse.io().delete(&location).await.map_err(failed("deleting"))?;
    match read? == content {
        true => Ok(true),
        false => Err(LakeError::Interrupted("reading back what was written to the warehouse")),
    }
}
