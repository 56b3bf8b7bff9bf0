use tapehouse_core::ledger::{Ended, Outcome, Partition, RunError, Trigger};

use super::work::{live_first, units};
use super::*;

const ASSET: &str = "gold.a";

fn open(folder: &Path) -> RunLedger {
    RunLedger::open(folder, "n1", Limits::default()).unwrap()
}

fn partition(day: i32, version: i64) -> Partition {
    Partition {
        asset: ASSET.to_owned(),
        day,
        inputs: BTreeMap::from([("silver.trades".to_owned(), Some(version))]),
        logic: 1,
    }
}

fn work(day: i32, version: i64) -> DayWork {
    DayWork {
        partition: partition(day, version),
        trigger: Some(Trigger::Inputs),
    }
}

fn plan(ledger: &RunLedger, work: &[DayWork]) -> BTreeMap<i32, Vec<Run>> {
    ledger.plan(&[ASSET], &["silver.trades"], work, false)
}

fn ask(ledger: &RunLedger, day: i32, nonce: &str) -> RunId {
    let submit = Command::Submit {
        partition: Partition {
            inputs: BTreeMap::new(),
            ..partition(day, 0)
        },
        trigger: Trigger::Operator,
        nonce: Some(nonce.to_owned()),
    };
    ledger.apply(vec![submit]).remove(0).unwrap()[0].id
}

fn failure(may_heal: bool) -> Ended {
    Ended::Failed(RunError {
        code: "data_file".to_owned(),
        message: "gone".to_owned(),
        may_heal,
    })
}

fn success() -> Ended {
    Ended::Succeeded(Outcome {
        snapshot: Some(1),
        changed: true,
        provisional: false,
    })
}

#[tokio::test]
async fn runs_survive_the_process_and_what_it_was_computing_begins_again() {
    let folder = tempfile::tempdir().unwrap();
    let (_stop, stopping) = watch::channel(false);
    let ledger = open(folder.path());
    let days = plan(&ledger, &[work(1, 5), work(2, 5), work(3, 5)]);
    let ids: Vec<RunId> = days.values().flatten().map(|run| run.id).collect();
    assert!(ledger.begin(&ids, &stopping).await);
    assert_eq!(ledger.end(vec![(ids[0], success())]).await, []);
    let last = ledger.end(vec![(ids[1], failure(false))]).await;
    assert_eq!((last.len(), ledger.failure_of(ASSET).unwrap().id), (1, ids[1]));
    assert!(matches!(
        RunLedger::open(folder.path(), "n1", Limits::default()),
        Err(LedgerError::InUse(_))
    ));
    drop(ledger);

    let ledger = open(folder.path());
    let states: Vec<RunState> = ids.iter().map(|id| ledger.run(*id).unwrap().unwrap().state).collect();
    assert_eq!(states, [RunState::Succeeded, RunState::Failed, RunState::Waiting]);
    assert_eq!(ledger.run(ids[2]).unwrap().unwrap().lost, 1);
    // The same inputs: the third runs on under its number, the second is not tried again, the first is nobody's business.
    let again = plan(&ledger, &[work(2, 5), work(3, 5)]);
    assert_eq!(again.keys().copied().collect::<Vec<_>>(), [3]);
    assert_eq!(again[&3][0].id, ids[2]);
    let newer = plan(&ledger, &[work(2, 6), work(3, 5)]);
    assert!(newer[&2][0].id > ids[2], "numbers are never given twice");
}

#[tokio::test]
async fn what_the_tables_have_already_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let run = plan(&ledger, &[work(1, 5)])[&1][0].id;
    drop(ledger);
    let ledger = open(folder.path());
    assert!(plan(&ledger, &[]).is_empty());
    let run = ledger.run(run).unwrap().unwrap();
    assert_eq!((run.state, run.outcome.unwrap().snapshot), (RunState::Succeeded, None));
}

#[tokio::test]
async fn what_an_operator_asks_for_joins_the_day_and_wakes_whoever_waits() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let asked = ledger.subscribe_asked();
    let woken = tokio::spawn(ledger.due(&[ASSET], &asked, now_us()));
    let run = ask(&ledger, 4, "b1");
    woken.await.unwrap();
    assert_eq!(ledger.asked(&[ASSET], &[]), [4].into());
    let only_asked = DayWork {
        trigger: None,
        ..work(4, 5)
    };
    let days = plan(&ledger, &[only_asked]);
    assert_eq!((days[&4].len(), days[&4][0].id), (1, run));
    assert_eq!(days[&4][0].inputs["silver.trades"], Some(5));
    // The day is dirty too: both are computed by the same unit.
    assert_eq!(plan(&ledger, &[work(4, 5)])[&4].len(), 2);
    ledger.apply(vec![Command::Pause { nonce: "b1".to_owned() }]);
    assert!(ledger.asked(&[ASSET], &[]).is_empty());
    drop(ledger);
    let ledger = open(folder.path());
    assert!(ledger.asked(&[ASSET], &[]).is_empty(), "it is paused still");
    ledger.apply(vec![Command::Resume { nonce: "b1".to_owned() }]);
    assert_eq!(ledger.asked(&[ASSET], &[]), [4].into());
}

#[tokio::test]
async fn an_attempt_of_several_days_that_failed_is_followed_by_one_of_each() {
    let folder = tempfile::tempdir().unwrap();
    let (_stop, stopping) = watch::channel(false);
    let ledger = open(folder.path());
    let days = plan(&ledger, &[1, 2, 3, 4, 5].map(|day| work(day, 5)));
    assert_eq!(units(&days, 3), [vec![1, 2, 3], vec![4, 5]]);
    let ids: Vec<RunId> = [2, 3].map(|day| days[&day][0].id).to_vec();
    assert!(ledger.begin(&ids, &stopping).await);
    ledger.end(ids.iter().map(|id| (*id, failure(true))).collect()).await;
    let later = plan(&ledger, &[1, 2, 3, 4, 5].map(|day| work(day, 5)));
    assert_eq!(
        later.keys().copied().collect::<Vec<_>>(),
        [1, 4, 5],
        "two are tried later"
    );
    assert!(matches!(
        ledger.trouble(ASSET),
        Some(crate::progress::TopicState::Retrying { attempt: 1, .. })
    ));
    let mut again = days.clone();
    for day in [2, 3] {
        again.get_mut(&day).unwrap()[0].attempt = 1;
    }
    assert_eq!(units(&again, 3), [vec![1], vec![2], vec![3], vec![4, 5]]);
}

#[test]
fn old_runs_are_forgotten_but_for_those_that_keep_a_day() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let mut ledger = Ledger::default();
    let mut ended = |day: i32, how: Ended| {
        let submit = Command::Submit {
            partition: partition(day, 1),
            trigger: Trigger::Inputs,
            nonce: None,
        };
        let run = ledger.apply(submit, 0).unwrap()[0].id;
        let start = Command::Start {
            runs: vec![run],
            node: "n1".to_owned(),
        };
        ledger.apply(start, 0).unwrap();
        let end = Command::End {
            run,
            ended: how,
            jitter: 0.0,
        };
        ledger.apply(end, 10).unwrap().remove(0)
    };
    let runs = [
        ended(1, success()),
        ended(2, failure(false)),
        ended(3, success()),
        ended(4, success()),
    ];
    store
        .put(&Change {
            runs: &runs,
            ..Change::default()
        })
        .unwrap();
    assert_eq!(store.prune(10).unwrap(), 0);
    assert_eq!(store.prune(11).unwrap(), 2);
    let left: Vec<i32> = store
        .runs(RunId(0), None, 9, |_| true)
        .unwrap()
        .iter()
        .map(|run| run.day)
        .collect();
    assert_eq!(left, [4, 2], "the latest and the one that keeps its day");
    assert_eq!(store.known().unwrap().1, runs[3].id.0);
    assert_eq!(store.runs(RunId(0), Some(runs[3].id), 9, |_| true).unwrap().len(), 1);
}

#[tokio::test]
async fn a_backfill_is_one_however_often_it_is_asked_for_and_survives() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path());
    let new = |last_day: i32| NewBackfill {
        id: "h1".to_owned(),
        assets: vec![ASSET.to_owned()],
        first_day: 1,
        last_day,
        days: (1..=last_day).map(|day| (ASSET.to_owned(), day)).collect(),
    };
    let made = ledger.create(new(3)).unwrap();
    assert_eq!(ledger.create(new(3)).unwrap(), made);
    assert!(matches!(ledger.create(new(4)), Err(AskError::Taken(_))));
    ledger.pause("h1", true).unwrap();
    drop(ledger);
    let ledger = open(folder.path());
    assert_eq!(ledger.backfills().unwrap().first(), Some(&made));
    assert!(ledger.is_paused("h1") && ledger.asked(&[ASSET], &[]).is_empty());
    ledger.pause("h1", false).unwrap();
    assert_eq!(ledger.asked(&[ASSET], &[]), [1, 2, 3].into());
    let failed = plan(
        &ledger,
        &[DayWork {
            trigger: None,
            ..work(1, 5)
        }],
    )[&1][0]
        .id;
    let (_stop, stopping) = watch::channel(false);
    assert!(ledger.begin(&[failed], &stopping).await);
    assert!(matches!(ledger.cancel(failed), Err(AskError::Refused(_))));
    assert!(matches!(ledger.retry(failed), Err(AskError::NotOver(..))));
    ledger.end(vec![(failed, failure(false))]).await;
    let again = ledger.retry(failed).unwrap();
    assert_eq!((again.nonce.as_deref(), again.day), (Some("h1"), 1));
    ledger.cancel_backfill("h1").unwrap();
    let runs = ledger.runs_of(&made).unwrap();
    assert_eq!(runs.iter().filter(|run| run.state == RunState::Cancelled).count(), 3);
    assert!(matches!(ledger.pause("h2", true), Err(AskError::NoSuchBackfill(_))));
    assert!(matches!(ledger.retry(RunId(99)), Err(AskError::NoSuchRun(_))));
}

#[test]
fn a_damaged_file_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("ledger");
    std::fs::create_dir(&place).unwrap();
    std::fs::write(place.join("runs.redb"), b"garbage, and no ledger").unwrap();
    let ledger = open(folder.path());
    ask(&ledger, 1, "b1");
    drop(ledger);
    assert_eq!(open(folder.path()).asked(&[ASSET], &[]), [1].into());
    let names = std::fs::read_dir(&place)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort_unstable();
    assert!(names.len() == 2 && names[0].starts_with("runs.damaged-"), "{names:?}");
}

#[tokio::test]
async fn days_behind_one_that_waits_are_nobodys_live_work() {
    let folder = tempfile::tempdir().unwrap();
    let (_stop, stopping) = watch::channel(false);
    let ledger = open(folder.path());
    let in_order = |ledger: &RunLedger| -> Vec<i32> {
        let work = [1, 2, 3].map(|day| work(day, 5));
        ledger.plan(&[ASSET], &[], &work, true).into_keys().collect()
    };
    assert_eq!(in_order(&ledger), [1, 2, 3]);
    let second = ledger.runs(None, 9, |run| run.day == 2).unwrap()[0].id;
    assert!(ledger.begin(&[second], &stopping).await);
    ledger.end(vec![(second, failure(false))]).await;
    assert_eq!(in_order(&ledger), [1]);
    let third = ledger.runs(None, 9, |run| run.day == 3).unwrap();
    assert!(third.iter().all(|run| run.state == RunState::Cancelled));
    // The day that failed is asked for again, and the ones behind it follow.
    ledger.retry(second).unwrap();
    assert_eq!(in_order(&ledger), [1, 2, 3]);
}

#[tokio::test]
async fn what_is_live_is_computed_before_what_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (_stop, stopping) = watch::channel(false);
    let ledger = open(folder.path());
    ask(&ledger, 1, "b1");
    let only_asked = DayWork {
        trigger: None,
        ..work(1, 5)
    };
    let days = plan(&ledger, &[only_asked, work(9, 5)]);
    assert_eq!(live_first(&days, 31), [vec![9], vec![1]]);
    // Even the other way round nobody waits for himself.
    assert!(ledger.begin(&[days[&1][0].id], &stopping).await);
}
