//! `verify` finds what is wrong, and only that.

use std::collections::HashMap;

use tapehouse_core::state::STATE_PROPERTY;
use tapehouse_lake::commit::{CommitOutcome, SnapshotChange, keys};
use tapehouse_lake::verify::{Verified, verify};
use tapehouse_lake::{CommitError, LoadedTable};
use uuid::Uuid;

use crate::place::{Kind, on_each_catalog, path_of};
use crate::support::{Rig, swap_metadata, write_file};

on_each_catalog! {
    a_sound_table_has_no_violations,
    doubled_rows_rows_outside_and_doubled_files_are_found,
    a_gap_in_the_ranges_is_found,
    a_missing_data_file_is_found,
    a_state_that_was_changed_alone_is_found,
}

async fn check(rig: &Rig) -> Verified {
    verify(&rig.lake, &rig.table().await, |_| {}).await.unwrap()
}

fn invariants(verified: &Verified) -> Vec<&'static str> {
    verified
        .report
        .violations
        .iter()
        .map(|violation| violation.invariant)
        .collect()
}

/// Commits whatever it is told, without any check: what a broken program would do.
struct Unchecked(SnapshotChange);

#[async_trait::async_trait]
impl tapehouse_lake::commit::Change for Unchecked {
    type Done = ();

    async fn plan(
        &self,
        _base: &LoadedTable,
        _snapshot_id: i64,
        _blind: bool,
    ) -> Result<tapehouse_lake::commit::Planned<()>, CommitError> {
        Ok(tapehouse_lake::commit::Planned::Commit(Box::new(self.0.clone())))
    }
}

async fn commit_unchecked(rig: &Rig, change: SnapshotChange) {
    let outcome = rig
        .lake
        .commit(&rig.ident, Uuid::new_v4(), &Unchecked(change))
        .await
        .unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed(_)));
}

async fn a_sound_table_has_no_violations(kind: Kind) {
    let Some(rig) = Rig::new(kind).await else { return };
    rig.append(&[(0, 100, 110), (1, 0, 5)]).await;
    let mut staged = rig.stage(&[(0, 110, 115)]).await;
    // 115..118 are covered without rows.
    staged
        .request
        .ranges
        .extend(0, tapehouse_core::offsets::OffsetRange::new(115, 118))
        .unwrap();
    rig.lake.append(&rig.ident, &staged).await.unwrap();
    let verified = check(&rig).await;
    assert_eq!(verified.report.violations, []);
    assert_eq!((verified.report.rows, verified.report.files), (20, 2));
    let first = &verified.report.partitions[0];
    assert_eq!(
        (first.first, first.next, first.rows, first.offsets_without_row),
        (100, Some(118), 15, Some(3))
    );
    let offsets = &verified.offsets[&(0, 0)];
    assert!(offsets.contains(114) && !offsets.contains(115) && !offsets.contains(99));
}

async fn doubled_rows_rows_outside_and_doubled_files_are_found(kind: Kind) {
    let Some(rig) = Rig::new(kind).await else { return };
    let table = rig.append(&[(0, 0, 10)]).await;
    let doubled = write_file(&rig.lake, &table, &[(0, 3), (0, 4)]).await;
    commit_unchecked(&rig, SnapshotChange::append(doubled.clone())).await;
    let verified = check(&rig).await;
    assert_eq!(invariants(&verified), ["I1"]);
    let message = &verified.report.violations[0].message;
    assert!(
        message.contains("2 rows are doubled") && message.contains("[3, 4]"),
        "{message}"
    );
    let outside = write_file(&rig.lake, &table, &[(0, 10), (7, 0)]).await;
    commit_unchecked(&rig, SnapshotChange::append(outside)).await;
    assert_eq!(invariants(&check(&rig).await), ["I1"; 3]);
    commit_unchecked(&rig, SnapshotChange::append(doubled)).await;
    let verified = check(&rig).await;
    assert!(
        invariants(&verified).contains(&"I3"),
        "{:?}",
        verified.report.violations
    );
}

async fn a_gap_in_the_ranges_is_found(kind: Kind) {
    let Some(rig) = Rig::new(kind).await else { return };
    rig.append(&[(0, 0, 10)]).await;
    let table = rig.table().await;
    let mut state = rig.state().await;
    state.next.insert(0, 20);
    let mut change = SnapshotChange::append(write_file(&rig.lake, &table, &[(0, 12), (0, 13)]).await);
    // As if the check had let 12..20 through after 0..10. The snapshot id is only known inside, so it cannot match either.
    change
        .summary
        .insert(keys::RANGES.to_owned(), r#"{"0":[12,20]}"#.to_owned());
    change.summary.insert(STATE_PROPERTY.to_owned(), state.to_json());
    change.properties = HashMap::from([(STATE_PROPERTY.to_owned(), state.to_json())]);
    commit_unchecked(&rig, change).await;
    let verified = check(&rig).await;
    let messages: Vec<_> = verified
        .report
        .violations
        .iter()
        .map(|violation| violation.message.as_str())
        .collect();
    assert!(
        messages
            .iter()
            .any(|message| message.contains("covers 12..20, but 10 was the next offset")),
        "{messages:?}"
    );
    assert!(
        invariants(&verified).iter().all(|invariant| *invariant == "I2"),
        "{messages:?}"
    );
}

async fn a_missing_data_file_is_found(kind: Kind) {
    let Some(rig) = Rig::new(kind).await else { return };
    let staged = rig.stage(&[(0, 0, 10)]).await;
    rig.lake.append(&rig.ident, &staged).await.unwrap();
    std::fs::remove_file(path_of(staged.files[0].file_path())).unwrap();
    let verified = check(&rig).await;
    assert_eq!(invariants(&verified), ["I1"]);
    assert_eq!(verified.report.rows, 0);
}

async fn a_state_that_was_changed_alone_is_found(kind: Kind) {
    let Some(rig) = Rig::new(kind).await else { return };
    let current = rig.append(&[(0, 0, 10)]).await;
    let mut state = rig.state().await;
    state.next.insert(0, 12);
    let properties = HashMap::from([(STATE_PROPERTY.to_owned(), state.to_json())]);
    let built = current
        .metadata()
        .as_ref()
        .clone()
        .into_builder(Some(current.metadata_location().to_owned()));
    let built = built.set_properties(properties).unwrap().build().unwrap();
    swap_metadata(&rig, &current, built).await;
    let verified = check(&rig).await;
    assert_eq!(invariants(&verified), ["I2"]);
}
