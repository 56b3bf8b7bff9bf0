//! What all cases share: the servers, two full topics, and what a run without faults makes of them.

use std::path::Path;
use std::time::Duration;

use super::performance::{Performed, layers};
use super::source::{Filling, SOURCES, topic};
use super::suite::Options;
use super::{Act, Case, Source};
use crate::{Error, Feed, Node, NodeOptions, Servers, Site, Tools, Topic};

/// Up to so many records, fetching is slowed down: a run must last long enough to be killed in its middle. Beyond, only where an
/// act takes longer than a kill.
const SLOWED_UP_TO: u64 = 300_000;
/// With so many KiB a partition to each fetch, which does not come before the one before is used up: with 32 KiB some 40 commits for
/// 100,000 records.
const SLOW: &str = "\"queued.min.messages\" = 1\n\"fetch.queue.backoff.ms\" = 20\n";
/// Characters of a violation that the table of cases shows.
const QUOTED: usize = 80;
/// A run without faults takes no longer.
const PATIENCE: Duration = Duration::from_secs(240);

/// The ground on which the cases play.
#[derive(Debug)]
pub(super) struct Ground {
    servers: Servers,
    records: u64,
    truths: [Option<Truth>; SOURCES],
}

/// What a run without faults makes of a topic.
#[derive(Clone, Debug)]
struct Truth {
    rows: u64,
    digest: String,
}

impl Ground {
    /// Starts the servers and fills the topics of `sources` with the records of `options`.
    pub(super) fn prepare(folder: &Path, options: Options, sources: &[Source]) -> Result<Self, Error> {
        let Options { records, seed, .. } = options;
        let servers = Servers::start(&Tools::locate()?, options.backend)?;
        let mut ground = Self {
            servers,
            records,
            truths: [const { None }; SOURCES],
        };
        for &source in sources {
            let site = ground.site(
                &folder.join(format!("without-faults-{source:?}")),
                &[topic(source)],
                None,
            )?;
            let filling = Filling {
                feed: Feed::of(&ground.servers),
                records,
                seed,
                is_slowed: ground.is_slowed(),
            };
            let visible = filling.fill(&site, source)?;
            let options = NodeOptions {
                arguments: layers(source),
                ..NodeOptions::default()
            };
            Node::start(&site, "a", &options)?.wait_for_code(0, PATIENCE)?;
            let judgement = site.demand(&topic(source), Some(visible))?;
            let digest = site.ask_oracle(&topic(source), &["--digest"])?.answer["digest"].clone();
            let digest = digest
                .as_str()
                .ok_or_else(|| Error::unexpected("no digest"))?
                .to_owned();
            if source == Source::Silver {
                site.demand_silver()?;
            }
            let rows = judgement.oracle.figure("rows_duckdb").unwrap_or_default();
            ground.truths[source as usize] = Some(Truth { rows, digest });
            remove(site.folder())?;
        }
        Ok(ground)
    }

    fn is_slowed(&self) -> bool {
        self.records <= SLOWED_UP_TO
    }

    /// The servers that all cases use.
    pub(super) fn servers(&self) -> &Servers {
        &self.servers
    }

    /// Records in each topic.
    pub(super) fn records(&self) -> u64 {
        self.records
    }

    /// A lake for one case, or for the run without faults.
    pub(super) fn site(&self, folder: &Path, topics: &[Topic], act: Option<Act>) -> Result<Site, Error> {
        let takes_time = act.is_some_and(Act::takes_time);
        let fetch_kib = match (self.is_slowed(), takes_time) {
            (true, true) => 16,
            (true, false) => 32,
            (false, true) => 64,
            (false, false) => 0,
        };
        let slow = match fetch_kib {
            0 => String::new(),
            _ => format!("{SLOW}\"fetch.message.max.bytes\" = {}\n", fetch_kib << 10),
        };
        // Every batch is a commit: as many moments to be killed at as there can be.
        let settings = format!(
            "[commit]\nmax_age_ms = 10\nmax_rows = 100\n[node]\nmemory_budget_mb = 128\n[kafka.properties]\n{slow}"
        );
        Site::new(folder, &self.servers, topics, &settings)
    }

    /// Rows that a table of this topic has in the end.
    pub(super) fn rows(&self, source: Source) -> u64 {
        self.truths[source.shared() as usize]
            .as_ref()
            .map_or(0, |truth| truth.rows)
    }

    /// Demands that the table is complete, unique, and equal to that of the run without faults.
    pub(super) fn demand_truth(&self, site: &Site, case: &Case, performed: &Performed) -> Result<(), Error> {
        let Some(truth) = &self.truths[case.source.shared() as usize] else {
            return Err(Error::unexpected("the topic was not prepared"));
        };
        let topic = topic(case.source);
        let verify = site.ask_verify(&topic, &[])?;
        let (rows, foreign) = (truth.rows.to_string(), performed.foreign_rows.to_string());
        let options = ["--digest", "--expect-rows", &rows, "--foreign-rows", &foreign];
        let oracle = site.ask_oracle(&topic, &options)?;
        let mut violations = oracle.violations;
        violations.extend(verify.violations);
        let without_coordinates = &verify.answer["tables"][0]["rows_without_coordinates"];
        if without_coordinates.as_u64() != Some(performed.foreign_rows) {
            violations.push(format!(
                "verify counts {without_coordinates} foreign rows instead of {foreign}"
            ));
        }
        if oracle.answer["digest"] != truth.digest.as_str() {
            violations.push(format!(
                "content differs: {} instead of {}",
                oracle.answer["digest"], truth.digest
            ));
        }
        if case.source == Source::Silver {
            violations.extend(site.ask_silver()?.violations);
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

    /// Demands that the judges find harm; says what the oracle found.
    pub(super) fn demand_harm(&self, site: &Site, case: &Case) -> Result<String, Error> {
        if case.source == Source::Silver {
            let oracle = site.ask_silver()?;
            return match oracle.violations.first() {
                Some(found) => Ok(format!(
                    "{}...: seen by the oracle",
                    found.chars().take(QUOTED).collect::<String>()
                )),
                None => Err(no_harm("the oracle of silver")),
            };
        }
        let judgement = site.judge(&topic(case.source), Some(self.rows(case.source)))?;
        // Which transactions were aborted stands in Kafka alone.
        let verify_can_tell = case.without != Some("read_committed");
        for (who, can_tell, verdict) in [
            ("the oracle", true, &judgement.oracle),
            ("tapehouse verify", verify_can_tell, &judgement.verify),
        ] {
            if can_tell && verdict.violations.is_empty() {
                return Err(no_harm(who));
            }
        }
        let figure = |name: &str| judgement.oracle.figure(name).unwrap_or_default();
        let who = if verify_can_tell { "both judges" } else { "the oracle" };
        Ok(format!(
            "{} rows doubled, {} that no consumer sees: seen by {who}",
            figure("duplicates"),
            figure("surplus")
        ))
    }
}

fn no_harm(who: &str) -> Error {
    Error::unexpected(format!(
        "{who} finds nothing wrong, although a defence was out: either it is no defence or the suite cannot see"
    ))
}

pub(super) fn remove(folder: &Path) -> Result<(), Error> {
    std::fs::remove_dir_all(folder).map_err(Error::io(folder.display().to_string()))
}
