//! Bounded mailboxes: a send waits for room, and the time that it waited is counted.

use std::time::{Duration, Instant};

use prometheus::Counter;
use tokio::sync::mpsc;

/// The sending side.
#[derive(Debug)]
pub(crate) struct Mailbox<M> {
    sender: mpsc::Sender<M>,
    waited_seconds: Counter,
}

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            waited_seconds: self.waited_seconds.clone(),
        }
    }
}

/// The receiver is gone: its actor has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the receiving actor has ended")]
pub(crate) struct Closed;

/// Why [`Mailbox::send_within`] did not deliver; the message comes back.
#[derive(Debug)]
pub(crate) enum NotSent<M> {
    /// No room in time.
    Full(M),
    /// The receiver is gone.
    Closed,
}

/// A mailbox for `capacity` messages.
pub(crate) fn mailbox<M>(capacity: usize, waited_seconds: Counter) -> (Mailbox<M>, mpsc::Receiver<M>) {
    let (sender, receiver) = mpsc::channel(capacity);
    (Mailbox { sender, waited_seconds }, receiver)
}

impl<M: Send> Mailbox<M> {
    /// Waits for room.
    pub(crate) async fn send(&self, message: M) -> Result<(), Closed> {
        let message = match self.sender.try_send(message) {
            Ok(()) => return Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(Closed),
            Err(mpsc::error::TrySendError::Full(message)) => message,
        };
        let started = Instant::now();
        let sent = self.sender.send(message).await.map_err(|_| Closed);
        self.waited_seconds.inc_by(started.elapsed().as_secs_f64());
        sent
    }

    /// From a thread of its own: waits for room at most `patience`.
    pub(crate) fn send_within(&self, message: M, patience: Duration) -> Result<(), NotSent<M>> {
        let started = Instant::now();
        let mut message = message;
        // The channel has no blocking send with a time limit; a short nap is finer than a batch takes to be encoded.
        const NAP: Duration = Duration::from_micros(500);
        loop {
            message = match self.sender.try_send(message) {
                Ok(()) => break,
                Err(mpsc::error::TrySendError::Closed(_)) => return Err(NotSent::Closed),
                Err(mpsc::error::TrySendError::Full(message)) => message,
            };
            if started.elapsed() >= patience {
                self.waited_seconds.inc_by(started.elapsed().as_secs_f64());
                return Err(NotSent::Full(message));
            }
            std::thread::sleep(NAP);
        }
        self.waited_seconds.inc_by(started.elapsed().as_secs_f64());
        Ok(())
    }
}
