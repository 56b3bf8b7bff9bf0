//! The CPU pool: decode and encode run here, never on the threads that serve sockets and mailboxes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::oneshot;

/// A bounded number of threads for CPU work. Jobs of all topics are taken in the order in which they come; a topic has one
/// job at a time, so none can starve the others.
#[derive(Clone)]
pub(crate) struct CpuPool {
    pool: Arc<rayon::ThreadPool>,
    /// Jobs that wait or run.
    jobs: Arc<AtomicUsize>,
}

/// A job that panicked: a failure of its pipeline alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job panicked: {0}")]
pub(crate) struct JobPanicked(pub(crate) String);

impl CpuPool {
    /// A pool of so many threads.
    pub(crate) fn new(threads: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("cpu-{index}"))
            .build()?;
        Ok(Self {
            pool: Arc::new(pool),
            jobs: Arc::default(),
        })
    }

    /// Whether each thread has a job.
    pub(crate) fn is_busy(&self) -> bool {
        self.jobs.load(Ordering::Relaxed) >= self.pool.current_num_threads()
    }

    /// Runs `job` on the pool and waits for its result without holding a thread.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JobPanicked> {
        let (done, result) = oneshot::channel();
        let jobs = Arc::clone(&self.jobs);
        jobs.fetch_add(1, Ordering::Relaxed);
        self.pool.spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(job));
            jobs.fetch_sub(1, Ordering::Relaxed);
            // Nobody waits any more when the pipeline was torn down meanwhile.
            let _ = done.send(outcome.map_err(|panic| JobPanicked(panic_text(panic.as_ref()))));
        });
        result
            .await
            .unwrap_or_else(|_| Err(JobPanicked("the pool dropped the job".into())))
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}
