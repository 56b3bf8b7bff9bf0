//! Tests against a real broker and a real registry; one pair of servers for all of them.

mod bad_input;
mod config_schema;
mod damage;
mod disks;
mod doctor;
mod evolution;
mod growth;
mod lifecycle;
mod loss;
mod memory;
mod outage;
mod pressure;
mod recreated;
mod schemas;
mod support;
mod topics;
mod transactions;
