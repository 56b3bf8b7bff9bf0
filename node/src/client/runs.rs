//! Runs, backfills and schedules of a node.

use tapehouse_proto::v1;
use tapehouse_proto::v1::backfills_client::BackfillsClient;
use tapehouse_proto::v1::runs_client::RunsClient;
use tapehouse_proto::v1::schedules_client::SchedulesClient;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Response, Status};

use super::{ANSWER_MAX_BYTES, Bearer, NodeClient};
use crate::exit::Failure;

type Authorized = InterceptedService<Channel, Bearer>;

impl NodeClient {
    fn runs_client(&self) -> RunsClient<Authorized> {
        RunsClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_MAX_BYTES)
    }

    fn backfills_client(&self) -> BackfillsClient<Authorized> {
        BackfillsClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_MAX_BYTES)
    }

    fn schedules_client(&self) -> SchedulesClient<Authorized> {
        SchedulesClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_MAX_BYTES)
    }

    /// All schedules.
    pub async fn list_schedules(&self) -> Result<Vec<v1::Schedule>, Failure> {
        let answer = self
            .schedules_client()
            .list_schedules(v1::ListSchedulesRequest {})
            .await;
        Ok(self.told(answer)?.schedules)
    }

    /// Has one fire no more, or again.
    pub async fn pause_schedule(&self, name: String, is_paused: bool) -> Result<Option<v1::Schedule>, Failure> {
        let mut client = self.schedules_client();
        Ok(match is_paused {
            true => {
                self.told(client.pause_schedule(v1::PauseScheduleRequest { name }).await)?
                    .schedule
            }
            false => {
                self.told(client.resume_schedule(v1::ResumeScheduleRequest { name }).await)?
                    .schedule
            }
        })
    }

    /// Has one do its work now; the backfill that it entered, or nothing.
    pub async fn trigger_schedule(&self, name: String) -> Result<String, Failure> {
        let answer = self
            .schedules_client()
            .trigger_schedule(v1::TriggerScheduleRequest { name })
            .await;
        Ok(self.told(answer)?.backfill)
    }

    fn told<T>(&self, answer: Result<Response<T>, Status>) -> Result<T, Failure> {
        answer.map(Response::into_inner).map_err(|status| self.failure(&status))
    }

    /// One page of runs.
    ///
    /// # Errors
    /// A refused request; a node that does not answer. So with all of these.
    pub async fn list_runs(&self, request: v1::ListRunsRequest) -> Result<v1::ListRunsResponse, Failure> {
        self.told(self.runs_client().list_runs(request).await)
    }

    /// One run with its log.
    pub async fn get_run(&self, id: u64) -> Result<Option<v1::Run>, Failure> {
        let answer = self.runs_client().get_run(v1::GetRunRequest { id }).await;
        Ok(self.told(answer)?.run)
    }

    /// Computes its day once more.
    pub async fn retry_run(&self, id: u64) -> Result<Option<v1::Run>, Failure> {
        let answer = self.runs_client().retry_run(v1::RetryRunRequest { id }).await;
        Ok(self.told(answer)?.run)
    }

    /// Ends a run that waits.
    pub async fn cancel_run(&self, id: u64) -> Result<Option<v1::Run>, Failure> {
        let answer = self.runs_client().cancel_run(v1::CancelRunRequest { id }).await;
        Ok(self.told(answer)?.run)
    }

    /// Enters a backfill.
    pub async fn create_backfill(
        &self,
        request: v1::CreateBackfillRequest,
    ) -> Result<v1::CreateBackfillResponse, Failure> {
        self.told(self.backfills_client().create_backfill(request).await)
    }

    /// All backfills.
    pub async fn list_backfills(&self) -> Result<Vec<v1::Backfill>, Failure> {
        let answer = self
            .backfills_client()
            .list_backfills(v1::ListBackfillsRequest {})
            .await;
        Ok(self.told(answer)?.backfills)
    }

    /// One backfill.
    pub async fn get_backfill(&self, id: String) -> Result<Option<v1::Backfill>, Failure> {
        let answer = self
            .backfills_client()
            .get_backfill(v1::GetBackfillRequest { id })
            .await;
        Ok(self.told(answer)?.backfill)
    }

    /// Puts it off, or goes on with it.
    pub async fn pause_backfill(&self, id: String, is_paused: bool) -> Result<Option<v1::Backfill>, Failure> {
        let mut client = self.backfills_client();
        Ok(match is_paused {
            true => {
                self.told(client.pause_backfill(v1::PauseBackfillRequest { id }).await)?
                    .backfill
            }
            false => {
                self.told(client.resume_backfill(v1::ResumeBackfillRequest { id }).await)?
                    .backfill
            }
        })
    }

    /// Ends what of it has not begun.
    pub async fn cancel_backfill(&self, id: String) -> Result<Option<v1::Backfill>, Failure> {
        let answer = self
            .backfills_client()
            .cancel_backfill(v1::CancelBackfillRequest { id })
            .await;
        Ok(self.told(answer)?.backfill)
    }
}
