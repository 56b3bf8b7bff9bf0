//! `tapehouse.v1.Cluster`

use std::sync::Arc;

use tapehouse_actors::{SilverProgress, TopicProgress};
use tapehouse_proto::v1;
use tapehouse_proto::v1::cluster_server::Cluster;
use tonic::{Request, Response, Status};

use super::live;
use super::source::Source;
use crate::answer::timestamp;
use crate::pipeline::not_ready;

/// The service.
pub struct ClusterService(pub Arc<Source>);

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn get_cluster(&self, _: Request<v1::GetClusterRequest>) -> Result<Response<v1::GetClusterResponse>, Status> {
        let (identity, progress) = (&self.0.identity, self.0.progress());
        let reason = not_ready(&progress);
        let health = match (&reason, self.0.is_draining()) {
            (_, true) => v1::NodeHealth::Draining,
            (Some(_), false) => v1::NodeHealth::NotReady,
            (None, false) => v1::NodeHealth::Ready,
        };
        let node = v1::Node {
            id: identity.node.clone(),
            grpc_address: identity.grpc_address.to_string(),
            http_address: identity.http_address.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            start_time: Some(timestamp(identity.started_ms)),
            run_id: identity.run_id.clone(),
            health: health.into(),
            health_reason: reason.unwrap_or_default(),
            topics: progress.topics.iter().map(topic).collect(),
            silver: progress.silver.iter().map(silver).collect(),
        };
        Ok(Response::new(v1::GetClusterResponse {
            name: identity.cluster.clone(),
            nodes: vec![node],
        }))
    }
}

fn topic(progress: &TopicProgress) -> v1::NodeTopic {
    v1::NodeTopic {
        topic: progress.topic.clone(),
        table: progress.table.clone(),
        pipeline: Some(live::pipeline(&progress.state)),
        rows_committed: progress.rows_committed,
        undecodable_rows: progress.undecodable,
        commits: progress.commits,
        last_commit_time: progress.last_commit_ms.map(timestamp),
        freshness: live::freshness(&progress.freshness),
    }
}

fn silver(progress: &SilverProgress) -> v1::NodeSilver {
    v1::NodeSilver {
        table: progress.table.clone(),
        source: progress.source.clone(),
        pipeline: Some(live::pipeline(&progress.state)),
        input: progress.rows.input,
        written: progress.rows.written,
        deduplicated: progress.rows.deduplicated,
        dropped: progress.rows.dropped,
        quarantined: progress.rows.quarantined,
        commits: progress.commits,
        rows: progress.table_rows,
        last_commit_time: progress.last_commit_ms.map(timestamp),
        freshness: live::freshness(&progress.freshness),
    }
}
