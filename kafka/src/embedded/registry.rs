//! A small Schema Registry over HTTP, in memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::EmbeddedError;

/// Different schemas that fit; the demo needs three.
const MAX_SCHEMAS: usize = 10_000;
/// Versions in all, over all subjects.
const MAX_VERSIONS: usize = 10_000;

/// A Schema Registry in this process that speaks the part of Confluent's API that Tapehouse uses. It forgets everything
/// when dropped, which also stops its server.
#[derive(Debug)]
pub struct EmbeddedRegistry {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl EmbeddedRegistry {
    /// Starts on a free port of 127.0.0.1. Needs a tokio runtime with I/O, and lives as long as that.
    ///
    /// # Errors
    /// [`EmbeddedError::Registry`] if the port cannot be bound.
    pub async fn start() -> Result<Self, EmbeddedError> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let app = router(Arc::new(Mutex::new(Store::default())));
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                tracing::error!(%error, "embedded registry stopped");
            }
        });
        Ok(Self { address, server })
    }

    /// Base URL, for a client.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for EmbeddedRegistry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

type Shared = Arc<Mutex<Store>>;

fn router(store: Shared) -> Router {
    Router::new()
        .route("/subjects", get(subjects))
        .route("/subjects/{subject}/versions", post(register).get(versions))
        .route("/subjects/{subject}/versions/latest", get(latest))
        .route("/schemas/ids/{id}", get(schema_by_id))
        .with_state(store)
}

/// Schemas by id (the first has id 1) and, per subject, the ids of its versions.
#[derive(Debug, Default)]
struct Store {
    schemas: Vec<Schema>,
    subjects: BTreeMap<String, Vec<usize>>,
}

#[derive(Debug)]
struct Schema {
    text: String,
    /// Two texts that differ in white space only are one schema.
    parsed: Value,
}

#[derive(Deserialize)]
struct RegisterBody {
    schema: String,
    #[serde(rename = "schemaType")]
    schema_type: Option<String>,
}

#[derive(Serialize)]
struct VersionAnswer<'a> {
    subject: &'a str,
    version: usize,
    id: usize,
    schema: &'a str,
}

/// A refusal in Confluent's form.
struct Refusal(StatusCode, u32, &'static str);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error_code": self.1, "message": self.2 }))).into_response()
    }
}

impl Store {
    fn register(&mut self, subject: String, body: RegisterBody) -> Result<usize, Refusal> {
        const INVALID: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;
        if body.schema_type.is_some_and(|kind| kind != "AVRO") {
            return Err(Refusal(INVALID, 42201, "Only AVRO schemas are kept here"));
        }
        let parsed = serde_json::from_str(&body.schema).map_err(|_| Refusal(INVALID, 42201, "Invalid schema"))?;
        let known = self.schemas.iter().position(|schema| schema.parsed == parsed);
        let versions: usize = self.subjects.values().map(Vec::len).sum();
        if versions >= MAX_VERSIONS || (known.is_none() && self.schemas.len() >= MAX_SCHEMAS) {
            return Err(Refusal(StatusCode::INSUFFICIENT_STORAGE, 50001, "The registry is full"));
        }
        let index = known.unwrap_or_else(|| {
            self.schemas.push(Schema {
                text: body.schema,
                parsed,
            });
            self.schemas.len() - 1
        });
        let ids = self.subjects.entry(subject).or_default();
        let id = index + 1;
        if !ids.contains(&id) {
            ids.push(id);
        }
        Ok(id)
    }
}

fn lock(store: &Shared) -> MutexGuard<'_, Store> {
    // A panic between two field changes is impossible: each handler changes the store in one go.
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn subjects(State(store): State<Shared>) -> Json<Vec<String>> {
    Json(lock(&store).subjects.keys().cloned().collect())
}

async fn register(
    State(store): State<Shared>,
    Path(subject): Path<String>,
    body: axum::body::Bytes,
) -> Result<Response, Refusal> {
    // Read by hand: the API's own media type is not one that axum's Json takes.
    let body: RegisterBody = serde_json::from_slice(&body).map_err(|_| {
        Refusal(
            StatusCode::UNPROCESSABLE_ENTITY,
            42201,
            "The body is not a schema request",
        )
    })?;
    let id = lock(&store).register(subject, body)?;
    Ok(Json(json!({ "id": id })).into_response())
}

async fn versions(State(store): State<Shared>, Path(subject): Path<String>) -> Result<Response, Refusal> {
    let store = lock(&store);
    let ids = store.subjects.get(&subject).ok_or(SUBJECT_NOT_FOUND)?;
    Ok(Json((1..=ids.len()).collect::<Vec<_>>()).into_response())
}

async fn latest(State(store): State<Shared>, Path(subject): Path<String>) -> Result<Response, Refusal> {
    let store = lock(&store);
    let ids = store.subjects.get(&subject).ok_or(SUBJECT_NOT_FOUND)?;
    let found = ids
        .last()
        .and_then(|id| store.schemas.get(id - 1).map(|schema| (*id, schema)));
    let (id, schema) = found.ok_or(Refusal(StatusCode::NOT_FOUND, 40402, "Version not found."))?;
    let answer = VersionAnswer {
        subject: &subject,
        version: ids.len(),
        id,
        schema: &schema.text,
    };
    Ok(Json(answer).into_response())
}

async fn schema_by_id(State(store): State<Shared>, Path(id): Path<String>) -> Result<Response, Refusal> {
    let store = lock(&store);
    let index = id.parse::<usize>().ok().and_then(|id| id.checked_sub(1));
    let schema = index
        .and_then(|index| store.schemas.get(index))
        .ok_or(SCHEMA_NOT_FOUND)?;
    Ok(Json(json!({ "schema": schema.text })).into_response())
}

const SUBJECT_NOT_FOUND: Refusal = Refusal(StatusCode::NOT_FOUND, 40401, "Subject not found.");
const SCHEMA_NOT_FOUND: Refusal = Refusal(StatusCode::NOT_FOUND, 40403, "Schema not found");
