//! Metrics of the gRPC server and their contract.

use std::time::Instant;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};
use tonic::Code;

use super::access::Method;

const LATENCY: [f64; 11] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 10.0, 600.0];

/// Metrics of requests. `service` is the full name, `unknown` where there is no such method; `code` the gRPC code.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Requests that have ended: `service`, `method`, `code`.
    requests: IntCounterVec,
    /// From a request's head to the end of its answer, of a stream to its end: `service`, `method`.
    seconds: HistogramVec,
    /// Requests that have not ended.
    in_flight: IntGauge,
}

impl Metrics {
    /// Registers all metrics.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let labels = ["service", "method"];
        let metrics = Self {
            requests: IntCounterVec::new(
                Opts::new("tapehouse_grpc_requests_total", "gRPC requests that have ended"),
                &["service", "method", "code"],
            )?,
            seconds: HistogramVec::new(
                HistogramOpts::new(
                    "tapehouse_grpc_request_seconds",
                    "From a request's head to the end of its answer",
                )
                .buckets(LATENCY.to_vec()),
                &labels,
            )?,
            in_flight: IntGauge::new("tapehouse_grpc_requests_in_flight", "gRPC requests that have not ended")?,
        };
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        registry.register(Box::new(metrics.in_flight.clone()))?;
        Ok(metrics)
    }

    /// Begins to count a request.
    pub fn begin(&self, method: Method) -> Record {
        self.in_flight.inc();
        Record {
            metrics: self.clone(),
            method,
            started: Instant::now(),
            // Whoever drops it before it has ended was left by its client.
            code: Code::Cancelled,
        }
    }
}

/// One request; counted when this is dropped.
#[derive(Debug)]
pub struct Record {
    metrics: Metrics,
    method: Method,
    started: Instant,
    code: Code,
}

impl Record {
    /// How the request ended.
    pub fn ended(&mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let Method { service, name, .. } = self.method;
        let code = format!("{:?}", self.code);
        self.metrics.in_flight.dec();
        self.metrics.requests.with_label_values(&[service, name, &code]).inc();
        let seconds = self.started.elapsed().as_secs_f64();
        self.metrics
            .seconds
            .with_label_values(&[service, name])
            .observe(seconds);
    }
}
