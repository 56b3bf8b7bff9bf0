//! Servers that go away and come back.

use std::time::Duration;

use tapehouse_tests::{Feed, Server, stack_alone};

use crate::support::{await_rows, forever, site, stays, with};

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
        crate::support::equal("undecodable", undecodable[0][0][0].as_u64(), Some(0))
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
