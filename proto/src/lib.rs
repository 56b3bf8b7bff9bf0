//! The gRPC interface `tapehouse.v1`: generated code, nothing else.

/// Messages, clients and servers.
#[allow(missing_docs, clippy::all)]
pub mod v1 {
    tonic::include_proto!("tapehouse.v1");
}

/// Every .proto file with its comments, encoded as `google.protobuf.FileDescriptorSet`: what reflection serves.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("tapehouse.v1");
