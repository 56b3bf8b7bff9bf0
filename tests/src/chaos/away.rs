//! Neighbours that go away while a node runs, and come back.

use std::time::{Duration, Instant};

use rand::Rng as _;
use rustix::process::Signal;

use super::performance::{PATIENCE, Performance, Story};
use super::{Departure, Neighbour};
use crate::{Backend, CatalogLock, Error, Node, Server, Servers, Service, await_that};

/// Without a commit for so long the node has felt that the neighbour is away.
const STALLED: Duration = Duration::from_secs(2);
/// How much longer it is away.
const LONGER_MS: u64 = 2000;

/// A neighbour that is away.
enum Absent<'a> {
    Stack(&'a Servers, Server),
    Service(&'a Service),
    Locked(CatalogLock),
}

impl Absent<'_> {
    /// Brings it back.
    fn end(self) -> Result<(), Error> {
        match self {
            Self::Stack(servers, server) => servers.restart(server),
            Self::Service(service) => service.restart(),
            Self::Locked(lock) => {
                drop(lock);
                Ok(())
            }
        }
    }
}

impl<'a> Performance<'a> {
    pub(super) fn away(&mut self, who: Neighbour, how: Departure) -> Result<Story, Error> {
        let mut node = self.start_for_ever("a")?;
        let rows = self.rng.random_range(self.rows / 20..self.rows / 6);
        self.await_rows(&mut node, rows)?;
        let absent = self.send_away(&mut node, who, how)?;
        let waited = self.wait_without(&mut node, how);
        // Whatever came of it: others need the server.
        absent.end()?;
        let (at, waited) = waited?;
        self.end_at_all_rows(&mut node)?;
        Ok(format!(
            "{who:?} away for {:.1} s, at {}",
            waited.as_secs_f64(),
            self.shown(at)
        ))
    }

    /// The neighbour goes; afterwards the node runs, or is dead. It is held meanwhile: a script takes a second, in which it
    /// could be through.
    fn send_away(&self, node: &mut Node, who: Neighbour, how: Departure) -> Result<Absent<'a>, Error> {
        let servers = self.ground.servers();
        let shared = |service: Option<&'a Service>| {
            service.ok_or_else(|| Error::unexpected(format!("no server of {who:?} on this backend")))
        };
        let absent = match who {
            Neighbour::Kafka => Absent::Stack(servers, Server::Kafka),
            Neighbour::Registry => Absent::Stack(servers, Server::Registry),
            Neighbour::Storage => Absent::Service(shared(servers.store())?),
            Neighbour::Catalog if servers.backend() == Backend::Sqlite => {
                // Not held: it could hold the lock itself.
                let lock = CatalogLock::on(self.site)?;
                if how == Departure::KilledWithTheNode {
                    node.kill()?;
                }
                return Ok(Absent::Locked(lock));
            }
            Neighbour::Catalog => {
                let of_site = self.site.catalog_server().or_else(|| servers.shared_catalog());
                Absent::Service(shared(of_site)?)
            }
        };
        node.signal(Signal::STOP)?;
        match (&absent, how) {
            (Absent::Stack(servers, server), Departure::Stopped) => servers.stop(*server)?,
            (Absent::Stack(servers, server), Departure::KilledWithTheNode) => servers.kill(*server)?,
            (Absent::Service(service), Departure::Stopped) => service.stop()?,
            (Absent::Service(service), Departure::KilledWithTheNode) => service.kill()?,
            (Absent::Locked(_), _) => {}
        }
        match how {
            Departure::Stopped => node.signal(Signal::CONT)?,
            Departure::KilledWithTheNode => node.kill()?,
        }
        Ok(absent)
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
