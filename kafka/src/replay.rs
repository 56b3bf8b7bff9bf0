//! Reading Kafka once more, for `verify --deep`: which offsets does a consumer see?

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tapehouse_core::coverage::OffsetSet;
use tapehouse_core::offsets::{OffsetRange, PartitionId};

use crate::KafkaSettings;
use crate::consumer::{ConsumerError, ReaderOptions, TopicReader};

const TIMEOUT: Duration = Duration::from_secs(10);
/// Without any progress for so long the replay gives up.
const STALLED: Duration = Duration::from_secs(30);

/// What Kafka holds now of one partition's range.
#[derive(Clone, Debug)]
pub struct Visible {
    /// The part of the asked range that Kafka still holds.
    pub range: OffsetRange,
    /// Offsets of the visible (committed, not compacted) records in it.
    pub offsets: OffsetSet,
}

/// The visible records of `topic` within `ranges`, by partition. Blocks.
///
/// # Errors
/// What keeps Kafka from being read, or [`ConsumerError::OffsetLost`] when nothing came for 30 s.
pub fn visible_offsets(
    settings: &KafkaSettings,
    topic: &str,
    ranges: &BTreeMap<PartitionId, OffsetRange>,
) -> Result<BTreeMap<PartitionId, Visible>, ConsumerError> {
    let options = ReaderOptions {
        group: "tapehouse-verify".into(),
        queue_bytes: 64 << 20,
        fetch_bytes: 8 << 20,
        max_records: 32_768,
        max_bytes: 8 << 20,
        linger: Duration::from_millis(100),
    };
    let mut reader = TopicReader::open(settings, topic, options)?;
    let mut visible = BTreeMap::new();
    let (mut start, mut logs) = (BTreeMap::new(), BTreeMap::new());
    for (&partition, asked) in ranges {
        let log = reader.watermarks(partition, TIMEOUT)?;
        logs.insert(partition, log);
        let first = asked.start.clamp(log.start, log.end);
        let range = OffsetRange::new(first, asked.end.clamp(first, log.end.max(first)));
        let offsets = OffsetSet::starting_at(first);
        visible.insert(partition, Visible { range, offsets });
        if !range.is_empty() {
            start.insert(partition, first);
        }
    }
    if start.is_empty() {
        return Ok(visible);
    }
    reader.assign(&start, &logs)?;
    read_to_the_ends(&mut reader, &mut visible, &start)?;
    Ok(visible)
}

fn read_to_the_ends(
    reader: &mut TopicReader,
    visible: &mut BTreeMap<PartitionId, Visible>,
    start: &BTreeMap<PartitionId, i64>,
) -> Result<(), ConsumerError> {
    let mut progress_at = Instant::now();
    loop {
        if let Some(batch) = reader.next_batch(Instant::now() + Duration::from_millis(200))? {
            progress_at = Instant::now();
            for (partition, &offset) in batch.partitions.iter().zip(&batch.offsets) {
                if let Some(found) = visible.get_mut(partition).filter(|found| found.range.contains(offset)) {
                    found.offsets.insert(offset);
                }
            }
            if batch.at_end {
                return Ok(());
            }
        }
        let next = reader.next_offsets();
        if start
            .keys()
            .all(|partition| next.get(partition) >= visible.get(partition).map(|v| &v.range.end))
        {
            return Ok(());
        }
        if progress_at.elapsed() > STALLED {
            return Err(rdkafka::error::KafkaError::MessageConsumption(
                rdkafka::error::RDKafkaErrorCode::OperationTimedOut,
            )
            .into());
        }
    }
}
