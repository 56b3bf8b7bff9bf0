//! Compaction of bronze: the same rows in few files, for any engine, and a table that goes on.

use iceberg::spec::{PrimitiveType, Type};
use tapehouse_lake::commit::CommitOutcome;
use tapehouse_lake::compaction::{CompactionSettings, Group, SmallFiles, plan, plan_rest, rewrite};
use tapehouse_lake::verify::verify;
use tapehouse_lake::{CommitPolicy, LoadedTable, Retention, WantedColumn};

use crate::place::{Kind, on_each_catalog};
use crate::support::{Rig, live_files, python, run_readers};

on_each_catalog! {
    a_compacted_table_holds_the_same_rows_for_any_engine,
    the_recorded_state_outlives_any_number_of_rewrites,
    what_somebody_else_has_taken_is_left,
}

/// Rewrites one group; `None` when it is refused.
async fn compact(rig: &Rig, table: &LoadedTable, files: &SmallFiles, date: i32, group: &Group) -> Option<LoadedTable> {
    let rewrite = rewrite(&rig.lake, table, files, date, group, &|| true).await.unwrap();
    assert_eq!(rewrite.outputs.len(), 1);
    match rig.lake.rewrite(&rig.ident, &rewrite).await.unwrap() {
        CommitOutcome::Committed(committed) => Some(committed.table),
        CommitOutcome::Done(_) => None,
    }
}

/// Compacts until there is nothing to do; how often that was.
async fn compact_all(rig: &Rig) -> usize {
    for round in 0..100 {
        let table = rig.table().await;
        let files = SmallFiles::of(&rig.lake, &table).await.unwrap();
        let settings = CompactionSettings::default();
        let mut partitions = files.partitions.iter();
        let Some((date, group)) =
            partitions.find_map(|(date, all)| Some((*date, plan(all, &settings).into_iter().next()?)))
        else {
            return round;
        };
        compact(rig, &table, &files, date, &group).await.unwrap();
    }
    panic!("compaction finds no end");
}

async fn widen(rig: &Rig, name: &str, to: PrimitiveType) {
    let column = WantedColumn {
        name: name.to_owned(),
        field_type: Type::Primitive(to),
        doc: None,
    };
    let base = rig.table().await.metadata().current_schema_id();
    rig.lake.evolve_columns(&rig.ident, base, &[column]).await.unwrap();
}

async fn a_compacted_table_holds_the_same_rows_for_any_engine(kind: Kind) {
    const COMMITS: i64 = 150;
    let Some(rig) = Rig::new(kind).await else { return };
    let mut rewrites = 0;
    for commit in 0..COMMITS {
        match commit {
            40 => widen(&rig, "size", PrimitiveType::Int).await,
            80 => widen(&rig, "size", PrimitiveType::Long).await,
            _ => {}
        }
        rig.append(&[(0, commit * 2, commit * 2 + 2)]).await;
        if commit % 4 == 0 {
            rewrites += compact_all(&rig).await;
        }
    }
    rewrites += compact_all(&rig).await;
    assert!(rewrites >= 18, "{rewrites}");
    let table = rig.table().await;
    let files = live_files(&rig.lake, &table).await;
    assert!(files.len() <= 21, "{} files", files.len());
    let expected: Vec<(i32, i64)> = (0..COMMITS * 2).map(|offset| (0, offset)).collect();
    assert_eq!(rig.rows().await, expected);
    assert_eq!(rig.state().await.next, [(0, COMMITS * 2)].into());
    let verified = verify(&rig.lake, &table, |_| {}).await.unwrap();
    assert_eq!(verified.report.violations, []);
    assert_eq!(table.summary().rows, Some(expected.len() as u64));
    let Some(python) = python() else { return };
    let settings = &rig.place.settings;
    let name = rig.ident.to_string();
    // Rows of another engine go with the others.
    run_readers(
        &python,
        &["append", &settings.catalog.uri, &settings.warehouse, &name, "3"],
    );
    rest_becomes_one(&rig).await;
    let read = run_readers(
        &python,
        &["read_all", &settings.catalog.uri, &settings.warehouse, &name],
    );
    let mut sizes = Vec::new();
    for snapshot in read["snapshots"].as_array().unwrap() {
        let by_pyiceberg = snapshot["pyiceberg"].as_array().unwrap();
        assert_eq!(Some(by_pyiceberg), snapshot["duckdb"].as_array());
        let offsets = by_pyiceberg.iter().filter_map(|row| row[1].as_i64());
        let offsets: Vec<i64> = offsets.collect();
        assert_eq!(offsets, (0..offsets.len() as i64).collect::<Vec<_>>());
        sizes.push((snapshot["sequence_number"].as_i64(), by_pyiceberg.len()));
    }
    sizes.sort_unstable();
    assert!(sizes.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{sizes:?}");
    assert_eq!(sizes.last().map(|size| size.1), Some(expected.len() + 3));
}

/// As of a past day.
async fn rest_becomes_one(rig: &Rig) {
    let table = rig.table().await;
    let files = SmallFiles::of(&rig.lake, &table).await.unwrap();
    let (date, all) = files.partitions.iter().next().unwrap();
    let groups = plan_rest(all, &CompactionSettings::default());
    assert_eq!((groups.len(), groups[0].inputs.len()), (1, all.len()));
    let table = compact(rig, &table, &files, *date, &groups[0]).await.unwrap();
    assert_eq!(live_files(&rig.lake, &table).await.len(), 1);
}

async fn the_recorded_state_outlives_any_number_of_rewrites(kind: Kind) {
    let Some(mut rig) = Rig::new(kind).await else { return };
    rig.lake = rig.lake.with_policy(CommitPolicy {
        retention: Retention {
            max_age_ms: 300_000,
            max_snapshots: 3,
            batch: 1,
            hourly_tag_age_ms: 0,
        },
        ..CommitPolicy::default()
    });
    rig.append(&[(0, 0, 9)]).await;
    let before = rig.state().await;
    for _ in 0..8 {
        let table = rig.table().await;
        let files = SmallFiles::of(&rig.lake, &table).await.unwrap();
        let (date, all) = files.partitions.iter().next().unwrap();
        let group = Group {
            inputs: (0..all.len()).collect(),
            ..Group::default()
        };
        compact(&rig, &table, &files, *date, &group).await.unwrap();
    }
    let state = rig.state().await;
    assert_eq!((state.next, state.owner), (before.next, before.owner));
    let table = rig.append(&[(0, 9, 12)]).await;
    assert_eq!(verify(&rig.lake, &table, |_| {}).await.unwrap().report.violations, []);
    assert_eq!(rig.rows().await, (0..12).map(|offset| (0, offset)).collect::<Vec<_>>());
}

async fn what_somebody_else_has_taken_is_left(kind: Kind) {
    let Some(rig) = Rig::new(kind).await else { return };
    for commit in 0..16 {
        rig.append(&[(0, commit, commit + 1)]).await;
    }
    let table = rig.table().await;
    let files = SmallFiles::of(&rig.lake, &table).await.unwrap();
    let (date, all) = files.partitions.iter().next().unwrap();
    let groups = plan(all, &CompactionSettings::default());
    assert_eq!(groups.len(), 2);
    assert!(compact(&rig, &table, &files, *date, &groups[0]).await.is_some());
    assert!(
        compact(&rig, &table, &files, *date, &groups[0]).await.is_none(),
        "its inputs are gone"
    );
    // What was planned on an older version is as good, as long as its inputs are there.
    assert!(compact(&rig, &table, &files, *date, &groups[1]).await.is_some());
    assert_eq!(rig.rows().await, (0..16).map(|offset| (0, offset)).collect::<Vec<_>>());
    let given_up = rewrite(&rig.lake, &table, &files, *date, &groups[0], &|| false).await;
    assert!(given_up.is_err());
}
