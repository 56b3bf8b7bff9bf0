//! The server: bound before the node starts, serving once it has, drained before it ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use tapehouse_proto::FILE_DESCRIPTOR_SET;
use tapehouse_proto::v1::backfills_server::BackfillsServer;
use tapehouse_proto::v1::cluster_server::ClusterServer;
use tapehouse_proto::v1::offsets_server::OffsetsServer;
use tapehouse_proto::v1::runs_server::RunsServer;
use tapehouse_proto::v1::schedules_server::SchedulesServer;
use tapehouse_proto::v1::tables_server::TablesServer;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::access::Guard;
use super::cluster::ClusterService;
use super::gate::Gate;
use super::health;
use super::metrics::Metrics;
use super::offsets::OffsetsService;
use super::runs::RunsService;
use super::schedules::SchedulesService;
use super::source::Source;
use super::tables::TablesService;
use crate::config::{ConfigError, Fault, Grpc, ServerTls};
use crate::connections::{Limits, Listening};
use crate::exit::{Failure, chain};

/// Largest request: ours hold a few names.
const REQUEST_MAX_BYTES: usize = 64 << 10;
/// Largest answer: a thousand topics with their partitions.
const ANSWER_MAX_BYTES: usize = 16 << 20;
/// Requests at once on one connection.
const STREAMS_MAX: u32 = 128;
/// Bytes of a request's headers.
const HEADERS_MAX_BYTES: u32 = 16 << 10;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections at once; more wait in the system's queue.
const CONNECTIONS_MAX: usize = 256;
/// A peer that answers pings is never silent for so long; one that has not finished its greeting gets no pings.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// A connection that was told to go is cut after this.
const AGE_GRACE: Duration = Duration::from_secs(30);
/// Requests in flight have this long to end when the node stops.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// An address that is bound and does not serve yet.
pub struct GrpcListener {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<ServerTlsConfig>,
    guard: Guard,
    connection_max_age: Duration,
}

impl GrpcListener {
    /// Reads certificates and tokens and binds the address; with `or_any_port` a free port where that one is taken.
    ///
    /// # Errors
    /// Files that cannot be used; an address that cannot be bound.
    pub async fn bind(config: &Grpc, or_any_port: bool) -> Result<Self, Failure> {
        let guard = Guard::of(config)?;
        let tls = config.tls.as_ref().map(tls).transpose()?;
        let wanted = config.listen;
        let bound = match TcpListener::bind(wanted).await {
            Err(_) if or_any_port => TcpListener::bind(SocketAddr::new(wanted.ip(), 0)).await,
            bound => bound,
        };
        let cannot = |error: std::io::Error| {
            Failure::failed(format!("gRPC cannot listen at {wanted}: {error}"))
                .code("port_taken")
                .hint("another node on this machine? Set another port: --set grpc.listen=127.0.0.1:50151")
        };
        let listener = bound.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        Ok(Self {
            listener,
            address,
            tls,
            guard,
            connection_max_age: config.connection_max_age,
        })
    }

    /// Where it is bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves answers from `source`. `drain` is the sender of the source's `draining`.
    ///
    /// # Errors
    /// Certificates that cannot be used; metrics that are registered already.
    pub fn serve(self, source: Source, drain: watch::Sender<bool>, registry: &Registry) -> Result<GrpcServer, Failure> {
        let source = Arc::new(source);
        let (gate, reporter) = service(&source, self.guard, registry)?;
        let mut server = Server::builder()
            .max_concurrent_streams(STREAMS_MAX)
            .http2_max_header_list_size(HEADERS_MAX_BYTES)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            // GOAWAY at this age. The grace is kept by the connection itself: tonic's own would leave out the GOAWAY.
            .max_connection_age(self.connection_max_age);
        if let Some(tls) = self.tls {
            server = server
                .tls_config(tls)
                .map_err(|error| ConfigError::from(Fault::new("grpc.tls_certificate", chain(&error))))?;
        }
        let limits = Limits {
            connections: CONNECTIONS_MAX,
            greeting: HANDSHAKE_TIMEOUT,
            silence: SILENCE_MAX,
            age: self.connection_max_age + AGE_GRACE,
        };
        let incoming = Listening::new(self.listener, limits).into_stream();
        let (stop, mut stopping) = watch::channel(false);
        let serving = tokio::spawn(async move {
            // Nothing is served before the node is known not to be ready yet.
            health::set(&reporter, ServingStatus::NotServing).await;
            let reporting = async {
                health::report(reporter, source).await;
                std::future::pending::<()>().await;
            };
            let stopped = async move {
                let _ = stopping.wait_for(|stop| *stop).await;
            };
            tokio::select! {
                served = server.serve_with_incoming_shutdown(gate, incoming, stopped) => {
                    if let Err(error) = served {
                        tracing::error!(error = chain(&error), "the gRPC server stopped");
                    }
                }
                () = reporting => {}
            }
        });
        Ok(GrpcServer {
            address: self.address,
            drain,
            stop,
            serving,
        })
    }
}

/// The services behind the gate, as one, and what health is reported by. What serves it holds the limits of connections.
///
/// # Errors
/// Metrics that are registered already.
pub fn service(source: &Arc<Source>, guard: Guard, registry: &Registry) -> Result<(Gate, HealthReporter), Failure> {
    let metrics = Metrics::register(registry).map_err(Failure::failed)?;
    let (reporter, health_service) = tonic_health::server::health_reporter();
    let routes = routes(source)
        .map_err(|error| Failure::failed(chain(&error)))?
        .add_service(health_service.max_decoding_message_size(REQUEST_MAX_BYTES));
    Ok((Gate::new(routes, guard, metrics), reporter))
}

fn routes(source: &Arc<Source>) -> Result<Routes, tonic_reflection::server::Error> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let limits = (REQUEST_MAX_BYTES, ANSWER_MAX_BYTES);
    let offsets = OffsetsServer::new(OffsetsService(Arc::clone(source)));
    let tables = TablesServer::new(TablesService(Arc::clone(source)));
    let cluster = ClusterServer::new(ClusterService(Arc::clone(source)));
    let runs = RunsServer::new(RunsService(Arc::clone(source)));
    let backfills = BackfillsServer::new(RunsService(Arc::clone(source)));
    let schedules = SchedulesServer::new(SchedulesService(Arc::clone(source)));
    Ok(Routes::new(
        offsets
            .max_decoding_message_size(limits.0)
            .max_encoding_message_size(limits.1),
    )
    .add_service(
        tables
            .max_decoding_message_size(limits.0)
            .max_encoding_message_size(limits.1),
    )
    .add_service(
        runs.max_decoding_message_size(limits.0)
            .max_encoding_message_size(limits.1),
    )
    .add_service(
        schedules
            .max_decoding_message_size(limits.0)
            .max_encoding_message_size(limits.1),
    )
    .add_service(
        backfills
            .max_decoding_message_size(limits.0)
            .max_encoding_message_size(limits.1),
    )
    .add_service(
        cluster
            .max_decoding_message_size(limits.0)
            .max_encoding_message_size(limits.1),
    )
    .add_service(reflection().build_v1()?.max_decoding_message_size(limits.0))
    .add_service(reflection().build_v1alpha()?.max_decoding_message_size(limits.0)))
}

fn tls(files: &ServerTls) -> Result<ServerTlsConfig, ConfigError> {
    let read = |key: &str, path: &std::path::Path| {
        let read = std::fs::read(path);
        read.map_err(|error| ConfigError::from(Fault::new(key, format!("{} cannot be read: {error}", path.display()))))
    };
    let certificate = read("grpc.tls_certificate", &files.certificate)?;
    let key = read("grpc.tls_key", &files.key)?;
    let mut config = ServerTlsConfig::new()
        .identity(Identity::from_pem(certificate, key))
        .timeout(HANDSHAKE_TIMEOUT);
    if let Some(ca) = &files.client_ca {
        config = config.client_ca_root(Certificate::from_pem(read("grpc.tls_client_ca", ca)?));
    }
    Ok(config)
}

/// The gRPC server. It ends when this is dropped.
pub struct GrpcServer {
    address: SocketAddr,
    drain: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl GrpcServer {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Health turns to `NOT_SERVING`, watchers are sent away; requests are still answered.
    pub fn drain(&self) {
        self.drain.send_replace(true);
    }

    /// Takes no more connections, lets requests in flight end, for a second at most.
    pub async fn stop(mut self) {
        self.drain();
        self.stop.send_replace(true);
        let _ = tokio::time::timeout(STOP_GRACE, &mut self.serving).await;
    }
}

impl Drop for GrpcServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
