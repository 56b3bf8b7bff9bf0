//! Servers that go away and come back.

use std::time::Duration;

use tapehouse_tests::{CatalogLock, Error, Feed, Footing, Server, Servers, Service, Site, Topic, stack, stack_alone};

use crate::support::{await_rows, equal, forever, left_out, site, stays, with};

#[test]
fn a_registry_that_is_away_is_waited_for() {
    with(stack_alone(), "registry", |servers, folder| {
        let (site, topic) = site(servers, folder, "outage.registry", 2)?;
        Feed::of(servers).produce(&topic.topic, 2000, &[])?;
        servers.stop(Server::Registry)?;
        let started = forever(&site, "a");
        let waited = started.and_then(|node| {
            // Not one record may be taken for undecodable meanwhile.
            stays(Duration::from_secs(3), || site.progress(&topic.table))?;
            Ok(node)
        });
        servers.restart(Server::Registry)?;
        let mut node = waited?;
        await_rows(&site, &topic, &mut node, 2000)?;
        drop(node);
        site.demand(&topic, Some(2000))?;
        let undecodable = site.query(&topic, &["SELECT count(*) FROM t WHERE decode_error IS NOT NULL"])?;
        equal("undecodable", undecodable[0][0][0].as_u64(), Some(0))
    });
}

#[test]
fn a_broker_that_is_killed_and_restarted_is_read_on() {
    with(stack_alone(), "broker", |servers, folder| {
        let (site, topic) = site(servers, folder, "outage.broker", 2)?;
        let feed = Feed::of(servers);
        feed.produce(&topic.topic, 2000, &[])?;
        let mut node = forever(&site, "a")?;
        await_rows(&site, &topic, &mut node, 2000)?;
        servers.kill(Server::Kafka)?;
        let stayed = stays(Duration::from_secs(2), || site.progress(&topic.table));
        servers.restart(Server::Kafka)?;
        stayed?;
        feed.produce(&topic.topic, 3000, &["--first", "2000"])?;
        await_rows(&site, &topic, &mut node, 5000)?;
        drop(node);
        site.demand(&topic, Some(5000)).map(|_| ())
    });
}

/// A server that was killed; started again when this is dropped, whatever becomes of the test: others need it.
struct Killed<'a>(&'a Service);

impl<'a> Killed<'a> {
    fn now(server: &'a Service) -> Result<Self, Error> {
        server.kill()?;
        Ok(Self(server))
    }
}

impl Drop for Killed<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.restart() {
            eprintln!("the server did not come back: {error}");
        }
    }
}

/// Records that come while something is away are in the table once it is back; the node lives on.
fn is_waited_for<T>(
    (site, topic): (&Site, &Topic),
    servers: &Servers,
    take_away: impl FnOnce() -> Result<T, Error>,
) -> Result<(), Error> {
    let feed = Feed::of(servers);
    feed.produce(&topic.topic, 1000, &[])?;
    let mut node = forever(site, "a")?;
    await_rows(site, topic, &mut node, 1000)?;
    let taken = take_away()?;
    feed.produce(&topic.topic, 1000, &["--first", "1000"])?;
    // Longer than SQLite itself waits for a lock.
    stays(Duration::from_secs(8), || site.progress(&topic.table))?;
    drop(taken);
    await_rows(site, topic, &mut node, 2000)?;
    drop(node);
    site.demand(topic, Some(2000)).map(|_| ())
}

#[test]
fn a_catalog_that_is_locked_is_waited_for() {
    with(stack(), "locked", |servers, folder| {
        if left_out(servers, Footing::CatalogFile) {
            return Ok(());
        }
        let (site, topic) = site(servers, folder, "outage.catalog", 2)?;
        is_waited_for((&site, &topic), servers, || CatalogLock::on(&site))
    });
}

/// As [`is_waited_for`], with a server killed that only backends on `footing` have.
fn a_killed_server_is_waited_for(
    name: &str,
    footing: Footing,
    server: for<'a> fn(&'a Servers, &'a Site) -> Option<&'a Service>,
) {
    with(stack_alone(), name, |servers, folder| {
        if left_out(servers, footing) {
            return Ok(());
        }
        let (site, topic) = site(servers, folder, &format!("outage.{name}"), 2)?;
        let server = server(servers, &site).ok_or_else(|| Error::unexpected("the backend has no such server"))?;
        is_waited_for((&site, &topic), servers, || Killed::now(server))
    });
}

#[test]
fn a_catalog_server_that_is_killed_and_restarted_is_waited_for() {
    a_killed_server_is_waited_for("catalog-away", Footing::CatalogServer, |servers, site| {
        servers.shared_catalog().or(site.catalog_server())
    });
}

#[test]
fn a_store_that_is_killed_and_restarted_is_waited_for() {
    a_killed_server_is_waited_for("store-away", Footing::S3, |servers, _| servers.store());
}
