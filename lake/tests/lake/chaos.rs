//! A process of its own that is killed, or loses an answer, at the named points of a commit.

use std::path::Path;
use std::process::{Command, ExitStatus};

use tapehouse_lake::{AppendOutcome, Lake};

use crate::place::{Kind, on_each_catalog, s3_settings, settings};
use crate::support::{Rig, live_files, stage};

on_each_catalog! {
    killed_at_each_point_the_table_stays_readable_and_goes_on,
    a_lost_answer_is_resolved_and_without_the_defence_it_doubles,
}

const CHILD: &str = "chaos::child";
// What the child is told.
const DIR: &str = "TAPEHOUSE_TEST_LAKE";
const URI: &str = "TAPEHOUSE_TEST_CATALOG";
const TABLE: &str = "TAPEHOUSE_TEST_TABLE";
const S3: &str = "TAPEHOUSE_TEST_S3";
const WAREHOUSE: &str = "TAPEHOUSE_TEST_WAREHOUSE";

/// Not a test: what the child process does. It appends 5..9 to the table of the lake that the environment names.
#[tokio::test]
#[ignore = "run by the tests below as a process of its own"]
async fn child() {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let (dir, uri, table) = (variable(DIR), variable(URI), variable(TABLE));
    if dir.is_empty() {
        return;
    }
    let ident = table.parse().unwrap();
    let mut settings = settings(uri, Path::new(&dir));
    if let Ok(endpoint) = std::env::var(S3) {
        settings.s3 = s3_settings(&endpoint);
        settings.warehouse = variable(WAREHOUSE);
    }
    let lake = Lake::open(settings).await.unwrap();
    let staged = stage(&lake, &ident, &[(0, 5, 9)]).await;
    let outcome = lake.append(&ident, &staged).await.unwrap();
    assert!(matches!(outcome, AppendOutcome::Committed { .. }), "{outcome:?}");
}

fn run_child(rig: &Rig, failpoint: &str, defence_off: Option<&str>) -> ExitStatus {
    let log = rig.place.dir.path().join("failpoint.log");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", CHILD, "--ignored", "--nocapture"]);
    command
        .env(DIR, rig.place.dir.path())
        .env(URI, &rig.place.settings.catalog.uri)
        .env(TABLE, rig.ident.to_string());
    command
        .env("TAPEHOUSE_FAILPOINT", failpoint)
        .env("TAPEHOUSE_FAILPOINT_LOG", &log);
    if let Some(endpoint) = &rig.place.settings.s3.endpoint {
        command.env(S3, endpoint).env(WAREHOUSE, &rig.place.settings.warehouse);
    }
    if let Some(defence) = defence_off {
        command.env("TAPEHOUSE_DEFENCE_OFF", defence);
    }
    let status = command.status().unwrap();
    let fired = std::fs::read_to_string(&log).unwrap_or_default();
    assert_eq!(fired.lines().count(), 1, "{failpoint} must fire once: {fired:?}");
    status
}

async fn killed_at_each_point_the_table_stays_readable_and_goes_on(kind: Kind) {
    for (point, committed) in [
        ("before_manifest_write", false),
        ("after_manifest_write", false),
        ("before_swap", false),
        ("after_swap", true),
    ] {
        let Some(rig) = Rig::new(kind).await else { return };
        rig.append(&[(0, 0, 5)]).await;
        let status = run_child(&rig, &format!("{point}:kill"), None);
        assert!(!status.success(), "{point}");
        let next = if committed { 9 } else { 5 };
        assert_eq!(rig.state().await.next, [(0, next)].into(), "{point}");
        assert_eq!(rig.rows().await.len() as i64, next, "{point}");
        // The next owner reads Kafka again from what the table records.
        let staged = rig.stage(&[(0, 5, 9)]).await;
        let outcome = rig.lake.append(&rig.ident, &staged).await.unwrap();
        assert_eq!(
            matches!(outcome, AppendOutcome::AlreadyCommitted { .. }),
            committed,
            "{point}: {outcome:?}"
        );
        assert_eq!(
            rig.rows().await,
            (0..9).map(|offset| (0, offset)).collect::<Vec<_>>(),
            "{point}"
        );
    }
}

async fn a_lost_answer_is_resolved_and_without_the_defence_it_doubles(kind: Kind) {
    let Some(rig) = Rig::new(kind).await else { return };
    rig.append(&[(0, 0, 5)]).await;
    assert!(run_child(&rig, "swap:lose", None).success());
    assert_eq!(live_files(&rig.lake, &rig.table().await).await.len(), 2);
    assert_eq!(rig.rows().await.len(), 9);

    let Some(rig) = Rig::new(kind).await else { return };
    rig.append(&[(0, 0, 5)]).await;
    assert!(run_child(&rig, "swap:lose", Some("unknown_outcome")).success());
    assert_eq!(
        rig.rows().await.len(),
        13,
        "taking the defence out must do harm, or it is none"
    );
    let verified = tapehouse_lake::verify::verify(&rig.lake, &rig.table().await, |_| {})
        .await
        .unwrap();
    assert!(!verified.report.violations.is_empty());
}
