//! What is looked at beside the pipeline: whether the topic still is the same one, and whether an operator has decided.

use std::time::Duration;

use tapehouse_core::identity::TopicIdentity;
use tapehouse_core::state::StreamState;
use tapehouse_lake::LoadedTable;

use crate::failure::Failure;
use crate::progress::ProgressCell;
use crate::recorded::observe;
use crate::settings::TopicSettings;
use crate::supervisor::Shared;

/// How often a topic is asked whether it still is the same one, beside each commit: an idle topic makes none.
const CONFIRM_EVERY: Duration = Duration::from_secs(10);
/// How often the table is looked at for an operator's decision.
const DECISION_EVERY: Duration = Duration::from_secs(4);

/// Comes back when the topic is no longer the one that the pipeline was built for. Kafka being away is no answer.
pub(crate) async fn another_topic(shared: &Shared, topic: &TopicSettings, identity: &TopicIdentity) -> Failure {
    loop {
        tokio::time::sleep(CONFIRM_EVERY).await;
        match observe(shared, &topic.topic, identity).await {
            Ok(observed) => {
                if let Err(mismatch) = identity.check(&observed) {
                    let topic = topic.topic.clone();
                    return Failure::TopicChanged { topic, mismatch };
                }
            }
            Err(error) => tracing::debug!(topic = topic.topic, %error, "the topic's id is unknown for now"),
        }
    }
}

/// Comes back when partitions wait for an operator and the table records other offsets for them, or another incarnation.
pub(crate) async fn decision(
    shared: &Shared,
    topic: &TopicSettings,
    progress: &ProgressCell,
    built_on: &StreamState,
) -> Failure {
    loop {
        tokio::time::sleep(DECISION_EVERY).await;
        let stopped = progress.stopped_partitions();
        if stopped.is_empty() {
            continue;
        }
        let recorded = match shared.lake.load(&topic.table).await {
            Ok(Some(table)) => table.stream_state(),
            Ok(None) => continue,
            Err(error) => {
                tracing::debug!(table = %topic.table, %error, "the table cannot be looked at for now");
                continue;
            }
        };
        let is_decided = match recorded {
            Err(_) => true,
            Ok(state) => {
                let moved = |partition| state.next.get(partition) != built_on.next.get(partition);
                state.incarnation != built_on.incarnation || stopped.iter().any(moved)
            }
        };
        if is_decided {
            return Failure::StateChanged;
        }
    }
}

/// The table's version, as far as a stopped topic waits for another one; `None` while it cannot be told.
pub(crate) async fn version(shared: &Shared, topic: &TopicSettings) -> Option<String> {
    let of = |table: &LoadedTable| table.metadata_location().to_owned();
    let loaded = shared.lake.load(&topic.table).await.ok()?;
    Some(loaded.as_ref().map(of).unwrap_or_default())
}

/// Comes back when the table is another version than `seen`: an operator, or somebody else, has changed it.
pub(crate) async fn another_version(shared: &Shared, topic: &TopicSettings, seen: Option<String>) {
    let mut seen = seen;
    loop {
        tokio::time::sleep(DECISION_EVERY).await;
        match (version(shared, topic).await, &seen) {
            (Some(now), Some(before)) if now != *before => return,
            (Some(now), None) => seen = Some(now),
            _ => {}
        }
    }
}
