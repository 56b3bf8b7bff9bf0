//! What a pipeline is built on: what the table records, whose table it is, and which topic Kafka has.

use tapehouse_core::append::RefuseReason;
use tapehouse_core::failpoint;
use tapehouse_core::identity::TopicIdentity;
use tapehouse_core::offsets::Ranges;
use tapehouse_core::state::StreamState;
use tapehouse_lake::commit::FirstOffsets;
use tapehouse_lake::{DecidedOn, LoadedTable, StateChange, StateChangeKind};

use crate::checkpoint::Checkpoints;
use crate::failure::Failure;
use crate::settings::TopicSettings;
use crate::supervisor::Shared;

/// The ground of one generation.
pub(crate) struct Ground {
    /// The table, if it exists already.
    pub(crate) table: Option<LoadedTable>,
    /// What it records.
    pub(crate) state: StreamState,
    /// What the topic is before its first record is read.
    pub(crate) identity: TopicIdentity,
}

impl Ground {
    /// Reads the table's truth and asks Kafka which topic it has. With `take_over`, a table of another cluster of Tapehouse is
    /// made this one's, once: afterwards `take_over` is false.
    pub(crate) async fn look(shared: &Shared, topic: &TopicSettings, take_over: &mut bool) -> Result<Self, Failure> {
        let mut table = shared.lake.load(&topic.table).await?;
        if *take_over && let Some(base) = &table {
            table = Some(take(shared, topic, base).await?);
        }
        *take_over = false;
        let state = recorded_state(table.as_ref(), shared, topic)?;
        let identity = observe(shared, &topic.topic, &state.identity()).await?;
        match state.identity().check(&identity) {
            Ok(()) => Ok(Self { table, state, identity }),
            Err(mismatch) => Err(Failure::OtherTopic {
                topic: topic.topic.clone(),
                mismatch,
            }),
        }
    }
}

/// What Kafka says the topic is; what is recorded where the chaos suite has taken this defence out.
pub(crate) async fn observe(shared: &Shared, topic: &str, recorded: &TopicIdentity) -> Result<TopicIdentity, Failure> {
    let observed = shared.identities.observe(topic).await?;
    Ok(match failpoint::defence_is_off("topic_identity") {
        true => recorded.clone(),
        false => observed,
    })
}

/// Makes the table this cluster's by a commit of its own. The former owner's next commit is refused.
async fn take(shared: &Shared, topic: &TopicSettings, table: &LoadedTable) -> Result<LoadedTable, Failure> {
    let state = table.stream_state()?;
    let cluster = &shared.settings.cluster;
    if state.owner == *cluster {
        return Ok(table.clone());
    }
    let former = state.owner.clone();
    let change = StateChange {
        next: StreamState {
            owner: cluster.clone(),
            ..state.clone()
        },
        kind: StateChangeKind::TakeOver,
        decided_on: DecidedOn::State(Box::new(state)),
        reason: format!("taken over from cluster {former}"),
        gaps: Ranges::default(),
        first: FirstOffsets::default(),
    };
    let committed = shared.lake.change_state(&topic.table, &change).await?;
    tracing::warn!(
        table = %topic.table,
        former,
        cluster,
        snapshot_id = committed.snapshot_id,
        "the table was taken over"
    );
    Ok(committed.table)
}

/// What the table records, checked for its owner; a checkpoint that says otherwise is reported and passed over.
fn recorded_state(table: Option<&LoadedTable>, shared: &Shared, topic: &TopicSettings) -> Result<StreamState, Failure> {
    let cluster = &shared.settings.cluster;
    let Some(table) = table else {
        return Ok(StreamState::new(cluster, &topic.topic));
    };
    let state = table.stream_state()?;
    if state.owner != *cluster {
        return Err(Failure::ForeignOwner {
            owner: state.owner,
            cluster: cluster.clone(),
        });
    }
    if state.topic != topic.topic {
        return Err(Failure::Refused(RefuseReason::OtherTopic {
            recorded: state.topic,
            staged: topic.topic.clone(),
        }));
    }
    compare(&shared.checkpoints, table, &state);
    Ok(state)
}

fn compare(checkpoints: &Checkpoints, table: &LoadedTable, state: &StreamState) {
    let name = table.ident().to_string();
    match checkpoints.get(&name) {
        Some(known) if known.table_uuid == table.metadata().uuid().to_string() && known.state == *state => {
            let rows = known.total_rows;
            tracing::debug!(table = name, rows, "the checkpoint agrees with the table");
        }
        Some(_) => tracing::info!(table = name, "the checkpoint is of another moment: the table counts"),
        None => tracing::debug!(table = name, "no checkpoint: the table counts"),
    }
}
