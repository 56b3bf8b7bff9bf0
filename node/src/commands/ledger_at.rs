//! Where a command finds the ledger of runs: at the node that is named, at the one that runs with this state folder, or else in the file.

use std::time::{Duration, Instant};

use tapehouse_actors::{LedgerError, RunLedger};
use tapehouse_lake::Lake;
use tapehouse_proto::v1;

use super::EndpointArgs;
use super::endpoint::Answers;
use super::graph::graph;
use crate::beacon;
use crate::cli::Global;
use crate::client::NodeClient;
use crate::config::{Config, Part};
use crate::connect::{lake_failure, lake_settings};
use crate::exit::Failure;
use crate::runs;

/// Longest wait for a ledger that somebody has who cannot be asked.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The ledger.
pub(super) enum LedgerAt {
    /// A node has it.
    Node(NodeClient),
    /// No node runs.
    File(Box<(RunLedger, Config)>),
}

impl LedgerAt {
    /// Finds it.
    ///
    /// # Errors
    /// Bad configuration; a node that does not answer; a state folder with which no node has run.
    pub(super) async fn find(node: &EndpointArgs, global: &Global) -> Result<Self, Failure> {
        let config = match node.answers(global, &[Part::Lake]).await? {
            Answers::Node(client) => return Ok(Self::Node(client)),
            Answers::Here(config) => *config,
        };
        let folder = config.state_dir.join("ledger");
        let patience = Instant::now() + PATIENCE;
        loop {
            match beacon::node(&config.state_dir).await {
                Ok(Some(client)) => return Ok(Self::Node(client)),
                Ok(None) => {}
                Err(why) => return Err(Failure::unreachable(why).code("node_unreachable")),
            }
            if !folder.exists() {
                let message = format!("no node has run with the state folder {}", config.state_dir.display());
                let failure = Failure::failed(message).code("state_dir");
                return Err(failure.hint("--state-dir names another one, --endpoint a node"));
            }
            match RunLedger::open(&config.state_dir, &config.node, config.run_limits) {
                Ok(ledger) => return Ok(Self::File(Box::new((ledger, config)))),
                // A node that starts has it before it answers; another command has it for a moment.
                Err(LedgerError::InUse(_)) if Instant::now() < patience => {}
                Err(error @ LedgerError::InUse(_)) => {
                    return Err(Failure::failed(error)
                        .code("state_dir")
                        .hint("--endpoint asks the node"));
                }
                Err(error) => return Err(Failure::failed(error).code("state_dir")),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The node.
    ///
    /// # Errors
    /// Where none runs.
    pub(super) fn node(&self) -> Result<&NodeClient, Failure> {
        match self {
            Self::Node(client) => Ok(client),
            Self::File(_) => Err(Failure::unreachable("no node runs with this state folder")
                .code("node_unreachable")
                .hint("start one, or name one with --endpoint")),
        }
    }

    /// Whether a node has it, that computes what is entered.
    pub(super) fn is_at_a_node(&self) -> bool {
        matches!(self, Self::Node(_))
    }

    pub(super) async fn runs(&self, request: v1::ListRunsRequest) -> Result<v1::ListRunsResponse, Failure> {
        match self {
            Self::Node(client) => client.list_runs(request).await,
            Self::File(file) => runs::list(&file.0, &request),
        }
    }

    pub(super) async fn run(&self, id: u64) -> Result<v1::Run, Failure> {
        match self {
            Self::Node(client) => there(client.get_run(id).await?),
            Self::File(file) => runs::get(&file.0, id),
        }
    }

    pub(super) async fn retry(&self, id: u64) -> Result<v1::Run, Failure> {
        match self {
            Self::Node(client) => there(client.retry_run(id).await?),
            Self::File(file) => runs::retry(&file.0, id),
        }
    }

    pub(super) async fn cancel(&self, id: u64) -> Result<v1::Run, Failure> {
        match self {
            Self::Node(client) => there(client.cancel_run(id).await?),
            Self::File(file) => runs::cancel(&file.0, id),
        }
    }

    pub(super) async fn create(
        &self,
        request: v1::CreateBackfillRequest,
    ) -> Result<v1::CreateBackfillResponse, Failure> {
        let (ledger, config) = match self {
            Self::Node(client) => return client.create_backfill(request).await,
            Self::File(file) => &**file,
        };
        let lake = Lake::open_existing(lake_settings(config)?).await;
        let lake = lake.map_err(|error| lake_failure(&error))?;
        runs::create(ledger, &lake, &graph(&config.topics), &request).await
    }

    pub(super) async fn backfills(&self) -> Result<Vec<v1::Backfill>, Failure> {
        match self {
            Self::Node(client) => client.list_backfills().await,
            Self::File(file) => runs::backfills(&file.0),
        }
    }

    pub(super) async fn backfill(&self, id: &str) -> Result<v1::Backfill, Failure> {
        match self {
            Self::Node(client) => there(client.get_backfill(id.to_owned()).await?),
            Self::File(file) => runs::backfill(&file.0, id),
        }
    }

    pub(super) async fn pause(&self, id: &str, is_paused: bool) -> Result<v1::Backfill, Failure> {
        match self {
            Self::Node(client) => there(client.pause_backfill(id.to_owned(), is_paused).await?),
            Self::File(file) => runs::pause(&file.0, id, is_paused),
        }
    }

    pub(super) async fn cancel_backfill(&self, id: &str) -> Result<v1::Backfill, Failure> {
        match self {
            Self::Node(client) => there(client.cancel_backfill(id.to_owned()).await?),
            Self::File(file) => runs::cancel_backfill(&file.0, id),
        }
    }
}

fn there<T>(answer: Option<T>) -> Result<T, Failure> {
    answer.ok_or_else(|| Failure::failed("the node's answer is empty: it is of another version"))
}
