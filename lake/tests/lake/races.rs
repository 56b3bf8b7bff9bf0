//! Several committers on one table: each with its own connections and caches.

use std::collections::BTreeMap;

use iceberg::spec::{MAIN_BRANCH, SnapshotReference, SnapshotRetention};
use tapehouse_lake::catalog::SwapError;
use tapehouse_lake::{AppendOutcome, StateError};

use crate::place::{Kind, on_each_catalog};
use crate::support::{Rig, live_files, requirements, stage, swap_metadata, swap_of};

on_each_catalog! {
    of_two_owners_of_a_range_exactly_one_wins,
    owners_of_different_partitions_all_get_through,
    a_stale_base_is_a_conflict,
    a_rolled_back_table_halts,
}

async fn of_two_owners_of_a_range_exactly_one_wins(kind: Kind) {
    let Some(rig) = Rig::new(kind).await else { return };
    let other = rig.other().await;
    let mut refused = 0;
    for round in 0..25 {
        let next = rig.state().await.next.get(&0).copied().unwrap_or(0);
        // Sometimes the same range, sometimes one that goes further.
        let further = next + 10 + round % 2;
        let mine = rig.stage(&[(0, next, next + 10)]).await;
        let theirs = stage(&other, &rig.ident, &[(0, next, further)]).await;
        let (mine, theirs) = tokio::join!(rig.lake.append(&rig.ident, &mine), other.append(&rig.ident, &theirs));
        let outcomes = [mine.unwrap(), theirs.unwrap()];
        let won = outcomes
            .iter()
            .filter(|o| matches!(o, AppendOutcome::Committed { .. }))
            .count();
        assert_eq!(won, 1, "{outcomes:?}");
        refused += outcomes
            .iter()
            .filter(|o| matches!(o, AppendOutcome::Refused { .. }))
            .count();
    }
    let next = rig.state().await.next[&0];
    assert_eq!(
        rig.rows().await,
        (0..next).map(|offset| (0, offset)).collect::<Vec<_>>()
    );
    assert!(refused < 25, "an equal range must be acknowledged, not refused");
}

async fn owners_of_different_partitions_all_get_through(kind: Kind) {
    const OWNERS: i32 = 4;
    const COMMITS: i64 = 15;
    let Some(rig) = Rig::new(kind).await else { return };
    let mut tasks = Vec::new();
    for partition in 0..OWNERS {
        let (lake, ident) = (rig.other().await, rig.ident.clone());
        tasks.push(tokio::spawn(async move {
            let mut attempts = 0;
            for commit in 0..COMMITS {
                let staged = stage(&lake, &ident, &[(partition, commit * 3, commit * 3 + 3)]).await;
                match lake.append(&ident, &staged).await.unwrap() {
                    AppendOutcome::Committed { attempts: needed, .. } => attempts += needed,
                    other => panic!("{other:?}"),
                }
            }
            attempts
        }));
    }
    let mut attempts = 0;
    for task in tasks {
        attempts += task.await.unwrap();
    }
    let table = rig.table().await;
    let all = i64::from(OWNERS) * COMMITS;
    assert_eq!(
        table.metadata().last_sequence_number(),
        all,
        "one snapshot a commit, none lost"
    );
    assert!(
        i64::from(attempts) > all,
        "the race must have been one: {attempts} attempts"
    );
    let expected: BTreeMap<i32, i64> = (0..OWNERS).map(|partition| (partition, COMMITS * 3)).collect();
    assert_eq!(rig.state().await.next, expected);
    assert_eq!(rig.rows().await.len() as i64, all * 3);
    assert_eq!(live_files(&rig.lake, &table).await.len() as i64, all);
}

async fn a_stale_base_is_a_conflict(kind: Kind) {
    let Some(rig) = Rig::new(kind).await else { return };
    let stale = rig.append(&[(0, 0, 1)]).await;
    let current = rig.append(&[(0, 1, 2)]).await;
    let backend = rig.catalog().await;
    let requirements = requirements(&stale);
    let swap = swap_of(&rig, &stale, "file:///nowhere", &requirements);
    assert!(matches!(backend.swap(&swap).await, Err(SwapError::Conflict)));
    let pointer = backend.load(&rig.ident).await.unwrap().unwrap();
    assert_eq!(pointer.metadata_location, current.metadata_location());
}

/// Points `main` back to the first snapshot, as an engine's rollback does.
async fn a_rolled_back_table_halts(kind: Kind) {
    let Some(rig) = Rig::new(kind).await else { return };
    let first = rig.append(&[(0, 0, 5)]).await;
    let current = rig.append(&[(0, 5, 9)]).await;
    let retention = SnapshotRetention::Branch {
        min_snapshots_to_keep: None,
        max_snapshot_age_ms: None,
        max_ref_age_ms: None,
    };
    let back = SnapshotReference::new(first.metadata().current_snapshot_id().unwrap(), retention);
    let built = current
        .metadata()
        .as_ref()
        .clone()
        .into_builder(Some(current.metadata_location().to_owned()));
    let built = built.set_ref(MAIN_BRANCH, back).unwrap().build().unwrap();
    swap_metadata(&rig, &current, built).await;
    let error = rig.table().await.stream_state().unwrap_err();
    assert!(matches!(error, StateError::NotInHistory { .. }), "{error}");
    let staged = rig.stage(&[(0, 9, 10)]).await;
    assert!(rig.lake.append(&rig.ident, &staged).await.is_err());
    assert_eq!(rig.rows().await.len(), 5);
}
