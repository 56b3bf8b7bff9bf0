//! One committer, one table.

use tapehouse_core::append::RefuseReason;
use tapehouse_core::offsets::{NotContiguous, OffsetRange, Ranges};
use tapehouse_core::state::STATE_PROPERTY;
use tapehouse_lake::commit::{FirstOffsets, first_offsets, keys, recorded_gaps};
use tapehouse_lake::verify::verify;
use tapehouse_lake::{AppendOutcome, CommitError, DecidedOn, Lake, StateChange, StateChangeKind, StateError};

use crate::place::{Kind, Place, on_each_catalog, path_of};
use crate::support::{Rig, committed, live_files, metadata_files, new_table};

on_each_catalog! {
    an_append_is_a_snapshot_with_its_ranges_state_and_totals,
    what_is_behind_is_acknowledged_and_what_does_not_continue_is_refused,
    the_same_commit_id_is_committed_once_even_by_another_process,
    ranges_without_rows_move_the_offsets,
    the_hint_names_the_current_metadata,
    a_reader_creates_nothing,
    creating_twice_keeps_the_first,
    an_operators_change_of_offsets_is_a_snapshot_and_checks_what_it_was_decided_on,
    a_table_without_state_halts,
}

async fn an_append_is_a_snapshot_with_its_ranges_state_and_totals(kind: Kind) {
    let Some(rig) = Rig::new(kind).await else { return };
    rig.append(&[(0, 0, 10), (1, 5, 9)]).await;
    let table = rig.append(&[(0, 10, 12)]).await;
    let snapshot = table.metadata().current_snapshot().unwrap();
    let summary = &snapshot.summary().additional_properties;
    for (key, value) in [
        (keys::RANGES, r#"{"0":[10,12]}"#),
        (keys::TOPIC, "raw.trades"),
        (keys::INCARNATION, "0"),
        ("tapehouse.rows", "2"),
        ("added-data-files", "1"),
        ("added-records", "2"),
        ("total-data-files", "2"),
        ("total-records", "16"),
        ("total-delete-files", "0"),
    ] {
        assert_eq!(summary.get(key).map(String::as_str), Some(value), "{key}");
    }
    let state = table.stream_state().unwrap();
    assert_eq!(state.snapshot, snapshot.snapshot_id());
    assert_eq!(state.next, [(0, 12), (1, 9)].into());
    assert_eq!(summary[STATE_PROPERTY], table.metadata().properties()[STATE_PROPERTY]);
    assert_eq!(first_offsets(&table).unwrap(), [(0, [(0, 0), (1, 5)].into())].into());
    // What is on disk says the same as what is in memory.
    let fresh = rig.other().await.load(&rig.ident).await.unwrap().unwrap();
    assert_eq!(fresh.metadata(), table.metadata());
    assert_eq!(fresh.refs(), table.refs());
    if kind != Kind::Rest {
        // The server's answers are not the file.
        assert_eq!(fresh.metadata_bytes(), table.metadata_bytes());
    }
    let expected: Vec<_> = (0..12).map(|o| (0, o)).chain((5..9).map(|o| (1, o))).collect();
    assert_eq!(rig.rows().await, expected);
}

async fn what_is_behind_is_acknowledged_and_what_does_not_continue_is_refused(kind: Kind) {
    let Some(rig) = Rig::new(kind).await else { return };
    rig.append(&[(0, 0, 10)]).await;
    let before = rig.table().await.metadata_location().to_owned();
    let repeat = rig.stage(&[(0, 0, 10)]).await;
    let outcome = rig.lake.append(&rig.ident, &repeat).await.unwrap();
    assert!(matches!(outcome, AppendOutcome::AlreadyCommitted { ref state } if state.next == [(0, 10)].into()));
    for (start, end) in [(5, 15), (11, 15)] {
        let staged = rig.stage(&[(0, start, end)]).await;
        let AppendOutcome::Refused { reason, state } = rig.lake.append(&rig.ident, &staged).await.unwrap() else {
            panic!("{start}..{end} must be refused");
        };
        let expected = NotContiguous {
            partition: 0,
            expected: 10,
            found: start,
        };
        assert_eq!(reason, RefuseReason::NotContiguous(expected));
        assert_eq!(state.next, [(0, 10)].into());
        // Its file stays: whoever wrote it may still be asking.
        assert!(path_of(staged.files[0].file_path()).exists());
    }
    let mut other = rig.stage(&[(0, 10, 12)]).await;
    other.request.incarnation = 1;
    let outcome = rig.lake.append(&rig.ident, &other).await.unwrap();
    assert!(matches!(
        outcome,
        AppendOutcome::Refused {
            reason: RefuseReason::OtherIncarnation { .. },
            ..
        }
    ));
    assert_eq!(rig.table().await.metadata_location(), before, "nothing was committed");
}

async fn the_same_commit_id_is_committed_once_even_by_another_process(kind: Kind) {
    let Some(rig) = Rig::new(kind).await else { return };
    let staged = rig.stage(&[(0, 0, 10)]).await;
    let first = committed(rig.lake.append(&rig.ident, &staged).await.unwrap());
    let again = committed(rig.other().await.append(&rig.ident, &staged).await.unwrap());
    assert_eq!(first.metadata_location(), again.metadata_location());
    assert_eq!(live_files(&rig.lake, &again).await.len(), 1);
}

async fn ranges_without_rows_move_the_offsets(kind: Kind) {
    let Some(rig) = Rig::new(kind).await else { return };
    rig.append(&[(0, 0, 3)]).await;
    let mut staged = rig.stage(&[]).await;
    staged
        .request
        .ranges
        .extend(0, tapehouse_core::offsets::OffsetRange::new(3, 8))
        .unwrap();
    let table = committed(rig.lake.append(&rig.ident, &staged).await.unwrap());
    assert_eq!(table.stream_state().unwrap().next, [(0, 8)].into());
    assert_eq!(live_files(&rig.lake, &table).await.len(), 1);
}

async fn the_hint_names_the_current_metadata(kind: Kind) {
    let Some(rig) = Rig::new(kind).await else { return };
    for start in 0..3 {
        let table = rig.append(&[(0, start, start + 1)]).await;
        rig.lake.settle().await;
        let folder = path_of(table.metadata().location()).join("metadata");
        let hint = std::fs::read_to_string(folder.join("version-hint.text")).unwrap();
        let named = folder.join(format!("{hint}.metadata.json"));
        assert_eq!(named, path_of(table.metadata_location()));
        assert!(hint.starts_with(&format!("{:05}-", start + 1)), "{hint}");
        assert!(metadata_files(&table, ".tmp").is_empty());
    }
}

async fn a_reader_creates_nothing(kind: Kind) {
    let Some(place) = Place::new(kind).await else { return };
    let open = || Lake::open_existing(place.settings.clone());
    match kind {
        Kind::Sqlite | Kind::S3 => {
            let error = open().await.unwrap_err();
            assert!(error.to_string().contains("catalog database does not exist"), "{error}");
        }
        // A server is there; what is not there yet is an empty catalog.
        Kind::Rest => assert!(
            !open()
                .await
                .unwrap()
                .list_tables()
                .await
                .unwrap()
                .contains(&place.ident)
        ),
        Kind::Postgres => assert!(open().await.unwrap().list_tables().await.unwrap().is_empty()),
    }
    assert_eq!(std::fs::read_dir(place.dir.path()).unwrap().count(), 0);
    let lake = Lake::open(place.settings.clone()).await.unwrap();
    let reader = open().await.unwrap();
    assert!(reader.load(&place.ident).await.unwrap().is_none());
    lake.create_table(&place.ident, new_table()).await.unwrap();
    assert!(reader.list_tables().await.unwrap().contains(&place.ident));
    assert!(reader.load(&place.ident).await.unwrap().is_some());
}

async fn creating_twice_keeps_the_first(kind: Kind) {
    let Some(rig) = Rig::new(kind).await else { return };
    let table = rig.append(&[(0, 0, 5)]).await;
    let other = rig.other().await.create_table(&rig.ident, new_table()).await.unwrap();
    assert_eq!(other.metadata().uuid(), table.metadata().uuid());
    assert_eq!(other.metadata_location(), table.metadata_location());
}

async fn an_operators_change_of_offsets_is_a_snapshot_and_checks_what_it_was_decided_on(kind: Kind) {
    let Some(rig) = Rig::new(kind).await else { return };
    rig.append(&[(0, 0, 5)]).await;
    let expected = rig.state().await;
    let mut next = expected.clone();
    next.next.insert(0, 9);
    let change = StateChange {
        kind: StateChangeKind::AcceptGap,
        decided_on: DecidedOn::State(Box::new(expected)),
        next,
        reason: "lost to retention".to_owned(),
        gaps: gap(5, 9),
        first: FirstOffsets::default(),
    };
    // What is no gap behind the recorded offset is refused.
    for gaps in [gap(4, 9), gap(5, 8), gap(6, 9)] {
        let wrong = StateChange { gaps, ..change.clone() };
        let refused = rig.lake.change_state(&rig.ident, &wrong).await.unwrap_err();
        assert!(refused.to_string().contains("is no gap"), "{refused}");
    }
    // Another partition goes on while the operator decides: that is no reason to refuse, and it is not set back.
    rig.append(&[(1, 0, 3)]).await;
    rig.lake.change_state(&rig.ident, &change).await.unwrap();
    assert_eq!(rig.state().await.next, [(0, 9), (1, 3)].into());
    rig.append(&[(0, 9, 10)]).await;
    let stale = rig.lake.change_state(&rig.ident, &change).await.unwrap_err();
    assert!(matches!(stale, CommitError::Validation { .. }), "{stale}");
    assert_eq!(rig.state().await.next, [(0, 10), (1, 3)].into());
    let table = rig.lake.load(&rig.ident).await.unwrap().unwrap();
    assert_eq!(recorded_gaps(&table).unwrap()[&0][&0], [OffsetRange::new(5, 9)]);
    let verified = verify(&rig.lake, &table, |_| ()).await.unwrap();
    assert_eq!(verified.report.violations, []);
}

fn gap(start: i64, end: i64) -> Ranges {
    Ranges([(0, OffsetRange::new(start, end))].into())
}

async fn a_table_without_state_halts(kind: Kind) {
    let Some(rig) = Rig::new(kind).await else { return };
    let ident = rig.place.beside("other");
    let mut spec = new_table();
    spec.properties.clear();
    let table = rig.lake.create_table(&ident, spec).await.unwrap();
    assert!(matches!(
        table.stream_state(),
        Err(StateError::Missing {
            has_snapshots: false,
            ..
        })
    ));
    let staged = crate::support::stage(&rig.lake, &ident, &[(0, 0, 1)]).await;
    let error = rig.lake.append(&ident, &staged).await.unwrap_err();
    assert!(error.to_string().contains("has no recorded offsets"), "{error}");
    assert!(!error.is_retryable());
}
