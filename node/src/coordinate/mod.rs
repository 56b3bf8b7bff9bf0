//! Where is one Kafka record? What has to be asked, and of whom; what it means is decided in [`verdict`].

pub mod verdict;

use std::time::Duration;

use tapehouse_core::clock::now_ms;
use tapehouse_core::offsets::{Offset, PartitionId};
use tapehouse_kafka::KafkaSettings;
use tapehouse_kafka::consumer::ConsumerError;
use tapehouse_kafka::identity::Identities;
use tapehouse_kafka::look::{LogLook, Sees, is_compacted};
use tapehouse_lake::commit::{first_offsets, recorded_gaps};
use tapehouse_lake::find::{Coordinate, find_row};
use tapehouse_lake::{Lake, LoadedTable};

use crate::config::{Config, Topic};
use crate::connect::{consumer_failure, kafka_settings, lake_failure, lake_settings};
use crate::exit::Failure;
use crate::view::{log_reader, open_lake, table_name};
use verdict::{At, Facts, Held, LogFacts, TableFacts, Verdict, decide};

/// Longest wait for one answer of Kafka.
const KAFKA_TIMEOUT: Duration = Duration::from_secs(5);

/// A record that is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Partition.
    pub partition: PartitionId,
    /// Offset.
    pub offset: Offset,
    /// Incarnation of the topic; `None`: the one that the table records.
    pub incarnation: Option<i32>,
}

/// What was found out.
pub struct Explained {
    /// Where the record is.
    pub verdict: Verdict,
    /// What that rests on.
    pub facts: Facts,
}

/// Asks table and Kafka; Kafka only where the table does not have the row.
///
/// # Errors
/// A configuration that does not say where they are.
pub async fn look_for(config: &Config, topic: &Topic, wanted: Wanted) -> Result<Facts, Failure> {
    let kafka = kafka_settings(config)?;
    let table = match open_lake(lake_settings(config)?).await {
        Ok(Some(lake)) => in_table(&lake, topic, wanted).await,
        Ok(None) => Ok(None),
        Err(failure) => Err(failure),
    };
    let mut facts = Facts {
        partition: wanted.partition,
        offset: wanted.offset,
        table,
        log: Err(Failure::failed("was not asked")),
        reasons: Vec::new(),
    };
    if !facts.has_row() {
        facts.log = in_kafka(&kafka, topic, wanted, &facts).await;
    }
    Ok(facts)
}

impl Facts {
    /// Whether the table has the row.
    pub fn has_row(&self) -> bool {
        matches!(&self.table, Ok(Some(table)) if table.search.row.is_some())
    }

    /// What it means.
    pub fn explained(self) -> Explained {
        Explained {
            verdict: decide(&self, now_ms()),
            facts: self,
        }
    }
}

async fn in_table(lake: &Lake, topic: &Topic, wanted: Wanted) -> Result<Option<TableFacts>, Failure> {
    let failed = |error| lake_failure(&error);
    let Some(table) = lake.load(&table_name(topic)?).await.map_err(failed)? else {
        return Ok(None);
    };
    let state = table.stream_state();
    let recorded = state.as_ref().map_or(0, |state| state.incarnation);
    let coordinate = Coordinate {
        incarnation: wanted.incarnation.unwrap_or(recorded),
        partition: wanted.partition,
        offset: wanted.offset,
    };
    let search = find_row(lake, &table, coordinate, topic.event_time_field.as_deref());
    let search = search.await.map_err(failed)?;
    Ok(Some(TableFacts {
        search,
        state: state.map_err(|error| error.to_string()),
        incarnation: coordinate.incarnation,
        gaps: of_partition(recorded_gaps(&table).unwrap_or_default(), coordinate).unwrap_or_default(),
        first: first(&table, coordinate),
    }))
}

fn of_partition<T>(
    mut all: std::collections::BTreeMap<i32, std::collections::BTreeMap<PartitionId, T>>,
    coordinate: Coordinate,
) -> Option<T> {
    all.remove(&coordinate.incarnation)?.remove(&coordinate.partition)
}

fn first(table: &LoadedTable, coordinate: Coordinate) -> Option<Offset> {
    of_partition(first_offsets(table).ok()?, coordinate)
}

async fn in_kafka(kafka: &KafkaSettings, topic: &Topic, wanted: Wanted, facts: &Facts) -> Result<LogFacts, Failure> {
    let failed = |error: ConsumerError| consumer_failure(&error, kafka);
    let (settings, name) = (kafka.clone(), topic.topic.clone());
    let log = tokio::task::spawn_blocking(move || log_of(&settings, &name, wanted));
    let mut log = log.await.map_err(Failure::failed)?.map_err(failed)?;
    if let LogFacts::Held(held) = &mut log {
        if held.at == (At::Nothing { compacted: None }) {
            let compacted = is_compacted(kafka, &topic.topic, KAFKA_TIMEOUT).await;
            held.at = At::Nothing { compacted };
        }
        if let Ok(Some(TableFacts { state: Ok(state), .. })) = &facts.table {
            let observed = Identities::start(kafka).map_err(failed)?.observe(&topic.topic).await;
            let mismatch = state.identity().check(&observed.map_err(failed)?).err();
            held.mismatch = mismatch.map(|mismatch| (mismatch.code(), mismatch.to_string()));
        }
    }
    Ok(log)
}

/// Blocks.
fn log_of(kafka: &KafkaSettings, topic: &str, wanted: Wanted) -> Result<LogFacts, ConsumerError> {
    let partitions = match log_reader(kafka, topic)?.partitions(KAFKA_TIMEOUT) {
        Err(ConsumerError::TopicAbsent(_)) => return Ok(LogFacts::NoTopic),
        other => other?,
    };
    if !partitions.contains(&wanted.partition) {
        return Ok(LogFacts::NoPartition(partitions.len()));
    }
    let committed = LogLook::open(kafka, topic, Sees::Visible)?;
    let everything = LogLook::open(kafka, topic, Sees::Everything)?;
    let visible = committed.log(wanted.partition, KAFKA_TIMEOUT)?;
    let at = match visible.contains(wanted.offset) {
        true => record_at(&committed, &everything, wanted).unwrap_or(At::Unknown),
        false => At::Unknown,
    };
    Ok(LogFacts::Held(Held {
        visible,
        open: everything.open_transaction(wanted.partition, visible, KAFKA_TIMEOUT)?,
        at,
        mismatch: None,
    }))
}

fn record_at(committed: &LogLook, everything: &LogLook, wanted: Wanted) -> Result<At, ConsumerError> {
    let has_it = |look: &LogLook| {
        let first = look.first_from(wanted.partition, wanted.offset, KAFKA_TIMEOUT)?;
        Ok::<_, ConsumerError>(first.is_some_and(|record| record.offset == wanted.offset))
    };
    Ok(match (has_it(everything)?, has_it(committed)?) {
        (_, true) => At::Visible,
        (true, false) => At::Hidden,
        (false, false) => At::Nothing { compacted: None },
    })
}
