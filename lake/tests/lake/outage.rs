//! A catalog's or warehouse's server that is killed while commits are under way, and comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use tapehouse_lake::verify::verify;
use tapehouse_lake::{AppendOutcome, CommitError, CommitPolicy, Lake};

use crate::place::{Kind, Place, start};
use crate::support::Rig;

/// How often the server is killed.
const KILLS: i64 = 3;
/// Commits that must have happened between two kills.
const COMMITS: i64 = 15;

/// What the committer and whoever kills the server see of each other.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    /// Offset after the last committed one.
    next: AtomicI64,
    /// Attempts that failed.
    failures: AtomicU32,
}

/// Commits range after range until it is told to stop, as a committer does: what fails retryably is tried again with the same
/// commit id.
async fn commit_until(rig: Arc<Rig>, lake: Lake, seen: Arc<Seen>) {
    let failed = || seen.failures.fetch_add(1, Ordering::SeqCst);
    while !seen.stop.load(Ordering::SeqCst) {
        let start = seen.next.load(Ordering::SeqCst);
        // Looking at the table needs the catalog too.
        let table = loop {
            match lake.load(&rig.ident).await {
                Ok(table) => break table.unwrap(),
                Err(_) => failed(),
            };
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let staged = loop {
            let (lake, table) = (lake.clone(), table.clone());
            // It writes a file, which needs the warehouse: where that is away it panics, and is tried again.
            let staging =
                tokio::spawn(async move { crate::support::stage_for(&lake, &table, &[(0, start, start + 3)]).await });
            match staging.await {
                Ok(staged) => break staged,
                Err(_) => failed(),
            };
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        loop {
            match lake.append(&rig.ident, &staged).await {
                Ok(AppendOutcome::Committed { .. }) => break,
                // What the loop did not see happen had happened: a doubled attempt would show as rows.
                Ok(other) => panic!("{other:?}"),
                Err(error) => {
                    assert!(error.is_retryable(), "{error}");
                    let secret_shown = error.to_string().contains("tapehouse-secret");
                    assert!(
                        !secret_shown && !matches!(error, CommitError::Validation { .. }),
                        "{error}"
                    );
                    failed();
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        seen.next.store(start + 3, Ordering::SeqCst);
    }
}

async fn a_killed_server_loses_and_doubles_nothing(kind: Kind) {
    let Some(server) = start(kind).map(Arc::new) else {
        return;
    };
    let rig = Arc::new(Rig::at(Place::on(kind, &server).await).await);
    // Shorter than a restart: waits alone would get over it unnoticed.
    let mut settings = rig.place.settings.clone();
    settings.catalog.timeout = Duration::from_millis(300);
    let lake = Lake::open(settings).await.unwrap().with_policy(CommitPolicy {
        deadline: Duration::from_secs(2),
        ..CommitPolicy::default()
    });
    let seen = Arc::new(Seen::default());
    let committer = tokio::spawn(commit_until(Arc::clone(&rig), lake, Arc::clone(&seen)));
    let until = async |holds: &dyn Fn() -> bool| {
        while !holds() {
            assert!(!committer.is_finished(), "the committer ended");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    for kill in 1..=KILLS {
        until(&|| seen.next.load(Ordering::SeqCst) >= kill * COMMITS * 3).await;
        let failures = seen.failures.load(Ordering::SeqCst);
        let killed = Arc::clone(&server);
        tokio::task::spawn_blocking(move || killed.kill())
            .await
            .unwrap()
            .unwrap();
        // A server that is back before anybody missed it would test nothing.
        until(&|| seen.failures.load(Ordering::SeqCst) > failures).await;
        let restarted = Arc::clone(&server);
        let restarted = tokio::task::spawn_blocking(move || restarted.restart());
        restarted.await.unwrap().unwrap();
    }
    let committed = seen.next.load(Ordering::SeqCst);
    until(&|| seen.next.load(Ordering::SeqCst) >= committed + COMMITS * 3).await;
    seen.stop.store(true, Ordering::SeqCst);
    committer.await.unwrap();
    let end = seen.next.load(Ordering::SeqCst);
    assert_eq!(rig.state().await.next, [(0, end)].into());
    assert_eq!(rig.rows().await, (0..end).map(|offset| (0, offset)).collect::<Vec<_>>());
    let verified = verify(&rig.lake, &rig.table().await, |_| {}).await.unwrap();
    assert_eq!(verified.report.violations, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rest() {
    a_killed_server_loses_and_doubles_nothing(Kind::Rest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3() {
    a_killed_server_loses_and_doubles_nothing(Kind::S3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    a_killed_server_loses_and_doubles_nothing(Kind::Postgres).await;
}
