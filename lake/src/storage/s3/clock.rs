//! The clock of the S3 server.

use std::time::Duration;

use reqwest::Client;
use reqwest::redirect::Policy;
use tapehouse_core::clock::Sighting;

use super::client::S3Clients;
use crate::http_clock;
use crate::storage::error::{StorageError, StorageProblem};
use crate::storage::settings::S3Settings;

/// Longest wait for the answer.
const TIMEOUT: Duration = Duration::from_secs(5);

impl S3Clients {
    /// A look at the server's clock; `None` where it tells none. The request is not signed: that it is refused does not matter.
    pub(in crate::storage) async fn clock(&self) -> Result<Option<Sighting>, StorageError> {
        let endpoint = endpoint(self.settings());
        let failed = |error: reqwest::Error| {
            let problem = StorageProblem::Unreachable(error.without_url().to_string());
            StorageError::new("asking the time of", &endpoint, problem)
        };
        let client = self.clock_client().await.map_err(failed)?;
        http_clock::look(client.head(&endpoint)).await.map_err(failed)
    }
}

/// The client that asks: its connections are its own.
pub(super) fn client(settings: &S3Settings) -> Result<Client, reqwest::Error> {
    let mut builder = Client::builder()
        .timeout(TIMEOUT.min(settings.timeout))
        .redirect(Policy::none());
    if settings.is_on_this_machine() {
        // A proxy set in the environment cannot reach this machine's own ports.
        builder = builder.no_proxy();
    }
    builder.build()
}

fn endpoint(settings: &S3Settings) -> String {
    match &settings.endpoint {
        Some(endpoint) => endpoint.clone(),
        None => format!("https://s3.{}.amazonaws.com/", settings.region()),
    }
}
