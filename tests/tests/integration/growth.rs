//! Topics and partitions that appear while a node runs.

use tapehouse_tests::{Feed, Site, Topic, stack};

use crate::support::{await_rows, forever, site, with};

#[test]
fn partitions_that_appear_are_read_from_their_beginning() {
    with(stack(), "growth", |servers, folder| {
        let feed = Feed::of(servers);
        let (site, topic) = site(servers, folder, "growth.partitions", 2)?;
        feed.produce(&topic.topic, 1000, &[])?;
        let mut node = forever(&site, "a")?;
        await_rows(&site, &topic, &mut node, 1000)?;
        feed.admin(&["partitions", &topic.topic, "5"])?;
        // At once: most of these are in the new partitions before the node can know of them.
        feed.produce(&topic.topic, 4000, &["--first", "1000"])?;
        await_rows(&site, &topic, &mut node, 5000)?;
        drop(node);
        let judgement = site.demand(&topic, Some(5000))?;
        let partitions = judgement.oracle.answer["partitions"].as_array().map_or(0, Vec::len);
        crate::support::equal("partitions with rows", partitions, 5)
    });
}

#[test]
fn a_topic_that_appears_is_found_and_the_others_go_on() {
    with(stack(), "late", |servers, folder| {
        let feed = Feed::of(servers);
        let (early, late) = (Topic::named("growth.early"), Topic::named("growth.late"));
        feed.admin(&["create", &early.topic, "1"])?;
        feed.produce(&early.topic, 500, &[])?;
        let site = Site::new(
            folder,
            servers,
            &[early.clone(), late.clone()],
            "[commit]\nmax_age_ms = 100",
        )?;
        let mut node = forever(&site, "a")?;
        await_rows(&site, &early, &mut node, 500)?;
        feed.admin(&["create", &late.topic, "2"])?;
        feed.produce(&late.topic, 700, &[])?;
        await_rows(&site, &late, &mut node, 700)?;
        feed.produce(&early.topic, 500, &["--first", "500"])?;
        await_rows(&site, &early, &mut node, 1000)?;
        drop(node);
        site.demand(&late, Some(700))?;
        site.demand(&early, Some(1000))?;
        Ok(())
    });
}
