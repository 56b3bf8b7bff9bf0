//! What only the node that reads a topic knows, in the words of `tapehouse.v1`.

use prost_types::Duration;
use tapehouse_actors::{PartitionStopped, TopicProgress, TopicState};
use tapehouse_core::codes;
use tapehouse_core::freshness::DelayQuantiles;
use tapehouse_core::offsets::OffsetRange;
use tapehouse_proto::v1;

use super::logs::{Log, Seen};
use crate::answer;
use crate::config::Topic;
use crate::diagnosis::{Diagnosis, Standing, diagnose};
use crate::view::{TableView, TopicView};

/// A topic as table, Kafka and the node that reads it show it.
pub fn topic(
    topic: &Topic,
    table: Option<TableView>,
    seen: Seen,
    live: Option<&TopicProgress>,
    about: (&str, &str),
    now_ms: i64,
) -> v1::TopicOffsets {
    let (cluster, node) = about;
    let mut view = TopicView {
        topic: topic.clone(),
        table,
        log: None,
        identity: seen.identity,
    };
    let is_known = !matches!(seen.log, Log::Unknown);
    view.log = match seen.log {
        Log::Unknown | Log::Absent => None,
        Log::Known(ends) => Some(ends),
        // The table may have read further than the log was known to go.
        Log::Stale(mut ends) => {
            for partition in view.partitions() {
                if let (Some(next), Some(end)) = (partition.next, ends.get_mut(&partition.partition)) {
                    *end = OffsetRange::new(end.start, end.end.max(next));
                }
            }
            Some(ends)
        }
    };
    let diagnosis = match live.map(|live| &live.state) {
        Some(TopicState::Stopped(stopped)) => Diagnosis {
            standing: Standing::Halted,
            reason: format!("[{}] {}", stopped.code, stopped.message),
            is_stale: true,
        },
        Some(TopicState::Retrying { code, error, attempt }) => Diagnosis {
            standing: Standing::Behind,
            reason: format!("attempt {attempt} failed and is repeated: [{code}] {error}"),
            is_stale: is_known && diagnose(&view, cluster, now_ms).is_stale,
        },
        _ if is_known => diagnose(&view, cluster, now_ms),
        _ => Diagnosis {
            standing: Standing::Waiting,
            reason: "Kafka does not answer".to_owned(),
            is_stale: false,
        },
    };
    let mut answer = answer::topic(&view, &diagnosis);
    if !is_known {
        answer.in_kafka = None;
    }
    if let Some(live) = live {
        for partition in &mut answer.partitions {
            let mut stopped = live
                .partitions
                .iter()
                .filter(|live| live.partition == partition.partition);
            partition.stopped = stopped.find_map(|live| live.stopped.as_ref()).map(stop);
        }
        answer.owner_node = node.to_owned();
        answer.pipeline = Some(pipeline(&live.state));
        answer.freshness = freshness(&live.freshness);
    }
    answer
}

fn stop(stopped: &PartitionStopped) -> v1::PartitionStop {
    v1::PartitionStop {
        code: stopped.code.to_owned(),
        message: stopped.message.clone(),
        way_out: codes::find(stopped.code).map(codes::Code::way_out).unwrap_or_default(),
    }
}

/// What a pipeline is doing.
pub fn pipeline(state: &TopicState) -> v1::Pipeline {
    let (state, code, message, attempt) = match state {
        TopicState::Starting => (v1::PipelineState::Starting, "", "", 0),
        TopicState::Running => (v1::PipelineState::Running, "", "", 0),
        TopicState::Idle => (v1::PipelineState::Idle, "", "", 0),
        TopicState::Retrying { code, error, attempt } => (v1::PipelineState::Retrying, *code, error.as_str(), *attempt),
        TopicState::Stopped(stopped) => (v1::PipelineState::Stopped, stopped.code, stopped.message.as_str(), 0),
    };
    v1::Pipeline {
        state: state.into(),
        code: code.to_owned(),
        message: message.to_owned(),
        way_out: codes::find(code).map(codes::Code::way_out).unwrap_or_default(),
        attempt,
    }
}

/// Delays; `None` without records.
pub fn freshness(delays: &DelayQuantiles) -> Option<v1::Freshness> {
    let quantile = |q: f64| delays.quantile_ms(q).map(duration);
    Some(v1::Freshness {
        p50: Some(quantile(0.5)?),
        p99: Some(quantile(0.99)?),
        max: Some(quantile(1.0)?),
        records: delays.records(),
    })
}

fn duration(ms: u64) -> Duration {
    Duration {
        seconds: i64::try_from(ms / 1000).unwrap_or(i64::MAX),
        nanos: i32::try_from(ms % 1000 * 1_000_000).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use tapehouse_actors::TopicStopped;
    use tapehouse_core::state::StreamState;

    use super::*;
    use crate::view::TableSize;

    const NOW: i64 = 1_000_000_000;

    fn of(log: Log, state: TopicState) -> v1::TopicOffsets {
        let mut recorded = StreamState::new("c", "raw.trades");
        recorded.next.insert(0, 20);
        let table = TableView {
            size: TableSize {
                last_commit_ms: Some(NOW - 1000),
                ..TableSize::default()
            },
            state: Ok(recorded),
        };
        let live = TopicProgress {
            state,
            ..TopicProgress::default()
        };
        let seen = Seen { log, identity: None };
        topic(
            &Topic::of("raw.trades"),
            Some(table),
            seen,
            Some(&live),
            ("c", "n1"),
            NOW,
        )
    }

    fn ends(end: i64) -> std::collections::BTreeMap<i32, OffsetRange> {
        [(0, OffsetRange::new(3, end))].into()
    }

    #[test]
    fn a_stale_end_is_no_truncated_topic() {
        let stale = of(Log::Stale(ends(15)), TopicState::Running);
        assert_eq!((stale.standing(), stale.lag), (v1::Standing::UpToDate, 0), "{stale:?}");
        assert_eq!(stale.partitions[0].high_watermark, Some(20));
        let truncated = of(Log::Known(ends(15)), TopicState::Running);
        assert_eq!(truncated.standing(), v1::Standing::Halted);
        let behind = of(Log::Known(ends(25)), TopicState::Running);
        assert_eq!((behind.standing(), behind.lag), (v1::Standing::CatchingUp, 5));
        assert_eq!(
            (behind.owner_node.as_str(), behind.partitions[0].log_start_offset),
            ("n1", Some(3))
        );
    }

    #[test]
    fn what_the_node_knows_comes_first() {
        let stopped = TopicState::Stopped(TopicStopped {
            topic: "raw.trades".into(),
            code: "offset_lost",
            message: "gone".into(),
        });
        let halted = of(Log::Known(ends(25)), stopped);
        assert!(halted.stale && halted.standing() == v1::Standing::Halted);
        let pipeline = halted.pipeline.unwrap();
        assert_eq!(
            (pipeline.state(), pipeline.code.as_str()),
            (v1::PipelineState::Stopped, "offset_lost")
        );
        assert!(!pipeline.way_out.is_empty());
        let retrying = TopicState::Retrying {
            code: "kafka",
            error: "away".into(),
            attempt: 3,
        };
        let behind = of(Log::Unknown, retrying);
        assert_eq!(
            (behind.standing(), behind.in_kafka, behind.stale),
            (v1::Standing::Behind, None, false)
        );
        assert!(behind.reason.contains("away"), "{}", behind.reason);
        assert_eq!(of(Log::Unknown, TopicState::Starting).standing(), v1::Standing::Waiting);
        assert_eq!(of(Log::Absent, TopicState::Starting).in_kafka, Some(false));
    }
}
