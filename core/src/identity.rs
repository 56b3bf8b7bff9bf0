//! Which topic a table is fed from: a name can be given to another topic, an id never.

/// What Kafka says a topic is. `None` where the broker does not tell: Kafka before 2.8 has no topic ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicIdentity {
    /// Id of the Kafka cluster.
    pub kafka_cluster_id: Option<String>,
    /// Id of the topic, made when the topic is created and never used again.
    pub topic_id: Option<String>,
}

/// What is recorded, against what Kafka says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityMismatch {
    /// The bootstrap address leads to another cluster.
    #[error(
        "the table was filled from Kafka cluster {recorded}, the brokers that answer now are of cluster {observed}"
    )]
    ClusterChanged {
        /// Cluster id in the table's state.
        recorded: String,
        /// Cluster id that the broker tells.
        observed: String,
    },
    /// The topic was deleted and created again.
    #[error(
        "the topic was deleted and created again: the table was filled from topic id {recorded}, Kafka has {observed}"
    )]
    TopicRecreated {
        /// Topic id in the table's state.
        recorded: String,
        /// Topic id that the broker tells.
        observed: String,
    },
    /// An id is recorded and the broker tells none, so that nothing can be said.
    #[error("the broker does not tell which topic this is, and the table was filled from topic id {recorded}")]
    Unconfirmed {
        /// Topic id in the table's state.
        recorded: String,
    },
}

impl IdentityMismatch {
    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ClusterChanged { .. } => "kafka_cluster_changed",
            Self::TopicRecreated { .. } => "topic_recreated",
            Self::Unconfirmed { .. } => "topic_unconfirmed",
        }
    }
}

impl TopicIdentity {
    /// Whether `observed` is the topic that is recorded in `self`. What was never recorded matches everything.
    ///
    /// # Errors
    /// [`IdentityMismatch`] says what is another.
    pub fn check(&self, observed: &Self) -> Result<(), IdentityMismatch> {
        if let (Some(recorded), Some(observed)) = (&self.kafka_cluster_id, &observed.kafka_cluster_id)
            && recorded != observed
        {
            return Err(IdentityMismatch::ClusterChanged {
                recorded: recorded.clone(),
                observed: observed.clone(),
            });
        }
        match (&self.topic_id, &observed.topic_id) {
            (Some(recorded), Some(observed)) if recorded != observed => Err(IdentityMismatch::TopicRecreated {
                recorded: recorded.clone(),
                observed: observed.clone(),
            }),
            (Some(recorded), None) => Err(IdentityMismatch::Unconfirmed {
                recorded: recorded.clone(),
            }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(cluster: Option<&str>, topic: Option<&str>) -> TopicIdentity {
        TopicIdentity {
            kafka_cluster_id: cluster.map(str::to_owned),
            topic_id: topic.map(str::to_owned),
        }
    }

    #[test]
    fn what_was_never_recorded_matches_everything() {
        let seen = identity(Some("k"), Some("t"));
        assert_eq!(TopicIdentity::default().check(&seen), Ok(()));
        assert_eq!(seen.check(&seen), Ok(()));
        assert_eq!(identity(Some("k"), None).check(&identity(None, None)), Ok(()));
    }

    #[test]
    fn each_mismatch_is_named() {
        let recorded = identity(Some("k"), Some("t"));
        let check = |cluster, topic| recorded.check(&identity(cluster, topic)).unwrap_err();
        assert!(matches!(
            check(Some("k"), Some("u")),
            IdentityMismatch::TopicRecreated { .. }
        ));
        assert!(matches!(
            check(Some("l"), Some("u")),
            IdentityMismatch::ClusterChanged { .. }
        ));
        assert!(matches!(check(Some("k"), None), IdentityMismatch::Unconfirmed { .. }));
    }
}
