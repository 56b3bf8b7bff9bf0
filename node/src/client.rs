//! A command asks a node instead of reading tables and Kafka itself.

mod runs;

use std::path::Path;
use std::time::Duration;

use tapehouse_core::codes;
use tapehouse_proto::v1;
use tapehouse_proto::v1::cluster_client::ClusterClient;
use tapehouse_proto::v1::offsets_client::OffsetsClient;
use tapehouse_proto::v1::tables_client::TablesClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};

use crate::config::{Client, ClientToken, ConfigError, Fault};
use crate::exit::{Exit, Failure, chain};
use crate::grpc::{CODE_KEY, HINT_KEY};

/// Largest answer that is read.
const ANSWER_MAX_BYTES: usize = 64 << 20;
/// Pages of one list; more come from a node that makes no sense.
const PAGES_MAX: usize = 10_000;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to a node.
pub struct NodeClient {
    channel: InterceptedService<Channel, Bearer>,
    endpoint: String,
}

/// Shows the token with each request.
#[derive(Clone)]
struct Bearer(Option<MetadataValue<Ascii>>);

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

impl NodeClient {
    /// Connects.
    ///
    /// # Errors
    /// Files that cannot be used; a node that does not answer.
    pub async fn connect(config: &Client) -> Result<Self, Failure> {
        let invalid = |error: tonic::transport::Error| {
            ConfigError::from(Fault::new("client.endpoint", chain(&error)).example("--endpoint https://node-1:50051"))
        };
        let mut endpoint = Endpoint::from_shared(config.endpoint.clone())
            .map_err(invalid)?
            .connect_timeout(CONNECT_TIMEOUT.min(config.timeout))
            .timeout(config.timeout);
        if config.endpoint.starts_with("https://") {
            endpoint = endpoint.tls_config(tls(config)?).map_err(invalid)?;
        }
        let bearer = Bearer(config.token.as_ref().map(authorization).transpose()?);
        let channel = endpoint
            .connect()
            .await
            .map_err(|error| unreachable(&config.endpoint, chain(&error)))?;
        Ok(Self {
            channel: InterceptedService::new(channel, bearer),
            endpoint: config.endpoint.clone(),
        })
    }

    /// Every topic that `topics` mean, or all.
    ///
    /// # Errors
    /// A refused request; a node that does not answer.
    pub async fn offsets(&self, topics: &[String]) -> Result<v1::ListOffsetsResponse, Failure> {
        let mut client = OffsetsClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_MAX_BYTES);
        let mut whole = v1::ListOffsetsResponse::default();
        for _ in 0..PAGES_MAX {
            let request = v1::ListOffsetsRequest {
                topics: topics.to_vec(),
                page_size: 0,
                page_token: whole.next_page_token,
            };
            let page = client
                .list_offsets(request)
                .await
                .map_err(|status| self.failure(&status))?;
            let page = page.into_inner();
            whole.cluster = page.cluster;
            whole.topics.extend(page.topics);
            whole.next_page_token = page.next_page_token;
            if whole.next_page_token.is_empty() {
                break;
            }
        }
        Ok(whole)
    }

    /// Every table.
    ///
    /// # Errors
    /// A refused request; a node that does not answer.
    pub async fn tables(&self) -> Result<Vec<v1::Table>, Failure> {
        let mut client = TablesClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_MAX_BYTES);
        let (mut tables, mut page_token) = (Vec::new(), String::new());
        for _ in 0..PAGES_MAX {
            let request = v1::ListTablesRequest {
                page_size: 0,
                page_token,
            };
            let page = client
                .list_tables(request)
                .await
                .map_err(|status| self.failure(&status))?;
            let page = page.into_inner();
            tables.extend(page.tables);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        Ok(tables)
    }

    /// The cluster.
    ///
    /// # Errors
    /// A refused request; a node that does not answer.
    pub async fn cluster(&self) -> Result<v1::GetClusterResponse, Failure> {
        let mut client = ClusterClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_MAX_BYTES);
        let answer = client.get_cluster(v1::GetClusterRequest {}).await;
        answer
            .map(tonic::Response::into_inner)
            .map_err(|status| self.failure(&status))
    }

    /// A refused request, with the code and the way out that the node names.
    fn failure(&self, status: &Status) -> Failure {
        let text = |key: &str| status.metadata().get(key).and_then(|value| value.to_str().ok());
        let code = text(CODE_KEY).and_then(codes::find).map(|code| code.name);
        let exit = match status.code() {
            Code::Unavailable | Code::DeadlineExceeded | Code::Unauthenticated | Code::PermissionDenied => {
                Exit::Unreachable
            }
            _ => Exit::Failed,
        };
        match code {
            Some(code) => {
                let failure = Failure::with(exit, format!("{}: {}", self.endpoint, status.message())).code(code);
                match text(HINT_KEY) {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                }
            }
            // What no node of ours has said: the connection broke, or something else listens there.
            None => unreachable(&self.endpoint, format!("{:?}: {}", status.code(), status.message())),
        }
    }
}

fn unreachable(endpoint: &str, reason: String) -> Failure {
    let hint = "is the node running, is this its grpc.listen? With TLS: https://, and --ca";
    Failure::unreachable(format!("no node answers at {endpoint}: {reason}"))
        .code("node_unreachable")
        .hint(hint)
}

fn tls(config: &Client) -> Result<ClientTlsConfig, ConfigError> {
    let mut tls = ClientTlsConfig::new();
    tls = match &config.ca {
        Some(ca) => tls.ca_certificate(Certificate::from_pem(read("client.ca", ca)?)),
        None => tls.with_native_roots(),
    };
    if let Some((certificate, key)) = &config.identity {
        let certificate = read("client.certificate", certificate)?;
        tls = tls.identity(Identity::from_pem(certificate, read("client.key", key)?));
    }
    Ok(tls)
}

fn authorization(token: &ClientToken) -> Result<MetadataValue<Ascii>, ConfigError> {
    let (key, text) = match token {
        ClientToken::Value(secret) => ("client.token", secret.reveal().to_owned()),
        ClientToken::File(file) => ("client.token_file", read("client.token_file", file)?),
    };
    let value = format!("Bearer {}", text.trim()).parse::<MetadataValue<Ascii>>();
    // The reason must not repeat the token.
    let mut value = value.map_err(|_| Fault::new(key, "is no token: it holds other characters than visible ASCII"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn read(key: &str, path: &Path) -> Result<String, ConfigError> {
    let read = std::fs::read_to_string(path);
    read.map_err(|error| Fault::new(key, format!("{} cannot be read: {error}", path.display())).into())
}
