use super::*;

const SOURCE: &str = "silver.trades";

fn request(logic: u32, at: i64, days: &[(i32, Option<i64>)]) -> DeriveRequest {
    let input = SourceInput {
        at,
        days: days.iter().copied().collect(),
    };
    DeriveRequest {
        owner: "c".into(),
        logic,
        inputs: [(SOURCE.to_owned(), input)].into(),
        provisional: BTreeSet::new(),
    }
}

fn accepted(state: &DerivedState, request: &DeriveRequest) -> DerivedState {
    match decide(state, request) {
        DeriveDecision::Accept(permit) => permit.into_state(state.snapshot + 1),
        other => panic!("{request:?}: {other:?}"),
    }
}

fn is_stale(state: &DerivedState, request: &DeriveRequest) -> bool {
    matches!(
        decide(state, request),
        DeriveDecision::Refuse(DeriveRefusal::Stale { .. })
    )
}

fn dirty(state: &DerivedState, now: &[(i32, i64)]) -> Vec<i32> {
    state.dirty(SOURCE, state.logic, &now.iter().copied().collect())
}

#[test]
fn what_was_read_is_recorded_and_then_clean() {
    let empty = DerivedState::new("c", 1);
    assert_eq!(dirty(&empty, &[(10, 3), (11, 4)]), [10, 11]);
    let state = accepted(&empty, &request(1, 4, &[(10, Some(3)), (11, Some(4))]));
    assert_eq!(state.snapshot, 1);
    assert_eq!(dirty(&state, &[(10, 3), (11, 4)]), [0; 0]);
    assert_eq!(dirty(&state, &[(10, 5), (11, 4), (12, 5)]), [10, 12]);
    assert_eq!(
        decide(&state, &request(1, 9, &[(10, Some(3))])),
        DeriveDecision::Unchanged
    );
    assert_eq!(DerivedState::from_json(&state.to_json()).unwrap(), state);
}

#[test]
fn an_older_input_never_replaces_a_newer_output() {
    let state = accepted(
        &DerivedState::new("c", 1),
        &request(1, 9, &[(10, Some(9)), (11, Some(5))]),
    );
    assert!(is_stale(&state, &request(1, 8, &[(10, Some(7))])));
    assert!(
        is_stale(&state, &request(1, 8, &[(11, Some(5)), (10, Some(7))])),
        "one old input is enough"
    );
    assert!(is_stale(&state, &request(1, 8, &[(10, None)])));
    // An older look at days that have not changed since.
    let other = accepted(&state, &request(1, 8, &[(11, Some(5)), (12, Some(6))]));
    assert_eq!(other.source(SOURCE).at, 9);
    assert_eq!(other.source(SOURCE).version(12), Some(Some(6)));
    // A newer one may well find a smaller version: compaction dropped the last file of it.
    let smaller = accepted(&state, &request(1, 12, &[(10, Some(7))]));
    assert_eq!(smaller.source(SOURCE).version(10), Some(Some(7)));
}

#[test]
fn an_emptied_day_stays_empty_against_older_looks() {
    let filled = accepted(&DerivedState::new("c", 1), &request(1, 5, &[(10, Some(5))]));
    assert_eq!(dirty(&filled, &[]), [10]);
    let emptied = accepted(&filled, &request(1, 12, &[(10, None)]));
    assert_eq!(dirty(&emptied, &[]), [0; 0]);
    assert_eq!(emptied.source(SOURCE).version(10), Some(None));
    assert!(is_stale(&emptied, &request(1, 8, &[(10, Some(5))])));
    assert_eq!(
        decide(&emptied, &request(1, 13, &[(10, None)])),
        DeriveDecision::Unchanged
    );
    assert_eq!(dirty(&emptied, &[(10, 14)]), [10]);
    accepted(&emptied, &request(1, 14, &[(10, Some(14))]));
}

#[test]
fn a_new_logic_makes_all_days_dirty_and_an_old_one_is_refused() {
    let state = accepted(
        &DerivedState::new("c", 1),
        &request(1, 9, &[(10, Some(9)), (11, Some(5))]),
    );
    let now = BTreeMap::from([(10, 9), (11, 5)]);
    assert_eq!(state.dirty(SOURCE, 1, &now), [0; 0]);
    assert_eq!(state.dirty(SOURCE, 2, &now), [10, 11]);
    let half = accepted(&state, &request(2, 9, &[(11, Some(5))]));
    assert_eq!((half.logic, half.dirty(SOURCE, 2, &now)), (2, vec![10]));
    assert_eq!(
        half.dirty(SOURCE, 2, &BTreeMap::from([(11, 5)])),
        [10],
        "a day that is gone meanwhile"
    );
    assert!(is_stale(&half, &request(2, 8, &[(10, Some(7))])));
    assert!(matches!(
        decide(&half, &request(1, 20, &[(10, Some(20))])),
        DeriveDecision::Refuse(DeriveRefusal::OlderLogic { .. })
    ));
    assert_eq!(DerivedState::from_json(&half.to_json()).unwrap(), half);
}

#[test]
fn another_owner_is_refused() {
    let mut other = request(1, 9, &[(10, Some(9))]);
    other.owner = "d".into();
    let decision = decide(&DerivedState::new("c", 1), &other);
    assert!(matches!(
        decision,
        DeriveDecision::Refuse(DeriveRefusal::OtherOwner { .. })
    ));
}

/// Ten years of trading days.
#[test]
fn a_state_of_thousands_of_days_stays_small() {
    let days: Vec<(i32, Option<i64>)> = (0..2_500)
        .map(|day| (19_723 + day, Some(i64::from(day) + 10_000)))
        .collect();
    let state = accepted(&DerivedState::new("c", 1), &request(1, 12_500, &days));
    assert!(state.to_json().len() < 2_500 * 15, "{} bytes", state.to_json().len());
}

#[test]
fn a_provisional_day_becomes_final_without_a_newer_input() {
    let open = |days: &[i32]| DeriveRequest {
        provisional: days.iter().copied().collect(),
        ..request(1, 4, &[(10, Some(3)), (11, Some(4))])
    };
    let state = accepted(&DerivedState::new("c", 1), &open(&[11]));
    assert_eq!(state.provisional().collect::<Vec<_>>(), [11]);
    assert_eq!(decide(&state, &open(&[11])), DeriveDecision::Unchanged);
    assert_eq!(DerivedState::from_json(&state.to_json()).unwrap(), state);
    let ended = accepted(&state, &open(&[]));
    assert_eq!(ended.provisional().count(), 0);
    assert_eq!(decide(&ended, &open(&[])), DeriveDecision::Unchanged);
    // A computation of other days says nothing of this one.
    let other = accepted(&state, &request(1, 5, &[(12, Some(5))]));
    assert_eq!(other.provisional().collect::<Vec<_>>(), [11]);
}
