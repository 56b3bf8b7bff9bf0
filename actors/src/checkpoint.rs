//! Checkpoints in sled: what a restart may know sooner than the tables tell. Never a store of record: deleted or damaged,
//! it is set aside and filled again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tapehouse_core::state::StreamState;
use tapehouse_lake::StorageFault;

use crate::pool::panic_text;

/// What is remembered of one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The table's uuid: a table that was dropped and made anew is another one.
    pub table_uuid: String,
    /// The state after the last commit that this node saw.
    pub state: StreamState,
    /// Rows in the table then.
    pub total_rows: u64,
    /// Latest event time committed, in microseconds since 1970-01-01 UTC.
    pub max_event_time_us: Option<i64>,
}

/// The node's checkpoints.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    /// `None` where the state folder could not be written when the node started.
    store: Option<Store>,
    /// Set once a write failed: sled trusts nothing after that, so no more is written until the next start.
    is_off: Arc<AtomicBool>,
}

#[derive(Clone, Debug)]
struct Store {
    tables: sled::Tree,
    db: sled::Db,
}

/// Why there are no checkpoints.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Another process holds the folder.
    #[error("{0} is in use by another node: give each node its own --state-dir")]
    InUse(PathBuf),
    /// The folder cannot be written.
    #[error("{path}: {source}")]
    Io {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

impl Checkpoints {
    /// Opens `STATE_DIR/state/checkpoints`. A damaged store is renamed and replaced by an empty one. On a full or read-only
    /// disk the node goes without.
    ///
    /// # Errors
    /// [`CheckpointError`] when the folder is in use or cannot be written for another reason.
    pub fn open(state_dir: &Path) -> Result<Self, CheckpointError> {
        let store = match Self::open_store(state_dir) {
            Ok(store) => Some(store),
            Err(CheckpointError::Io { path, source }) => {
                let fault = StorageFault::behind(&source);
                let Some(fault) = fault else {
                    return Err(CheckpointError::Io { path, source });
                };
                tracing::warn!(path = %path.display(), error = %source, code = %fault.code(), "no checkpoints until the next start");
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Self {
            store,
            is_off: Arc::default(),
        })
    }

    fn open_store(state_dir: &Path) -> Result<Store, CheckpointError> {
        let parent = state_dir.join("state");
        let path = parent.join("checkpoints");
        let io = |source| CheckpointError::Io {
            path: path.clone(),
            source,
        };
        std::fs::create_dir_all(&parent).map_err(io)?;
        match Self::open_at(&path) {
            Ok(open) => Ok(open),
            Err(error) if is_locked(&error) => Err(CheckpointError::InUse(path)),
            Err(sled::Error::Io(error)) if StorageFault::behind(&error).is_some() => Err(io(error)),
            Err(error) => {
                let stamp = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default()
                    .as_millis();
                let aside = parent.join(format!("checkpoints.damaged-{stamp}"));
                std::fs::rename(&path, &aside).map_err(io)?;
                tracing::warn!(%error, aside = %aside.display(), "checkpoints were damaged: set aside, rebuilt from the tables");
                Self::open_at(&path).map_err(|error| io(std::io::Error::other(error.to_string())))
            }
        }
    }

    fn open_at(path: &Path) -> sled::Result<Store> {
        // A damaged log can make sled panic while it recovers; that is damage like any other.
        let opened = catch_unwind(|| sled::Config::new().path(path).cache_capacity(4 << 20).open());
        let db = opened.unwrap_or_else(|_| Err(sled::Error::Corruption { at: None, bt: () }))?;
        let tables = db.open_tree("tables")?;
        Ok(Store { tables, db })
    }

    /// The checkpoint of a table; `None` where there is none that can be read.
    pub fn get(&self, table: &str) -> Option<Checkpoint> {
        let bytes = self.store.as_ref()?.tables.get(table).ok()??;
        serde_json::from_slice(&bytes).ok()
    }

    /// Remembers a table's checkpoint. A failure is logged once: the next start takes longer, nothing else.
    pub fn put(&self, table: &str, checkpoint: &Checkpoint) {
        let Ok(bytes) = serde_json::to_vec(checkpoint) else {
            return;
        };
        self.write(|store| store.tables.insert(table, bytes).map(drop));
    }

    /// Hands what is buffered to the disk.
    pub fn flush(&self) {
        self.write(|store| store.db.flush().map(drop));
    }

    fn write(&self, write: impl FnOnce(&Store) -> sled::Result<()>) {
        let Some(store) = self.store.as_ref().filter(|_| !self.is_off.load(Ordering::Relaxed)) else {
            return;
        };
        // Sled may panic where its disk fails it; a checkpoint must never end a pipeline.
        let error = match catch_unwind(AssertUnwindSafe(|| write(store))) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic_text(panic.as_ref()),
        };
        if !self.is_off.swap(true, Ordering::Relaxed) {
            let code = StorageFault::of_text(&error).map_or("state_dir", |fault| fault.code());
            tracing::warn!(error, code, "checkpoints cannot be written: none until the next start");
        }
    }
}

fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(io) if io.to_string().contains("lock") || io.kind() == std::io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        let mut state = StreamState::new("c", "raw.trades");
        state.next.insert(0, 7);
        Checkpoint {
            table_uuid: "u".into(),
            state,
            total_rows: 7,
            max_event_time_us: Some(1),
        }
    }

    #[test]
    fn survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let open = Checkpoints::open(dir.path()).unwrap();
        open.put("bronze.t", &checkpoint());
        open.flush();
        assert!(matches!(Checkpoints::open(dir.path()), Err(CheckpointError::InUse(_))));
        drop(open);
        assert_eq!(
            Checkpoints::open(dir.path()).unwrap().get("bronze.t"),
            Some(checkpoint())
        );
    }

    #[test]
    fn damage_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let open = Checkpoints::open(dir.path()).unwrap();
        open.put("bronze.t", &checkpoint());
        open.flush();
        drop(open);
        let folder = dir.path().join("state/checkpoints");
        for file in ["conf", "db"] {
            std::fs::write(folder.join(file), b"garbage, not a sled file").unwrap();
        }
        let reopened = Checkpoints::open(dir.path()).unwrap();
        assert_eq!(reopened.get("bronze.t"), None);
        reopened.put("bronze.t", &checkpoint());
        assert_eq!(reopened.get("bronze.t"), Some(checkpoint()));
        let set_aside = std::fs::read_dir(dir.path().join("state")).unwrap();
        assert!(
            set_aside
                .flatten()
                .any(|entry| entry.file_name().to_string_lossy().starts_with("checkpoints.damaged-"))
        );
    }
}
