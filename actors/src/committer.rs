//! CommitActor: the only one in this node that commits to its table.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use iceberg::spec::DataFile;
use tapehouse_core::append::AppendRequest;
use tapehouse_core::backoff::Backoff;
use tapehouse_core::clock::now_ms;
use tapehouse_core::failpoint;
use tapehouse_core::freshness::ProducedAt;
use tapehouse_core::watermark::{Touched, Watermark};
use tapehouse_lake::commit::{CommitOutcome, MovedFile, Rewrite, keys};
use tapehouse_lake::{AppendOutcome, CommitError, Lake, LoadedTable, StagedAppend, TableName, WantedColumn};
use tokio::sync::{broadcast, mpsc, oneshot};
use uuid::Uuid;

use crate::checkpoint::{Checkpoint, Checkpoints};
use crate::clock::ClockWatch;
use crate::failure::{ALERT_AT, Failure};
use crate::ingest::IngestHandle;
use crate::metrics::Metrics;
use crate::progress::{ProgressCell, TopicState};
use crate::undecodable::Notices;

/// Files that are written and durable, and what they cover.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) files: Vec<DataFile>,
    pub(crate) request: AppendRequest,
    pub(crate) schema_id: i32,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) undecodable: BTreeMap<&'static str, u64>,
    pub(crate) produced_at: ProducedAt,
    pub(crate) event_time_span_us: Option<(i64, i64)>,
    pub(crate) run_id: Arc<str>,
}

/// What the committer is asked.
pub(crate) enum Request {
    /// Commit a staged set; the answer comes when it is in the table, or never will be.
    Append(Box<Staged>, oneshot::Sender<Result<(), Failure>>),
    /// Commit files that take the place of others, with the same rows.
    Rewrite(Box<Rewrite>, oneshot::Sender<Result<CommitOutcome<MovedFile>, Failure>>),
    /// Add or widen columns of the schema `base`; the answer is the table with them.
    EvolveColumns {
        base: i32,
        columns: Vec<WantedColumn>,
        answer: oneshot::Sender<Result<LoadedTable, Failure>>,
    },
}

/// State of the actor.
pub(crate) struct Committer {
    pub(crate) lake: Lake,
    pub(crate) table: TableName,
    pub(crate) node: String,
    pub(crate) metrics: Metrics,
    pub(crate) progress: ProgressCell,
    pub(crate) clock: ClockWatch,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) watermarks: broadcast::Sender<Watermark>,
    pub(crate) ingest: IngestHandle,
    pub(crate) notices: Notices,
}

impl Committer {
    /// Serves requests until nobody can send any more.
    pub(crate) async fn run(self, mut requests: mpsc::Receiver<Request>) {
        while let Some(request) = requests.recv().await {
            // Whoever asked may be gone: then its pipeline was torn down, and the next one reads the table's truth.
            match request {
                Request::Append(staged, answer) => {
                    let _ = answer.send(self.append(*staged).await);
                }
                Request::Rewrite(rewrite, answer) => {
                    let _ = answer.send(self.rewrite(&rewrite).await);
                }
                Request::EvolveColumns { base, columns, answer } => {
                    self.clock.hold_saying(&self.progress).await;
                    let added = self.lake.evolve_columns(&self.table, base, &columns).await;
                    let _ = answer.send(added.map_err(Failure::from));
                }
            }
        }
    }

    /// Not repeated here: what is not committed is planned anew.
    async fn rewrite(&self, rewrite: &Rewrite) -> Result<CommitOutcome<MovedFile>, Failure> {
        self.clock.hold_saying(&self.progress).await;
        let outcome = self.lake.rewrite(&self.table, rewrite).await?;
        if let CommitOutcome::Committed(committed) = &outcome {
            let table = self.table.to_string();
            self.metrics.conflicts(&table, committed.attempts);
            self.metrics.files(&table, &committed.table);
        }
        Ok(outcome)
    }

    async fn append(&self, staged: Staged) -> Result<(), Failure> {
        let started = Instant::now();
        let set = StagedAppend {
            summary: self.summary(&staged),
            files: staged.files.clone(),
            request: staged.request.clone(),
            commit_id: Uuid::new_v4(),
            schema_id: staged.schema_id,
        };
        let outcome = self.append_until_certain(&set).await;
        let table = self.table.to_string();
        self.metrics
            .commit_seconds
            .with_label_values(&[&table])
            .observe(started.elapsed().as_secs_f64());
        let count = |outcome: &str| self.metrics.commits.with_label_values(&[&table, outcome]).inc();
        match outcome {
            Ok(AppendOutcome::Committed {
                snapshot_id,
                table: committed,
                attempts,
                ..
            }) => {
                count("committed");
                self.metrics.conflicts(&table, attempts);
                self.published(staged, snapshot_id, &committed, started);
                failpoint::reach("before_acknowledge");
                Ok(())
            }
            Ok(AppendOutcome::AlreadyCommitted { state }) => {
                count("already_committed");
                tracing::info!(table, "the table has these ranges already: nothing was written");
                self.progress.set_next(state.next);
                Ok(())
            }
            Ok(AppendOutcome::Refused { reason, .. }) => {
                count("refused");
                Err(reason.into())
            }
            Err(error) => {
                count("error");
                self.metrics.asset_failures.with_label_values(&[&table]).inc();
                Err(error.into())
            }
        }
    }

    /// Repeats what may heal by itself, for ever: the staged files stay valid, and the commit id keeps them from being
    /// committed twice.
    async fn append_until_certain(&self, set: &StagedAppend) -> Result<AppendOutcome, CommitError> {
        let mut failures = 0;
        loop {
            self.clock.hold_saying(&self.progress).await;
            match self.lake.append(&self.table, set).await {
                Err(error) if error.is_retryable() => {
                    failures += 1;
                    let code = error.code();
                    self.progress.set_state(TopicState::Retrying {
                        code,
                        error: error.to_string(),
                        attempt: failures,
                    });
                    let delay = Backoff::INGEST.delay(failures - 1, rand::random());
                    if failures == ALERT_AT {
                        tracing::error!(node = self.node, actor = "committer", table = %self.table, %error, failures, code, alert = true, "commits keep failing");
                        self.metrics
                            .asset_failures
                            .with_label_values(&[&self.table.to_string()])
                            .inc();
                    } else {
                        tracing::warn!(node = self.node, actor = "committer", table = %self.table, %error, failures, ?delay, code, "commit failed, trying again");
                    }
                    tokio::time::sleep(delay).await;
                }
                certain => {
                    if failures > 0 {
                        self.progress.set_state(TopicState::Running);
                    }
                    return certain;
                }
            }
        }
    }

    fn summary(&self, staged: &Staged) -> BTreeMap<String, String> {
        let undecodable: u64 = staged.undecodable.values().sum();
        let mut summary = BTreeMap::from([
            ("tapehouse.rows".to_owned(), staged.rows.to_string()),
            (keys::UNDECODABLE.to_owned(), undecodable.to_string()),
            ("tapehouse.bytes".to_owned(), staged.bytes.to_string()),
            ("tapehouse.run-id".to_owned(), staged.run_id.to_string()),
            ("tapehouse.node".to_owned(), self.node.clone()),
            // One node alone: the first epoch. Assignments by Raft will number them.
            ("tapehouse.epoch".to_owned(), "0".to_owned()),
        ]);
        if let Some((_, latest)) = staged.event_time_span_us {
            summary.insert("tapehouse.max-event-time-us".to_owned(), latest.to_string());
        }
        summary
    }

    /// Everything that follows a commit, none of which correctness depends on.
    fn published(&self, staged: Staged, snapshot: i64, table: &LoadedTable, started: Instant) {
        let name = self.table.to_string();
        let visible_ms = now_ms();
        let undecodable: u64 = staged.undecodable.values().sum();
        let topic = staged.request.topic.as_str();
        let records = |outcome: &str| self.metrics.records.with_label_values(&[topic, outcome]);
        records("decoded").inc_by(staged.rows - undecodable);
        records("undecodable").inc_by(undecodable);
        for (code, count) in &staged.undecodable {
            self.metrics
                .decode_errors
                .with_label_values(&[topic, code])
                .inc_by(*count);
        }
        self.notices.committed(topic, &name, &staged.undecodable);
        self.metrics.visible(&name, visible_ms, &staged.produced_at);
        let delays = staged.produced_at.delays_ms(visible_ms);
        self.progress.committed(staged.rows, undecodable, visible_ms, delays);
        let commit_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(
            node = self.node,
            run_id = %staged.run_id,
            actor = "committer",
            table = name,
            snapshot_id = snapshot,
            rows = staged.rows,
            undecodable,
            commit_ms,
            "committed"
        );
        self.checkpoint(&name, table, staged.event_time_span_us.map(|span| span.1));
        let watermark = Watermark {
            table: name,
            snapshot,
            rows: staged.rows,
            touched: Touched::Offsets {
                ranges: staged.request.ranges,
                incarnation: staged.request.incarnation,
                event_time_span_us: staged.event_time_span_us,
            },
        };
        // Without subscribers there is nobody to tell; a watermark is only a hint.
        let _ = self.watermarks.send(watermark);
    }

    fn checkpoint(&self, name: &str, table: &LoadedTable, max_event_time_us: Option<i64>) {
        let Ok(state) = table.stream_state() else { return };
        let total_rows = table.live_rows().unwrap_or(0);
        self.metrics
            .table_rows
            .with_label_values(&[name])
            .set(i64::try_from(total_rows).unwrap_or(i64::MAX));
        self.metrics.files(name, table);
        self.progress.set_next(state.next.clone());
        self.progress.check_caught_up();
        self.ingest.commit_group(state.next.clone());
        let checkpoint = Checkpoint {
            table_uuid: table.metadata().uuid().to_string(),
            state,
            total_rows,
            max_event_time_us,
        };
        self.checkpoints.put(name, &checkpoint);
        failpoint::reach("after_checkpoint");
    }
}
