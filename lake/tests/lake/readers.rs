//! PyIceberg and DuckDB read every snapshot; PyIceberg commits between ours.

use serde_json::Value;
use tapehouse_lake::verify::verify;
use tapehouse_lake::{Lake, WantedColumn};

use crate::place::{Kind, Place, on_each_catalog};
use crate::support::{Rig, new_table, python, run_readers};

on_each_catalog! {
    every_snapshot_is_read_by_pyiceberg_and_duckdb,
    pyiceberg_commits_between_ours,
    a_catalog_made_by_pyiceberg_is_shared,
}

fn arguments(rig: &Rig) -> [String; 3] {
    let settings = &rig.place.settings;
    [
        settings.catalog.uri.clone(),
        settings.warehouse.clone(),
        rig.ident.to_string(),
    ]
}

fn expected(count: i64) -> Value {
    (0..count).map(|offset| serde_json::json!([0, offset])).collect()
}

async fn every_snapshot_is_read_by_pyiceberg_and_duckdb(kind: Kind) {
    let Some(python) = python() else { return };
    let Some(rig) = Rig::new(kind).await else { return };
    // Enough commits for two merges of manifests, a schema change among them.
    const COMMITS: i64 = 36;
    for commit in 0..COMMITS {
        if commit == 20 {
            let column = WantedColumn {
                name: "venue".to_owned(),
                field_type: iceberg::spec::Type::Primitive(iceberg::spec::PrimitiveType::String),
                doc: None,
            };
            let base = rig.table().await.metadata().current_schema_id();
            rig.lake.evolve_columns(&rig.ident, base, &[column]).await.unwrap();
        }
        rig.append(&[(0, commit, commit + 1)]).await;
    }
    let [uri, warehouse, name] = arguments(&rig);
    let read = run_readers(&python, &["read_all", &uri, &warehouse, &name]);
    let snapshots = read["snapshots"].as_array().unwrap();
    assert_eq!(snapshots.len() as i64, COMMITS);
    for snapshot in snapshots {
        let count = snapshot["sequence_number"].as_i64().unwrap();
        assert_eq!(snapshot["pyiceberg"], expected(count), "PyIceberg, snapshot {count}");
        assert_eq!(snapshot["duckdb"], expected(count), "DuckDB, snapshot {count}");
    }
    assert_eq!(read["by_folder"], expected(COMMITS), "DuckDB by the table's folder");
    assert_eq!(read["filtered"], COMMITS - 3);
    assert_eq!(read["files"], COMMITS);
    assert_eq!(
        read["refs"].as_array().unwrap().len(),
        2,
        "main and an hourly tag: {}",
        read["refs"]
    );
}

async fn pyiceberg_commits_between_ours(kind: Kind) {
    let Some(python) = python() else { return };
    let Some(rig) = Rig::new(kind).await else { return };
    let [uri, warehouse, name] = arguments(&rig);
    run_readers(&python, &["append", &uri, &warehouse, &name, "2"]);
    let mut next = 0;
    for _ in 0..3 {
        for _ in 0..7 {
            rig.append(&[(0, next, next + 1)]).await;
            next += 1;
        }
        run_readers(&python, &["append", &uri, &warehouse, &name, "3"]);
        assert_eq!(
            rig.state().await.next,
            [(0, next)].into(),
            "the state lies beneath the foreign snapshot"
        );
    }
    let table = rig.append(&[(0, next, next + 1)]).await;
    let summary = table.summary();
    assert_eq!(summary.rows, Some(22 + 2 + 9));
    let verified = verify(&rig.lake, &table, |_| {}).await.unwrap();
    assert_eq!(verified.report.violations, []);
    assert_eq!(
        (verified.report.rows, verified.report.rows_without_coordinates),
        (33, 11)
    );
    let read = run_readers(&python, &["read_all", &uri, &warehouse, &name]);
    let snapshots = read["snapshots"].as_array().unwrap();
    let last = snapshots
        .iter()
        .max_by_key(|snapshot| snapshot["sequence_number"].as_i64())
        .unwrap();
    assert_eq!(last["pyiceberg"].as_array().map(Vec::len), Some(33));
    assert_eq!(last["duckdb"].as_array().map(Vec::len), Some(33));
}

async fn a_catalog_made_by_pyiceberg_is_shared(kind: Kind) {
    let Some(python) = python() else { return };
    let Some(place) = Place::new(kind).await else { return };
    std::fs::create_dir_all(place.dir.path().join("catalog")).unwrap();
    let (settings, theirs) = (place.settings.clone(), place.beside("theirs"));
    run_readers(
        &python,
        &[
            "create",
            &settings.catalog.uri,
            &settings.warehouse,
            &theirs.to_string(),
        ],
    );
    let lake = Lake::open(settings).await.unwrap();
    assert!(lake.list_tables().await.unwrap().contains(&theirs));
    assert!(lake.load(&theirs).await.unwrap().is_some());
    let ours = lake.create_table(&place.ident, new_table()).await.unwrap();
    let tables = lake.list_tables().await.unwrap();
    assert!(tables.contains(&theirs) && tables.contains(&place.ident));
    assert_eq!(ours.ident(), &place.ident);
}
