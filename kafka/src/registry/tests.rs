//! The client against the embedded registry, and against servers that misbehave each in one way.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

use super::*;
use crate::embedded::EmbeddedRegistry;

const SCHEMA: &str = r#"{"type":"record","name":"T","fields":[{"name":"x","type":"long"}]}"#;

fn client(url: &str) -> RegistryClient {
    let mut settings = RegistrySettings::new(url).unwrap();
    settings.timeout = Duration::from_millis(500);
    RegistryClient::new(settings).unwrap()
}

/// A server that answers every request by `answer`; returns its URL and the count of requests.
async fn server<F>(answer: F) -> (String, Arc<AtomicUsize>)
where
    F: Fn(Request, usize) -> Response + Clone + Send + Sync + 'static,
{
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let app = Router::new().fallback(move |request: Request| {
        let response = answer(request, counter.fetch_add(1, Ordering::SeqCst));
        async move { response }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, asked)
}

fn unknown() -> Response {
    (
        StatusCode::NOT_FOUND,
        r#"{"error_code":40403,"message":"Schema not found"}"#,
    )
        .into_response()
}

fn found() -> Response {
    serde_json::json!({ "schema": SCHEMA }).to_string().into_response()
}

#[tokio::test]
async fn registers_finds_and_caches() {
    let registry = EmbeddedRegistry::start().await.unwrap();
    let client = client(&registry.url());
    assert_eq!(client.latest("raw.trades-value").await.unwrap(), None);
    let id = client.register("raw.trades-value", SCHEMA).await.unwrap();
    assert_eq!(
        client
            .register("raw.trades-value", &SCHEMA.replace(',', " , "))
            .await
            .unwrap(),
        id
    );
    assert_eq!(
        client.register("a/b c-value", SCHEMA).await.unwrap(),
        id,
        "one schema has one id in all subjects"
    );
    let other = client.register("raw.trades-value", r#""string""#).await.unwrap();
    assert_ne!(other, id);

    let fresh = self::client(&registry.url());
    assert_eq!(&*fresh.schema_by_id(id).await.unwrap(), SCHEMA);
    assert_eq!(
        fresh.latest("raw.trades-value").await.unwrap(),
        Some((other, Arc::from(r#""string""#)))
    );
    assert_eq!(fresh.schema_by_id(999).await, Err(RegistryError::Unknown { id: 999 }));
    let rejected = fresh.register("raw.trades-value", "{").await.unwrap_err();
    assert!(
        matches!(rejected, RegistryError::Rejected { status: 422, .. }),
        "{rejected:?}"
    );
    drop(registry);
    assert_eq!(&*fresh.schema_by_id(id).await.unwrap(), SCHEMA, "from the cache");
}

#[tokio::test]
async fn the_server_stops_with_its_value() {
    let registry = EmbeddedRegistry::start().await.unwrap();
    let url = registry.url();
    client(&url).register("s", SCHEMA).await.unwrap();
    drop(registry);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(matches!(
        client(&url).latest("s").await,
        Err(RegistryError::Unreachable(_))
    ));
}

#[tokio::test]
async fn refusals_keep_their_class() {
    for (status, body, expected, retryable) in [
        (401, "", RegistryError::Unauthorized { status: 401 }, true),
        (403, "{}", RegistryError::Unauthorized { status: 403 }, true),
        (
            500,
            r#"{"error_code":50001,"message":"x"}"#,
            RegistryError::Server { status: 500 },
            true,
        ),
        (503, "<html>", RegistryError::Server { status: 503 }, true),
        (404, "<html>", RegistryError::Server { status: 404 }, true),
        (
            404,
            r#"{"error_code":40403,"message":"x"}"#,
            RegistryError::Unknown { id: 5 },
            false,
        ),
        (
            422,
            r#"{"error_code":42201,"message":"x"}"#,
            RegistryError::Unknown { id: 5 },
            false,
        ),
    ] {
        let status_code = StatusCode::from_u16(status).unwrap();
        let (url, _) = server(move |_, _| (status_code, body).into_response()).await;
        let error = client(&url).schema_by_id(5).await.unwrap_err();
        assert_eq!(error, expected, "for {status} {body}");
        assert_eq!(error.is_retryable(), retryable);
    }
}

#[tokio::test]
async fn answers_that_cannot_be_used() {
    let long = "x".repeat(9 << 20);
    let (url, _) = server(move |_, _| long.clone().into_response()).await;
    let error = client(&url).schema_by_id(1).await.unwrap_err();
    assert!(
        matches!(&error, RegistryError::Malformed(why) if why.contains("longer")),
        "{error:?}"
    );

    let (url, _) = server(|_, _| "<html>log in</html>".into_response()).await;
    let error = client(&url).schema_by_id(1).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::Malformed(_)) && error.is_retryable(),
        "{error:?}"
    );

    for body in [
        r#"{"schema":"{}","schemaType":"PROTOBUF"}"#,
        r#"{"schema":"{}","references":[{"name":"a","subject":"b","version":1}]}"#,
    ] {
        let (url, _) = server(move |_, _| body.into_response()).await;
        let error = client(&url).schema_by_id(1).await.unwrap_err();
        assert!(
            matches!(error, RegistryError::Unsupported { id: 1, .. }) && !error.is_retryable(),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn silence_and_closed_ports_are_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let started = Instant::now();
    let silent = client(&url).schema_by_id(1).await.unwrap_err();
    assert!(
        matches!(&silent, RegistryError::Unreachable(why) if !why.contains("http://")),
        "{silent:?}"
    );
    assert!(started.elapsed() < Duration::from_secs(5));
    drop(listener);
    let closed = client(&url).schema_by_id(1).await.unwrap_err();
    assert!(
        matches!(closed, RegistryError::Unreachable(_)) && closed.is_retryable(),
        "{closed:?}"
    );
}

#[tokio::test]
async fn an_id_just_being_registered_is_waited_for() {
    let (url, asked) = server(|_, n| if n < 2 { unknown() } else { found() }).await;
    let schema = client(&url)
        .schema_by_id_retrying(3, Duration::from_secs(10))
        .await
        .unwrap();
    assert_eq!((&*schema, asked.load(Ordering::SeqCst)), (SCHEMA, 3));
}

#[tokio::test]
async fn an_id_that_stays_unknown_is_not_asked_for_again() {
    let (url, asked) = server(|_, _| unknown()).await;
    let client = client(&url);
    let started = Instant::now();
    let error = client
        .schema_by_id_retrying(3, Duration::from_millis(400))
        .await
        .unwrap_err();
    assert_eq!(error, RegistryError::Unknown { id: 3 });
    assert!(started.elapsed() >= Duration::from_millis(400));
    let questions = asked.load(Ordering::SeqCst);
    assert!((2..=5).contains(&questions), "{questions} questions");
    for _ in 0..100 {
        client
            .schema_by_id_retrying(3, Duration::from_secs(10))
            .await
            .unwrap_err();
    }
    assert_eq!(asked.load(Ordering::SeqCst), questions);
}

#[tokio::test]
async fn other_errors_do_not_wait() {
    let (url, asked) = server(|_, _| StatusCode::SERVICE_UNAVAILABLE.into_response()).await;
    let error = client(&url)
        .schema_by_id_retrying(3, Duration::from_secs(10))
        .await
        .unwrap_err();
    assert_eq!(
        (error, asked.load(Ordering::SeqCst)),
        (RegistryError::Server { status: 503 }, 1)
    );
}

#[tokio::test]
async fn path_prefix_and_credentials_are_sent() {
    let answer = |request: Request, _| {
        let header = request
            .headers()
            .get("authorization")
            .map(|value| value.to_str().unwrap().to_owned());
        let seen = format!("{} {}", request.uri().path(), header.unwrap_or_default());
        serde_json::json!({ "schema": seen }).to_string().into_response()
    };
    let (url, _) = server(answer).await;
    let address = url.strip_prefix("http://").unwrap();
    let seen = client(&format!("http://ann:p%40ss@{address}/apis/ccompat/v7/"))
        .schema_by_id(1)
        .await
        .unwrap();
    assert_eq!(&*seen, "/apis/ccompat/v7/schemas/ids/1 Basic YW5uOnBAc3M=");
    let mut settings = RegistrySettings::new(&format!("{url}/apis/ccompat/v7")).unwrap();
    settings.auth = RegistryAuth::Bearer("tok".into());
    let seen = RegistryClient::new(settings).unwrap().schema_by_id(1).await.unwrap();
    assert_eq!(&*seen, "/apis/ccompat/v7/schemas/ids/1 Bearer tok");
}

#[test]
fn secrets_do_not_show() {
    let mut settings = RegistrySettings::new("https://ann:hunter2@registry.example/x").unwrap();
    assert!(!format!("{settings:?}").contains("hunter2"));
    assert_eq!(settings.url.as_str(), "https://registry.example/x");
    settings.auth = RegistryAuth::Bearer("hunter2".into());
    settings.url.set_password(Some("hunter2")).unwrap();
    assert!(!format!("{settings:?}").contains("hunter2"));
    let error = RegistryClient::new(settings).unwrap_err();
    assert!(matches!(error, RegistryError::Settings(_)));
    let error = RegistrySettings::new("ftp://ann:hunter2@registry.example").unwrap_err();
    assert!(!error.to_string().contains("hunter2"));
}

#[test]
fn certificate_files_are_checked_at_the_start() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"no certificate").unwrap();
    for path in [file.path().to_owned(), "/nowhere/ca.pem".into()] {
        let mut settings = RegistrySettings::new("https://registry.example").unwrap();
        settings.ca_location = Some(path);
        assert!(matches!(RegistryClient::new(settings), Err(RegistryError::Settings(_))));
    }
}
