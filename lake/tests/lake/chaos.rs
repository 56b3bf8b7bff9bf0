//! A process of its own that is killed, or loses an answer, at the named points of a commit.

use std::path::Path;
use std::process::{Command, ExitStatus};

use tapehouse_lake::{AppendOutcome, Lake};

use crate::support::{Rig, ident, live_files, settings, stage};

const CHILD: &str = "chaos::child";

/// Not a test: what the child process does. It appends 5..9 to the lake at `TAPEHOUSE_TEST_LAKE`.
#[tokio::test]
#[ignore = "run by the tests below as a process of its own"]
async fn child() {
    let Ok(dir) = std::env::var("TAPEHOUSE_TEST_LAKE") else {
        return;
    };
    let lake = Lake::open(settings(Path::new(&dir))).await.unwrap();
    let staged = stage(&lake, &ident(), &[(0, 5, 9)]).await;
    let outcome = lake.append(&ident(), &staged).await.unwrap();
    assert!(matches!(outcome, AppendOutcome::Committed { .. }), "{outcome:?}");
}

fn run_child(rig: &Rig, failpoint: &str, defence_off: Option<&str>) -> ExitStatus {
    let log = rig.dir.path().join("failpoint.log");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", CHILD, "--ignored", "--nocapture"]);
    command.env("TAPEHOUSE_TEST_LAKE", rig.dir.path());
    command
        .env("TAPEHOUSE_FAILPOINT", failpoint)
        .env("TAPEHOUSE_FAILPOINT_LOG", &log);
    if let Some(defence) = defence_off {
        command.env("TAPEHOUSE_DEFENCE_OFF", defence);
    }
    let status = command.status().unwrap();
    let fired = std::fs::read_to_string(&log).unwrap_or_default();
    assert_eq!(fired.lines().count(), 1, "{failpoint} must fire once: {fired:?}");
    status
}

#[tokio::test]
async fn killed_at_each_point_the_table_stays_readable_and_goes_on() {
    for (point, committed) in [
        ("before_manifest_write", false),
        ("after_manifest_write", false),
        ("before_swap", false),
        ("after_swap", true),
    ] {
        let rig = Rig::new().await;
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

#[tokio::test]
async fn a_lost_answer_is_resolved_and_without_the_defence_it_doubles() {
    let rig = Rig::new().await;
    rig.append(&[(0, 0, 5)]).await;
    assert!(run_child(&rig, "swap:lose", None).success());
    assert_eq!(live_files(&rig.lake, &rig.table().await).await.len(), 2);
    assert_eq!(rig.rows().await.len(), 9);

    let rig = Rig::new().await;
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
