//! What Kafka's log holds: partitions, their ends, where to begin.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};
use tapehouse_core::offsets::{Offset, OffsetRange, PartitionId};

use super::{ConsumerError, StartOffsets, TopicReader};

impl TopicReader {
    /// The partitions that the topic has now.
    ///
    /// # Errors
    /// [`ConsumerError::TopicAbsent`], or what kept the answer from coming within `timeout`.
    pub fn partitions(&self, timeout: Duration) -> Result<Vec<PartitionId>, ConsumerError> {
        let metadata = self.consumer().fetch_metadata(Some(&self.topic), timeout)?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.topic);
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

    /// Low and high watermark of a partition.
    ///
    /// # Errors
    /// What kept the answer from coming within `timeout`.
    pub fn watermarks(&self, partition: PartitionId, timeout: Duration) -> Result<OffsetRange, ConsumerError> {
        let (low, high) = self.consumer().fetch_watermarks(&self.topic, partition, timeout)?;
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
