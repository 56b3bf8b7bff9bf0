//! Optional: the metrics pushed to a Prometheus push gateway, for nodes that nobody can scrape.

use std::time::Duration;

use prometheus::{IntCounterVec, Opts, Registry, TextEncoder};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::exit::chain;

/// How often the metrics are pushed.
const EVERY: Duration = Duration::from_secs(15);
/// Longest time of one push; the next one waits for it.
const LIMIT: Duration = Duration::from_secs(10);

/// Pushes until it is stopped. A gateway that is away harms nothing else.
#[derive(Debug)]
pub struct Pusher {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// What keeps a pusher from starting.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// Its own metric.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
    /// The HTTP client.
    #[error("the HTTP client cannot be made: {0}")]
    Client(#[from] reqwest::Error),
    /// The address.
    #[error("not a URL: {0}")]
    Url(#[from] url::ParseError),
}

struct Target {
    client: reqwest::Client,
    url: url::Url,
    registry: Registry,
    pushes: IntCounterVec,
}

impl Pusher {
    /// Starts to push what `registry` holds, as job `tapehouse` and instance `node`.
    ///
    /// # Errors
    /// [`PushError`].
    pub fn start(gateway: &str, node: &str, registry: &Registry) -> Result<Self, PushError> {
        Self::start_every(EVERY, gateway, node, registry)
    }

    fn start_every(every: Duration, gateway: &str, node: &str, registry: &Registry) -> Result<Self, PushError> {
        let options = Opts::new("tapehouse_metrics_pushes_total", "Pushes to the push gateway");
        let pushes = IntCounterVec::new(options, &["outcome"])?;
        registry.register(Box::new(pushes.clone()))?;
        let mut url = url::Url::parse(gateway)?;
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty()
                .extend(["metrics", "job", "tapehouse", "instance", node]);
        }
        let target = Target {
            client: reqwest::Client::builder().timeout(LIMIT).build()?,
            url,
            registry: registry.clone(),
            pushes,
        };
        let (stop, stopped) = oneshot::channel();
        Ok(Self {
            stop,
            task: tokio::spawn(target.run(every, stopped)),
        })
    }

    /// Pushes once more, so that the gateway has the last figures, and ends.
    pub async fn stop(self) {
        // The task ends only by this; where it has panicked there is nothing left to end.
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

impl Target {
    async fn run(self, every: Duration, mut stopped: oneshot::Receiver<()>) {
        let mut tick = tokio::time::interval(every);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut was_away = false;
        loop {
            let is_last = tokio::select! {
                _ = tick.tick() => false,
                _ = &mut stopped => true,
            };
            match self.push().await {
                Ok(()) => {
                    self.pushes.with_label_values(&["ok"]).inc();
                    was_away = false;
                }
                Err(error) => {
                    self.pushes.with_label_values(&["failed"]).inc();
                    // Once an incident: it would else be the loudest thing in the log.
                    if !was_away {
                        tracing::warn!(error, code = "push", "metrics could not be pushed; trying on");
                    }
                    was_away = true;
                }
            }
            if is_last {
                return;
            }
        }
    }

    async fn push(&self) -> Result<(), String> {
        let text = TextEncoder::new().encode_to_string(&self.registry.gather());
        let text = text.map_err(|error| error.to_string())?;
        let request = self
            .client
            .put(self.url.clone())
            .header("content-type", prometheus::TEXT_FORMAT);
        // Without the URL: it may hold a password.
        let answer = request
            .body(text)
            .send()
            .await
            .map_err(|error| chain(&error.without_url()))?;
        let status = answer.status();
        status
            .is_success()
            .then_some(())
            .ok_or_else(|| format!("HTTP {status}"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::extract::Request;

    use super::*;

    #[tokio::test]
    async fn what_the_registry_holds_arrives_and_once_more_at_the_end() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let kept = Arc::clone(&seen);
        let app = Router::new().fallback(move |request: Request| async move {
            let path = format!("{} {}", request.method(), request.uri().path());
            let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
            kept.lock()
                .unwrap()
                .push((path, String::from_utf8(body.to_vec()).unwrap()));
        });
        tokio::spawn(axum::serve(listener, app).into_future());
        let registry = Registry::new();
        crate::metrics::register(&registry).unwrap();
        let gateway = format!("http://{address}/prefix/");
        let pusher = Pusher::start_every(Duration::from_secs(3600), &gateway, "node-1", &registry).unwrap();
        while seen.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        pusher.stop().await;
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 2);
        for (path, body) in seen.iter() {
            assert_eq!(path, "PUT /prefix/metrics/job/tapehouse/instance/node-1");
            assert!(body.contains("tapehouse_build_info{"), "{body}");
        }
        assert!(
            seen[1].1.contains("tapehouse_metrics_pushes_total{outcome=\"ok\"} 1"),
            "{}",
            seen[1].1
        );
    }

    #[tokio::test]
    async fn a_gateway_that_is_away_is_counted_and_harms_nothing() {
        let registry = Registry::new();
        let pusher = Pusher::start_every(Duration::from_millis(5), "http://127.0.0.1:1", "n", &registry).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        pusher.stop().await;
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert!(text.contains("outcome=\"failed\""), "{text}");
    }
}
