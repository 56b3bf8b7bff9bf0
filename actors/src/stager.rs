//! The way of one set from its cut to the table: files are closed and written while Kafka confirms which topic they are of.

use std::sync::Arc;
use std::time::Instant;

use iceberg::spec::DataFile;
use tapehouse_core::append::AppendRequest;
use tapehouse_core::failpoint;
use tapehouse_core::identity::TopicIdentity;
use tapehouse_kafka::identity::Identities;
use tapehouse_lake::Lake;
use tapehouse_lake::files::write_file;
use tokio::sync::oneshot;

use crate::bronze::OpenSet;
use crate::committer::{Request, Staged};
use crate::failure::Failure;
use crate::mailbox::{Closed, Mailbox};
use crate::pool::CpuPool;
use crate::topic_memory::Held;

/// Closes, writes and commits one set.
pub(crate) struct Stager {
    pub(crate) lake: Lake,
    pub(crate) pool: CpuPool,
    pub(crate) committer: Mailbox<Request>,
    pub(crate) topic: String,
    pub(crate) incarnation: i32,
    pub(crate) owner: String,
    pub(crate) identities: Identities,
    /// What the topic was before its first record was read.
    pub(crate) identity: TopicIdentity,
    pub(crate) run_id: Arc<str>,
    pub(crate) asset_seconds: prometheus::Histogram,
    /// Account of the bytes that are encoded and not yet written.
    pub(crate) staged: prometheus::IntGauge,
    pub(crate) location: String,
    pub(crate) spec_id: i32,
    pub(crate) schema_id: i32,
}

impl Stager {
    /// Runs to the end of the commit.
    pub(crate) async fn stage(self, open: OpenSet) -> Result<(), Failure> {
        let started = Instant::now();
        // The ids are asked for after the last record was fetched. Ids never come back: if they still are what they were before
        // the first record, every record of the set is of that very topic.
        let (identity, written) = tokio::join!(self.confirm(), self.write(open));
        let (identity, (open, files)) = (identity?, written?);
        failpoint::reach("after_file_write");
        let staged = Staged {
            files,
            request: AppendRequest {
                topic: self.topic,
                incarnation: self.incarnation,
                owner: self.owner,
                identity,
                ranges: open.ranges,
            },
            schema_id: self.schema_id,
            rows: open.rows,
            bytes: open.bytes,
            undecodable: open.undecodable,
            produced_at: open.produced_at,
            event_time_span_us: open.event_time_span_us,
            run_id: self.run_id,
        };
        failpoint::reach("before_staging");
        let (answer, committed) = oneshot::channel();
        self.committer.send(Request::Append(Box::new(staged), answer)).await?;
        failpoint::reach("after_staging");
        let outcome = committed.await.map_err(|_| Closed)?;
        self.asset_seconds.observe(started.elapsed().as_secs_f64());
        outcome
    }

    /// Asks Kafka whether the topic is still the one that was read.
    async fn confirm(&self) -> Result<TopicIdentity, Failure> {
        let observed = self.identities.observe(&self.topic).await?;
        if failpoint::defence_is_off("topic_identity") {
            return Ok(self.identity.clone());
        }
        match self.identity.check(&observed) {
            Ok(()) => Ok(observed),
            Err(mismatch) => Err(Failure::TopicChanged {
                topic: self.topic.clone(),
                mismatch,
            }),
        }
    }

    /// Closes the files and writes them, durably.
    async fn write(&self, mut open: OpenSet) -> Result<(OpenSet, Vec<DataFile>), Failure> {
        let (mut open, encoded) = self
            .pool
            .run(move || {
                let encoded = open.finish_files();
                (open, encoded)
            })
            .await?;
        let encoded = encoded?;
        let held = Held::of(&encoded, open.lease.take(), self.staged.clone());
        failpoint::reach("before_file_write");
        let mut files = Vec::new();
        for file in encoded {
            files.push(write_file(self.lake.warehouse(), &self.location, self.spec_id, file).await?);
        }
        drop(held);
        Ok((open, files))
    }
}
