//! Where runs are kept: one file, each change durable before it is told.

use std::path::{Path, PathBuf};

use redb::backends::InMemoryBackend;
use redb::{Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction};
use tapehouse_core::ledger::{Backfill, Run, RunId, RunState};
use tapehouse_core::schedule::ScheduleState;
use tapehouse_lake::StorageFault;

const FILE: &str = "runs.redb";
/// Memory for pages of the file: few of them are looked at.
const CACHE_BYTES: usize = 2 << 20;

/// Each run by its number, as JSON.
const RUNS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("runs");
/// Runs that wait or run.
const ACTIVE: TableDefinition<'_, u64, ()> = TableDefinition::new("active");
/// The run that failed for the last time, by `ASSET|DAY`.
const FAILED: TableDefinition<'_, &str, u64> = TableDefinition::new("failed");
/// Nonces of runs that are paused.
const PAUSED: TableDefinition<'_, &str, ()> = TableDefinition::new("paused");

/// Each backfill by its id, as JSON.
const BACKFILLS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("backfills");

/// What is remembered of each schedule by its name, as JSON.
const SCHEDULES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("schedules");

/// Why the ledger is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another process has it.
    #[error("{0} is in use by another process: a node that runs is asked with --endpoint")]
    InUse(PathBuf),
    /// The folder cannot be made.
    #[error("{path}: {source}")]
    Io {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file cannot be read or written.
    #[error("ledger {path}: {source}")]
    Store {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<redb::Error>,
    },
    /// A run that cannot be read.
    #[error("ledger {path}: a run cannot be read: {source}")]
    Run {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// What is to be written together.
#[derive(Debug, Default)]
pub(super) struct Change<'a> {
    pub(super) runs: &'a [Run],
    /// Days whose failure is forgiven.
    pub(super) forgiven: Vec<(String, i32)>,
    /// Nonces, and whether their runs are paused.
    pub(super) paused: Vec<(String, bool)>,
    pub(super) backfills: Vec<Backfill>,
}

/// The file.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    db: Database,
}

impl Store {
    /// Opens `FOLDER/runs.redb`, or makes it. One that is damaged is renamed: runs are history, and a node must start without it. On a
    /// full or read-only disk it is in memory: then it ends with the process.
    pub(super) fn open(folder: &Path) -> Result<Self, LedgerError> {
        let path = folder.join(FILE);
        let is_new = !path.exists();
        let made = std::fs::create_dir_all(folder).map_err(|source| LedgerError::Io {
            path: folder.to_owned(),
            source,
        });
        let opened = made.and_then(|()| match Self::open_file(&path) {
            Err(error) if is_damaged(&error) => {
                set_aside(&path, &error)?;
                Self::open_file(&path)
            }
            opened => opened,
        });
        match opened {
            Err(error) if is_storage_fault(&error) => {
                tracing::warn!(%error, "the ledger of runs is in memory until the next start");
                if is_new {
                    // Half made, it would be taken for a damaged one. Where it cannot be removed, it is.
                    let _ = std::fs::remove_file(&path);
                }
                let db = Database::builder().create_with_backend(InMemoryBackend::new());
                Self::prepared(&path, db)
            }
            opened => opened,
        }
    }

    fn open_file(path: &Path) -> Result<Self, LedgerError> {
        Self::prepared(path, Database::builder().set_cache_size(CACHE_BYTES).create(path))
    }

    fn prepared(path: &Path, db: Result<Database, DatabaseError>) -> Result<Self, LedgerError> {
        let store = match db {
            Ok(db) => Self {
                db,
                path: path.to_owned(),
            },
            Err(DatabaseError::DatabaseAlreadyOpen) => return Err(LedgerError::InUse(path.to_owned())),
            Err(error) => return Err(failed(path, error)),
        };
        store.write(|transaction| {
            transaction.open_table(RUNS)?;
            transaction.open_table(ACTIVE)?;
            transaction.open_table(FAILED)?;
            transaction.open_table(PAUSED)?;
            transaction.open_table(BACKFILLS)?;
            transaction.open_table(SCHEDULES)?;
            Ok(())
        })?;
        Ok(store)
    }

    pub(super) fn put(&self, change: &Change<'_>) -> Result<(), LedgerError> {
        self.write(|transaction| {
            let mut runs = transaction.open_table(RUNS)?;
            let mut active = transaction.open_table(ACTIVE)?;
            let mut failed = transaction.open_table(FAILED)?;
            let mut paused = transaction.open_table(PAUSED)?;
            for run in change.runs {
                let text = serde_json::to_vec(run).expect("a run is plain data: integers, strings, maps");
                runs.insert(run.id.0, text.as_slice())?;
                match run.state {
                    RunState::Waiting | RunState::Running => active.insert(run.id.0, ())?.map(drop),
                    _ => active.remove(run.id.0)?.map(drop),
                };
                let day = day_key(&run.asset, run.day);
                match run.state {
                    RunState::Failed if run.keeps_its_day() => failed.insert(day.as_str(), run.id.0)?.map(drop),
                    RunState::Succeeded => failed.remove(day.as_str())?.map(drop),
                    _ => None,
                };
            }
            let mut backfills = transaction.open_table(BACKFILLS)?;
            for backfill in &change.backfills {
                let text = serde_json::to_vec(backfill).expect("a backfill is plain data: integers, strings, lists");
                backfills.insert(backfill.id.as_str(), text.as_slice())?;
            }
            for (asset, day) in &change.forgiven {
                failed.remove(day_key(asset, *day).as_str())?;
            }
            for (nonce, is_paused) in &change.paused {
                match is_paused {
                    true => paused.insert(nonce.as_str(), ())?.map(drop),
                    false => paused.remove(nonce.as_str())?.map(drop),
                };
            }
            Ok(())
        })
    }

    /// The runs that a ledger has to know: those that are active, and those that keep a day from being computed. And the highest number
    /// that a run has. A run that cannot be read is left out.
    pub(super) fn known(&self) -> Result<(Vec<Run>, u64), LedgerError> {
        let (mut ids, last) = self.read(|transaction| {
            let active = transaction.open_table(ACTIVE)?;
            let failed = transaction.open_table(FAILED)?;
            let mut ids = Vec::new();
            for entry in active.iter()? {
                ids.push(entry?.0.value());
            }
            for entry in failed.iter()? {
                ids.push(entry?.1.value());
            }
            let last = transaction.open_table(RUNS)?.last()?.map_or(0, |(id, _)| id.value());
            Ok((ids, last))
        })?;
        ids.sort_unstable();
        ids.dedup();
        let mut runs = Vec::with_capacity(ids.len());
        for id in ids {
            match self.run(RunId(id)) {
                Ok(run) => runs.extend(run),
                Err(error @ LedgerError::Run { .. }) => tracing::warn!(%error, run = id, "a run is left out"),
                Err(error) => return Err(error),
            }
        }
        Ok((runs, last))
    }

    pub(super) fn paused(&self) -> Result<Vec<String>, LedgerError> {
        self.read(|transaction| {
            let paused = transaction.open_table(PAUSED)?;
            paused.iter()?.map(|entry| Ok(entry?.0.value().to_owned())).collect()
        })
    }

    pub(super) fn run(&self, id: RunId) -> Result<Option<Run>, LedgerError> {
        let text = self.read(|transaction| {
            let runs = transaction.open_table(RUNS)?;
            Ok(runs.get(id.0)?.map(|text| text.value().to_vec()))
        })?;
        text.map(|text| self.parsed(&text)).transpose()
    }

    /// Runs from number `first` to below `before` that are `wanted`, the latest first, `most` of them.
    pub(super) fn runs(
        &self,
        first: RunId,
        before: Option<RunId>,
        most: usize,
        wanted: impl Fn(&Run) -> bool,
    ) -> Result<Vec<Run>, LedgerError> {
        let below = before.map_or(u64::MAX, |id| id.0);
        let (mut found, mut unreadable) = (Vec::new(), None);
        self.read(|transaction| {
            for entry in transaction.open_table(RUNS)?.range(first.0..below)?.rev() {
                match self.parsed(entry?.1.value()) {
                    Ok(run) if wanted(&run) => found.push(run),
                    Ok(_) => {}
                    Err(error) => unreadable = Some(error),
                }
                if found.len() >= most || unreadable.is_some() {
                    break;
                }
            }
            Ok(())
        })?;
        unreadable.map_or(Ok(found), Err)
    }

    /// Forgets runs that ended before `before_us`, but for those that keep a day from being computed, and the latest, whose number the
    /// next one follows.
    pub(super) fn prune(&self, before_us: i64) -> Result<usize, LedgerError> {
        let old = self.old(before_us)?;
        let mut pruned = 0;
        self.write(|transaction| {
            let mut runs = transaction.open_table(RUNS)?;
            let failed = transaction.open_table(FAILED)?;
            let mut backfills = transaction.open_table(BACKFILLS)?;
            let last = runs.last()?.map(|(id, _)| id.value());
            for run in &old {
                let keeps = failed.get(day_key(&run.asset, run.day).as_str())?;
                if Some(run.id.0) != last && keeps.is_none_or(|id| id.value() != run.id.0) {
                    runs.remove(run.id.0)?;
                    pruned += 1;
                }
            }
            // A backfill goes with the last of its runs.
            let first_kept = runs.first()?.map_or(u64::MAX, |(id, _)| id.value());
            let newest = old.last().map_or(0, |run| run.id.0);
            backfills.retain(|_, text| {
                let backfill: Option<Backfill> = serde_json::from_slice(text).ok();
                backfill.is_none_or(|backfill| backfill.first_run.0 >= first_kept || backfill.first_run.0 > newest)
            })?;
            Ok(())
        })?;
        Ok(pruned)
    }

    /// Runs that ended before, the oldest first. What was asked for later has not ended before: the search ends there.
    fn old(&self, before_us: i64) -> Result<Vec<Run>, LedgerError> {
        let mut old = Vec::new();
        self.read(|transaction| {
            for entry in transaction.open_table(RUNS)?.iter()? {
                let (id, text) = entry?;
                match self.parsed(text.value()) {
                    Ok(run) if run.created_us >= before_us => break,
                    Ok(run) if run.ended_us.is_some_and(|ended| ended < before_us) => old.push(run),
                    Ok(_) => {}
                    Err(error) => tracing::warn!(%error, run = id.value(), "a run is left where it is"),
                }
            }
            Ok(())
        })?;
        Ok(old)
    }

    /// What is remembered of a schedule; nothing of one that cannot be read.
    pub(super) fn schedule(&self, name: &str) -> Result<Option<ScheduleState>, LedgerError> {
        self.read(|transaction| {
            let text = transaction.open_table(SCHEDULES)?.get(name)?;
            Ok(text.and_then(|text| serde_json::from_slice(text.value()).ok()))
        })
    }

    pub(super) fn put_schedule(&self, name: &str, state: &ScheduleState) -> Result<(), LedgerError> {
        let text = serde_json::to_vec(state).expect("a state is plain data: integers");
        self.write(|transaction| {
            transaction.open_table(SCHEDULES)?.insert(name, text.as_slice())?;
            Ok(())
        })
    }

    /// In the order of their ids. One that cannot be read is left out.
    pub(super) fn backfills(&self) -> Result<Vec<Backfill>, LedgerError> {
        self.read(|transaction| {
            let backfills = transaction.open_table(BACKFILLS)?;
            let mut read = Vec::new();
            for entry in backfills.iter()? {
                read.extend(serde_json::from_slice(entry?.1.value()).ok());
            }
            Ok(read)
        })
    }

    fn parsed(&self, text: &[u8]) -> Result<Run, LedgerError> {
        serde_json::from_slice(text).map_err(|source| LedgerError::Run {
            path: self.path.clone(),
            source,
        })
    }

    fn read<T>(&self, read: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>) -> Result<T, LedgerError> {
        let transaction = self.db.begin_read().map_err(|error| failed(&self.path, error))?;
        read(&transaction).map_err(|error| failed(&self.path, error))
    }

    fn write(&self, write: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>) -> Result<(), LedgerError> {
        let write = || {
            let transaction = self.db.begin_write()?;
            write(&transaction)?;
            transaction.commit()?;
            Ok(())
        };
        write().map_err(|error: redb::Error| failed(&self.path, error))
    }
}

fn day_key(asset: &str, day: i32) -> String {
    format!("{asset}|{day}")
}

fn failed(path: &Path, error: impl Into<redb::Error>) -> LedgerError {
    LedgerError::Store {
        path: path.to_owned(),
        source: Box::new(error.into()),
    }
}

fn set_aside(path: &Path, error: &LedgerError) -> Result<(), LedgerError> {
    let stamp = tapehouse_core::clock::now_ms();
    let aside = path.with_extension(format!("damaged-{stamp}"));
    tracing::error!(%error, aside = %aside.display(), code = "state_dir", "the ledger of runs is damaged: set aside, and begun anew");
    std::fs::rename(path, &aside).map_err(|source| LedgerError::Io {
        path: aside.clone(),
        source,
    })
}

fn is_damaged(error: &LedgerError) -> bool {
    let LedgerError::Store { source, .. } = error else {
        return false;
    };
    match &**source {
        redb::Error::Corrupted(_) => true,
        redb::Error::Io(source) => source.kind() == std::io::ErrorKind::InvalidData,
        _ => false,
    }
}

fn is_storage_fault(error: &LedgerError) -> bool {
    match error {
        LedgerError::Io { source, .. } => StorageFault::behind(source).is_some(),
        LedgerError::Store { source, .. } => {
            matches!(&**source, redb::Error::Io(source) if StorageFault::behind(source).is_some())
        }
        LedgerError::InUse(_) | LedgerError::Run { .. } => false,
    }
}
