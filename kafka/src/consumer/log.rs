//! What Kafka's log holds: partitions, their ends, where to begin.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};
use tapehouse_core::offsets::{Offset, OffsetRange, PartitionId};

use super::native::Polled;
use super::{ConsumerError, StartOffsets, TopicReader};
use crate::access::AccessError;

/// The brokers' word for a topic that the user may not describe.
const NOT_PERMITTED: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
/// Reports dispatched at once: a broker that refuses is tried some times a second.
const EVENTS_HEARD: usize = 256;

impl TopicReader {
    /// The partitions that the topic has now.
    ///
    /// # Errors
    /// [`ConsumerError::TopicAbsent`], or what kept the answer from coming within `timeout`.
    pub fn partitions(&self, timeout: Duration) -> Result<Vec<PartitionId>, ConsumerError> {
        let fetch = |timeout| self.consumer().fetch_metadata(Some(&self.topic), timeout);
        let heard = &self.consumer().context().heard;
        let metadata = heard.ask(&self.settings, timeout, fetch, || self.hear())?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        if topic.and_then(|topic| topic.error()) == Some(NOT_PERMITTED) {
            return Err(AccessError::Topic(self.topic.clone()).into());
        }
        let mut partitions: Vec<_> = topic
            .filter(|topic| topic.error().is_none())
            .map(|topic| topic.partitions().iter().map(|partition| partition.id()).collect())
            .unwrap_or_default();
        if partitions.is_empty() {
            return Err(ConsumerError::TopicAbsent(self.topic.clone()));
        }
        partitions.sort_unstable();
        Ok(partitions)
    }

    /// Dispatches what the client library reports, as long as nothing is assigned: records would be lost otherwise, and while some
    /// is, polling them dispatches it.
    fn hear(&self) {
        for _ in 0..EVENTS_HEARD {
            let is_last = !self.assigned.is_empty()
                || self
                    .queue
                    .poll(Duration::ZERO, |polled| matches!(polled, Polled::Nothing));
            if is_last {
                return;
            }
        }
    }

    /// Low and high watermark of a partition.
    ///
    /// # Errors
    /// What kept the answer from coming within `timeout`.
    pub fn watermarks(&self, partition: PartitionId, timeout: Duration) -> Result<OffsetRange, ConsumerError> {
        let watermarks = self.consumer().fetch_watermarks(&self.topic, partition, timeout);
        let (low, high) = watermarks.map_err(|error| self.refused(error))?;
        Ok(OffsetRange::new(low.max(0), high.max(low).max(0)))
    }

    /// Low and high watermark of every partition that the topic has now.
    ///
    /// # Errors
    /// [`ConsumerError::TopicAbsent`], or what kept an answer from coming within `timeout`.
    pub fn log_ends(&self, timeout: Duration) -> Result<BTreeMap<PartitionId, OffsetRange>, ConsumerError> {
        let partitions = self.partitions(timeout)?;
        partitions
            .into_iter()
            .map(|partition| Ok((partition, self.watermarks(partition, timeout)?)))
            .collect()
    }

    /// Where a partition that was never read and whose log is `log` starts.
    ///
    /// # Errors
    /// What kept the answer from coming within `timeout`.
    pub fn start_of(
        &self,
        partition: PartitionId,
        log: OffsetRange,
        start: StartOffsets,
        timeout: Duration,
    ) -> Result<Offset, ConsumerError> {
        let timestamp_ms = match start {
            StartOffsets::Earliest => return Ok(log.start),
            StartOffsets::Latest => return Ok(log.end),
            StartOffsets::TimestampMs(timestamp_ms) => timestamp_ms,
        };
        let mut request = TopicPartitionList::new();
        request.add_partition_offset(&self.topic, partition, KafkaOffset::Offset(timestamp_ms))?;
        let answer = self.consumer().offsets_for_times(request, timeout)?;
        let found = answer
            .find_partition(&self.topic, partition)
            .map(|element| element.offset());
        Ok(match found {
            Some(KafkaOffset::Offset(offset)) => offset,
            _ => log.end,
        })
    }
}
