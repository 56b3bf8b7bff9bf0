//! `/metrics`, `/healthz` and `/readyz`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::connections::{Limits, Listening};
use crate::exit::Failure;

/// Each connection serves one request; who is slow, or many, keeps nobody else away for long, and no files from the node.
const LIMITS: Limits = Limits {
    connections: 64,
    greeting: Duration::from_secs(5),
    silence: Duration::from_secs(10),
    age: Duration::from_secs(30),
};

/// Says why the node is not ready, or nothing where it is.
pub type NotReady = Arc<dyn Fn() -> Option<String> + Send + Sync>;

#[derive(Clone)]
struct Shared {
    registry: Registry,
    not_ready: NotReady,
}

/// The HTTP server. It ends when this is dropped.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl HttpServer {
    /// Binds `address`. With `or_any_port`, takes a free port where that one is taken.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(
        address: SocketAddr,
        or_any_port: bool,
        registry: Registry,
        not_ready: NotReady,
    ) -> Result<Self, Failure> {
        let bound = match TcpListener::bind(address).await {
            Err(_) if or_any_port => TcpListener::bind(SocketAddr::new(address.ip(), 0)).await,
            bound => bound,
        };
        let cannot = |error: std::io::Error| {
            Failure::failed(format!("HTTP cannot listen at {address}: {error}"))
                .code("port_taken")
                .hint("another node on this machine? Set another port: --set http.listen=127.0.0.1:9465")
        };
        let listener = bound.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let app = router(Shared { registry, not_ready });
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(Listening::new(listener, LIMITS), app).await {
                tracing::error!(%error, "the HTTP server stopped");
            }
        });
        Ok(Self { address, server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .layer(axum::middleware::map_response(closing))
        .with_state(shared)
}

/// A connection that is cut at an age must not be cut in the middle of a later request.
async fn closing(mut response: Response) -> Response {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

async fn metrics(State(shared): State<Shared>) -> impl IntoResponse {
    match TextEncoder::new().encode_to_string(&shared.registry.gather()) {
        Ok(text) => (StatusCode::OK, [(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn ready(State(shared): State<Shared>) -> impl IntoResponse {
    match (shared.not_ready)() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

#[cfg(test)]
mod tests {
    use prometheus::IntCounter;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn those_who_say_nothing_do_not_keep_others_away() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = HttpServer::start(any, false, Registry::new(), Arc::new(|| None))
            .await
            .unwrap();
        let mut silent = Vec::new();
        for _ in 0..2 * LIMITS.connections {
            silent.push(TcpStream::connect(server.address()).await.unwrap());
        }
        let answer = tokio::time::timeout(LIMITS.greeting * 6, request(server.address(), "/healthz")).await;
        assert!(answer.expect("no answer").contains("200 OK"));
    }

    async fn request(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_three_pages() {
        let registry = Registry::new();
        let counter = IntCounter::new("tapehouse_test_total", "A test").unwrap();
        counter.inc_by(7);
        registry.register(Box::new(counter)).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let waiting = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let asked = Arc::clone(&waiting);
        let not_ready: NotReady = Arc::new(move || {
            asked
                .load(std::sync::atomic::Ordering::Relaxed)
                .then(|| "raw.trades: starting".to_owned())
        });
        let server = HttpServer::start(any, false, registry.clone(), Arc::clone(&not_ready))
            .await
            .unwrap();
        let metrics = request(server.address(), "/metrics").await;
        assert!(
            metrics.contains("200 OK") && metrics.contains("tapehouse_test_total 7"),
            "{metrics}"
        );
        assert!(request(server.address(), "/healthz").await.contains("200 OK"));
        let answer = request(server.address(), "/readyz").await;
        assert!(
            answer.contains("503") && answer.contains("raw.trades: starting"),
            "{answer}"
        );
        waiting.store(false, std::sync::atomic::Ordering::Relaxed);
        assert!(request(server.address(), "/readyz").await.contains("200 OK"));
        let taken = HttpServer::start(server.address(), false, registry.clone(), Arc::clone(&not_ready)).await;
        assert!(taken.unwrap_err().to_string().contains("http.listen"));
        let other = HttpServer::start(server.address(), true, registry, not_ready)
            .await
            .unwrap();
        assert_ne!(other.address(), server.address());
    }
}
