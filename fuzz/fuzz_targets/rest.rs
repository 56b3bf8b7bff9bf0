//! What a REST catalog answers, and metadata files: whatever comes is refused with its cause, or is a table that can be looked at
//! and committed to without harm.
//!
//! The input is a list of answers, separated by zeros. The first byte of each says what it is an answer to.
#![no_main]

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use async_trait::async_trait;
use libfuzzer_sys::fuzz_target;
use reqwest::Client;
use tapehouse_core::append::AppendRequest;
use tapehouse_core::offsets::{OffsetRange, Ranges};
use tapehouse_lake::catalog::{CommitBackend, Creation, Pointer, RestAnswers, Swap, SwapError};
use tapehouse_lake::table::parse_metadata;
use tapehouse_lake::{Lake, LakeError, LoadedTable, S3Settings, StagedAppend, TableName, Warehouse};
use tokio::runtime::Runtime;
use uuid::Uuid;

/// Files of commits are removed after so many.
const COMMITS_KEPT: u32 = 500;

/// A catalog that shows one version of a table and takes no commit: the answer that it gave is what is looked at.
#[derive(Debug)]
struct OneVersion(Pointer);

#[async_trait]
impl CommitBackend for OneVersion {
    fn writes_metadata(&self) -> bool {
        true
    }

    async fn load(&self, _: &TableName) -> Result<Option<Pointer>, LakeError> {
        Ok(Some(self.0.clone()))
    }

    async fn create(&self, _: &Creation<'_>) -> Result<Option<Pointer>, LakeError> {
        Ok(None)
    }

    async fn swap(&self, swap: &Swap<'_>) -> Result<Pointer, SwapError> {
        // What would be sent is written down, as the client does.
        serde_json::to_vec(&(swap.requirements, swap.updates)).expect("a commit can be written");
        Err(SwapError::Failed(LakeError::NoSuchTable(swap.table.clone())))
    }

    async fn list(&self) -> Result<Vec<TableName>, LakeError> {
        Ok(Vec::new())
    }
}

struct Ground {
    runtime: Runtime,
    http: Client,
    /// Seeds name it as the place of their tables.
    folder: &'static str,
    warehouse: Warehouse,
    table: TableName,
    commits: Mutex<u32>,
}

static GROUND: LazyLock<Ground> = LazyLock::new(|| {
    let folder = "/dev/shm/tapehouse-fuzz";
    Ground {
        runtime: tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime"),
        http: Client::new(),
        folder,
        warehouse: Warehouse::at(folder, &S3Settings::default()).expect("a folder is a warehouse"),
        table: "bronze.raw_trades".parse().expect("a table's name"),
        commits: Mutex::new(0),
    }
});

impl Ground {
    /// Looks at a version of the table, and commits to it.
    fn use_version(&self, pointer: Pointer) {
        self.runtime.block_on(async {
            let lake = Lake::with_backend(Arc::new(OneVersion(pointer)), self.warehouse.clone());
            let Ok(Some(table)) = lake.load(&self.table).await else { return };
            let state = table.stream_state();
            drop((table.summary(), table.history(10), table.snapshots().len(), table.state_hints()));
            drop(table.manifests(&lake.io_of(&table)).await);
            if let Ok(state) = state {
                let next = state.next.get(&0).copied().unwrap_or_default();
                let Some(end) = next.checked_add(5) else { return };
                let request = AppendRequest {
                    topic: state.topic,
                    incarnation: state.incarnation,
                    owner: state.owner,
                    identity: Default::default(),
                    ranges: Ranges([(0, OffsetRange::new(next, end))].into()),
                };
                drop(lake.append(&self.table, &staged(&table, request)).await);
                self.tidy();
            }
        });
    }

    fn tidy(&self) {
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        *commits += 1;
        if *commits % COMMITS_KEPT == 0 {
            // Absent, or in use by nobody: whatever the outcome, the next commit makes its folders anew.
            let _ = std::fs::remove_dir_all(self.folder);
        }
    }
}

fn staged(table: &LoadedTable, request: AppendRequest) -> StagedAppend {
    StagedAppend {
        files: Vec::new(),
        request,
        summary: Default::default(),
        commit_id: Uuid::new_v4(),
        schema_id: table.metadata().current_schema_id(),
    }
}

fuzz_target!(|data: &[u8]| {
    let ground = &*GROUND;
    let client = || RestAnswers::new("https://catalog.example/iceberg", ground.http.clone());
    let mut rest = client().expect("a catalog's URL");
    // Compressed metadata holds zeros: it stands alone.
    if let Some((b'Z', content)) = data.split_first() {
        if let Ok(metadata) = parse_metadata(content) {
            ground.use_version(Pointer {
                metadata_location: format!("{}/t/metadata/1-a.metadata.json", ground.folder),
                metadata: Some(Box::new(metadata)),
            });
        }
        return;
    }
    for answer in data.split(|byte| *byte == 0).take(16) {
        let Some((kind, body)) = answer.split_first() else { continue };
        match kind {
            b'C' => match rest.configured(body) {
                Ok(configured) => rest = configured,
                Err(_) => return,
            },
            b'K' => drop(rest.token(body)),
            b'T' => {
                if let Ok(pointer) = rest.table(&ground.table, body) {
                    ground.use_version(pointer);
                }
            }
            b'N' => {
                if let Err(error) = rest.namespaces(body) {
                    assert!(error.to_string().chars().count() < 700);
                }
            }
            b'L' => drop(rest.tables(body)),
            b'M' => drop(parse_metadata(body)),
            // The first two bytes are the status.
            b'E' => {
                if let Some((status, body)) = body.split_first_chunk() {
                    let refusal = rest.refusal(u16::from_be_bytes(*status) % 1000, body);
                    if let Some(refusal) = refusal {
                        assert!(refusal.to_string().chars().count() < 700);
                        let _ = refusal.is_retryable();
                    }
                }
            }
            _ => {}
        }
    }
});
