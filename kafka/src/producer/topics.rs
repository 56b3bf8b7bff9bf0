//! Topics that are missing are created before the first record.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka::types::RDKafkaErrorCode;

use super::{Context, ProducerError};
use crate::KafkaSettings;
use crate::access::Unanswered;

const TIMEOUT: Duration = Duration::from_secs(15);

/// Creates those of `topics` that do not exist, with the brokers' default replication and without a limit of age: the
/// generator's records may carry times long past, which the brokers would else delete at once. `partitions` `None`:
/// creates nothing, but an absent topic is an error all the same. Returns the names created.
///
/// # Errors
/// [`ProducerError::Unreachable`] if no broker answers within 15 s, [`ProducerError::Topic`] if one is absent or refused.
pub async fn ensure_topics(
    settings: &KafkaSettings,
    topics: &[String],
    partitions: Option<i32>,
) -> Result<Vec<String>, ProducerError> {
    settings.check()?;
    let config = settings.client_config(&[], &[]);
    let (servers, asked) = (settings.bootstrap_servers.clone(), settings.clone());
    let unreachable = move |cause| ProducerError::Unreachable {
        servers: servers.clone(),
        cause,
    };
    let (admin, existing) = tokio::task::spawn_blocking(move || {
        let admin: AdminClient<DefaultClientContext> = config.create().map_err(ProducerError::Settings)?;
        let existing = existing_topics(&asked).map_err(|unanswered| match unanswered {
            Unanswered::Refused(refusal) => refusal.into(),
            Unanswered::Kafka(cause) => unreachable(cause),
        })?;
        Ok::<_, ProducerError>((admin, existing))
    })
    .await
    .map_err(|panic| ProducerError::Topic {
        topic: topics.join(", "),
        reason: panic.to_string(),
    })??;

    let missing: Vec<String> = topics
        .iter()
        .filter(|topic| !existing.contains(*topic))
        .cloned()
        .collect();
    if let Some(topic) = missing.first() {
        let Some(partitions) = partitions else {
            return Err(ProducerError::Topic {
                topic: topic.clone(),
                reason: "it does not exist".to_owned(),
            });
        };
        create(&admin, &missing, partitions).await?;
    }
    // Ends librdkafka's threads, which may take a moment.
    let _ended = tokio::task::spawn_blocking(move || drop(admin)).await;
    Ok(missing)
}

/// All names: asking for one topic would make some brokers create it, with their own number of partitions. A producer asks, since
/// what the brokers refuse can be heard of there.
fn existing_topics(settings: &KafkaSettings) -> Result<BTreeSet<String>, Unanswered> {
    let context = Context::default();
    let heard = context.0.heard.clone();
    let config = settings.client_config(&[], &[]);
    let asking: BaseProducer<Context> =
        BaseProducer::from_config_and_context(&config, context).map_err(Unanswered::Kafka)?;
    let fetch = |timeout| asking.client().fetch_metadata(None, timeout);
    let metadata = heard.ask(settings, TIMEOUT, fetch, || asking.poll(Duration::ZERO))?;
    Ok(metadata.topics().iter().map(|topic| topic.name().to_owned()).collect())
}

async fn create(
    admin: &AdminClient<DefaultClientContext>,
    missing: &[String],
    partitions: i32,
) -> Result<(), ProducerError> {
    let new_topics: Vec<NewTopic<'_>> = missing
        .iter()
        .map(|name| NewTopic::new(name, partitions, TopicReplication::Fixed(-1)).set("retention.ms", "-1"))
        .collect();
    let options = AdminOptions::new()
        .operation_timeout(Some(TIMEOUT))
        .request_timeout(Some(TIMEOUT));
    let results = admin
        .create_topics(&new_topics, &options)
        .await
        .map_err(|error| ProducerError::Topic {
            topic: missing.join(", "),
            reason: error.to_string(),
        })?;
    for result in results {
        match result {
            // Somebody else was faster, which is as good.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => {
                return Err(ProducerError::Topic {
                    topic,
                    reason: code.to_string(),
                });
            }
        }
    }
    Ok(())
}
