//! The SQL catalog's database on PostgreSQL.
//!
//! A connection on which anything went wrong, a time-out included, is closed and never used again: the server then ends what
//! was begun on it. So what is known of an attempt does not depend on what its connection is told later.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Executor as _, Row as _};

use super::postgres_uri;
use super::sql::{LAYOUT, Rows, SqlDatabase, Statement, TransactionError};
use crate::error::LakeError;

const MAX_CONNECTIONS: u32 = 4;
/// How long a call waits for one of them, being connected included; less where the time-out of an answer is less.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a swap waits for the row that another one holds.
const LOCK_TIMEOUT_MS: &str = "5000";
/// Beginners of a catalog that create its tables at the same time get in each other's way so many times at most.
const MAX_CREATE_ATTEMPTS: u32 = 5;

/// Settings of a session. A commit that was answered has to be durable whatever the server's default is.
const SESSION: &str = "SELECT set_config('statement_timeout', $1, false), set_config('lock_timeout', $2, false),
    set_config('idle_in_transaction_session_timeout', $1, false),
    set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
        ELSE current_setting('synchronous_commit') END, false)";
// Found as the other statements find it, by the search path.
const COLUMNS: &str = "SELECT attname::text FROM pg_attribute
    WHERE attrelid = to_regclass('iceberg_tables') AND attnum > 0 AND NOT attisdropped";
const IS_COMPLETE: &str =
    "SELECT to_regclass('iceberg_tables') IS NOT NULL AND to_regclass('iceberg_namespace_properties') IS NOT NULL";

/// A database on a PostgreSQL server.
pub(super) struct Postgres {
    pool: PgPool,
    /// `host:port`, for messages.
    server: String,
    timeout: Duration,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Postgres {
    /// Connects to the database at `uri`; no answer is waited for longer than `timeout`. With `create`, the catalog's tables
    /// are created where they are missing; the database itself never is.
    pub(super) async fn open(uri: &str, timeout: Duration, create: bool) -> Result<Self, LakeError> {
        let options = postgres_uri::parse(uri)?;
        let server = format!("{}:{}", options.get_host(), options.get_port());
        let database = Self {
            pool: pool(options, timeout),
            server,
            timeout,
        };
        if create {
            let created = database.create_missing().await;
            created.map_err(LakeError::catalog("creating the catalog's tables"))?;
        }
        Ok(database)
    }

    /// Without the right to create tables, those that exist are enough.
    async fn create_missing(&self) -> Result<(), sqlx::Error> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (mut lease, timeout) = (self.lease().await?, self.timeout);
            let complete: bool = limited(timeout, sqlx::query_scalar(IS_COMPLETE).fetch_one(&mut *lease.0)).await?;
            if complete {
                lease.give_back();
                return Ok(());
            }
            for statement in LAYOUT {
                match limited(timeout, lease.0.execute(statement)).await {
                    // IF NOT EXISTS is not atomic: the loser of a race gets a unique violation.
                    Err(sqlx::Error::Database(_)) if attempts < MAX_CREATE_ATTEMPTS => break,
                    result => result?,
                };
            }
        }
    }

    async fn lease(&self) -> Result<Lease, sqlx::Error> {
        match self.pool.acquire().await {
            Ok(connection) => Ok(Lease(Held(Some(connection)))),
            // sqlx tries again and again where nobody listens, and then names only its pool.
            Err(sqlx::Error::PoolTimedOut) => Err(timed_out(&format!(
                "PostgreSQL at {} gave no connection in time",
                self.server
            ))),
            Err(error) => Err(error),
        }
    }
}

fn pool(options: PgConnectOptions, timeout: Duration) -> PgPool {
    let statement_timeout_ms = timeout.as_millis().to_string();
    PgPoolOptions::new()
        .max_connections(MAX_CONNECTIONS)
        .acquire_timeout(timeout.min(CONNECT_TIMEOUT))
        .after_connect(move |connection, _| {
            let statement_timeout_ms = statement_timeout_ms.clone();
            Box::pin(async move {
                let set = sqlx::query(SESSION).bind(statement_timeout_ms).bind(LOCK_TIMEOUT_MS);
                set.execute(connection).await.map(|_| ())
            })
        })
        .connect_lazy_with(options)
}

/// A connection that goes back to the pool only when all went well on it.
struct Lease(Held);

/// Closes what it holds when it is dropped.
struct Held(Option<PoolConnection<sqlx::Postgres>>);

impl Lease {
    fn give_back(mut self) {
        drop(self.0.0.take());
    }
}

impl std::ops::Deref for Held {
    type Target = sqlx::PgConnection;

    fn deref(&self) -> &Self::Target {
        self.0.as_deref().expect("taken only when it is given back")
    }
}

impl std::ops::DerefMut for Held {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.0.as_deref_mut().expect("taken only when it is given back")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.0.take().map(PoolConnection::detach));
    }
}

#[async_trait]
impl SqlDatabase for Postgres {
    async fn rows(&self, (sql, parameters): Statement<'_>) -> Result<Rows, sqlx::Error> {
        let mut lease = self.lease().await?;
        let mut query = sqlx::query(sql);
        for parameter in parameters {
            query = query.bind(parameter);
        }
        let rows = limited(self.timeout, query.fetch_all(&mut *lease.0)).await?;
        lease.give_back();
        rows.iter()
            .map(|row| (0..row.len()).map(|column| row.try_get(column)).collect())
            .collect()
    }

    async fn transact(&self, statements: &[Statement<'_>]) -> Result<bool, TransactionError> {
        let mut lease = self.lease().await.map_err(TransactionError::Failed)?;
        let changed = limited(self.timeout, change(&mut lease.0, statements)).await;
        if changed.map_err(classify)? != 1 {
            if limited(self.timeout, lease.0.execute("ROLLBACK")).await.is_ok() {
                lease.give_back();
            }
            return Ok(false);
        }
        // Only from here on can the change have happened without an answer.
        match limited(self.timeout, lease.0.execute("COMMIT")).await {
            Ok(_) => {
                lease.give_back();
                Ok(true)
            }
            Err(error) if lost_race(&error) => Err(TransactionError::Conflict(error)),
            Err(error) => Err(TransactionError::Unknown(error)),
        }
    }

    fn clock_query(&self) -> Option<&'static str> {
        Some("SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint::text")
    }

    async fn columns(&self) -> Result<Vec<String>, sqlx::Error> {
        let rows = self.rows((COLUMNS, Vec::new())).await?;
        Ok(rows.into_iter().flatten().flatten().collect())
    }
}

/// Runs `statements` in a transaction that is left open; how many rows the last one changed.
async fn change(connection: &mut sqlx::PgConnection, statements: &[Statement<'_>]) -> Result<u64, sqlx::Error> {
    connection
        .execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
        .await?;
    let mut changed = 0;
    for (sql, parameters) in statements {
        let mut query = sqlx::query(*sql);
        for parameter in parameters {
            query = query.bind(*parameter);
        }
        changed = query.execute(&mut *connection).await?.rows_affected();
    }
    Ok(changed)
}

/// What failed before its COMMIT was sent: the server takes it back, whatever it was.
fn classify(error: sqlx::Error) -> TransactionError {
    match lost_race(&error) {
        true => TransactionError::Conflict(error),
        false => TransactionError::Failed(error),
    }
}

/// Whether the server answered that others were in the way: serialization_failure, deadlock_detected, lock_not_available.
fn lost_race(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| matches!(code.as_ref(), "40001" | "40P01" | "55P03"))
}

/// The server's own limit ends a statement, this one the wait for a server that says nothing.
async fn limited<T>(timeout: Duration, answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    let answer = tokio::time::timeout(timeout, answer).await;
    answer.unwrap_or_else(|_| Err(timed_out("PostgreSQL did not answer in time")))
}

fn timed_out(what: &str) -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, what.to_owned()))
}
