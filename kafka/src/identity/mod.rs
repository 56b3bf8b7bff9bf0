//! Which topic is it? Ids of cluster and topics, asked by a thread of its own, for all topics of a node together.

mod native;

use std::collections::BTreeSet;
use std::ffi::CString;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use tapehouse_core::identity::TopicIdentity;
use tokio::sync::oneshot;

use crate::KafkaSettings;
use crate::access::{AccessError, Unanswered};
use crate::consumer::{ConsumerError, LogContext};
use native::Described;

/// Longest wait for Kafka's answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Questions that may wait. A topic asks one at a time, so that this is a bound and no limit.
const WAITING: usize = 4096;
/// How often the client's own log lines are taken while nobody asks.
const IDLE: Duration = Duration::from_secs(1);
/// Log lines taken at once.
const LOG_LINES: usize = 256;

struct Question {
    topic: String,
    answer: oneshot::Sender<Result<TopicIdentity, ConsumerError>>,
}

/// A cheap handle on the thread that asks. The thread ends with the last handle.
#[derive(Clone, Debug)]
pub struct Identities {
    questions: SyncSender<Question>,
}

impl Identities {
    /// Starts the thread. Does not wait for Kafka.
    ///
    /// # Errors
    /// When librdkafka rejects a property, or no thread can be started.
    pub fn start(settings: &KafkaSettings) -> Result<Self, ConsumerError> {
        let base = [("group.id", "tapehouse-identity"), ("reconnect.backoff.max.ms", "2000")];
        let client: BaseConsumer<LogContext> = settings
            .client_config(&base, &[("enable.auto.commit", "false")])
            .create_with_context(LogContext::default())?;
        let (questions, waiting) = sync_channel(WAITING);
        let settings = settings.clone();
        std::thread::Builder::new()
            .name("topic-ids".into())
            .spawn(move || serve(&client, &settings, &waiting))
            .map_err(|error| KafkaError::ClientCreation(format!("no thread could be started: {error}")))?;
        Ok(Self { questions })
    }

    /// Asks Kafka what `topic` is now: the answer is never older than the question.
    ///
    /// # Errors
    /// [`ConsumerError::TopicAbsent`]; what kept the answer from coming within 5 s.
    pub async fn observe(&self, topic: &str) -> Result<TopicIdentity, ConsumerError> {
        let (answer, observed) = oneshot::channel();
        let question = Question {
            topic: topic.to_owned(),
            answer,
        };
        let unanswered = || KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut);
        self.questions.try_send(question).map_err(|_| unanswered())?;
        observed.await.map_err(|_| unanswered())?
    }
}

/// Answers until the last handle is gone. Questions that came in meanwhile are put to Kafka together.
fn serve(client: &BaseConsumer<LogContext>, settings: &KafkaSettings, waiting: &Receiver<Question>) {
    let (mut is_silent, mut broker) = (false, None);
    loop {
        let first = match waiting.recv_timeout(IDLE) {
            Ok(question) => Some(question),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if let Some(first) = first {
            let mut questions = vec![first];
            questions.extend(waiting.try_iter().take(WAITING));
            let described = describe(client, settings, &questions, &mut broker);
            answer(questions, &described, &mut is_silent);
        }
        hear(client);
    }
}

/// Its own log lines and errors wait in the client's queue until somebody takes them.
fn hear(client: &BaseConsumer<LogContext>) {
    // One call handles one event, and does not say whether there are more.
    for _ in 0..LOG_LINES {
        let _nothing_is_assigned = client.poll(Duration::ZERO);
    }
}

/// What Kafka says of all topics that are asked about. `broker` is the one that answered last, asked again until it fails.
fn describe(
    client: &BaseConsumer<LogContext>,
    settings: &KafkaSettings,
    questions: &[Question],
    broker: &mut Option<i32>,
) -> Result<Described, Unanswered> {
    let names: BTreeSet<&str> = questions.iter().map(|question| question.topic.as_str()).collect();
    let names: Vec<CString> = names.into_iter().filter_map(|name| CString::new(name).ok()).collect();
    let asked = match broker.take() {
        Some(broker) => broker,
        None => any_broker(client, settings, &questions[0].topic)?,
    };
    let heard = &client.context().heard;
    let described = native::describe(client, asked, &names, TIMEOUT).map_err(|error| {
        hear(client);
        heard.cause(error, settings)
    })?;
    heard.clear();
    *broker = Some(asked);
    Ok(described)
}

fn answer(questions: Vec<Question>, described: &Result<Described, Unanswered>, is_silent: &mut bool) {
    for Question { topic, answer } in questions {
        let found = match described {
            Err(unanswered) => Err(unanswered.clone().into()),
            Ok(described) => match described.topics.get(&topic) {
                None | Some(Err(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic)) => {
                    Err(ConsumerError::TopicAbsent(topic))
                }
                Some(Err(RDKafkaErrorCode::TopicAuthorizationFailed)) => Err(AccessError::Topic(topic).into()),
                Some(Err(code)) => Err(KafkaError::MetadataFetch(*code).into()),
                Some(Ok(topic_id)) => {
                    if topic_id.is_none() && !std::mem::replace(is_silent, true) {
                        tracing::debug!(topic, "the broker has no topic ids: a recreated topic cannot be told");
                    }
                    Ok(TopicIdentity {
                        kafka_cluster_id: described.cluster_id.clone(),
                        topic_id: topic_id.clone(),
                    })
                }
            },
        };
        // Who asked may be gone: its pipeline was torn down.
        let _ = answer.send(found);
    }
}

/// Id of a broker that answers.
fn any_broker(client: &BaseConsumer<LogContext>, settings: &KafkaSettings, topic: &str) -> Result<i32, Unanswered> {
    let fetch = |timeout| client.fetch_metadata(Some(topic), timeout);
    let metadata = client.context().heard.ask(settings, TIMEOUT, fetch, || hear(client))?;
    let broker = metadata.brokers().first().map(|broker| broker.id());
    let none = KafkaError::MetadataFetch(RDKafkaErrorCode::BrokerNotAvailable);
    broker.ok_or(Unanswered::Kafka(none))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::EmbeddedBroker;

    #[tokio::test]
    async fn topics_have_ids_and_absent_ones_are_named() {
        let broker = EmbeddedBroker::start().unwrap();
        broker.create_topic("t", 2).unwrap();
        broker.create_topic("u", 1).unwrap();
        let identities = Identities::start(&KafkaSettings::new(broker.bootstrap_servers())).unwrap();
        let (t, u) = tokio::join!(identities.observe("t"), identities.observe("u"));
        let (t, u) = (t.unwrap(), u.unwrap());
        assert!(t.topic_id.is_some() && t.kafka_cluster_id.is_some(), "{t:?}");
        assert_eq!(t.kafka_cluster_id, u.kafka_cluster_id);
        assert_ne!(t.topic_id, u.topic_id);
        assert_eq!(identities.observe("t").await.unwrap(), t);
    }

    #[tokio::test]
    async fn a_broker_that_is_away_is_an_error_within_its_time() {
        let identities = Identities::start(&KafkaSettings::new("127.0.0.1:1")).unwrap();
        let started = std::time::Instant::now();
        assert!(matches!(identities.observe("t").await, Err(ConsumerError::Kafka(_))));
        assert!(started.elapsed() < TIMEOUT * 2);
    }
}
