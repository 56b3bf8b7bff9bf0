//! Merges and rewrites: what any engine reads equals a model that is kept beside the table.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use iceberg::spec::DataFile;
use serde_json::Value;
use tapehouse_core::merge::{MergeRequest, MergeState};
use tapehouse_core::offsets::{OffsetRange, Ranges};
use tapehouse_core::state::STATE_PROPERTY;
use tapehouse_lake::commit::{CommitOutcome, FileDeletes, MovedFile, NotMerged, Rewrite, Rewritten, RowDelta};
use tapehouse_lake::files::write_position_deletes;
use tapehouse_lake::{CommitError, LoadedTable, NewTable};
use uuid::Uuid;

use crate::place::{Kind, Place, on_each_catalog};
use crate::support::{Rig, new_table, python, run_readers, write_file};

on_each_catalog! {
    merges_and_rewrites_are_read_by_pyiceberg_and_duckdb,
    a_merge_is_committed_once,
    what_was_not_looked_up_in_the_live_files_is_refused,
    a_rewrite_that_loses_rows_is_refused,
}

/// A row of the test table, unlike any other.
pub type Row = (i32, i64);

/// The table under test, and what must be in it.
pub struct Model {
    pub rig: Rig,
    /// Rows of each live data file, in order, by its location.
    pub files: BTreeMap<String, Vec<Row>>,
    /// Positions deleted of it, and the delete file that says so.
    deleted: HashMap<String, (BTreeSet<usize>, String)>,
    next: i64,
}

impl Model {
    pub async fn new(kind: Kind) -> Option<Self> {
        let place = Place::new(kind).await?;
        let lake = tapehouse_lake::Lake::open(place.settings.clone()).await.unwrap();
        let state = MergeState::new("cluster-1", "bronze.raw_trades", 1).to_json();
        let table = NewTable {
            properties: HashMap::from([(STATE_PROPERTY.to_owned(), state)]),
            ..new_table()
        };
        let ident = place.ident.clone();
        lake.create_table(&ident, table).await.unwrap();
        Some(Self {
            rig: Rig { place, lake, ident },
            files: BTreeMap::new(),
            deleted: HashMap::new(),
            next: 0,
        })
    }

    pub async fn table(&self) -> LoadedTable {
        self.rig.table().await
    }

    pub fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for (file, all) in &self.files {
            let deleted = self.deleted.get(file).map(|(positions, _)| positions);
            let live = all.iter().enumerate();
            rows.extend(
                live.filter(|(at, _)| !deleted.is_some_and(|deleted| deleted.contains(at)))
                    .map(|(_, row)| *row),
            );
        }
        rows.sort_unstable();
        rows
    }

    /// Files of which a row is left, in the order of their locations.
    pub fn files_with_rows(&self) -> Vec<String> {
        let is_left = |(file, all): &(&String, &Vec<Row>)| {
            let deleted = self.deleted.get(*file).map_or(0, |(positions, _)| positions.len());
            deleted < all.len()
        };
        self.files
            .iter()
            .filter(is_left)
            .map(|(file, _)| file.clone())
            .collect()
    }

    async fn write_rows(&self, rows: &[Row]) -> DataFile {
        write_file(&self.rig.lake, &self.table().await, rows).await.remove(0)
    }

    /// A delete file for `positions` of `data_file`, as [`FileDeletes`]; `replaces` is its delete file so far.
    async fn write_deletes(
        &self,
        data_file: &DataFile,
        positions: &BTreeSet<usize>,
        replaces: Option<String>,
    ) -> FileDeletes {
        let table = self.table().await;
        let batch = self.rig.lake.warehouse().batch(table.metadata().location());
        let positions: Vec<i64> = positions.iter().map(|at| *at as i64).collect();
        let file = write_position_deletes(&batch, 0, data_file, &positions).await.unwrap();
        batch.finish().await.unwrap();
        FileDeletes {
            file,
            data_file: data_file.file_path().to_owned(),
            replaces,
        }
    }

    async fn delta(&self, added: Vec<DataFile>, deletes: Vec<FileDeletes>, rows: i64) -> RowDelta {
        let ranges = Ranges([(0, OffsetRange::new(self.next, self.next + rows))].into());
        RowDelta {
            commit_id: Uuid::new_v4(),
            base: self.table().await.metadata().current_snapshot_id(),
            schema_id: 0,
            added,
            deletes,
            request: MergeRequest {
                owner: "cluster-1".to_owned(),
                source: "bronze.raw_trades".to_owned(),
                rules: 1,
                ranges: [(0, ranges)].into(),
                decisions: 0..0,
            },
            summary: BTreeMap::new(),
        }
    }

    /// Merges `rows` new rows and takes `victims` out.
    pub async fn merge(&mut self, rows: i64, victims: &[Row]) {
        let new: Vec<Row> = (self.next..self.next + rows).map(|offset| (0, offset)).collect();
        let added = self.write_rows(&new).await;
        let live = self.rig.lake.live_files(&self.table().await).await.unwrap();
        let mut deletes = Vec::new();
        for (location, all) in &self.files {
            let found: BTreeSet<usize> = (0..all.len()).filter(|at| victims.contains(&all[*at])).collect();
            if found.is_empty() {
                continue;
            }
            let before = self.deleted.get(location).cloned();
            let mut positions = found;
            let replaces = before.map(|(before, file)| {
                positions.extend(before);
                file
            });
            let data_file = live.data_file(location).expect("the model's files are live");
            deletes.push((
                positions.clone(),
                self.write_deletes(data_file, &positions, replaces).await,
            ));
        }
        let files = deletes.iter().map(|(_, deletes)| deletes.clone()).collect();
        let delta = self.delta(vec![added.clone()], files, rows).await;
        let outcome = self.rig.lake.merge(&self.rig.ident, &delta).await.unwrap();
        assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
        for (positions, deletes) in deletes {
            let file = deletes.file.file_path().to_owned();
            self.deleted.insert(deletes.data_file, (positions, file));
        }
        self.files.insert(added.file_path().to_owned(), new);
        self.next += rows;
    }

    /// Makes one file of `inputs`. `late` are rows that are deleted after the inputs were read.
    pub async fn rewrite(&mut self, inputs: &[String], late: &[Row]) -> Result<CommitOutcome<MovedFile>, CommitError> {
        let mut rows = Vec::new();
        for input in inputs {
            let deleted = self
                .deleted
                .get(input)
                .map(|(positions, _)| positions.clone())
                .unwrap_or_default();
            let all = self.files[input].iter().enumerate();
            rows.extend(all.filter(|(at, _)| !deleted.contains(at)).map(|(_, row)| *row));
        }
        let output = self.write_rows(&rows).await;
        if !late.is_empty() {
            self.merge(1, late).await;
        }
        let positions: BTreeSet<usize> = (0..rows.len()).filter(|at| late.contains(&rows[*at])).collect();
        let mut deletes = Vec::new();
        if !positions.is_empty() {
            deletes.push(self.write_deletes(&output, &positions, None).await);
        }
        let rewrite = Rewrite {
            commit_id: Uuid::new_v4(),
            inputs: inputs.iter().map(|input| self.input(input)).collect(),
            outputs: vec![output.clone()],
            deletes: deletes.clone(),
            summary: BTreeMap::new(),
        };
        let before = self.version().await;
        let outcome = self.rig.lake.rewrite(&self.rig.ident, &rewrite).await?;
        if matches!(outcome, CommitOutcome::Committed(_)) {
            assert_eq!(self.version().await, before, "the rows have not changed");
            for input in inputs {
                self.files.remove(input);
                self.deleted.remove(input);
            }
            let location = output.file_path().to_owned();
            if let Some(deletes) = deletes.first() {
                self.deleted
                    .insert(location.clone(), (positions, deletes.file.file_path().to_owned()));
            }
            self.files.insert(location, rows);
        }
        Ok(outcome)
    }

    /// Highest data sequence number of any live file, deletes included.
    async fn version(&self) -> Option<i64> {
        let live = self.rig.lake.live_files(&self.table().await).await.unwrap();
        let versions = live
            .data_files()
            .filter_map(|(file, _)| live.version_of(file.file_path()));
        versions.max()
    }

    fn input(&self, location: &str) -> Rewritten {
        Rewritten {
            data_file: location.to_owned(),
            delete_file: self.deleted.get(location).map(|(_, file)| file.clone()),
        }
    }
}

pub fn as_json(rows: &[Row]) -> Value {
    rows.iter()
        .map(|(partition, offset)| serde_json::json!([partition, offset]))
        .collect()
}

async fn merges_and_rewrites_are_read_by_pyiceberg_and_duckdb(kind: Kind) {
    let Some(python) = python() else { return };
    let Some(mut model) = Model::new(kind).await else {
        return;
    };
    let mut expected = BTreeMap::new();
    for round in 0..24_i64 {
        // Every third row of the last files, one of every file before; some files lose all rows.
        let victims: Vec<Row> = model
            .rows()
            .into_iter()
            .filter(|(_, offset)| (offset + round) % if *offset > round * 10 - 15 { 3 } else { 11 } == 0)
            .collect();
        model.merge(10, &victims).await;
        expected.insert(model.table().await.metadata().last_sequence_number(), model.rows());
        if round % 6 == 5 {
            let inputs: Vec<String> = model.files.keys().take(4).cloned().collect();
            let late = if round % 12 == 11 {
                model.rows()[..2].to_vec()
            } else {
                Vec::new()
            };
            let outcome = model.rewrite(&inputs, &late).await.unwrap();
            assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
            expected.insert(model.table().await.metadata().last_sequence_number(), model.rows());
        }
    }
    let table = model.table().await;
    let live = model.rig.lake.live_files(&table).await.unwrap();
    for (file, _) in live.data_files() {
        let deletes: Vec<&str> = live.deletes_of(file.file_path()).map(DataFile::file_path).collect();
        let known = model.deleted.get(file.file_path()).map(|(_, deletes)| deletes.as_str());
        assert_eq!(deletes, Vec::from_iter(known), "at most one delete file a data file");
    }
    assert_eq!(live.data_files().count(), model.files.len());
    assert_eq!(live.other_deletes().count(), 0);
    let settings = &model.rig.place.settings;
    let name = model.rig.ident.to_string();
    let read = run_readers(
        &python,
        &["read_all", &settings.catalog.uri, &settings.warehouse, &name],
    );
    let mut compared = 0;
    for snapshot in read["snapshots"].as_array().unwrap() {
        let number = snapshot["sequence_number"].as_i64().unwrap();
        // A late delete has a snapshot of its own inside a rewrite, which the model does not see.
        let Some(rows) = expected.get(&number) else { continue };
        assert_eq!(snapshot["pyiceberg"], as_json(rows), "PyIceberg, snapshot {number}");
        assert_eq!(snapshot["duckdb"], as_json(rows), "DuckDB, snapshot {number}");
        compared += 1;
    }
    assert_eq!(compared, expected.len());
    assert_eq!(read["by_folder"], as_json(&model.rows()));
    assert_eq!(table.merge_state().unwrap().next(0, 0), Some(model.next));
    assert_eq!(table.summary().rows, Some(model.rows().len() as u64));
}

async fn a_merge_is_committed_once(kind: Kind) {
    let Some(mut model) = Model::new(kind).await else {
        return;
    };
    model.merge(5, &[]).await;
    let added = model.write_rows(&[(0, 5)]).await;
    let delta = model.delta(vec![added.clone()], Vec::new(), 1).await;
    let merge = |delta: RowDelta| {
        let rig = &model.rig;
        async move { rig.lake.merge(&rig.ident, &delta).await.unwrap() }
    };
    let CommitOutcome::Committed(first) = merge(delta.clone()).await else {
        panic!("not committed")
    };
    let CommitOutcome::Committed(again) = merge(delta.clone()).await else {
        panic!("not found again")
    };
    assert_eq!(first.snapshot_id, again.snapshot_id);
    let other = RowDelta {
        commit_id: Uuid::new_v4(),
        ..delta.clone()
    };
    let outcome = merge(other).await;
    assert!(
        matches!(outcome, CommitOutcome::Done(NotMerged::Already(_))),
        "{outcome:?}"
    );
    let gap = RowDelta {
        commit_id: Uuid::new_v4(),
        ..model.delta(vec![added], Vec::new(), 9).await
    };
    let outcome = merge(gap).await;
    assert!(
        matches!(outcome, CommitOutcome::Done(NotMerged::Refused(..))),
        "{outcome:?}"
    );
}

async fn what_was_not_looked_up_in_the_live_files_is_refused(kind: Kind) {
    let Some(mut model) = Model::new(kind).await else {
        return;
    };
    model.merge(5, &[]).await;
    model.merge(5, &[(0, 1)]).await;
    let live = model.rig.lake.live_files(&model.table().await).await.unwrap();
    let location = model.deleted.keys().next().unwrap().clone();
    let data_file = live.data_file(&location).unwrap();
    // Made by somebody who did not see the delete of the row at position 1: it would come back.
    let unseen = model.write_deletes(data_file, &[3].into(), None).await;
    let delta = model.delta(Vec::new(), vec![unseen], 1).await;
    let outcome = model.rig.lake.merge(&model.rig.ident, &delta).await.unwrap();
    assert!(
        matches!(
            outcome,
            CommitOutcome::Done(NotMerged::Moved(MovedFile::OtherDeletes { .. }))
        ),
        "{outcome:?}"
    );
    let others: Vec<String> = model.files.keys().cloned().collect();
    let stale = model.input(&location);
    model.rewrite(&others, &[]).await.unwrap();
    let gone = model
        .write_deletes(data_file, &[1, 3].into(), stale.delete_file.clone())
        .await;
    let delta = model.delta(Vec::new(), vec![gone], 1).await;
    let outcome = model.rig.lake.merge(&model.rig.ident, &delta).await.unwrap();
    assert!(
        matches!(outcome, CommitOutcome::Done(NotMerged::Moved(MovedFile::Gone(_)))),
        "{outcome:?}"
    );
    let rewrite = Rewrite {
        commit_id: Uuid::new_v4(),
        inputs: vec![stale],
        outputs: Vec::new(),
        deletes: Vec::new(),
        summary: BTreeMap::new(),
    };
    let outcome = model.rig.lake.rewrite(&model.rig.ident, &rewrite).await.unwrap();
    assert!(
        matches!(outcome, CommitOutcome::Done(MovedFile::Gone(_))),
        "{outcome:?}"
    );
    assert_eq!(model.table().await.merge_state().unwrap().next(0, 0), Some(model.next));
}

async fn a_rewrite_that_loses_rows_is_refused(kind: Kind) {
    let Some(mut model) = Model::new(kind).await else {
        return;
    };
    model.merge(5, &[]).await;
    model.merge(5, &[(0, 1)]).await;
    let before = model.rows();
    let inputs = model.files.keys().map(|location| model.input(location)).collect();
    let rewrite = Rewrite {
        commit_id: Uuid::new_v4(),
        inputs,
        outputs: vec![model.write_rows(&before[1..]).await],
        deletes: Vec::new(),
        summary: BTreeMap::new(),
    };
    let refused = model.rig.lake.rewrite(&model.rig.ident, &rewrite).await;
    assert!(matches!(refused, Err(CommitError::Validation { .. })), "{refused:?}");
    assert_eq!(model.table().await.metadata().snapshots().len(), 2);
}
