//! `tapehouse offsets rebuild`

use tapehouse_core::rebuild::{HighestOffsets, rebuild};
use tapehouse_lake::commit::FirstOffsets;
use tapehouse_lake::verify::{PartitionReport, verify};
use tapehouse_lake::{DecidedOn, StateChangeKind};

use super::{Common, Decision, Subject};
use crate::cli::Global;
use crate::connect::lake_failure;
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  tapehouse offsets rebuild trades --dry-run   what is recorded, and what fits the table
  tapehouse offsets rebuild trades             asks, then records it
  tapehouse offsets rebuild trades --yes -o json

For a table whose recorded offsets cannot be believed (state_invalid): rolled back to an older snapshot, restored, or
without the property tapehouse.state. Reads the coordinates of all rows. What was rolled back is read again from Kafka.
Refused where the recorded offsets are right.";

/// Arguments of `offsets rebuild`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    common: Common,
}

/// Derives the recorded offsets anew.
///
/// # Errors
/// When they are right; the table cannot be read; a lost race.
pub async fn run(args: &Args, global: &Global) -> Result<Exit, Failure> {
    let subject = Subject::open(&args.common.topic, global).await?;
    let verified = verify(&subject.lake, &subject.table, |_| ()).await;
    let partitions = verified.map_err(|error| lake_failure(&error))?.report.partitions;
    let hints = subject.table.state_hints();
    let next = rebuild(&hints, &highest(&partitions), &subject.cluster, &subject.topic.topic);
    let reason = match subject.table.stream_state() {
        Err(error) => error.to_string(),
        Ok(state) if state.incarnation == next.incarnation && state.next == next.next => {
            return Err(
                Failure::failed("nothing to rebuild: the recorded offsets fit the table")
                    .hint("`tapehouse verify` checks every row of it"),
            );
        }
        Ok(_) => "rows lie beyond the recorded offsets".to_owned(),
    };
    let current = subject.table.metadata().current_snapshot_id();
    let mut decision = Decision::new(StateChangeKind::Rebuild, DecidedOn::Snapshot(current), next, reason);
    decision.change.first = lowest(&partitions);
    subject.decide(&args.common, global.output, decision).await
}

fn highest(partitions: &[PartitionReport]) -> HighestOffsets {
    let highest = |report: &PartitionReport| Some(((report.incarnation, report.partition), report.extent?.1));
    partitions.iter().filter_map(highest).collect()
}

/// Where partitions were begun, as far as their rows tell.
fn lowest(partitions: &[PartitionReport]) -> FirstOffsets {
    let mut first = FirstOffsets::new();
    for report in partitions {
        if let Some((lowest, _)) = report.extent {
            first
                .entry(report.incarnation)
                .or_default()
                .insert(report.partition, lowest);
        }
    }
    first
}
