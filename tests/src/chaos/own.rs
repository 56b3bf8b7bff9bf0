//! Acts on a topic of the case's own: what they do to it would harm the others.

use std::path::{Path, PathBuf};

use rand::Rng as _;
use rustix::process::Signal;
use serde_json::Value;

use super::performance::{PATIENCE, Performance, Story};
use super::source::SMALL_BATCHES;
use super::{Meanwhile, Source};
use crate::{Error, Feed, Node, NodeOptions, Topic, await_that};

/// Share of the suite's records that such a topic holds.
const SHARE: u64 = 4;
/// Numbers of the records in the topic that takes the name of the first one.
const NUMBERED_FROM: u64 = 100_000_000;
/// Counts rows that stand under the incarnation of the other topic of that name.
const MIXED: &str = "SELECT count(*) FROM t WHERE (trade_id >= 'F100000000') <> (topic_incarnation > 0)";
/// So much of a partition is lost.
const CUT_OFF_PERCENT: u64 = 80;

impl<'a> Performance<'a> {
    fn feed(&self) -> Feed<'a> {
        Feed::of(self.ground.servers())
    }

    fn own_topic(&self) -> &'a str {
        self.site.topics().first().map_or("", |topic| topic.topic.as_str())
    }

    /// Fills the case's own topic; the number of records.
    fn fill_own(&mut self, partitions: &str, config: &[&str], options: &[&str]) -> Result<u64, Error> {
        let mut create = vec!["create", self.own_topic(), partitions];
        create.extend(config);
        self.feed().admin(&create)?;
        self.rows = self
            .feed()
            .produce(
                self.own_topic(),
                self.ground.records() / SHARE,
                &[&SMALL_BATCHES[..], options].concat(),
            )?
            .visible;
        Ok(self.rows)
    }

    /// Notes which offsets a consumer sees now: later some will be gone.
    fn note_visible(&self) -> Result<PathBuf, Error> {
        let file = self.site.folder().join("visible.parquet");
        self.feed()
            .admin(&["visible", self.own_topic(), &file.to_string_lossy()])?;
        Ok(file)
    }

    /// Judges the case's own table: all that a consumer sees now is there once, and nothing that no consumer ever saw.
    fn demand_own(&self, ever_visible: &Path, verify: &[&str]) -> Result<u64, Error> {
        let topic = self.first_topic()?;
        let oracle = self
            .site
            .ask_oracle(topic, &["--ever-visible", &ever_visible.to_string_lossy()])?;
        let mut violations = oracle.violations.clone();
        violations.extend(self.site.ask_verify(topic, verify)?.violations);
        if !violations.is_empty() {
            return Err(Error::Violated {
                what: format!("table {}:", topic.table),
                violations,
                site: self.site.folder().to_owned(),
            });
        }
        oracle
            .figure("rows_duckdb")
            .ok_or_else(|| Error::unexpected("the oracle counts no rows"))
    }

    /// The broker begins to compact the topic while the node reads it, and goes on while it is dead.
    pub(super) fn compaction_meanwhile(&mut self) -> Result<Story, Error> {
        let keys = (self.ground.records() / SHARE / 4).to_string();
        let sent = self.fill_own("3", &["segment.ms=100"], &["--keys", &keys, "--scattered"])?;
        let first = sent.to_string();
        self.feed().produce(self.own_topic(), 120, &["--first", &first])?;
        let ever = self.note_visible()?;
        let mut node = self.start("a", None)?;
        let rows = self.rng.random_range(sent / 20..sent / 5);
        self.await_rows(&mut node, rows)?;
        // Held meanwhile: it could be through before the broker has heard of it.
        node.signal(Signal::STOP)?;
        let mut compact = vec!["alter", self.own_topic(), "cleanup.policy=compact"];
        compact.extend(["min.cleanable.dirty.ratio=0.01", "max.compaction.lag.ms=100"]);
        self.feed().admin(&compact)?;
        node.signal(Signal::CONT)?;
        let at = self.kill_after(&mut node, rows + sent / 20)?;
        let left = self
            .feed()
            .ask(&["await-compacted", self.own_topic(), &(sent / 2).to_string()])?;
        self.finish("a")?;
        let landed = self.demand_own(&ever, &["--deep", "--compacted"])?;
        let left = left["visible"].as_u64().unwrap_or_default();
        if landed >= sent {
            return Err(Error::unexpected(format!(
                "compaction came too late: {landed} rows of {sent} records"
            )));
        }
        Ok(format!(
            "killed at {}; {left} of {sent} records are left, {landed} rows",
            self.shown(at)
        ))
    }

    /// Retention takes records that were not read yet; an operator accepts the gap.
    pub(super) fn gap(&mut self, meanwhile: Meanwhile) -> Result<Story, Error> {
        let sent = self.fill_own("2", &[], &[])?;
        let ever = self.note_visible()?;
        let ends = self.feed().ask(&["watermarks", self.own_topic()])?;
        let end = ends["0"][1].as_u64().unwrap_or_default();
        let cut = (end * CUT_OFF_PERCENT / 100).to_string();
        let mut node = self.start_for_ever("a")?;
        let rows = self.rng.random_range(sent / 20..sent / 4);
        // Before that nothing of partition 0 could be lost: a partition that was never read begins where its log does.
        await_that("a commit of partition 0", PATIENCE, || Ok(self.recorded_next("0").is_some()))?;
        let at = self.lose(&mut node, rows, meanwhile, |this| {
            this.feed()
                .admin(&["truncate", this.own_topic(), "0", &cut])
                .map(|_| ())
        })?;
        if self.case.without.is_some() {
            self.await_caught_up(&mut node, &ends)?;
            self.harm = self.unrecorded_gap(sent)?;
            return Ok(format!("at {}: partition 0 cut to {cut} of {end}", self.shown(at)));
        }
        self.await_word(&mut node, "offset_lost")?;
        self.await_others(&mut node)?;
        self.operate(&["offsets", "accept-gap", self.own_topic(), "--partition", "0", "--yes"])?;
        self.await_caught_up(&mut node, &ends)?;
        let landed = self.demand_own(&ever, &["--deep"])?;
        if landed >= sent {
            return Err(Error::unexpected(format!(
                "nothing was lost: {landed} rows of {sent} records"
            )));
        }
        Ok(format!(
            "at {}: partition 0 cut to {cut} of {end}; {landed} rows",
            self.shown(at)
        ))
    }

    /// Records that were skipped, and of which the table says nothing. No judge can see that: to them the offsets are as those
    /// that compaction took.
    fn unrecorded_gap(&self, sent: u64) -> Result<Option<String>, Error> {
        let metadata = self.site.metadata(self.table()).unwrap_or_default();
        let landed = self.progress().rows;
        let is_recorded = metadata["properties"]["tapehouse.gaps"].is_string();
        Ok((landed < sent && !is_recorded).then(|| format!("{} records passed over in silence", sent - landed)))
    }

    /// The topic is deleted and created again, with more records than before; an operator adopts it.
    pub(super) fn recreated(&mut self, meanwhile: Meanwhile) -> Result<Story, Error> {
        let sent = self.fill_own("2", &[], &[])?;
        // With all defences: which topic it was stands in the table.
        let defended = NodeOptions {
            defence_off: None,
            ..self.options_for_ever()
        };
        let mut node = Node::start(self.site, "a", &defended)?;
        let rows = self.rng.random_range(sent / 20..sent / 2);
        let at = self.lose(&mut node, rows, meanwhile, |this| {
            let first = NUMBERED_FROM.to_string();
            this.feed().admin(&["recreate", this.own_topic(), "2"])?;
            this.feed()
                .produce(this.own_topic(), sent + sent / 2, &["--first", &first])
                .map(|_| ())
        })?;
        if self.case.without.is_some() {
            let ends = self.feed().ask(&["watermarks", self.own_topic()])?;
            self.await_caught_up(&mut node, &ends)?;
            self.harm = self.mixed_topics()?;
            return Ok(format!("at {}", self.shown(at)));
        }
        self.await_word(&mut node, "topic_recreated")?;
        self.await_others(&mut node)?;
        let ever = self.note_visible()?;
        let before = self.progress().rows;
        self.operate(&["offsets", "adopt-topic", self.own_topic(), "--yes"])?;
        let ends = self.feed().ask(&["watermarks", self.own_topic()])?;
        self.await_caught_up(&mut node, &ends)?;
        let landed = self.demand_own(&ever, &["--deep"])?;
        self.demand_apart()?;
        Ok(format!(
            "at {}: {before} rows of the first topic, {} of the second",
            self.shown(at),
            landed - before
        ))
    }

    /// At a moment the topic loses something, while the node runs or is dead.
    fn lose(
        &mut self,
        node: &mut Node,
        rows: u64,
        meanwhile: Meanwhile,
        lose: impl Fn(&Self) -> Result<(), Error>,
    ) -> Result<crate::Progress, Error> {
        if meanwhile == Meanwhile::Running {
            self.await_rows(node, rows)?;
            let at = self.progress();
            // Held meanwhile: it could be through before the broker has heard of it.
            node.signal(Signal::STOP)?;
            lose(self)?;
            node.signal(Signal::CONT)?;
            return Ok(at);
        }
        let at = self.kill_after(node, rows)?;
        lose(self)?;
        *node = self.start_for_ever("a")?;
        Ok(at)
    }

    fn await_word(&self, node: &mut Node, word: &str) -> Result<(), Error> {
        await_that(&format!("{word} in the log"), PATIENCE, || {
            if let Some(status) = node.poll()? {
                return Err(Error::unexpected(format!("it ended with {status}:\n{}", node.tail())));
            }
            Ok(node.log().contains(word))
        })
        .map_err(|error| Error::unexpected(format!("{error}\n{}", node.tail())))
    }

    /// The other topics go on: all of their records arrive.
    fn await_others(&self, node: &mut Node) -> Result<(), Error> {
        for topic in self.site.topics().iter().skip(1) {
            let rows = self.ground.rows(Source::Trades);
            await_that(
                &format!("{rows} rows in {}, beside a topic that stopped", topic.table),
                PATIENCE,
                || {
                    if let Some(status) = node.poll()? {
                        return Err(Error::unexpected(format!("it ended with {status}:\n{}", node.tail())));
                    }
                    Ok(self.site.progress(&topic.table).is_some_and(|at| at.rows >= rows))
                },
            )?;
        }
        Ok(())
    }

    /// A command of the operator's, while the node runs.
    fn operate(&self, arguments: &[&str]) -> Result<(), Error> {
        self.site.command(arguments)?.expect(&[0])?;
        Ok(())
    }

    /// Waits until the table's recorded offsets are the ends of the log, and ends the node.
    fn await_caught_up(&self, node: &mut Node, ends: &Value) -> Result<(), Error> {
        let ends: Vec<(String, u64)> = ends
            .as_object()
            .into_iter()
            .flatten()
            .map(|(partition, ends)| (partition.clone(), ends[1].as_u64().unwrap_or_default()))
            .collect();
        await_that("recorded offsets at the ends of the log", PATIENCE, || {
            if let Some(status) = node.poll()? {
                return Err(Error::unexpected(format!("it ended with {status}:\n{}", node.tail())));
            }
            Ok(ends
                .iter()
                .all(|(partition, end)| self.recorded_next(partition) == Some(*end)))
        })
        .map_err(|error| {
            let recorded: Vec<_> = ends.iter().map(|(partition, _)| self.recorded_next(partition)).collect();
            Error::unexpected(format!("{error}: {ends:?}, recorded {recorded:?}\n{}", node.tail()))
        })?;
        node.signal(Signal::TERM)?;
        node.wait_for_code(0, PATIENCE)
    }

    /// The next offset of a partition, as the table records it.
    fn recorded_next(&self, partition: &str) -> Option<u64> {
        let metadata = self.site.metadata(self.table())?;
        let state: Value = serde_json::from_str(metadata["properties"]["tapehouse.state"].as_str()?).ok()?;
        state["next"][partition].as_u64()
    }

    /// No record of the second topic stands among those of the first, nor the other way round.
    fn demand_apart(&self) -> Result<(), Error> {
        let holes = "SELECT count(*) FROM (SELECT count(*) AS n, max(kafka_offset) + 1 AS next FROM t WHERE topic_incarnation = 0 GROUP BY kafka_partition) WHERE n <> next";
        for (what, query) in [("rows under the wrong incarnation", MIXED), ("partitions with holes", holes)] {
            let found = self.count(query)?;
            if found != Some(0) {
                return Err(Error::unexpected(format!("{what}: {found:?}")));
            }
        }
        Ok(())
    }

    /// Rows of the second topic among those of the first, and what `verify --deep` says.
    fn mixed_topics(&self) -> Result<Option<String>, Error> {
        let mixed = self.count(MIXED)?.unwrap_or_default();
        let verify = self.site.ask_verify(self.first_topic()?, &["--deep"])?;
        Ok((mixed > 0 && !verify.violations.is_empty())
            .then(|| format!("{mixed} rows of another topic of the same name: seen by `verify --deep`")))
    }

    fn first_topic(&self) -> Result<&'a Topic, Error> {
        let first = self.site.topics().first();
        first.ok_or_else(|| Error::unexpected("no topic"))
    }

    fn count(&self, query: &str) -> Result<Option<u64>, Error> {
        let answers = self.site.query(self.first_topic()?, &[query])?;
        Ok(answers[0][0][0].as_u64())
    }
}
