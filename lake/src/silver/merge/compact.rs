//! Compaction of a keyed table while rows are merged into it: many small files of a day, and what was deleted of them, become few.
//!
//! Files are read and written beside merges, which go on meanwhile. What these delete of the inputs is deleted in the outputs when they
//! are committed: rows keep their order, so that a row's new place follows from its old one. The key index is not told; it asks where
//! rows are by now ([`FileBook::resolve`](super::book::FileBook::resolve)) until all of it has been swept once.

use std::collections::BTreeMap;

use iceberg::spec::DataFile;
use roaring::RoaringBitmap;
use tapehouse_core::failpoint;
use uuid::Uuid;

use super::book::{BookedFile, Moved};
use super::{MergeError, Merger};
use crate::commit::{CommitOutcome, Committed, FileDeletes, Rewrite, Rewritten};
use crate::compaction::plan::{Candidate, CompactionSettings, plan};
use crate::files::{FileLayout, write_position_deletes};
use crate::lake::Lake;
use crate::table::LoadedTable;

/// Rows that one compaction reads at most, if it reads more than one group: merges wait for none of it, but shutdown does.
const MAX_ROWS: u64 = 4_000_000;
/// Files that it reads at most.
const MAX_FILES: usize = 512;
/// So many retired files are remembered before the index is swept, or one for so many rows of the table.
const MOST_MOVED: usize = 20_000;
const ROWS_PER_MOVED: u64 = 1_000;

/// A data file that is compacted.
#[derive(Clone, Debug)]
pub(super) struct Input {
    number: u32,
    pub(super) file: DataFile,
    /// Rows that are not in the output.
    pub(super) gone: RoaringBitmap,
}

/// Files of one day that become one.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) date: i32,
    pub(super) inputs: Vec<Input>,
}

/// Files that are worth compacting, as they were when this was planned.
#[derive(Debug)]
pub struct Compaction {
    pub(super) lake: Lake,
    pub(super) table: LoadedTable,
    pub(super) layout: FileLayout,
    pub(super) groups: Vec<Group>,
}

/// Compacted files, durable and in no snapshot yet.
#[derive(Debug)]
pub struct Compacted {
    pub(super) groups: Vec<(Group, Option<DataFile>)>,
}

/// Where the rows of one group are to be.
#[derive(Debug)]
struct Output {
    group: Group,
    file: Option<DataFile>,
    /// Rows of it that were deleted in the inputs meanwhile.
    late: RoaringBitmap,
    late_file: Option<String>,
}

/// A compaction that only needs its commit.
#[derive(Debug)]
pub struct StagedCompaction {
    outputs: Vec<Output>,
    rewrite: Rewrite,
}

impl Compacted {
    /// Data files that were read.
    pub fn inputs(&self) -> usize {
        self.groups.iter().map(|(group, _)| group.inputs.len()).sum()
    }
}

impl StagedCompaction {
    /// Data files that go.
    pub fn inputs(&self) -> usize {
        self.rewrite.inputs.len()
    }

    /// Whether rows of the inputs were deleted while they were compacted.
    pub fn has_deletes(&self) -> bool {
        !self.rewrite.deletes.is_empty()
    }

    /// Data files that come.
    pub fn outputs(&self) -> usize {
        self.rewrite.outputs.len()
    }
}

/// A sweep of the index: afterwards nothing names these files any more.
#[derive(Debug)]
pub(super) struct Sweep {
    retired: Vec<u32>,
    next_shard: usize,
}

impl Merger {
    /// What is worth compacting now; `None` where nothing is.
    pub fn plan_compaction(&self, settings: &CompactionSettings) -> Option<Compaction> {
        let mut days: BTreeMap<i32, Vec<(Candidate, u32)>> = BTreeMap::new();
        for (number, file) in self.book.files() {
            let candidate = Candidate {
                location: String::new(),
                // Numbers are given in the order of commits.
                sequence_number: i64::from(number),
                rows: file.file.record_count(),
                bytes: file.file.file_size_in_bytes(),
                deleted_rows: file.deleted.len(),
            };
            days.entry(file.date()?).or_default().push((candidate, number));
        }
        let mut found = Vec::new();
        for (date, files) in days {
            let (candidates, numbers): (Vec<Candidate>, Vec<u32>) = files.into_iter().unzip();
            for group in plan(&candidates, settings) {
                let numbers: Vec<u32> = group.inputs.iter().map(|at| numbers[*at]).collect();
                found.push((group.rows, date, numbers));
            }
        }
        // The cheapest first: they make most of a reader's cost.
        found.sort_unstable();
        let (mut rows, mut files, mut groups) = (0, 0, Vec::new());
        for (group_rows, date, numbers) in found {
            rows += group_rows;
            files += numbers.len();
            if !groups.is_empty() && (rows > MAX_ROWS || files > MAX_FILES) {
                break;
            }
            groups.push(Group {
                date,
                inputs: numbers.into_iter().map(|number| self.input(number)).collect(),
            });
        }
        (!groups.is_empty()).then(|| Compaction {
            lake: self.lake.clone(),
            table: self.table().clone(),
            layout: self.layout().clone(),
            groups,
        })
    }

    fn input(&self, number: u32) -> Input {
        let booked = self.book.file(number);
        Input {
            number,
            file: booked.file.clone(),
            gone: booked.deleted.clone(),
        }
    }

    /// Writes deletes for what was deleted in the inputs since they were read, so that only the commit is missing. No merge may be
    /// planned or under way from here to [`Self::follow_compaction`].
    ///
    /// # Errors
    /// When the warehouse does not take a file.
    pub async fn stage_compaction(
        &self,
        compacted: Compacted,
        summary: BTreeMap<String, String>,
    ) -> Result<StagedCompaction, MergeError> {
        let metadata = self.table().metadata();
        let spec_id = metadata.default_partition_spec_id();
        let batch = self.lake.warehouse().batch(metadata.location());
        let (mut outputs, mut inputs, mut deletes) = (Vec::new(), Vec::new(), Vec::new());
        for (group, file) in compacted.groups {
            let mut late = RoaringBitmap::new();
            let mut base = 0;
            for input in &group.inputs {
                let booked = self.book.file(input.number);
                let moved = input.moved(None, base);
                late.extend(
                    (&booked.deleted - &input.gone)
                        .iter()
                        .map(|position| moved.position(position)),
                );
                base += input.live_rows();
                inputs.push(Rewritten {
                    data_file: input.file.file_path().to_owned(),
                    delete_file: booked.delete_file.clone(),
                });
            }
            let mut late_file = None;
            if let Some(file) = file.as_ref().filter(|_| !late.is_empty()) {
                let positions: Vec<i64> = late.iter().map(i64::from).collect();
                let written = write_position_deletes(&batch, spec_id, file, &positions).await?;
                late_file = Some(written.file_path().to_owned());
                deletes.push(FileDeletes {
                    file: written,
                    data_file: file.file_path().to_owned(),
                    replaces: None,
                });
            }
            outputs.push(Output {
                group,
                file,
                late,
                late_file,
            });
        }
        batch.finish().await?;
        failpoint::reach("compaction_staged");
        let rewrite = Rewrite {
            commit_id: Uuid::new_v4(),
            inputs,
            outputs: outputs.iter().filter_map(|output| output.file.clone()).collect(),
            deletes,
            summary,
        };
        Ok(StagedCompaction { outputs, rewrite })
    }

    /// Commits a compaction. After an error it is open whether it is in the table: call again with the same `staged`, or open the
    /// table again.
    ///
    /// # Errors
    /// [`MergeError::Commit`]; [`MergeError::Moved`] when another has committed to these files.
    pub async fn commit_compaction(&self, staged: &StagedCompaction) -> Result<Committed, MergeError> {
        match self.lake.rewrite(self.table().ident(), &staged.rewrite).await? {
            CommitOutcome::Committed(committed) => Ok(committed),
            CommitOutcome::Done(moved) => Err(moved.into()),
        }
    }

    /// Brings the list of files up to a compaction that certainly happened.
    ///
    /// # Errors
    /// When others have committed beside it: then open the table again.
    pub fn follow_compaction(&mut self, staged: StagedCompaction, committed: &Committed) -> Result<(), MergeError> {
        failpoint::reach("compaction_committed");
        self.demand_successor(committed)?;
        for output in staged.outputs {
            let to = output.file.map(|file| {
                self.book.add(BookedFile {
                    file,
                    deleted: output.late,
                    delete_file: output.late_file,
                })
            });
            let mut base = 0;
            for input in output.group.inputs {
                let (number, rows) = (input.number, input.live_rows());
                self.book.retire(number, input.moved(to, base));
                base += rows;
            }
        }
        self.committed(&committed.table);
        Ok(())
    }

    /// Sweeps a part of the index when enough files are retired. Reads and writes files of the index.
    ///
    /// # Errors
    /// When the index fails: then open the table again.
    pub fn sweep(&mut self) -> Result<(), MergeError> {
        let rows = usize::try_from(self.book.live_rows() / ROWS_PER_MOVED).unwrap_or(usize::MAX);
        if self.sweep.is_none() && self.book.moved().len() >= MOST_MOVED.max(rows) {
            self.sweep = Some(Sweep {
                retired: self.book.moved().collect(),
                next_shard: 0,
            });
        }
        let Some(sweep) = &mut self.sweep else { return Ok(()) };
        let book = &self.book;
        self.index
            .relocate(sweep.next_shard, &|location| book.resolve(location))?;
        sweep.next_shard += 1;
        if sweep.next_shard == self.index.shards() {
            self.book.forget(&sweep.retired);
            self.sweep = None;
        }
        Ok(())
    }
}

impl Input {
    pub(super) fn live_rows(&self) -> u32 {
        let live = self.file.record_count().saturating_sub(self.gone.len());
        u32::try_from(live).unwrap_or(u32::MAX)
    }

    fn moved(&self, to: Option<u32>, base: u32) -> Moved {
        Moved {
            to,
            base,
            gone: self.gone.clone(),
        }
    }
}
