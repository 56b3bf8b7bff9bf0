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
use crate::diagnosis::{Diagnosis, Standing, beside, diagnose};
use crate::reason::Reason;
use crate::view::{Reader, TableView, TopicView};

/// Waits for memory that are shorter are not worth a word, in milliseconds.
const MEMORY_WAIT_SAID_MS: i64 = 2_000;

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
        identity: seen.identity,
        open: seen.open,
        reader: Reader::Runs,
        ..TopicView::of(topic, table)
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
    let diagnosis = diagnosed(&view, live, is_known, cluster, now_ms);
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

/// How the topic stands; what the node knows comes first.
fn diagnosed(view: &TopicView, live: Option<&TopicProgress>, is_known: bool, cluster: &str, now_ms: i64) -> Diagnosis {
    let mut diagnosis = match live.map(|live| &live.state) {
        Some(TopicState::Stopped(stopped)) => Diagnosis {
            reason: format!("[{}] {}", stopped.code, stopped.message),
            ..Diagnosis::halted(stopped.code, stopped.message.clone())
        },
        Some(TopicState::Retrying { code, error, attempt }) => {
            let is_stale = is_known && diagnose(view, cluster, now_ms).is_stale;
            Diagnosis {
                reason: format!("attempt {attempt} failed and is repeated: [{code}] {error}"),
                ..Diagnosis::because(Standing::Behind, is_stale, Reason::new(code, error.clone()))
            }
        }
        _ if is_known => return with_trouble(diagnose(view, cluster, now_ms), live, now_ms),
        _ => Diagnosis::because(Standing::Waiting, false, Reason::new("kafka", "Kafka does not answer")),
    };
    diagnosis.reasons.extend(beside(view, now_ms));
    with_trouble(diagnosis, live, now_ms)
}

/// Adds what the pipeline has not got over yet, though it seems to run.
fn with_trouble(mut diagnosis: Diagnosis, live: Option<&TopicProgress>, now_ms: i64) -> Diagnosis {
    let Some(live) = live else { return diagnosis };
    if let Some(trouble) = &live.trouble
        && diagnosis.reasons.iter().all(|reason| reason.code != trouble.code)
    {
        let message = format!("attempt {} failed: {}", trouble.attempt, trouble.error);
        diagnosis.reasons.insert(0, Reason::new(trouble.code, message));
    }
    if let Some(since_ms) = live
        .waits_for_memory_since_ms
        .filter(|since| now_ms - since > MEMORY_WAIT_SAID_MS)
    {
        diagnosis.reasons.push(Reason::memory_wait(since_ms, now_ms));
    }
    diagnosis
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
    use tapehouse_actors::{TopicStopped, Trouble};
    use tapehouse_core::state::StreamState;

    use super::*;
    use crate::view::{TableSize, Undecodable};

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
            undecodable: Undecodable::default(),
            silver: None,
        };
        let live = TopicProgress {
            state,
            ..TopicProgress::default()
        };
        let seen = Seen { log, ..Seen::default() };
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
    #[test]
    fn what_failed_stays_a_reason_until_it_has_healed() {
        let now = |trouble: bool, memory_since: Option<i64>| {
            let live = TopicProgress {
                state: TopicState::Running,
                trouble: trouble.then(|| Trouble {
                    code: "registry",
                    error: "away".into(),
                    attempt: 2,
                }),
                waits_for_memory_since_ms: memory_since,
                ..TopicProgress::default()
            };
            let diagnosis = Diagnosis::new(Standing::CatchingUp, false, "x");
            let reasons = with_trouble(diagnosis, Some(&live), NOW).reasons;
            reasons.iter().map(|reason| reason.code).collect::<Vec<_>>()
        };
        assert_eq!(now(true, None), ["registry"]);
        assert_eq!(now(false, Some(NOW - 5000)), ["memory_wait"]);
        assert_eq!(now(false, Some(NOW - 10)), [""; 0]);
    }
}
