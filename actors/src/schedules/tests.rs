use tapehouse_core::ledger::Limits;
use tapehouse_lake::{CatalogSettings, LakeSettings, S3Settings};

use super::*;

const MINUTE_US: i64 = 60_000_000;
/// 2024-06-03 16:58 in New York.
const MONDAY_US: i64 = 1_717_448_280_000_000;

async fn schedules(folder: &std::path::Path) -> Schedules {
    let lake = Lake::open(LakeSettings {
        catalog: CatalogSettings::new(format!("sqlite:///{}/catalog.db", folder.display())),
        warehouse: format!("file://{}/warehouse", folder.display()),
        s3: S3Settings::default(),
    });
    let ledger = RunLedger::open(&folder.join("state"), "n1", Limits::default()).unwrap();
    Schedules::new(
        ledger,
        lake.await.unwrap(),
        Looks::new(),
        true,
        vec!["gold.a".to_owned()],
    )
}

fn fired(schedules: &Schedules, name: &str) -> Option<i64> {
    let all = schedules.list().unwrap();
    all.iter().find(|status| status.name == name).unwrap().last_us
}

#[tokio::test]
async fn each_fires_at_its_time_and_what_was_missed_once() {
    let folder = tempfile::tempdir().unwrap();
    let schedules = schedules(folder.path()).await;
    let looks = schedules.looks.subscribe("gold.a");
    schedules.pass(MONDAY_US).await;
    assert!(
        fired(&schedules, "silver").is_none(),
        "what was before the first start is nobody's"
    );
    schedules.pass(MONDAY_US + MINUTE_US).await;
    assert!(fired(&schedules, "gold").is_none());
    schedules.pass(MONDAY_US + 3 * MINUTE_US).await;
    let at_five = MONDAY_US + 2 * MINUTE_US;
    assert_eq!(
        (fired(&schedules, "gold"), fired(&schedules, "silver")),
        (Some(at_five), Some(at_five))
    );
    assert!(looks.has_changed().unwrap());
    // A day without any node: the firing of Tuesday is made up for, a month is not over.
    schedules.pass(MONDAY_US + 1500 * MINUTE_US).await;
    assert_eq!(fired(&schedules, "gold"), Some(at_five + 1440 * MINUTE_US));
    assert!(fired(&schedules, "monthly-recompute").is_none());
}

#[tokio::test]
async fn a_paused_one_does_not_fire_and_makes_nothing_up_for() {
    let folder = tempfile::tempdir().unwrap();
    let schedules = schedules(folder.path()).await;
    schedules.pass(MONDAY_US).await;
    assert_eq!(schedules.pause("gold", true).unwrap().next_us, None);
    schedules.pass(MONDAY_US + 10 * MINUTE_US).await;
    assert!(fired(&schedules, "gold").is_none());
    assert!(schedules.pause("gold", false).unwrap().next_us.is_some());
    schedules.pass(now_us()).await;
    assert!(fired(&schedules, "gold").is_none(), "it is resumed from now on");
    assert!(schedules.trigger("gold").await.unwrap().is_none());
    assert!(fired(&schedules, "gold").is_some());
    assert!(matches!(
        schedules.pause("golden", true),
        Err(AskError::NoSuchSchedule(_))
    ));
    assert!(matches!(
        schedules.trigger("monthly-recompute").await,
        Err(AskError::Empty)
    ));
}
