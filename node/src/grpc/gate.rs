//! What every request passes: who asks, how many are in flight, how long it may take, how it ended.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, HeaderValue, Request, Response};
use tonic::codegen::{BoxFuture, Bytes, Service};
use tonic::service::Routes;
use tonic::{Code, Status};

use super::access::{Guard, Role, method_of};
use super::metrics::{Metrics, Record};
use super::refusal::{CODE_KEY, Reason, Refusal};

/// Requests in flight over all connections; health is not among them.
pub const IN_FLIGHT_MAX: usize = 256;
/// Longest time to an answer's head.
const DEADLINE: Duration = Duration::from_secs(10);

/// The services behind the gate.
#[derive(Clone)]
pub struct Gate {
    inner: Routes,
    guard: Arc<Guard>,
    metrics: Metrics,
    in_flight: Arc<Semaphore>,
}

impl Gate {
    /// Puts `inner` behind the gate.
    pub fn new(inner: Routes, guard: Guard, metrics: Metrics) -> Self {
        Self {
            inner: inner.prepare(),
            guard: Arc::new(guard),
            metrics,
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
        }
    }

    fn admit(&self, request: &Request<Body>) -> (Record, Result<Option<OwnedSemaphorePermit>, Refusal>) {
        let method = method_of(request.uri().path());
        let record = self.metrics.begin(method);
        let admitted = self.guard.admit(&method, request.headers()).and_then(|()| {
            // A balancer that is told `overloaded` by a health check would take the node out of service.
            if method.role == Role::Anybody {
                return Ok(None);
            }
            Arc::clone(&self.in_flight).try_acquire_owned().map(Some).map_err(|_| {
                let message = format!("{IN_FLIGHT_MAX} requests are in flight already");
                Refusal::new(Reason::Overloaded, message)
            })
        });
        (record, admitted)
    }
}

impl Service<Request<Body>> for Gate {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Body>>::poll_ready(&mut self.inner, context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (mut record, admitted) = self.admit(&request);
        let permit = match admitted {
            Ok(permit) => permit,
            Err(refusal) => {
                let status = Status::from(refusal);
                record.ended(status.code());
                return Box::pin(async move { Ok(status.into_http()) });
            }
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = match tokio::time::timeout(DEADLINE, answer).await {
                Ok(Ok(answer)) => answer,
                Err(_) => {
                    let message = format!("no answer within {DEADLINE:?}");
                    Status::from(Refusal::new(Reason::DeadlineExceeded, message)).into_http()
                }
            };
            Ok(watched(answer, record, permit))
        })
    }
}

/// Follows an answer to its end. A status that the transport made gets its code here.
fn watched(mut answer: Response<Body>, mut record: Record, permit: Option<OwnedSemaphorePermit>) -> Response<Body> {
    if let Some(code) = code_in(answer.headers()) {
        record.ended(code);
        if code != Code::Ok && !answer.headers().contains_key(CODE_KEY) {
            let value = HeaderValue::from_static(Reason::of_transport(code).code());
            answer.headers_mut().insert(CODE_KEY, value);
        }
        return answer;
    }
    answer.map(|inner| {
        Body::new(Watched {
            inner,
            record,
            _permit: permit,
        })
    })
}

fn code_in(headers: &HeaderMap) -> Option<Code> {
    headers
        .get("grpc-status")
        .map(|value| Code::from_bytes(value.as_bytes()))
}

/// An answer under way.
struct Watched {
    inner: Body,
    record: Record,
    _permit: Option<OwnedSemaphorePermit>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(code) = frame.trailers_ref().and_then(code_in) {
                    self.record.ended(code);
                }
            }
            Poll::Ready(Some(Err(status))) => self.record.ended(status.code()),
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
