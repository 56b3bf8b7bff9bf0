//! `tapehouse.v1.Offsets`

use std::sync::Arc;
use std::time::Duration;

use tapehouse_proto::v1;
use tapehouse_proto::v1::offsets_server::Offsets;
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::page::page;
use super::refusal::{Reason, Refusal};
use super::source::Source;

const TOPICS_MAX: usize = 1000;
/// Bounds of the time between two answers to a watcher.
const INTERVAL: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
/// A watcher is sent away after this time, so that balancers can move it.
pub(super) const WATCH_MAX: Duration = Duration::from_secs(600);

/// The service.
pub struct OffsetsService(pub Arc<Source>);

#[tonic::async_trait]
impl Offsets for OffsetsService {
    async fn list_offsets(
        &self,
        request: Request<v1::ListOffsetsRequest>,
    ) -> Result<Response<v1::ListOffsetsResponse>, Status> {
        let request = request.into_inner();
        let places = self.0.topics_meant(&request.topics)?;
        let offsets = self.0.offsets().await?;
        let topics = picked(&offsets, &places);
        let names: Vec<String> = topics.iter().map(|topic| topic.topic.clone()).collect();
        let (range, next_page_token) = page(&names, request.page_size, TOPICS_MAX, &request.page_token)?;
        Ok(Response::new(v1::ListOffsetsResponse {
            cluster: self.0.identity.cluster.clone(),
            topics: topics.get(range).unwrap_or_default().to_vec(),
            next_page_token,
        }))
    }

    type WatchOffsetsStream = ReceiverStream<Result<v1::WatchOffsetsResponse, Status>>;

    async fn watch_offsets(
        &self,
        request: Request<v1::WatchOffsetsRequest>,
    ) -> Result<Response<Self::WatchOffsetsStream>, Status> {
        let request = request.into_inner();
        let places = self.0.topics_meant(&request.topics)?;
        let interval = interval(request.interval)?;
        let permit = Arc::clone(&self.0.watchers).try_acquire_owned();
        let permit = permit.map_err(|_| Refusal::new(Reason::Overloaded, "there are too many watchers already"))?;
        let (sender, receiver) = mpsc::channel(1);
        let source = Arc::clone(&self.0);
        tokio::spawn(async move {
            let _permit = permit;
            watch(&source, &places, interval, &sender).await;
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

fn picked(offsets: &[v1::TopicOffsets], places: &[usize]) -> Vec<v1::TopicOffsets> {
    places.iter().filter_map(|place| offsets.get(*place)).cloned().collect()
}

/// The time between two answers that a watcher asks for.
pub(super) fn interval(asked: Option<prost_types::Duration>) -> Result<Duration, Refusal> {
    let Some(asked) = asked else {
        return Ok(INTERVAL_DEFAULT);
    };
    let interval = Duration::try_from(asked)
        .ok()
        .filter(|interval| INTERVAL.contains(interval));
    interval.ok_or_else(|| Refusal::invalid("interval must be from 0.1 s to 60 s"))
}

type Answers = mpsc::Sender<Result<v1::WatchOffsetsResponse, Status>>;

/// Answers until the watcher has gone, the node stops, something fails or the time is over.
async fn watch(source: &Arc<Source>, places: &[usize], interval: Duration, answers: &Answers) {
    let mut end = std::pin::pin!(tokio::time::sleep(WATCH_MAX));
    let mut tick = tokio::time::interval(interval);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut sent = None;
    loop {
        tokio::select! {
            () = &mut end => return,
            () = answers.closed() => return,
            () = source.drained() => {
                let _ = answers.send(Err(Refusal::draining().into())).await;
                return;
            }
            _ = tick.tick() => {}
        }
        let topics = match source.offsets().await {
            Ok(offsets) => picked(&offsets, places),
            Err(refusal) => {
                let _ = answers.send(Err(refusal.into())).await;
                return;
            }
        };
        let stable = without_ages(&topics);
        if sent.as_ref() == Some(&stable) {
            continue;
        }
        sent = Some(stable);
        let answer = v1::WatchOffsetsResponse {
            cluster: source.identity.cluster.clone(),
            topics,
        };
        if answers.send(Ok(answer)).await.is_err() {
            return;
        }
    }
}

/// Without the texts that say how long ago something was: time alone is no change.
fn without_ages(topics: &[v1::TopicOffsets]) -> Vec<v1::TopicOffsets> {
    let mut topics = topics.to_vec();
    topics.iter_mut().for_each(|topic| topic.reason.clear());
    topics
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_the_interval() {
        let of = |seconds, nanos| interval(Some(prost_types::Duration { seconds, nanos }));
        assert_eq!(interval(None), Ok(INTERVAL_DEFAULT));
        assert_eq!(of(0, 100_000_000), Ok(Duration::from_millis(100)));
        for (seconds, nanos) in [(0, 0), (61, 0), (-1, 0), (i64::MAX, i32::MAX), (i64::MIN, -1)] {
            assert!(of(seconds, nanos).is_err(), "{seconds} {nanos}");
        }
    }
}
