//! From a plan to a commit: files, deletes, the snapshot, and then the index.

use std::collections::{BTreeMap, BTreeSet};

use iceberg::spec::DataFile;
use roaring::RoaringBitmap;
use tapehouse_core::failpoint;
use tapehouse_core::merge::MergeRequest;
use uuid::Uuid;

use super::book::BookedFile;
use super::{KeyedRows, MergeError, Merger, Plan};
use crate::commit::{CommitOutcome, Committed, FileDeletes, NotMerged, RowDelta};
use crate::days::{DAYS_KEY, days_text, partition_date};
use crate::files::{EncodedFile, FileEncoder, write_file_in, write_position_deletes};
use crate::index::{Entry, Location};

/// A merge whose files are written and durable.
#[derive(Debug)]
pub struct Staged {
    plan: Plan,
    delta: RowDelta,
    /// Deleted rows of each data file that has new ones, with those of before; in the order of the delta's deletes.
    deleted: Vec<(u32, RoaringBitmap)>,
    touched_days: BTreeSet<i32>,
}

impl Staged {
    /// Rows of the table that others take the place of.
    pub fn replaced(&self) -> u64 {
        self.plan.deletes.values().map(RoaringBitmap::len).sum()
    }

    /// What is committed.
    pub fn delta(&self) -> &RowDelta {
        &self.delta
    }

    /// Days that get rows or lose rows, since 1970-01-01: of a row that moves both.
    pub fn touched_days(&self) -> &BTreeSet<i32> {
        &self.touched_days
    }

    /// What the merge changes.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}

impl Merger {
    /// Decides what `batches` change. CPU work.
    ///
    /// # Errors
    /// When the key index cannot be read or the rows are not in the table's layout.
    pub fn plan(&self, batches: &[KeyedRows<'_>]) -> Result<Plan, MergeError> {
        super::plan::plan(batches, self.layout().partition_column(), |keys| {
            let mut known = self.index.lookup(keys)?;
            for entry in known.iter_mut().flatten() {
                entry.location = self.book.resolve(entry.location);
            }
            Ok(known)
        })
    }

    /// Encodes the rows of `plan`, which was made from `batches`. CPU work.
    ///
    /// # Errors
    /// When the rows are not in the table's layout.
    pub fn encode(&self, plan: &Plan, batches: &[KeyedRows<'_>]) -> Result<Vec<EncodedFile>, MergeError> {
        let encode = |file: &super::plan::PlannedFile| {
            let rows = file.gather(batches)?.with_schema(self.layout().arrow().clone())?;
            let mut encoder = FileEncoder::open(self.layout(), file.date, &rows)?;
            encoder.push(&rows)?;
            Ok(encoder.finish()?)
        };
        plan.files.iter().map(encode).collect()
    }

    /// Writes the files of a merge and makes them durable.
    ///
    /// # Errors
    /// When the warehouse does not take a file. What was written then is in no snapshot; orphan removal finds it.
    pub async fn stage(
        &self,
        plan: Plan,
        encoded: Vec<EncodedFile>,
        request: MergeRequest,
        mut summary: BTreeMap<String, String>,
    ) -> Result<Staged, MergeError> {
        let metadata = self.table().metadata();
        let (location, spec_id) = (metadata.location(), metadata.default_partition_spec_id());
        let batch = self.lake.warehouse().batch(location);
        let mut added = Vec::with_capacity(encoded.len());
        for file in encoded {
            added.push(write_file_in(&batch, location, spec_id, file).await?);
        }
        let mut touched_days: BTreeSet<i32> = plan.files.iter().map(|file| file.date).collect();
        let (mut deletes, mut deleted) = (Vec::new(), Vec::new());
        for (&number, positions) in &plan.deletes {
            let booked = self.book.file(number);
            touched_days.extend(partition_date(&booked.file));
            let all = &booked.deleted | positions;
            let rows: Vec<i64> = all.iter().map(i64::from).collect();
            deletes.push(FileDeletes {
                file: write_position_deletes(&batch, spec_id, &booked.file, &rows).await?,
                data_file: booked.file.file_path().to_owned(),
                replaces: booked.delete_file.clone(),
            });
            deleted.push((number, all));
        }
        batch.finish().await?;
        failpoint::reach("after_merge_stage");
        summary.insert(DAYS_KEY.to_owned(), days_text(&touched_days));
        let delta = RowDelta {
            commit_id: Uuid::new_v4(),
            base: metadata.current_snapshot_id(),
            schema_id: metadata.current_schema_id(),
            added,
            deletes,
            request,
            summary,
        };
        Ok(Staged {
            plan,
            delta,
            deleted,
            touched_days,
        })
    }

    /// Commits a merge; `None` when the table had all of it before. After an error it is open whether it is in the table: call again
    /// with the same `staged`, or open the table again.
    ///
    /// # Errors
    /// [`MergeError::Commit`], [`MergeError::Refused`], [`MergeError::OtherBase`], [`MergeError::Moved`].
    pub async fn commit(&self, staged: &Staged) -> Result<Option<Committed>, MergeError> {
        match self.lake.merge(self.table().ident(), &staged.delta).await? {
            CommitOutcome::Committed(committed) => Ok(Some(committed)),
            CommitOutcome::Done(NotMerged::Already(_)) => Ok(None),
            CommitOutcome::Done(NotMerged::Refused(refusal, state)) => {
                Err(MergeError::Refused(refusal, Box::new(state)))
            }
            CommitOutcome::Done(NotMerged::OtherBase { expected, found }) => {
                Err(MergeError::OtherBase { expected, found })
            }
            CommitOutcome::Done(NotMerged::Moved(moved)) => Err(moved.into()),
        }
    }

    /// Brings index and files up to a commit that certainly happened. Reads and writes files of the index.
    ///
    /// # Errors
    /// When the index fails: then open the table again.
    pub fn follow(&mut self, staged: &Staged, committed: &Committed) -> Result<(), MergeError> {
        failpoint::reach("before_follow");
        self.demand_successor(committed)?;
        for ((number, deleted), deletes) in staged.deleted.iter().zip(&staged.delta.deletes) {
            let location = deletes.file.file_path().to_owned();
            self.book.set_deleted(*number, deleted.clone(), location);
        }
        let mut entries = Vec::with_capacity(usize::try_from(staged.plan.written).unwrap_or(0));
        for (planned, file) in staged.plan.files.iter().zip(&staged.delta.added) {
            let number = self.book.add(BookedFile {
                file: DataFile::clone(file),
                deleted: RoaringBitmap::new(),
                delete_file: None,
            });
            entries.extend((0..).zip(planned.entries()).map(|(position, (key, order))| Entry {
                key,
                order,
                location: Location { file: number, position },
            }));
        }
        self.committed(&committed.table);
        let book = &self.book;
        self.index.record(entries, &|location| book.resolve(location))?;
        Ok(())
    }
}
