//! How the topics are filled that the cases share.

use serde_json::Value;

use super::{Case, Source};
use crate::{Error, Feed, Site, Topic};

/// Transactions in their topic; every fourth is aborted.
const TRANSACTIONS: u64 = 200;
/// Of a compacted topic at most one record in so many is left.
const LEFT_ONE_IN: u64 = 2;
/// Its partitions.
const COMPACTED_PARTITIONS: u64 = 3;

/// For the producer: a fetch takes its batches whole, and must not swallow a topic that a fault has to meet in its middle.
pub(super) const SMALL_BATCHES: [&str; 2] = ["--batch", "100"];

/// All sources.
pub(super) const SOURCES: usize = 5;

/// The topic of a source.
pub(super) fn topic(source: Source) -> Topic {
    Topic::named(match source {
        // Named so that the generator and the configuration know it for trades.
        Source::Silver => {
            return Topic {
                topic: "chaos-silver.trades".to_owned(),
                table: "bronze.raw_trades".to_owned(),
            };
        }
        Source::Trades | Source::Own => "chaos.trades",
        Source::Transactions => "chaos.transactions",
        Source::Compacted => "chaos.compacted",
        Source::Schemas => "chaos.schemas",
    })
}

/// The topics of a case: first the one that it is about.
pub(super) fn topics(case: &Case) -> Vec<Topic> {
    match case.source {
        Source::Own => vec![
            Topic::named(&format!("chaos.own.{}", case.name.replace('/', "."))),
            topic(Source::Trades),
        ],
        source => vec![topic(source)],
    }
}

/// What is sent into a topic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filling<'a> {
    pub(super) feed: Feed<'a>,
    pub(super) records: u64,
    pub(super) seed: u64,
    /// The producer's batches stay small, so that a fetch cannot swallow the topic whole.
    pub(super) is_slowed: bool,
}

impl Filling<'_> {
    /// Fills the topic of `source`, with the generator configured by `site`; the number of records that a read_committed
    /// consumer sees.
    pub(super) fn fill(self, site: &Site, source: Source) -> Result<u64, Error> {
        match source {
            Source::Trades | Source::Own => self.trades(site),
            Source::Transactions => self.transactions(),
            Source::Compacted => self.compacted(),
            Source::Schemas => self.schemas(),
            Source::Silver => self.days(site),
        }
    }

    fn trades(self, site: &Site) -> Result<u64, Error> {
        self.generated(
            site,
            &["--corrections", "0.02", "--duplicates", "0.01", "--null-prices", "0.01"],
        )
    }

    fn days(self, site: &Site) -> Result<u64, Error> {
        let faults = [
            "--corrections",
            "0.16",
            "--moves",
            "0.1",
            "--duplicates",
            "0.02",
            "--null-ids",
            "0.005",
            "--negative-prices",
            "0.005",
        ];
        let nulls = [
            "--null-prices",
            "0.005",
            "--null-symbols",
            "0.005",
            "--null-quantities",
            "0.005",
        ];
        let days = ["--days", "60", "--start", "2026-01-05T15:00:00Z"];
        self.generated(site, &[&faults[..], &nulls, &days].concat())
    }

    fn generated(self, site: &Site, feed: &[&str]) -> Result<u64, Error> {
        let (count, seed) = (self.records.to_string(), self.seed.to_string());
        let mut options = vec!["--topic", "trades", "--count", &count, "--seed", &seed];
        options.extend(feed);
        options.extend(["--rate", if self.is_slowed { "40000" } else { "0" }]);
        let report = self.feed.generate(site, &options)?;
        let produced = report["produced"].as_u64();
        produced.ok_or_else(|| Error::unexpected(format!("no count in {report}")))
    }

    fn transactions(self) -> Result<u64, Error> {
        let topic = topic(Source::Transactions).topic;
        self.feed.admin(&["create", &topic, "3"])?;
        let per_transaction = (self.records / TRANSACTIONS).to_string();
        let mut options = vec!["--per-transaction", per_transaction.as_str(), "--abort-every", "4"];
        options.extend(["--bad-every", "700", "--tombstone-every", "900"]);
        let sent = self.feed.produce(&topic, self.records, &options)?;
        if sent.aborted == 0 || sent.bad == 0 || sent.tombstones == 0 {
            return Err(Error::unexpected(format!("the topic lacks what it is for: {sent:?}")));
        }
        Ok(sent.visible)
    }

    /// Filled, then waited for until the broker has removed what newer records of the same keys replace.
    fn compacted(self) -> Result<u64, Error> {
        let topic = topic(Source::Compacted).topic;
        let partitions = COMPACTED_PARTITIONS.to_string();
        let mut create = vec![
            "create",
            topic.as_str(),
            &partitions,
            "cleanup.policy=compact",
            "segment.ms=100",
        ];
        create.extend(["min.cleanable.dirty.ratio=0.01", "max.compaction.lag.ms=100"]);
        self.feed.admin(&create)?;
        let (keys, first) = ((self.records / 4).to_string(), self.records.to_string());
        let scattered = ["--keys", &keys, "--scattered", "--tombstone-every", "97"];
        self.feed.produce(&topic, self.records, &scattered)?;
        // Closes the segments before, so that they can be cleaned; what is in the last one stays.
        self.feed
            .produce(&topic, COMPACTED_PARTITIONS * 40, &["--first", &first])?;
        let most = (self.records / LEFT_ONE_IN).to_string();
        let compacted: Value = self.feed.ask(&["await-compacted", &topic, &most])?;
        let (stored, visible) = (compacted["offsets"].as_u64(), compacted["visible"].as_u64());
        match (stored, visible) {
            (Some(offsets), Some(visible)) if visible * LEFT_ONE_IN <= offsets => Ok(visible),
            _ => Err(Error::unexpected(format!("the topic was not compacted: {compacted}"))),
        }
    }

    fn schemas(self) -> Result<u64, Error> {
        let topic = topic(Source::Schemas).topic;
        self.feed.admin(&["create", &topic, "3"])?;
        let half = self.records / 2;
        let first = half.to_string();
        let before = [&SMALL_BATCHES[..], &["--headers"]].concat();
        let before = self.feed.produce(&topic, half, &before)?;
        let after = [&SMALL_BATCHES[..], &["--first", &first, "--shape", "venue"]].concat();
        let after = self.feed.produce(&topic, half, &after)?;
        Ok(before.visible + after.visible)
    }
}
