//! Why data is not visible, where it is not: a pure function of what tables and Kafka say.

use tapehouse_core::lost::LostOffset;
use tapehouse_core::state::StreamState;

use crate::console::ago;
use crate::reason::Reason;
use crate::view::{PartitionView, Reader, TableView, TopicView};

/// Freshness alert of bronze: behind and without a commit for so long means stale, in milliseconds.
pub const STALE_AFTER_MS: i64 = 300_000;
/// Behind, but with a commit this recent: somebody is at work, in milliseconds.
pub const AT_WORK_MS: i64 = 35_000;

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
    /// Why, in one sentence.
    pub reason: String,
    /// Whether the data is stale: `status` exits with 3.
    pub is_stale: bool,
    /// Each thing that is out of order, with its code; empty where all is well.
    pub reasons: Vec<Reason>,
}

impl Diagnosis {
    /// A standing with nothing out of order.
    pub fn new(standing: Standing, is_stale: bool, reason: impl Into<String>) -> Self {
        Self {
            standing,
            reason: reason.into(),
            is_stale,
            reasons: Vec::new(),
        }
    }

    /// A standing that has one reason.
    pub fn because(standing: Standing, is_stale: bool, reason: Reason) -> Self {
        Self {
            reasons: vec![reason.clone()],
            ..Self::new(standing, is_stale, reason.message)
        }
    }

    /// What does not go on by itself.
    pub fn halted(code: &'static str, message: impl Into<String>) -> Self {
        Self::because(Standing::Halted, true, Reason::new(code, message))
    }
}

/// Diagnoses one topic. `cluster` is the name of the cluster that asks.
pub fn diagnose(view: &TopicView, cluster: &str, now_ms: i64) -> Diagnosis {
    let mut diagnosis = standing(view, cluster, now_ms);
    diagnosis.reasons.extend(beside(view, now_ms));
    diagnosis
}

/// What is out of order beside how the topic stands: transactions that are open, records that could not be decoded.
pub fn beside(view: &TopicView, now_ms: i64) -> Vec<Reason> {
    let open = view.open.iter();
    let mut reasons: Vec<Reason> = open
        .map(|(partition, open)| Reason::open_transaction(*partition, open, now_ms))
        .collect();
    let table = view.table.as_ref();
    reasons.extend(table.and_then(|table| Reason::undecodable(table.undecodable, now_ms)));
    reasons
}

fn standing(view: &TopicView, cluster: &str, now_ms: i64) -> Diagnosis {
    if let Some(refusal) = &view.refusal {
        return Diagnosis::halted(refusal.code, refusal.message.clone());
    }
    let Some(log) = &view.log else {
        return match &view.table {
            None => Diagnosis::because(
                Standing::Waiting,
                false,
                Reason::new("topic_absent", "Kafka has no such topic"),
            ),
            Some(_) => Diagnosis::halted(
                "topic_absent",
                "Kafka no longer has this topic; the table keeps what it has",
            ),
        };
    };
    let Some(table) = &view.table else {
        return match log.values().map(|range| range.len()).sum::<u64>() {
            0 => Diagnosis::new(Standing::Waiting, false, "no table yet: the topic has no records"),
            _ => without_commits(&view.reader, true, "no table yet: no node has committed anything"),
        };
    };
    let state = match &table.state {
        Ok(state) => state,
        Err(error) => return Diagnosis::halted("state_invalid", error.to_string()),
    };
    if state.owner != cluster {
        let reason = format!(
            "the table belongs to cluster `{}`, this configuration is of `{cluster}`",
            state.owner
        );
        return Diagnosis::halted("foreign_owner", reason);
    }
    if let Some(mismatch) = view.mismatch() {
        let reason = format!(
            "{mismatch}; `tapehouse offsets adopt-topic {}` goes on with what is there now",
            view.topic.topic
        );
        return Diagnosis::halted(mismatch.code(), reason);
    }
    let broken: Vec<Reason> = view
        .partitions()
        .iter()
        .filter_map(|partition| broken(partition, &view.topic.topic))
        .collect();
    if let Some(first) = broken.first() {
        return Diagnosis {
            reasons: broken.clone(),
            ..Diagnosis::new(Standing::Halted, true, first.message.clone())
        };
    }
    by_lag(view, table, state, now_ms)
}

/// Nothing is broken, as far as tables and Kafka tell.
fn by_lag(view: &TopicView, table: &TableView, state: &StreamState, now_ms: i64) -> Diagnosis {
    let age_ms = table.size.last_commit_ms.map(|last| now_ms.saturating_sub(last).max(0));
    let last = table.size.last_commit_ms;
    let last = last.map_or("no commit yet".to_owned(), |last| {
        format!("last commit {}", ago(last, now_ms))
    });
    match (view.lag(), age_ms) {
        (0, _) if !view.open.is_empty() => {
            let reason = format!("nothing new in Kafka that is visible; {last}");
            Diagnosis::new(Standing::UpToDate, false, reason)
        }
        (0, _) if state.next.is_empty() => Diagnosis::new(Standing::Waiting, false, "the topic has no records"),
        (0, _) => Diagnosis::new(Standing::UpToDate, false, format!("nothing new in Kafka; {last}")),
        (lag, Some(age)) if age <= AT_WORK_MS => {
            Diagnosis::new(Standing::CatchingUp, false, format!("{lag} offsets to go; {last}"))
        }
        (lag, age) => {
            let is_stale = age.is_none_or(|age| age > STALE_AFTER_MS);
            without_commits(&view.reader, is_stale, &format!("{lag} offsets to go, {last}"))
        }
    }
}

/// There is something to be committed, and no commit comes.
fn without_commits(reader: &Reader, is_stale: bool, what: &str) -> Diagnosis {
    match reader {
        Reader::Runs => Diagnosis::new(Standing::Behind, is_stale, format!("{what}; the node is at work")),
        Reader::Absent(why) => {
            let reason = Reason::node_not_running(format!("{what}; no node is running: {why}"));
            Diagnosis::because(Standing::Behind, is_stale, reason)
        }
        Reader::Unknown => {
            let reason = format!(
                "{what}; no node is running, or it waits for Kafka, the registry or the catalog (ask it: --endpoint)"
            );
            Diagnosis::because(Standing::Behind, is_stale, Reason::node_not_running(reason))
        }
    }
}

/// Why a partition cannot go on.
fn broken(view: &PartitionView, topic: &str) -> Option<Reason> {
    let PartitionView { partition, next, log } = view;
    let next = (*next)?;
    let reason = match log {
        None => {
            let message = format!("partition {partition} is in the table and no longer in Kafka");
            Reason::new("topic_absent", message)
        }
        Some(log) => {
            let lost = LostOffset::find(*partition, next, *log)?;
            Reason::new(lost.code(), format!("{}: {}", lost.code(), lost.explain(topic)))
        }
    };
    Some(reason.of_partition(*partition))
}

#[cfg(test)]
mod tests {
    use tapehouse_core::identity::TopicIdentity;
    use tapehouse_core::offsets::OffsetRange;
    use tapehouse_kafka::look::OpenTransaction;

    use super::*;
    use crate::config::Topic;
    use crate::exit::Failure;
    use crate::view::{TableSize, Undecodable};

    const NOW: i64 = 1_000_000_000;

    fn view(next: Option<i64>, log: Option<(i64, i64)>, last_commit_ms: i64) -> TopicView {
        let table = next.map(|next| {
            let mut state = StreamState::new("c", "raw.trades");
            state.next.insert(0, next);
            let size = TableSize {
                last_commit_ms: Some(last_commit_ms),
                ..TableSize::default()
            };
            TableView {
                size,
                state: Ok(state),
                undecodable: Undecodable::default(),
                silver: None,
            }
        });
        TopicView {
            log: log.map(|(start, end)| [(0, OffsetRange::new(start, end))].into()),
            ..TopicView::of(&Topic::of("raw.trades"), table)
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
    fn codes(view: &TopicView) -> Vec<&'static str> {
        let reasons = diagnose(view, "c", NOW).reasons;
        for reason in &reasons {
            assert!(!reason.way_out().is_empty(), "{reason:?}");
        }
        reasons.iter().map(|reason| reason.code).collect()
    }

    #[test]
    fn each_reason_has_its_code_and_a_way_out() {
        let behind = || view(Some(5), Some((0, 9)), NOW - 600_000);
        assert_eq!(codes(&behind()), ["node_not_running"]);
        let mut of_a_node = behind();
        of_a_node.reader = Reader::Runs;
        assert_eq!(codes(&of_a_node), [""; 0]);
        let mut lonely = behind();
        lonely.reader = Reader::Absent("nobody answers".into());
        assert_eq!(codes(&lonely), ["node_not_running"]);
        assert_eq!(codes(&view(Some(10), Some((0, 9)), NOW)), ["log_truncated"]);
        assert_eq!(codes(&view(Some(3), None, NOW)), ["topic_absent"]);
        let mut denied = view(Some(3), None, NOW);
        denied.refusal = Some(Failure::unreachable("no").code("kafka_authorization"));
        assert_eq!(codes(&denied), ["kafka_authorization"]);
        let mut held = view(Some(9), Some((0, 9)), NOW);
        let open = OpenTransaction {
            first: 9,
            stored_end: 12,
            since_ms: Some(NOW - 90_000),
        };
        held.open.insert(0, open);
        if let Some(table) = &mut held.table {
            table.undecodable = Undecodable {
                rows: 7,
                since_ms: NOW - 1000,
            };
        }
        let found = diagnose(&held, "c", NOW);
        assert_eq!(codes(&held), ["open_transaction", "undecodable"]);
        assert_eq!((found.standing, found.is_stale), (Standing::UpToDate, false));
        let said = &found.reasons[0].message;
        assert!(
            said.contains("partition 0") && said.contains("90 s ago") && said.contains("offset 9"),
            "{said}"
        );
    }
}
