//! What a commit changes, independent of what it is for: append, row delta, overwrite, rewrite are all of this shape.

use std::collections::{BTreeMap, HashMap, HashSet};

use async_trait::async_trait;
use iceberg::spec::{DataFile, Operation};

use crate::error::CommitError;
use crate::table::LoadedTable;

/// One new snapshot: files, what is said about them, and the properties that change with them.
#[derive(Clone, Debug)]
pub struct SnapshotChange {
    /// The operation that the summary names.
    pub operation: Operation,
    /// Data and delete files to add, written under the table's default partition spec.
    pub added: Vec<DataFile>,
    /// Locations of live files to remove. All must be live, or the change is refused.
    pub removed: HashSet<String>,
    /// Data sequence number for the added files instead of the snapshot's own: a rewrite keeps that of its inputs.
    pub data_sequence_number: Option<i64>,
    /// Additional entries of the summary.
    pub summary: BTreeMap<String, String>,
    /// Table properties set in the same swap.
    pub properties: HashMap<String, String>,
}

impl SnapshotChange {
    /// A change that only adds `files`.
    pub fn append(files: Vec<DataFile>) -> Self {
        Self {
            operation: Operation::Append,
            added: files,
            removed: HashSet::new(),
            data_sequence_number: None,
            summary: BTreeMap::new(),
            properties: HashMap::new(),
        }
    }
}

/// What a [`Change`] decided when it saw the table.
#[derive(Debug)]
pub enum Planned<D> {
    /// Commit this.
    Commit(Box<SnapshotChange>),
    /// There is nothing to commit.
    Done(D),
}

/// Something to be committed. It is asked anew at each attempt, with the table that is about to be replaced: whatever must
/// hold is checked there, so that no check is ever made against a stale table.
#[async_trait]
pub trait Change: Send + Sync {
    /// What comes out when there is nothing to commit.
    type Done: Send;

    /// Checks the change against `base` and says what to commit under `snapshot_id`. `retried_blindly` is set only by the
    /// chaos suite: the answer of the attempt before was lost, and the defence against that has been taken out.
    ///
    /// # Errors
    /// When the change cannot be committed to this table at all.
    async fn plan(
        &self,
        base: &LoadedTable,
        snapshot_id: i64,
        retried_blindly: bool,
    ) -> Result<Planned<Self::Done>, CommitError>;
}

/// Refuses files of a schema that the table does not know; `whose` are they, for people.
pub(super) fn demand_schema(base: &LoadedTable, whose: &str, schema_id: i32) -> Result<(), CommitError> {
    match base.metadata().schema_by_id(schema_id) {
        Some(_) => Ok(()),
        None => Err(CommitError::validation(base.ident())(format!(
            "the {whose} files have schema {schema_id}, which the table does not know"
        ))),
    }
}
