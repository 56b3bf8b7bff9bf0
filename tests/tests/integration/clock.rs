//! A node whose clock is two minutes ahead must not commit, and goes on by itself when the clock is right.

use std::time::Duration;

use tapehouse_tests::{Feed, Node, NodeOptions, ShiftedClock, await_that, stack};

use crate::support::{PATIENCE, await_rows, equal, forever, site, stays, with};

#[test]
fn two_minutes_ahead_nothing_is_committed_until_the_clock_is_right() {
    with(stack(), "clock", |servers, folder| {
        let (site, topic) = site(servers, folder, "clock.ahead", 2)?;
        let feed = Feed::of(servers);
        feed.produce(&topic.topic, 1000, &[])?;
        let clock = ShiftedClock::build(folder)?;
        // One that starts with a wrong clock makes no table either: that would carry its time.
        clock.set_ahead(120)?;
        let options = NodeOptions {
            for_ever: true,
            environment: clock.environment(),
            ..NodeOptions::default()
        };
        let mut node = Node::start(&site, "a", &options)?;
        await_that("a word about the clock", PATIENCE, || {
            Ok(node.log().contains("clock_ahead"))
        })?;
        stays(Duration::from_secs(4), || site.progress(&topic.table))?;
        clock.set_ahead(0)?;
        await_rows(&site, &topic, &mut node, 1000)?;
        // The clock steps while the node runs.
        clock.set_ahead(120)?;
        feed.produce(&topic.topic, 500, &["--first", "1000"])?;
        stays(Duration::from_secs(4), || site.progress(&topic.table))?;
        clock.set_ahead(0)?;
        await_rows(&site, &topic, &mut node, 1500)?;
        drop(node);
        equal("snapshots of a time to come", site.snapshots_to_come(&topic.table), 0)?;
        // Nobody else is in its way either.
        feed.produce(&topic.topic, 10, &["--first", "1500"])?;
        let mut node = forever(&site, "b")?;
        await_rows(&site, &topic, &mut node, 1510)?;
        drop(node);
        site.demand(&topic, Some(1510)).map(|_| ())
    });
}
