//! PyIceberg and DuckDB read every snapshot; PyIceberg commits between ours.

use serde_json::Value;
use tapehouse_lake::verify::verify;
use tapehouse_lake::{Lake, NewColumn};

use crate::support::{Rig, ident, python, run_readers, settings};

fn arguments(rig: &Rig) -> [String; 3] {
    let settings = settings(rig.dir.path());
    [settings.catalog_uri, settings.warehouse, rig.ident.to_string()]
}

fn expected(count: i64) -> Value {
    (0..count).map(|offset| serde_json::json!([0, offset])).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_snapshot_is_read_by_pyiceberg_and_duckdb() {
    let Some(python) = python() else { return };
    let rig = Rig::new().await;
    // Enough commits for two merges of manifests, a schema change among them.
    const COMMITS: i64 = 36;
    for commit in 0..COMMITS {
        if commit == 20 {
            let column = NewColumn {
                name: "venue".to_owned(),
                field_type: iceberg::spec::Type::Primitive(iceberg::spec::PrimitiveType::String),
                doc: None,
            };
            let base = rig.table().await.metadata().current_schema_id();
            rig.lake.add_columns(&rig.ident, base, &[column]).await.unwrap();
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pyiceberg_commits_between_ours() {
    let Some(python) = python() else { return };
    let rig = Rig::new().await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalog_made_by_pyiceberg_is_shared() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path());
    std::fs::create_dir_all(dir.path().join("catalog")).unwrap();
    run_readers(
        &python,
        &["create", &settings.catalog_uri, &settings.warehouse, "bronze.theirs"],
    );
    let lake = Lake::open(settings).await.unwrap();
    assert_eq!(lake.list_tables().await.unwrap(), ["bronze.theirs".parse().unwrap()]);
    assert!(lake.load(&"bronze.theirs".parse().unwrap()).await.unwrap().is_some());
    lake.create_table(&ident(), crate::support::new_table()).await.unwrap();
    assert_eq!(lake.list_tables().await.unwrap().len(), 2);
}
