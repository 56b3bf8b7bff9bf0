//! SIGKILL: at points, at moments, while starting.

use std::time::{Duration, Instant};

use rand::Rng as _;

use super::performance::{PATIENCE, Performance, Story};
use crate::Error;

/// Kills during start-up come within this time.
const START_UP_MS: u64 = 300;

impl Performance<'_> {
    pub(super) fn kill_at(&mut self, point: &str) -> Result<Story, Error> {
        let nth = self.nth();
        let mut node = self.start("a", Some(format!("{point}:kill:{nth}")))?;
        node.wait_for_death(PATIENCE)?;
        let at = self.progress();
        self.finish("a")?;
        Ok(format!("time {nth}, at {}", self.shown(at)))
    }

    pub(super) fn kill_at_moments(&mut self) -> Result<Story, Error> {
        let kills = self.rng.random_range(1..=3);
        // Silver merges up to 200,000 rows in one commit: what is left after the last moment has to be more than that.
        let mut moments: Vec<u64> = (0..kills)
            .map(|_| self.rng.random_range(self.rows / 50..self.rows / 2))
            .collect();
        moments.sort_unstable();
        let mut story = Vec::new();
        for rows in moments {
            let started = Instant::now();
            // Where the kill before came later than this moment, the next one comes in the middle of what is left.
            let at = self.progress().rows;
            let rows = if at < rows { rows } else { at + (self.rows - at) / 3 };
            let mut node = self.start("a", None)?;
            let at = self.kill_after(&mut node, rows)?;
            if at.rows == 0 || at.rows >= self.rows {
                return Err(Error::unexpected(format!(
                    "the kill missed: {} of {} rows",
                    at.rows, self.rows
                )));
            }
            story.push(format!("{} {:.1} s", self.shown(at), started.elapsed().as_secs_f64()));
        }
        self.finish("a")?;
        Ok(format!("killed at {}", story.join("; ")))
    }

    pub(super) fn kill_at_start(&mut self) -> Result<Story, Error> {
        let mut story = Vec::new();
        for _ in 0..3 {
            let delay_ms = self.rng.random_range(0..START_UP_MS);
            let mut node = self.start("a", None)?;
            std::thread::sleep(Duration::from_millis(delay_ms));
            node.kill()?;
            story.push(format!("{delay_ms} ms ({} rows)", self.progress().rows));
        }
        self.finish("a")?;
        Ok(format!("killed after {}", story.join(", ")))
    }
}
