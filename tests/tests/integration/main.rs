//! Tests against a real broker and a real registry; one pair of servers for all of them.

mod bad_input;
mod config_schema;
mod damage;
mod doctor;
mod evolution;
mod foreign;
mod growth;
mod grpc;
mod lifecycle;
mod loss;
mod outage;
mod recreated;
mod repair;
mod schemas;
mod support;
mod topics;
mod transactions;
