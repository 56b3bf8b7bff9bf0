//! What all acts share: nodes of one case, how far they are, when they are killed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;

use super::ground::Ground;
use super::{Act, Case, Source};
use crate::{Error, Node, NodeOptions, Progress, Site, await_that};

/// No node of a case takes longer than this, by far: on a quiet machine the slowest needs 10 s.
pub(super) const PATIENCE: Duration = Duration::from_secs(240);
/// Longest delay between the moment that was chosen and the kill.
pub(super) const JITTER_MS: u64 = 40;

/// What a case did, in words for the table.
pub(super) type Story = String;

/// What came of a case before it is judged.
pub(super) struct Performed {
    /// For the table.
    pub(super) story: Story,
    /// Rows that another engine appended, without coordinates.
    pub(super) foreign_rows: u64,
    /// Harm that the case itself has found, where a defence is out and the judges cannot see what is missing.
    pub(super) harm: Option<String>,
}

/// A case on its way.
pub(super) struct Performance<'a> {
    pub(super) case: &'a Case,
    pub(super) site: &'a Site,
    pub(super) ground: &'a Ground,
    pub(super) rows: u64,
    pub(super) rng: StdRng,
    pub(super) foreign_rows: u64,
    pub(super) harm: Option<String>,
}

impl<'a> Performance<'a> {
    pub(super) fn new(case: &'a Case, site: &'a Site, ground: &'a Ground, seed: u64) -> Self {
        Self {
            case,
            site,
            ground,
            rows: ground.rows(case.source),
            rng: StdRng::seed_from_u64(seed ^ hash(&case.name)),
            foreign_rows: 0,
            harm: None,
        }
    }

    /// Does what the case says and lets a node catch up in the end, without any manual step.
    pub(super) fn perform(mut self) -> Result<Performed, Error> {
        let story = match self.case.act {
            Act::KillAt(point) => self.kill_at(point),
            Act::KillAtMoments => self.kill_at_moments(),
            Act::KillAtStart => self.kill_at_start(),
            Act::LoseAnswer { always } => self.lose_answer(always),
            Act::Zombie(point) => self.zombie(point),
            Act::StateDeleted => self.state_deleted(),
            Act::StateCorrupted => self.state_corrupted(),
            Act::TwoNodes => self.two_nodes(),
            Act::Foreign(when) => self.foreign(when),
            Act::Away { who, how } => self.away(who, how),
            Act::DiskFull { is_killed } => self.disk_full(is_killed),
            Act::Clock(meanwhile) => self.clock_ahead(meanwhile),
            Act::Compaction => self.compaction_meanwhile(),
            Act::Gap(meanwhile) => self.gap(meanwhile),
            Act::Recreated(meanwhile) => self.recreated(meanwhile),
        }?;
        Ok(Performed {
            story,
            foreign_rows: self.foreign_rows,
            harm: self.harm,
        })
    }

    pub(super) fn start(&self, name: &str, failpoint: Option<String>) -> Result<Node, Error> {
        let options = NodeOptions {
            failpoint,
            for_ever: false,
            ..self.options_for_ever()
        };
        Node::start(self.site, name, &options)
    }

    /// A node that does not end at the end of the topic.
    pub(super) fn start_for_ever(&self, name: &str) -> Result<Node, Error> {
        Node::start(self.site, name, &self.options_for_ever())
    }

    pub(super) fn options_for_ever(&self) -> NodeOptions {
        NodeOptions {
            for_ever: true,
            defence_off: self.case.without.map(str::to_owned),
            arguments: layers(self.case.source),
            ..NodeOptions::default()
        }
    }

    pub(super) fn finish(&self, name: &str) -> Result<(), Error> {
        self.start(name, None)?.wait_for_code(0, PATIENCE)
    }

    /// The table that the case is about.
    pub(super) fn table(&self) -> &str {
        self.site.topics().first().map_or("", |topic| topic.table.as_str())
    }

    /// How far the node is. In silver, where rows take the place of others: records merged.
    pub(super) fn progress(&self) -> Progress {
        if self.case.source == Source::Silver {
            return merged(self.site).unwrap_or_default();
        }
        self.site.progress(self.table()).unwrap_or_default()
    }

    /// A number of commits that the run certainly reaches, and that leaves work for afterwards.
    pub(super) fn nth(&mut self) -> u64 {
        match self.case.without {
            // A first merge has no deletes, of which a check of its own would say that they do not fit any more.
            Some("merge_base") => 1,
            // Files are compacted once there are eight of a day.
            _ if matches!(self.case.act, Act::KillAt(point) if point.starts_with("compaction")) => 1,
            // Many commits of bronze become one of silver, the more the slower the machine.
            _ if self.case.source == Source::Silver => self.rng.random_range(1..=3),
            _ => self.rng.random_range(1..=6),
        }
    }

    /// Waits until `rows` are in the table; `node` must not end before.
    pub(super) fn await_rows(&self, node: &mut Node, rows: u64) -> Result<(), Error> {
        await_that(&format!("{rows} rows"), PATIENCE, || {
            let ended = node.poll()?;
            let at = self.progress();
            if at.rows < rows && ended.is_some() {
                return Err(Error::unexpected(format!("a node ended at {} rows by itself", at.rows)));
            }
            Ok(at.rows >= rows)
        })
    }

    /// Waits until `rows` are committed and a little longer, then kills.
    pub(super) fn kill_after(&mut self, node: &mut Node, rows: u64) -> Result<Progress, Error> {
        self.await_rows(node, rows)?;
        std::thread::sleep(Duration::from_millis(self.rng.random_range(0..JITTER_MS)));
        node.kill()?;
        Ok(self.progress())
    }

    /// A success, unless a defence is out: then it is only over.
    pub(super) fn wait_for_end(&self, node: &mut Node) -> Result<(), Error> {
        match self.case.without {
            None => node.wait_for_code(0, PATIENCE),
            Some(_) => node.wait(PATIENCE).map(|_| ()),
        }
    }

    pub(super) fn shown(&self, at: Progress) -> String {
        format!("{} of {} rows, commit {}", at.rows, self.rows, at.commits)
    }
}

/// Further arguments of a node that reads this source.
pub(super) fn layers(source: Source) -> Vec<String> {
    match source {
        Source::Silver => ["--layers", "bronze,silver"].map(str::to_owned).into(),
        _ => Vec::new(),
    }
}

/// Records of the topic that silver.trades has merged, as it says itself.
fn merged(site: &Site) -> Option<Progress> {
    let metadata = site.metadata("silver.trades")?;
    let state: Value = serde_json::from_str(metadata["properties"]["tapehouse.state"].as_str()?).ok()?;
    let next = state["next"]["0"].as_object()?;
    Some(Progress {
        rows: next.values().filter_map(Value::as_u64).sum(),
        commits: metadata["last-sequence-number"].as_u64()?,
    })
}

/// FNV-1a: the same over builds, unlike the standard library's hashes.
fn hash(text: &str) -> u64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, fold)
}
