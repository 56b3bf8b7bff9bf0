//! Another engine commits to the table between our commits: rewritten files, rows of its own, a property.

use rand::Rng as _;
use rand::seq::SliceRandom as _;
use rustix::process::Signal;
use serde_json::Value;

use super::When;
use super::performance::{PATIENCE, Performance, Story};
use crate::{Error, run};

/// The commits before: enough that there are files to be made fewer.
const COMMITS_BEFORE: std::ops::RangeInclusive<u64> = 3..=6;

impl Performance<'_> {
    pub(super) fn foreign(&mut self, when: When) -> Result<Story, Error> {
        let nth = self.rng.random_range(COMMITS_BEFORE);
        let (at, done) = match when {
            When::AfterKillAt(point) => {
                let mut node = self.start("a", Some(format!("{point}:kill:{nth}")))?;
                node.wait_for_death(PATIENCE)?;
                let (at, done) = (self.progress(), self.change_by_foreigner()?);
                self.finish("a")?;
                (format!("killed time {nth}, at {}", self.shown(at)), done)
            }
            When::AfterKill => {
                let mut node = self.start("a", None)?;
                let rows = self.rng.random_range(self.rows / 5..self.rows / 2);
                let at = self.kill_after(&mut node, rows)?;
                let done = self.change_by_foreigner()?;
                self.finish("a")?;
                (format!("killed at {}", self.shown(at)), done)
            }
            When::WhileStoppedAt(point) => {
                let mut node = self.start("a", Some(format!("{point}:stop:{nth}")))?;
                node.wait_for_stop(PATIENCE)?;
                let (at, done) = (self.progress(), self.change_by_foreigner()?);
                node.signal(Signal::CONT)?;
                node.wait_for_code(0, PATIENCE)?;
                (format!("stopped time {nth}, at {}", self.shown(at)), done)
            }
        };
        self.demand_kept(&done)?;
        Ok(format!(
            "{at}; meanwhile {} files became {}, {} foreign rows",
            done["compact"]["files_before"], done["compact"]["files_after"], self.foreign_rows
        ))
    }

    /// All changes, in an order that the seed decides; proves that each has happened.
    fn change_by_foreigner(&mut self) -> Result<Value, Error> {
        let mut changes = ["compact", "append", "property"];
        changes.shuffle(&mut self.rng);
        let mut foreigner = self.site.tools().python("feeds/other_engine.py");
        foreigner.arg(self.site.catalog()).arg(self.table()).args(changes);
        let done = run(foreigner)?.expect(&[0])?.json()?;
        let figure = |change: &str, name: &str| done[change][name].as_u64();
        self.foreign_rows = figure("append", "rows").unwrap_or_default();
        if self.foreign_rows == 0 || figure("compact", "files_before") <= figure("compact", "files_after") {
            return Err(Error::unexpected(format!("the other engine changed nothing: {done}")));
        }
        Ok(done)
    }

    /// What the other engine left must be there still: its property, and its snapshot beneath ours.
    fn demand_kept(&self, done: &Value) -> Result<(), Error> {
        let metadata = self.site.metadata(self.table());
        let metadata = metadata.ok_or_else(|| Error::unexpected("the table has no metadata"))?;
        let name = done["property"]["name"].as_str().unwrap_or_default();
        let snapshots = metadata["snapshots"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_beneath = snapshots
            .iter()
            .any(|snapshot| snapshot["parent-snapshot-id"] == done["snapshot"]);
        if metadata["properties"][name].is_null() || !is_beneath {
            return Err(Error::unexpected(format!(
                "our commits are not on top of the other engine's: property {name} is {}, snapshot {} has {} child",
                metadata["properties"][name],
                done["snapshot"],
                if is_beneath { "a" } else { "no" }
            )));
        }
        Ok(())
    }
}
