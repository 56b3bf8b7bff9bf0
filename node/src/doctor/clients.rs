//! Kafka and the Schema Registry.

use tapehouse_kafka::KafkaSettings;
use tapehouse_kafka::decode::arrow_schema;
use tapehouse_kafka::registry::RegistryClient;
use tapehouse_lake::bronze::table_schema;
use tokio::task::JoinSet;

use super::{Check, Finding, Found, Verdict};
use crate::config::{Config, Topic};
use crate::connect::{consumer_failure, kafka_settings, registry_client, registry_failure};
use crate::console::grouped;
use crate::exit::Failure;
use crate::view::watermarks;

/// Topics that are asked about at once.
const AT_ONCE: usize = 8;

/// Reach and login, then each topic and its offsets.
pub(super) async fn kafka(config: &Config) -> Vec<Check> {
    let settings = match kafka_settings(config) {
        Ok(settings) => settings,
        Err(failure) => return vec![Check::of("kafka", "kafka", async { Err(failure) }).await],
    };
    let Some(first) = config.topics.first().cloned() else {
        return Vec::new();
    };
    let reach = Check::of("kafka", "kafka", reach(settings.clone(), first)).await;
    if reach.verdict == Verdict::Fail {
        let skipped = |topic: &Topic| Check::skipped(name_of("topic", topic), "kafka");
        return [reach].into_iter().chain(config.topics.iter().map(skipped)).collect();
    }
    let each = |topic: Topic| {
        let name = name_of("topic", &topic);
        Check::of(name, "kafka", offsets(settings.clone(), topic))
    };
    let mut checks = vec![reach];
    checks.extend(for_each(&config.topics, each).await);
    checks
}

/// Reach and login, then each topic's latest schema.
pub(super) async fn registry(config: &Config) -> Vec<Check> {
    let client = match registry_client(config) {
        Ok(client) => client,
        Err(failure) => return vec![Check::of("registry", "registry", async { Err(failure) }).await],
    };
    let Some(first) = config.topics.first() else {
        return Vec::new();
    };
    let url = client.settings().url.clone();
    let reach = async {
        latest(&client, first).await?;
        Ok(Finding::Good(format!("{url} answers, login included")))
    };
    let reach = Check::of("registry", "registry", reach).await;
    if reach.verdict == Verdict::Fail {
        let skipped = |topic: &Topic| Check::skipped(name_of("schema", topic), "registry");
        return [reach].into_iter().chain(config.topics.iter().map(skipped)).collect();
    }
    let each = |topic: Topic| {
        let name = name_of("schema", &topic);
        Check::of(name, "registry", schema(client.clone(), topic))
    };
    let mut checks = vec![reach];
    checks.extend(for_each(&config.topics, each).await);
    checks
}

fn name_of(what: &str, topic: &Topic) -> String {
    format!("{what} {}", topic.topic)
}

/// The checks of all topics, [`AT_ONCE`] at a time, in the topics' order.
async fn for_each<F>(topics: &[Topic], check: impl Fn(Topic) -> F) -> Vec<Check>
where
    F: Future<Output = Check> + Send + 'static,
{
    let mut checks: Vec<(usize, Check)> = Vec::with_capacity(topics.len());
    let mut running = JoinSet::new();
    for (position, topic) in topics.iter().enumerate() {
        if running.len() >= AT_ONCE {
            checks.extend(running.join_next().await.and_then(Result::ok));
        }
        let check = check(topic.clone());
        running.spawn(async move { (position, check.await) });
    }
    checks.extend(running.join_all().await);
    checks.sort_by_key(|(position, _)| *position);
    checks.into_iter().map(|(_, check)| check).collect()
}

async fn reach(kafka: KafkaSettings, topic: Topic) -> Found {
    let answer = watermarks(kafka.clone(), topic.topic).await.map_err(Failure::failed)?;
    answer.map_err(|error| consumer_failure(&error, &kafka))?;
    let protocol = kafka.properties.get("security.protocol").map_or("", String::as_str);
    Ok(Finding::Good(format!(
        "{} answers ({protocol})",
        kafka.bootstrap_servers
    )))
}

async fn offsets(kafka: KafkaSettings, topic: Topic) -> Found {
    let answer = watermarks(kafka.clone(), topic.topic).await.map_err(Failure::failed)?;
    let log = answer.map_err(|error| consumer_failure(&error, &kafka))?;
    let Some(log) = log else {
        let way_out = "create it, or let a producer do so: a node waits for it; [[topics]] names others".to_owned();
        return Ok(Finding::Odd("Kafka has no such topic".to_owned(), way_out));
    };
    let offsets: u64 = log.values().map(|range| range.len()).sum();
    let partitions = log.len();
    Ok(Finding::Good(format!(
        "{partitions} partitions, {} offsets held",
        grouped(offsets)
    )))
}

async fn latest(client: &RegistryClient, topic: &Topic) -> Result<Option<(u32, std::sync::Arc<str>)>, Failure> {
    let subject = format!("{}-value", topic.topic);
    client.latest(&subject).await.map_err(|error| registry_failure(&error))
}

async fn schema(client: RegistryClient, topic: Topic) -> Found {
    let Some((id, schema)) = latest(&client, &topic).await? else {
        let detail = format!("the registry has no subject {}-value", topic.topic);
        let way_out =
            "fine where producers use other subjects: records are decoded by the id that they carry".to_owned();
        return Ok(Finding::Odd(detail, way_out));
    };
    let unusable = |error: String| Failure::failed(format!("schema {id}: {error}")).code("unusable_schema");
    let arrow = arrow_schema(id, &schema, &topic.timestamp_fields).map_err(|error| unusable(error.to_string()))?;
    let table = table_schema(&arrow).map_err(|error| unusable(error.to_string()))?;
    let columns = table.as_struct().fields().len();
    Ok(Finding::Good(format!("id {id}; its table has {columns} columns")))
}
