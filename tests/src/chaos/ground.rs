//! What all cases share: the servers, two full topics, and what a run without faults makes of them.

use std::path::Path;
use std::time::Duration;

use crate::chaos::Source;
use crate::{Error, Feed, Servers, Site, Tools, Topic};

/// Up to so many records, fetching is slowed down: a run must last long enough to be killed in its middle.
const SLOWED_UP_TO: u64 = 300_000;
/// A fetch of at most 32 KiB a partition, not before the one before is used up: some 40 commits for 100,000 records.
const SLOW: &str =
    "\"queued.min.messages\" = 1\n\"fetch.queue.backoff.ms\" = 20\n\"fetch.message.max.bytes\" = 32768\n";
/// Transactions in their topic; every fourth is aborted.
const TRANSACTIONS: u64 = 200;
/// A run without faults takes no longer.
const PATIENCE: Duration = Duration::from_secs(240);

/// The ground on which the cases play.
#[derive(Debug)]
pub(super) struct Ground {
    servers: Servers,
    records: u64,
    truths: [Option<Truth>; 2],
}

/// What a run without faults makes of a topic.
#[derive(Clone, Debug)]
struct Truth {
    rows: u64,
    digest: String,
}

fn topic(source: Source) -> Topic {
    Topic::named(match source {
        Source::Trades => "chaos.trades",
        Source::Transactions => "chaos.transactions",
    })
}

impl Ground {
    /// Starts the servers and fills the topics of `sources` with `records` each.
    pub(super) fn prepare(folder: &Path, records: u64, seed: u64, sources: &[Source]) -> Result<Self, Error> {
        let servers = Servers::start(&Tools::locate()?)?;
        let mut ground = Self {
            servers,
            records,
            truths: [None, None],
        };
        for &source in sources {
            let site = ground.site(&folder.join(format!("without-faults-{source:?}")), source)?;
            let visible = ground.fill(&site, source, seed)?;
            site.catch_up("a", PATIENCE)?;
            let judgement = site.demand(&topic(source), Some(visible))?;
            let digest = site.ask_oracle(&topic(source), &["--digest"])?.answer["digest"].clone();
            let digest = digest
                .as_str()
                .ok_or_else(|| Error::unexpected("no digest"))?
                .to_owned();
            let rows = judgement.oracle.figure("rows_duckdb").unwrap_or_default();
            ground.truths[source as usize] = Some(Truth { rows, digest });
            remove(site.folder())?;
        }
        Ok(ground)
    }

    /// Fills the topic; the number of records that a read_committed consumer sees.
    fn fill(&self, site: &Site, source: Source, seed: u64) -> Result<u64, Error> {
        let (feed, topic) = (Feed::of(&self.servers), topic(source).topic);
        match source {
            Source::Trades => {
                let (count, seed) = (self.records.to_string(), seed.to_string());
                let mut options = vec!["--topic", "trades", "--count", &count, "--seed", &seed];
                options.extend(["--corrections", "0.02", "--duplicates", "0.01", "--null-prices", "0.01"]);
                // Paced, the producer's batches stay small, and a fetch cannot swallow the topic whole.
                options.extend(if self.is_slowed() {
                    ["--rate", "40000"]
                } else {
                    ["--rate", "0"]
                });
                let report = feed.generate(site, &options)?;
                let produced = report["produced"].as_u64();
                produced.ok_or_else(|| Error::unexpected(format!("no count in {report}")))
            }
            Source::Transactions => {
                feed.admin(&["create", &topic, "3"])?;
                let per_transaction = (self.records / TRANSACTIONS).to_string();
                let mut options = vec!["--per-transaction", per_transaction.as_str(), "--abort-every", "4"];
                options.extend(["--bad-every", "700", "--tombstone-every", "900"]);
                let sent = feed.produce(&topic, self.records, &options)?;
                if sent.aborted == 0 || sent.bad == 0 || sent.tombstones == 0 {
                    return Err(Error::unexpected(format!("the topic lacks what it is for: {sent:?}")));
                }
                Ok(sent.visible)
            }
        }
    }

    fn is_slowed(&self) -> bool {
        self.records <= SLOWED_UP_TO
    }

    /// A lake for one case.
    pub(super) fn site(&self, folder: &Path, source: Source) -> Result<Site, Error> {
        let slow = if self.is_slowed() { SLOW } else { "" };
        // Every batch is a commit: as many moments to be killed at as there can be.
        let settings = format!(
            "[commit]\nmax_age_ms = 10\nmax_rows = 100\n[node]\nmemory_budget_mb = 64\n[kafka.properties]\n{slow}"
        );
        Site::new(folder, &self.servers, &[topic(source)], &settings)
    }

    /// Rows that a table of this topic has in the end.
    pub(super) fn rows(&self, source: Source) -> u64 {
        self.truths[source as usize].as_ref().map_or(0, |truth| truth.rows)
    }

    /// Demands that the table is complete, unique, and equal to that of the run without faults.
    pub(super) fn demand_truth(&self, site: &Site, source: Source) -> Result<(), Error> {
        let Some(truth) = &self.truths[source as usize] else {
            return Err(Error::unexpected("the topic was not prepared"));
        };
        let topic = topic(source);
        let verify = site.ask_verify(&topic, &[])?;
        let rows = truth.rows.to_string();
        let oracle = site.ask_oracle(&topic, &["--digest", "--expect-rows", &rows])?;
        let mut violations = oracle.violations;
        violations.extend(verify.violations);
        if oracle.answer["digest"] != truth.digest.as_str() {
            violations.push(format!(
                "content differs: {} instead of {}",
                oracle.answer["digest"], truth.digest
            ));
        }
        if violations.is_empty() {
            return Ok(());
        }
        Err(Error::Violated {
            what: format!("table {}:", topic.table),
            violations,
            site: site.folder().to_owned(),
        })
    }

    /// Demands that both judges find harm; says what the oracle found.
    pub(super) fn demand_harm(&self, site: &Site, source: Source) -> Result<String, Error> {
        let judgement = site.judge(&topic(source), Some(self.rows(source)))?;
        for (who, verdict) in [
            ("the oracle", &judgement.oracle),
            ("tapehouse verify", &judgement.verify),
        ] {
            if verdict.violations.is_empty() {
                return Err(Error::unexpected(format!(
                    "{who} finds nothing wrong, although a defence was out: either it is no defence or the suite cannot see"
                )));
            }
        }
        let doubled = judgement.oracle.figure("duplicates").unwrap_or_default();
        Ok(format!("{doubled} rows doubled: seen by both judges"))
    }
}

pub(super) fn remove(folder: &Path) -> Result<(), Error> {
    std::fs::remove_dir_all(folder).map_err(Error::io(folder.display().to_string()))
}
