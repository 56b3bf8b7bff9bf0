//! Why data is not visible, where it is not: a pure function of what tables and Kafka say.

use tapehouse_core::lost::LostOffset;

use crate::console::ago;
use crate::view::{PartitionView, TopicView};

/// Freshness alert of bronze: behind and without a commit for so long means stale, in milliseconds.
pub const STALE_AFTER_MS: i64 = 300_000;
/// Behind, but with a commit this recent: somebody is at work, in milliseconds.
const AT_WORK_MS: i64 = 35_000;

/// How a topic stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Everything visible is committed.
    UpToDate,
    /// There is nothing to be committed yet.
    Waiting,
    /// Behind, and commits come.
    CatchingUp,
    /// Behind, and none come.
    Behind,
    /// Does not go on by itself.
    Halted,
}

impl Standing {
    /// For output.
    pub fn name(self) -> &'static str {
        match self {
            Self::UpToDate => "up to date",
            Self::Waiting => "waiting",
            Self::CatchingUp => "catching up",
            Self::Behind => "behind",
            Self::Halted => "halted",
        }
    }
}

/// A standing, its reason, and whether that is cause for alarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// How the topic stands.
    pub standing: Standing,
    /// Why.
    pub reason: String,
    /// Whether the data is stale: `status` exits with 3.
    pub is_stale: bool,
}

fn diagnosis(standing: Standing, is_stale: bool, reason: impl Into<String>) -> Diagnosis {
    Diagnosis {
        standing,
        reason: reason.into(),
        is_stale,
    }
}

/// Diagnoses one topic. `cluster` is the name of the cluster that asks.
pub fn diagnose(view: &TopicView, cluster: &str, now_ms: i64) -> Diagnosis {
    let Some(log) = &view.log else {
        return match &view.table {
            None => diagnosis(Standing::Waiting, false, "Kafka has no such topic"),
            Some(_) => diagnosis(
                Standing::Halted,
                true,
                "Kafka no longer has this topic; the table keeps what it has",
            ),
        };
    };
    let Some(table) = &view.table else {
        return match log.values().map(|range| range.len()).sum::<u64>() {
            0 => diagnosis(Standing::Waiting, false, "no table yet: the topic has no records"),
            _ => diagnosis(
                Standing::Behind,
                true,
                "no table yet: no node has committed anything; is `tapehouse run` running?",
            ),
        };
    };
    let state = match &table.state {
        Ok(state) => state,
        Err(error) => return diagnosis(Standing::Halted, true, error.to_string()),
    };
    if state.owner != cluster {
        let reason = format!(
            "the table belongs to cluster `{}`, this configuration is of `{cluster}`",
            state.owner
        );
        return diagnosis(Standing::Halted, true, reason);
    }
    if let Some(mismatch) = view.mismatch() {
        let reason = format!(
            "{mismatch}; `tapehouse offsets adopt-topic {}` goes on with what is there now",
            view.topic.topic
        );
        return diagnosis(Standing::Halted, true, reason);
    }
    let partitions = view.partitions();
    if let Some(reason) = partitions
        .iter()
        .find_map(|partition| broken(partition, &view.topic.topic))
    {
        return diagnosis(Standing::Halted, true, reason);
    }
    let age_ms = table.size.last_commit_ms.map(|last| now_ms.saturating_sub(last).max(0));
    let last = table.size.last_commit_ms;
    let last = last.map_or("no commit yet".to_owned(), |last| {
        format!("last commit {}", ago(last, now_ms))
    });
    match (view.lag(), age_ms) {
        (0, _) if state.next.is_empty() => diagnosis(Standing::Waiting, false, "the topic has no records"),
        (0, _) => diagnosis(Standing::UpToDate, false, format!("nothing new in Kafka; {last}")),
        (lag, Some(age)) if age <= AT_WORK_MS => {
            diagnosis(Standing::CatchingUp, false, format!("{lag} offsets to go; {last}"))
        }
        (lag, age) => {
            let is_stale = age.is_none_or(|age| age > STALE_AFTER_MS);
            let reason = format!(
                "{lag} offsets to go, {last}: no node is running, or it waits for Kafka, the registry or the catalog (see its log)"
            );
            diagnosis(Standing::Behind, is_stale, reason)
        }
    }
}

/// Why a partition cannot go on.
fn broken(view: &PartitionView, topic: &str) -> Option<String> {
    let PartitionView { partition, next, log } = view;
    let next = (*next)?;
    match log {
        None => Some(format!("partition {partition} is in the table and no longer in Kafka")),
        Some(log) => {
            LostOffset::find(*partition, next, *log).map(|lost| format!("{}: {}", lost.code(), lost.explain(topic)))
        }
    }
}

#[cfg(test)]
mod tests {
    use tapehouse_core::identity::TopicIdentity;
    use tapehouse_core::offsets::OffsetRange;
    use tapehouse_core::state::StreamState;

    use super::*;
    use crate::config::Topic;
    use crate::view::{TableSize, TableView};

    const NOW: i64 = 1_000_000_000;

    fn view(next: Option<i64>, log: Option<(i64, i64)>, last_commit_ms: i64) -> TopicView {
        let table = next.map(|next| {
            let mut state = StreamState::new("c", "raw.trades");
            state.next.insert(0, next);
            let size = TableSize {
                last_commit_ms: Some(last_commit_ms),
                ..TableSize::default()
            };
            TableView { size, state: Ok(state) }
        });
        TopicView {
            topic: Topic::of("raw.trades"),
            table,
            log: log.map(|(start, end)| [(0, OffsetRange::new(start, end))].into()),
            identity: None,
        }
    }

    #[track_caller]
    fn assert_diagnosis(view: &TopicView, standing: Standing, is_stale: bool, reason: &str) {
        let found = diagnose(view, "c", NOW);
        assert_eq!((found.standing, found.is_stale), (standing, is_stale), "{found:?}");
        assert!(found.reason.contains(reason), "{found:?}");
    }

    #[test]
    fn each_reason() {
        use Standing::{Behind, CatchingUp, Halted, UpToDate, Waiting};
        assert_diagnosis(&view(None, None, 0), Waiting, false, "no such topic");
        assert_diagnosis(&view(None, Some((0, 0)), 0), Waiting, false, "no records");
        assert_diagnosis(&view(None, Some((0, 9)), 0), Behind, true, "no table yet");
        assert_diagnosis(
            &view(Some(9), Some((0, 9)), NOW - 900_000),
            UpToDate,
            false,
            "nothing new",
        );
        assert_diagnosis(&view(Some(5), Some((0, 9)), NOW - 1000), CatchingUp, false, "4 offsets");
        assert_diagnosis(
            &view(Some(5), Some((0, 9)), NOW - 60_000),
            Behind,
            false,
            "no node is running",
        );
        assert_diagnosis(
            &view(Some(5), Some((0, 9)), NOW - 600_000),
            Behind,
            true,
            "no node is running",
        );
        assert_diagnosis(&view(Some(10), Some((0, 9)), NOW), Halted, true, "log_truncated");
        assert_diagnosis(&view(Some(3), Some((5, 9)), NOW), Halted, true, "retention");
        assert_diagnosis(&view(Some(3), None, NOW), Halted, true, "no longer has this topic");
    }

    #[test]
    fn a_recreated_topic_is_named_however_long_it_is() {
        let mut recreated = view(Some(5), Some((0, 9)), NOW);
        let id = |id: &str| Some(id.to_owned());
        if let Some(Ok(state)) = recreated.table.as_mut().map(|table| table.state.as_mut()) {
            state.topic_id = id("first");
        }
        recreated.identity = Some(TopicIdentity {
            kafka_cluster_id: None,
            topic_id: id("second"),
        });
        assert_diagnosis(&recreated, Standing::Halted, true, "created again");
        assert_diagnosis(&recreated, Standing::Halted, true, "adopt-topic raw.trades");
    }

    #[test]
    fn a_table_of_another_cluster_is_named() {
        let found = diagnose(&view(Some(5), Some((0, 9)), NOW), "other", NOW);
        assert!(found.reason.contains("cluster `c`"), "{found:?}");
    }
}
