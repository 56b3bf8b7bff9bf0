//! How a silver table stands, and why it does not move where it does not, in the words of `tapehouse.v1`.

use tapehouse_actors::{SilverProgress, TopicState};
use tapehouse_lake::silver::clean::RULES_VERSION;
use tapehouse_proto::v1;

use crate::answer::{standing, timestamp};
use crate::diagnosis::{AT_WORK_MS, Diagnosis, Standing};
use crate::grpc::live;
use crate::reason::Reason;
use crate::silver_view::{MergedView, SilverView};
use crate::view::Reader;

/// Freshness alert of silver: bronze has had for so long what silver lacks, in milliseconds.
pub const STALE_AFTER_MS: i64 = 900_000;

/// The table as the tables show it, and as the node that merges it, where one is known.
pub fn silver(
    view: &SilverView,
    live: Option<(&SilverProgress, &str)>,
    reader: &Reader,
    now_ms: i64,
) -> v1::SilverOffsets {
    let diagnosis = diagnose(view, live.map(|(live, _)| live), reader, now_ms);
    let table = view.table.as_ref();
    let size = table.map(|table| &table.size);
    let state = table.map(|table| table.state.as_ref());
    v1::SilverOffsets {
        table: view.kind.name().to_owned(),
        source: view.source.clone(),
        table_exists: table.is_some(),
        state_error: state.and_then(Result::err).map(ToString::to_string),
        lag: view.lag(),
        rows: size.map(|size| size.rows),
        last_commit_time: size.and_then(|size| size.last_commit_ms).map(timestamp),
        last_snapshot_id: size.and_then(|size| size.last_snapshot_id),
        standing: standing(diagnosis.standing).into(),
        reason: diagnosis.reason,
        stale: diagnosis.is_stale,
        reasons: diagnosis.reasons.iter().map(Reason::answer).collect(),
        owner_node: live.map_or(String::new(), |(_, node)| node.to_owned()),
        pipeline: live.map(|(live, _)| live::pipeline(&live.state)),
        freshness: live.and_then(|(live, _)| live::freshness(&live.freshness)),
        files: size.map_or(0, |size| size.files),
        delete_files: table.map_or(0, |table| table.delete_files),
        deduplicated: table.map_or(0, |table| table.counts.deduplicated),
        dropped: table.map(|table| table.counts.dropped.clone()).unwrap_or_default(),
        quarantined: table.map(|table| table.counts.quarantined.clone()).unwrap_or_default(),
        partitions: table.map(partitions).unwrap_or_default(),
        behind_since_time: table.and_then(|table| table.behind_since_ms).map(timestamp),
    }
}

fn partitions(table: &MergedView) -> Vec<v1::SilverPartition> {
    let partition = |partition: &crate::silver_view::MergedPartition| v1::SilverPartition {
        incarnation: partition.incarnation,
        partition: partition.partition,
        merged_next_offset: partition.merged,
        source_next_offset: partition.source,
        lag: partition.lag(),
    };
    table.partitions.iter().map(partition).collect()
}

fn diagnose(view: &SilverView, live: Option<&SilverProgress>, reader: &Reader, now_ms: i64) -> Diagnosis {
    let seen = standing_of(view, live.is_some(), reader, now_ms);
    match live.map(|live| &live.state) {
        Some(TopicState::Stopped(stopped)) => Diagnosis::halted(stopped.code, stopped.message.clone()),
        Some(TopicState::Retrying { code, error, attempt }) => Diagnosis {
            reason: format!("attempt {attempt} failed and is repeated: [{code}] {error}"),
            ..Diagnosis::because(Standing::Behind, seen.is_stale, Reason::new(code, error.clone()))
        },
        _ => seen,
    }
}

/// From the tables alone.
fn standing_of(view: &SilverView, is_merged_here: bool, reader: &Reader, now_ms: i64) -> Diagnosis {
    let Some(table) = &view.table else {
        let text = match view.source_rows {
            0 => "no table yet: there is nothing to merge".to_owned(),
            _ => "no table yet: no node has merged anything".to_owned(),
        };
        return without_node(
            Diagnosis::new(Standing::Waiting, false, text),
            view.source_rows > 0,
            reader,
        );
    };
    let state = match &table.state {
        Ok(state) => state,
        Err(error) => return Diagnosis::halted("state_invalid", error.to_string()),
    };
    if state.source != view.source {
        let message = format!("the table is made from {}, not from {}", state.source, view.source);
        return Diagnosis::halted("refused", message);
    }
    if let Some(behind) = table.partitions.iter().find(|partition| partition.is_source_behind()) {
        let message = format!(
            "partition {} is merged up to offset {}, {} holds it up to {}: it was rolled back",
            behind.partition,
            behind.merged.unwrap_or_default(),
            view.source,
            behind.source
        );
        return Diagnosis::halted("source_behind", message);
    }
    if state.rules != RULES_VERSION {
        let message = format!(
            "the rows were made by rules {}, this program has rules {RULES_VERSION}",
            state.rules
        );
        return Diagnosis::halted("refused", message);
    }
    let lag = view.lag();
    let what = match (lag, table.former_open) {
        (0, 0) => {
            let text = format!("all of {} is merged", view.source);
            return Diagnosis::new(Standing::UpToDate, false, text);
        }
        (0, _) => "rows of a former incarnation of the topic are not merged yet".to_owned(),
        (lag, _) => format!("{lag} offsets of {} are not merged yet", view.source),
    };
    let age_ms = |time_ms: Option<i64>| time_ms.map(|time_ms| now_ms - time_ms);
    let is_stale = age_ms(table.behind_since_ms).is_none_or(|age_ms| age_ms > STALE_AFTER_MS);
    let is_at_work = age_ms(table.size.last_commit_ms).is_some_and(|age_ms| age_ms <= AT_WORK_MS);
    let is_new = age_ms(table.behind_since_ms).is_some_and(|age_ms| age_ms <= AT_WORK_MS);
    match is_at_work || is_new && is_merged_here {
        true => Diagnosis::new(Standing::CatchingUp, is_stale, what),
        false => without_node(Diagnosis::new(Standing::Behind, is_stale, what), true, reader),
    }
}

/// Adds that no node runs, where that keeps the table from moving.
fn without_node(mut diagnosis: Diagnosis, matters: bool, reader: &Reader) -> Diagnosis {
    if let (Reader::Absent(why), true) = (reader, matters) {
        diagnosis.reasons.push(Reason::node_not_running(why.clone()));
    }
    diagnosis
}

#[cfg(test)]
mod tests {
    use tapehouse_core::merge::MergeState;
    use tapehouse_core::state::StreamState;
    use tapehouse_lake::silver::SilverTable;

    use super::*;
    use crate::silver_view::RetainedCounts;
    use crate::view::TableSize;

    const NOW: i64 = 10_000_000_000;

    fn view(merged: i64, source: i64, behind_since_ms: Option<i64>) -> SilverView {
        let mut recorded = StreamState::new("c", "t");
        recorded.next = [(0, source)].into();
        let mut cursor = MergeState::new("c", "bronze.t", RULES_VERSION);
        cursor.next = [(0, [(0, merged)].into())].into();
        SilverView {
            kind: SilverTable::Trades,
            source: "bronze.t".to_owned(),
            source_rows: 1,
            table: Some(MergedView {
                size: TableSize {
                    last_commit_ms: Some(NOW - 3_600_000),
                    ..TableSize::default()
                },
                delete_files: 0,
                partitions: crate::silver_view::partitions(&cursor, &recorded, &Default::default()),
                state: Ok(cursor),
                former_open: 0,
                behind_since_ms,
                counts: RetainedCounts::default(),
            }),
        }
    }

    #[test]
    fn stale_is_what_bronze_has_had_for_fifteen_minutes() {
        let of = |merged, source, since: Option<i64>, live: bool| {
            let progress = SilverProgress::default();
            let live = live.then_some((&progress, "n1"));
            silver(
                &view(merged, source, since.map(|ago| NOW - ago)),
                live,
                &Reader::Runs,
                NOW,
            )
        };
        let current = of(9, 9, None, false);
        assert_eq!(
            (current.standing(), current.stale, current.lag),
            (v1::Standing::UpToDate, false, 0)
        );
        let behind = of(5, 9, Some(STALE_AFTER_MS - 1), true);
        assert_eq!(
            (behind.standing(), behind.stale, behind.lag),
            (v1::Standing::Behind, false, 4)
        );
        assert!(of(5, 9, Some(STALE_AFTER_MS + 1), true).stale);
        assert!(of(5, 9, None, true).stale, "nobody knows since when");
        assert_eq!(of(5, 9, Some(500), true).standing(), v1::Standing::CatchingUp);
        let ahead = of(10, 9, None, true);
        assert!(ahead.stale && ahead.reasons[0].code == "source_behind", "{ahead:?}");
    }

    #[test]
    fn what_the_merge_says_comes_first() {
        let live = SilverProgress {
            state: TopicState::Retrying {
                code: "key_index",
                error: "no space".to_owned(),
                attempt: 2,
            },
            ..SilverProgress::default()
        };
        let answer = silver(&view(5, 9, Some(NOW - 1000)), Some((&live, "n1")), &Reader::Runs, NOW);
        assert_eq!(
            (answer.standing(), answer.reasons[0].code.as_str()),
            (v1::Standing::Behind, "key_index")
        );
        assert_eq!(answer.pipeline.map(|pipeline| pipeline.attempt), Some(2));
    }
}
