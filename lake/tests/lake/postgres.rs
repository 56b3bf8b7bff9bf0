//! What only PostgreSQL does.

use std::time::Duration;

use sqlx::{Connection as _, Executor as _, PgConnection};
use tapehouse_lake::catalog::{self, SwapError};
use tapehouse_lake::{CatalogSettings, Lake, LakeError};

use crate::place::{Kind, Place, postgres};
use crate::support::{Rig, swap_of};

async fn connect(rig: &Rig) -> PgConnection {
    PgConnection::connect(&rig.place.settings.catalog.uri).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_another_holds_is_a_conflict_and_a_silent_server_ends_the_wait() {
    let Some(rig) = Rig::new(Kind::Postgres).await else {
        return;
    };
    let base = rig.append(&[(0, 0, 3)]).await;
    let mut holder = connect(&rig).await;
    holder.execute("BEGIN").await.unwrap();
    holder.execute("SELECT * FROM iceberg_tables FOR UPDATE").await.unwrap();
    let swap = swap_of(&rig, &base, "file:///nowhere", &[]);
    // lock_timeout comes first: the server itself says that nothing happened.
    let error = rig.catalog().await.swap(&swap).await.unwrap_err();
    assert!(matches!(error, SwapError::Conflict), "{error}");
    // Ours comes first: what was not committed is taken back.
    let mut settings = rig.place.settings.catalog.clone();
    settings.timeout = Duration::from_millis(300);
    let error = catalog::open(&settings, false)
        .await
        .unwrap()
        .swap(&swap)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, SwapError::Failed(failed) if failed.is_retryable()),
        "{error}"
    );
    holder.execute("ROLLBACK").await.unwrap();
    rig.append(&[(0, 3, 5)]).await;
    assert_eq!(rig.rows().await.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_without_the_catalogs_tables_is_no_failure() {
    let Some(place) = Place::new(Kind::Postgres).await else {
        return;
    };
    let reader = Lake::open_existing(place.settings.clone()).await.unwrap();
    assert_eq!(reader.probe_catalog().await.unwrap(), None);
    Rig::at(place).await;
    // Who looked before the tables were made sees them all the same.
    assert_eq!(reader.probe_catalog().await.unwrap(), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_beginners_make_one_catalog() {
    let Some(place) = Place::new(Kind::Postgres).await else {
        return;
    };
    let opening: Vec<_> = (0..6)
        .map(|_| tokio::spawn(Lake::open(place.settings.clone())))
        .collect();
    for opened in opening {
        opened.await.unwrap().unwrap();
    }
    let rig = Rig::at(place).await;
    rig.append(&[(0, 0, 3)]).await;
    // Who may not create tables uses those that there are.
    let mut connection = connect(&rig).await;
    connection
        .execute("DO $$ BEGIN CREATE ROLE lake_user LOGIN PASSWORD 'lake-user-secret'; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        .await
        .unwrap();
    connection
        .execute("DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO lake_user', current_schema()); END $$")
        .await
        .unwrap();
    connection
        .execute("GRANT SELECT, INSERT, UPDATE ON iceberg_tables, iceberg_namespace_properties TO lake_user")
        .await
        .unwrap();
    let mut settings = rig.place.settings.clone();
    settings.catalog.uri = settings
        .catalog
        .uri
        .replace("tapehouse:tapehouse-secret@", "lake_user:lake-user-secret@")
        .replace("postgresql://", "postgresql+psycopg2://");
    let lake = Lake::open(settings).await.unwrap();
    let staged = crate::support::stage(&lake, &rig.ident, &[(0, 3, 5)]).await;
    crate::support::committed(lake.append(&rig.ident, &staged).await.unwrap());
    assert_eq!(rig.rows().await.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said_without_the_password() {
    let Some(server) = postgres() else { return };
    let (_, address) = server.address().rsplit_once('@').unwrap();
    let (host, _) = address.rsplit_once('/').unwrap();
    for (uri, word) in [
        (
            format!("postgresql://tapehouse:hunter2@{address}"),
            "password authentication failed",
        ),
        (
            format!("postgresql://tapehouse:hunter2@{host}/none"),
            "password authentication failed",
        ),
        ("postgresql://u:hunter2@127.0.0.1:1/lake".to_owned(), "127.0.0.1:1"),
        (
            format!("postgresql://tapehouse:hunter2@{address}?sslmode=require"),
            "TLS",
        ),
    ] {
        let mut settings = CatalogSettings::new(uri);
        settings.timeout = Duration::from_millis(500);
        let error = catalog::open(&settings, true).await.unwrap_err();
        assert!(
            matches!(error, LakeError::Catalog { .. }) && error.is_retryable(),
            "{error:?}"
        );
        let said = format!("{error} {error:?}");
        assert!(said.contains(word) && !said.contains("hunter2"), "{said}");
    }
}
