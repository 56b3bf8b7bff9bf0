//! Changes of the recorded offsets without rows: what an operator decides (a recreated topic, a gap lost to retention).

use async_trait::async_trait;
use tapehouse_core::offsets::Ranges;
use tapehouse_core::state::{OWNER_PROPERTY, STATE_PROPERTY, StreamState};
use uuid::Uuid;

use super::gaps::{self, GAPS_PROPERTY};
use super::{
    Change, CommitOutcome, Committed, FIRST_OFFSETS_PROPERTY, FirstOffsets, Planned, SnapshotChange, first_offsets,
    keys,
};
use crate::error::CommitError;
use crate::lake::Lake;
use crate::name::TableName;
use crate::table::LoadedTable;

/// What kind of decision changed the recorded offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateChangeKind {
    /// The next incarnation of the topic begins.
    AdoptTopic,
    /// Offsets that are gone from Kafka are passed over.
    AcceptGap,
    /// The table changes its owner.
    TakeOver,
    /// The recorded offsets could not be believed and were derived anew.
    Rebuild,
}

impl StateChangeKind {
    /// As snapshots name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AdoptTopic => "adopt-topic",
            Self::AcceptGap => "accept-gap",
            Self::TakeOver => "take-over",
            Self::Rebuild => "rebuild",
        }
    }
}

/// What a decision was made on. If the table has moved on since, the change is refused; accepted gaps only if it did so in
/// their partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecidedOn {
    /// The table records this.
    State(Box<StreamState>),
    /// What the table records cannot be believed, whatever it is; this is its current snapshot.
    Snapshot(Option<i64>),
}

/// A new state for a table, and what it was decided on.
#[derive(Clone, Debug)]
pub struct StateChange {
    /// What kind of decision it is.
    pub kind: StateChangeKind,
    /// What it was decided on.
    pub decided_on: DecidedOn,
    /// The new state; its snapshot id is filled in. Where gaps are accepted, other partitions stay where they are by
    /// then.
    pub next: StreamState,
    /// Why, for people; kept in the snapshot's summary.
    pub reason: String,
    /// Offsets that are gone from Kafka and passed over; kept in the summary, and in a property for as long as the table lives.
    pub gaps: Ranges,
    /// First offsets to be noted where none is recorded yet.
    pub first: FirstOffsets,
}

impl StateChange {
    /// The state that follows on `base`, if the decision still holds there.
    fn next_on(&self, base: &LoadedTable) -> Result<StreamState, String> {
        let recorded = || base.stream_state().map_err(|error| error.to_string());
        let changed = || Err("the table changed meanwhile: look again, then decide again".to_owned());
        match (&self.decided_on, self.kind) {
            (DecidedOn::State(before), StateChangeKind::AcceptGap) => self.gaps_on(recorded()?, before),
            (DecidedOn::State(before), _) if recorded()? != **before => changed(),
            (DecidedOn::Snapshot(before), _) if base.metadata().current_snapshot_id() != *before => changed(),
            _ => Ok(self.next.clone()),
        }
    }

    /// Gaps are accepted while the other partitions go on, commit after commit: only theirs must be where they were.
    fn gaps_on(&self, recorded: StreamState, before: &StreamState) -> Result<StreamState, String> {
        let mut next = recorded;
        let is_same_topic = StreamState {
            snapshot: before.snapshot,
            next: before.next.clone(),
            ..next.clone()
        } == *before;
        if !is_same_topic {
            return Err("the table changed meanwhile: look again, then decide again".to_owned());
        }
        for (partition, gap) in &self.gaps.0 {
            let is_gap = !gap.is_empty() && self.next.next.get(partition) == Some(&gap.end);
            if !is_gap || next.next.insert(*partition, gap.end) != Some(gap.start) {
                return Err(format!(
                    "partition {partition}: {gap} is no gap behind what is recorded"
                ));
            }
        }
        Ok(next)
    }
}

impl Lake {
    /// Replaces the recorded offsets by a snapshot of its own without files.
    ///
    /// # Errors
    /// [`CommitError::Validation`] when the table is no longer what the change was decided on, or a gap is none.
    pub async fn change_state(&self, ident: &TableName, change: &StateChange) -> Result<Committed, CommitError> {
        match self.commit(ident, Uuid::new_v4(), change).await? {
            CommitOutcome::Committed(committed) => Ok(committed),
            CommitOutcome::Done(never) => match never {},
        }
    }
}

#[async_trait]
impl Change for StateChange {
    type Done = std::convert::Infallible;

    async fn plan(
        &self,
        base: &LoadedTable,
        snapshot_id: i64,
        _retried_blindly: bool,
    ) -> Result<Planned<Self::Done>, CommitError> {
        let invalid = CommitError::validation(base.ident());
        let mut next = self.next_on(base).map_err(&invalid)?;
        next.snapshot = snapshot_id;
        let state = next.to_json();
        let mut change = SnapshotChange::append(Vec::new());
        change.summary.extend([
            (keys::STATE_CHANGE.to_owned(), self.kind.name().to_owned()),
            (keys::REASON.to_owned(), self.reason.clone()),
            (keys::TOPIC.to_owned(), next.topic.clone()),
            (keys::INCARNATION.to_owned(), next.incarnation.to_string()),
            (STATE_PROPERTY.to_owned(), state.clone()),
        ]);
        if !self.gaps.is_empty() {
            let mut all = gaps::recorded_gaps(base).map_err(|error| invalid(error.to_string()))?;
            gaps::add(&mut all, next.incarnation, &self.gaps).map_err(&invalid)?;
            let text = serde_json::to_string(&all).map_err(|error| invalid(error.to_string()))?;
            change.properties.insert(GAPS_PROPERTY.to_owned(), text);
            let text = serde_json::to_string(&self.gaps).map_err(|error| invalid(error.to_string()))?;
            change.summary.insert(keys::GAPS.to_owned(), text);
        }
        let mut first = first_offsets(base).unwrap_or_default();
        for (incarnation, partitions) in &self.first {
            let known = first.entry(*incarnation).or_default();
            for (partition, offset) in partitions {
                known.entry(*partition).or_insert(*offset);
            }
        }
        let first = serde_json::to_string(&first).map_err(|error| invalid(error.to_string()))?;
        change.properties.insert(FIRST_OFFSETS_PROPERTY.to_owned(), first);
        change.properties.extend([
            (STATE_PROPERTY.to_owned(), state),
            (OWNER_PROPERTY.to_owned(), next.owner),
        ]);
        Ok(Planned::Commit(Box::new(change)))
    }
}
