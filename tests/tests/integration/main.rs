//! Tests against a real broker and a real registry; one pair of servers for all of them.

mod bad_input;
mod clock;
mod config_schema;
mod damage;
mod disks;
mod doctor;
mod evolution;
mod explain;
mod foreign;
mod growth;
mod grpc;
mod lifecycle;
mod logs;
mod loss;
mod memory;
mod outage;
mod pressure;
mod recreated;
mod repair;
mod schemas;
mod secure_kafka;
mod secure_registry;
mod status;
mod support;
mod topics;
mod transactions;
