//! The commit bench: thousands of small appends to one table; the last must cost what the early ones did.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use tapehouse_core::append::AppendRequest;
use tapehouse_core::identity::TopicIdentity;
use tapehouse_core::state::{OWNER_PROPERTY, STATE_PROPERTY, StreamState};
use tapehouse_lake::bronze::partition_spec;
use tapehouse_lake::files::{FileEncoder, write_file};
use tapehouse_lake::{
    AppendOutcome, CatalogSettings, Lake, LakeSettings, NewTable, S3Settings, StagedAppend, TableName,
};
use uuid::Uuid;

use crate::report::{Check, median};
use crate::sample::Trades;
use crate::{Outcome, interrupt, usage};

/// The early commits that the last ones are held against.
const EARLY: std::ops::Range<usize> = 50..100;
const LAST: usize = 50;
/// Largest metadata.json that is acceptable.
const METADATA_LIMIT_MB: f64 = 1.0;
/// Files in the metadata folder at most: a snapshot retained has a list and up to a few manifests of its own.
const METADATA_FILES_LIMIT: f64 = 2000.0;

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Commits; at least 200.
    pub commits: usize,
    /// A commit begins so long after the one before, or at once where that took longer.
    pub age: Duration,
    /// Rows of each.
    pub rows: usize,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    machine: String,
    load_before: f64,
    load_after: f64,
    commits: usize,
    rows_a_commit: usize,
    early_ms: f64,
    last_ms: f64,
    slowest_ms: f64,
    file_ms: f64,
    metadata_json_bytes: u64,
    metadata_files_most: usize,
    metadata_files_end: usize,
    snapshots_kept: usize,
    manifests: usize,
    seconds: f64,
    /// What must hold.
    pub checks: Vec<Check>,
}

/// A lake with a bronze table for the samples.
pub struct Rig {
    lake: Lake,
    ident: TableName,
    location: String,
    folder: PathBuf,
    spec_id: i32,
    schema_id: i32,
    trades: Trades,
}

impl Rig {
    /// A new table in `folder`. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub async fn new(folder: &Path) -> Outcome<Self> {
        let trades = Trades::new(1)?;
        let lake = Lake::open(LakeSettings {
            catalog: CatalogSettings::new(format!("sqlite://{}", folder.join("catalog.db").display())),
            warehouse: folder.join("warehouse").display().to_string(),
            s3: S3Settings::default(),
        })
        .await?;
        let ident: TableName = "bronze.raw_trades".parse()?;
        let schema = trades.layout().schema().as_ref().clone();
        let properties = HashMap::from([
            (
                STATE_PROPERTY.to_owned(),
                StreamState::new("bench", "raw.trades").to_json(),
            ),
            (OWNER_PROPERTY.to_owned(), "bench".to_owned()),
        ]);
        let table = NewTable {
            partition_spec: partition_spec(&schema)?,
            schema,
            properties,
        };
        let table = lake.create_table(&ident, table).await?;
        Ok(Self {
            location: table.metadata().location().to_owned(),
            folder: table.folder(),
            spec_id: table.metadata().default_partition_spec_id(),
            schema_id: table.metadata().current_schema_id(),
            lake,
            ident,
            trades,
        })
    }

    /// Writes a file with the next `rows` trades, ready to be committed.
    ///
    /// # Errors
    /// When it cannot be encoded or written.
    pub async fn stage(&mut self, rows: usize) -> Outcome<StagedAppend> {
        let (batch, ranges) = self.trades.rows(rows)?;
        let mut encoder = FileEncoder::open(self.trades.layout().file(), Trades::date(), &batch)?;
        encoder.push(&batch)?;
        let file = write_file(self.lake.warehouse(), &self.location, self.spec_id, encoder.finish()?).await?;
        Ok(StagedAppend {
            files: vec![file],
            request: AppendRequest {
                topic: "raw.trades".to_owned(),
                incarnation: 0,
                owner: "bench".to_owned(),
                identity: TopicIdentity::default(),
                ranges,
            },
            summary: BTreeMap::from([("tapehouse.rows".to_owned(), rows.to_string())]),
            commit_id: Uuid::new_v4(),
            schema_id: self.schema_id,
        })
    }

    /// Commits a staged set.
    ///
    /// # Errors
    /// When it is not committed.
    pub async fn commit(&self, staged: &StagedAppend) -> Outcome<()> {
        match self.lake.append(&self.ident, staged).await? {
            AppendOutcome::Committed { .. } => Ok(()),
            other => Err(format!("not committed: {other:?}").into()),
        }
    }

    fn metadata_files(&self) -> Outcome<usize> {
        Ok(std::fs::read_dir(self.folder.join("metadata"))?.count())
    }
}

/// What one commit took.
#[derive(Clone, Copy, Debug)]
struct Took {
    file_ms: f64,
    commit_ms: f64,
}

/// Measures in `folder`.
///
/// # Errors
/// When a commit fails.
pub fn run(options: Options, folder: &Path, say: &dyn Fn(&str)) -> Outcome<Report> {
    if options.commits < EARLY.end + LAST {
        return Err(format!("at least {} commits are needed", EARLY.end + LAST).into());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(options, folder, say))
}

async fn measure(options: Options, folder: &Path, say: &dyn Fn(&str)) -> Outcome<Report> {
    let mut rig = Rig::new(folder).await?;
    let (load_before, started) = (usage::load_1min()?, Instant::now());
    let mut took = Vec::with_capacity(options.commits);
    let mut metadata_files_most = 0;
    for index in 0..options.commits {
        interrupt::check()?;
        let begun = Instant::now();
        let staged = rig.stage(options.rows).await?;
        let file_ms = ms(begun.elapsed());
        let committing = Instant::now();
        rig.commit(&staged).await?;
        let commit_ms = ms(committing.elapsed());
        took.push(Took { file_ms, commit_ms });
        if (index + 1) % 50 == 0 {
            metadata_files_most = metadata_files_most.max(rig.metadata_files()?);
        }
        if (index + 1) % 500 == 0 {
            let recent: Vec<f64> = took.iter().rev().take(LAST).map(|took| took.commit_ms).collect();
            say(&format!(
                "{} commits, median of the last {LAST}: {:.2} ms",
                index + 1,
                median(&recent)
            ));
        }
        tokio::time::sleep(options.age.saturating_sub(begun.elapsed())).await;
    }
    let seconds = started.elapsed().as_secs_f64();
    rig.lake.settle().await;
    report(&rig, options, &took, load_before, metadata_files_most, seconds).await
}

async fn report(
    rig: &Rig,
    options: Options,
    took: &[Took],
    load_before: f64,
    metadata_files_most: usize,
    seconds: f64,
) -> Outcome<Report> {
    let commit_ms: Vec<f64> = took.iter().map(|took| took.commit_ms).collect();
    let early_ms = median(&commit_ms[EARLY]);
    let last_ms = median(&commit_ms[commit_ms.len() - LAST..]);
    let table = rig.lake.load(&rig.ident).await?.ok_or("the table is gone")?;
    let metadata = table.metadata();
    let metadata_json_bytes = table.metadata_bytes();
    let checks = vec![
        Check::at_most(
            "median of the last 50 commits over that of commits 50-100",
            last_ms / early_ms,
            1.5,
        ),
        Check::at_most("metadata.json, MB", metadata_json_bytes as f64 / 1e6, METADATA_LIMIT_MB),
        Check::at_most(
            "files in metadata/ at most",
            metadata_files_most as f64,
            METADATA_FILES_LIMIT,
        ),
    ];
    Ok(Report {
        machine: usage::machine(),
        load_before,
        load_after: usage::load_1min()?,
        commits: options.commits,
        rows_a_commit: options.rows,
        early_ms,
        last_ms,
        slowest_ms: commit_ms.iter().copied().fold(0.0, f64::max),
        file_ms: median(&took.iter().map(|took| took.file_ms).collect::<Vec<_>>()),
        metadata_json_bytes,
        metadata_files_most,
        metadata_files_end: rig.metadata_files()?,
        snapshots_kept: metadata.snapshots().count(),
        manifests: table.manifests(rig.lake.file_io()).await?.len(),
        seconds,
        checks,
    })
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

impl Report {
    /// For people.
    pub fn text(&self) -> String {
        format!(
            "{} commits of {} rows in {:.0} s, {}, load {:.1} before, {:.1} after\n\
             median of commits 50-100: {:.2} ms, of the last 50: {:.2} ms, slowest {:.0} ms; encoding and writing the file: {:.2} ms\n\
             metadata.json {} bytes; metadata/ at most {} files, {} at the end; {} snapshots kept, {} manifests",
            self.commits,
            self.rows_a_commit,
            self.seconds,
            self.machine,
            self.load_before,
            self.load_after,
            self.early_ms,
            self.last_ms,
            self.slowest_ms,
            self.file_ms,
            self.metadata_json_bytes,
            self.metadata_files_most,
            self.metadata_files_end,
            self.snapshots_kept,
            self.manifests,
        )
    }
}
