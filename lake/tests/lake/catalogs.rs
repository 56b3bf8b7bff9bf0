//! Catalogs that others made.

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use tapehouse_lake::{CatalogSettings, Lake, LakeError, LakeSettings, S3Settings};

use crate::place::{Kind, Place};
use crate::support::{Rig, committed, new_table, stage};

/// As PyIceberg up to 0.11 creates it: without `iceberg_type`.
const OLD_LAYOUT: &str = "CREATE TABLE iceberg_tables (
    catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL, table_name VARCHAR(255) NOT NULL,
    metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000),
    PRIMARY KEY (catalog_name, table_namespace, table_name))";

#[tokio::test]
async fn a_database_without_iceberg_type_is_used_as_it_is() {
    let place = Place::new(Kind::Sqlite).await.unwrap();
    let ident = place.ident.clone();
    let path = place.dir.path().join("catalog/lake.db");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let pool = SqlitePoolOptions::new().connect_with(options).await.unwrap();
    sqlx::query(OLD_LAYOUT).execute(&pool).await.unwrap();
    let lake = Lake::open(place.settings.clone()).await.unwrap();
    lake.create_table(&ident, new_table()).await.unwrap();
    let staged = stage(&lake, &ident, &[(0, 0, 3)]).await;
    let table = committed(lake.append(&ident, &staged).await.unwrap());
    assert_eq!(lake.list_tables().await.unwrap(), [ident]);
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
    let rig = Rig::new(Kind::Sqlite).await.unwrap();
    let path = rig.place.dir.path().join("catalog/lake.db");
    let pool = SqlitePoolOptions::new()
        .connect_with(SqliteConnectOptions::new().filename(&path))
        .await
        .unwrap();
    sqlx::query("INSERT INTO iceberg_tables VALUES ('default', 'bronze', 'a_view', 'x', NULL, 'VIEW'), ('other', 'bronze', 't', 'x', NULL, 'TABLE')")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(rig.lake.list_tables().await.unwrap(), std::slice::from_ref(&rig.ident));
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
    for (uri, warehouse, word) in [
        ("mysql://user:secret@host/db", "/tmp/w", "sqlite:///absolute/path"),
        ("postgresql://user:secret@host/db?x=y", "/tmp/w", "postgresql://USER"),
        ("sqlite:///tmp/never-made.db", "gs://host/w", "s3://bucket/prefix"),
    ] {
        let settings = LakeSettings {
            catalog: CatalogSettings::new(uri),
            warehouse: warehouse.to_owned(),
            s3: S3Settings::default(),
        };
        assert!(!format!("{settings:?}").contains("secret"));
        let error = Lake::open(settings).await.unwrap_err();
        assert!(matches!(error, LakeError::Unsupported { .. }), "{error}");
        assert!(
            error.to_string().contains(word) && !error.to_string().contains("secret"),
            "{error}"
        );
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
