//! What a bronze table remembers of its topic: the property `tapehouse.state`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::identity::TopicIdentity;
use crate::offsets::{Offset, PartitionId};

/// Table property, and summary key of each snapshot, that holds a [`StreamState`] as JSON.
pub const STATE_PROPERTY: &str = "tapehouse.state";
/// Table property that names the cluster that writes this table.
pub const OWNER_PROPERTY: &str = "tapehouse.owner";

/// How far a table has consumed its topic. Written in the same swap as the snapshot whose files hold the rows, so the two
/// cannot disagree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamState {
    /// The snapshot that was committed together with this state; 0 before the first.
    pub snapshot: i64,
    /// The cluster that wrote it.
    pub owner: String,
    /// Kafka topic.
    pub topic: String,
    /// Id of the Kafka cluster, where the broker tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kafka_cluster_id: Option<String>,
    /// Kafka's id of the topic, where the broker tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    /// Counts recreations of the topic that an operator adopted.
    pub incarnation: i32,
    /// Next offset to read, by partition. A partition that is missing has never been read.
    pub next: BTreeMap<PartitionId, Offset>,
}

impl StreamState {
    /// The state of a table that has consumed nothing.
    pub fn new(owner: impl Into<String>, topic: impl Into<String>) -> Self {
        Self {
            snapshot: 0,
            owner: owner.into(),
            topic: topic.into(),
            kafka_cluster_id: None,
            topic_id: None,
            incarnation: 0,
            next: BTreeMap::new(),
        }
    }

    /// Which topic the table is fed from, as far as that was ever seen.
    pub fn identity(&self) -> TopicIdentity {
        TopicIdentity {
            kafka_cluster_id: self.kafka_cluster_id.clone(),
            topic_id: self.topic_id.clone(),
        }
    }

    /// Remembers what was never recorded; what is recorded stays.
    pub fn adopt(&mut self, observed: &TopicIdentity) {
        if self.kafka_cluster_id.is_none() {
            self.kafka_cluster_id.clone_from(&observed.kafka_cluster_id);
        }
        if self.topic_id.is_none() {
            self.topic_id.clone_from(&observed.topic_id);
        }
    }

    /// The property's text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a state is plain data: integers, strings, a map with integer keys")
    }

    /// Reads the property's text.
    ///
    /// # Errors
    /// When the text is not such a state.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_round_trip() {
        let mut state = StreamState::new("c1", "raw.trades");
        state.next.insert(0, 42);
        state.snapshot = 7;
        let json = state.to_json();
        assert_eq!(
            json,
            r#"{"snapshot":7,"owner":"c1","topic":"raw.trades","incarnation":0,"next":{"0":42}}"#
        );
        assert_eq!(StreamState::from_json(&json).unwrap(), state);
        state.adopt(&TopicIdentity {
            kafka_cluster_id: Some("k".into()),
            topic_id: Some("t".into()),
        });
        assert_eq!(StreamState::from_json(&state.to_json()).unwrap(), state);
        assert_eq!(state.identity().topic_id.as_deref(), Some("t"));
    }
}
