//! Records through the embedded broker and back.

use std::collections::BTreeMap;
use std::sync::Mutex;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::generate::{GenerateError, GenerateOptions, GenerateReport, run};
use super::*;
use crate::embedded::{EmbeddedBroker, EmbeddedRegistry};
use crate::generator::{BadRecordKind, EventClock, GeneratorOptions, Topic};
use crate::registry::{RegistryClient, RegistrySettings};

const PARTITIONS: i32 = 4;

type KeyAndValue<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);
type Read = (i32, Option<Vec<u8>>, Option<Vec<u8>>, Option<i64>);

/// Reads until `count` records came, or nothing more does for 10 s.
fn read(broker: &EmbeddedBroker, topic: &str, count: usize) -> Vec<Read> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap_servers())
        .set("group.id", "test")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assignment
            .add_partition_offset(topic, partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let mut records = Vec::new();
    while records.len() < count {
        let Some(message) = consumer.poll(Duration::from_secs(10)) else {
            break;
        };
        let message = message.unwrap();
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let timestamp_ms = message.timestamp().to_millis();
        records.push((
            message.partition(),
            owned(message.key()),
            owned(message.payload()),
            timestamp_ms,
        ));
    }
    records
}

fn broker() -> EmbeddedBroker {
    let broker = EmbeddedBroker::start().unwrap();
    for topic in Topic::ALL {
        broker.create_topic(topic.kafka_topic(), PARTITIONS).unwrap();
    }
    broker
}

#[test]
fn records_arrive_as_they_were_sent() {
    let broker = broker();
    let producer = Producer::new(&KafkaSettings::new(broker.bootstrap_servers())).unwrap();
    let sent: [KeyAndValue<'_>; 4] = [
        (Some(b"k"), Some(b"value")),
        (Some(b"k"), Some(b"")),
        (Some(b"k"), None),
        (None, Some(b"keyless")),
    ];
    let records = sent.iter().enumerate().map(|(index, (key, value))| OutgoingRecord {
        topic: "raw.trades",
        key: *key,
        value: *value,
        timestamp_ms: 1_700_000_000_000 + index as i64,
    });
    assert_eq!(producer.send_batch(records, None).unwrap(), 4);
    producer.flush(Duration::from_secs(10)).unwrap();
    assert_eq!((producer.queued(), producer.failed()), (0, 0));

    let mut read = read(&broker, "raw.trades", 4);
    read.sort_by_key(|record| record.3);
    for (index, (partition, key, value, timestamp_ms)) in read.iter().enumerate() {
        assert_eq!((key.as_deref(), value.as_deref()), sent[index], "record {index}");
        assert_eq!(*timestamp_ms, Some(1_700_000_000_000 + index as i64));
        assert!(index == 3 || *partition == read[0].0, "one key, one partition");
    }
    assert_eq!(read.len(), 4);
}

#[test]
fn a_full_queue_is_waited_for_and_can_be_given_up() {
    let mut settings = KafkaSettings::new("127.0.0.1:1");
    settings
        .properties
        .insert("queue.buffering.max.messages".into(), "10".into());
    let producer = Producer::new(&settings).unwrap();
    let record = OutgoingRecord {
        topic: "t",
        key: None,
        value: Some(b"x"),
        timestamp_ms: 1,
    };
    let stop = AtomicBool::new(true);
    assert_eq!(producer.send_batch([record; 50], Some(&stop)).unwrap(), 10);
    let late = producer.flush(Duration::from_millis(50)).unwrap_err();
    assert!(
        matches!(late, ProducerError::FlushTimeout { queued: 10, .. }),
        "{late:?}"
    );
}

#[test]
fn lost_records_surface() {
    let mut settings = KafkaSettings::new("127.0.0.1:1");
    settings.properties.insert("message.timeout.ms".into(), "300".into());
    let producer = Producer::new(&settings).unwrap();
    let record = OutgoingRecord {
        topic: "t",
        key: None,
        value: Some(b"x"),
        timestamp_ms: 1,
    };
    producer.send_batch([record; 3], None).unwrap();
    let lost = producer.flush(Duration::from_secs(20)).unwrap_err();
    assert!(matches!(lost, ProducerError::Undelivered { failed: 3, .. }), "{lost:?}");
    assert!(matches!(
        producer.send_batch([record], None),
        Err(ProducerError::Undelivered { .. })
    ));
}

#[test]
fn properties_that_run_code_are_refused() {
    let mut settings = KafkaSettings::new("127.0.0.1:1");
    settings.properties.insert("plugin.library.paths".into(), "x.so".into());
    assert!(matches!(Producer::new(&settings), Err(ProducerError::Forbidden(_))));
}

async fn options(broker: &EmbeddedBroker, registry: &EmbeddedRegistry) -> GenerateOptions {
    GenerateOptions {
        kafka: KafkaSettings::new(broker.bootstrap_servers()),
        registry: RegistryClient::new(RegistrySettings::new(&registry.url()).unwrap()).unwrap(),
        targets: Topic::ALL
            .into_iter()
            .map(|topic| (topic, topic.kafka_topic().to_owned()))
            .collect(),
        create_partitions: None,
        count: Some(20_000),
        rate_per_s: 0.0,
        generator: GeneratorOptions::realistic(4),
        stop: Arc::new(AtomicBool::new(false)),
        progress: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_puts_into_kafka_what_its_report_says() {
    let (broker, registry) = (broker(), EmbeddedRegistry::start().await.unwrap());
    let mut options = options(&broker, &registry).await;
    options.generator.bad_records = 0.01;
    options.generator.bad_kinds.push(BadRecordKind::Tombstone);
    let client = options.registry.clone();
    let report: GenerateReport = run(options).await.unwrap();
    assert_eq!((report.produced, report.stats.produced()), (20_000, 20_000));
    assert!(
        report.stats.bad() > 100 && report.stats.trades.corrections > 100,
        "{report:?}"
    );
    tokio::task::spawn_blocking(move || {
        for topic in Topic::ALL {
            let stats = report.stats.topic(topic);
            let records = read(&broker, topic.kafka_topic(), stats.produced as usize);
            assert_eq!(records.len() as u64, stats.produced, "{topic}");
            let tombstones = records.iter().filter(|record| record.2.is_none()).count();
            assert!(tombstones > 0 || topic == Topic::Marketdata, "{topic}");
            let mut partitions_of_key: BTreeMap<Vec<u8>, i32> = BTreeMap::new();
            for (partition, key, ..) in records {
                let Some(key) = key else { continue };
                assert_eq!(*partitions_of_key.entry(key).or_insert(partition), partition, "{topic}");
            }
            let used: std::collections::BTreeSet<i32> = partitions_of_key.into_values().collect();
            assert_eq!(used.len(), PARTITIONS as usize, "{topic}");
        }
    })
    .await
    .unwrap();
    for topic in Topic::ALL {
        let (id, schema) = client
            .latest(&format!("{}-value", topic.kafka_topic()))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((id, &*schema), (report.schema_ids.get(topic), topic.schema()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_is_held_until_stopped() {
    let (broker, registry) = (broker(), EmbeddedRegistry::start().await.unwrap());
    let mut options = options(&broker, &registry).await;
    options.count = None;
    options.rate_per_s = 2_000.0;
    let stop = Arc::clone(&options.stop);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    options.progress = Some(Box::new(move |progress| sink.lock().unwrap().push(progress.produced)));
    let running = tokio::spawn(run(options));
    tokio::time::sleep(Duration::from_secs(2)).await;
    stop.store(true, Ordering::Relaxed);
    let report = running.await.unwrap().unwrap();
    let rate = report.produced as f64 / report.elapsed.as_secs_f64();
    assert!((1_700.0..=2_050.0).contains(&rate), "{rate}");
    let seen = seen.lock().unwrap();
    assert!(
        seen.len() >= 5 && seen.is_sorted() && seen.last() == Some(&report.produced),
        "{seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_work_is_said_before_the_first_record() {
    let (broker, registry) = (broker(), EmbeddedRegistry::start().await.unwrap());
    let mut absent = options(&broker, &registry).await;
    absent.targets.insert(Topic::Trades, "no.such.topic".to_owned());
    let error = run(absent).await.unwrap_err();
    assert!(
        matches!(&error, GenerateError::Producer(ProducerError::Topic { topic, .. }) if topic == "no.such.topic"),
        "{error:?}"
    );
    let mut odd = options(&broker, &registry).await;
    odd.generator.clock = EventClock::Synthetic {
        trades_per_second: f64::NAN,
    };
    assert!(matches!(run(odd).await, Err(GenerateError::Options(_))));
    let mut no_registry = options(&broker, &registry).await;
    drop(registry);
    no_registry.count = Some(1);
    assert!(matches!(run(no_registry).await, Err(GenerateError::Registry(_))));
}
