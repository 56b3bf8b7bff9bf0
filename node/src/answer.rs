//! Answers about topics and tables in the words of `tapehouse.v1`: made by a command from configuration alone or by a node,
//! shown by the same code.

use prost_types::{Duration, Timestamp};
use tapehouse_core::clock::now_ms;
use tapehouse_lake::{Lake, LakeError, LoadedTable, TableName};
use tapehouse_proto::v1;

use crate::diagnosis::{Diagnosis, Standing};
use crate::reason::Reason;
use crate::silver_answer;
use crate::view::{PartitionView, TableSize, TopicView};

/// One topic, as tables and Kafka show it. Whoever knows more (the node that reads it) adds that.
pub fn topic(view: &TopicView, diagnosis: &Diagnosis) -> v1::TopicOffsets {
    let size = view.table.as_ref().map(|table| &table.size);
    let state = view.table.as_ref().map(|table| table.state.as_ref());
    v1::TopicOffsets {
        topic: view.topic.topic.clone(),
        table: view.topic.table.clone(),
        in_kafka: view.refusal.is_none().then(|| view.log.is_some()),
        table_exists: view.table.is_some(),
        state_error: state.and_then(Result::err).map(ToString::to_string),
        incarnation: state.and_then(Result::ok).map(|state| state.incarnation),
        lag: view.lag(),
        rows: size.map(|size| size.rows),
        last_commit_time: size.and_then(|size| size.last_commit_ms).map(timestamp),
        last_snapshot_id: size.and_then(|size| size.last_snapshot_id),
        standing: standing(diagnosis.standing).into(),
        reason: diagnosis.reason.clone(),
        stale: diagnosis.is_stale,
        owner_node: String::new(),
        pipeline: None,
        freshness: None,
        partitions: view.partitions().iter().map(partition).collect(),
        topic_id: view.identity.as_ref().and_then(|identity| identity.topic_id.clone()),
        recorded_topic_id: state.and_then(Result::ok).and_then(|state| state.topic_id.clone()),
        identity_error: view.mismatch().map(|mismatch| mismatch.to_string()),
        reasons: diagnosis.reasons.iter().map(Reason::answer).collect(),
        silver: view
            .silver()
            .map(|silver| silver_answer::silver(silver, None, &view.reader, now_ms())),
    }
}

fn partition(view: &PartitionView) -> v1::PartitionOffsets {
    v1::PartitionOffsets {
        partition: view.partition,
        committed_next_offset: view.next,
        log_start_offset: view.log.map(|log| log.start),
        high_watermark: view.log.map(|log| log.end),
        lag: view.lag(),
        stopped: None,
    }
}

/// The standing in the words of `tapehouse.v1`.
pub fn standing(standing: Standing) -> v1::Standing {
    match standing {
        Standing::UpToDate => v1::Standing::UpToDate,
        Standing::Waiting => v1::Standing::Waiting,
        Standing::CatchingUp => v1::Standing::CatchingUp,
        Standing::Behind => v1::Standing::Behind,
        Standing::Halted => v1::Standing::Halted,
    }
}

/// The standing that an answer names; `None` where it names none that this version knows.
pub fn standing_of(answer: &v1::TopicOffsets) -> Option<Standing> {
    standing_from(answer.standing())
}

/// The same of any answer.
pub fn standing_from(standing: v1::Standing) -> Option<Standing> {
    match standing {
        v1::Standing::Unspecified => None,
        v1::Standing::UpToDate => Some(Standing::UpToDate),
        v1::Standing::Waiting => Some(Standing::Waiting),
        v1::Standing::CatchingUp => Some(Standing::CatchingUp),
        v1::Standing::Behind => Some(Standing::Behind),
        v1::Standing::Halted => Some(Standing::Halted),
    }
}

/// The tables of these names.
///
/// # Errors
/// When one cannot be read.
pub async fn tables(lake: &Lake, names: &[TableName]) -> Result<Vec<v1::Table>, LakeError> {
    let mut tables = Vec::with_capacity(names.len());
    for name in names {
        // A table that was dropped since the list was made is no longer there.
        tables.extend(lake.load(name).await?.as_ref().map(table));
    }
    Ok(tables)
}

/// One table at a glance.
pub fn table(table: &LoadedTable) -> v1::Table {
    let size = TableSize::of(table);
    v1::Table {
        table: table.ident().to_string(),
        rows: size.rows,
        files: size.files,
        size_bytes: size.size_bytes,
        snapshots: size.snapshots,
        last_commit_time: size.last_commit_ms.map(timestamp),
        last_snapshot_id: size.last_snapshot_id,
        location: table.metadata().location().to_owned(),
        metadata_location: table.metadata_location().to_owned(),
        metadata_bytes: table.metadata_bytes(),
        delete_files: table.summary().delete_files.unwrap_or(0),
    }
}

/// A time in milliseconds since 1970-01-01 UTC.
pub fn timestamp(time_ms: i64) -> Timestamp {
    Timestamp {
        seconds: time_ms.div_euclid(1000),
        nanos: i32::try_from(time_ms.rem_euclid(1000) * 1_000_000).unwrap_or(0),
    }
}

/// Milliseconds since 1970-01-01 UTC.
pub fn time_ms(time: &Timestamp) -> i64 {
    let of_second = i64::from(time.nanos) / 1_000_000;
    time.seconds.saturating_mul(1000).saturating_add(of_second)
}

/// Milliseconds of a duration.
pub fn duration_ms(duration: &Duration) -> i64 {
    let of_second = i64::from(duration.nanos) / 1_000_000;
    duration.seconds.saturating_mul(1000).saturating_add(of_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive() {
        for ms in [0, 1, 999, 1000, 1_763_900_000_123, -1, -1001] {
            assert_eq!(time_ms(&timestamp(ms)), ms);
            assert!(timestamp(ms).nanos >= 0, "{ms}");
        }
    }

    #[test]
    fn standings_survive() {
        use Standing::{Behind, CatchingUp, Halted, UpToDate, Waiting};
        for each in [UpToDate, Waiting, CatchingUp, Behind, Halted] {
            let answer = v1::TopicOffsets {
                standing: standing(each).into(),
                ..v1::TopicOffsets::default()
            };
            assert_eq!(standing_of(&answer), Some(each));
        }
        assert_eq!(standing_of(&v1::TopicOffsets::default()), None);
    }
}
