//! The gRPC server of a node: `tapehouse.v1`, health and reflection, behind one gate.

mod access;
mod cluster;
mod gate;
mod health;
pub(crate) mod live;
mod logs;
mod metrics;
mod offsets;
mod page;
mod refusal;
mod runs;
mod schedules;
mod server;
mod source;
mod tables;

use std::net::SocketAddr;

pub use access::Guard;
pub use gate::Gate;
pub use logs::Logs;
pub use refusal::{CODE_KEY, HINT_KEY};
pub use server::{GrpcListener, GrpcServer, service};
pub use source::Source;

/// Who answers.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of this node.
    pub node: String,
    /// Id of this process's run.
    pub run_id: String,
    /// When the process started, in milliseconds since 1970-01-01 UTC.
    pub started_ms: i64,
    /// Where this interface is served.
    pub grpc_address: SocketAddr,
    /// Where metrics are served.
    pub http_address: SocketAddr,
}
