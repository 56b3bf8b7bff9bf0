//! `tapehouse.v1.Runs` and `tapehouse.v1.Backfills`

use std::sync::Arc;
use std::time::Duration;

use tapehouse_proto::v1;
use tapehouse_proto::v1::backfills_server::Backfills;
use tapehouse_proto::v1::runs_server::Runs;
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::offsets::{WATCH_MAX, interval};
use super::refusal::{Reason, Refusal};
use super::source::Source;
use crate::commands::graph::graph;
use crate::exit::Failure;
use crate::runs;

/// Both services.
pub struct RunsService(pub Arc<Source>);

impl RunsService {
    /// Asks the ledger, whose answers wait for the disk.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Source) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Status> {
        let source = Arc::clone(&self.0);
        let answer = self.0.read(async move { question(&source) }).await?;
        Ok(answer.map_err(Refusal::from)?)
    }
}

#[tonic::async_trait]
impl Runs for RunsService {
    async fn list_runs(&self, request: Request<v1::ListRunsRequest>) -> Result<Response<v1::ListRunsResponse>, Status> {
        let request = request.into_inner();
        let answer = self.ask(move |source| runs::list(&source.ledger, &request)).await?;
        Ok(Response::new(answer))
    }

    async fn get_run(&self, request: Request<v1::GetRunRequest>) -> Result<Response<v1::GetRunResponse>, Status> {
        let id = request.into_inner().id;
        let run = Some(self.ask(move |source| runs::get(&source.ledger, id)).await?);
        Ok(Response::new(v1::GetRunResponse { run }))
    }

    type WatchRunsStream = ReceiverStream<Result<v1::WatchRunsResponse, Status>>;

    async fn watch_runs(
        &self,
        request: Request<v1::WatchRunsRequest>,
    ) -> Result<Response<Self::WatchRunsStream>, Status> {
        let request = request.into_inner();
        let interval = interval(request.interval)?;
        let wanted = v1::ListRunsRequest {
            table: request.table,
            states: request.states,
            backfill: request.backfill,
            page_size: request.page_size,
            page_token: String::new(),
        };
        let permit = Arc::clone(&self.0.watchers).try_acquire_owned();
        let permit = permit.map_err(|_| Refusal::new(Reason::Overloaded, "there are too many watchers already"))?;
        let (sender, receiver) = mpsc::channel(1);
        let service = Self(Arc::clone(&self.0));
        tokio::spawn(async move {
            let _permit = permit;
            service.watch(&wanted, interval, &sender).await;
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn retry_run(&self, request: Request<v1::RetryRunRequest>) -> Result<Response<v1::RetryRunResponse>, Status> {
        let id = request.into_inner().id;
        let run = Some(self.ask(move |source| runs::retry(&source.ledger, id)).await?);
        Ok(Response::new(v1::RetryRunResponse { run }))
    }

    async fn cancel_run(
        &self,
        request: Request<v1::CancelRunRequest>,
    ) -> Result<Response<v1::CancelRunResponse>, Status> {
        let id = request.into_inner().id;
        let run = Some(self.ask(move |source| runs::cancel(&source.ledger, id)).await?);
        Ok(Response::new(v1::CancelRunResponse { run }))
    }
}

impl RunsService {
    /// Answers until the watcher has gone, the node stops, something fails or the time is over.
    async fn watch(
        &self,
        wanted: &v1::ListRunsRequest,
        interval: Duration,
        answers: &mpsc::Sender<Result<v1::WatchRunsResponse, Status>>,
    ) {
        let mut changed = self.0.ledger.subscribe();
        let mut end = std::pin::pin!(tokio::time::sleep(WATCH_MAX));
        let mut sent = None;
        loop {
            changed.borrow_and_update();
            let asked = wanted.clone();
            let answer = self.ask(move |source| runs::list(&source.ledger, &asked)).await;
            let runs = match answer {
                Ok(answer) => answer.runs,
                Err(status) => {
                    let _ = answers.send(Err(status)).await;
                    return;
                }
            };
            if sent.as_ref() != Some(&runs) {
                sent = Some(runs.clone());
                if answers.send(Ok(v1::WatchRunsResponse { runs })).await.is_err() {
                    return;
                }
            }
            let next = async {
                tokio::time::sleep(interval).await;
                changed.changed().await
            };
            tokio::select! {
                () = &mut end => return,
                () = answers.closed() => return,
                () = self.0.drained() => {
                    let _ = answers.send(Err(Refusal::draining().into())).await;
                    return;
                }
                changed = next => if changed.is_err() {
                    return;
                }
            }
        }
    }
}

#[tonic::async_trait]
impl Backfills for RunsService {
    async fn create_backfill(
        &self,
        request: Request<v1::CreateBackfillRequest>,
    ) -> Result<Response<v1::CreateBackfillResponse>, Status> {
        let (request, source) = (request.into_inner(), Arc::clone(&self.0));
        let creating = async move {
            let graph = graph(source.topics());
            runs::create(&source.ledger, source.lake(), &graph, &request).await
        };
        let created = self.0.read(creating).await?.map_err(Refusal::from)?;
        Ok(Response::new(created))
    }

    async fn list_backfills(
        &self,
        _request: Request<v1::ListBackfillsRequest>,
    ) -> Result<Response<v1::ListBackfillsResponse>, Status> {
        let backfills = self.ask(|source| runs::backfills(&source.ledger)).await?;
        Ok(Response::new(v1::ListBackfillsResponse { backfills }))
    }

    async fn get_backfill(
        &self,
        request: Request<v1::GetBackfillRequest>,
    ) -> Result<Response<v1::GetBackfillResponse>, Status> {
        let id = request.into_inner().id;
        let backfill = Some(self.ask(move |source| runs::backfill(&source.ledger, &id)).await?);
        Ok(Response::new(v1::GetBackfillResponse { backfill }))
    }

    async fn pause_backfill(
        &self,
        request: Request<v1::PauseBackfillRequest>,
    ) -> Result<Response<v1::PauseBackfillResponse>, Status> {
        let id = request.into_inner().id;
        let backfill = Some(self.ask(move |source| runs::pause(&source.ledger, &id, true)).await?);
        Ok(Response::new(v1::PauseBackfillResponse { backfill }))
    }

    async fn resume_backfill(
        &self,
        request: Request<v1::ResumeBackfillRequest>,
    ) -> Result<Response<v1::ResumeBackfillResponse>, Status> {
        let id = request.into_inner().id;
        let backfill = Some(self.ask(move |source| runs::pause(&source.ledger, &id, false)).await?);
        Ok(Response::new(v1::ResumeBackfillResponse { backfill }))
    }

    async fn cancel_backfill(
        &self,
        request: Request<v1::CancelBackfillRequest>,
    ) -> Result<Response<v1::CancelBackfillResponse>, Status> {
        let id = request.into_inner().id;
        let backfill = Some(
            self.ask(move |source| runs::cancel_backfill(&source.ledger, &id))
                .await?,
        );
        Ok(Response::new(v1::CancelBackfillResponse { backfill }))
    }
}
