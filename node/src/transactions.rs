//! Transactions that keep records from being visible.

use std::collections::BTreeMap;
use std::time::Duration;

use tapehouse_core::offsets::{OffsetRange, PartitionId};
use tapehouse_kafka::KafkaSettings;
use tapehouse_kafka::look::{LogLook, OpenTransaction, Sees};

use crate::view::TopicView;

/// Longest wait for one answer of Kafka.
const KAFKA_TIMEOUT: Duration = Duration::from_secs(5);

/// Looks for the transactions that keep records of these topics from being visible. What cannot be found out is left out.
pub async fn look_for_transactions(views: &mut [TopicView], kafka: &KafkaSettings) {
    let looks: Vec<_> = views
        .iter()
        .map(|view| {
            let (kafka, topic) = (kafka.clone(), view.topic.topic.clone());
            let log = view.log.clone().unwrap_or_default();
            tokio::task::spawn_blocking(move || open_transactions(&kafka, &topic, &log))
        })
        .collect();
    for (view, look) in views.iter_mut().zip(looks) {
        view.open = look.await.unwrap_or_default();
    }
}

fn open_transactions(
    kafka: &KafkaSettings,
    topic: &str,
    log: &BTreeMap<PartitionId, OffsetRange>,
) -> BTreeMap<PartitionId, OpenTransaction> {
    if log.is_empty() {
        return BTreeMap::new();
    }
    let Ok(look) = LogLook::open(kafka, topic, Sees::Everything) else {
        return BTreeMap::new();
    };
    open_transactions_by(&look, log)
}

/// The transactions that `look`, which sees everything, finds beyond the visible ends in `log`. Blocks.
pub fn open_transactions_by(
    look: &LogLook,
    log: &BTreeMap<PartitionId, OffsetRange>,
) -> BTreeMap<PartitionId, OpenTransaction> {
    let mut open = BTreeMap::new();
    for (partition, visible) in log {
        match look.open_transaction(*partition, *visible, KAFKA_TIMEOUT) {
            Ok(found) => open.extend(found.map(|found| (*partition, found))),
            Err(error) => {
                tracing::debug!(partition, %error, "open transactions are unknown for now");
                break;
            }
        }
    }
    open
}
