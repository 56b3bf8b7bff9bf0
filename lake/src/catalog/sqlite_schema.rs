//! The tables of a SQL catalog, in the layout that PyIceberg, Java and iceberg-rust share.

use sqlx::SqlitePool;

use crate::error::LakeError;

const CREATE_TABLES: &str = "CREATE TABLE IF NOT EXISTS iceberg_tables (
    catalog_name VARCHAR(255) NOT NULL,
    table_namespace VARCHAR(255) NOT NULL,
    table_name VARCHAR(255) NOT NULL,
    metadata_location VARCHAR(1000),
    previous_metadata_location VARCHAR(1000),
    iceberg_type VARCHAR(5),
    PRIMARY KEY (catalog_name, table_namespace, table_name))";

const CREATE_NAMESPACES: &str = "CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (
    catalog_name VARCHAR(255) NOT NULL,
    namespace VARCHAR(255) NOT NULL,
    property_key VARCHAR(255) NOT NULL,
    property_value VARCHAR(1000) NOT NULL,
    PRIMARY KEY (catalog_name, namespace, property_key))";

/// What a database's `iceberg_tables` looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// With the column `iceberg_type`: it tells tables from views.
    WithType,
    /// As PyIceberg up to 0.11 makes it: all are tables.
    WithoutType,
    /// No such table: an empty catalog.
    Absent,
}

/// Creates what is missing. An existing `iceberg_tables` is never altered: others may be using it as it is.
pub(super) async fn create_missing(pool: &SqlitePool) -> Result<(), LakeError> {
    for statement in [CREATE_TABLES, CREATE_NAMESPACES] {
        sqlx::query(statement)
            .execute(pool)
            .await
            .map_err(LakeError::catalog("creating the catalog's tables"))?;
    }
    Ok(())
}

pub(super) async fn layout(pool: &SqlitePool) -> Result<Layout, LakeError> {
    let columns: Vec<(String,)> = sqlx::query_as("SELECT name FROM pragma_table_info('iceberg_tables')")
        .fetch_all(pool)
        .await
        .map_err(LakeError::catalog("reading the catalog's layout"))?;
    Ok(match columns.iter().any(|(name,)| name == "iceberg_type") {
        true => Layout::WithType,
        false if columns.is_empty() => Layout::Absent,
        false => Layout::WithoutType,
    })
}
