//! Data and delete files of dropped snapshots: they go when no retained snapshot has them, and not before.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use iceberg::spec::{MAIN_BRANCH, SnapshotReference, SnapshotRetention, TableMetadataBuilder};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tapehouse_lake::commit::CommitOutcome;
use tapehouse_lake::{CommitPolicy, LoadedTable, Retention};

use crate::place::{Kind, on_each_catalog, path_of};
use crate::row_delta::{Model, Row, as_json};
use crate::support::{Rig, python, read, run_readers, swap_metadata};

on_each_catalog! {
    files_live_as_long_as_any_snapshot_that_has_them,
    a_tag_keeps_its_files_until_it_is_dropped,
    what_may_not_be_collected_is_left,
    after_a_rollback_nothing_of_before_is_deleted,
    appends_alone_delete_nothing,
}

async fn model(kind: Kind, max_snapshots: usize, batch: usize) -> Option<Model> {
    let mut model = Model::new(kind).await?;
    model.rig.lake = model.rig.lake.with_policy(policy(max_snapshots, batch));
    Some(model)
}

fn policy(max_snapshots: usize, batch: usize) -> CommitPolicy {
    CommitPolicy {
        retention: Retention {
            max_age_ms: 300_000,
            max_snapshots,
            batch,
            hourly_tag_age_ms: 0,
        },
        ..CommitPolicy::default()
    }
}

/// Data and delete files of each retained snapshot, by sequence number, read from the files and not from any cache.
async fn referenced(rig: &Rig, table: &LoadedTable) -> BTreeMap<i64, HashSet<PathBuf>> {
    let mut all = BTreeMap::new();
    for snapshot in table.metadata().snapshots() {
        let list = read(&rig.lake, table, snapshot.manifest_list()).await;
        let list = iceberg::spec::ManifestList::parse_with_version(&list, table.metadata().format_version()).unwrap();
        let mut files = HashSet::new();
        for manifest in list.entries() {
            let manifest = manifest.load_manifest(rig.lake.file_io()).await.unwrap();
            let alive = manifest.entries().iter().filter(|entry| entry.is_alive());
            files.extend(alive.map(|entry| path_of(entry.file_path())));
        }
        all.insert(snapshot.sequence_number(), files);
    }
    all
}

fn on_disk(table: &LoadedTable) -> HashSet<PathBuf> {
    fn walk(folder: &Path, found: &mut HashSet<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(&path, found),
                false => drop(found.insert(path)),
            }
        }
    }
    let mut found = HashSet::new();
    walk(&path_of(table.metadata().location()).join("data"), &mut found);
    found.retain(|path| path.extension().is_some_and(|ending| ending == "parquet"));
    found
}

/// Every file that a retained snapshot has is there. Returns what is there beside these.
async fn check(rig: &Rig) -> HashSet<PathBuf> {
    rig.lake.settle().await;
    let table = rig.table().await;
    let there = on_disk(&table);
    let mut needed = HashSet::new();
    for (number, files) in referenced(rig, &table).await {
        let missing: Vec<_> = files.difference(&there).collect();
        assert!(missing.is_empty(), "snapshot {number} lacks {missing:?}");
        needed.extend(files);
    }
    there.difference(&needed).cloned().collect()
}

/// Changes the metadata as another engine would.
async fn change(rig: &Rig, edit: impl FnOnce(TableMetadataBuilder) -> TableMetadataBuilder) {
    let base = rig.table().await;
    let builder = base.metadata().as_ref().clone();
    let builder = builder.into_builder(Some(base.metadata_location().to_owned()));
    swap_metadata(rig, &base, edit(builder).build().unwrap()).await;
}

fn tag_of(snapshot_id: i64) -> SnapshotReference {
    SnapshotReference::new(snapshot_id, SnapshotRetention::Tag { max_ref_age_ms: None })
}

/// Rows to be deleted by the next merge: some of the newest, few of the others.
fn victims(model: &Model, random: &mut StdRng) -> Vec<Row> {
    let share = random.random_range(0.0..0.4);
    let rows = model.rows().into_iter();
    rows.filter(|_| random.random_bool(share)).collect()
}

async fn files_live_as_long_as_any_snapshot_that_has_them(kind: Kind) {
    // The other kinds share everything but the way to the store.
    let (seeds, rounds) = if kind == Kind::Sqlite { (2, 60) } else { (1, 30) };
    for seed in 0..seeds {
        let mut random = StdRng::seed_from_u64(seed);
        let Some(mut model) = model(kind, 9, 3).await else {
            return;
        };
        let mut expected: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
        let mut tags: Vec<String> = Vec::new();
        for round in 0..rounds {
            match random.random_range(0..10) {
                0..6 => {
                    let victims = victims(&model, &mut random);
                    model.merge(random.random_range(1..6), &victims).await;
                }
                // Of files without rows no file would be made.
                6..8 if model.files_with_rows().len() > 4 => {
                    let inputs = model.files_with_rows();
                    let outcome = model.rewrite(&inputs[..4], &[]).await.unwrap();
                    assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
                }
                8 if tags.len() < 4 && round > 0 => {
                    let name = format!("audit-{round}");
                    let tagged = tag_of(model.table().await.metadata().current_snapshot_id().unwrap());
                    change(&model.rig, |builder| builder.set_ref(&name, tagged).unwrap()).await;
                    tags.push(name);
                }
                9 if !tags.is_empty() => {
                    let name = tags.remove(random.random_range(0..tags.len()));
                    change(&model.rig, |builder| builder.remove_ref(&name)).await;
                }
                _ => model.merge(1, &[]).await,
            }
            let number = model.table().await.metadata().last_sequence_number();
            expected.insert(number, model.rows());
            let left = check(&model.rig).await;
            assert!(
                left.is_empty(),
                "seed {seed}, round {round}: nobody needs {left:?} any more"
            );
        }
        let dropped = expected.len() - model.table().await.metadata().snapshots().len();
        assert!(dropped >= rounds / 3, "{dropped} snapshots were dropped");
        compare_by_readers(&model, &expected);
    }
}

/// PyIceberg and DuckDB read every retained snapshot.
fn compare_by_readers(model: &Model, expected: &BTreeMap<i64, Vec<Row>>) {
    let Some(python) = python() else { return };
    let settings = &model.rig.place.settings;
    let name = model.rig.ident.to_string();
    let arguments = ["read_all", &settings.catalog.uri, &settings.warehouse, &name];
    let read = run_readers(&python, &arguments);
    for snapshot in read["snapshots"].as_array().unwrap() {
        let number = snapshot["sequence_number"].as_i64().unwrap();
        assert_eq!(
            snapshot["pyiceberg"],
            as_json(&expected[&number]),
            "PyIceberg, {number}"
        );
        assert_eq!(snapshot["duckdb"], as_json(&expected[&number]), "DuckDB, {number}");
    }
}

async fn a_tag_keeps_its_files_until_it_is_dropped(kind: Kind) {
    let Some(mut model) = model(kind, 4, 2).await else {
        return;
    };
    for _ in 0..4 {
        model.merge(4, &[]).await;
    }
    let rows = model.rows();
    model.merge(1, &rows[..3]).await;
    let table = model.table().await;
    let tagged = table.metadata().current_snapshot_id().unwrap();
    let number = table.metadata().last_sequence_number();
    let files = referenced(&model.rig, &table).await.remove(&number).unwrap();
    change(&model.rig, |builder| builder.set_ref("audit", tag_of(tagged)).unwrap()).await;
    for round in 0..12 {
        let inputs: Vec<String> = model.files.keys().cloned().collect();
        model.rewrite(&inputs, &[]).await.unwrap();
        let rows = model.rows();
        model.merge(2, &rows[..1]).await;
        assert!(check(&model.rig).await.is_empty(), "round {round}");
    }
    let table = model.table().await;
    assert_eq!(table.snapshots()[0].snapshot_id(), tagged);
    assert!(files.is_subset(&on_disk(&table)));
    change(&model.rig, |builder| builder.remove_ref("audit")).await;
    for _ in 0..4 {
        model.merge(1, &[]).await;
    }
    assert!(check(&model.rig).await.is_empty());
    let there = on_disk(&model.table().await);
    assert!(
        files.is_disjoint(&there),
        "all of it was rewritten since, and nobody has it"
    );
}

async fn what_may_not_be_collected_is_left(kind: Kind) {
    for forbidden in [true, false] {
        let Some(mut model) = model(kind, 3, 2).await else {
            return;
        };
        model.merge(5, &[]).await;
        let property = ("gc.enabled".to_owned(), (!forbidden).to_string());
        change(&model.rig, |builder| builder.set_properties([property].into()).unwrap()).await;
        for _ in 0..8 {
            let inputs: Vec<String> = model.files.keys().cloned().collect();
            model.rewrite(&inputs, &[]).await.unwrap();
        }
        let left = check(&model.rig).await;
        assert_eq!(left.is_empty(), !forbidden, "{left:?}");
    }
}

async fn after_a_rollback_nothing_of_before_is_deleted(kind: Kind) {
    let Some(mut rig) = Rig::new(kind).await else { return };
    rig.lake = rig.lake.with_policy(policy(300, 2));
    for commit in 0..6 {
        rig.append(&[(0, commit, commit + 1)]).await;
    }
    // Back to the third, by another engine; ingest is set right by the operator, here by setting the state back with it.
    let table = rig.table().await;
    let third = table.snapshots()[2];
    let state = third.summary().additional_properties[tapehouse_core::state::STATE_PROPERTY].clone();
    let reference = SnapshotReference::new(third.snapshot_id(), table.refs()[MAIN_BRANCH].retention.clone());
    let kept = on_disk(&table);
    change(&rig, |builder| {
        let property = (tapehouse_core::state::STATE_PROPERTY.to_owned(), state);
        let builder = builder.set_ref(MAIN_BRANCH, reference).unwrap();
        builder.set_properties([property].into()).unwrap()
    })
    .await;
    rig.lake = rig.lake.with_policy(policy(3, 2));
    for commit in 3..40 {
        rig.append(&[(0, commit, commit + 1)]).await;
    }
    let left = check(&rig).await;
    let table = rig.table().await;
    assert!(table.metadata().snapshots().len() <= 5);
    assert_eq!(table.metadata().properties()["tapehouse.forked-at"], "7");
    assert!(kept.is_subset(&on_disk(&table)));
    assert_eq!(left.len(), 3, "of the three snapshots that were rolled back: {left:?}");
    assert_eq!(rig.rows().await, (0..40).map(|offset| (0, offset)).collect::<Vec<_>>());
}

async fn appends_alone_delete_nothing(kind: Kind) {
    let Some(mut rig) = Rig::new(kind).await else { return };
    rig.lake = rig.lake.with_policy(policy(3, 2));
    for commit in 0..20 {
        rig.append(&[(0, commit, commit + 1)]).await;
    }
    assert!(check(&rig).await.is_empty());
    assert_eq!(on_disk(&rig.table().await).len(), 20);
}
