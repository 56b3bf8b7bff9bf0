//! What tables and Kafka say about each topic, without asking any running node.

use std::collections::BTreeMap;
use std::time::Duration;

use tapehouse_core::identity::{IdentityMismatch, TopicIdentity};
use tapehouse_core::offsets::{Offset, OffsetRange, PartitionId};
use tapehouse_core::state::StreamState;
use tapehouse_kafka::consumer::{ConsumerError, ReaderOptions, TopicReader};
use tapehouse_kafka::identity::Identities;
use tapehouse_kafka::look::OpenTransaction;
use tapehouse_kafka::{AccessError, KafkaSettings};
use tapehouse_lake::commit::keys;
use tapehouse_lake::{Lake, LakeError, LakeSettings, LoadedTable, SnapshotRef, StateError, TableName};

use crate::config::Topic;
use crate::connect::{consumer_failure, lake_failure};
use crate::exit::Failure;
use crate::silver_view::SilverView;

/// Longest wait for one answer of Kafka.
const KAFKA_TIMEOUT: Duration = Duration::from_secs(5);

/// Sizes of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableSize {
    /// Rows.
    pub rows: u64,
    /// Data files.
    pub files: u64,
    /// Bytes of the data files.
    pub size_bytes: u64,
    /// Snapshots retained.
    pub snapshots: u64,
    /// Time of the current snapshot, in milliseconds since 1970-01-01 UTC.
    pub last_commit_ms: Option<i64>,
    /// The current snapshot.
    pub last_snapshot_id: Option<i64>,
}

impl TableSize {
    /// The sizes as the current snapshot's summary states them.
    pub fn of(table: &LoadedTable) -> Self {
        let metadata = table.metadata();
        let snapshot = metadata.current_snapshot();
        let total = |key: &str| {
            let text = snapshot.and_then(|snapshot| snapshot.summary().additional_properties.get(key));
            text.and_then(|text| text.parse().ok()).unwrap_or(0)
        };
        Self {
            rows: table.live_rows().unwrap_or(0),
            files: total("total-data-files"),
            size_bytes: total("total-files-size"),
            snapshots: metadata.snapshots().len() as u64,
            last_commit_ms: snapshot.map(|snapshot| snapshot.timestamp_ms()),
            last_snapshot_id: snapshot.map(|snapshot| snapshot.snapshot_id()),
        }
    }
}

/// What the table of a topic says.
#[derive(Clone, Debug)]
pub struct TableView {
    /// Sizes.
    pub size: TableSize,
    /// Recorded offsets, or why they cannot be used.
    pub state: Result<StreamState, StateError>,
    /// Rows that could not be decoded.
    pub undecodable: Undecodable,
    /// The silver table that is made from it; `None` where none is.
    pub silver: Option<SilverView>,
}

/// Rows that could not be decoded, of the commits whose snapshots are retained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undecodable {
    /// Rows.
    pub rows: u64,
    /// Time of the oldest of these commits, in milliseconds since 1970-01-01 UTC.
    pub since_ms: i64,
}

impl Undecodable {
    fn of(table: &LoadedTable) -> Self {
        let rows = |snapshot: &SnapshotRef| {
            let text = snapshot.summary().additional_properties.get(keys::UNDECODABLE);
            text.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0)
        };
        let counted = table
            .ancestry()
            .map(|snapshot| (rows(snapshot), snapshot.timestamp_ms()));
        counted.fold(Self::default(), |sum, (rows, time_ms)| Self {
            rows: sum.rows.saturating_add(rows),
            since_ms: time_ms,
        })
    }
}

impl TableView {
    /// What `table` says.
    pub fn of(table: &LoadedTable) -> Self {
        Self {
            size: TableSize::of(table),
            state: table.stream_state(),
            undecodable: Undecodable::of(table),
            silver: None,
        }
    }
}

/// What is known of the node that should read a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reader {
    /// Nothing: it may run elsewhere.
    #[default]
    Unknown,
    /// None runs here: why that is believed.
    Absent(String),
    /// It runs.
    Runs,
}

/// One topic: its table and its log.
#[derive(Clone, Debug)]
pub struct TopicView {
    /// The topic.
    pub topic: Topic,
    /// The table; `None` where there is none yet.
    pub table: Option<TableView>,
    /// Low and high watermark by partition; `None` where Kafka has no such topic.
    pub log: Option<BTreeMap<PartitionId, OffsetRange>>,
    /// What Kafka says the topic is; `None` where it has no such topic.
    pub identity: Option<TopicIdentity>,
    /// Why Kafka shows nothing of this topic, while it shows others: the user may not read it.
    pub refusal: Option<Failure>,
    /// Transactions that keep records from being visible.
    pub open: BTreeMap<PartitionId, OpenTransaction>,
    /// The node that should read the topic.
    pub reader: Reader,
}

/// One partition, seen from both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionView {
    /// The partition.
    pub partition: PartitionId,
    /// Next offset to be committed; `None` where the table has never seen the partition.
    pub next: Option<Offset>,
    /// What Kafka holds; `None` where it has no such partition.
    pub log: Option<OffsetRange>,
}

impl PartitionView {
    /// Offsets not yet committed. A partition never seen lags by all that Kafka holds of it.
    pub fn lag(&self) -> Option<u64> {
        let log = self.log?;
        let next = self.next.unwrap_or(log.start);
        Some(u64::try_from(log.end - next).unwrap_or(0))
    }
}

impl TopicView {
    /// A topic of which nothing is known but its table.
    pub fn of(topic: &Topic, table: Option<TableView>) -> Self {
        Self {
            topic: topic.clone(),
            table,
            log: None,
            identity: None,
            refusal: None,
            open: BTreeMap::new(),
            reader: Reader::Unknown,
        }
    }

    /// Why Kafka's topic is not the one that the table was filled from, if it is not.
    pub fn mismatch(&self) -> Option<IdentityMismatch> {
        let state = self.table.as_ref()?.state.as_ref().ok()?;
        state.identity().check(self.identity.as_ref()?).err()
    }

    /// The partitions that table or Kafka know.
    pub fn partitions(&self) -> Vec<PartitionView> {
        let next = self
            .table
            .as_ref()
            .and_then(|table| table.state.as_ref().ok())
            .map(|state| &state.next);
        let numbers: std::collections::BTreeSet<PartitionId> = next
            .into_iter()
            .flat_map(|next| next.keys())
            .chain(self.log.iter().flatten().map(|(p, _)| p))
            .copied()
            .collect();
        let view = |partition| PartitionView {
            partition,
            next: next.and_then(|next| next.get(&partition).copied()),
            log: self.log.as_ref().and_then(|log| log.get(&partition).copied()),
        };
        numbers.into_iter().map(view).collect()
    }

    /// The silver table that is made from the topic's table.
    pub fn silver(&self) -> Option<&SilverView> {
        self.table.as_ref()?.silver.as_ref()
    }

    /// Offsets not yet committed, over all partitions.
    pub fn lag(&self) -> u64 {
        self.partitions().iter().filter_map(PartitionView::lag).sum()
    }
}

/// The lake for reading; `None` where there is no catalog yet.
///
/// # Errors
/// When there is one that cannot be read.
pub async fn open_lake(settings: LakeSettings) -> Result<Option<Lake>, Failure> {
    match Lake::open_existing(settings).await {
        Ok(lake) => Ok(Some(lake)),
        Err(LakeError::Missing { .. }) => Ok(None),
        Err(error) => Err(lake_failure(&error)),
    }
}

/// The name of a topic's table.
///
/// # Errors
/// When it is none.
pub fn table_name(topic: &Topic) -> Result<TableName, Failure> {
    topic.table.parse().map_err(Failure::failed)
}

/// Looks at every topic. The tables are looked at first, so that a lag is never too small. A topic that the user may not read is
/// shown with that refusal.
///
/// # Errors
/// When the catalog or Kafka cannot be reached.
pub async fn look(topics: &[Topic], lake: Option<&Lake>, kafka: &KafkaSettings) -> Result<Vec<TopicView>, Failure> {
    let tables = match lake {
        Some(lake) => look_at_tables(topics, lake).await?,
        None => topics.iter().map(|_| None).collect(),
    };
    let logs: Vec<_> = topics
        .iter()
        .map(|topic| watermarks(kafka.clone(), topic.topic.clone()))
        .collect();
    let identities = identities(topics, kafka).await?;
    let mut views = Vec::with_capacity(topics.len());
    for (((topic, table), log), identity) in topics.iter().zip(tables).zip(logs).zip(identities) {
        let mut view = TopicView::of(topic, table);
        match (log.await.map_err(Failure::failed)?, identity) {
            (Err(error), _) | (_, Err(error)) if is_of_the_topic(&error) => {
                view.refusal = Some(consumer_failure(&error, kafka));
            }
            (log, identity) => {
                let failed = |error: ConsumerError| consumer_failure(&error, kafka);
                view.log = log.map_err(failed)?;
                view.identity = identity.map_err(failed)?;
            }
        }
        views.push(view);
    }
    Ok(views)
}

/// Whether an error says nothing about other topics.
fn is_of_the_topic(error: &ConsumerError) -> bool {
    matches!(error, ConsumerError::Access(AccessError::Topic(_)))
}

/// What Kafka says each topic is.
async fn identities(
    topics: &[Topic],
    kafka: &KafkaSettings,
) -> Result<Vec<Result<Option<TopicIdentity>, ConsumerError>>, Failure> {
    let identities = Identities::start(kafka).map_err(|error| consumer_failure(&error, kafka))?;
    let mut found = Vec::with_capacity(topics.len());
    for topic in topics {
        found.push(match identities.observe(&topic.topic).await {
            Err(ConsumerError::TopicAbsent(_)) => Ok(None),
            other => other.map(Some),
        });
    }
    Ok(found)
}

/// The table of each topic; `None` where there is none yet.
///
/// # Errors
/// When the catalog cannot be reached or a table not be read.
pub async fn look_at_tables(topics: &[Topic], lake: &Lake) -> Result<Vec<Option<TableView>>, Failure> {
    let mut tables = Vec::with_capacity(topics.len());
    for topic in topics {
        let name = table_name(topic)?;
        let failed = |error| lake_failure(&error);
        // Before bronze: what is merged is in bronze then.
        let silver = match topic.silver {
            Some(kind) => {
                let name = kind.name().parse().map_err(Failure::failed)?;
                Some((kind, lake.load(&name).await.map_err(failed)?))
            }
            None => None,
        };
        let loaded = lake.load(&name).await.map_err(failed)?;
        let mut view = loaded.as_ref().map(TableView::of);
        if let (Some(view), Some(bronze), Some((kind, silver))) = (&mut view, &loaded, silver) {
            view.silver = Some(SilverView::of(kind, silver.as_ref(), bronze));
        }
        tables.push(view);
    }
    Ok(tables)
}

/// Low and high watermark by partition; `None` where Kafka has no such topic.
pub type Watermarks = Option<BTreeMap<PartitionId, OffsetRange>>;

/// Asks on a thread of its own: the client blocks, also when it is dropped.
pub fn watermarks(kafka: KafkaSettings, topic: String) -> tokio::task::JoinHandle<Result<Watermarks, ConsumerError>> {
    tokio::task::spawn_blocking(move || {
        let reader = log_reader(&kafka, &topic)?;
        let partitions = match reader.partitions(KAFKA_TIMEOUT) {
            Err(ConsumerError::TopicAbsent(_)) => return Ok(None),
            other => other?,
        };
        let range = |partition| Ok((partition, reader.watermarks(partition, KAFKA_TIMEOUT)?));
        partitions.into_iter().map(range).collect::<Result<_, _>>().map(Some)
    })
}

/// A client that is asked about a topic's log and reads nothing. It blocks, also when it is dropped.
///
/// # Errors
/// When the settings make no client.
pub fn log_reader(kafka: &KafkaSettings, topic: &str) -> Result<TopicReader, ConsumerError> {
    let options = ReaderOptions {
        group: "tapehouse-offsets".into(),
        queue_bytes: 1 << 20,
        fetch_bytes: 1 << 20,
        max_records: 1,
        max_bytes: 1,
        linger: Duration::ZERO,
    };
    TopicReader::open(kafka, topic, options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(next: &[(i32, i64)], log: &[(i32, i64, i64)]) -> TopicView {
        let mut state = StreamState::new("c", "raw.trades");
        state.next = next.iter().copied().collect();
        let table = TableView {
            size: TableSize::default(),
            state: Ok(state),
            undecodable: Undecodable::default(),
            silver: None,
        };
        let log = log.iter().map(|&(p, start, end)| (p, OffsetRange::new(start, end)));
        TopicView {
            log: Some(log.collect()),
            ..TopicView::of(&Topic::of("raw.trades"), Some(table))
        }
    }

    #[test]
    fn lag_counts_partitions_that_the_table_has_never_seen() {
        let view = view(&[(0, 10), (2, 5)], &[(0, 0, 15), (1, 3, 7)]);
        let lags: Vec<Option<u64>> = view.partitions().iter().map(PartitionView::lag).collect();
        assert_eq!(lags, [Some(5), Some(4), None]);
        assert_eq!(view.lag(), 9);
    }
}
