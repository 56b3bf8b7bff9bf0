//! `tapehouse offsets adopt-topic`

use std::collections::BTreeMap;

use tapehouse_core::identity::{IdentityMismatch, TopicIdentity};
use tapehouse_core::lost::LostOffset;
use tapehouse_core::offsets::{OffsetRange, PartitionId};
use tapehouse_core::state::StreamState;
use tapehouse_lake::{DecidedOn, StateChangeKind};

use super::{Common, Decision, Subject};
use crate::cli::Global;
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  tapehouse offsets adopt-topic trades --dry-run   what would change
  tapehouse offsets adopt-topic trades             asks, then begins the next incarnation
  tapehouse offsets adopt-topic trades --yes -o json

For a topic that was deleted and created again, or that moved to another Kafka cluster: the table goes on with the next
topic_incarnation, from the beginning of the topic that is there now. For a partition whose log was truncated: it is read
anew in the next incarnation, the other partitions go on where they are. Refused where nothing needs it.";

/// Arguments of `offsets adopt-topic`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    common: Common,
}

/// Adopts the topic that is there now.
///
/// # Errors
/// When nothing needs adopting; Kafka or catalog out of reach; a lost race.
pub async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let subject = Subject::open(&args.common.topic, global).await?;
    let state = subject.state()?;
    let observed = subject.observe().await?;
    let log = subject.log().await?.unwrap_or_default();
    let (next, reason) = adopted(&state, &observed, &log)?;
    let mut decision = Decision::new(
        StateChangeKind::AdoptTopic,
        DecidedOn::State(Box::new(state)),
        next,
        reason,
    );
    let next = &decision.change.next;
    // Partitions that go on have begun, in this incarnation, where they are.
    decision.change.first = [(next.incarnation, next.next.clone())].into();
    subject.decide(&args.common, global.output, decision).await
}

/// The state of the next incarnation, and why there has to be one.
fn adopted(
    state: &StreamState,
    observed: &TopicIdentity,
    log: &BTreeMap<PartitionId, OffsetRange>,
) -> Result<(StreamState, String), Failure> {
    let mut next = state.clone();
    next.incarnation += 1;
    let reason = match state.identity().check(observed) {
        Err(IdentityMismatch::Unconfirmed { .. }) => {
            return Err(Failure::failed("the broker does not tell which topic this is").code("topic_unconfirmed"));
        }
        Err(mismatch) => {
            next.next.clear();
            next.kafka_cluster_id.clone_from(&observed.kafka_cluster_id);
            next.topic_id.clone_from(&observed.topic_id);
            mismatch.to_string()
        }
        Ok(()) => {
            let lost = |(partition, expected): (&PartitionId, &i64)| {
                LostOffset::find(*partition, *expected, *log.get(partition)?)
            };
            let truncated = state.next.iter().filter_map(lost).filter(|lost| lost.gap().is_none());
            let truncated: Vec<PartitionId> = truncated.map(|lost| lost.partition).collect();
            if truncated.is_empty() {
                return Err(
                    Failure::failed("nothing to adopt: the topic is the one that the table was filled from").hint(
                        "`tapehouse status` says how it stands; lost offsets are for `tapehouse offsets accept-gap`",
                    ),
                );
            }
            next.next.retain(|partition, _| !truncated.contains(partition));
            next.adopt(observed);
            format!("the log of partitions {truncated:?} was truncated")
        }
    };
    Ok((next, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> StreamState {
        let mut state = StreamState::new("c", "t");
        state.topic_id = Some("first".into());
        state.next = [(0, 100), (1, 50)].into();
        state
    }

    fn seen(id: Option<&str>) -> TopicIdentity {
        TopicIdentity {
            kafka_cluster_id: None,
            topic_id: id.map(str::to_owned),
        }
    }

    fn log(ends: [i64; 2]) -> BTreeMap<PartitionId, OffsetRange> {
        (0..).zip(ends).map(|(p, end)| (p, OffsetRange::new(0, end))).collect()
    }

    #[test]
    fn a_recreated_topic_begins_anew() {
        let (next, _) = adopted(&state(), &seen(Some("second")), &log([500, 500])).unwrap();
        assert_eq!((next.incarnation, next.next.len()), (1, 0));
        assert_eq!(next.topic_id.as_deref(), Some("second"));
    }

    #[test]
    fn a_truncated_partition_begins_anew_alone() {
        let (next, reason) = adopted(&state(), &seen(Some("first")), &log([99, 50])).unwrap();
        assert_eq!((next.incarnation, next.next), (1, [(1, 50)].into()), "{reason}");
    }

    #[test]
    fn what_needs_no_adoption_is_refused() {
        assert!(adopted(&state(), &seen(Some("first")), &log([100, 50])).is_err());
        assert!(adopted(&state(), &seen(None), &log([100, 50])).is_err());
    }
}
