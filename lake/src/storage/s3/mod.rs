//! Files in S3, through the crate `object_store`: requests are signed, timed out, and retried with backoff there.

mod client;
mod clock;
mod fault;
mod files;
mod upload;

pub(super) use client::S3Clients;
pub use files::S3Storage;
