//! The real binary, from the outside: one test binary, so that it is linked once.
#![allow(clippy::unwrap_used, reason = "helpers of tests: a panic is how a test fails")]

mod command_line;
mod configuration;
mod demo;
mod documentation;
mod grpc;
mod metrics;
mod support;
