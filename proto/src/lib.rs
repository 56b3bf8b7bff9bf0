//! The gRPC interface `tapehouse.v1`: generated code, nothing else.

/// Messages, clients and servers.
#[allow(missing_docs, clippy::all)]
pub mod v1 {
    tonic::include_proto!("tapehouse.v1");
}
