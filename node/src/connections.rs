//! Connections of the servers: not too many, none for ever, none silent.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, Sleep};
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::{Connected, TcpConnectInfo};

/// Pause after an error of `accept`, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// So many bytes come first of every peer that means it: HTTP/2's preface; a TLS hello and an HTTP/1 request are longer.
const GREETING_BYTES: usize = 24;

/// What connections may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// At once; more wait in the system's queue.
    pub connections: usize,
    /// The first bytes come within this time.
    pub greeting: Duration,
    /// Between two pieces that the peer sends, the greeting apart.
    pub silence: Duration,
    /// A connection is cut at this age, also where the peer takes nothing or does not follow the server's good-bye.
    pub age: Duration,
}

/// A connection that counts, and that ends.
pub struct Connection {
    stream: TcpStream,
    limits: Limits,
    /// Bytes of the greeting that are still to come.
    awaited: usize,
    end: Pin<Box<Sleep>>,
    quiet: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

/// An address with limits.
pub struct Listening {
    listener: TcpListener,
    limits: Limits,
    permits: Arc<Semaphore>,
}

impl Listening {
    /// Takes no connection yet.
    pub fn new(listener: TcpListener, limits: Limits) -> Self {
        Self {
            listener,
            limits,
            permits: Arc::new(Semaphore::new(limits.connections)),
        }
    }

    async fn next(&self) -> (Connection, SocketAddr) {
        loop {
            let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
                // Nobody closes the semaphore.
                return std::future::pending().await;
            };
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let _ = stream.set_nodelay(true);
                    return (Connection::new(stream, self.limits, permit), peer);
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Accepts until the stream is dropped.
    pub fn into_stream(self) -> ReceiverStream<io::Result<Connection>> {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                let (connection, _) = tokio::select! {
                    next = self.next() => next,
                    () = sender.closed() => return,
                };
                if sender.send(Ok(connection)).await.is_err() {
                    return;
                }
            }
        });
        ReceiverStream::new(receiver)
    }
}

impl axum::serve::Listener for Listening {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        self.next().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connection {
    fn new(stream: TcpStream, limits: Limits, permit: OwnedSemaphorePermit) -> Self {
        Self {
            stream,
            limits,
            awaited: GREETING_BYTES,
            end: Box::pin(tokio::time::sleep(limits.age)),
            quiet: Box::pin(tokio::time::sleep(limits.greeting)),
            _permit: permit,
        }
    }

    fn check_age(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.end.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::Error::new(io::ErrorKind::TimedOut, "the connection is too old")),
            Poll::Pending => Ok(()),
        }
    }

    fn heard(&mut self, bytes: usize) {
        self.awaited = self.awaited.saturating_sub(bytes);
        // The greeting has one time for all of it: it does not get longer byte by byte.
        if bytes > 0 && self.awaited == 0 {
            self.quiet.as_mut().reset(Instant::now() + self.limits.silence);
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_age(context)?;
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if polled.is_ready() {
            self.heard(buffer.filled().len() - before);
        } else if self.quiet.as_mut().poll(context).is_ready() {
            let error = io::Error::new(io::ErrorKind::TimedOut, "the peer was silent for too long");
            return Poll::Ready(Err(error));
        }
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check_age(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_age(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    /// Longer than any of the limits of these tests, shorter than a test may take.
    const LONG: Duration = Duration::from_secs(20);
    const NO_LIMITS: Limits = Limits {
        connections: 8,
        greeting: LONG.saturating_mul(10),
        silence: LONG.saturating_mul(10),
        age: LONG.saturating_mul(10),
    };

    async fn listening(limits: Limits) -> (Listening, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (Listening::new(listener, limits), address)
    }

    async fn pair(limits: Limits) -> (Connection, TcpStream) {
        let (listening, address) = listening(limits).await;
        let peer = TcpStream::connect(address).await.unwrap();
        (listening.next().await.0, peer)
    }

    /// Why reading ends.
    async fn ended(connection: &mut Connection) -> String {
        let mut bytes = Vec::new();
        let ended = tokio::time::timeout(LONG, connection.read_to_end(&mut bytes)).await;
        ended.expect("the connection is not cut").unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_greeting_that_comes_byte_by_byte_is_not_waited_for() {
        let limits = Limits {
            greeting: 300 * MS,
            ..NO_LIMITS
        };
        let (mut connection, mut peer) = pair(limits).await;
        tokio::spawn(async move {
            while peer.write_all(b"P").await.is_ok() {
                tokio::time::sleep(100 * MS).await;
            }
        });
        assert!(ended(&mut connection).await.contains("silent"));
    }

    #[tokio::test]
    async fn a_peer_that_greeted_may_not_fall_silent() {
        let limits = Limits {
            silence: 100 * MS,
            ..NO_LIMITS
        };
        let (mut connection, mut peer) = pair(limits).await;
        peer.write_all(&[b'P'; GREETING_BYTES]).await.unwrap();
        assert!(ended(&mut connection).await.contains("silent"));
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_cut() {
        let limits = Limits {
            age: 100 * MS,
            ..NO_LIMITS
        };
        let (mut connection, _peer) = pair(limits).await;
        let endless = vec![0; 1 << 26];
        let written = tokio::time::timeout(LONG, connection.write_all(&endless)).await;
        let error = written.expect("the connection is not cut").unwrap_err();
        assert!(error.to_string().contains("too old"), "{error}");
    }

    #[tokio::test]
    async fn one_more_waits_until_another_has_gone() {
        let limits = Limits {
            connections: 1,
            ..NO_LIMITS
        };
        let (listening, address) = listening(limits).await;
        let _peers = (
            TcpStream::connect(address).await.unwrap(),
            TcpStream::connect(address).await.unwrap(),
        );
        let first = listening.next().await;
        assert!(tokio::time::timeout(100 * MS, listening.next()).await.is_err());
        drop(first);
        tokio::time::timeout(LONG, listening.next()).await.unwrap();
    }
}
