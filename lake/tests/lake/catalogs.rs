//! Catalogs that others made.

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use tapehouse_lake::{Lake, LakeError, LakeSettings};

use crate::support::{Rig, committed, ident, new_table, settings, stage};

/// As PyIceberg up to 0.11 creates it: without `iceberg_type`.
const OLD_LAYOUT: &str = "CREATE TABLE iceberg_tables (
    catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL, table_name VARCHAR(255) NOT NULL,
    metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000),
    PRIMARY KEY (catalog_name, table_namespace, table_name))";

#[tokio::test]
async fn a_database_without_iceberg_type_is_used_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path());
    let path = dir.path().join("catalog/lake.db");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let pool = SqlitePoolOptions::new().connect_with(options).await.unwrap();
    sqlx::query(OLD_LAYOUT).execute(&pool).await.unwrap();
    let lake = Lake::open(settings).await.unwrap();
    lake.create_table(&ident(), new_table()).await.unwrap();
    let staged = stage(&lake, &ident(), &[(0, 0, 3)]).await;
    let table = committed(lake.append(&ident(), &staged).await.unwrap());
    assert_eq!(lake.list_tables().await.unwrap(), [ident()]);
    let columns: Vec<(String,)> = sqlx::query_as("SELECT name FROM pragma_table_info('iceberg_tables')")
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(columns.len(), 5, "the table is left as it was made");
    let (current, previous): (String, String) =
        sqlx::query_as("SELECT metadata_location, previous_metadata_location FROM iceberg_tables")
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(current, table.metadata_location());
    assert!(previous.contains("/metadata/00000-"), "{previous}");
}

#[tokio::test]
async fn views_and_other_catalogs_are_not_seen() {
    let rig = Rig::new().await;
    let path = rig.dir.path().join("catalog/lake.db");
    let pool = SqlitePoolOptions::new()
        .connect_with(SqliteConnectOptions::new().filename(&path))
        .await
        .unwrap();
    sqlx::query("INSERT INTO iceberg_tables VALUES ('default', 'bronze', 'a_view', 'x', NULL, 'VIEW'), ('other', 'bronze', 't', 'x', NULL, 'TABLE')")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(rig.lake.list_tables().await.unwrap(), [ident()]);
    assert!(
        rig.lake
            .load(&"bronze.a_view".parse().unwrap())
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn what_is_not_spoken_is_said_clearly() {
    let dir = tempfile::tempdir().unwrap();
    for (catalog_uri, warehouse, word) in [
        ("postgresql://user:secret@host/db", "/tmp/w", "sqlite:///absolute/path"),
        ("http://host:8181", "/tmp/w", "sqlite:///absolute/path"),
        ("sqlite:///tmp/never-made.db", "s3://bucket/w", "file:///absolute/path"),
    ] {
        let settings = LakeSettings {
            catalog_uri: catalog_uri.to_owned(),
            catalog_name: "default".to_owned(),
            warehouse: warehouse.to_owned(),
        };
        let error = Lake::open(settings).await.unwrap_err();
        assert!(matches!(error, LakeError::Unsupported { .. }), "{error}");
        assert!(
            error.to_string().contains(word) && !error.to_string().contains("secret"),
            "{error}"
        );
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
