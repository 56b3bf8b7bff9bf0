//! Asking a node instead of reading tables and Kafka: the options of every command that can.

use clap::ValueHint;

use crate::cli::Global;
use crate::client::NodeClient;
use crate::config::{Config, Flags, Part};
use crate::exit::Failure;

/// Options of every command that can ask a node.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Asking a node")]
pub struct EndpointArgs {
    /// Ask the node that serves gRPC there [default: client.endpoint, else tables and Kafka are read]
    #[arg(long, value_name = "HOST:PORT|URL")]
    endpoint: Option<String>,
    /// File of the token to show
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "token")]
    token_file: Option<String>,
    /// The token itself; other users of this machine may see it: better a file, or TAPEHOUSE__CLIENT__TOKEN
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Certificate authority of the node [default: client.ca, else the system's]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    ca: Option<String>,
}

/// Where answers come from.
pub enum Answers {
    /// From a node.
    Node(NodeClient),
    /// From tables and Kafka, as this configuration names them.
    Here(Box<Config>),
}

impl EndpointArgs {
    /// What the flags say about the configuration.
    pub fn flags(&self, global: &Global) -> Flags {
        let mut flags = global.flags();
        let set = [
            ("client.endpoint", &self.endpoint),
            ("client.token_file", &self.token_file),
            ("client.token", &self.token),
            ("client.ca", &self.ca),
        ];
        for (key, value) in set {
            flags.set.extend(value.clone().map(|value| (key.to_owned(), value)));
        }
        flags
    }

    /// Connects to the node that is to be asked. Without one, `parts` of the configuration are needed.
    ///
    /// # Errors
    /// Bad configuration; a node that does not answer.
    pub async fn answers(&self, global: &Global, parts: &[Part]) -> Result<Answers, Failure> {
        let flags = self.flags(global);
        let config = Config::load(&flags, &[])?;
        super::quiet_logs(&config);
        match &config.client {
            Some(client) => NodeClient::connect(client).await.map(Answers::Node),
            None => Ok(Answers::Here(Box::new(Config::load(&flags, parts)?))),
        }
    }
}
