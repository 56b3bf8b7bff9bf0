mod seeded;

use super::*;

const S: i64 = 1_000_000;

fn partition(asset: &str, day: i32, version: i64) -> Partition {
    Partition {
        asset: asset.to_owned(),
        day,
        inputs: BTreeMap::from([("silver.trades".to_owned(), Some(version))]),
        logic: 1,
    }
}

fn submit(ledger: &mut Ledger, asset: &str, day: i32, version: i64) -> Result<Run, Refusal> {
    submit_as(ledger, asset, day, version, Trigger::Inputs)
}

fn submit_as(ledger: &mut Ledger, asset: &str, day: i32, version: i64, trigger: Trigger) -> Result<Run, Refusal> {
    let command = Command::Submit {
        partition: partition(asset, day, version),
        trigger,
        nonce: None,
    };
    ledger.apply(command, 0).map(|mut runs| runs.remove(0))
}

fn start(ledger: &mut Ledger, runs: &[RunId], now_us: i64) -> Result<Vec<Run>, Refusal> {
    let command = Command::Start {
        runs: runs.to_vec(),
        node: "n1".to_owned(),
    };
    ledger.apply(command, now_us)
}

fn fail(ledger: &mut Ledger, run: RunId, may_heal: bool, now_us: i64) -> Run {
    let ended = Ended::Failed(RunError {
        code: "data_file".to_owned(),
        message: "gone".to_owned(),
        may_heal,
    });
    let command = Command::End {
        run,
        ended,
        jitter: 0.5,
    };
    ledger.apply(command, now_us).expect("it runs").remove(0)
}

fn succeed(ledger: &mut Ledger, run: RunId, now_us: i64) -> Run {
    let outcome = Outcome {
        snapshot: Some(7),
        changed: true,
        provisional: false,
    };
    let command = Command::End {
        run,
        ended: Ended::Succeeded(outcome),
        jitter: 0.5,
    };
    ledger.apply(command, now_us).expect("it runs").remove(0)
}

#[test]
fn a_key_has_one_run_and_newer_inputs_are_taken_over_by_the_one_that_waits() {
    let mut ledger = Ledger::default();
    let first = submit(&mut ledger, "gold.a", 1, 1).unwrap();
    assert_eq!(submit(&mut ledger, "gold.a", 1, 1).unwrap().id, first.id);
    let newer = submit(&mut ledger, "gold.a", 1, 2).unwrap();
    assert_eq!((newer.id, newer.inputs["silver.trades"]), (first.id, Some(2)));
    start(&mut ledger, &[first.id], 1).unwrap();
    // The same key runs: no second one. A newer input is a run of its own, which has to wait for the day.
    assert_eq!(submit(&mut ledger, "gold.a", 1, 2).unwrap().id, first.id);
    let next = submit(&mut ledger, "gold.a", 1, 3).unwrap();
    assert_ne!(next.id, first.id);
    assert_eq!(start(&mut ledger, &[next.id], 2), Err(Refusal::DayRuns(next.id)));
    succeed(&mut ledger, first.id, 3);
    start(&mut ledger, &[next.id], 4).unwrap();
    assert_eq!(ledger.active().count(), 1);
}

#[test]
fn gold_is_tried_three_times_at_growing_distances_and_then_failed_for_these_inputs() {
    let mut ledger = Ledger::default();
    let run = submit(&mut ledger, "gold.a", 1, 1).unwrap().id;
    start(&mut ledger, &[run], 0).unwrap();
    let after = fail(&mut ledger, run, true, 0);
    assert_eq!((after.state, after.due_us), (RunState::Waiting, 120 * S));
    assert_eq!(start(&mut ledger, &[run], 119 * S), Err(Refusal::NotDue(run)));
    assert_eq!(ledger.ready("gold.a", &[]).next().unwrap().due_us, 120 * S);
    start(&mut ledger, &[run], 120 * S).unwrap();
    assert_eq!(fail(&mut ledger, run, true, 120 * S).due_us, 360 * S);
    start(&mut ledger, &[run], 360 * S).unwrap();
    let last = fail(&mut ledger, run, true, 400 * S);
    assert_eq!(
        (last.state, last.attempt, last.ended_us),
        (RunState::Failed, 3, Some(400 * S))
    );
    assert_eq!(submit(&mut ledger, "gold.a", 1, 1), Err(Refusal::FailedBefore(run)));
    assert_eq!(ledger.failed("gold.a", 1), Some(run));
    // Other inputs are another key, and siblings never waited.
    let next = submit(&mut ledger, "gold.a", 1, 2).unwrap().id;
    submit(&mut ledger, "gold.b", 1, 1).unwrap();
    start(&mut ledger, &[next], 500 * S).unwrap();
    succeed(&mut ledger, next, 501 * S);
    assert_eq!(ledger.failed("gold.a", 1), None);
}

#[test]
fn what_cannot_heal_is_not_tried_again_unless_an_operator_says_so() {
    let mut ledger = Ledger::default();
    let run = submit(&mut ledger, "silver.trader_activity", 1, 1).unwrap().id;
    start(&mut ledger, &[run], 0).unwrap();
    assert_eq!(fail(&mut ledger, run, false, 1).state, RunState::Failed);
    let forgive = Command::Forgive {
        asset: "silver.trader_activity".to_owned(),
        day: 1,
    };
    ledger.apply(forgive, 2).unwrap();
    assert!(submit(&mut ledger, "silver.trader_activity", 1, 1).is_ok());
}

#[test]
fn delays_are_exponential_within_a_quarter() {
    let policy = RetryPolicy::of(Some(AssetLayer::Silver));
    assert_eq!(policy.delay_us(1, 0.0), Some(45 * S));
    assert_eq!(policy.delay_us(1, 1.0), Some(75 * S));
    assert_eq!(policy.delay_us(3, 0.5), Some(240 * S));
    assert_eq!(policy.delay_us(4, 0.5), None);
}

#[test]
fn a_run_that_is_lost_with_its_node_begins_again_once() {
    let mut ledger = Ledger::default();
    let run = submit(&mut ledger, "gold.a", 1, 1).unwrap().id;
    let lost = || Command::Lost { node: "n1".to_owned() };
    start(&mut ledger, &[run], 0).unwrap();
    let other = Command::Lost { node: "n2".to_owned() };
    assert_eq!(ledger.apply(other, 1).unwrap(), []);
    let again = ledger.apply(lost(), 1).unwrap().remove(0);
    assert_eq!((again.state, again.attempt, again.lost), (RunState::Waiting, 0, 1));
    start(&mut ledger, &[run], 2).unwrap();
    assert_eq!(ledger.apply(lost(), 3).unwrap()[0].state, RunState::Failed);
    assert_eq!(ledger.failed("gold.a", 1), None, "the day is not to blame");
    assert_eq!(ledger.active().count(), 0);
}

#[test]
fn days_of_one_commit_are_one_unit_and_units_are_limited() {
    let mut ledger = Ledger::default();
    let days: Vec<RunId> = (0..30)
        .map(|day| submit(&mut ledger, "gold.a", day, 1).unwrap().id)
        .collect();
    let b = submit(&mut ledger, "gold.b", 1, 1).unwrap().id;
    let c = submit(&mut ledger, "gold.c", 1, 1).unwrap().id;
    let silver = submit(&mut ledger, "silver.d", 1, 1).unwrap().id;
    assert_eq!(start(&mut ledger, &[days[0], silver], 1), Err(Refusal::NotOneLayer));
    assert_eq!(start(&mut ledger, &[], 1), Err(Refusal::NotOneLayer));
    assert_eq!(start(&mut ledger, &days, 1).unwrap().len(), 30);
    start(&mut ledger, &[b], 1).unwrap();
    assert_eq!(start(&mut ledger, &[c], 1), Err(Refusal::Full(2)), "two of gold");
    start(&mut ledger, &[silver], 1).unwrap();
    for day in &days {
        succeed(&mut ledger, *day, 2);
    }
    start(&mut ledger, &[c], 3).unwrap();
}

#[test]
fn the_unit_is_counted_until_its_last_run_ends() {
    let mut ledger = Ledger::new(
        Limits {
            all: 1,
            ..Limits::default()
        },
        0,
    );
    let a: Vec<RunId> = (0..2)
        .map(|day| submit(&mut ledger, "gold.a", day, 1).unwrap().id)
        .collect();
    let b = submit(&mut ledger, "gold.b", 1, 1).unwrap().id;
    start(&mut ledger, &a, 1).unwrap();
    succeed(&mut ledger, a[0], 2);
    assert_eq!(start(&mut ledger, &[b], 3), Err(Refusal::Full(1)));
    succeed(&mut ledger, a[1], 4);
    start(&mut ledger, &[b], 5).unwrap();
}

#[test]
fn what_is_live_goes_before_what_an_operator_asked_for() {
    let mut ledger = Ledger::default();
    let asked = submit_as(&mut ledger, "gold.a", 1, 1, Trigger::Operator).unwrap().id;
    let live = submit(&mut ledger, "gold.b", 1, 1).unwrap().id;
    assert_eq!(start(&mut ledger, &[asked], 1), Err(Refusal::Full(0)));
    start(&mut ledger, &[live], 1).unwrap();
    // Of its own table something live waits: who computes that has to begin somewhere.
    submit(&mut ledger, "gold.a", 2, 1).unwrap();
    start(&mut ledger, &[asked], 1).unwrap();
}

#[test]
fn a_cancelled_run_is_gone_and_one_that_runs_is_not_cancelled() {
    let mut ledger = Ledger::default();
    let run = submit(&mut ledger, "gold.a", 1, 1).unwrap().id;
    assert_eq!(
        ledger.apply(Command::Cancel { run }, 1).unwrap()[0].state,
        RunState::Cancelled
    );
    assert_eq!(ledger.apply(Command::Cancel { run }, 1), Err(Refusal::NotActive(run)));
    let run = submit(&mut ledger, "gold.a", 1, 1).unwrap().id;
    start(&mut ledger, &[run], 1).unwrap();
    assert_eq!(ledger.apply(Command::Cancel { run }, 1), Err(Refusal::Running(run)));
}

#[test]
fn what_is_paused_waits_and_what_is_recomputed_with_its_source_comes_after_it() {
    let mut ledger = Ledger::default();
    let asked = |asset: &str| Command::Submit {
        partition: partition(asset, 1, 1),
        trigger: Trigger::Operator,
        nonce: Some("b".to_owned()),
    };
    let source = ledger.apply(asked("gold.a"), 0).unwrap()[0].id;
    let after = ledger.apply(asked("gold.b"), 0).unwrap()[0].id;
    let ready = |ledger: &Ledger| -> Vec<RunId> {
        let of = |asset: &str, sources: &[&str]| ledger.ready(asset, sources).map(|run| run.id).collect::<Vec<_>>();
        [of("gold.a", &["silver.trades"]), of("gold.b", &["gold.a"])].concat()
    };
    assert_eq!(ready(&ledger), [source]);
    let nonce = || "b".to_owned();
    ledger.apply(Command::Pause { nonce: nonce() }, 1).unwrap();
    assert_eq!(ready(&ledger), []);
    assert_eq!(start(&mut ledger, &[source], 1), Err(Refusal::Paused(source)));
    ledger.apply(Command::Resume { nonce: nonce() }, 2).unwrap();
    start(&mut ledger, &[source], 2).unwrap();
    assert_eq!(ready(&ledger), []);
    succeed(&mut ledger, source, 3);
    assert_eq!(ready(&ledger), [after]);
}
