//! A clock that is two minutes ahead for a while.

use std::time::Duration;

use rand::Rng as _;

use super::Meanwhile;
use super::performance::{PATIENCE, Performance, Story};
use crate::{Error, Node, NodeOptions, ShiftedClock, await_that};

/// How far it is ahead, in seconds.
const AHEAD_S: u32 = 120;
/// How much longer than it takes to be noticed.
const LONGER_MS: u64 = 2000;

impl Performance<'_> {
    pub(super) fn clock_ahead(&mut self, meanwhile: Meanwhile) -> Result<Story, Error> {
        let clock = ShiftedClock::build(self.site.folder())?;
        let mut node = self.start_with(&clock)?;
        let rows = self.rng.random_range(self.rows / 20..self.rows / 4);
        match meanwhile {
            Meanwhile::Running => {
                self.await_rows(&mut node, rows)?;
                clock.set_ahead(AHEAD_S)?;
            }
            Meanwhile::Killed => {
                self.kill_after(&mut node, rows)?;
                clock.set_ahead(AHEAD_S)?;
                node = self.start_with(&clock)?;
            }
        }
        if self.case.without.is_some() {
            return self.undefended(&mut node);
        }
        if meanwhile == Meanwhile::Killed {
            // One that runs stops committing at once, and may say so half a minute later.
            await_that("clock_ahead in the log", PATIENCE, || {
                Ok(node.poll()?.is_some() || node.log().contains("clock_ahead"))
            })?;
        }
        let at = self.await_stall(&mut node)?;
        std::thread::sleep(Duration::from_millis(self.rng.random_range(0..LONGER_MS)));
        // Looked at while such a time is still to come.
        let to_come = self.site.snapshots_to_come(self.table());
        clock.set_ahead(0)?;
        self.end_at_all_rows(&mut node)?;
        match to_come {
            0 => Ok(format!("{AHEAD_S} s ahead at {}", self.shown(at))),
            _ => Err(Error::unexpected(format!("{to_come} snapshots of a time to come"))),
        }
    }

    /// Without the defence the table gets snapshots of a time that has not come.
    fn undefended(&mut self, node: &mut Node) -> Result<Story, Error> {
        self.await_rows(node, self.rows)?;
        let to_come = self.site.snapshots_to_come(self.table());
        if to_come > 0 {
            self.harm = Some(format!("{to_come} snapshots of a time to come"));
        }
        node.kill()?;
        Ok(format!("{AHEAD_S} s ahead"))
    }

    fn start_with(&self, clock: &ShiftedClock) -> Result<Node, Error> {
        let options = NodeOptions {
            environment: clock.environment(),
            ..self.options_for_ever()
        };
        Node::start(self.site, "a", &options)
    }
}
