//! Offsets without records: control records, aborted transactions, compaction.

use tapehouse_tests::{Error, Feed, Site, Topic, stack};

use crate::support::{PATIENCE, equal, fill_compacted, site, with};

#[test]
fn aborted_and_open_transactions_leave_no_rows_and_no_gaps() {
    with(stack(), "transactions", |servers, folder| {
        let (site, topic) = site(servers, folder, "offsets.transactions", 3)?;
        let feed = Feed::of(servers);
        let options = [
            "--per-transaction",
            "200",
            "--abort-every",
            "3",
            "--tombstone-every",
            "50",
        ];
        let sent = feed.produce(&topic.topic, 6000, &options)?;
        equal(
            "everything is there",
            sent.visible > 3000 && sent.aborted > 1500 && sent.tombstones > 0,
            true,
        )?;
        site.catch_up("a", PATIENCE)?;
        site.demand(&topic, Some(sent.visible))?;
        // A producer dies within a transaction: what comes before it is caught up with, what it sent is not visible.
        let mut hanging = vec!["--first", "6000", "--hang"];
        hanging.extend(options);
        let more = feed.produce(&topic.topic, 1000, &hanging)?;
        site.catch_up("a", PATIENCE)?;
        site.demand(&topic, Some(sent.visible + more.visible)).map(|_| ())
    });
}

#[test]
fn a_compacted_topic_is_complete_as_far_as_kafka_holds_it() {
    with(stack(), "compacted", |servers, folder| {
        let (feed, topic) = (Feed::of(servers), Topic::named("offsets.compacted"));
        fill_compacted(feed, &topic.topic, 5000)?;
        let site = Site::new(
            folder,
            servers,
            std::slice::from_ref(&topic),
            "[commit]\nmax_age_ms = 100",
        )?;
        site.catch_up("a", PATIENCE)?;
        site.demand(&topic, Some(51))?;
        let deep = site.ask_verify(&topic, &["--deep", "--compacted"])?;
        equal("violations", deep.violations, Vec::new())?;
        let next = deep.answer["tables"][0]["partitions"][0]["next"].as_u64();
        if next != Some(5001) {
            return Err(Error::unexpected(format!(
                "the ranges do not cover the topic: {}",
                deep.answer
            )));
        }
        Ok(())
    });
}
