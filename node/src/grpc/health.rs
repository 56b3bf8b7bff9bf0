//! `grpc.health.v1.Health`: whether the node does its work.

use std::sync::Arc;
use std::time::Duration;

use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::source::Source;
use crate::pipeline::not_ready;

/// How often the node's state is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The node as a whole, and each service.
const SERVICES: [&str; 4] = [
    "",
    "tapehouse.v1.Cluster",
    "tapehouse.v1.Offsets",
    "tapehouse.v1.Tables",
];

/// Sets every service's status.
pub async fn set(reporter: &HealthReporter, status: ServingStatus) {
    for service in SERVICES {
        reporter.set_service_status(service, status).await;
    }
}

/// Reports until the node drains, which it reports at once and last.
pub async fn report(reporter: HealthReporter, source: Arc<Source>) {
    let mut reported = ServingStatus::NotServing;
    let mut tick = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            () = source.drained() => {
                set(&reporter, ServingStatus::NotServing).await;
                return;
            }
            _ = tick.tick() => {}
        }
        let status = match not_ready(&source.progress()) {
            None => ServingStatus::Serving,
            Some(_) => ServingStatus::NotServing,
        };
        // Watchers are told of changes only.
        if status != reported {
            set(&reporter, status).await;
            reported = status;
        }
    }
}
