//! Snapshots, tags and metadata files that commits drop, and what must survive.

use std::collections::HashSet;
use std::path::PathBuf;

use iceberg::spec::{SnapshotReference, SnapshotRetention};
use tapehouse_lake::commit::HOURLY_TAG_PREFIX;
use tapehouse_lake::{CommitPolicy, LoadedTable, Retention};

use crate::place::{Kind, on_each_catalog, path_of};
use crate::support::{Rig, live_files, metadata_files, read, swap_metadata};

on_each_catalog! {
    at_most_so_many_snapshots_are_kept_and_nothing_they_need_is_deleted,
    aged_snapshots_and_tags_go_and_young_ones_stay,
    what_somebody_else_tagged_survives,
    metadata_stays_under_a_megabyte_whatever_the_summaries_hold,
}

/// Every file that a retained snapshot needs, read from disk.
async fn reachable(rig: &Rig, table: &LoadedTable) -> HashSet<PathBuf> {
    let mut files = HashSet::from([path_of(table.metadata_location())]);
    for snapshot in table.metadata().snapshots() {
        let list = read(&rig.lake, table, snapshot.manifest_list()).await;
        let list = iceberg::spec::ManifestList::parse_with_version(&list, table.metadata().format_version()).unwrap();
        files.insert(path_of(snapshot.manifest_list()));
        for manifest in list.entries() {
            manifest
                .load_manifest(rig.lake.file_io())
                .await
                .expect("a manifest of a retained snapshot");
            files.insert(path_of(&manifest.manifest_path));
        }
    }
    files
}

async fn check_files(rig: &Rig) {
    rig.lake.settle().await;
    let table = rig.table().await;
    let reachable = reachable(rig, &table).await;
    let on_disk: HashSet<PathBuf> = metadata_files(&table, ".avro").into_iter().collect();
    let leaked: Vec<_> = on_disk.difference(&reachable).collect();
    assert!(leaked.is_empty(), "superseded files were left: {leaked:?}");
    let metadata = metadata_files(&table, ".metadata.json");
    assert_eq!(metadata.len(), table.metadata().metadata_log().len() + 1);
    assert!(metadata.len() <= 21, "{}", metadata.len());
}

async fn at_most_so_many_snapshots_are_kept_and_nothing_they_need_is_deleted(kind: Kind) {
    const COMMITS: i64 = 330;
    let Some(rig) = Rig::new(kind).await else { return };
    for commit in 0..COMMITS {
        let table = rig.append(&[(0, commit, commit + 1)]).await;
        assert!(
            table.metadata().snapshots().len() <= 302,
            "300 and one tagged in each hour that the test sees"
        );
    }
    let table = rig.table().await;
    assert!(
        table.metadata().snapshots().len() >= 285,
        "{}",
        table.metadata().snapshots().len()
    );
    // The first of the hour is tagged and so outlives its time; all others went from the oldest end.
    let numbers: Vec<i64> = table
        .snapshots()
        .iter()
        .map(|snapshot| snapshot.sequence_number())
        .collect();
    assert_eq!(numbers[0], 1);
    let rest = &numbers[1..];
    let untagged_end = rest.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
    assert!(untagged_end <= 1, "{numbers:?}");
    assert!(table.refs().keys().any(|name| name.starts_with(HOURLY_TAG_PREFIX)));
    check_files(&rig).await;
    assert_eq!(live_files(&rig.lake, &table).await.len() as i64, COMMITS);
    assert_eq!(
        rig.rows().await,
        (0..COMMITS).map(|offset| (0, offset)).collect::<Vec<_>>()
    );
}

async fn aged_snapshots_and_tags_go_and_young_ones_stay(kind: Kind) {
    let Some(mut rig) = Rig::new(kind).await else { return };
    let retention = |max_age_ms, hourly_tag_age_ms| CommitPolicy {
        retention: Retention {
            max_age_ms,
            max_snapshots: 300,
            batch: 4,
            hourly_tag_age_ms,
        },
        ..CommitPolicy::default()
    };
    for commit in 0..12 {
        rig.append(&[(0, commit, commit + 1)]).await;
    }
    assert_eq!(
        rig.table().await.metadata().snapshots().len(),
        12,
        "all are younger than five minutes"
    );
    // Nothing may be older than 1 ms now: all but the tagged one, the last and the new one go, and the tag keeps its own.
    rig.lake = rig.lake.with_policy(retention(1, 3_600_000));
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let table = rig.append(&[(0, 12, 13)]).await;
    let numbers: Vec<i64> = table
        .snapshots()
        .iter()
        .map(|snapshot| snapshot.sequence_number())
        .collect();
    assert_eq!(numbers, [1, 12, 13]);
    check_files(&rig).await;
    // Once the tag is too old, it goes, and its snapshot with the next batch.
    rig.lake = rig.lake.with_policy(retention(1, 5));
    for commit in 13..20 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        rig.append(&[(0, commit, commit + 1)]).await;
    }
    let table = rig.table().await;
    assert!(table.metadata().snapshots().len() <= 6);
    assert!(
        table
            .metadata()
            .snapshots()
            .all(|snapshot| snapshot.sequence_number() > 1)
    );
    check_files(&rig).await;
    assert_eq!(rig.rows().await, (0..20).map(|offset| (0, offset)).collect::<Vec<_>>());
}

async fn what_somebody_else_tagged_survives(kind: Kind) {
    let Some(mut rig) = Rig::new(kind).await else { return };
    rig.lake = rig.lake.with_policy(CommitPolicy {
        retention: Retention {
            max_age_ms: 300_000,
            max_snapshots: 10,
            batch: 2,
            hourly_tag_age_ms: 0,
        },
        ..CommitPolicy::default()
    });
    for commit in 0..5 {
        rig.append(&[(0, commit, commit + 1)]).await;
    }
    let base = rig.table().await;
    let tagged = base.snapshots()[2].snapshot_id();
    let tag = SnapshotReference::new(tagged, SnapshotRetention::Tag { max_ref_age_ms: None });
    let built = base
        .metadata()
        .as_ref()
        .clone()
        .into_builder(Some(base.metadata_location().to_owned()));
    let built = built.set_ref("audit-2026", tag).unwrap().build().unwrap();
    swap_metadata(&rig, &base, built).await;
    for commit in 5..60 {
        let table = rig.append(&[(0, commit, commit + 1)]).await;
        assert!(table.metadata().snapshots().len() <= 11);
    }
    let table = rig.table().await;
    let numbers: Vec<i64> = table
        .snapshots()
        .iter()
        .map(|snapshot| snapshot.sequence_number())
        .collect();
    assert_eq!(numbers[0], 3, "{numbers:?}");
    assert!(numbers[1] >= 50, "{numbers:?}");
    assert_eq!(table.refs()["audit-2026"].snapshot_id, tagged);
    // All that the tagged snapshot needs is still there, and nothing else of that time is.
    check_files(&rig).await;
}

async fn metadata_stays_under_a_megabyte_whatever_the_summaries_hold(kind: Kind) {
    let Some(rig) = Rig::new(kind).await else { return };
    for commit in 0..220 {
        let mut staged = rig.stage(&[(0, commit, commit + 1)]).await;
        staged.summary.insert("tapehouse.note".to_owned(), "x".repeat(6000));
        let table = crate::support::committed(rig.lake.append(&rig.ident, &staged).await.unwrap());
        assert!(table.metadata_bytes() < 1_000_000, "{}", table.metadata_bytes());
    }
    let kept = rig.table().await.metadata().snapshots().len();
    assert!((100..=150).contains(&kept), "{kept}");
}
