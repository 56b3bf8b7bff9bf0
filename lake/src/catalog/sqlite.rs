//! The SQL catalog's database on SQLite.
//!
//! WAL and `synchronous=FULL`: a COMMIT that was answered survives a power cut. `BEGIN IMMEDIATE` takes the write lock
//! first, so a busy database shows before anything was done, and never in the middle.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, Row as _, SqliteConnection, SqlitePool};

use super::sql::{LAYOUT, Rows, SqlDatabase, Statement, TransactionError};
use crate::error::LakeError;
use crate::storage::durable;

/// How long SQLite itself waits for another process's write lock before it answers "busy".
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_CONNECTIONS: u32 = 4;
/// How long a call waits for one of them.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// A database file.
#[derive(Clone, Debug)]
pub(super) struct Sqlite {
    pool: SqlitePool,
}

impl Sqlite {
    /// Opens the database at `path`. With `create`, it, its folder and the catalog's tables are created where they are
    /// missing; without, nothing is.
    pub(super) async fn open(path: &Path, create: bool) -> Result<Self, LakeError> {
        let mut options = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(BUSY_TIMEOUT)
            .synchronous(SqliteSynchronous::Full)
            .create_if_missing(create);
        if create {
            create_parent(path).await?;
            options = options.journal_mode(SqliteJournalMode::Wal);
        } else if !path.is_file() {
            return Err(LakeError::Missing {
                what: "catalog database",
                path: path.to_owned(),
            });
        }
        let pool = SqlitePoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_with(options)
            .await
            .map_err(LakeError::catalog("opening the catalog"))?;
        if create {
            for statement in LAYOUT {
                let created = sqlx::query(statement).execute(&pool).await;
                created.map_err(LakeError::catalog("creating the catalog's tables"))?;
            }
        }
        Ok(Self { pool })
    }
}

#[async_trait]
impl SqlDatabase for Sqlite {
    async fn rows(&self, (sql, parameters): Statement<'_>) -> Result<Rows, sqlx::Error> {
        let mut query = sqlx::query(sql);
        for parameter in parameters {
            query = query.bind(parameter);
        }
        let rows = query.fetch_all(&self.pool).await?;
        rows.iter()
            .map(|row| (0..row.len()).map(|column| row.try_get(column)).collect())
            .collect()
    }

    async fn transact(&self, statements: &[Statement<'_>]) -> Result<bool, TransactionError> {
        let mut connection = self.pool.acquire().await.map_err(classify)?;
        let outcome = transact_on(&mut connection, statements).await;
        if let Err(TransactionError::Failed(_) | TransactionError::Unknown(_)) = &outcome {
            // Where a COMMIT fails (a full disk), sqlx counts the connection as within a transaction for ever: it would never
            // begin another.
            connection.close_on_drop();
        }
        outcome
    }

    async fn columns(&self) -> Result<Vec<String>, sqlx::Error> {
        let names = sqlx::query_scalar("SELECT name FROM pragma_table_info('iceberg_tables')");
        names.fetch_all(&self.pool).await
    }
}

async fn transact_on(
    connection: &mut SqliteConnection,
    statements: &[Statement<'_>],
) -> Result<bool, TransactionError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(classify)?;
    let mut changed = 0;
    for (sql, parameters) in statements {
        let mut query = sqlx::query(*sql);
        for parameter in parameters {
            query = query.bind(*parameter);
        }
        let done = query.execute(&mut *transaction).await.map_err(classify)?;
        changed = done.rows_affected();
    }
    if changed != 1 {
        return Ok(false);
    }
    // Only from here on can the change have happened without an answer.
    transaction.commit().await.map_err(TransactionError::Unknown)?;
    Ok(true)
}

/// What failed before its COMMIT: a busy database is a lost race, all else a failure.
fn classify(error: sqlx::Error) -> TransactionError {
    let busy = match &error {
        sqlx::Error::PoolTimedOut => true,
        // Primary result codes 5 (SQLITE_BUSY) and 6 (SQLITE_LOCKED); the extended ones hold them in their low byte.
        sqlx::Error::Database(database) => database
            .code()
            .and_then(|code| code.parse::<i32>().ok())
            .is_some_and(|code| matches!(code & 0xff, 5 | 6)),
        _ => false,
    };
    match busy {
        true => TransactionError::Conflict(error),
        false => TransactionError::Failed(error),
    }
}

/// The file that a URI's text after `sqlite://` names; `None` where it is no absolute path.
pub(super) fn database_path(rest: &str) -> Option<PathBuf> {
    let path = rest.split_once('?').map_or(rest, |(path, _)| path);
    // SQLAlchemy writes an absolute path with four slashes, sqlx with three.
    let trimmed = path.trim_start_matches('/');
    (path.starts_with('/') && !trimmed.is_empty()).then(|| PathBuf::from(format!("/{trimmed}")))
}

async fn create_parent(path: &Path) -> Result<(), LakeError> {
    let Some(parent) = path.parent().map(Path::to_owned) else {
        return Ok(());
    };
    tokio::task::spawn_blocking(move || durable::create_folder(&parent))
        .await
        .map_err(|_| LakeError::Interrupted("creating the catalog's folder"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for rest in ["/a/b.db", "//a/b.db", "/a/b.db?mode=rwc"] {
            assert_eq!(database_path(rest).unwrap(), Path::new("/a/b.db"), "{rest}");
        }
        for rest in ["b.db", "/", "", "//", "host/b.db"] {
            assert_eq!(database_path(rest), None, "{rest}");
        }
    }
}
