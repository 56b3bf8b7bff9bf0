//! Servers that go away and come back.

use std::time::Duration;

use tapehouse_tests::{CatalogLock, Feed, Server, stack, stack_alone};

use crate::support::{await_rows, equal, forever, site, stays, with};

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

#[test]
fn a_catalog_that_is_locked_is_waited_for() {
    with(stack(), "locked", |servers, folder| {
        let (site, topic) = site(servers, folder, "outage.catalog", 2)?;
        let feed = Feed::of(servers);
        feed.produce(&topic.topic, 1000, &[])?;
        let mut node = forever(&site, "a")?;
        await_rows(&site, &topic, &mut node, 1000)?;
        let lock = CatalogLock::on(&site)?;
        feed.produce(&topic.topic, 1000, &["--first", "1000"])?;
        // Longer than SQLite itself waits for a lock.
        stays(Duration::from_secs(8), || site.progress(&topic.table))?;
        drop(lock);
        await_rows(&site, &topic, &mut node, 2000)?;
        drop(node);
        site.demand(&topic, Some(2000)).map(|_| ())
    });
}
