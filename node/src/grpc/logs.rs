//! What Kafka says about the topics: the ends of their logs (one client a topic that stays connected) and which topics they are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use tapehouse_core::identity::TopicIdentity;
use tapehouse_core::offsets::{OffsetRange, PartitionId};
use tapehouse_kafka::KafkaSettings;
use tapehouse_kafka::consumer::{ConsumerError, TopicReader};

use tapehouse_kafka::identity::Identities;
use tapehouse_kafka::look::{LogLook, OpenTransaction, Sees};

use crate::transactions::open_transactions_by;
use crate::view::log_reader;

/// Longest wait for Kafka's answer; what comes later is there for the next request.
const WAIT: Duration = Duration::from_secs(2);
/// Longest wait of the client's own for one partition.
const KAFKA_TIMEOUT: Duration = Duration::from_secs(5);
/// How often open transactions are looked for, while somebody asks.
const TRANSACTIONS_EVERY: Duration = Duration::from_secs(5);
/// What was known this long ago is no longer told.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// What is known about a topic's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Log {
    /// Kafka does not answer.
    #[default]
    Unknown,
    /// Kafka has no such topic.
    Absent,
    /// Low and high watermark by partition, as they are now.
    Known(BTreeMap<PartitionId, OffsetRange>),
    /// The same, as they were less than a minute ago.
    Stale(BTreeMap<PartitionId, OffsetRange>),
}

#[derive(Default)]
struct Topic {
    /// Held while Kafka is asked, so that nobody else asks meanwhile.
    clients: Mutex<Clients>,
    latest: Mutex<Option<(Instant, Log)>>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Clients {
    reader: Option<TopicReader>,
    look: Option<LogLook>,
    looked_at: Option<Instant>,
}

/// Transactions that keep records from being visible.
type Open = BTreeMap<PartitionId, OpenTransaction>;

/// What Kafka says about one topic.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Its log.
    pub log: Log,
    /// Which topic it is; `None` where Kafka does not say.
    pub identity: Option<TopicIdentity>,
    /// Transactions that keep records from being visible, as they were some seconds ago.
    pub open: BTreeMap<PartitionId, OpenTransaction>,
}

/// The logs of a node's topics.
pub struct Logs {
    kafka: KafkaSettings,
    identities: Identities,
    topics: BTreeMap<String, Arc<Topic>>,
}

impl Logs {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// When the settings make no client.
    pub fn new(kafka: KafkaSettings, topics: impl Iterator<Item = String>) -> Result<Self, ConsumerError> {
        Ok(Self {
            identities: Identities::start(&kafka)?,
            kafka,
            topics: topics.map(|topic| (topic, Arc::default())).collect(),
        })
    }

    /// Asks Kafka about every topic, all at once, and tells what is known then.
    pub async fn look(&self) -> BTreeMap<String, Seen> {
        let tasks: Vec<_> = self.topics.iter().map(|(name, topic)| self.ask(name, topic)).collect();
        let started = Instant::now();
        let deadline = tokio::time::Instant::from_std(started) + WAIT;
        // All are asked before any is waited for; the thread that asks puts them to Kafka together.
        let asked = futures::future::join_all(self.topics.keys().map(|name| {
            let observed = self.identities.observe(name);
            async move { tokio::time::timeout_at(deadline, observed).await.ok()?.ok() }
        }));
        let identities = asked.await;
        for task in tasks {
            // Late or failed: what was known before is told.
            let _ = tokio::time::timeout_at(deadline, task).await;
        }
        let seen = self.topics.iter().zip(identities).map(|((name, topic), identity)| {
            let log = topic.known(started);
            let open = topic.open.lock().unwrap_or_else(PoisonError::into_inner).clone();
            (name.clone(), Seen { log, identity, open })
        });
        seen.collect()
    }

    /// On a thread for what blocks; the client blocks, also when it is dropped.
    fn ask(&self, name: &str, topic: &Arc<Topic>) -> tokio::task::JoinHandle<()> {
        let (kafka, name, topic) = (self.kafka.clone(), name.to_owned(), Arc::clone(topic));
        tokio::task::spawn_blocking(move || topic.ask(&kafka, &name))
    }
}

impl Topic {
    fn ask(&self, kafka: &KafkaSettings, name: &str) {
        let mut clients = match self.clients.try_lock() {
            Ok(clients) => clients,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let asked = match clients.reader.take() {
            Some(reader) => Ok(reader),
            None => log_reader(kafka, name),
        };
        let ends = asked.and_then(|opened| {
            let ends = opened.log_ends(KAFKA_TIMEOUT);
            clients.reader = Some(opened);
            ends
        });
        let log = match ends {
            Ok(ends) => Log::Known(ends),
            Err(ConsumerError::TopicAbsent(_)) => Log::Absent,
            Err(error) => {
                tracing::debug!(topic = name, %error, "ends of the log are unknown for now");
                return;
            }
        };
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), log.clone()));
        if let Log::Known(ends) = &log {
            self.ask_for_transactions(&mut clients, kafka, name, ends);
        }
    }

    /// Now and then: it takes a request for each partition.
    fn ask_for_transactions(
        &self,
        clients: &mut Clients,
        kafka: &KafkaSettings,
        name: &str,
        ends: &BTreeMap<PartitionId, OffsetRange>,
    ) {
        if clients.looked_at.is_some_and(|at| at.elapsed() < TRANSACTIONS_EVERY) {
            return;
        }
        if clients.look.is_none() {
            clients.look = LogLook::open(kafka, name, Sees::Everything).ok();
        }
        if let Some(look) = &clients.look {
            let open = open_transactions_by(look, ends);
            *self.open.lock().unwrap_or_else(PoisonError::into_inner) = open;
        }
        clients.looked_at = Some(Instant::now());
    }

    fn known(&self, since: Instant) -> Log {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        match &*latest {
            Some((at, log)) if *at >= since => log.clone(),
            Some((at, Log::Known(ends))) if at.elapsed() < KNOWN_FOR => Log::Stale(ends.clone()),
            _ => Log::Unknown,
        }
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        let topics = std::mem::take(&mut self.topics);
        // Clients that wait for a broker that is away must not hold up whoever stops the node.
        std::thread::spawn(move || drop(topics));
    }
}

#[cfg(test)]
mod tests {
    use tapehouse_kafka::embedded::EmbeddedBroker;

    use super::*;

    #[tokio::test]
    async fn known_absent_and_unknown() {
        let broker = EmbeddedBroker::start().unwrap();
        broker.create_topic("there", 2).unwrap();
        let kafka = KafkaSettings::new(broker.bootstrap_servers());
        let logs = Logs::new(kafka, ["there".to_owned()].into_iter()).unwrap();
        let expected: BTreeMap<_, _> = [(0, OffsetRange::new(0, 0)), (1, OffsetRange::new(0, 0))].into();
        for _ in 0..2 {
            assert_eq!(logs.look().await["there"].log, Log::Known(expected.clone()));
        }
        let away = Logs::new(KafkaSettings::new("127.0.0.1:1"), ["t".to_owned()].into_iter()).unwrap();
        let started = Instant::now();
        assert_eq!(away.look().await["t"].log, Log::Unknown);
        assert!(started.elapsed() < WAIT * 2, "{:?}", started.elapsed());
    }
}
