//! What the services answer from: the node's progress, its tables, its topics' logs. Never in the way of the ingest: what reads
//! runs on threads for that, few at once, and many who ask the same share one look.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tapehouse_actors::{NodeProgress, RunLedger, Schedules};
use tapehouse_core::clock::now_ms;
use tapehouse_lake::Lake;
use tapehouse_proto::v1;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Semaphore, watch};

use super::logs::Logs;
use super::refusal::{Reason, Refusal};
use super::{Identity, live};
use crate::config::Topic;
use crate::silver_answer;
use crate::view::{Reader, look_at_tables};

/// A look at the offsets is good for this long.
const LOOK_KEPT: Duration = Duration::from_millis(250);
/// Reads of tables at once.
const READS_MAX: usize = 4;
/// Watchers at once.
const WATCHERS_MAX: usize = 64;

/// Reads the node's progress.
pub type ReadProgress = Box<dyn Fn() -> NodeProgress + Send + Sync>;

type Look = Result<Arc<Vec<v1::TopicOffsets>>, Refusal>;

/// The source of all answers.
pub struct Source {
    /// Who answers.
    pub identity: Identity,
    /// The runs.
    pub ledger: RunLedger,
    /// What is done at a time of day.
    pub schedules: Schedules,
    topics: Vec<Topic>,
    lake: Lake,
    logs: Logs,
    progress: ReadProgress,
    draining: watch::Receiver<bool>,
    look: Mutex<Option<(Instant, Look)>>,
    reads: Arc<Semaphore>,
    /// Permits of watchers.
    pub watchers: Arc<Semaphore>,
}

impl Source {
    /// `draining` turns true when the node stops.
    pub fn new(
        identity: Identity,
        topics: Vec<Topic>,
        (lake, ledger, schedules): (Lake, RunLedger, Schedules),
        logs: Logs,
        progress: ReadProgress,
        draining: watch::Receiver<bool>,
    ) -> Self {
        Self {
            identity,
            ledger,
            schedules,
            topics,
            lake,
            logs,
            progress,
            draining,
            look: Mutex::default(),
            reads: Arc::new(Semaphore::new(READS_MAX)),
            watchers: Arc::new(Semaphore::new(WATCHERS_MAX)),
        }
    }

    /// The topics of the configuration.
    pub fn topics(&self) -> &[Topic] {
        &self.topics
    }

    /// The lake.
    pub fn lake(&self) -> &Lake {
        &self.lake
    }

    /// What the node's pipelines do, from memory.
    pub fn progress(&self) -> NodeProgress {
        (self.progress)()
    }

    /// Whether the node stops.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Waits until the node stops.
    pub async fn drained(&self) {
        let _ = self.draining.clone().wait_for(|draining| *draining).await;
    }

    /// The topics that `words` mean, by their place; all of them without words.
    ///
    /// # Errors
    /// `no_such_topic`.
    pub fn topics_meant(&self, words: &[String]) -> Result<Vec<usize>, Refusal> {
        let unknown = |word: &&String| !self.topics.iter().any(|topic| topic.is_meant_by(word));
        if let Some(word) = words.iter().find(unknown) {
            let word: String = word.chars().take(100).collect();
            let message = format!("this node reads no topic `{word}`");
            return Err(Refusal::new(Reason::NoSuchTopic, message));
        }
        let is_meant = |topic: &Topic| words.is_empty() || words.iter().any(|word| topic.is_meant_by(word));
        let all = self.topics.iter().enumerate();
        Ok(all
            .filter(|(_, topic)| is_meant(topic))
            .map(|(place, _)| place)
            .collect())
    }

    /// Every topic, in the order of the configuration. Whoever asks at the same time shares one look; a failure is shared too.
    ///
    /// # Errors
    /// Tables that cannot be read.
    pub async fn offsets(self: &Arc<Self>) -> Look {
        let mut kept = self.look.lock().await;
        if let Some((at, look)) = &*kept
            && at.elapsed() < LOOK_KEPT
        {
            return look.clone();
        }
        let look = self.look_now().await.map(Arc::new);
        *kept = Some((Instant::now(), look.clone()));
        look
    }

    async fn look_now(self: &Arc<Self>) -> Result<Vec<v1::TopicOffsets>, Refusal> {
        let source = Arc::clone(self);
        // The tables first, so that a lag is never too small.
        let tables = self
            .read(async move { look_at_tables(&source.topics, &source.lake).await })
            .await??;
        let mut logs = self.logs.look().await;
        let progress = self.progress();
        let (about, now_ms) = ((self.identity.cluster.as_str(), self.identity.node.as_str()), now_ms());
        let answers = self.topics.iter().zip(tables).map(|(topic, table)| {
            let seen = logs.remove(&topic.topic).unwrap_or_default();
            let live = progress.topics.iter().find(|live| live.topic == topic.topic);
            let view = table.as_ref().and_then(|table| table.silver.clone());
            let merge = progress.silver.iter().find(|merge| merge.source == topic.table);
            let mut answer = live::topic(topic, table, seen, live, about, now_ms);
            let of_silver = |view| {
                let merge = merge.map(|merge| (merge, about.1));
                silver_answer::silver(view, merge, &Reader::Runs, now_ms)
            };
            answer.silver = view.as_ref().map(of_silver);
            answer
        });
        Ok(answers.collect())
    }

    /// Runs what reads tables on a thread of its own: metadata is parsed there, not where the ingest's tasks run. Whoever no
    /// longer waits leaves it to its end; the number of them stays bounded.
    ///
    /// # Errors
    /// When it panics.
    pub async fn read<T: Send + 'static>(
        &self,
        reading: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let permit = Arc::clone(&self.reads).acquire_owned().await;
        let runtime = Handle::current();
        let read = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            runtime.block_on(reading)
        });
        read.await.map_err(|error| Refusal::panicked(&error))
    }
}
