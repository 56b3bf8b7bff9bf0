//! `tapehouse offsets accept-gap`

use std::collections::BTreeMap;

use tapehouse_core::lost::LostOffset;
use tapehouse_core::offsets::{OffsetRange, PartitionId, Ranges};
use tapehouse_core::state::StreamState;
use tapehouse_lake::{DecidedOn, StateChangeKind};

use super::{Common, Decision, Subject};
use crate::cli::Global;
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  tapehouse offsets accept-gap trades --dry-run        which offsets would be given up
  tapehouse offsets accept-gap trades                  asks, then goes on behind the lost offsets of every partition
  tapehouse offsets accept-gap trades --partition 3 --yes

For offsets that retention removed from Kafka before they were read. The gap is recorded in the table: in the snapshot's
summary and in the property tapehouse.gaps. Refused where no offset is lost.";

/// Arguments of `offsets accept-gap`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// Only this partition [default: all that lost offsets]
    #[arg(long, value_name = "N")]
    partition: Option<PartitionId>,
}

/// Accepts lost offsets.
///
/// # Errors
/// When none is lost; Kafka or catalog out of reach; a lost race.
pub async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let subject = Subject::open(&args.common.topic, global).await?;
    let state = subject.state()?;
    let topic = &subject.topic.topic;
    if let Err(mismatch) = state.identity().check(&subject.observe().await?) {
        return Err(Failure::failed(&mismatch)
            .code(mismatch.code())
            .hint(format!("`tapehouse offsets adopt-topic {topic}` comes first")));
    }
    let log = subject.log().await?.unwrap_or_default();
    let gaps = gaps(&state, &log, args.partition, topic)?;
    let mut next = state.clone();
    for (partition, gap) in &gaps.0 {
        next.next.insert(*partition, gap.end);
    }
    let reason = format!("{} offsets are gone from Kafka before they were read", gaps.len());
    let mut decision = Decision::new(
        StateChangeKind::AcceptGap,
        DecidedOn::State(Box::new(state)),
        next,
        reason,
    );
    decision.change.gaps = gaps;
    subject.decide(&args.common, global.output, decision).await
}

/// The gap of each partition that has one, or of the one that is asked for.
fn gaps(
    state: &StreamState,
    log: &BTreeMap<PartitionId, OffsetRange>,
    only: Option<PartitionId>,
    topic: &str,
) -> Result<Ranges, Failure> {
    let mut gaps = Ranges::default();
    let asked = |partition: &PartitionId| only.is_none_or(|only| only == *partition);
    for (partition, expected) in state.next.iter().filter(|(partition, _)| asked(partition)) {
        let Some(range) = log.get(partition) else { continue };
        let Some(lost) = LostOffset::find(*partition, *expected, *range) else {
            continue;
        };
        match lost.gap() {
            Some(gap) => {
                gaps.0.insert(*partition, gap);
            }
            None if only.is_some() => return Err(Failure::failed(lost.explain(topic)).code(lost.code())),
            None => {}
        }
    }
    if gaps.is_empty() {
        let of = only.map_or(String::new(), |partition| format!(" of partition {partition}"));
        return Err(
            Failure::failed(format!("no gap to accept: Kafka still holds the next offset{of}"))
                .hint("`tapehouse status` says how the topic stands"),
        );
    }
    Ok(gaps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_gone_is_a_gap() {
        let mut state = StreamState::new("c", "t");
        state.next = [(0, 10), (1, 10), (2, 10)].into();
        let log = [(0, 20, 30), (1, 5, 15), (2, 0, 8)];
        let log = log.map(|(p, start, end)| (p, OffsetRange::new(start, end))).into();
        let found = gaps(&state, &log, None, "t").unwrap();
        assert_eq!(found.0, [(0, OffsetRange::new(10, 20))].into());
        assert_eq!(gaps(&state, &log, Some(0), "t").unwrap(), found);
        assert!(gaps(&state, &log, Some(1), "t").is_err());
        assert_eq!(gaps(&state, &log, Some(2), "t").unwrap_err().code, "log_truncated");
        assert!(gaps(&state, &log, Some(7), "t").is_err());
    }
}
