//! A catalog whose answers get lost: a real one behind a wrapper that swaps, or does not, and then fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tapehouse_lake::catalog::{CommitBackend, Creation, Pointer, Swap, SwapError};
use tapehouse_lake::storage::Warehouse;
use tapehouse_lake::{AppendOutcome, CommitError, CommitPolicy, Lake, LakeError, TableName};

use crate::place::{Kind, on_each_catalog};
use crate::support::{Rig, live_files};

on_each_catalog! {
    a_lost_answer_is_resolved_as_committed_exactly_once,
    a_lost_request_is_sent_again,
    what_stays_unknown_is_said_and_the_same_commit_can_be_asked_again,
    a_race_lost_for_ever_ends,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// The swap happens, the answer is lost.
    LoseAnswer,
    /// The swap does not happen, the answer is lost.
    LoseRequest,
    /// The swap happens, the answer is lost, and then the catalog cannot be read either.
    LoseAnswerAndLoads,
    /// Somebody else is always faster.
    Conflict,
}

#[derive(Debug)]
struct Faulty {
    catalog: Arc<dyn CommitBackend>,
    fault: Fault,
    left: AtomicU32,
    failing_loads: AtomicU32,
}

impl Faulty {
    fn strikes(&self) -> bool {
        self.left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
            .is_ok()
    }
}

#[async_trait]
impl CommitBackend for Faulty {
    fn writes_metadata(&self) -> bool {
        self.catalog.writes_metadata()
    }

    async fn load(&self, table: &TableName) -> Result<Option<Pointer>, LakeError> {
        if self
            .failing_loads
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
            .is_ok()
        {
            return Err(LakeError::Interrupted("the catalog"));
        }
        self.catalog.load(table).await
    }

    async fn create(&self, creation: &Creation<'_>) -> Result<Option<Pointer>, LakeError> {
        self.catalog.create(creation).await
    }

    async fn swap(&self, swap: &Swap<'_>) -> Result<Pointer, SwapError> {
        let lost = || Err(SwapError::Unknown("connection reset".into()));
        match self.fault {
            _ if !self.strikes() => self.catalog.swap(swap).await,
            Fault::LoseRequest => lost(),
            Fault::Conflict => Err(SwapError::Conflict),
            Fault::LoseAnswer => self.catalog.swap(swap).await.and_then(|_| lost()),
            Fault::LoseAnswerAndLoads => {
                self.catalog.swap(swap).await?;
                self.failing_loads.store(3, Ordering::SeqCst);
                lost()
            }
        }
    }

    async fn list(&self) -> Result<Vec<TableName>, LakeError> {
        self.catalog.list().await
    }
}

pub async fn faulty(rig: &Rig, fault: Fault, times: u32) -> Lake {
    let backend = Faulty {
        catalog: rig.catalog().await,
        fault,
        left: AtomicU32::new(times),
        failing_loads: AtomicU32::new(0),
    };
    let settings = &rig.place.settings;
    Lake::with_backend(
        Arc::new(backend),
        Warehouse::at(&settings.warehouse, &settings.s3).unwrap(),
    )
}

async fn a_lost_answer_is_resolved_as_committed_exactly_once(kind: Kind) {
    for fault in [Fault::LoseAnswer, Fault::LoseAnswerAndLoads] {
        let Some(rig) = Rig::new(kind).await else { return };
        rig.append(&[(0, 0, 5)]).await;
        let staged = rig.stage(&[(0, 5, 9)]).await;
        let outcome = faulty(&rig, fault, 1).await.append(&rig.ident, &staged).await.unwrap();
        let AppendOutcome::Committed {
            attempts, snapshot_id, ..
        } = outcome
        else {
            panic!("{fault:?}: {outcome:?}");
        };
        assert!(attempts >= 2, "{fault:?}");
        let table = rig.table().await;
        assert_eq!(table.metadata().current_snapshot_id(), Some(snapshot_id), "{fault:?}");
        assert_eq!(live_files(&rig.lake, &table).await.len(), 2, "{fault:?}");
        assert_eq!(rig.rows().await.len(), 9, "{fault:?}");
    }
}

async fn a_lost_request_is_sent_again(kind: Kind) {
    let Some(rig) = Rig::new(kind).await else { return };
    let staged = rig.stage(&[(0, 0, 4)]).await;
    let outcome = faulty(&rig, Fault::LoseRequest, 2)
        .await
        .append(&rig.ident, &staged)
        .await
        .unwrap();
    assert!(
        matches!(outcome, AppendOutcome::Committed { attempts: 3, .. }),
        "{outcome:?}"
    );
    assert_eq!(rig.rows().await.len(), 4);
}

async fn what_stays_unknown_is_said_and_the_same_commit_can_be_asked_again(kind: Kind) {
    let Some(rig) = Rig::new(kind).await else { return };
    let staged = rig.stage(&[(0, 0, 4)]).await;
    let policy = CommitPolicy {
        max_attempts: 3,
        deadline: Duration::from_secs(5),
        ..CommitPolicy::default()
    };
    let lake = faulty(&rig, Fault::LoseAnswerAndLoads, 1).await.with_policy(policy);
    let error = lake.append(&rig.ident, &staged).await.unwrap_err();
    assert!(matches!(error, CommitError::Unknown { .. }), "{error}");
    assert!(error.is_retryable());
    let mut again = lake.append(&rig.ident, &staged).await;
    if again.is_err() {
        again = lake.append(&rig.ident, &staged).await;
    }
    assert!(matches!(again.unwrap(), AppendOutcome::Committed { .. }));
    assert_eq!(rig.rows().await.len(), 4);
}

async fn a_race_lost_for_ever_ends(kind: Kind) {
    let Some(rig) = Rig::new(kind).await else { return };
    let staged = rig.stage(&[(0, 0, 4)]).await;
    let policy = CommitPolicy {
        max_attempts: 4,
        ..CommitPolicy::default()
    };
    let lake = faulty(&rig, Fault::Conflict, u32::MAX).await.with_policy(policy);
    let error = lake.append(&rig.ident, &staged).await.unwrap_err();
    assert!(matches!(error, CommitError::Conflict { attempts: 4, .. }), "{error}");
    assert!(rig.table().await.metadata().current_snapshot().is_none());
}
