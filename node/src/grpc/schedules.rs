//! `tapehouse.v1.Schedules`

use std::sync::Arc;

use tapehouse_actors::{AskError, ScheduleStatus, Schedules as NodeSchedules};
use tapehouse_core::schedule::CatchUp;
use tapehouse_proto::v1;
use tapehouse_proto::v1::schedules_server::Schedules;
use tonic::{Request, Response, Status};

use super::refusal::Refusal;
use super::source::Source;
use crate::runs::{ask_failure, timestamp};

/// The service.
pub struct SchedulesService(pub Arc<Source>);

impl SchedulesService {
    /// Asks the schedules, whose answers wait for the disk.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&NodeSchedules) -> Result<T, AskError> + Send + 'static,
    ) -> Result<T, Status> {
        let schedules = self.0.schedules.clone();
        let answer = self.0.read(async move { question(&schedules) }).await?;
        Ok(answer.map_err(ask_failure).map_err(Refusal::from)?)
    }

    async fn pause(&self, name: String, is_paused: bool) -> Result<Option<v1::Schedule>, Status> {
        let status = self.ask(move |schedules| schedules.pause(&name, is_paused)).await?;
        Ok(Some(answer(&status)))
    }
}

fn answer(status: &ScheduleStatus) -> v1::Schedule {
    let catch_up = match status.catch_up {
        CatchUp::Once => v1::CatchUp::Once,
        CatchUp::Each => v1::CatchUp::Each,
    };
    v1::Schedule {
        name: status.name.to_owned(),
        cron: status.cron.clone(),
        catch_up: catch_up.into(),
        paused: status.next_us.is_none(),
        last_time: status.last_us.map(timestamp),
        next_time: status.next_us.map(timestamp),
    }
}

#[tonic::async_trait]
impl Schedules for SchedulesService {
    async fn list_schedules(
        &self,
        _request: Request<v1::ListSchedulesRequest>,
    ) -> Result<Response<v1::ListSchedulesResponse>, Status> {
        let all = self.ask(|schedules| Ok(schedules.list()?)).await?;
        Ok(Response::new(v1::ListSchedulesResponse {
            schedules: all.iter().map(answer).collect(),
        }))
    }

    async fn pause_schedule(
        &self,
        request: Request<v1::PauseScheduleRequest>,
    ) -> Result<Response<v1::PauseScheduleResponse>, Status> {
        let schedule = self.pause(request.into_inner().name, true).await?;
        Ok(Response::new(v1::PauseScheduleResponse { schedule }))
    }

    async fn resume_schedule(
        &self,
        request: Request<v1::ResumeScheduleRequest>,
    ) -> Result<Response<v1::ResumeScheduleResponse>, Status> {
        let schedule = self.pause(request.into_inner().name, false).await?;
        Ok(Response::new(v1::ResumeScheduleResponse { schedule }))
    }

    async fn trigger_schedule(
        &self,
        request: Request<v1::TriggerScheduleRequest>,
    ) -> Result<Response<v1::TriggerScheduleResponse>, Status> {
        let (name, schedules) = (request.into_inner().name, self.0.schedules.clone());
        let triggered = self.0.read(async move { schedules.trigger(&name).await }).await?;
        let backfill = triggered
            .map_err(ask_failure)
            .map_err(Refusal::from)?
            .unwrap_or_default();
        Ok(Response::new(v1::TriggerScheduleResponse { backfill }))
    }
}
