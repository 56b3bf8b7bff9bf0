//! Servers that go away while a node runs, and come back.

use std::time::{Duration, Instant};

use rand::Rng as _;
use rustix::process::Signal;

use super::Departure;
use super::performance::{PATIENCE, Performance, Story};
use crate::{Error, Node, Server, await_that};

/// Without a commit for so long the node has felt that the server is away.
const STALLED: Duration = Duration::from_secs(2);
/// How much longer it is away.
const LONGER_MS: u64 = 2000;

impl Performance<'_> {
    pub(super) fn away(&mut self, server: Server, how: Departure) -> Result<Story, Error> {
        let mut node = self.start_for_ever("a")?;
        let rows = self.rng.random_range(self.rows / 20..self.rows / 6);
        self.await_rows(&mut node, rows)?;
        let servers = self.ground.servers();
        match how {
            Departure::Stopped => servers.stop(server)?,
            Departure::KilledWithTheNode => {
                servers.kill(server)?;
                node.kill()?;
            }
        }
        let waited = self.wait_without(&mut node, how);
        // Whatever came of it: others need the server.
        servers.restart(server)?;
        let (at, waited) = waited?;
        self.end_at_all_rows(&mut node)?;
        Ok(format!(
            "{server:?} away for {:.1} s, at {}",
            waited.as_secs_f64(),
            self.shown(at)
        ))
    }

    fn wait_without(&mut self, node: &mut Node, how: Departure) -> Result<(crate::Progress, Duration), Error> {
        let since = Instant::now();
        if how == Departure::KilledWithTheNode {
            *node = self.start_for_ever("a")?;
        }
        let at = self.await_stall(node)?;
        std::thread::sleep(Duration::from_millis(self.rng.random_range(0..LONGER_MS)));
        Ok((at, since.elapsed()))
    }

    /// Waits until nothing more is committed although there is more: the fault has fired.
    pub(super) fn await_stall(&self, node: &mut Node) -> Result<crate::Progress, Error> {
        let (mut before, mut since) = (self.progress(), Instant::now());
        await_that("a node that cannot go on", PATIENCE, || {
            if let Some(status) = node.poll()? {
                return Err(Error::unexpected(format!(
                    "it ended with {status} instead of waiting:\n{}",
                    node.tail()
                )));
            }
            let now = self.progress();
            if now != before {
                (before, since) = (now, Instant::now());
            }
            Ok(since.elapsed() >= STALLED)
        })?;
        if before.rows >= self.rows {
            return Err(Error::unexpected(format!(
                "the fault came too late: {}",
                self.shown(before)
            )));
        }
        Ok(before)
    }

    /// Waits until all is in the table, and stops the node in good order.
    pub(super) fn end_at_all_rows(&self, node: &mut Node) -> Result<(), Error> {
        self.await_rows(node, self.rows)
            .map_err(|error| Error::unexpected(format!("{error}\n{}", node.tail())))?;
        node.signal(Signal::TERM)?;
        node.wait_for_code(0, PATIENCE)
    }
}
